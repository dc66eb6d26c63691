/*
 * How a node begins and ends: starts, the deaths of its daemons, the power cut, and the checkpoint,
 * which decides what is left then.
 *
 * Of syncd's own state the journal, the marks and prepared contents are durable when the machine is
 * told so. The base, and which entries of the journal have been applied, outlive syncd in the page
 * cache (syncd/recent.h), and no power cut: after that the base is that of the last checkpoint,
 * which writes it after a syncfs of the store, in the one commit that removes the journal entries
 * applied by then; marks are cleared last.
 */
#include "client_int.h"

#include <stdlib.h>
#include <string.h>

uint64_t node_now(const struct node *n) {
    return world.now - n->lag;
}

/* A mark is durable before what it is made for. */
void node_mark(struct node *n, unsigned box) {
    n->mark[box] = n->gen;
}

static void base_reset(struct node *n) {
    for (unsigned b = 0; b < BOXES; b++) {
        list_free(&n->base[b].msgs);
        memset(&n->base[b], 0, sizeof n->base[b]);
    }
}

void node_init(struct node *n, unsigned index) {
    memset(n, 0, sizeof *n);
    n->index = index;
    n->name = index == 0 ? "a" : "b";
    n->gen = 1;
    n->incarnation = NODES + index;
    n->recent_lost = true; /* there is none yet */
    n->had_contact = n->met = !world.first_contact;
    for (unsigned b = 0; b < BOXES; b++) {
        if (!world.first_contact) {
            n->store[b].v = n->base[b].v = 1;
            n->store[b].next = n->base[b].next = 1;
            n->base[b].valid = true;
        } else {
            node_mark(n, b);
        }
        box_copy(&n->base_disk[b], &n->base[b]);
        box_copy(&n->disk.box[b], &n->store[b]);
        box_copy(&n->disk.noted[b], &n->store[b]);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        n->client[i].node = index;
        n->client[i].index = i;
    }
    node_start_syncd(n);
}

/* ---- a start ---- */

static int by_order(const struct journaled *a, const struct journaled *b) {
    return a->order < b->order ? -1 : a->order > b->order;
}

/* What has not been applied; after a power cut nobody knows what has. */
static void replay(struct node *n) {
    uint64_t at = 0;
    struct journaled *j;
    DL_SORT(n->journal, by_order);
    DL_FOREACH(n->journal, j) {
        const struct txn *t = j->payload->data;
        if (j->applied)
            continue;
        replica_replaying(n->r, box_id(t->box));
        event_add(E_REPLAYED, n->index, at += 1 + some_time(world.delay_disk))->box = t->box;
    }
}

static void publish_leftovers(struct node *n) {
    struct prepared *p, *tmp;
    DL_FOREACH_SAFE(n->prepared, p, tmp) {
        if (p->durable)
            node_publish(n, p);
        else
            node_drop_prepared(n, p);
    }
}

/* The state on disk is what there is. */
static void forget_recent(struct node *n) {
    struct journaled *j;
    DL_FOREACH(n->journal, j) {
        j->applied = false;
    }
    for (unsigned b = 0; b < BOXES; b++)
        box_copy(&n->base[b], &n->base_disk[b]);
    n->recent_lost = true;
}

void node_start_syncd(struct node *n) {
    if (n->r != NULL)
        return;
    if (world.now < n->off_until) {
        event_add(E_SYNCD_START, n->index, n->off_until - world.now);
        return;
    }
    struct replica_config config = {
        .node = n->name,
        .peer = n->index == 0 ? "b" : "a",
        .commit = world.commit,
        .had_contact = n->met,
        .caught_up = n->had_contact,
        .timeout_ms = 3000,
        .lock_wait_ms = 200,
        .merge_wait_ms = 1000,
        .first_wait_ms = 2250,
        .freeze_ms = 5000,
        .merge_parallel = world.parallel,
        .merge_bytes = world.parallel == 3 ? 2000 : 0, /* two listings of fifteen messages each */
        .max_unacked = 1000,
    };
    n->r = replica_new(&config, node_now(n));
    if (n->r == NULL)
        abort();
    trace("%s: syncd starts", n->name);
    n->life++;
    n->tick_at = UINT64_MAX;
    memset(n->hint, 0, sizeof n->hint);
    memset(n->raised_alone, 0, sizeof n->raised_alone);
    if (MUTANT(MUTANT_FORGET_RECENT))
        forget_recent(n);
    for (unsigned b = 0; b < BOXES && n->recent_lost; b++) {
        n->lacks[b] = n->mark[b] != 0; /* it may lack what was acknowledged */
        n->was_cut[b] = n->cut[b] = n->lacks[b] && n->life > 1;
    }
    n->doubtful = n->recent_lost;
    n->recent_lost = false;
    replay(n);
    publish_leftovers(n);
    struct mailfs_id held[BOXES];
    size_t n_held = 0;
    for (unsigned b = 0; b < BOXES; b++)
        if (n->lock[b] != NULL)
            held[n_held++] = box_id(b);
    replica_locks_are(n->r, node_now(n), held, n_held, false);
    n->keep_removed = true; /* the journal may be of a time when not all had been merged */
    n->ck.step = CK_IDLE;
    event_add(E_CHECKPOINT, n->index, 500 + some_time(3000));
}

