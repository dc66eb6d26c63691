/* Mailboxes that two nodes change at random, merged many times: no UID is shown for two messages.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "maildir/uidlist.h"
#include "replica/merge.h"
#include "syncd/state_int.h"
#include "merge_pair.h"

/* What each UID was ever shown for, by its first line; in blocks, since power cuts retire many. */
static char shown[32][2048][32];

static char *shown_at(uint32_t uid) {
    assert_true(uid / MERGE_LOST_UIDS < 32 && uid % MERGE_LOST_UIDS < 2048);
    return shown[uid / MERGE_LOST_UIDS][uid % MERGE_LOST_UIDS];
}

static void show(struct node *n) {
    struct maildir_uidlist *list;
    char *text = fs_read(n, "u/dovecot-uidlist");
    size_t i;

    assert_int_equal(maildir_uidlist_parse(text, strlen(text), &list, NULL), 0);
    for (i = 0; i < maildir_uidlist_count(list); i++) {
        const struct maildir_uidrec *r = maildir_uidlist_at(list, i);
        char *was = shown_at(r->uid);
        if (*was && strcmp(was, r->base) != 0)
            fail_msg("UID %u was %s and is %s", r->uid, was, r->base);
        snprintf(was, sizeof(shown[0][0]), "%.31s", r->base);
    }
    maildir_uidlist_free(list);
    free(text);
}

static size_t messages(struct node *n, char names[][64], size_t max) {
    char path[512];
    DIR *d;
    struct dirent *de;
    size_t k = 0;

    snprintf(path, sizeof(path), "%s/u/cur", n->store);
    d = opendir(path);
    while ((de = readdir(d)) && k < max) {
        if (*de->d_name != '.')
            snprintf(names[k++], 64, "%.63s", de->d_name);
    }
    closedir(d);
    return k;
}

/* odd and even numbers keep the two apart, as the gap does */
static void random_act(struct node *n, unsigned *seed, unsigned *serial, unsigned parity) {
    static char names[512][64];
    char from[200], to[200], base[64];
    size_t k = messages(n, names, 512);
    unsigned what = (unsigned)rand_r(seed) % 10, uid;

    if (what < 4 || k == 0) {
        snprintf(base, sizeof(base), "%u.M1.%s", ++*serial, n->name);
        uid = next_in(n);
        if (uid % 2 != parity)
            uid++;
        add_seen(n, "u", base, "2,", uid, base);
        return;
    }
    snprintf(from, sizeof(from), "u/cur/%s", names[(size_t)rand_r(seed) % k]);
    if (what < 6) {
        fs_unlink(n, from);
        return;
    }
    snprintf(to, sizeof(to), "%s", from);
    strcpy(strchr(to, ':'), what == 6 ? ":2," : what == 7 ? ":2,F" : what == 8 ? ":2,S" : ":2,FS");
    fs_rename(n, from, to);
}

static void test_random(void **state) {
    unsigned seed = 20251123, serial = 0;
    int round, i;

    memset(shown, 0, sizeof(shown));
    common();
    for (round = 0; round < 25; round++) {
        for (i = 0; i < 8; i++) {
            if (rand_r(&seed) % 4) {
                random_act(&p.a, &seed, &serial, 0);
                mark(&p.a, &inbox);
            }
            if (rand_r(&seed) % 4) {
                random_act(&p.b, &seed, &serial, 1);
                mark(&p.b, &inbox);
            }
            show(&p.a);
            show(&p.b);
        }
        if (rand_r(&seed) % 5 == 0)
            node_reopen(&p.a);
        contact();
        show(&p.a);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, merge_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
