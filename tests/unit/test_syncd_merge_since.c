/* What is done here between the listing of a one-way link's merge and its L, stays
 * (syncd/merge_fits.c). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "maildir/uidlist.h"
#include "syncd/base.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "syncd/state_int.h"
#include "merge_pair.h"

/*
 * The merge of a one-way link gets L after its listing: what a transaction has done in between
 * stays. (Numbers were lost, and all messages of the mailbox were numbered anew, when what the link
 * had changed was merged with the peer.)
 */
static void test_told_meanwhile(void **state) {
    Mfp__Listing *la, *lb, *wb;
    uint8_t d[STATE_DIGEST];

    common();
    add_new(&p.a, "u", "4.M1.x", "four\n");
    mark(&p.a, &inbox);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, true, &la), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, true, &lb), 0);
    wb = listing_over_wire(lb);
    fs_append(&p.a, "u/dovecot-uidlist", "4 :4.M1.x\n");
    fs_rename(&p.a, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,F");
    fs_rename(&p.a, "u/new/4.M1.x", "u/cur/4.M1.x:2,");
    p.a.st->main = p.a.st;
    assert_int_equal(merge_mailbox_run(p.a.st, &inbox, la, wb, d, NULL), 0);
    p.a.st->main = NULL;
    assert_int_equal(uid_of(&p.a, "u", "4.M1.x"), 4);
    assert_int_equal(uid_of(&p.a, "u", "3.M1.x"), 3);
    assert_true(fs_there(&p.a, "u/cur/1.M1.x:2,F"));
    assert_true(fs_there(&p.a, "u/cur/4.M1.x:2,"));
    mfp__listing__free_unpacked(la, NULL);
    mfp__listing__free_unpacked(lb, NULL);
    mfp__listing__free_unpacked(wb, NULL);
}

/* b has numbered a message, and a is where a link's merge with it writes. */
static void listed_for_link(const char *keywords_b, Mfp__Listing **la, Mfp__Listing **wb) {
    Mfp__Listing *lb;

    common();
    if (keywords_b)
        fs_write(&p.b, "u/dovecot-keywords", keywords_b);
    add_seen(&p.b, "u", "4.M1.b", "2,", 4, "of b\n");
    mark(&p.b, &inbox);
    mark(&p.a, &inbox);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, true, la), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, true, &lb), 0);
    *wb = listing_over_wire(lb);
    mfp__listing__free_unpacked(lb, NULL);
    stores_stage(&p.b, &p.a, *wb);
}

static int merge_of_link(Mfp__Listing *la, Mfp__Listing *wb) {
    uint8_t d[STATE_DIGEST];
    int r;

    p.a.st->main = p.a.st;
    r = merge_mailbox_run(p.a.st, &inbox, la, wb, d, NULL);
    p.a.st->main = NULL;
    return r;
}

static void links_listings_free(Mfp__Listing *la, Mfp__Listing *wb) {
    mfp__listing__free_unpacked(la, NULL);
    mfp__listing__free_unpacked(wb, NULL);
}

static struct maildir_uidlist *list_read(struct node *n) {
    char *text = fs_read(n, "u/dovecot-uidlist");
    struct maildir_uidlist *list;

    assert_int_equal(maildir_uidlist_parse(text, strlen(text), &list, NULL), 0);
    free(text);
    return list;
}

static void list_write(struct node *n, struct maildir_uidlist *list) {
    char *text;
    size_t len;

    assert_int_equal(maildir_uidlist_format(list, &text, &len), 0);
    maildir_uidlist_free(list);
    fs_write(n, "u/dovecot-uidlist", text);
    free(text);
}

/* A UID that was given, and whose message went again, between the listing and L: only the next UID
 * tells. It is no other message's, and nothing has been changed. */
