/*
 * What syncd does on a node: carries out the machine's actions, each in its time. life.c says what
 * becomes of it all when it dies.
 */
#include "sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct node nodes[NODES];

struct mailfs_id box_id(unsigned box) {
    struct mailfs_id id = {{0}};
    id.b[0] = (uint8_t)(box + 1);
    return id;
}

unsigned box_index(const struct mailfs_id *id) {
    return id->b[0] > 0 && id->b[0] <= BOXES ? id->b[0] - 1u : 0;
}

struct node *node_other(const struct node *n) {
    return &nodes[1 - n->index];
}

static bool prep_equal(struct replica_prep a, struct replica_prep b) {
    return a.incarnation == b.incarnation && a.seq == b.seq;
}

static struct prepared *prepared_find(const struct node *n, struct replica_prep prep) {
    struct prepared *p;
    DL_FOREACH(n->prepared, p) {
        if (prep_equal(p->prep, prep))
            return p;
    }
    return NULL;
}

void node_drop_prepared(struct node *n, struct prepared *p) {
    DL_DELETE(n->prepared, p);
    free(p);
}

void node_drop_journaled(struct node *n, struct journaled *j) {
    DL_DELETE(n->journal, j);
    replica_payload_unref(j->payload);
    free(j);
}

/* A body, when the last name it had is removed while that is to be kept back. */
void node_keep(struct node *n, uint32_t content) {
    if (!n->keep_removed || n->nkept == KEPT_MAX)
        return;
    n->kept[n->nkept++] = content;
}

static bool content_in(const struct txn *t, uint32_t content) {
    for (size_t i = 0; i < t->n; i++)
        if (t->ops[i].is.is && !t->ops[i].was.is && names[t->ops[i].name].content == content)
            return true;
    return false;
}

static bool content_named(const struct list *l, uint32_t content) {
    for (size_t i = 0; i < l->n; i++)
        if (names[l->e[i].name].content == content)
            return true;
    return false;
}

bool node_content_there(const struct node *n, unsigned box, uint32_t content) {
    const struct prepared *p;
    DL_FOREACH(n->prepared, p) {
        if (p->durable && p->content == content && (box == BOXES || p->box == box))
            return true;
    }
    const struct journaled *j;
    DL_FOREACH(n->journal, j) {
        const struct txn *t = j->payload->data;
        if (!j->applied && (box == BOXES || t->box == box) && content_in(t, content))
            return true;
    }
    for (unsigned b = 0; b < BOXES; b++)
        if ((box == BOXES || box == b) && content_named(&n->store[b].msgs, content))
            return true;
    for (size_t i = 0; box == BOXES && i < n->nkept; i++)
        if (n->kept[i] == content)
            return true;
    return false;
}

void node_tick(struct node *n) {
    n->tick_at = UINT64_MAX;
    if (n->r == NULL || node_now(n) < replica_deadline(n->r))
        return;
    replica_tick(n->r, node_now(n));
    n->ticked = true;
}

/* ---- prepared contents ---- */

/* The body of a PREPARE begins to arrive. */
void node_before_receive(struct node *n, const struct replica_msg *m) {
    if (m->kind == RMSG_TXN)
        ((struct txn *)m->payload->data)->received = true;
    if (m->kind != RMSG_PREPARE)
        return;
    const struct txn *body = m->payload->data;
    struct prepared *p = calloc(1, sizeof *p);
    if (p == NULL)
        abort();
    p->prep = m->prep;
    p->content = body->ops[0].name;
    p->box = body->box;
    DL_APPEND(n->prepared, p);
    event_add(E_DURABLE, n->index, some_time(world.delay_disk))->prep = m->prep;
}

static void durable(struct node *n, const struct event *e) {
    struct prepared *p = prepared_find(n, e->prep);
    if (p == NULL)
        return;
    if (n->disk_full) {
        node_drop_prepared(n, p);
        replica_content_durable(n->r, node_now(n), e->prep, -ENOSPC);
        return;
    }
    p->durable = true;
    replica_content_durable(n->r, node_now(n), e->prep, 0);
}

