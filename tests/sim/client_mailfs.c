/*
 * The part of mailfs between the clients and syncd: L, the foreign lock that is shown, marks before
 * changes, what is told.
 */
#include "client_int.h"

#include <stdlib.h>
#include <string.h>

#include "maildir/uidvalidity.h"

bool client_holds(const struct node *n, unsigned box) {
    return n->lock[box] != NULL && !n->lock[box]->unlocking;
}

static struct txn *txn_new(const struct node *n, unsigned box) {
    struct txn *t = calloc(1, sizeof *t);
    if (t == NULL)
        abort();
    t->box = box;
    t->v = n->store[box].v;
    t->next = n->store[box].next;
    return t;
}

/* ---- what mailfs tells ---- */

/* In order, but not at once; what is still in its queue when mailfs dies is never told. */
static void untold_add(struct node *n, struct replica_payload *p) {
    struct untold *u = calloc(1, sizeof *u);
    if (u == NULL)
        abort();
    u->payload = p;
    DL_APPEND(n->untold, u);
    event_add(E_TELL, n->index, rnd(3));
}

void client_tell(struct node *n) {
    while (n->untold != NULL) {
        struct untold *u = n->untold;
        const struct txn *t = u->payload->data;
        DL_DELETE(n->untold, u);
        if (n->r != NULL)
            replica_act(n->r, node_now(n), box_id(t->box), u->payload, t->preps, t->npreps,
                        t->folder != 0);
        replica_payload_unref(u->payload);
        free(u);
    }
}

void clients_forget_untold(struct node *n) {
    while (n->untold != NULL) {
        struct untold *u = n->untold;
        DL_DELETE(n->untold, u);
        replica_payload_unref(u->payload);
        free(u);
    }
}

/* ---- changes ---- */

void client_change(struct node *n, struct client *c, unsigned box, uint32_t name, struct state to,
                   const struct replica_prep *prep) {
    struct state was = list_get(&n->store[box].msgs, name);
    node_mark(n, box);
    /* One that comes again without a UID is not the one that the base knows. */
    if (n->r != NULL && to.is && !was.is && list_get(&n->base[box].msgs, name).uid == 0)
        list_set(&n->base[box].msgs, name, (struct state){0});
    if (to.is && !was.is)
        list_set(&n->put_back[box], name, (struct state){0}); /* this one has come since */
    list_set(&n->store[box].msgs, name, to);
    trace("%s: box %u: %u was %d cur %d flags %x uid %u, is %d cur %d flags %x uid %u%s", n->name,
          box, name, was.is, was.cur, was.flags, was.uid, to.is, to.cur, to.flags, to.uid,
          n->lock[box] == c ? "" : " (without L)");
    check_dirty(n, box);
    bool locked = n->lock[box] == c;
    struct txn *t = locked ? c->txn : txn_new(n, box);
    if (!locked)
        t->v = t->next = 0;
    txn_add(t, name, was, to);
    if (prep != NULL)
        txn_add_prep(t, *prep);
    if (locked)
        return;
    untold_add(n, txn_wrap(t));
}

void client_change_folder(struct node *n, unsigned box) {
    struct txn *t = txn_new(n, box);
    t->v = t->next = 0;
    t->folder = folders_change(n, box);
    t->removed = (n->folders[box] & t->folder) == 0;
    untold_add(n, txn_wrap(t));
}

/* ---- L ---- */

static void locked(struct client *c, unsigned raise) {
    struct node *n = client_node(c);
    struct box *b = &n->store[c->box];
    if (n->lock[c->box] != NULL)
        fail("C2: %s: a second L in box %u", n->name, c->box);
    n->lock[c->box] = c;
    c->txn = txn_new(n, c->box);
    if (b->v == 0) {
        node_mark(n, c->box);
        b->v = 2 + (MUTANT(MUTANT_EQUAL_VALIDITY) ? 0 : rnd(2000)); /* by the clock */
        if (!MUTANT(MUTANT_EQUAL_VALIDITY))
            b->v = maildir_uidvalidity_own(b->v, n->index == 0);
        b->next = 1;
        check_dirty(n, c->box);
    } else if (raise) {
        node_mark(n, c->box);
        b->next = replica_raised_uid(b->next, raise);
        check_dirty(n, c->box);
        disk_sync_list(n, c->box);
        trace("%s: next of box %u raised to %u", n->name, c->box, b->next);
    }
    c->wait = W_NOTHING;
    c->pc++;
    client_next(c, some_time(world.delay_client));
}

