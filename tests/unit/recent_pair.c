/* recent_pair - see recent_pair.h */
#include "recent_pair.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/io.h"
#include "io/life.h"
#include "replica/base_age.h"
#include "syncd/base.h"
#include "syncd/journal.h"
#include "syncd/recent.h"
#include "syncd/scan.h"
#include "syncd/stage.h"
#include "syncd_pair.h"

struct pair both;
struct mailfs_id mailbox; /* container "u" */

int recent_setup(void **state) {
    char life[IO_LIFE_MAX];
    int fd;

    stores_open(&both);
    mailbox = stores_mailbox(&both.a, &both.b, "", "u");
    stores_checkpoint(&both);
    fd = open(both.a.store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *state = fd >= 0 && io_life(fd, life) == 0 ? &both : NULL;
    close(fd);
    return 0;
}

int recent_teardown(void **state) {
    stores_close(&both);
    return 0;
}

void deliver(const char *base) {
    stores_deliver(&both, &mailbox, base, "text\n", 0);
}

void digest_of(struct node *n, uint8_t out[STATE_DIGEST]) {
    assert_int_equal(base_digest(n->st, &mailbox, out), 0);
}

void killed_and_the_same(struct node *n) {
    uint8_t before[STATE_DIGEST], after[STATE_DIGEST];
    uint64_t v = 0, w = 0;

    digest_of(n, before);
    assert_int_equal(base_version_get(n->st, BASE_OF_MAILBOX, &mailbox, &v), 0);
    node_killed(n);
    digest_of(n, after);
    assert_memory_equal(before, after, STATE_DIGEST);
    assert_int_equal(base_version_get(n->st, BASE_OF_MAILBOX, &mailbox, &w), 0);
    assert_int_equal(v, w);
}

void recent_path(struct node *n, uint64_t generation, char out[256]) {
    snprintf(out, 256, "%s/.mailfs/recent-%llu", n->store, (unsigned long long)generation);
}

/* A start after the power went, as far as this file is concerned. */
void another_life(struct node *n) {
    char path[256];
    int fd;

    recent_path(n, n->st->generation, path);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "0", 1, 0) + pwrite(fd, "g", 1, 1), 2); /* no boot id has a g */
    close(fd);
    node_killed(n);
}

int no_sync(int fd) {
    return -EIO;
}
