/*
 * Runs that are not random: executions that break a careless version of this, by their number in
 * docs/RELIABILITY.md. Each must hold, and each must fail when the rule it is about is taken out:
 * so a deliberate fault belongs to each, and both are run.
 */
#include "sim.h"
#include "client_int.h"

#include "replica/merge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { A, B };

/* ---- the stage ---- */

static void begin(void) {
    memset(&world, 0, sizeof world);
    world.trace = options.trace;
    world.rng = 1;
    world.scripted = true;
    world.delay_net = world.delay_disk = world.delay_client = 1;
    world.fault_every = 1000000;
    world.commit = REPLICA_COMMIT_DISK;
    world.parallel = 1;
    world.clients = CLIENTS;
    world.boxes = BOXES;
    check_reset();
    for (unsigned i = 0; i < NODES; i++)
        node_init(&nodes[i], i);
    event_add(E_LINK_TRY, 0, 1);
}

typedef bool condition(void);

/* Time goes on until it is so; it must come within a minute. */
static void until(condition *is, const char *what) {
    uint64_t limit = world.now + 60000;
    while (world.failed == NULL && !is() && world.now < limit && world_step())
        check_step();
    if (world.failed == NULL && !is())
        fail("C5: waited in vain: %s", what);
}

static void pass(uint64_t ms) {
    uint64_t limit = world.now + ms;
    event_add(E_KINDS, 0, ms); /* so that time goes on */
    while (world.failed == NULL && world.now < limit && world_step())
        check_step();
}

static bool in_state(const struct node *n, enum replica_state s) {
    return n->r != NULL && replica_state(n->r) == s;
}

static bool in_sync(void) {
    return in_state(&nodes[A], REPLICA_IN_SYNC) && in_state(&nodes[B], REPLICA_IN_SYNC);
}

static bool alone(void) {
    return in_state(&nodes[A], REPLICA_ALONE) && in_state(&nodes[B], REPLICA_ALONE);
}

static bool nobody(void) {
    for (unsigned n = 0; n < NODES; n++)
        for (unsigned i = 0; i < CLIENTS; i++)
            if (nodes[n].client[i].alive)
                return false;
    return true;
}

static void go(unsigned node, unsigned i, enum client_kind kind, unsigned box, unsigned from) {
    client_start(&nodes[node].client[i], kind, box, from);
}

static void part(void) {
    world.silent = true;
    world.silent_until = UINT64_MAX;
    until(alone, "both alone");
}

static void meet(void) {
    world.silent_until = world.now;
    until(in_sync, "in sync again");
}

/* A message that both know, seen and numbered. */
static uint32_t seen_message(unsigned box) {
    go(A, 0, C_LMTP, box, 0);
    until(nobody, "delivered");
    return nodes[A].store[box].msgs.n > 0 ? nodes[A].store[box].msgs.e[0].name : 0;
}

static void start(void) {
    begin();
    until(in_sync, "in sync");
}

/* ---- the executions ---- */

/* Both serve alone and give UIDs in one mailbox. */
static void uids_alone(void) {
    start();
    part();
    go(A, 0, C_LMTP, 0, 0);
    go(B, 0, C_LMTP, 0, 0);
    until(nobody, "delivered on both");
    meet();
}

/* Neither knows where the token is: both raise. */
static void gaps_alone(void) {
    start();
    part();
    for (unsigned i = 0; i < NODES; i++) {
        node_stop_syncd(&nodes[i]);
        node_start_syncd(&nodes[i]);
    }
    go(A, 0, C_LMTP, 0, 0);
    go(B, 0, C_LMTP, 0, 0);
    until(nobody, "delivered on both");
    meet();
}

/* A folder of one name is made on both sides. */
static void made_alone(void) {
    begin();
    for (unsigned i = 0; i < NODES; i++) { /* it has no list yet */
        struct node *n = &nodes[i];
        n->store[1].v = n->store[1].next = n->base[1].v = n->base[1].next = 0;
        box_copy(&n->base_disk[1], &n->base[1]);
        box_copy(&n->disk.box[1], &n->store[1]);
        box_copy(&n->disk.noted[1], &n->store[1]);
    }
    until(in_sync, "in sync");
    part();
    go(A, 0, C_LMTP, 1, 0);
    go(B, 0, C_LMTP, 1, 0);
    until(nobody, "delivered on both");
    meet();
}

