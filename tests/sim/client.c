/*
 * Postfix and Dovecot, as far as the machine can tell (what of mailfs is between them and syncd:
 * client_mailfs.c):
 *
 *   virtual   prepare, link into new/ without L
 *   lmtp      prepare, try L; without it as virtual, with it give the UID, U
 *   imap      L, pick up and number all, then flags and removals, U
 *   move      L of one mailbox, add there, U; L of the other, remove there, U
 *   flag act  a rename without L (Dovecot does that when L cannot be had)
 *   folder    makes a folder, or removes one
 */
#include "client_int.h"

/* Some are only ever set; some are there from the beginning and only ever cleared. */
enum { FLAGS_SET = 7, FLAG_TOGGLED = 16, FLAGS_BORN = 0x700 };

const char *const client_names[C_KINDS] = {
    [C_VIRTUAL] = "virtual", [C_LMTP] = "lmtp",         [C_IMAP] = "imap",
    [C_MOVE] = "move",       [C_FLAG_ACT] = "flag-act", [C_FOLDER] = "folder",
};

struct node *client_node(const struct client *c) {
    return &nodes[c->node];
}

void client_next(struct client *c, uint64_t delay) {
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

void client_finish(struct client *c) {
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

static void note(struct client *c, enum done_kind kind, unsigned box, uint32_t name,
                 uint32_t flags) {
    if (c->ndone < DONE_MAX)
        c->done[c->ndone++] = (struct done){kind, box, name, flags, check_generation(box, name)};
}

/* ---- what they do ---- */

static uint32_t number(struct node *n, unsigned box) {
    return n->store[box].next++;
}

static void deliver(struct client *c, uint32_t uid) {
    check_added(c->box, c->name);
    note(c, D_PRESENT, c->box, c->name, 0);
    client_change(client_node(c), c, c->box, c->name,
                  (struct state){.is = true, .uid = uid, .flags = FLAGS_BORN}, &c->prep);
}

static void deliver_without_lock(struct client *c) {
    deliver(c, 0);
    check_done(c, false);
    check_delivered(c);
    client_finish(c);
}

static void step_virtual(struct client *c) {
    if (c->pc == 0)
        client_prepare(c);
    else
        deliver_without_lock(c);
}

static void step_lmtp(struct client *c) {
    struct node *n = client_node(c);
    switch (c->pc) {
    case 0:
        client_prepare(c);
        break;
    case 1:
        client_lock(c);
        break;
    case 2:
        deliver(c, number(n, c->box));
        disk_sync_names(n, c->box); /* Dovecot does both */
        disk_sync_list(n, c->box);
        client_unlock(c);
        break;
    case 20:
        deliver_without_lock(c);
        break;
    default:
        check_delivered(c);
        client_finish(c);
        break;
    }
}

static void pick_up(struct client *c) {
    struct node *n = client_node(c);
    struct list *l = &n->store[c->box].msgs;
    for (size_t i = 0; i < l->n; i++) {
        struct state s = l->e[i].s;
        if (s.cur && s.uid != 0)
            continue;
        s.cur = true;
        if (s.uid == 0)
            s.uid = number(n, c->box);
        client_change(n, c, c->box, l->e[i].name, s, NULL);
    }
}

static void expunge(struct client *c, unsigned box, uint32_t name) {
    check_expunging(c->node, box, name);
    client_change(client_node(c), c, box, name, (struct state){0}, NULL);
    note(c, D_EXPUNGED, box, name, 0);
}

static void touch_one(struct client *c) {
    struct node *n = client_node(c);
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
    client_change(n, c, c->box, e.name, e.s, NULL);
}

static void step_imap(struct client *c) {
    switch (c->pc) {
    case 0:
        client_lock(c);
        break;
    case 1:
        pick_up(c);
        c->pc++;
        client_next(c, some_time(world.delay_client));
        break;
    case 2:
        for (uint64_t i = world.scripted ? 0 : rnd(4); i > 0; i--)
            touch_one(c);
        c->pc++;
        client_next(c, some_time(world.delay_client));
        break;
    case 3:
        client_unlock(c);
        break;
    default:
        if (chance(60)) {
            c->pc = c->tries = 0;
            client_next(c, some_time(5 * world.delay_client));
        } else {
            client_finish(c);
        }
        break;
    }
}

static void copy_one(struct client *c) {
    struct node *n = client_node(c);
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
    client_change(n, c, c->box, c->name, s, NULL);
    disk_sync_names(n, c->box);
    note(c, D_PRESENT, c->box, c->name, 0);
}

static void step_move(struct client *c) {
    switch (c->pc) {
    case 0:
    case 4:
        client_lock(c);
        break;
    case 1:
        copy_one(c);
        c->pc++;
        client_unlock(c);
        break;
    case 3: { /* released: the other half */
        unsigned from = c->box2;
        c->box2 = c->box;
        c->box = from;
        if (c->name == 0 || (!world.scripted && chance(40))) {
            client_finish(c);
            break;
        }
        c->pc++;
        c->tries = 0;
        client_next(c, 1);
        break;
    }
    case 5:
        if (list_get(&client_node(c)->store[c->box].msgs, c->name).uid != 0)
            expunge(c, c->box, c->name);
        client_unlock(c);
        break;
    default:
        client_finish(c);
        break;
    }
}

static bool frozen(const struct node *n, unsigned box) {
    struct mailfs_id id = box_id(box);
    const struct dir *d = n->r != NULL ? replica_dir_find(n->r, &id) : NULL;
    return d != NULL && replica_round_frozen(d);
}

static bool half_applied(const struct node *n, unsigned box) {
    const struct journaled *j;
    DL_FOREACH(n->journal, j) {
        if (j->half && ((const struct txn *)j->payload->data)->box == box)
            return true;
    }
    return false;
}

static void step_flag_act(struct client *c) {
    struct node *n = client_node(c);
    const struct list *l = &n->store[c->box].msgs;
    /* Two such, made on both sides while a mailbox is being listed, can still swap: see
     * docs/DESIGN.md. So can one that undoes what is applied once more. A frozen mailbox is
     * therefore left alone here, and one in which that is so. */
    if (l->n > 0 && !client_holds(n, c->box) && !frozen(n, c->box) && !half_applied(n, c->box)) {
        struct entry e = l->e[rnd(l->n)];
        e.s.flags ^= FLAG_TOGGLED;
        client_change(n, c, c->box, e.name, e.s, NULL);
    }
    client_finish(c);
}

static void step_folder(struct client *c) {
    client_change_folder(client_node(c), c->box);
    client_finish(c);
}

void client_start(struct client *c, enum client_kind kind, unsigned box, unsigned box2) {
    c->kind = kind;
    c->alive = true;
    c->pc = c->tries = c->ndone = 0;
    c->prep = (struct replica_prep){0};
    c->name = 0;
    c->box = box;
    c->box2 = box2;
    client_next(c, 1);
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
                                : what < 94 ? C_MOVE
                                : what < 97 ? C_FLAG_ACT
                                            : C_FOLDER;
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
        [C_MOVE] = step_move,       [C_FLAG_ACT] = step_flag_act, [C_FOLDER] = step_folder,
    };
    struct client *c = e->client;
    if (!c->alive || c->ticket != e->req || c->wait != W_NOTHING)
        return;
    if (!world.scripted && rnd(300) == 0) {
        client_die_alone(c);
        return;
    }
    steps[c->kind](c);
}

void client_event(const struct event *e) {
    if (e->kind == E_CLIENT_NEW)
        client_new(&nodes[e->node]);
    else if (e->kind == E_TELL)
        client_tell(&nodes[e->node]);
    else if (e->kind == E_GRANTED)
        client_granted(e);
    else
        step(e);
}