/* The mailbox has a name of what was prepared here, from a merge. */
static bool named_already(const struct node *n, const struct prepared *p) {
    const struct list *l = &n->store[p->box].msgs;
    for (size_t i = 0; i < l->n; i++)
        if (prep_equal(names[l->e[i].name].prep, p->prep))
            return true;
    return false;
}

/* Durable, and marked; nobody is told but by the merge. */
void node_publish(struct node *n, struct prepared *p) {
    uint32_t name = name_new(p->content, p->box, p->prep), origin = names_of_content(p->content);
    check_published_once(n, p);
    names[name].published = true;
    names[name].twin = names[origin].twin;
    names[origin].twin = name;
    trace("%s: publishes %u in box %u (content %u)", n->name, name, p->box, p->content);
    world.published++;
    node_mark(n, p->box);
    list_set(&n->store[p->box].msgs, name, (struct state){.is = true});
    check_dirty(n, p->box);
    disk_sync_names(n, p->box);
    if (!MUTANT(MUTANT_PUBLISH_TWICE))
        node_drop_prepared(n, p);
}

static void merge_used(struct node *n, unsigned box) {
    struct prepared *p, *tmp;
    DL_FOREACH_SAFE(n->prepared, p, tmp) {
        if (p->box == box && named_already(n, p)) {
            replica_prep_used(n->r, p->prep);
            node_drop_prepared(n, p);
        }
    }
}

/* ---- completions ---- */

static void suspect(struct node *n, unsigned box) {
    trace("%s: box %u suspect", n->name, box);
    world.suspects++;
    node_mark(n, box);
    replica_suspect(n->r, node_now(n), box_id(box));
}

static void journaled(struct node *n, const struct event *e) {
    if (n->disk_full) {
        replica_journaled(n->r, node_now(n), e->seq, -ENOSPC);
        return;
    }
    struct journaled *j = calloc(1, sizeof *j);
    if (j == NULL)
        abort();
    j->seq = e->seq;
    j->life = n->life;
    j->order = ++n->journal_order;
    j->payload = replica_payload_ref(e->payload);
    DL_APPEND(n->journal, j);
    struct txn *t = e->payload->data;
    t->durable = true;
    for (size_t i = 0; i < t->npreps; i++) {
        struct prepared *p = prepared_find(n, t->preps[i]);
        if (p == NULL)
            continue;
        names[names_of_content(p->content)].used[n->index] = true;
        if (!MUTANT(MUTANT_NOT_CONSUMED))
            node_drop_prepared(n, p);
    }
    replica_journaled(n->r, node_now(n), e->seq, 0);
}

/* True: suspect. The entry stays until the store is synced. */
static bool apply(struct node *n, struct journaled *j) {
    const struct txn *t = j->payload->data;
    unsigned box = t->box;
    if (client_holds(n, box))
        fail("I3: %s: applied to box %u under L", n->name, box);
    bool misfit = txn_apply(n, &n->base[box], t, t->n);
    if (chance(2)) /* harmless: whatever is sent or replayed twice */
        misfit = txn_apply(n, &n->base[box], t, t->n) || misfit;
    txn_applied(n, t);
    check_dirty(n, box);
    j->applied = true;
    if (MUTANT(MUTANT_JOURNAL_EARLY))
        node_drop_journaled(n, j);
    return misfit;
}

static struct journaled *journaled_find(const struct node *n, const struct event *e) {
    struct journaled *j;
    DL_FOREACH(n->journal, j) {
        if (j->seq == e->seq && j->life == n->life)
            return j;
    }
    return NULL;
}

/* Some of it is in the store when syncd is killed; the base knows nothing yet. */
static void apply_half(struct node *n, const struct event *e) {
    struct journaled *j = journaled_find(n, e);
    struct box base = {0};
    if (j == NULL || j->applied)
        return;
    const struct txn *t = j->payload->data;
    box_copy(&base, &n->base[t->box]);
    size_t most = (size_t)rnd(t->n + 1);
    bool misfit = txn_apply(n, &base, t, most);
    list_free(&base.msgs);
    check_dirty(n, t->box);
    if (misfit && most == t->n)
        suspect(n, t->box); /* (it is marked before anything is changed) */
}