/* One UID on two messages, whoever is to blame: the merge gives it to neither. */
static void uid_of_two(void) {
    const struct merge_state five = {.uid = 5, .in_cur = true};
    const struct merge_entry x = {.base = "x", .is = true, .now = five};
    const struct merge_entry y = {.base = "y", .is = true, .now = {.uid = 4, .in_cur = true}};
    const struct merge_side a = {
        .base_valid = true, .full = true, .validity = 1, .next = 6, .entries = &x, .count = 1};
    const struct merge_side b = {
        .base_valid = true, .full = true, .validity = 1, .next = 6, .entries = &y, .count = 1};
    struct merge_result *r = NULL;
    begin();
    if (merge_mailbox(&a, &b, 0, &r) != 0)
        fail("C3: no merge");
    for (size_t i = 0; r != NULL && i < r->count; i++)
        if (r->items[i].present && r->items[i].state.uid < 6)
            fail("C3: %s keeps UID %u, which was another's on the other side", r->items[i].name,
                 r->items[i].state.uid);
    merge_result_free(r);
}

/* UIDs are given alone, then the power goes before anything is synced, then they meet. */
static void uids_and_power(void) {
    start();
    part();
    go(A, 0, C_VIRTUAL, 0, 0);
    until(nobody, "delivered");
    go(A, 0, C_IMAP, 0, 0);
    until(nobody, "read");
    uint32_t next = nodes[A].store[0].next;
    node_power_cut(&nodes[A], 10);
    if (nodes[A].store[0].next < next)
        fail("C3: UIDs that were shown alone are not in the list any more");
    meet();
    go(B, 0, C_LMTP, 0, 0);
    until(nobody, "delivered");
    pass(5000);
}

static bool a_numbered(void) {
    return nodes[A].lock[0] != NULL && nodes[A].store[0].msgs.n > 0 &&
           nodes[A].store[0].msgs.e[0].s.uid != 0;
}

/* The power goes under L: Dovecot's index has a UID by then, the list on the disk has it not. */
static void index_and_power(void) {
    start();
    go(A, 0, C_VIRTUAL, 0, 0);
    until(nobody, "delivered");
    go(A, 0, C_IMAP, 0, 0);
    until(a_numbered, "numbered");
    node_power_cut(&nodes[A], 10);
    until(in_sync, "in sync again");
    go(B, 0, C_LMTP, 0, 0);
    until(nobody, "delivered");
    pass(5000);
}

static void set_flags(struct node *n, unsigned box, uint32_t name, uint32_t flags) {
    struct state s = list_get(&n->store[box].msgs, name);
    node_mark(n, box);
    s.flags = flags;
    list_set(&n->store[box].msgs, name, s);
    check_dirty(n, box);
}

enum { FLAG = 1 << 20 };

static uint32_t flag_of_first(const struct node *n) {
    return n->store[0].msgs.n > 0 ? n->store[0].msgs.e[0].s.flags & FLAG : 0;
}

static bool a_exchanged(void) {
    return nodes[A].r->exchanged;
}

static bool b_has_flag(void) {
    return flag_of_first(&nodes[B]) != 0;
}

/* A flag that a set, and b alone could apply the merge, since the disk of a is full. The message,
 * and its flags without that one. */
static uint32_t half_merged(uint32_t *flags) {
    start();
    uint32_t name = seen_message(0);
    *flags = nodes[A].store[0].msgs.e[0].s.flags;
    pass(8000);
    part();
    set_flags(&nodes[A], 0, name, *flags | FLAG);
    world.silent_until = world.now;
    until(a_exchanged, "marks exchanged");
    nodes[A].disk_full = true;
    until(b_has_flag, "merged by b");
    pass(100);
    return name;
}

/* Then somebody clears it. */
static void half_and_cleared(unsigned by) {
    uint32_t flags, name = half_merged(&flags);
    set_flags(&nodes[by], 0, name, flags);
    nodes[A].disk_full = false;
    until(in_sync, "in sync again");
    for (unsigned i = 0; i < NODES; i++)
        if (flag_of_first(&nodes[i]) != 0)
            fail("C6: %s: a flag that was cleared is set again", nodes[i].name);
}

static void half_merged_there(void) {
    half_and_cleared(B);
}

static void half_merged_here(void) {
    half_and_cleared(A);
}

static bool b_has_message(void) {
    return nodes[B].store[0].msgs.n > 0;
}

