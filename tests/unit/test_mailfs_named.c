/* The names that prepared contents got, over the death of the worker that gave them. Each worker is
 * a process of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "mailfs/keep.h"
#include "mailfs/named.h"
#include "mailfs/vol.h"
#include "net/local.h"
#include "wire/check.h"

static const struct mailfs_id box = {{7}};
static int mem;

static int setup(void **state) {
    mem = keep_create();
    assert_true(mem >= 0);
    return 0;
}

static int teardown(void **state) {
    keep_unmap();
    close(mem);
    return 0;
}

/* A worker, to its end. */
static void worker(bool (*life)(void)) {
    int status;
    pid_t pid;

    keep.head->lives++;
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        vol.incarnation = 5;
        _exit(keep_map(mem) == 0 && life() ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static bool names_two(void) {
    named_note(3, &box, "1.M1.a,S=5:2,");
    named_note(4, &box, "1.M2.a");
    return true;
}

static bool is_told(const Mfl__Named *n, uint64_t seq, const char *base) {
    struct mailfs_id dir;

    return n->id->incarnation == 5 && n->id->seq == seq && wire_id(&n->dir, &dir) == 0 &&
           mailfs_id_equal(&dir, &box) && strcmp(n->bname, base) == 0;
}

/* The newest first. */
static bool tells_two(void) {
    Mfl__Hello hello = MFL__HELLO__INIT;
    void *named = named_hello(&hello);
    bool ok = hello.n_named == 2 && is_told(hello.named[0], 4, "1.M2.a") &&
              is_told(hello.named[1], 3, "1.M1.a,S=5");

    free(named);
    return ok;
}

static bool names_one_more(void) {
    named_note(9, &box, "1.M9.a");
    return true;
}

static bool tells_three(void) {
    Mfl__Hello hello = MFL__HELLO__INIT;
    void *named = named_hello(&hello);
    bool ok = hello.n_named == 3 && is_told(hello.named[0], 9, "1.M9.a") &&
              is_told(hello.named[2], 3, "1.M1.a,S=5");

    free(named);
    return ok;
}

static bool gives_one_up(void) {
    named_given_up(12);
    return true;
}

static bool tells_it(void) {
    Mfl__Hello hello = MFL__HELLO__INIT;
    void *named = named_hello(&hello);
    bool ok = hello.n_named == 3 && is_told(hello.named[0], 9, "1.M9.a") && hello.n_aborted == 1 &&
              hello.aborted[0]->incarnation == 5 && hello.aborted[0]->seq == 12;

    free(named);
    return ok;
}

static bool tells_none(void) {
    Mfl__Hello hello = MFL__HELLO__INIT;
    void *named = named_hello(&hello);

    free(named);
    return hello.n_named == 0;
}

static bool names_many(void) {
    char name[32];
    unsigned i;

    for (i = 1; i <= KEEP_NAMED_MAX + 2; i++) {
        snprintf(name, sizeof name, "1.M%u.a", i);
        named_note(i, &box, name);
    }
    return true;
}

/* All but the two that were first, and one that its worker had half written when it died. */
static bool tells_the_last(void) {
    Mfl__Hello hello = MFL__HELLO__INIT;
    void *named = named_hello(&hello);
    size_t n = hello.n_named;
    bool ok = n == KEEP_NAMED_MAX - 1 && is_told(hello.named[0], KEEP_NAMED_MAX + 2, "1.M514.a") &&
              is_told(hello.named[n - 1], 4, "1.M4.a");

    free(named);
    return ok;
}

static void test_worker_died(void **state) {
    worker(tells_none);
    worker(names_two);
    worker(tells_two);
    worker(names_one_more);
    worker(tells_three);
    worker(gives_one_up);
    worker(tells_it);
}

static void test_half_written(void **state) {
    worker(names_many);
    keep.names->v[2].seq = 0; /* the oldest, about to become the newest */
    worker(tells_the_last);
}

/* What was given up is told whatever is named after it, and the oldest of it goes first. */
static bool gives_up_many(void) {
    for (unsigned i = 1; i <= KEEP_GIVEN_UP + 1; i++)
        named_given_up(i + KEEP_NAMED_MAX + 2);
    return names_many();
}

static bool tells_both(void) {
    Mfl__Hello hello = MFL__HELLO__INIT;
    void *named = named_hello(&hello);
    bool ok = hello.n_named > 0 && hello.n_aborted == KEEP_GIVEN_UP &&
              mfl__hello__get_packed_size(&hello) < LOCAL_PACKET_MAX;

    for (size_t i = 0; i < hello.n_aborted; i++)
        ok = ok && hello.aborted[i]->incarnation == 5 &&
             hello.aborted[i]->seq > KEEP_NAMED_MAX + 2 + 1;
    free(named);
    return ok;
}

static void test_given_up_stays(void **state) {
    worker(gives_up_many);
    worker(tells_both);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_worker_died),
        T(test_half_written),
        T(test_given_up_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
