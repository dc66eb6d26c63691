/*
 * asked: whose answers about new/ and cur/ are called back when their names change.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mailfs/dir.h"
#include "mailfs/notify.h"
#include "util/clock.h"

enum { ONE = 4194303, TWO = 77 }; /* threads; the greatest there may be */

static int called_back;

/* In the place of mailfs/notify.c's. */
void notify_attr(struct inode *dir) {
    called_back++;
}

struct part {
    struct inode in;
    struct dir dir;
};

/* As if it had been known for long. */
static struct part *part(enum maildir_dir kind) {
    static struct part p;
    p = (struct part){.dir.kind = kind};
    p.in.dir = &p.dir;
    called_back = 0;
    return &p;
}

static int change(struct part *p, pid_t thread) {
    called_back = 0;
    asked_changed(&p->in, thread);
    return called_back;
}

static void test_nobody_asked(void **state) {
    struct part *p = part(MAILDIR_DIR_CUR);
    assert_int_equal(change(p, ONE), 0);
}

static void test_own_question(void **state) {
    struct part *p = part(MAILDIR_DIR_NEW);
    assert_true(asked_now(&p->in, ONE));
    assert_int_equal(change(p, ONE), 0);
    assert_true(asked_now(&p->in, ONE));
    assert_int_equal(change(p, ONE), 0);
}

static void test_anothers_question(void **state) {
    struct part *p = part(MAILDIR_DIR_CUR);
    asked_now(&p->in, TWO);
    assert_int_equal(change(p, ONE), 1);
    asked_now(&p->in, ONE); /* the other's answer may still be on its way */
    assert_int_equal(change(p, ONE), 1);
    assert_int_equal(change(p, TWO), 1);
}

/* Of a thread in another pid namespace nobody knows which one it is. */
static void test_unknown_thread(void **state) {
    struct part *p = part(MAILDIR_DIR_CUR);
    asked_now(&p->in, 0);
    assert_int_equal(change(p, 0), 1);
}

static void test_old_question(void **state) {
    struct part *p = part(MAILDIR_DIR_CUR);
    atomic_store(&p->dir.asked.last, (clock_ms() - 10000) << 22 | TWO);
    assert_int_equal(change(p, ONE), 0);
    asked_now(&p->in, ONE);
    assert_int_equal(change(p, ONE), 0);
}

static void test_new_worker(void **state) {
    struct part *p = part(MAILDIR_DIR_NEW);
    asked_init(&p->dir.asked);
    assert_int_equal(change(p, ONE), 1);
}

static void test_other_directories(void **state) {
    struct part *p = part(MAILDIR_DIR_TMP);
    assert_false(asked_now(&p->in, TWO));
    assert_int_equal(change(p, ONE), 0);
    p = part(MAILDIR_DIR_CONTAINER);
    assert_false(asked_now(&p->in, TWO));
    assert_int_equal(change(p, ONE), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_asked),      cmocka_unit_test(test_own_question),
        cmocka_unit_test(test_anothers_question), cmocka_unit_test(test_unknown_thread),
        cmocka_unit_test(test_old_question),      cmocka_unit_test(test_new_worker),
        cmocka_unit_test(test_other_directories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
