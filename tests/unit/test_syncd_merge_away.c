/* A message was away meanwhile, in another mailbox, and is back under the same name: the other
 * node's removal of it does not count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "syncd/base.h"
#include "syncd/collect.h"
#include "syncd/state_int.h"
#include "merge_pair.h"

/* What mailfs tells while the other node is away. */
static void told_alone(struct node *n, struct acts *a) {
    assert_int_equal(collect_alone(n->st, &inbox, a->v, a->n), 0);
    acts_free(a);
}

/* Moved to another mailbox and back, as IMAP and a shell do it: the name is the same again. */
static void out_and_in(struct node *n, const char *base) {
    struct acts a = {.n = 0};
    char rel[100];

    snprintf(rel, sizeof(rel), "u/new/%s", base);
    fs_rename(n, rel, "elsewhere.lock");
    act_remove(&a, MFL__SUB__NEW, base);
    told_alone(n, &a);
    fs_rename(n, "elsewhere.lock", rel);
    act_add(n, &a, "u", MFL__SUB__NEW, base, 0);
    told_alone(n, &a);
}

/* Never numbered, so it looks as if it had never been away; and removed on the other node. */
static void test_out_and_in(void **state) {
    add_new(&p.a, "u", "1.M1.x", "one\n");
    add_new(&p.a, "u", "2.M1.x", "two\n");
    add_new(&p.a, "u", "3.M1.x", "three\n");
    mark(&p.a, &inbox);
    contact();
    out_and_in(&p.b, "1.M1.x");
    out_and_in(&p.b, "2.M1.x"); /* and then a client opens the mailbox */
    fs_rename(&p.b, "u/new/2.M1.x", "u/cur/2.M1.x:2,S");
    fs_append(&p.b, "u/dovecot-uidlist", "2 :2.M1.x\n");
    fs_unlink(&p.a, "u/new/1.M1.x");
    fs_unlink(&p.a, "u/new/2.M1.x");
    fs_unlink(&p.a, "u/new/3.M1.x"); /* this one never moved there, and goes */
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    contact();
    assert_true(fs_there(&p.a, "u/new/1.M1.x"));
    assert_true(fs_there(&p.a, "u/cur/2.M1.x:2,S"));
    assert_false(fs_there(&p.b, "u/new/3.M1.x"));
}

/* Picked up by link and unlink: it was never away. */
static void test_linked_over(void **state) {
    struct acts a = {.n = 0};

    add_new(&p.a, "u", "1.M1.x", "one\n");
    mark(&p.a, &inbox);
    contact();
    fs_link(&p.b, "u/new/1.M1.x", "u/cur/1.M1.x:2,");
    act_add(&p.b, &a, "u", MFL__SUB__CUR, "1.M1.x:2,", 0);
    told_alone(&p.b, &a);
    fs_unlink(&p.b, "u/new/1.M1.x");
    act_remove(&a, MFL__SUB__NEW, "1.M1.x");
    told_alone(&p.b, &a);
    fs_unlink(&p.a, "u/new/1.M1.x");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    contact();
    assert_false(fs_there(&p.b, "u/cur/1.M1.x:2,"));
}

/* Told to the peer, who never answered: the base does not follow, but it was away. */
static void test_out_and_in_unanswered(void **state) {
    struct acts a = {.n = 0};
    Mfp__Txn *gone, *back;

    add_new(&p.a, "u", "1.M1.x", "one\n");
    mark(&p.a, &inbox);
    contact();
    act_remove(&a, MFL__SUB__NEW, "1.M1.x");
    gone = node_collect(&p.b, &inbox, &a, false);
    act_add(&p.b, &a, "u", MFL__SUB__NEW, "1.M1.x", 0);
    back = node_collect(&p.b, &inbox, &a, false);
    base_forget_sent(p.b.st);
    mfp__txn__free_unpacked(gone, NULL);
    mfp__txn__free_unpacked(back, NULL);
    fs_unlink(&p.a, "u/new/1.M1.x");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    contact();
    assert_true(fs_there(&p.a, "u/new/1.M1.x"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, merge_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_out_and_in),
        T(test_linked_over),
        T(test_out_and_in_unanswered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
