/*
 * What syncd does on a node: carries out the machine's actions, each in its time, keeps what it
 * would keep on disk, dies and comes back.
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

static void prepared_drop(struct node *n, struct prepared *p) {
    DL_DELETE(n->prepared, p);
    free(p);
}

static void journal_drop(struct node *n, struct journaled *j) {
    DL_DELETE(n->journal, j);
    replica_payload_unref(j->payload);
    free(j);
}

bool node_content_there(const struct node *n, uint32_t content) {
    const struct prepared *p;
    DL_FOREACH(n->prepared, p) {
        if (p->durable && p->content == content)
            return true;
    }
    const struct journaled *j;
    DL_FOREACH(n->journal, j) {
        const struct txn *t = j->payload->data;
        for (size_t i = 0; i < t->n; i++)
            if (t->ops[i].is.is && names[t->ops[i].name].content == content)
                return true;
    }
    for (unsigned b = 0; b < BOXES; b++)
        for (size_t i = 0; i < n->store[b].msgs.n; i++)
            if (names[n->store[b].msgs.e[i].name].content == content)
                return true;
    return false;
}

/* ---- its life ---- */

void node_init(struct node *n, unsigned index) {
    memset(n, 0, sizeof *n);
    n->index = index;
    n->name = index == 0 ? "a" : "b";
    n->had_contact = !world.first_contact;
    for (unsigned b = 0; b < BOXES; b++) {
        if (!world.first_contact) {
            n->store[b].v = n->base[b].v = 1;
            n->store[b].next = n->base[b].next = 1;
            n->base[b].valid = true;
        } else {
            n->mark[b] = true;
        }
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        n->client[i].node = index;
        n->client[i].index = i;
    }
    node_start_syncd(n);
}

static void publish(struct node *n, struct prepared *p);

