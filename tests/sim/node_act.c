/*
 * The machine's actions are carried out: some at once, most as an event later, which node_event.c
 * takes; and its next tick is arranged.
 */
#include "node_int.h"

static void later_by(struct node *n, enum event_kind kind, const struct replica_action *a,
                     uint64_t ms) {
    struct event *e = event_add(kind, n->index, ms);
    e->box = box_index(&a->dir);
    e->seq = a->seq;
    e->round = a->round;
    e->frozen = a->frozen;
    e->full = a->full;
    e->late = a->late;
    e->payload = replica_payload_ref(a->payload);
}

static void later(struct node *n, enum event_kind kind, const struct replica_action *a) {
    later_by(n, kind, a, some_time(world.delay_disk));
}

/* In two steps, now and then, so that a kill can come in between. */
static void later_in_two(struct node *n, enum event_kind half, enum event_kind kind,
                         const struct replica_action *a) {
    uint64_t ms = some_time(world.delay_disk);
    if (chance(20))
        later_by(n, half, a, ms / 2);
    later_by(n, kind, a, ms);
}

static void list_marks(struct node *n) {
    struct event *e = event_add(E_MARKS, n->index, some_time(world.delay_disk));
    for (unsigned b = 0; b < BOXES; b++)
        if (n->mark[b] != 0 || n->tree_full || !n->had_contact)
            e->seq |= 1u << b;
}

static void do_prep(struct node *n, struct replica_prep prep, bool keep) {
    struct prepared *p = node_prepared_find(n, prep);
    if (p == NULL)
        return;
    if (keep)
        node_publish(n, p);
    else
        node_drop_prepared(n, p);
}

/* L was lost with the mount. */
static void raise_box(struct node *n, const struct replica_action *a) {
    unsigned b = box_index(&a->dir);
    struct box *box = &n->store[b];
    if (box->v != 0) {
        node_mark(n, b);
        box->next = replica_raised_uid(box->next, a->raise);
        check_dirty(n, b);
        disk_sync_list(n, b);
        trace("%s: next of box %u raised to %u, its lock was lost", n->name, b, box->next);
    }
    replica_raised(n->r, node_now(n), a->dir);
}

static void do_client(struct node *n, struct replica_action *a) {
    unsigned b = box_index(&a->dir);
    struct client *c = client_find(n, a->req);
    switch (a->kind) {
    case RACT_GRANT:
        check_grant(n, b);
        trace("%s: grant box %u req %llu%s", n->name, b, (unsigned long long)a->req,
              a->raise ? " raise" : "");
        client_grant(c, n, b, a->raise);
        break;
    case RACT_BUSY:
        trace("%s: busy box %u req %llu", n->name, b, (unsigned long long)a->req);
        world.busy++;
        n->shown[b] = true;
        if (c != NULL)
            client_busy(c);
        break;
    case RACT_TOKEN_HERE:
        trace("%s: token here box %u", n->name, b);
        n->shown[b] = false;
        break;
    case RACT_RELEASE:
        if (c != NULL)
            client_released(c, a->alone);
        break;
    default:
        n->hint[b] = a->held;
        break;
    }
}

static void merge_done(struct node *n, unsigned b) {
    box_copy(&n->base[b], &n->merged[b]);
    n->lacks[b] = n->was_cut[b] = n->cut[b] = false;
    list_free(&n->put_back[b]);
    halves_forget(&n->half[b]);
}

static void act_on(struct node *n, struct replica_action *a) {
    switch (a->kind) {
    case RACT_SEND:
        net_send(n->index, &a->msg);
        break;
    case RACT_DISCONNECT:
        trace("%s: gives up the link: %s", n->name, a->reason);
        link_close(n->index);
        break;
    case RACT_STATE:
        trace("%s: state %d", n->name, a->state);
        n->keep_removed = n->keep_removed || a->state != REPLICA_IN_SYNC;
        break;
    case RACT_RAISE:
        raise_box(n, a);
        break;
    case RACT_JOURNAL:
        later(n, E_JOURNALED, a);
        break;
    case RACT_APPLY:
        node_apply_begins(n, a->seq);
        later_in_two(n, E_APPLY_HALF, E_APPLIED, a);
        break;
    case RACT_ACKED:
        txn_acked(n, a->payload->data);
        break;
    case RACT_PUBLISH:
    case RACT_UNPREPARE:
        do_prep(n, a->prep, a->kind == RACT_PUBLISH);
        break;
    case RACT_TREE_SCAN:
    case RACT_TREE_RESCAN:
        a->full = a->kind == RACT_TREE_RESCAN;
        later(n, E_TREE_SCANNED, a);
        break;
    case RACT_TREE_MERGE:
        later(n, E_TREE_MERGED, a);
        break;
    case RACT_LIST_MARKS:
        list_marks(n);
        break;
    case RACT_SCAN:
        later(n, E_SCANNED, a);
        break;
    case RACT_STAGE:
        later(n, E_STAGED, a);
        break;
    case RACT_MERGE:
        later_in_two(n, E_MERGE_HALF, E_MERGED, a);
        break;
    case RACT_MERGE_DONE:
        merge_done(n, box_index(&a->dir));
        break;
    case RACT_CAUGHT_UP:
        n->keep_removed = false;
        n->nkept = 0;
        n->had_contact = n->met = true;
        break;
    case RACT_MERGE_PUT_OFF:
    case RACT_WORKING:
        break;
    default:
        do_client(n, a);
        break;
    }
}

void node_drain(struct node *n) {
    struct replica_action a;
    while (n->r != NULL && replica_next(n->r, &a)) {
        act_on(n, &a);
        replica_action_done(&a);
    }
    if (n->r == NULL)
        return;
    const char *wrong = replica_check(n->r);
    if (wrong != NULL)
        fail("%s: %s", n->name, wrong);
    uint64_t at = replica_deadline(n->r), now = node_now(n);
    if (n->ticked && at <= now)
        fail("C5: %s: a tick at %llu asks for one at %llu", n->name, (unsigned long long)now,
             (unsigned long long)at);
    n->ticked = false;
    if (at == UINT64_MAX)
        return;
    if (at <= now)
        at = now + 1;
    if (at < n->tick_at) {
        n->tick_at = at;
        event_add(E_TICK, n->index, at - now);
    }
}
