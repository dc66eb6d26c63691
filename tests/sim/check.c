/*
 * What must hold after every event, and when all is quiet.
 *
 *   C1  the token of a mailbox is at most at one node, whatever has been lost on the way
 *   C2  L with the token is at most at one node
 *   C3  a (mailbox, UIDVALIDITY, UID) that could be read without L names one message, for ever;
 *       so does one that an index of Dovecot's has, when the power goes before U
 *   C4  what a client was told is delivered is somewhere; with a link that was up all the time,
 *       on both nodes
 *   C5  nobody waits longer than the configured times allow
 *   C7  a content is published once on a node, and not when its transaction is durable there
 *   C8  a body that was on both nodes and that somebody still has by a name is on both, in whatever
 *       form (of a message that was moved, the removal never comes to a node before the addition)
 *   C6  quiet: both in-sync, equal stores, equal bases; what was told as added is there with the
 *       flags told as set and without those told as cleared, what was told as removed is not
 *   C9  a machine takes every message of its like, and asks for nothing that cannot be done
 *   and the machine's own invariants I1 to I13.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

struct shown {
    struct {
        uint32_t box, v, uid;
    } key;
    uint32_t name;
    unsigned node;
    uint64_t at;
    bool indexed; /* by an index of that node only */
    UT_hash_handle hh;
};

struct fate {
    bool present, expunged; /* told so */
    unsigned gen;           /* counts additions and removals, so that old news is known as such */
    bool unclear;           /* which of two messages of this name is meant */
    bool common;            /* and then both bases had it */
    uint32_t flags, cleared;
    /* Bits of nodes: whose disk alone has it, and that not synced. */
    uint8_t fragile, fragile_present;
    uint8_t unwritten; /* bits of nodes: whose base did not have it on disk, or not alike */
};

static struct shown *shown;
static bool held[NODES][NAMES_MAX]; /* contents that a node has had, and no client of it removed */
static struct fate fates[BOXES][NAMES_MAX];
static uint32_t names_top;

static void shown_forget(void) {
    struct shown *s, *tmp;
    HASH_ITER(hh, shown, s, tmp) {
        HASH_DEL(shown, s);
        free(s);
    }
}

void check_reset(void) {
    shown_forget();
    for (unsigned b = 0; b < BOXES; b++)
        memset(fates[b], 0, (names_top + 1) * sizeof fates[b][0]);
    for (unsigned i = 0; i < NODES; i++)
        memset(held[i], 0, sizeof held[i]);
    names_top = 0;
    names_reset();
}

static struct fate *fate(unsigned box, uint32_t name) {
    if (name > names_top)
        names_top = name;
    return &fates[box][name];
}

void check_dirty(struct node *n, unsigned box) {
    n->dirty[box] = true;
    n->disk.changed[box] = true;
}

/* ---- C1, C2 ---- */

static bool has_token(const struct node *n, unsigned box) {
    struct mailfs_id id = box_id(box);
    const struct dir *d = replica_dir_find(n->r, &id);
    return d != NULL ? d->mine : n->r->default_mine;
}

static bool locks_shared(const struct node *n, unsigned box) {
    struct mailfs_id id = box_id(box);
    const struct dir *d = replica_dir_find(n->r, &id);
    return d != NULL && d->lock != LOCK_FREE && d->lock_shared;
}

static void check_tokens(void) {
    if (nodes[0].r == NULL || nodes[1].r == NULL)
        return;
    for (unsigned b = 0; b < BOXES; b++) {
        if (has_token(&nodes[0], b) && has_token(&nodes[1], b))
            fail("C1: the token of box %u is at both", b);
        if (locks_shared(&nodes[0], b) && locks_shared(&nodes[1], b))
            fail("C2: L of box %u at both", b);
    }
}

void check_grant(const struct node *n, unsigned box) {
    world.granted[n->index]++;
    if (client_holds(n, box))
        fail("C2: %s: L of box %u granted, and held", n->name, box);
    /* Rule 4: on top of what was acknowledged and is not applied nobody gives UIDs. */
    const struct journaled *j;
    DL_FOREACH(n->journal, j) {
        const struct txn *t = j->payload->data;
        if (!j->applied && t->box == box && t->v != 0)
            fail("C3: %s: L of box %u granted before what was received is applied", n->name, box);
    }
}