/* Dovecot's try-only lock goes on without; the others poll, some time. */
static void not_locked(struct client *c) {
    c->wait = W_NOTHING;
    if (c->kind == C_LMTP) {
        c->pc = 20;
        client_next(c, 1);
    } else if (++c->tries > 60) {
        client_finish(c);
    } else {
        client_next(c, 20 + some_time(100));
    }
}

static enum replica_raise raise_without_syncd(struct node *n, unsigned box) {
    if (!n->met || n->hint[box] || n->raised_alone[box])
        return REPLICA_RAISE_NONE;
    n->raised_alone[box] = true;
    return n->index == 0 ? REPLICA_RAISE_ODD : REPLICA_RAISE_EVEN;
}

/* The kernel locks the directory while a create or an unlink in it is under way. */
static bool directory_locked(const struct node *n, unsigned box) {
    if (n->lock[box] != NULL && n->lock[box]->unlocking)
        return true;
    for (unsigned i = 0; i < CLIENTS; i++) {
        const struct client *o = &n->client[i];
        if (o->alive && o->box == box && (o->wait == W_OPEN || o->wait == W_GRANTED))
            return true;
    }
    return false;
}

void client_lock(struct client *c) {
    struct node *n = client_node(c);
    if (directory_locked(n, c->box)) {
        client_next(c, 1 + rnd(20));
        return;
    }
    c->req = ++world.req;
    c->since = world.now;
    if (n->lock[c->box] != NULL || n->shown[c->box]) {
        not_locked(c);
    } else if (n->r == NULL) {
        locked(c, raise_without_syncd(n, c->box));
    } else {
        c->wait = W_OPEN;
        client_tell(n);
        replica_lock_open(n->r, node_now(n), c->req, box_id(c->box));
    }
}

void client_grant(struct client *c, struct node *n, unsigned box, unsigned raise) {
    struct event *e = event_add(E_GRANTED, n->index, rnd(3));
    e->client = c;
    e->box = box;
    e->raise = raise;
    e->req = c != NULL ? c->req : 0;
    if (c != NULL)
        c->wait = W_GRANTED;
}

void client_granted(const struct event *e) {
    struct node *n = &nodes[e->node];
    if (n->r == NULL || e->life != n->life)
        return;
    struct client *c = e->client;
    bool ok = c != NULL && c->alive && c->wait == W_GRANTED && c->req == e->req &&
              (world.scripted || !chance(2));
    replica_lock_opened(n->r, node_now(n), box_id(e->box), ok);
    if (ok)
        locked(c, e->raise);
    else if (c != NULL && c->alive && c->wait == W_GRANTED && c->req == e->req)
        not_locked(c);
}

void client_busy(struct client *c) {
    not_locked(c);
}

static bool was_sent(const struct node *n, unsigned box, const struct replica_payload *p) {
    struct mailfs_id id = box_id(box);
    const struct dir *d = replica_dir_find(n->r, &id);
    const struct tx *t = d != NULL ? d->tx : NULL;
    while (t != NULL && t->payload != p)
        t = t->next;
    return t != NULL;
}

void client_unlock(struct client *c) {
    struct node *n = client_node(c);
    struct box *b = &n->store[c->box];
    c->req = ++world.req;
    c->since = world.now;
    c->wait = W_RELEASE;
    c->unlocking = true;
    bool changed = c->txn->n > 0 || c->txn->next != b->next || c->txn->v != b->v;
    c->txn->v = b->v;
    c->txn->next = b->next;
    struct replica_payload *p = txn_wrap(c->txn);
    struct txn *t = c->txn;
    c->txn = NULL;
    c->sent = NULL;
    if (n->r == NULL) {
        client_released(c, true);
    } else {
        client_tell(n);
        replica_unlock(n->r, node_now(n), c->req, box_id(c->box), changed ? p : NULL, t->preps,
                       t->npreps);
        if (was_sent(n, c->box, p)) {
            c->sent = replica_payload_ref(p);
            c->sent_epoch = n->r->epoch;
        }
    }
    replica_payload_unref(p);
}

