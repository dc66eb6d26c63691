/*
 * What syncd has on a node besides the store: prepared contents, the journal's entries, bodies kept
 * back. node_act.c carries out the machine's actions, node_event.c tells it what has become of
 * them; life.c says what is left of it all when syncd dies.
 */
#include "node_int.h"

#include <stdlib.h>

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

bool node_prep_equal(struct replica_prep a, struct replica_prep b) {
    return a.incarnation == b.incarnation && a.seq == b.seq;
}

struct prepared *node_prepared_find(const struct node *n, struct replica_prep prep) {
    struct prepared *p;
    DL_FOREACH(n->prepared, p) {
        if (node_prep_equal(p->prep, prep))
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

static void put_off(struct node *n, struct prepared *p) {
    p->put_off = true;
    world.put_off++;
    event_add(E_PUBLISH, n->index, 10000)->prep = p->prep;
}

/* Durable, and marked; nobody is told but by the merge. */
static void publish(struct node *n, struct prepared *p) {
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

void node_publish(struct node *n, struct prepared *p) {
    unsigned box = p->box;
    if (n->disk_full) {
        put_off(n, p);
        return;
    }
    publish(n, p);
    if (n->r->connected)
        node_suspect(n, box);
}

void node_publish_again(struct node *n, struct replica_prep prep) {
    struct prepared *p = node_prepared_find(n, prep);
    if (p == NULL)
        return;
    if (replica_may_publish(n->r, node_now(n)))
        node_publish(n, p);
    else
        put_off(n, p);
}

void node_suspect(struct node *n, unsigned box) {
    trace("%s: box %u suspect", n->name, box);
    world.suspects++;
    node_mark(n, box);
    replica_suspect(n->r, node_now(n), box_id(box));
}