/* ---- C3 ---- */

static struct shown *show(const struct node *n, unsigned box, const struct entry *e) {
    struct shown key, *s;
    memset(&key, 0, sizeof key);
    key.key.box = box;
    key.key.v = n->store[box].v;
    key.key.uid = e->s.uid;
    HASH_FIND(hh, shown, &key.key, sizeof key.key, s);
    if (s == NULL) {
        s = calloc(1, sizeof *s);
        if (s == NULL)
            abort();
        s->key = key.key;
        s->name = e->name;
        s->node = n->index;
        s->at = world.now;
        HASH_ADD(hh, shown, key, sizeof s->key, s);
    }
    /* (what was published has two names until it is merged) */
    if (names[s->name].content != names[e->name].content)
        fail("C3: box %u V %u UID %u named %u (at %s, since %llu), now %u (at %s)", box, key.key.v,
             key.key.uid, s->name, nodes[s->node].name, (unsigned long long)s->at, e->name,
             n->name);
    return s;
}

/* Dovecot commits its index before U: it may be on the disk when the list is not. Before a node has
 * met the other it is as on any file system. */
void check_indexed(const struct node *n) {
    for (unsigned b = 0; b < BOXES && n->met; b++) {
        const struct list *l = &n->store[b].msgs;
        for (size_t i = 0; i < l->n && n->lock[b] != NULL; i++) {
            if (l->e[i].s.uid == 0)
                continue;
            unsigned had = HASH_COUNT(shown);
            struct shown *s = show(n, b, &l->e[i]);
            s->indexed = s->indexed || HASH_COUNT(shown) > had;
        }
    }
}

void check_index_forgotten(const struct node *n) {
    struct shown *s, *tmp;
    HASH_ITER(hh, shown, s, tmp) {
        if (s->indexed && s->node == n->index) {
            HASH_DEL(shown, s);
            free(s);
        }
    }
}

static void check_uids(struct node *n) {
    for (unsigned b = 0; b < BOXES; b++) {
        if (!n->dirty[b] || n->lock[b] != NULL)
            continue;
        n->dirty[b] = false;
        for (size_t i = 0; i < n->store[b].msgs.n; i++) {
            const struct entry *e = &n->store[b].msgs.e[i];
            if (e->s.uid != 0)
                show(n, b, e)->indexed = false;
            if (e->s.uid >= n->store[b].next && e->s.uid != 0)
                fail("C3: %s: box %u: UID %u is not below the next, %u", n->name, b, e->s.uid,
                     n->store[b].next);
        }
    }
}

/* ---- C4 ---- */

/* Both bases and both stores mean the same by this name: so its removal cannot be misunderstood. */
bool check_one_incarnation(unsigned box, uint32_t name, bool both) {
    struct state base = list_get(&nodes[0].base[box].msgs, name);
    if (!state_equal(base, list_get(&nodes[1].base[box].msgs, name)) || !base.is ||
        !nodes[0].base[box].valid || !nodes[1].base[box].valid)
        return false;
    for (unsigned i = 0; i < NODES; i++) {
        struct state s = list_get(&nodes[i].store[box].msgs, name);
        if (s.is ? s.uid != base.uid : both)
            return false;
    }
    return true;
}

/* A base that does not have it on disk yet may be without it after a power cut. */
static uint8_t not_on_disk(unsigned box, uint32_t name) {
    uint8_t bits = 0;
    for (unsigned i = 0; i < NODES; i++) {
        struct state base = list_get(&nodes[i].base[box].msgs, name);
        struct state on_disk = list_get(&nodes[i].base_disk[box].msgs, name);
        if (!on_disk.is || on_disk.uid != base.uid)
            bits |= (uint8_t)(1u << i);
    }
    return bits;
}

/* The same message by its other name: it may be there under either, until it is merged. */
static void expunging_twins(unsigned box, uint32_t name) {
    uint32_t origin = names_of_content(names[name].content);
    for (uint32_t i = origin; i != 0; i = names[i].twin)
        if (i != name)
            fate(box, i)->present = false;
}

/* After a power cut, and before the journal has been applied once more: the other node had removed
 * it before, and the base will be without it, whoever removes it now. */