static void applied(struct node *n, const struct event *e) {
    struct journaled *j = journaled_find(n, e);
    if (j == NULL) {
        fail("%s: told to apply what is not in the journal", n->name);
        return;
    }
    if (n->disk_full && chance(90)) { /* no room, or an error that passes: later */
        event_again(e, 1000);
        return;
    }
    unsigned box = ((const struct txn *)j->payload->data)->box;
    bool misfit = apply(n, j);
    replica_applied(n->r, node_now(n), e->seq);
    if (misfit)
        suspect(n, box);
}

static struct journaled *replay_next(const struct node *n, unsigned box) {
    struct journaled *j;
    DL_FOREACH(n->journal, j) {
        const struct txn *t = j->payload->data;
        if (t->box == box && j->life != n->life && !j->applied)
            break;
    }
    return j;
}

static void replayed(struct node *n, const struct event *e) {
    if (client_holds(n, e->box)) { /* held on while syncd was away: later */
        event_again(e, 10);
        return;
    }
    struct journaled *j = replay_next(n, e->box);
    if (j != NULL && apply(n, j))
        suspect(n, e->box); /* a contact may have begun, and listed its marks without this one */
    replica_replayed(n->r, node_now(n), box_id(e->box));
}

/* A contact begins. Without a common base the tree's digest is none, and all is compared. */
static void tree_scanned(struct node *n, const struct event *e) {
    uint8_t digest[REPLICA_DIGEST] = {n->had_contact ? 1 : 0};
    n->keep_removed = true;
    n->tree_full = e->full;
    if (!e->full && chance(world.odd_merges * 4))
        digest[1] = (uint8_t)(1 + n->index);
    struct replica_payload *p = replica_payload_new(NULL, 1, NULL);
    replica_tree_scanned(n->r, node_now(n), p, digest);
    replica_payload_unref(p);
}

static void tree_merged(struct node *n) {
    uint8_t digest[REPLICA_DIGEST] = {2};
    n->met = n->met || !MUTANT(MUTANT_UNTIMELY_MET); /* before anything is common */
    if (chance(world.odd_merges * 2))
        digest[1] = (uint8_t)(1 + n->index);
    replica_tree_merged(n->r, node_now(n), digest,
                        chance(world.odd_merges) || n->disk_full ? -EIO : 0);
}

static void marks(struct node *n, const struct event *e) {
    struct replica_mark m[BOXES];
    size_t count = 0;
    memset(m, 0, sizeof m);
    for (unsigned b = 0; b < BOXES; b++) {
        if (!(e->seq & (1u << b)))
            continue;
        uint64_t digest = box_digest(&n->base[b]);
        m[count].dir = box_id(b);
        memcpy(m[count++].base_digest, &digest, sizeof digest);
    }
    replica_marks(n->r, node_now(n), m, count);
}

static void scanned(struct node *n, const struct event *e) {
    unsigned b = e->box;
    struct replica_payload *p = NULL;
    if (!chance(world.odd_merges))
        p = listing_make(n, b, e->full);
    struct mailfs_id id = box_id(b);
    const struct dir *d = replica_dir_find(n->r, &id);
    if (d != NULL && d->stage == STAGE_FROZEN && !d->job_dead && client_holds(n, b))
        fail("%s: frozen listing of box %u under L", n->name, b);
    replica_payload_unref(n->own_listing[b]);
    n->own_listing[b] = replica_payload_ref(p);
    replica_scanned(n->r, node_now(n), box_id(b), e->round, p);
    replica_payload_unref(p);
}

static void staged(struct node *n, const struct event *e) {
    const struct listing *own = n->own_listing[e->box] ? n->own_listing[e->box]->data : NULL;
    const struct listing *peer = e->payload->data;
    int err = chance(world.odd_merges) ? -EIO : 0;
    if (own != NULL && (!own->full || !peer->full) && own->base_digest != peer->base_digest)
        err = -ESTALE;
    replica_staged(n->r, node_now(n), box_id(e->box), e->round, err);
}

/* Changes of the store before it is known that all of the result will be there. */
static void merge_half(struct node *n, const struct event *e) {
    unsigned b = e->box;
    if (n->own_listing[b] == NULL || client_holds(n, b))
        return;
    node_mark(n, b);
    listing_merge(n, NULL, n->own_listing[b]->data, e->payload->data, NULL, NULL);
    trace("%s: merged box %u, in part", n->name, b);
    check_dirty(n, b);
}

