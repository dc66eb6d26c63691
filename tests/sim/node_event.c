/*
 * What has happened on a node is told to its machine: that an action is carried out, after the time
 * it takes, that a body is durable, that it is time.
 */
#include "node_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void node_tick(struct node *n) {
    n->tick_at = UINT64_MAX;
    if (n->r == NULL || node_now(n) < replica_deadline(n->r))
        return;
    replica_tick(n->r, node_now(n));
    n->ticked = true;
}

static void durable(struct node *n, const struct event *e) {
    struct prepared *p = node_prepared_find(n, e->prep);
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

/* ---- the journal ---- */

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
        struct prepared *p = node_prepared_find(n, t->preps[i]);
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
    folders_apply(n, j);
    check_dirty(n, box);
    j->applied = true;
    j->half = false;
    if (MUTANT(MUTANT_JOURNAL_EARLY))
        node_drop_journaled(n, j);
    return misfit;
}

static struct journaled *journaled_of(const struct node *n, uint64_t seq) {
    struct journaled *j;
    DL_FOREACH(n->journal, j) {
        if (j->seq == seq && j->life == n->life)
            return j;
    }
    return NULL;
}

void node_apply_begins(struct node *n, uint64_t seq) {
    struct journaled *j = journaled_of(n, seq);
    if (j != NULL)
        j->under_way = true;
}

/* Some of it is in the store when syncd is killed; the base knows nothing yet. */
static void apply_half(struct node *n, const struct event *e) {
    struct journaled *j = journaled_of(n, e->seq);
    struct box base = {0};
    if (j == NULL || j->applied)
        return;
    const struct txn *t = j->payload->data;
    box_copy(&base, &n->base[t->box]);
    size_t most = (size_t)rnd(t->n + 1);
    bool misfit = txn_apply(n, &base, t, most);
    j->half = true;
    list_free(&base.msgs);
    check_dirty(n, t->box);
    if (misfit && most == t->n)
        node_suspect(n, t->box); /* (it is marked before anything is changed) */
}

static void applied(struct node *n, const struct event *e) {
    struct journaled *j = journaled_of(n, e->seq);
    if (j == NULL) {
        fail("C9: %s: told to apply what is not in the journal", n->name);
        return;
    }
    j->under_way = false;
    if (n->disk_full && chance(90)) { /* no room, or an error that passes: later */
        event_again(e, 1000);
        return;
    }
    unsigned box = ((const struct txn *)j->payload->data)->box;
    bool compare =
        e->late && ((const struct txn *)j->payload->data)->folder != 0 && !j->folder_done;
    if (apply(n, j))
        node_suspect(n, box); /* before L can be granted */
    replica_applied(n->r, node_now(n), e->seq);
    if (compare && world.side_up[n->index]) { /* the trees once more */
        link_close(n->index);
        replica_disconnected(n->r, node_now(n));
    }
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

/* What was removed here since is in the store again, and the base does not know it was. */
static void note_put_back(struct node *n, const struct txn *t) {
    for (size_t i = 0; i < t->n; i++) {
        const struct op *op = &t->ops[i];
        if (op->is.is && !op->was.is && !list_get(&n->store[t->box].msgs, op->name).is)
            list_set(&n->put_back[t->box], op->name, op->is);
    }
}

static void replayed(struct node *n, const struct event *e) {
    if (client_holds(n, e->box)) { /* held on while syncd was away: later */
        event_again(e, 10);
        return;
    }
    struct journaled *j = replay_next(n, e->box);
    if (j != NULL && n->doubtful && n->lacks[e->box])
        note_put_back(n, j->payload->data);
    if (j != NULL && apply(n, j))
        node_suspect(n,
                     e->box); /* a contact may have begun, and listed its marks without this one */
    replica_replayed(n->r, node_now(n), box_id(e->box));
}

/* A contact begins. Without a common base the tree's digest is none, and all is compared. */
/* ---- merges ---- */

/* Nothing else is at work meanwhile; what could not be applied, and is tried again, is not. */
static bool is_applying(const struct node *n) {
    const struct journaled *j;
    DL_FOREACH(n->journal, j) {
        if (j->under_way && j->life == n->life)
            break;
    }
    return j != NULL;
}

static void tree_scanned(struct node *n, const struct event *e) {
    if (is_applying(n)) {
        event_again(e, 1);
        return;
    }
    uint8_t digest[REPLICA_DIGEST] = {n->had_contact ? 1 : 0};
    n->keep_removed = true;
    n->tree_full = e->full;
    if (!e->full && chance(world.odd_merges * 4))
        digest[1] = (uint8_t)(1 + n->index);
    struct replica_payload *p = folders_tree(n);
    replica_tree_scanned(n->r, node_now(n), p, digest);
    replica_payload_unref(p);
}

static void tree_merged(struct node *n, const struct event *e) {
    uint8_t digest[REPLICA_DIGEST] = {2};
    n->met = n->met || !MUTANT(MUTANT_UNTIMELY_MET); /* before anything is common */
    folders_merge(n, e);
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
        m[count].used = digest != 0 || n->store[b].msgs.n > 0;
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
        fail("I4: %s: frozen listing of box %u under L", n->name, b);
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
    if (err == 0 && e->round % 2 == 0)
        replica_fetching(n->r, node_now(n), box_id(e->box), e->round);
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

/* The mailbox has a name of what was prepared here, from a merge. */
static bool named_already(const struct node *n, const struct prepared *p) {
    const struct list *l = &n->store[p->box].msgs;
    for (size_t i = 0; i < l->n; i++)
        if (node_prep_equal(names[l->e[i].name].prep, p->prep))
            return true;
    return false;
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
        fail("C9: %s: merge of box %u: %d", n->name, b, err);
    world.merges++;
    merge_used(n, b);
    if (misfit)
        node_suspect(n, b);
    replica_merged(n->r, node_now(n), box_id(b), e->round, digest, err);
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
    case E_PUBLISH:
        node_publish_again(n, e->prep);
        break;
    case E_TREE_SCANNED:
        tree_scanned(n, e);
        break;
    case E_TREE_MERGED:
        tree_merged(n, e);
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