static bool removed_in_journal(const struct node *n, unsigned box, uint32_t name) {
    const struct journaled *j;
    DL_FOREACH(n->journal, j) {
        const struct txn *t = j->payload->data;
        for (size_t i = 0; (n->recent_lost || n->doubtful) && !j->applied && i < t->n; i++)
            if (t->box == box && t->ops[i].name == name && !t->ops[i].is.is)
                return true;
    }
    return false;
}

void check_expunging(unsigned node, unsigned box, uint32_t name) {
    held[node][names[name].content] = false;
    expunging_twins(box, name);
    fate(box, name)->present = false;
    bool somewhere = false;
    for (unsigned b = 0; b < BOXES; b++)
        somewhere = somewhere || fates[b][name].present;
    if (!somewhere)
        held[1 - node][names[name].content] = false;
    fate(box, name)->gen++;
    fate(box, name)->fragile = fate(box, name)->fragile_present = 0;
    fate(box, name)->common =
        check_one_incarnation(box, name, false) && !removed_in_journal(&nodes[node], box, name);
    fate(box, name)->unwritten = not_on_disk(box, name);
    fate(box, name)->flags = fate(box, name)->cleared = 0;
}

/* What the journal says of an earlier one will be said of this one, when it is applied again. */
static bool in_journal(const struct node *n, unsigned box, uint32_t name) {
    const struct journaled *j;
    DL_FOREACH(n->journal, j) {
        const struct txn *t = j->payload->data;
        for (size_t i = 0; t->box == box && i < t->n; i++)
            if (t->ops[i].name == name)
                return true;
    }
    return false;
}

void check_added(unsigned box, uint32_t name) {
    struct fate *f = fate(box, name);
    f->expunged = f->unclear = false;
    f->fragile = f->fragile_present = 0;
    f->gen++;
    /* The bases have it without a UID: nothing will tell this one from that one, so a removal of
     * that one on the other side takes this one along. */
    for (unsigned i = 0; i < NODES; i++) {
        struct state base = list_get(&nodes[i].base[box].msgs, name);
        f->unclear = f->unclear || (base.is && base.uid == 0) || in_journal(&nodes[i], box, name);
    }
    f->unwritten = 0;
    f->flags = f->cleared = 0;
}

unsigned check_generation(unsigned box, uint32_t name) {
    return fate(box, name)->gen;
}

void check_done(const struct client *c, bool safe) {
    uint8_t bit = (uint8_t)(1u << c->node);
    for (unsigned i = 0; i < c->ndone; i++) {
        const struct done *d = &c->done[i];
        struct fate *f = fate(d->box, d->name);
        world.acked++;
        if (d->gen != f->gen)
            continue;
        if (!safe)
            f->fragile |= bit;
        if (d->kind == D_PRESENT) {
            f->present = !f->unclear;
            /* Postfix syncs a content, and no directory. */
            if (c->kind == C_VIRTUAL || c->pc == 20)
                f->fragile_present |=
                    node_content_there(&nodes[1 - c->node], d->box, c->content) ? 0 : bit;
        } else if (d->kind == D_EXPUNGED) {
            f->expunged = f->common;
        } else if (d->kind == D_FLAGS) {
            f->flags |= d->flags;
            f->unwritten |= not_on_disk(d->box, d->name);
        } else {
            f->cleared |= d->flags;
            f->unwritten |= not_on_disk(d->box, d->name);
        }
    }
}

void check_synced(const struct node *n) {
    uint8_t bit = (uint8_t)(1u << n->index);
    for (unsigned b = 0; b < BOXES; b++)
        for (uint32_t i = 1; i <= names_top; i++) {
            fates[b][i].fragile &= (uint8_t)~bit;
            fates[b][i].fragile_present &= (uint8_t)~bit;
        }
}

static void forget_removals(void) {
    for (unsigned b = 0; b < BOXES; b++)
        for (uint32_t i = 1; i <= names_top; i++) {
            fates[b][i].expunged = fates[b][i].common = false;
            fates[b][i].flags = fates[b][i].cleared = 0;
            fates[b][i].gen++;
        }
}

/* With both behind, union is all that can be promised. */
void check_behind(struct node *n) {
    bool both = node_other(n)->behind;
    n->behind = true;
    if (both && world.commit == REPLICA_COMMIT_MEMORY)
        shown_forget();          /* it was in the memories of both */
    if (both || !n->had_contact) /* no common base: nothing is deleted */
        forget_removals();
}