/* Until now nobody may have been told what the peer does not have. */
static void check_sent(const struct client *c) {
    const struct node *n = client_node(c);
    if (c->sent == NULL || n->r == NULL || !n->r->connected || n->r->epoch != c->sent_epoch)
        return;
    const struct txn *t = c->sent->data;
    if (world.commit == REPLICA_COMMIT_DISK && !t->durable)
        fail("C4: %s: U of box %u returned and the peer has not made it durable", n->name, c->box);
    if (world.commit == REPLICA_COMMIT_MEMORY && !t->received)
        fail("C4: %s: U of box %u returned and the peer has not got it", n->name, c->box);
}

void client_released(struct client *c, bool alone) {
    struct node *n = client_node(c);
    if (c->wait != W_RELEASE)
        return;
    c->wait = W_NOTHING;
    if (c->unlocking) {
        check_sent(c);
        const struct txn *sent = c->sent != NULL ? c->sent->data : NULL;
        bool safe = sent != NULL && sent->durable;
        client_free(c);
        c->unlocking = false;
        n->lock[c->box] = NULL;
        check_dirty(n, c->box);
        if (alone && !MUTANT(MUTANT_UNSYNCED_LIST))
            disk_sync_list(n, c->box); /* nobody else has the UIDs it gave */
        check_done(c, safe);
        c->ndone = 0;
    }
    c->pc++;
    client_next(c, some_time(world.delay_client / 4));
}

/* It dies where it is. Its L is ended by mailfs, which sees its death; or mailfs dies with it. */
void client_kill(struct client *c) {
    struct node *n = client_node(c);
    if (!c->alive)
        return;
    if (n->lock[c->box] == c)
        n->lock[c->box] = NULL;
    c->unlocking = false;
    client_finish(c);
}

static void abort_prep(struct node *n, const struct client *c) {
    client_tell(n);
    replica_abort(n->r, node_now(n), c->prep);
}

void client_die_alone(struct client *c) {
    struct node *n = client_node(c);
    if (n->lock[c->box] == c && !c->unlocking && n->r != NULL) {
        struct txn *t = c->txn;
        t->v = n->store[c->box].v;
        t->next = n->store[c->box].next;
        c->txn = NULL;
        struct replica_payload *p = txn_wrap(t);
        client_tell(n);
        replica_unlock(n->r, node_now(n), 0, box_id(c->box), p, t->preps, t->npreps);
        replica_payload_unref(p);
    } else if (c->wait == W_RELEASE && c->unlocking) {
        return; /* in the kernel, cannot be killed */
    }
    /* mailfs sees the file in tmp/ go without ever having had a name elsewhere */
    if (c->kind <= C_LMTP && c->prep.incarnation != 0 && n->r != NULL &&
        !list_get(&n->store[c->box].msgs, c->name).is)
        abort_prep(n, c);
    if (n->lock[c->box] == c)
        disk_sync_list(n, c->box); /* nobody waits until the other node has it */
    trace("%s: client %u dies", n->name, c->index);
    client_kill(c);
}

void clients_without_syncd(struct node *n) {
    memset(n->shown, 0, sizeof n->shown);
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *c = &n->client[i];
        if (!c->alive)
            continue;
        if (c->wait == W_RELEASE)
            client_released(c, true);
        else if ((c->wait == W_OPEN || c->wait == W_GRANTED) && n->lock[c->box] == NULL)
            locked(c, raise_without_syncd(n, c->box));
        else if (c->wait == W_OPEN || c->wait == W_GRANTED)
            not_locked(c);
    }
}

/* ---- a message's content ---- */

void client_prepare(struct client *c) {
    struct node *n = client_node(c);
    c->content = (uint32_t)++world.content;
    c->prep = (struct replica_prep){n->incarnation, ++world.prep};
    c->name = name_new(c->content, c->box, c->prep);
    c->req = ++world.req;
    c->since = world.now;
    c->wait = W_RELEASE;
    c->prep_conn = n->r != NULL && n->r->connected ? world.conn : 0;
    client_tell(n);
    if (n->r == NULL) {
        client_released(c, true);
        return;
    }
    struct txn *body = txn_new(n, c->box);
    txn_add(body, c->content, (struct state){0}, (struct state){0});
    struct replica_payload *p = txn_wrap(body);
    replica_prepare(n->r, node_now(n), c->req, c->prep, p);
    replica_payload_unref(p);
}
