/* While the nodes were apart each has given the first letter to a keyword of its own: whatever
 * comes between the steps of the merge, no message has a keyword that nobody gave it. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "maildir/keywords.h"
#include "merge_pair.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "syncd/state_int.h"
#include "tests/unit/io_fault.h"

/* The keywords of a message by name, as a mail client is told; of the two letters of one that is
 * moving only the keyword. */
static void keywords_of(struct node *n, const char *base, char out[200]) {
    struct maildir_keywords *kw;
    struct maildir_name name;
    char path[300], *text;
    struct dirent *de;
    unsigned i, found = 0;
    DIR *d;

    snprintf(path, sizeof(path), "%s/u/cur", n->store);
    text = fs_read(n, "u/dovecot-keywords");
    assert_int_equal(maildir_keywords_parse(text ? text : "", text ? strlen(text) : 0, &kw, NULL),
                     0);
    free(text);
    d = opendir(path);
    assert_non_null(d);
    *out = '\0';
    while ((de = readdir(d))) {
        if (!maildir_name_same_base(de->d_name, base))
            continue;
        found++;
        assert_int_equal(maildir_name_parse(de->d_name, strlen(de->d_name), &name), 0);
        for (i = 0; i < MAILDIR_LETTERS; i++) {
            const char *word = maildir_keywords_at(kw, i);
            if (!((name.keywords >> i) & 1))
                continue;
            assert_non_null(word);
            while (strncmp(word, MAILDIR_KEYWORD_MOVING, strlen(MAILDIR_KEYWORD_MOVING)) == 0)
                word += strlen(MAILDIR_KEYWORD_MOVING);
            strcat(strcat(out, " "), word);
        }
    }
    closedir(d);
    maildir_keywords_free(kw);
    assert_int_equal(found, 1);
}

static void assert_keywords(struct node *n, const char *base, const char *want) {
    char have[200];

    keywords_of(n, base, have);
    assert_string_equal(have, want);
}

/* 1 has Work since, by the one node, and 3 has Fun, by the other: of the two Work gets another
 * letter. */