/* It came to a alone, and b alone carried out the merge; then somebody expunges it. */
static void half_and_expunged(unsigned by) {
    start();
    part();
    uint32_t name = seen_message(0);
    world.silent_until = world.now;
    until(a_exchanged, "marks exchanged");
    nodes[A].disk_full = true;
    until(b_has_message, "merged by b");
    pass(100);
    check_expunging(by, 0, name);
    node_mark(&nodes[by], 0);
    list_set(&nodes[by].store[0].msgs, name, (struct state){0});
    check_dirty(&nodes[by], 0);
    nodes[A].disk_full = false;
    until(in_sync, "in sync again");
    for (unsigned i = 0; i < NODES; i++)
        if (list_get(&nodes[i].store[0].msgs, name).is)
            fail("C6: %s: a message that was expunged is back", nodes[i].name);
}

static void half_expunged_there(void) {
    half_and_expunged(B);
}

static void half_expunged_here(void) {
    half_and_expunged(A);
}

static bool a_lacks_flag(void) {
    return flag_of_first(&nodes[A]) == 0;
}

/* Then b clears it, and a hears of that before the next merge, and sets it once more. */
static void half_merged_and_told(void) {
    uint32_t flags, name = half_merged(&flags);
    struct node *n = &nodes[B];
    struct state was = list_get(&n->store[0].msgs, name);
    nodes[A].disk_full = false;
    set_flags(n, 0, name, flags);
    struct txn *t = calloc(1, sizeof *t);
    if (t == NULL)
        abort();
    txn_add(t, name, was, list_get(&n->store[0].msgs, name));
    struct replica_payload *p = txn_wrap(t);
    replica_act(n->r, node_now(n), box_id(0), p, NULL, 0, false);
    replica_payload_unref(p);
    until(a_lacks_flag, "cleared on a, too");
    set_flags(&nodes[A], 0, name, flags | FLAG);
    until(in_sync, "in sync again");
    for (unsigned i = 0; i < NODES; i++)
        if (flag_of_first(&nodes[i]) == 0)
            fail("C6: %s: a flag that was set anew is clear", nodes[i].name);
}

/* The other's disk takes its time. */
static void slow_disk(void) {
    start();
    world.delay_disk = 400;
    go(A, 0, C_LMTP, 0, 0);
    until(nobody, "delivered");
    world.delay_disk = 1;
}

static bool b_has_journal(void) {
    return nodes[B].journal != NULL;
}

/* Acknowledged, not applied yet, then alone: L must not be given on top of it. */
static void unapplied(void) {
    start();
    go(A, 0, C_LMTP, 0, 0);
    world.delay_disk = 2000;
    until(b_has_journal, "in the journal of b");
    part();
    go(B, 0, C_IMAP, 0, 0);
    until(nobody, "read");
    world.delay_disk = 1;
    meet();
}

static bool b_applied(void) {
    return nodes[B].store[0].msgs.n > 0;
}

/* Applied, and the power goes before the store is synced: the journal has it still. */
static void applied_and_power(void) {
    start();
    go(A, 0, C_LMTP, 0, 0);
    until(b_applied, "applied");
    node_power_cut(&nodes[A], 30000);
    node_power_cut(&nodes[B], 10);
    pass(2000);
    if (!node_content_there(&nodes[B], 0, 1))
        fail("C4: what was acknowledged is not on b");
}

/* A message is moved alone; its removal must not be carried out before its addition is there. */
static void move_halved(void) {
    start();
    seen_message(0);
    part();
    go(A, 0, C_MOVE, 1, 0);
    until(nobody, "moved");
    world.silent_until = world.now;
    until(in_sync, "in sync");
    check_step();
}

static bool b_prepared(void) {
    return nodes[B].prepared != NULL && nodes[B].prepared->durable;
}

/* The origin dies with a content prepared; it is published once, and not again at the next start.
 */
static void published_once(void) {
    start();
    go(A, 0, C_VIRTUAL, 0, 0);
    until(b_prepared, "prepared on b");
    node_power_cut(&nodes[A], 20000);
    pass(5000);
    node_stop_syncd(&nodes[B]);
    node_start_syncd(&nodes[B]);
    pass(1000);
    if (nodes[B].store[0].msgs.n != 1)
        fail("C7: %zu messages of one", nodes[B].store[0].msgs.n);
}

static bool a_prepared(void) {
    return b_prepared() && nodes[A].client[0].wait == W_NOTHING;
}

/* Who delivers is told that it has failed, and the link goes with the abort: whoever tries it again
 * has it there once. */
