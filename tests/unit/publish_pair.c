/* publish_pair - see publish_pair.h */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/io.h"
#include "io/undo.h"
#include "publish_pair.h"
#include "syncd/stage.h"
#include "syncd/state_int.h"

bool publish_is_left(struct node *n) {
    struct stage_prep *left;
    size_t k;

    assert_int_equal(stage_leftovers(n->st, &left, &k), 0);
    free(left);
    return k > 0;
}

static int no_room_for_name(int fd, const char *name, int to, const char *as, int flags) {
    return -ENOSPC;
}

void publish_stopped(int (*link)(int, const char *, int, const char *, int), int err) {
    struct stage_prep prep = {77, 9};
    struct io_ops ops = io_ops_real;
    struct stage_pub pub;

    common();
    fs_write(&p.a, "u/tmp/9.tmp", "nine\n");
    stores_prepare(&p.a, &p.b, "u", "9.tmp", "u/tmp/9.tmp", 9);
    ops.link = link;
    io_ops_set(&ops);
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), err);
    io_ops_set(&io_ops_real);
    assert_int_equal(stage_published(p.b.st, 77, 9, &pub), 0);
    assert_false(pub.done);
}

void publish_no_room(void) {
    publish_stopped(no_room_for_name, -ENOSPC);
    assert_false(fs_there(&p.b, "u/new/9.tmp"));
}

int publish_again(void) {
    return stage_publish(p.b.st, &(struct stage_prep){77, 9}, 1, NULL);
}

int publish_name_and_error(int fd, const char *name, int to, const char *as, int flags) {
    int r = linkat(fd, name, to, as, flags);

    return r < 0 ? -errno : -EIO;
}

void publish_half_undone(void) {
    char path[512];
    int fd;

    publish_stopped(publish_name_and_error, -EIO);
    if (p.b.st->undo < 0)
        p.b.st->undo = io_undo_open(p.b.st->home);
    fs_rename(&p.b, "u/new/9.tmp", "u/cur/9.tmp:2,S");
    snprintf(path, sizeof(path), "%s/u/cur", p.b.store);
    fd = open(path, O_RDONLY | O_DIRECTORY);
    assert_int_equal(io_undo_keep(p.b.st->undo, &inbox, "u", fd, "9.tmp:2,S"), 0);
    close(fd);
    assert_false(fs_there(&p.b, "u/cur/9.tmp:2,S"));
}