static void letters_apart(struct node *work, struct node *fun) {
    common();
    fs_write(work, "u/dovecot-keywords", "0 Work\n");
    fs_rename(work, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,a");
    mark(work, &inbox);
    fs_write(fun, "u/dovecot-keywords", "0 Fun\n");
    fs_rename(fun, "u/cur/3.M1.x:2,", "u/cur/3.M1.x:2,a");
    mark(fun, &inbox);
    stores_checkpoint(&p);
}

static void letters_are_right(struct node *n) {
    assert_keywords(n, "1.M1.x", " Work");
    assert_keywords(n, "2.M1.x", "");
    assert_keywords(n, "3.M1.x", " Fun");
}

/* What a carries out of the merge until it is ended: 1 has nothing but Work, 3 has Fun or nothing
 * yet. */
static void each_step(void **state, enum fault_kind kind) {
    char three[200], *text;
    bool more = true;
    unsigned at;

    for (at = 0; more; at++) {
        if (at > 0) {
            mailbox_teardown(state);
            merge_setup(state);
        }
        letters_apart(&p.a, &p.b);
        fault_start(p.a.root, kind, at, -EIO);
        try_at(&p.a, &p.b);
        fault_power_on();
        more = fault_happened();
        assert_keywords(&p.a, "1.M1.x", " Work");
        keywords_of(&p.a, "3.M1.x", three);
        assert_true(*three == '\0' || strcmp(three, " Fun") == 0);
        if (kind == FAULT_FAIL)
            merge(&inbox);
        if (kind == FAULT_CUT)
            node_reopen(&p.a);
        else
            node_killed(&p.a); /* a sync that failed once ends all checkpoints */
        contact();
        letters_are_right(&p.a);
        letters_are_right(&p.b);
        text = fs_read(&p.a, "u/dovecot-keywords");
        assert_string_equal(text, "0 Fun\n1 Work\n");
        free(text);
    }
    assert_true(at > 10);
}

static void test_killed_at_each_step(void **state) {
    each_step(state, FAULT_KILL);
}

static void test_power_cut_at_each_step(void **state) {
    each_step(state, FAULT_CUT);
}

static void test_each_step_fails(void **state) {
    each_step(state, FAULT_FAIL);
}

/* Work was on its way to another letter when a was killed, 1 is there and 2 is not, and meanwhile b
 * has given that one as well. */
static void given_meanwhile(void) {
    common();
    fs_write(&p.a, "u/dovecot-keywords", "0 Work\n1 " MAILDIR_KEYWORD_MOVING "Work\n");
    fs_rename(&p.a, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,b");
    fs_rename(&p.a, "u/cur/2.M1.x:2,S", "u/cur/2.M1.x:2,Sa");
    mark(&p.a, &inbox);
    fs_write(&p.b, "u/dovecot-keywords", "0 Fun\n1 Blue\n");
    fs_rename(&p.b, "u/cur/3.M1.x:2,", "u/cur/3.M1.x:2,ab");
    mark(&p.b, &inbox);
    stores_checkpoint(&p);
}

static void test_killed_once_more(void **state) {
    bool more = true;
    unsigned at;
    char *text;

    for (at = 0; more; at++) {
        if (at > 0) {
            mailbox_teardown(state);
            merge_setup(state);
        }
        given_meanwhile();
        fault_start(p.a.root, FAULT_KILL, at, -EIO);
        try_at(&p.a, &p.b);
        fault_power_on();
        more = fault_happened();
        assert_keywords(&p.a, "1.M1.x", " Work");
        assert_keywords(&p.a, "2.M1.x", " Work");
        node_killed(&p.a);
        contact();
        assert_keywords(&p.b, "1.M1.x", " Work");
        assert_keywords(&p.b, "2.M1.x", " Work");
        assert_keywords(&p.a, "3.M1.x", " Fun Blue");
        text = fs_read(&p.a, "u/dovecot-keywords");
        assert_string_equal(text, "0 Fun\n1 Blue\n2 Work\n");
        free(text);
    }
    assert_true(at > 10);
}

/* b had carried it out. */
static void test_after_the_other(void **state) {
    letters_apart(&p.a, &p.b);
    merge_at(&p.b, &p.a);
    contact();
    letters_are_right(&p.a);
    letters_are_right(&p.b);
}

/* By the merge of a one-way link, which looks at what was done to a message since it was listed. */
static void test_of_a_link(void **state) {
    letters_apart(&p.a, &p.b);
    fs_rename(&p.b, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,S");
    p.a.st->main = p.a.st;
    merge_at(&p.a, &p.b);
    p.a.st->main = NULL;
    assert_true(fs_there(&p.a, "u/cur/1.M1.x:2,Sb"));
    letters_are_right(&p.a);
}

/* The nodes are connected again, and the mailbox is not merged yet: what b does meanwhile comes by
 * transactions, with its letters. */
static void test_by_a_transaction(void **state) {
    struct acts a = {.n = 0};
    char *text;

    letters_apart(&p.a, &p.b);
    act_file(&a, "dovecot-keywords");
    act_move(&a, MFL__SUB__CUR, "3.M1.x:2,", MFL__SUB__CUR, "3.M1.x:2,a");
    fs_write(&p.b, "u/cur/4.M1.x:2,a", "four\n");
    act_add(&p.b, &a, "u", MFL__SUB__CUR, "4.M1.x:2,a", 0);
    assert_true(stores_send(&p.b, &p.a, &inbox, &a, true));
    text = fs_read(&p.a, "u/dovecot-keywords");
    assert_string_equal(text, "0 Work\n");
    free(text);
    assert_keywords(&p.a, "1.M1.x", " Work");
    assert_keywords(&p.a, "3.M1.x", "");
    fs_rename(&p.b, "u/cur/2.M1.x:2,S", "u/cur/2.M1.x:2,Sa"); /* the table has been sent */
    act_move(&a, MFL__SUB__CUR, "2.M1.x:2,S", MFL__SUB__CUR, "2.M1.x:2,Sa");
    assert_true(stores_send(&p.b, &p.a, &inbox, &a, true));
    assert_keywords(&p.a, "2.M1.x", "");
    fs_rename(&p.b, "u/cur/2.M1.x:2,Sa", "u/cur/2.M1.x:2,FS"); /* nor is this without it held up */
    act_move(&a, MFL__SUB__CUR, "2.M1.x:2,Sa", MFL__SUB__CUR, "2.M1.x:2,FS");
    stores_send(&p.b, &p.a, &inbox, &a, true);
    assert_true(fs_there(&p.a, "u/cur/2.M1.x:2,FS"));
    contact();
    letters_are_right(&p.a);
    letters_are_right(&p.b);
    assert_keywords(&p.a, "4.M1.x", " Fun");
    assert_keywords(&p.b, "4.M1.x", " Fun");
}

/* All letters are given: those that are moved are after the table, as there is no other way. */
static void test_no_letter_is_free(void **state) {
    char table[2][MAILDIR_LETTERS * 16] = {"", ""}, line[32];
    int i;

    letters_apart(&p.a, &p.b);
    for (i = 0; i < MAILDIR_LETTERS; i++) {
        snprintf(line, sizeof(line), "%d %s\n", i, i == 0 ? "Work" : "x");
        if (i > 0)
            snprintf(line, sizeof(line), "%d x%d\n", i, i);
        strcat(table[0], line);
        if (i == 0)
            snprintf(line, sizeof(line), "0 Fun\n");
        strcat(table[1], line);
    }
    fs_write(&p.a, "u/dovecot-keywords", table[0]);
    fs_write(&p.b, "u/dovecot-keywords", table[1]);
    contact();
    assert_keywords(&p.a, "1.M1.x", "");
    assert_keywords(&p.a, "3.M1.x", " Fun");
}

#define T(f) cmocka_unit_test_setup_teardown(f, merge_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_killed_at_each_step), T(test_power_cut_at_each_step), T(test_each_step_fails),
        T(test_killed_once_more),    T(test_after_the_other),        T(test_of_a_link),
        T(test_by_a_transaction),    T(test_no_letter_is_free),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
