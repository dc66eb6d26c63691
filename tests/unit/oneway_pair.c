/* oneway_pair - see oneway_pair.h */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "syncd/base.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "oneway_pair.h"

struct pair ends;
struct state *links[2];
struct mailfs_id shared;

static struct state *link_open(const char *peer) {
    char dir[256];
    struct state_config conf = {
        .store = ends.a.store, .dir = dir, .node = "a", .peer = peer, .main = ends.a.st};
    struct state_start start;
    struct state *st;

    snprintf(dir, sizeof(dir), "%s/%s", ends.a.root, peer);
    mkdir(dir, 0700);
    assert_int_equal(state_open(&conf, &st, &start), 0);
    assert_int_equal(state_set_contact(st, true), 0);
    merge_broken_off(st, true);
    return st;
}

void oneway_agree_on(struct state *st, const struct mailfs_id *id) {
    struct base_dir rec;

    assert_int_equal(base_dir_get(ends.a.st, id, &rec), 0);
    rec.agreed = rec.merged = true;
    assert_int_equal(base_dir_put(st, id, &rec), 0);
}

int oneway_setup(void **state) {
    stores_open(&ends);
    shared = stores_mailbox(&ends.a, &ends.b, "", "u");
    for (size_t i = 0; i < 2; i++) {
        links[i] = link_open(i ? "y" : "x");
        oneway_agree_on(links[i], &shared);
    }
    return 0;
}

int oneway_teardown(void **state) {
    state_close(links[0]);
    state_close(links[1]);
    stores_close(&ends);
    return 0;
}

void oneway_killed(void) {
    state_close(links[0]);
    state_close(links[1]);
    node_killed(&ends.a);
    for (size_t i = 0; i < 2; i++)
        links[i] = link_open(i ? "y" : "x");
}

int oneway_follow_alone(enum fault_kind kind, unsigned at) {
    struct node a = ends.a;
    uint8_t digest[STATE_DIGEST];
    Mfp__Listing *la, *lb;
    int r;

    a.st = links[0];
    assert_int_equal(scan_mailbox_for(links[0], &shared, true, &links[1], 1, &la), 0);
    assert_int_equal(scan_mailbox(ends.b.st, &shared, true, &lb), 0);
    stores_stage(&ends.b, &a, lb);
    fault_start(ends.a.root, kind, at, -ENOSPC);
    r = merge_mailbox_run(links[0], &shared, la, lb, digest, NULL);
    fault_power_on();
    mfp__listing__free_unpacked(la, NULL);
    mfp__listing__free_unpacked(lb, NULL);
    return r;
}

static void merge_with(Mfp__Listing *la) {
    struct node a = ends.a;
    uint8_t da[STATE_DIGEST], db[STATE_DIGEST];
    Mfp__Listing *lb;

    a.st = links[0];
    assert_int_equal(scan_mailbox(ends.b.st, &shared, true, &lb), 0);
    stores_stage(&ends.b, &a, lb);
    stores_stage(&a, &ends.b, la);
    assert_int_equal(merge_mailbox_run(links[0], &shared, la, lb, da, NULL), 0);
    assert_int_equal(merge_mailbox_run(ends.b.st, &shared, lb, la, db, NULL), 0);
    assert_memory_equal(da, db, STATE_DIGEST);
    assert_int_equal(merge_mailbox_done(links[0], &shared), 0);
    assert_int_equal(merge_mailbox_done(ends.b.st, &shared), 0);
    mfp__listing__free_unpacked(la, NULL);
    mfp__listing__free_unpacked(lb, NULL);
}

void oneway_follow(void) {
    Mfp__Listing *l;

    assert_int_equal(scan_mailbox_for(links[0], &shared, true, &links[1], 1, &l), 0);
    merge_with(l);
}

void oneway_only_follow(void) {
    Mfp__Listing *l;

    assert_int_equal(scan_mailbox_following(links[0], &shared, true, &links[1], 1, &l), 0);
    merge_with(l);
}

void oneway_only_follow_half(void) {
    struct node a = ends.a;
    uint8_t digest[STATE_DIGEST];
    Mfp__Listing *la, *lb;

    a.st = links[0];
    assert_int_equal(scan_mailbox_following(links[0], &shared, true, &links[1], 1, &la), 0);
    assert_int_equal(scan_mailbox(ends.b.st, &shared, true, &lb), 0);
    stores_stage(&ends.b, &a, lb);
    assert_int_equal(merge_mailbox_run(links[0], &shared, la, lb, digest, NULL), 0);
    merge_mailbox_half(links[0], &shared);
    mfp__listing__free_unpacked(la, NULL);
    mfp__listing__free_unpacked(lb, NULL);
}

int oneway_told_to_second(const char *base) {
    Mfp__Listing *l;
    int is = -1;

    assert_int_equal(scan_mailbox_for(links[1], &shared, false, &links[0], 1, &l), 0);
    for (size_t i = 0; i < l->n_msgs; i++) {
        if (strcmp(l->msgs[i]->bname, base) == 0)
            is = l->msgs[i]->borrowed;
    }
    mfp__listing__free_unpacked(l, NULL);
    return is;
}