static void aborted_and_cut(void) {
    start();
    go(A, 0, C_VIRTUAL, 0, 0);
    until(a_prepared, "prepared on b");
    client_die_alone(&nodes[A].client[0]);
    link_close(A);
    replica_disconnected(nodes[A].r, node_now(&nodes[A]));
    until(alone, "both alone");
    until(in_sync, "in sync again");
    pass(10000);
    if (world.published != 0)
        fail("C7: what was aborted is published");
}

static bool a_named(void) {
    return nobody() && nodes[B].store[0].msgs.n == 1;
}

/* The content gets its name from its origin; nobody gives it one at the next start. */
static void named_and_started(void) {
    start();
    go(A, 0, C_VIRTUAL, 0, 0);
    until(a_named, "delivered on both");
    node_stop_syncd(&nodes[B]);
    node_start_syncd(&nodes[B]);
    until(in_sync, "in sync again");
}

static bool put_off(void) {
    return world.put_off > 0;
}

/* The other node is about to publish it, and has no room, when that is said. */
static void aborted_before_published(void) {
    start();
    go(A, 0, C_VIRTUAL, 0, 0);
    until(a_prepared, "prepared on b");
    nodes[B].disk_full = true;
    link_close(A);
    replica_disconnected(nodes[A].r, node_now(&nodes[A]));
    client_die_alone(&nodes[A].client[0]);
    part();
    until(put_off, "no room to publish it");
    nodes[B].disk_full = false;
    meet();
    pass(20000);
    if (world.published != 0)
        fail("C7: what was aborted is published");
}

static bool expunged_there(void) {
    return nodes[B].journal == NULL && nodes[B].store[0].msgs.n == 0;
}

/* The power of an in-sync node goes: what was expunged must not come back. */
static void expunged_and_power(void) {
    start();
    seen_message(0);
    pass(8000); /* checkpoints on both */
    struct node *n = &nodes[A];
    uint32_t name = n->store[0].msgs.e[0].name;
    struct txn *t = calloc(1, sizeof *t);
    if (t == NULL)
        abort();
    node_mark(n, 0);
    txn_add(t, name, list_get(&n->store[0].msgs, name), (struct state){0});
    list_set(&n->store[0].msgs, name, (struct state){0});
    check_expunging(A, 0, name);
    check_dirty(n, 0);
    struct replica_payload *p = txn_wrap(t);
    replica_act(n->r, node_now(n), box_id(0), p, NULL, 0, false);
    replica_payload_unref(p);
    until(expunged_there, "expunged on b, and synced there");
    node_power_cut(n, 10);
    until(in_sync, "in sync again");
    for (unsigned i = 0; i < NODES; i++)
        if (nodes[i].store[0].msgs.n != 0)
            fail("C6: what was expunged is there again");
}

static bool a_is_to_list(void) {
    const struct mailfs_id id = box_id(0);
    const struct dir *d = nodes[A].r != NULL ? replica_dir_find(nodes[A].r, &id) : NULL;
    return d != NULL && d->stage == STAGE_FROZEN && !d->round.frozen_listed && d->job == JOB_NONE;
}

/* A folder is made while its mailbox is frozen for its merge, and not listed yet. */
static void folder_while_frozen(void) {
    start();
    part();
    go(A, 0, C_VIRTUAL, 0, 0);
    until(nobody, "delivered");
    world.silent_until = world.now;
    until(a_is_to_list, "frozen");
    client_change_folder(&nodes[A], 0);
    until(in_sync, "in sync again");
}

/* Each lost what only the other still knows: nothing of it may be taken for removed. */
static void power_of_both(void) {
    start();
    seen_message(0);
    pass(8000);
    go(A, 0, C_VIRTUAL, 0, 0);
    go(B, 0, C_VIRTUAL, 0, 0);
    until(nobody, "delivered on both");
    pass(20);
    node_power_cut(&nodes[A], 10);
    node_power_cut(&nodes[B], 10);
    until(in_sync, "in sync again");
}

/* Nothing gets through, and nothing is on its way that would be missed: that alone ends the link,
 * and who wants L where the token is not has it then. */
static void silent_peer(void) {
    start();
    seen_message(0);
    pass(8000);
    world.silent = true;
    world.silent_until = UINT64_MAX;
    pass(5000);
    go(B, 0, C_IMAP, 0, 0);
    until(nobody, "read");
    if (!in_state(&nodes[B], REPLICA_ALONE))
        fail("C5: the peer is silent, and b has not noticed");
    meet();
}

/* A disk answers nothing, its syncd goes on pinging: nobody waits longer than the timeout. */
static void hung_disk(void) {
    start();
    nodes[B].hung_until = world.now + 30000;
    go(A, 0, C_VIRTUAL, 0, 0);
    until(nobody, "delivered");
    pass(30000);
}

