/* merge_pair - see merge_pair.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "maildir/uidlist.h"
#include "syncd/base.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "syncd/state_int.h"
#include "merge_pair.h"

int merge_setup_empty(void **state) {
    stores_open(&p);
    return 0;
}

int merge_setup(void **state) {
    mailbox_setup(state);
    fs_write(&p.a, "u/dovecot-uidlist", "3 V1700000000 N1 G0123456789abcdef0123456789abcdef\n");
    return 0;
}

void merge(const struct mailfs_id *dir) {
    contact_mailbox(&p, dir);
}

void contact(void) {
    assert_int_equal(contact_all(&p), 0);
}

void mark(struct node *n, const struct mailfs_id *dir) {
    contact_mark(n, dir);
}

void add_new(struct node *n, const char *mbox, const char *base, const char *text) {
    char rel[300];

    snprintf(rel, sizeof(rel), "%s/new/%s", mbox, base);
    fs_write(n, rel, text);
}

void add_seen(struct node *n, const char *mbox, const char *base, const char *info, unsigned uid,
              const char *text) {
    char rel[300], line[300];

    snprintf(rel, sizeof(rel), "%s/cur/%s:%s", mbox, base, info);
    fs_write(n, rel, text);
    snprintf(rel, sizeof(rel), "%s/dovecot-uidlist", mbox);
    snprintf(line, sizeof(line), "%u :%s\n", uid, base);
    fs_append(n, rel, line);
}

unsigned uid_of(struct node *n, const char *mbox, const char *base) {
    struct maildir_uidlist *list;
    const struct maildir_uidrec *rec;
    char rel[300], *text;
    unsigned uid;

    snprintf(rel, sizeof(rel), "%s/dovecot-uidlist", mbox);
    text = fs_read(n, rel);
    if (!text)
        return 0;
    assert_int_equal(maildir_uidlist_parse(text, strlen(text), &list, NULL), 0);
    rec = maildir_uidlist_find(list, base, strlen(base));
    uid = rec ? rec->uid : 0;
    maildir_uidlist_free(list);
    free(text);
    return uid;
}

unsigned next_in(struct node *n) {
    struct maildir_uidlist *list;
    char *text = fs_read(n, "u/dovecot-uidlist");
    unsigned next;

    assert_int_equal(maildir_uidlist_parse(text, strlen(text), &list, NULL), 0);
    next = maildir_uidlist_next(list);
    maildir_uidlist_free(list);
    free(text);
    return next;
}

/* Both have three messages, numbered, in a common base. */
void common(void) {
    add_seen(&p.a, "u", "1.M1.x", "2,", 1, "one\n");
    add_seen(&p.a, "u", "2.M1.x", "2,S", 2, "two\n");
    add_seen(&p.a, "u", "3.M1.x", "2,", 3, "three\n");
    mark(&p.a, &inbox);
    contact();
    assert_int_equal(uid_of(&p.b, "u", "3.M1.x"), 3);
}

/* a's changes and b's meet, and b alone can carry the merge out: the disk of a is full. */
int try_at(struct node *here, struct node *other) {
    uint8_t digest[STATE_DIGEST];
    Mfp__Listing *mine, *theirs;
    int r;

    assert_int_equal(scan_mailbox(here->st, &inbox, false, &mine), 0);
    assert_int_equal(scan_mailbox(other->st, &inbox, false, &theirs), 0);
    stores_stage(other, here, theirs);
    r = merge_mailbox_run(here->st, &inbox, mine, theirs, digest, NULL);
    merge_mailbox_forget(here->st, &inbox);
    mfp__listing__free_unpacked(mine, NULL);
    mfp__listing__free_unpacked(theirs, NULL);
    return r;
}

void merge_at(struct node *here, struct node *other) {
    assert_int_equal(try_at(here, other), 0);
}

void keyword(struct node *n, const char *word) {
    char line[32];

    snprintf(line, sizeof(line), "0 %s\n", word);
    fs_write(n, "u/dovecot-keywords", line);
    fs_rename(n, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,a");
    mark(n, &inbox);
}

void make_box(struct node *n, const char *rel) {
    char sub[300];

    fs_mkdir(n, rel);
    snprintf(sub, sizeof(sub), "%s/cur", rel);
    fs_mkdir(n, sub);
    snprintf(sub, sizeof(sub), "%s/new", rel);
    fs_mkdir(n, sub);
}