void check_number_lost(unsigned box, uint32_t name) {
    fate(box, name)->expunged = fate(box, name)->common = false;
    fate(box, name)->gen++;
}

/* Of a message that this node's base is without now, as it came after the last checkpoint: what the
 * other's clients cleared, and are told of from now on. Only where the other's base has the flag is
 * it known that what is set here is from before (merge_later() in lib/replica/merge_decide.c). */
static void doubt_cleared(const struct node *n) {
    struct node *o = node_other(n);
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *c = &o->client[i];
        for (unsigned k = 0; k < c->ndone; k++) {
            struct done *d = &c->done[k];
            struct state theirs = list_get(&o->base[d->box].msgs, d->name);
            if (d->kind == D_CLEARED && !list_get(&n->base[d->box].msgs, d->name).is)
                d->flags &= theirs.flags;
        }
    }
}

/* What was told on the strength of this disk alone, and was not synced there. */
void check_power_cut(const struct node *n) {
    uint8_t bit = (uint8_t)(1u << n->index);
    memset(held[n->index], 0, sizeof held[0]); /* names that were not synced may be gone */
    doubt_cleared(n);
    for (unsigned b = 0; b < BOXES; b++)
        for (uint32_t i = 1; i <= names_top; i++) {
            struct fate *f = &fates[b][i];
            if ((f->fragile | f->unwritten) & bit) {
                f->expunged = false;
                f->flags = f->cleared = 0;
            }
            if (f->unwritten & bit)
                f->common = false; /* also of what is told after this */
            if (f->fragile_present & bit)
                f->present = false;
        }
}

/* Its link was up from the prepare on: the other node must have it by now. */
void check_delivered(const struct client *c) {
    const struct node *n = &nodes[c->node];
    const struct node *o = node_other(n);
    if (c->prep_conn == 0 || c->prep_conn != world.conn || n->r == NULL || !n->r->connected ||
        o->r == NULL || !o->r->connected || world.commit != REPLICA_COMMIT_DISK)
        return;
    if (fate(c->box, c->name)->present && !node_content_there(o, c->box, c->content))
        fail("C4: %s: %u was told as delivered, and the other node has nothing of it", n->name,
             c->name);
}

static bool has_name(unsigned box, uint32_t name) {
    return list_get(&nodes[0].store[box].msgs, name).is ||
           list_get(&nodes[1].store[box].msgs, name).is;
}

static void check_kept(void) {
    for (unsigned b = 0; b < BOXES; b++)
        for (uint32_t i = 1; i <= names_top; i++)
            if (fates[b][i].present && !has_name(b, i) &&
                !node_content_there(&nodes[0], b, names[i].content) &&
                !node_content_there(&nodes[1], b, names[i].content))
                fail("C4: %u of box %u was told as there, and is nowhere", i, b);
}

/* ---- C7, C8 ---- */

/* The bits of struct name's used: by a transaction or a publication, of this node. */
void check_published_once(const struct node *n, const struct prepared *p) {
    uint32_t origin = names_of_content(p->content);
    if (names[origin].used[n->index] && !world.state_lost)
        fail("C7: %s: content %u is published, and was used before", n->name, p->content);
    names[origin].used[n->index] = true;
}

/* C8: as long as no client of a node removed it there. */
static void check_on_both(void) {
    if (world.commit != REPLICA_COMMIT_DISK || world.state_lost)
        return;
    bool in_sync = true;
    for (unsigned k = 0; k < NODES; k++)
        in_sync = in_sync && nodes[k].r != NULL && replica_state(nodes[k].r) == REPLICA_IN_SYNC;
    for (unsigned b = 0; b < BOXES; b++) {
        for (uint32_t i = 1; i <= names_top; i++) {
            if (!fates[b][i].present)
                continue;
            for (unsigned k = 0; k < NODES; k++) {
                bool *had = &held[k][names[i].content];
                bool there = node_content_there(&nodes[k], BOXES, names[i].content);
                if (*had && !there)
                    fail("C8: the body of %u (box %u) is gone from %s", i, b, nodes[k].name);
                if (in_sync)
                    *had = there;
            }
        }
    }
}