static void test_number_given_meanwhile(void **state) {
    struct maildir_uidlist *list;
    Mfp__Listing *la, *wb;

    listed_for_link(NULL, &la, &wb);
    list = list_read(&p.a);
    maildir_uidlist_raise_next_to(list, 5);
    list_write(&p.a, list);
    assert_int_equal(merge_of_link(la, wb), -ESTALE);
    assert_int_equal(uid_of(&p.a, "u", "4.M1.b"), 0);
    assert_false(fs_there(&p.a, "u/cur/4.M1.b:2,"));
    links_listings_free(la, wb);
}

/* A list that was begun between the two stays: its UIDs have been shown. */
static void test_list_begun_meanwhile(void **state) {
    struct maildir_uidlist *list;
    Mfp__Listing *la, *wb;

    listed_for_link(NULL, &la, &wb);
    la->v = la->n = 0;
    list = list_read(&p.a);
    maildir_uidlist_set_validity(list, la->base_v + 1);
    list_write(&p.a, list);
    assert_int_equal(merge_of_link(la, wb), -ESTALE);
    list = list_read(&p.a);
    assert_int_equal(maildir_uidlist_validity(list), la->base_v + 1);
    maildir_uidlist_free(list);
    links_listings_free(la, wb);
}

/* The same, with its message there. */
static void test_number_taken_meanwhile(void **state) {
    Mfp__Listing *la, *wb;

    listed_for_link(NULL, &la, &wb);
    add_seen(&p.a, "u", "4.M1.a", "2,", 4, "of a\n");
    assert_int_equal(merge_of_link(la, wb), -ESTALE);
    assert_int_equal(uid_of(&p.a, "u", "4.M1.a"), 4);
    assert_false(fs_there(&p.a, "u/cur/4.M1.b:2,"));
    links_listings_free(la, wb);
}

/* One that has it by now, from elsewhere, keeps it: nothing is in the way. */
static void test_number_come_meanwhile(void **state) {
    Mfp__Listing *la, *wb;

    listed_for_link(NULL, &la, &wb);
    add_seen(&p.a, "u", "4.M1.b", "2,", 4, "of b\n");
    assert_int_equal(merge_of_link(la, wb), 0);
    assert_int_equal(uid_of(&p.a, "u", "4.M1.b"), 4);
    links_listings_free(la, wb);
}

/* A keyword that got its letter meanwhile keeps it. */
static void test_keyword_meanwhile(void **state) {
    Mfp__Listing *la, *wb;
    char *now;

    listed_for_link("0 of-b\n", &la, &wb);
    fs_write(&p.a, "u/dovecot-keywords", "0 of-a\n");
    assert_int_equal(merge_of_link(la, wb), -ESTALE);
    now = fs_read(&p.a, "u/dovecot-keywords");
    assert_string_equal(now, "0 of-a\n");
    free(now);
    links_listings_free(la, wb);
}

/* Who brings nothing is merged with without L: then nothing here can get another number. */
static void test_number_without_lock(void **state) {
    struct maildir_uidlist *list;
    Mfp__Listing *la, *lb, *wb;

    common();
    fs_unlink(&p.a, "u/cur/3.M1.x:2,");
    mark(&p.a, &inbox);
    contact();
    fs_write(&p.a, "u/cur/3.M1.y:2,", "its number has been another's\n");
    list = list_read(&p.a);
    (void)maildir_uidlist_remove(list, "3.M1.x");
    assert_int_equal(maildir_uidlist_put(list, 3, NULL, "3.M1.y"), 0);
    list_write(&p.a, list);
    mark(&p.a, &inbox);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, false, &la), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, false, &lb), 0);
    assert_true(merge_listing_is_base(lb));
    wb = listing_over_wire(lb);
    assert_int_equal(merge_of_link(la, wb), -ESTALE);
    mfp__listing__free_unpacked(lb, NULL);
    links_listings_free(la, wb);
}

#define T(f) cmocka_unit_test_setup_teardown(f, merge_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_told_meanwhile),        T(test_number_given_meanwhile),
        T(test_list_begun_meanwhile),  T(test_number_taken_meanwhile),
        T(test_number_come_meanwhile), T(test_keyword_meanwhile),
        T(test_number_without_lock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