/* ---- deaths ---- */

static void memory_forget(struct node *n, unsigned b) {
    halves_forget(&n->half[b]);
    list_free(&n->put_back[b]);
}

void node_stop_syncd(struct node *n) {
    if (n->r == NULL)
        return;
    link_close(n->index);
    replica_free(n->r);
    n->r = NULL;
    n->life++;
    struct journaled *j;
    DL_FOREACH(n->journal, j) {
        j->taken = false;
    }
    for (unsigned b = 0; b < BOXES; b++) /* only in its memory */
        memory_forget(n, b);
    clients_without_syncd(n);
}

/* Everybody in the mount gets ENOTCONN; their locks are removed when mailfs comes back. */
void node_kill_mailfs(struct node *n) {
    for (unsigned b = 0; b < BOXES; b++)
        if (n->lock[b] != NULL)
            disk_sync_list(n, b); /* before it can be read again */
    for (unsigned i = 0; i < CLIENTS; i++)
        client_kill(&n->client[i]);
    clients_forget_untold(n);
    n->incarnation += NODES;
    memset(n->shown, 0, sizeof n->shown);
    memset(n->hint, 0, sizeof n->hint);
    memset(n->raised_alone, 0, sizeof n->raised_alone);
    n->off_until = world.now + 1 + some_time(300);
    if (n->r != NULL) {
        replica_mailfs_away(n->r, node_now(n));
        replica_locks_are(n->r, node_now(n), NULL, 0, true);
    }
    event_add(E_MAILFS_START, n->index, n->off_until - world.now);
}

/* What an earlier one had not told is in the marks, and these are listed at a contact. */
void node_mailfs_back(struct node *n) {
    bool marks = false;
    for (unsigned b = 0; b < BOXES; b++)
        marks = marks || n->mark[b] != 0;
    if (n->r == NULL || (marks && MUTANT(MUTANT_UNSEEN)))
        return;
    if (marks && n->r->connected) {
        trace("%s: mailfs is back, with marks", n->name);
        link_close(n->index);
        replica_disconnected(n->r, node_now(n));
    }
    replica_abort_others(n->r, node_now(n), n->incarnation, marks);
}

void node_kill(struct node *n) {
    node_kill_mailfs(n);
    node_stop_syncd(n);
}

void node_power_cut(struct node *n, uint64_t off) {
    struct prepared *p, *tmp;
    check_indexed(n);
    for (unsigned i = 0; i < CLIENTS; i++)
        client_kill(&n->client[i]);
    clients_forget_untold(n);
    memset(n->shown, 0, sizeof n->shown);
    memset(n->hint, 0, sizeof n->hint);
    memset(n->raised_alone, 0, sizeof n->raised_alone);
    n->paused_until = 0;
    node_stop_syncd(n);
    DL_FOREACH_SAFE(n->prepared, p, tmp) {
        if (!p->durable)
            node_drop_prepared(n, p);
    }
    forget_recent(n);
    check_behind(n);
    disk_power_cut(n);
    check_power_cut(n);
    n->off_until = world.now + off;
    event_add(E_SYNCD_START, n->index, off + some_time(200));
}

static void stage_again(struct node *n, const struct txn *t) {
    for (size_t i = 0; i < t->n; i++) {
        const struct name *name = &names[t->ops[i].name];
        struct prepared *p;
        if (!t->ops[i].is.is || t->ops[i].was.is || name->prep.incarnation == 0 ||
            name->prep.incarnation % NODES == n->index)
            continue;
        p = calloc(1, sizeof *p);
        if (p == NULL)
            abort();
        *p = (struct prepared){
            .prep = name->prep, .content = name->content, .box = t->box, .durable = true};
        DL_APPEND(n->prepared, p);
    }
}

/* The store, and what lies in its stage, stays. */
void node_lose_state(struct node *n) {
    struct journaled *j, *tmp;
    trace("%s: STATE LOST", n->name);
    DL_FOREACH_SAFE(n->journal, j, tmp) {
        stage_again(n, j->payload->data);
        node_drop_journaled(n, j);
    }
    base_reset(n);
    for (unsigned b = 0; b < BOXES; b++) {
        box_copy(&n->base_disk[b], &n->base[b]);
        n->mark[b] = 0;
        n->lacks[b] = n->was_cut[b] = n->cut[b] = false;
    }
    check_index_forgotten(n);
    n->gen = 1;
    n->had_contact = false;
    n->met = true; /* the store tells that it had one */
    world.state_lost = true;
    check_behind(n);
}

