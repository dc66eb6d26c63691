/*
 * Postfix and Dovecot, as far as the machine can tell, and the part of mailfs between them and
 * syncd: L, the foreign lock that is shown, marks before changes.
 *
 *   virtual   prepare, link into new/ without L
 *   lmtp      prepare, try L; without it as virtual, with it give the UID, U
 *   imap      L, pick up and number all, then flags and removals, U
 *   move      L of one mailbox, add there, U; L of the other, remove there, U
 *   flag act  a rename without L (Dovecot does that when L cannot be had)
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#include "maildir/uidvalidity.h"

/* Some are only ever set; some are there from the beginning and only ever cleared. */
enum { FLAGS_SET = 7, FLAG_TOGGLED = 16, FLAGS_BORN = 0x700 };

const char *const client_names[C_KINDS] = {
    [C_VIRTUAL] = "virtual", [C_LMTP] = "lmtp",         [C_IMAP] = "imap",
    [C_MOVE] = "move",       [C_FLAG_ACT] = "flag-act",
};

static struct node *of(const struct client *c) {
    return &nodes[c->node];
}

bool client_holds(const struct node *n, unsigned box) {
    return n->lock[box] != NULL && !n->lock[box]->unlocking;
}

static void next_step(struct client *c, uint64_t delay) {
    struct event *e = event_add(E_CLIENT, c->node, delay);
    e->client = c;
    e->req = ++c->ticket;
}

void client_free(struct client *c) {
    if (c->txn != NULL)
        replica_payload_unref(txn_wrap(c->txn));
    c->txn = NULL;
    replica_payload_unref(c->sent);
    c->sent = NULL;
}

static void finish(struct client *c) {
    client_free(c);
    c->alive = false;
    c->wait = W_NOTHING;
    c->ticket++;
}