static int by_age(const struct journaled *a, const struct journaled *b) {
    if (a->life != b->life)
        return a->life < b->life ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

/* As syncd does at a start: what the journal holds is applied, what was prepared is published. */
void node_start_syncd(struct node *n) {
    if (n->r != NULL)
        return;
    struct replica_config config = {
        .node = n->name,
        .peer = n->index == 0 ? "b" : "a",
        .commit = world.commit,
        .had_contact = n->had_contact,
        .timeout_ms = 3000,
        .lock_wait_ms = 200,
        .merge_wait_ms = 1000,
        .freeze_ms = 5000,
        .merge_parallel = world.parallel,
        .max_unacked = 1000,
    };
    n->r = replica_new(&config, world.now);
    if (n->r == NULL)
        abort();
    trace("%s: syncd starts", n->name);
    n->life++;
    n->tick_at = UINT64_MAX;
    memset(n->hint, 0, sizeof n->hint);
    memset(n->raised_alone, 0, sizeof n->raised_alone);
    uint64_t at = 0;
    DL_SORT(n->journal, by_age);
    struct journaled *j;
    DL_FOREACH(n->journal, j) {
        const struct txn *t = j->payload->data;
        replica_replaying(n->r, box_id(t->box));
        event_add(E_REPLAYED, n->index, at += 1 + some_time(world.delay_disk))->box = t->box;
    }
    struct prepared *p, *tmp;
    DL_FOREACH_SAFE(n->prepared, p, tmp) {
        if (p->durable)
            publish(n, p);
        else
            prepared_drop(n, p);
    }
    for (unsigned b = 0; b < BOXES; b++)
        if (n->lock[b] != NULL)
            replica_lock_exists(n->r, world.now, box_id(b));
}

void node_stop_syncd(struct node *n) {
    if (n->r == NULL)
        return;
    link_close(n->index);
    replica_free(n->r);
    n->r = NULL;
    n->life++;
    clients_without_syncd(n);
}

void node_kill(struct node *n) {
    for (unsigned i = 0; i < CLIENTS; i++)
        client_kill(&n->client[i]);
    node_stop_syncd(n);
}

void node_free(struct node *n) {
    replica_free(n->r);
    n->r = NULL;
    struct journaled *j, *jtmp;
    DL_FOREACH_SAFE(n->journal, j, jtmp) {
        journal_drop(n, j);
    }
    struct prepared *p, *ptmp;
    DL_FOREACH_SAFE(n->prepared, p, ptmp) {
        prepared_drop(n, p);
    }
    for (unsigned b = 0; b < BOXES; b++) {
        list_free(&n->store[b].msgs);
        list_free(&n->base[b].msgs);
        list_free(&n->merged[b].msgs);
        replica_payload_unref(n->own_listing[b]);
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        client_free(&n->client[i]);
}

void node_tick(struct node *n) {
    n->tick_at = UINT64_MAX;
    if (n->r == NULL || world.now < replica_deadline(n->r))
        return;
    replica_tick(n->r, world.now);
    n->ticked = true;
}

/* Marks are cleared where nothing is on its way; what changes from here on is marked anew. */
static void checkpoint(struct node *n) {
    if (!world.winding_down || n->r != NULL)
        event_add(E_CHECKPOINT, n->index, 500 + some_time(3000));
    for (unsigned b = 0; b < BOXES && n->r != NULL; b++)
        if (n->lock[b] == NULL && replica_is_settled(n->r, box_id(b)))
            n->mark[b] = false;
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
        prepared_drop(n, p);
        replica_content_durable(n->r, world.now, e->prep, -ENOSPC);
        return;
    }
    p->durable = true;
    replica_content_durable(n->r, world.now, e->prep, 0);
}

/* The mailbox has a name of what was prepared here, from a merge. */
static bool named_already(const struct node *n, const struct prepared *p) {
    const struct list *l = &n->store[p->box].msgs;
    for (size_t i = 0; i < l->n; i++)
        if (prep_equal(names[l->e[i].name].prep, p->prep))
            return true;
    return false;
}

static void publish(struct node *n, struct prepared *p) {
    if (!named_already(n, p)) {
        uint32_t name = name_new(p->content, p->prep);
        trace("%s: publishes %u in box %u (content %u)", n->name, name, p->box, p->content);
        world.published++;
        struct state is = {.is = true};
        n->mark[p->box] = true;
        list_set(&n->store[p->box].msgs, name, is);
        check_dirty(n, p->box);
        struct txn *t = calloc(1, sizeof *t);
        if (t == NULL)
            abort();
        t->box = p->box;
        txn_add(t, name, (struct state){0}, is);
        struct replica_payload *payload = txn_wrap(t);
        replica_act(n->r, world.now, box_id(p->box), payload, NULL, 0);
        replica_payload_unref(payload);
    }
    prepared_drop(n, p);
}

static void merge_used(struct node *n, unsigned box) {
    struct prepared *p, *tmp;
    DL_FOREACH_SAFE(n->prepared, p, tmp) {
        if (p->box == box && named_already(n, p)) {
            replica_prep_used(n->r, p->prep);
            prepared_drop(n, p);
        }
    }
}

/* ---- completions ---- */

static void suspect(struct node *n, unsigned box) {
    trace("%s: box %u suspect", n->name, box);
    world.suspects++;
    n->mark[box] = true;
    replica_suspect(n->r, world.now, box_id(box));
}

static void journaled(struct node *n, const struct event *e) {
    if (n->disk_full) {
        replica_journaled(n->r, world.now, e->seq, -ENOSPC);
        return;
    }
    struct journaled *j = calloc(1, sizeof *j);
    if (j == NULL)
        abort();
    j->id = e->seq;
    j->life = n->life;
    j->payload = replica_payload_ref(e->payload);
    DL_APPEND(n->journal, j);
    struct txn *t = e->payload->data;
    t->durable = true;
    for (size_t i = 0; i < t->npreps; i++) {
        struct prepared *p = prepared_find(n, t->preps[i]);
        if (p != NULL)
            prepared_drop(n, p);
    }
    replica_journaled(n->r, world.now, e->seq, 0);
}

static void apply(struct node *n, struct journaled *j) {
    const struct txn *t = j->payload->data;
    unsigned box = t->box;
    if (client_holds(n, box))
        fail("%s: applied to box %u under L", n->name, box);
    bool misfit = txn_apply(&n->store[box], &n->base[box], t);
    check_dirty(n, box);
    journal_drop(n, j);
    if (misfit)
        suspect(n, box);
}

static void applied(struct node *n, const struct event *e) {
    struct journaled *j;
    DL_FOREACH(n->journal, j) {
        if (j->id == e->seq && j->life == n->life) {
            apply(n, j);
            replica_applied(n->r, world.now, e->seq);
            return;
        }
    }
    fail("%s: told to apply what is not in the journal", n->name);
}

static void replayed(struct node *n, const struct event *e) {
    struct journaled *j;
    DL_FOREACH(n->journal, j) {
        const struct txn *t = j->payload->data;
        if (t->box == e->box && j->life != n->life)
            break;
    }
    if (client_holds(n, e->box)) { /* held on while syncd was away: later */
        event_add(E_REPLAYED, n->index, 10)->box = e->box;
        return;
    }
    if (j != NULL)
        apply(n, j);
    replica_replayed(n->r, world.now, box_id(e->box));
}

static void tree_scanned(struct node *n, const struct event *e) {
    uint8_t digest[REPLICA_DIGEST] = {1};
    if (!e->full && chance(world.odd_merges * 4))
        digest[1] = (uint8_t)(1 + n->index);
    struct replica_payload *p = replica_payload_new(NULL, 1, NULL);
    replica_tree_scanned(n->r, world.now, p, digest);
    replica_payload_unref(p);
}

static void tree_merged(struct node *n) {
    uint8_t digest[REPLICA_DIGEST] = {2};
    if (chance(world.odd_merges * 2))
        digest[1] = (uint8_t)(1 + n->index);
    replica_tree_merged(n->r, world.now, digest, chance(world.odd_merges) ? -EIO : 0);
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
    replica_marks(n->r, world.now, m, count);
}

static void scanned(struct node *n, const struct event *e) {
    unsigned b = e->box;
    struct replica_payload *p = NULL;
    if (!chance(world.odd_merges))
        p = listing_make(b, &n->store[b], &n->base[b], e->full);
    struct mailfs_id id = box_id(b);
    const struct dir *d = replica_dir_find(n->r, &id);
    if (d != NULL && d->stage == STAGE_FROZEN && !d->job_dead && client_holds(n, b))
        fail("%s: frozen listing of box %u under L", n->name, b);
    replica_payload_unref(n->own_listing[b]);
    n->own_listing[b] = replica_payload_ref(p);
    replica_scanned(n->r, world.now, box_id(b), e->round, p);
    replica_payload_unref(p);
}

static void staged(struct node *n, const struct event *e) {
    const struct listing *own = n->own_listing[e->box] ? n->own_listing[e->box]->data : NULL;
    const struct listing *peer = e->payload->data;
    int err = chance(world.odd_merges) ? -EIO : 0;
    if (own != NULL && (!own->full || !peer->full) && own->base_digest != peer->base_digest)
        err = -ESTALE;
    replica_staged(n->r, world.now, box_id(e->box), e->round, err);
}

/* The base stays what it is until the other side is known to have done the same. */
static int merge_into(struct node *n, unsigned b, const struct listing *peer, uint8_t *digest,
                      bool *misfit) {
    box_copy(&n->merged[b], &n->base[b]);
    return listing_merge(&n->store[b], &n->merged[b], n->own_listing[b]->data, peer, n->index == 0,
                         digest, misfit);
}

static void merged(struct node *n, const struct event *e) {
    unsigned b = e->box;
    uint8_t digest[REPLICA_DIGEST] = {0};
    bool misfit = false;
    int err = -EIO;
    if (client_holds(n, b))
        fail("%s: merged box %u under L", n->name, b);
    if (!chance(world.odd_merges) && n->own_listing[b] != NULL)
        err = merge_into(n, b, e->payload->data, digest, &misfit);
    trace("%s: merged box %u: %d, next %u", n->name, b, err, n->store[b].next);
    if (err != 0 && err != -EIO && err != -ESTALE)
        fail("%s: merge of box %u: %d", n->name, b, err);
    world.merges++;
    n->mark[b] = true; /* until the other is known to have done the same */
    check_dirty(n, b);
    merge_used(n, b);
    if (misfit)
        suspect(n, b);
    replica_merged(n->r, world.now, box_id(b), e->round, digest, err);
}

void node_event(struct node *n, const struct event *e) {
    if (e->kind == E_SYNCD_START) {
        node_start_syncd(n);
        return;
    }
    if (e->kind == E_CHECKPOINT) {
        checkpoint(n);
        return;
    }
    if (n->r == NULL || e->life != n->life)
        return;
    switch (e->kind) {
    case E_JOURNALED:
        journaled(n, e);
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
    case E_MERGED:
        merged(n, e);
        break;
    default:
        abort();
    }
}

/* ---- actions ---- */

static void later(struct node *n, enum event_kind kind, struct replica_action *a) {
    struct event *e = event_add(kind, n->index, some_time(world.delay_disk));
    e->box = box_index(&a->dir);
    e->seq = a->seq;
    e->round = a->round;
    e->frozen = a->frozen;
    e->full = a->full;
    e->payload = replica_payload_ref(a->payload);
}

static void list_marks(struct node *n) {
    struct event *e = event_add(E_MARKS, n->index, some_time(world.delay_disk));
    for (unsigned b = 0; b < BOXES; b++)
        if (n->mark[b])
            e->seq |= 1u << b;
}

static void do_prep(struct node *n, struct replica_prep prep, bool keep) {
    struct prepared *p = prepared_find(n, prep);
    if (p == NULL)
        return;
    if (keep)
        publish(n, p);
    else
        prepared_drop(n, p);
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
            client_released(c, a->err);
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
        break;
    case RACT_JOURNAL:
        later(n, E_JOURNALED, a);
        break;
    case RACT_APPLY:
        later(n, E_APPLIED, a);
        break;
    case RACT_ACKED:
        txn_acked(&n->base[box_index(&a->dir)], a->payload->data);
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
        later(n, E_MERGED, a);
        break;
    case RACT_MERGE_DONE:
        box_copy(&n->base[box_index(&a->dir)], &n->merged[box_index(&a->dir)]);
        break;
    case RACT_MERGE_PUT_OFF:
    case RACT_CAUGHT_UP:
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
    uint64_t at = replica_deadline(n->r);
    if (n->ticked && at <= world.now)
        fail("C5: %s: a tick at %llu asks for one at %llu", n->name, (unsigned long long)world.now,
             (unsigned long long)at);
    n->ticked = false;
    if (at == UINT64_MAX)
        return;
    if (at <= world.now)
        at = world.now + 1;
    if (at < n->tick_at) {
        n->tick_at = at;
        event_add(E_TICK, n->index, at - world.now);
    }
}