void node_free(struct node *n) {
    replica_free(n->r);
    n->r = NULL;
    struct journaled *j, *jtmp;
    DL_FOREACH_SAFE(n->journal, j, jtmp) {
        node_drop_journaled(n, j);
    }
    struct prepared *p, *ptmp;
    DL_FOREACH_SAFE(n->prepared, p, ptmp) {
        node_drop_prepared(n, p);
    }
    for (unsigned b = 0; b < BOXES; b++) {
        list_free(&n->store[b].msgs);
        list_free(&n->base[b].msgs);
        list_free(&n->base_disk[b].msgs);
        list_free(&n->merged[b].msgs);
        memory_forget(n, b);
        list_free(&n->ck.frozen[b].msgs);
        replica_payload_unref(n->own_listing[b]);
    }
    disk_free(n);
    clients_forget_untold(n);
    for (unsigned i = 0; i < CLIENTS; i++)
        client_free(&n->client[i]);
    memset(n, 0, sizeof *n);
}

/* ---- a pause: stopped processes, or a machine that was suspended ---- */

void node_pause(struct node *n, uint64_t ms, bool clock_stops) {
    if (world.now < n->paused_until)
        return;
    trace("%s: paused for %llu ms%s", n->name, (unsigned long long)ms,
          clock_stops ? ", and its clock" : "");
    n->paused_at = world.now;
    n->paused_until = world.now + ms;
    n->clock_stops = clock_stops;
    event_add(E_RESUME, n->index, ms);
}

void node_resume(struct node *n) {
    if (world.now != n->paused_until)
        return; /* its power was cut meanwhile */
    uint64_t ms = world.now - n->paused_at;
    trace("%s: goes on", n->name);
    if (n->clock_stops)
        n->lag += ms;
    for (unsigned i = 0; i < CLIENTS; i++)
        n->client[i].since = world.now;
}

/* ---- the checkpoint ---- */

static bool in_sync(const struct node *n) {
    return replica_state(n->r) == REPLICA_IN_SYNC;
}

static void begin(struct node *n) {
    n->ck.gen = 0;
    if (in_sync(n) && world.now >= n->off_until) {
        client_tell(n);       /* what mailfs did before has all been read when it answers */
        n->ck.gen = ++n->gen; /* and marks anew from here on */
    }
    n->ck.step = CK_SETTLED;
}

static void settled(struct node *n) {
    for (unsigned b = 0; b < BOXES; b++)
        n->ck.settled[b] = n->ck.gen > 0 && in_sync(n) &&
                           (replica_is_settled(n->r, box_id(b)) || MUTANT(MUTANT_CLEAR_UNSETTLED));
    n->ck.step = CK_SYNCED;
    struct journaled *j;
    for (unsigned b = 0; b < BOXES; b++)
        box_copy(&n->ck.frozen[b], &n->base[b]);
    DL_FOREACH(n->journal, j) {
        j->taken = j->applied;
    }
    if (MUTANT(MUTANT_BASE_BEFORE_STORE))
        for (unsigned b = 0; b < BOXES; b++)
            box_copy(&n->base_disk[b], &n->base[b]);
}

static void commit(struct node *n) {
    struct journaled *j, *tmp;
    for (unsigned b = 0; b < BOXES; b++)
        box_copy(&n->base_disk[b], &n->ck.frozen[b]);
    DL_FOREACH_SAFE(n->journal, j, tmp) {
        if (j->taken)
            node_drop_journaled(n, j);
    }
    if (in_sync(n))
        n->behind = false;
}

static void clear_marks(struct node *n) {
    for (unsigned b = 0; b < BOXES; b++)
        if (n->ck.settled[b] && (n->mark[b] < n->ck.gen || MUTANT(MUTANT_CLEAR_NEWER)))
            n->mark[b] = 0;
}

void node_checkpoint(struct node *n) {
    uint64_t wait = some_time(world.delay_disk);
    switch (n->ck.step) {
    case CK_IDLE:
        begin(n);
        break;
    case CK_SETTLED:
        settled(n);
        break;
    case CK_SYNCED:
        disk_sync_all(n);
        n->ck.step = CK_COMMITTED;
        break;
    case CK_COMMITTED:
        commit(n);
        n->ck.step = CK_MARKS;
        break;
    default:
        clear_marks(n);
        n->ck.step = CK_IDLE;
        wait = 500 + some_time(3000);
        break;
    }
    event_add(E_CHECKPOINT, n->index, wait);
}