struct client *client_find(struct node *n, uint64_t req) {
    for (unsigned i = 0; i < CLIENTS; i++)
        if (n->client[i].alive && n->client[i].req == req && n->client[i].wait != W_NOTHING)
            return &n->client[i];
    return NULL;
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

static void tell(struct node *n) {
    while (n->untold != NULL) {
        struct untold *u = n->untold;
        const struct txn *t = u->payload->data;
        DL_DELETE(n->untold, u);
        if (n->r != NULL)
            replica_act(n->r, node_now(n), box_id(t->box), u->payload, t->preps, t->npreps);
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

/* Marked, then made, then told: in the transaction of L's owner, or at once. */
static void change(struct node *n, struct client *c, unsigned box, uint32_t name, struct state to,
                   const struct replica_prep *prep) {
    struct state was = list_get(&n->store[box].msgs, name);
    node_mark(n, box);
    /* One that comes again without a UID is not the one that the base knows. */
    if (n->r != NULL && to.is && !was.is && list_get(&n->base[box].msgs, name).uid == 0)
        list_set(&n->base[box].msgs, name, (struct state){0});
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

static void note(struct client *c, enum done_kind kind, unsigned box, uint32_t name,
                 uint32_t flags) {
    if (c->ndone < DONE_MAX)
        c->done[c->ndone++] = (struct done){kind, box, name, flags, check_generation(box, name)};
}

/* ---- L ---- */

static void locked(struct client *c, unsigned raise) {
    struct node *n = of(c);
    struct box *b = &n->store[c->box];
    if (n->lock[c->box] != NULL)
        fail("%s: a second L in box %u", n->name, c->box);
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
    next_step(c, some_time(world.delay_client));
}

/* Dovecot's try-only lock goes on without; the others poll, some time. */
static void not_locked(struct client *c) {
    c->wait = W_NOTHING;
    if (c->kind == C_LMTP) {
        c->pc = 20;
        next_step(c, 1);
    } else if (++c->tries > 60) {
        finish(c);
    } else {
        next_step(c, 20 + some_time(100));
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

static void open_lock(struct client *c) {
    struct node *n = of(c);
    if (directory_locked(n, c->box)) {
        next_step(c, 1 + rnd(20));
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
        tell(n);
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

static void granted(const struct event *e) {
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

static void unlock(struct client *c) {
    struct node *n = of(c);
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
        tell(n);
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
    const struct node *n = of(c);
    if (c->sent == NULL || n->r == NULL || !n->r->connected || n->r->epoch != c->sent_epoch)
        return;
    const struct txn *t = c->sent->data;
    if (world.commit == REPLICA_COMMIT_DISK && !t->durable)
        fail("%s: U of box %u returned and the peer has not made it durable", n->name, c->box);
    if (world.commit == REPLICA_COMMIT_MEMORY && !t->received)
        fail("%s: U of box %u returned and the peer has not got it", n->name, c->box);
}

void client_released(struct client *c, bool alone) {
    struct node *n = of(c);
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
    next_step(c, some_time(world.delay_client / 4));
}

/* It dies where it is. Its L is ended by mailfs, which sees its death; or mailfs dies with it. */
void client_kill(struct client *c) {
    struct node *n = of(c);
    if (!c->alive)
        return;
    if (n->lock[c->box] == c)
        n->lock[c->box] = NULL;
    c->unlocking = false;
    finish(c);
}

static void abort_prep(struct node *n, const struct client *c) {
    tell(n);
    replica_abort(n->r, node_now(n), c->prep);
}

static void die_alone(struct client *c) {
    struct node *n = of(c);
    if (n->lock[c->box] == c && !c->unlocking && n->r != NULL) {
        struct txn *t = c->txn;
        t->v = n->store[c->box].v;
        t->next = n->store[c->box].next;
        c->txn = NULL;
        struct replica_payload *p = txn_wrap(t);
        tell(n);
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

/* ---- what they do ---- */

static void prepare(struct client *c) {
    struct node *n = of(c);
    c->content = (uint32_t)++world.content;
    c->prep = (struct replica_prep){n->incarnation, ++world.prep};
    c->name = name_new(c->content, c->box, c->prep);
    c->req = ++world.req;
    c->since = world.now;
    c->wait = W_RELEASE;
    c->prep_conn = n->r != NULL && n->r->connected ? world.conn : 0;
    tell(n);
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

static uint32_t number(struct node *n, unsigned box) {
    return n->store[box].next++;
}

static void deliver(struct client *c, uint32_t uid) {
    check_added(c->box, c->name);
    note(c, D_PRESENT, c->box, c->name, 0);
    change(of(c), c, c->box, c->name, (struct state){.is = true, .uid = uid, .flags = FLAGS_BORN},
           &c->prep);
}

static void deliver_without_lock(struct client *c) {
    deliver(c, 0);
    check_done(c, false);
    check_delivered(c);
    finish(c);
}

static void step_virtual(struct client *c) {
    if (c->pc == 0)
        prepare(c);
    else
        deliver_without_lock(c);
}

static void step_lmtp(struct client *c) {
    struct node *n = of(c);
    switch (c->pc) {
    case 0:
        prepare(c);
        break;
    case 1:
        open_lock(c);
        break;
    case 2:
        deliver(c, number(n, c->box));
        disk_sync_names(n, c->box); /* Dovecot does both */
        disk_sync_list(n, c->box);
        unlock(c);
        break;
    case 20:
        deliver_without_lock(c);
        break;
    default:
        check_delivered(c);
        finish(c);
        break;
    }
}

static void pick_up(struct client *c) {
    struct node *n = of(c);
    struct list *l = &n->store[c->box].msgs;
    for (size_t i = 0; i < l->n; i++) {
        struct state s = l->e[i].s;
        if (s.cur && s.uid != 0)
            continue;
        s.cur = true;
        if (s.uid == 0)
            s.uid = number(n, c->box);
        change(n, c, c->box, l->e[i].name, s, NULL);
    }
}

static void expunge(struct client *c, unsigned box, uint32_t name) {
    check_expunging(c->node, box, name);
    change(of(c), c, box, name, (struct state){0}, NULL);
    note(c, D_EXPUNGED, box, name, 0);
}

static void touch_one(struct client *c) {
    struct node *n = of(c);
    const struct list *l = &n->store[c->box].msgs;
    if (l->n == 0)
        return;
    struct entry e = l->e[rnd(l->n)];
    uint64_t what = rnd(10);
    if (e.s.uid == 0)
        return; /* came after the pick-up: this client does not see it */
    if (what < 3) {
        expunge(c, c->box, e.name);
        return;
    }
    uint32_t flag = UINT32_C(1) << rnd(3);
    bool is_one = check_one_incarnation(c->box, e.name, true);
    if (what < 6) {
        e.s.flags |= flag;
        if (is_one)
            note(c, D_FLAGS, c->box, e.name, flag);
    } else if (what < 9) {
        e.s.flags &= ~(flag << 8);
        if (is_one)
            note(c, D_CLEARED, c->box, e.name, flag << 8);
    } else {
        e.s.flags ^= FLAG_TOGGLED;
    }
    change(n, c, c->box, e.name, e.s, NULL);
}

static void step_imap(struct client *c) {
    switch (c->pc) {
    case 0:
        open_lock(c);
        break;
    case 1:
        pick_up(c);
        c->pc++;
        next_step(c, some_time(world.delay_client));
        break;
    case 2:
        for (uint64_t i = world.scripted ? 0 : rnd(4); i > 0; i--)
            touch_one(c);
        c->pc++;
        next_step(c, some_time(world.delay_client));
        break;
    case 3:
        unlock(c);
        break;
    default:
        if (chance(60)) {
            c->pc = c->tries = 0;
            next_step(c, some_time(5 * world.delay_client));
        } else {
            finish(c);
        }
        break;
    }
}

static void copy_one(struct client *c) {
    struct node *n = of(c);
    const struct list *from = &n->store[c->box2].msgs;
    c->name = from->n > 0 ? from->e[rnd(from->n)].name : 0;
    struct state s = list_get(&n->store[c->box2].msgs, c->name);
    if (c->name == 0 || s.uid == 0 || list_get(&n->store[c->box].msgs, c->name).is) {
        c->name = 0;
        return;
    }
    check_added(c->box, c->name);
    s.cur = true;
    s.flags &= FLAGS_SET;
    s.uid = number(n, c->box);
    change(n, c, c->box, c->name, s, NULL);
    disk_sync_names(n, c->box);
    note(c, D_PRESENT, c->box, c->name, 0);
}

static void step_move(struct client *c) {
    switch (c->pc) {
    case 0:
    case 4:
        open_lock(c);
        break;
    case 1:
        copy_one(c);
        c->pc++;
        unlock(c);
        break;
    case 3: { /* released: the other half */
        unsigned from = c->box2;
        c->box2 = c->box;
        c->box = from;
        if (c->name == 0 || (!world.scripted && chance(40))) {
            finish(c);
            break;
        }
        c->pc++;
        c->tries = 0;
        next_step(c, 1);
        break;
    }
    case 5:
        if (list_get(&of(c)->store[c->box].msgs, c->name).uid != 0)
            expunge(c, c->box, c->name);
        unlock(c);
        break;
    default:
        finish(c);
        break;
    }
}

static bool frozen(const struct node *n, unsigned box) {
    struct mailfs_id id = box_id(box);
    const struct dir *d = n->r != NULL ? replica_dir_find(n->r, &id) : NULL;
    return d != NULL && replica_round_frozen(d);
}

static void step_flag_act(struct client *c) {
    struct node *n = of(c);
    const struct list *l = &n->store[c->box].msgs;
    /* Two such, made on both sides while a mailbox is being listed, can still swap: see
     * docs/DESIGN.md. A frozen mailbox is therefore left alone here. */
    if (l->n > 0 && !client_holds(n, c->box) && !frozen(n, c->box)) {
        struct entry e = l->e[rnd(l->n)];
        e.s.flags ^= FLAG_TOGGLED;
        change(n, c, c->box, e.name, e.s, NULL);
    }
    finish(c);
}

void client_start(struct client *c, enum client_kind kind, unsigned box, unsigned box2) {
    c->kind = kind;
    c->alive = true;
    c->pc = c->tries = c->ndone = 0;
    c->prep = (struct replica_prep){0};
    c->name = 0;
    c->box = box;
    c->box2 = box2;
    next_step(c, 1);
}

static void client_new(struct node *n) {
    if (!world.winding_down)
        event_add(E_CLIENT_NEW, n->index, some_time(4 * world.delay_client));
    if (world.now < n->off_until)
        return;
    for (unsigned i = 0; i < world.clients && !world.winding_down; i++) {
        struct client *c = &n->client[i];
        if (c->alive)
            continue;
        uint64_t what = rnd(100);
        enum client_kind kind = what < 20   ? C_VIRTUAL
                                : what < 50 ? C_LMTP
                                : what < 80 ? C_IMAP
                                : what < 97 ? C_MOVE
                                            : C_FLAG_ACT;
        unsigned box = (unsigned)rnd(world.boxes);
        unsigned box2 = (box + 1 + (unsigned)rnd(BOXES - 1)) % BOXES;
        if (!(options.without_clients & (1u << kind)))
            client_start(c, kind, box, box2);
        return;
    }
}

static void step(const struct event *e) {
    static void (*const steps[C_KINDS])(struct client *) = {
        [C_VIRTUAL] = step_virtual, [C_LMTP] = step_lmtp,         [C_IMAP] = step_imap,
        [C_MOVE] = step_move,       [C_FLAG_ACT] = step_flag_act,
    };
    struct client *c = e->client;
    if (!c->alive || c->ticket != e->req || c->wait != W_NOTHING)
        return;
    if (!world.scripted && rnd(300) == 0) {
        die_alone(c);
        return;
    }
    steps[c->kind](c);
}

void client_event(const struct event *e) {
    if (e->kind == E_CLIENT_NEW)
        client_new(&nodes[e->node]);
    else if (e->kind == E_TELL)
        tell(&nodes[e->node]);
    else if (e->kind == E_GRANTED)
        granted(e);
    else
        step(e);
}