/* The base stays what it is until the other side is known to have done the same. */
static int merge_into(struct node *n, unsigned b, const struct listing *peer, uint8_t *digest,
                      bool *misfit) {
    box_copy(&n->merged[b], &n->base[b]);
    int err = listing_merge(n, &n->merged[b], n->own_listing[b]->data, peer, digest, misfit);
    check_dirty(n, b);
    if (err == 0 && MUTANT(MUTANT_BASE_ON_MERGE))
        box_copy(&n->base[b], &n->merged[b]);
    if (err == 0) {
        disk_sync_all(n); /* the other moves its base when it hears that this store has it */
        n->cut[b] = false;
    }
    return err;
}

static void merged(struct node *n, const struct event *e) {
    unsigned b = e->box;
    uint8_t digest[REPLICA_DIGEST] = {0};
    bool misfit = false;
    int err = -EIO;
    if (client_holds(n, b))
        fail("I4: %s: merged box %u under L", n->name, b);
    node_mark(n, b); /* until the other is known to have done the same */
    if (!chance(world.odd_merges) && !n->disk_full && n->own_listing[b] != NULL)
        err = merge_into(n, b, e->payload->data, digest, &misfit);
    trace("%s: merged box %u: %d, next %u", n->name, b, err, n->store[b].next);
    if (err != 0 && err != -EIO && err != -ESTALE)
        fail("%s: merge of box %u: %d", n->name, b, err);
    world.merges++;
    merge_used(n, b);
    if (misfit)
        suspect(n, b);
    replica_merged(n->r, node_now(n), box_id(b), e->round, digest, err);
}

static void merge_done(struct node *n, unsigned b) {
    box_copy(&n->base[b], &n->merged[b]);
    n->lacks[b] = n->cut[b] = false;
    halves_forget(&n->half[b]);
}

void node_event(struct node *n, const struct event *e) {
    if (e->kind == E_SYNCD_START) {
        node_start_syncd(n);
        return;
    }
    if (e->kind == E_MAILFS_START) {
        if (world.now >= n->off_until)
            node_mailfs_back(n);
        return;
    }
    if (e->kind == E_RESUME) {
        node_resume(n);
        return;
    }
    if (n->r == NULL || e->life != n->life)
        return;
    if (world.now < n->hung_until) {
        event_again(e, n->hung_until - world.now);
        return;
    }
    switch (e->kind) {
    case E_CHECKPOINT:
        node_checkpoint(n);
        break;
    case E_JOURNALED:
        journaled(n, e);
        break;
    case E_APPLY_HALF:
        apply_half(n, e);
        break;
    case E_APPLIED:
        applied(n, e);
        break;
    case E_REPLAYED:
        replayed(n, e);
        break;
    case E_DURABLE:
        durable(n, e);
        break;
    case E_TREE_SCANNED:
        tree_scanned(n, e);
        break;
    case E_TREE_MERGED:
        tree_merged(n);
        break;
    case E_MARKS:
        marks(n, e);
        break;
    case E_SCANNED:
        scanned(n, e);
        break;
    case E_STAGED:
        staged(n, e);
        break;
    case E_MERGE_HALF:
        merge_half(n, e);
        break;
    case E_MERGED:
        merged(n, e);
        break;
    case E_KINDS: /* time goes on: execution.c */
        break;
    default:
        abort();
    }
}

/* ---- actions ---- */

static void later_by(struct node *n, enum event_kind kind, const struct replica_action *a,
                     uint64_t ms) {
    struct event *e = event_add(kind, n->index, ms);
    e->box = box_index(&a->dir);
    e->seq = a->seq;
    e->round = a->round;
    e->frozen = a->frozen;
    e->full = a->full;
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
    struct prepared *p = prepared_find(n, prep);
    if (p == NULL)
        return;
    unsigned box = p->box;
    if (keep) {
        node_publish(n, p);
        if (n->r->connected)
            suspect(n, box);
    } else {
        node_drop_prepared(n, p);
    }
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