/* What is left of the peer's in the air when the link has ended has a name, or is gone. */
static void check_published(const struct node *n) {
    if (n->r == NULL || n->r->connected)
        return;
    const struct prepared *p;
    DL_FOREACH(n->prepared, p) {
        struct prep_in *in;
        HASH_FIND(hh, n->r->preps_in, &p->prep, sizeof p->prep, in);
        bool named = names[names_of_content(p->content)].used[n->index]; /* then C7 is to see it */
        if (in == NULL && !p->put_off && !named)
            fail("C4: %s: content %u is kept and nobody will give it a name", n->name, p->content);
    }
}

/* ---- C5 ---- */

static void check_waiting(const struct node *n) {
    if (world.now <= n->paused_until)
        return;
    for (unsigned i = 0; i < CLIENTS; i++) {
        const struct client *c = &n->client[i];
        if (!c->alive || c->wait == W_NOTHING || c->wait == W_GRANTED)
            continue;
        /* What is to be applied first cannot be hurried; only that may take longer. */
        uint64_t limit = c->wait == W_RELEASE ? 3000 + 10 : 3000 + 1000 + 2 * 200 + 10;
        if (world.now > c->since + limit)
            fail("C5: %s: client %u (kind %d, pc %u, box %u) waits since %llu", n->name, i, c->kind,
                 c->pc, c->box, (unsigned long long)c->since);
    }
}

void check_step(void) {
    check_tokens();
    for (unsigned i = 0; i < NODES; i++) {
        check_uids(&nodes[i]);
        check_waiting(&nodes[i]);
        check_published(&nodes[i]);
    }
    if (world.steps % 16 == 0)
        check_kept();
    if (world.steps % 64 == 0 || world.scripted)
        check_on_both();
}

/* ---- C6 ---- */

static void check_equal(unsigned b) {
    const struct box *x = &nodes[0].store[b], *y = &nodes[1].store[b];
    size_t i = 0, j = 0;
    while (i < x->msgs.n || j < y->msgs.n) {
        bool at_x = i < x->msgs.n && (j == y->msgs.n || x->msgs.e[i].name <= y->msgs.e[j].name);
        bool at_y = j < y->msgs.n && (i == x->msgs.n || y->msgs.e[j].name <= x->msgs.e[i].name);
        uint32_t name = at_x ? x->msgs.e[i].name : y->msgs.e[j].name;
        if (!at_x || !at_y || !state_equal(x->msgs.e[i].s, y->msgs.e[j].s))
            fail("C6: box %u: %u is not the same on both (%d, %d)", b, name, at_x, at_y);
        i += at_x;
        j += at_y;
    }
    if (x->v != y->v || x->next != y->next)
        fail("C6: box %u: V %u next %u, and V %u next %u", b, x->v, x->next, y->v, y->next);
    if (box_digest(&nodes[0].base[b]) != box_digest(&nodes[1].base[b]))
        fail("C6: box %u: the bases differ", b);
}

static void check_fates(unsigned b) {
    for (uint32_t i = 1; i <= names_top; i++) {
        struct fate f = fates[b][i];
        struct state s = list_get(&nodes[0].store[b].msgs, i);
        if (f.expunged && !f.present && s.is)
            fail("C6: box %u: %u was told as removed, and is there", b, i);
        if (f.present && s.is && (s.flags & f.flags) != f.flags)
            fail("C6: box %u: %u lacks flags told as set: %x of %x", b, i, s.flags, f.flags);
        if (f.present && s.is && (s.flags & f.cleared) != 0)
            fail("C6: box %u: %u has flags told as cleared: %x of %x", b, i, s.flags, f.cleared);
    }
}

void check_quiet(void) {
    check_kept();
    for (unsigned i = 0; i < NODES; i++) {
        const struct node *n = &nodes[i];
        if (n->r == NULL || replica_state(n->r) != REPLICA_IN_SYNC)
            fail("C6: %s is not in-sync", n->name);
        for (unsigned b = 0; b < BOXES; b++)
            if (n->shown[b] || n->lock[b] != NULL)
                fail("C6: %s: a lock is left in box %u", n->name, b);
        if (n->prepared != NULL)
            fail("C6: %s: a prepared content is left", n->name);
    }
    for (unsigned b = 0; b < BOXES; b++) {
        check_equal(b);
        check_fates(b);
    }
    folders_check();
}