struct execution {
    const char *section, *what;
    void (*run)(void);
    enum replica_mutant mutant;
};

static const struct execution executions[] = {
    {"2", "UIDs given on both sides alone", uids_alone, MUTANT_NO_RAISE},
    {"2", "UIDs given alone, and nobody knows who has the token", gaps_alone, MUTANT_EQUAL_RAISE},
    {"2", "one UID on two messages", uid_of_two, MUTANT_REBIND},
    {"2", "UIDs given alone, and a power cut", uids_and_power, MUTANT_UNSYNCED_LIST},
    {"2", "a UID in an index, and a power cut", index_and_power, MUTANT_SHOWN_AGAIN},
    {"3", "half a merge, and the flag cleared there", half_merged_there, MUTANT_FORGET_HALF},
    {"3", "half a merge, and the flag cleared here", half_merged_here, MUTANT_FORGET_HALF},
    {"3", "half a merge, and expunged where it came to", half_expunged_there, MUTANT_FORGET_HALF},
    {"3", "half a merge, and expunged where it came from", half_expunged_here, MUTANT_FORGET_HALF},
    {"3", "half a merge, and a transaction since", half_merged_and_told, MUTANT_STALE_HALF},
    {"4", "acknowledged, not applied, then alone", unapplied, MUTANT_GRANT_UNAPPLIED},
    {"4", "applied, and a power cut", applied_and_power, MUTANT_JOURNAL_EARLY},
    {"5", "a move halved by catching up", move_halved, MUTANT_CAUGHT_UP_EARLY},
    {"6", "published by a dead origin's peer", published_once, MUTANT_NO_PUBLISH},
    {"6", "and not twice", published_once, MUTANT_PUBLISH_TWICE},
    {"6", "named by its origin, and a start", named_and_started, MUTANT_NOT_CONSUMED},
    {"6", "aborted, and the link goes", aborted_and_cut, MUTANT_ABORT_ONCE},
    {"6", "aborted, and not published yet", aborted_before_published, MUTANT_ABORT_KNOWN},
    {"8", "expunged, and a power cut", expunged_and_power, MUTANT_FORGET_REMOVAL},
    {"8", "a power cut of both", power_of_both, MUTANT_ABSENT_REMOVED},
    {"10", "a folder made while its mailbox is frozen", folder_while_frozen, MUTANT_LIST_FOLDERS},
    {"12", "durable before it is acknowledged", slow_disk, MUTANT_ACK_EARLY},
    {"14", "a peer that pings and never acknowledges", hung_disk, MUTANT_NO_DEADLINE},
    {"14", "a peer that is silent, and nothing is on its way", silent_peer, MUTANT_NO_SILENCE},
    {"15", "a folder made on both sides alone", made_alone, MUTANT_EQUAL_VALIDITY},
};

/* True: it holds. */
static bool hold(const struct execution *x) {
    x->run();
    if (world.failed == NULL)
        run_down();
    bool good = world.failed == NULL;
    return good;
}

static bool run_one(const struct execution *x) {
    bool good = hold(x), found;
    char text[sizeof world.failure] = "";
    if (!good)
        printf("8.%s: at %llu ms: %s\n", x->section, (unsigned long long)world.now, world.failure);
    world_free();
    replica_mutant = x->mutant;
    found = !hold(x) && failed_in(mutants[x->mutant].check);
    memcpy(text, world.failure, sizeof text);
    replica_mutant = MUTANT_NONE;
    world_free();
    printf("%s execution 8.%s: %s\n", good ? "PASS" : "FAIL", x->section, x->what);
    printf("without (%s): %.100s\n", mutants[x->mutant].name, text);
    printf("%s execution 8.%s: fails without its rule (%s), in %s\n", found ? "PASS" : "FAIL",
           x->section, mutants[x->mutant].name, mutants[x->mutant].check);
    return good && found;
}

bool executions_run(void) {
    bool good = true;
    for (size_t i = 0; i < sizeof executions / sizeof *executions; i++)
        good = run_one(&executions[i]) && good;
    fflush(stdout);
    return good;
}

bool executions_find(enum replica_mutant m) {
    bool found = false;
    for (size_t i = 0; i < sizeof executions / sizeof *executions && !found; i++) {
        if (executions[i].mutant != m)
            continue;
        found = !hold(&executions[i]) && failed_in(mutants[m].check);
        world_free();
    }
    return found;
}
