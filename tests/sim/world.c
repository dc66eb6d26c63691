/*
 * Time, events, random numbers, and the network between the two nodes.
 *
 * What is sent arrives in order, as on one TLS stream, but for transactions and tokens of
 * different mailboxes, which may overtake each other.
 */
#include "sim.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct world world;

static struct event **heap;
static size_t heap_n, heap_room;

uint64_t rnd(uint64_t below) {
    /* splitmix64 */
    uint64_t z = (world.rng += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % below;
}

bool chance(unsigned percent) {
    return rnd(100) < percent;
}

/* Mostly near `typical`, now and then much longer. */
uint64_t some_time(uint64_t typical) {
    uint64_t t = rnd(2 * typical + 1);
    if (chance(3))
        t *= 1 + rnd(20);
    return t;
}

void trace(const char *fmt, ...) {
    if (!world.trace)
        return;
    va_list ap;
    va_start(ap, fmt);
    printf("%8llu/%llu ", (unsigned long long)world.now, (unsigned long long)world.steps);
    vprintf(fmt, ap);
    printf("\n");
    va_end(ap);
}

void fail(const char *fmt, ...) {
    if (world.failed != NULL)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(world.failure, sizeof world.failure, fmt, ap);
    va_end(ap);
    world.failed = world.failure;
    trace("FAILED: %s", world.failure);
}

/* ---- events ---- */

static bool before(const struct event *a, const struct event *b) {
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void heap_swap(size_t i, size_t j) {
    struct event *e = heap[i];
    heap[i] = heap[j];
    heap[j] = e;
}

static void heap_push(struct event *e) {
    if (heap_n == heap_room) {
        heap_room = heap_room ? 2 * heap_room : 64;
        heap = realloc(heap, heap_room * sizeof(struct event *));
        if (heap == NULL)
            abort();
    }
    size_t i = heap_n++;
    heap[i] = e;
    for (; i > 0 && before(heap[i], heap[(i - 1) / 2]); i = (i - 1) / 2)
        heap_swap(i, (i - 1) / 2);
}

static struct event *heap_pop(void) {
    struct event *top = heap[0];
    heap[0] = heap[--heap_n];
    for (size_t i = 0;;) {
        size_t least = i;
        for (size_t c = 2 * i + 1; c <= 2 * i + 2 && c < heap_n; c++)
            if (before(heap[c], heap[least]))
                least = c;
        if (least == i)
            return top;
        heap_swap(i, least);
        i = least;
    }
}

static void event_free(struct event *e) {
    replica_payload_unref(e->payload);
    if (e->msg != NULL) {
        replica_payload_unref(e->msg->payload);
        free((void *)(uintptr_t)e->msg->preps);
        free((void *)(uintptr_t)e->msg->marks);
        free(e->msg);
    }
    free(e);
}

static struct event *event_add_at(enum event_kind kind, unsigned node, uint64_t at) {
    struct event *e = calloc(1, sizeof *e);
    if (e == NULL)
        abort();
    e->kind = kind;
    e->node = node;
    e->at = at;
    e->order = ++world.order;
    e->life = nodes[node].life;
    e->conn = world.conn;
    heap_push(e);
    return e;
}

struct event *event_add(enum event_kind kind, unsigned node, uint64_t delay) {
    return event_add_at(kind, node, world.now + delay);
}

/* ---- the network ---- */

static void *copy(const void *p, size_t size) {
    if (size == 0)
        return NULL;
    void *c = malloc(size);
    if (c == NULL)
        abort();
    memcpy(c, p, size);
    return c;
}

static bool has_lane(enum replica_msg_kind kind) {
    return kind == RMSG_TXN || kind == RMSG_TOKEN_REQ || kind == RMSG_TOKEN_GIVE;
}

/* When what is sent now arrives. Nothing overtakes within its lane, nothing a control message. */
static uint64_t arrival(unsigned node, const struct replica_msg *m) {
    uint64_t at = world.now + 1 + some_time(world.delay_net);
    uint64_t least = world.sent_control[node];
    if (least < world.ready_at[1 - node])
        least = world.ready_at[1 - node];
    if (has_lane(m->kind)) {
        uint64_t *lane = &world.sent_dir[node][box_index(&m->dir)];
        if (least < *lane)
            least = *lane;
        *lane = at < least ? least : at;
    } else {
        if (least < world.sent_last[node])
            least = world.sent_last[node];
        world.sent_control[node] = at < least ? least : at;
    }
    if (at < least)
        at = least;
    if (at > world.sent_last[node])
        world.sent_last[node] = at;
    return at;
}

void net_send(unsigned node, const struct replica_msg *m) {
    if (world.conn == 0 || !world.side_up[node] || world.silent)
        return;
    struct event *e = event_add_at(E_DELIVER, 1 - node, arrival(node, m));
    e->msg = copy(m, sizeof *m);
    e->msg->payload = replica_payload_ref(m->payload);
    e->msg->preps = copy(m->preps, m->npreps * sizeof *m->preps);
    e->msg->marks = copy(m->marks, m->nmarks * sizeof *m->marks);
}

static const char *const msg_names[RMSG_KINDS] = {
    "PING",   "PONG",   "PREPARE", "PREPARED_OK", "ABORT",  "TXN",   "TXN_ACK",
    "REQ",    "GIVE",   "TREE",    "TREE_MERGED", "MARKS",  "START", "LISTING",
    "STAGED", "FREEZE", "MERGED",  "CANCEL",      "IN_SYNC"};

static void deliver(struct event *e) {
    struct node *n = &nodes[e->node];
    if (n->r == NULL || e->conn != world.conn || world.silent || !world.side_up[e->node])
        return;
    const struct replica_msg *m = e->msg;
    if (m->kind != RMSG_PING && m->kind != RMSG_PONG)
        trace("%s: got %s box %u seq %llu round %u%s%s err %d%s%s", n->name, msg_names[m->kind],
              box_index(&m->dir), (unsigned long long)m->seq, m->round, m->frozen ? " frozen" : "",
              m->full ? " full" : "", m->err, m->more ? " more" : "", m->locked ? " locked" : "");
    node_before_receive(n, m);
    int err = replica_receive(n->r, world.now, m);
    if (err == -EPROTO)
        fail("%s refuses a %s of an honest peer (box %u)", n->name, msg_names[m->kind],
             box_index(&m->dir));
}

/* This node's syncd closes the connection, or finds it closed; the other will hear of it. */
void link_close(unsigned node) {
    if (world.conn == 0 || world.side_closed[node])
        return;
    world.side_up[node] = false;
    world.side_closed[node] = true;
    if (!world.side_closed[1 - node]) {
        if (!world.silent)
            event_add(E_LINK_NOTICE, 1 - node, 1 + some_time(world.delay_net));
        return;
    }
    world.conn = 0;
    event_add(E_LINK_TRY, 0, 20 + some_time(400));
}

static void notice(struct event *e) {
    struct node *n = &nodes[e->node];
    if (e->conn != world.conn || world.side_closed[e->node])
        return;
    trace("%s: connection ended", n->name);
    bool was = world.side_up[e->node];
    link_close(e->node);
    if (n->r != NULL && was)
        replica_disconnected(n->r, world.now);
}

static void try_link(void) {
    if (world.conn != 0)
        return;
    if (nodes[0].r == NULL || nodes[1].r == NULL || world.now < world.silent_until) {
        event_add(E_LINK_TRY, 0, 50 + some_time(200));
        return;
    }
    world.silent = false;
    world.conn = ++world.conn_last;
    trace("connection %llu", (unsigned long long)world.conn);
    memset(world.sent_dir, 0, sizeof world.sent_dir);
    for (unsigned i = 0; i < NODES; i++) {
        world.side_up[i] = world.side_closed[i] = false;
        world.sent_last[i] = world.sent_control[i] = 0;
        uint64_t wait = 1 + some_time(world.delay_net);
        world.ready_at[i] = world.now + wait;
        event_add(E_LINK_READY, i, wait);
    }
}

static void ready(struct event *e) {
    struct node *n = &nodes[e->node];
    if (e->conn != world.conn || world.side_closed[e->node] || n->r == NULL)
        return;
    trace("%s: connected", n->name);
    world.side_up[e->node] = true;
    n->conn_at = world.now;
    n->had_contact = true;
    replica_connected(n->r, world.now);
}

/* ---- faults ---- */

static void fault(void) {
    if (world.winding_down)
        return;
    event_add(E_FAULT, 0, 1 + some_time(world.fault_every));
    world.faults++;
    struct node *n = &nodes[rnd(NODES)];
    uint64_t what = rnd(100);
    if (what < world.restart_share) {
        if (chance(40)) {
            trace("%s: KILLED", n->name);
            node_kill(n);
        } else {
            trace("%s: syncd killed", n->name);
            node_stop_syncd(n);
        }
        event_add(E_SYNCD_START, n->index, some_time(chance(50) ? 200 : 4000));
    } else if (what < world.restart_share + 35) {
        trace("link cut");
        for (unsigned i = 0; i < NODES; i++)
            event_add(E_LINK_NOTICE, i, 1 + some_time(3 * world.delay_net));
        world.silent_until = world.now + some_time(chance(30) ? 10000 : 500);
    } else if (what < world.restart_share + 50) {
        world.silent = true;
        world.silent_until = world.now + some_time(5000);
        trace("silence until %llu", (unsigned long long)world.silent_until);
    } else if (what < world.restart_share + 50 + world.full_share) {
        n->disk_full = !n->disk_full;
        trace("%s: disk full: %d", n->name, n->disk_full);
    }
}

/* ---- the loop ---- */

static void happen(struct event *e) {
    struct node *n = &nodes[e->node];
    switch (e->kind) {
    case E_TICK:
        node_tick(n);
        break;
    case E_DELIVER:
        deliver(e);
        break;
    case E_LINK_NOTICE:
        notice(e);
        break;
    case E_LINK_TRY:
        try_link();
        break;
    case E_LINK_READY:
        ready(e);
        break;
    case E_FAULT:
        fault();
        break;
    case E_CLIENT:
    case E_CLIENT_NEW:
    case E_GRANTED:
        client_event(e);
        break;
    default:
        node_event(n, e);
        break;
    }
}

bool world_step(void) {
    if (heap_n == 0)
        return false;
    struct event *e = heap_pop();
    world.now = e->at;
    world.steps++;
    happen(e);
    event_free(e);
    for (unsigned i = 0; i < NODES; i++)
        node_drain(&nodes[i]);
    return true;
}

void world_free(void) {
    while (heap_n > 0)
        event_free(heap_pop());
    free(heap);
    heap = NULL;
    heap_room = 0;
    for (unsigned i = 0; i < NODES; i++)
        node_free(&nodes[i]);
}

/* What kind of world this seed is. */
static void character(void) {
    static const uint64_t nets[] = {1, 5, 30, 150}, disks[] = {1, 10, 60, 300};
    world.delay_net = nets[rnd(4)];
    world.delay_disk = disks[rnd(4)];
    world.delay_client = 5 + rnd(200);
    world.fault_every = chance(15) ? 100000 : 500 + (unsigned)rnd(8000);
    world.restart_share = (unsigned)rnd(50);
    world.full_share = chance(30) ? 15 : 0;
    world.odd_merges = chance(30) ? 5 : 0;
    world.commit = chance(75)   ? REPLICA_COMMIT_DISK
                   : chance(50) ? REPLICA_COMMIT_MEMORY
                                : REPLICA_COMMIT_ASYNC;
    world.parallel = 1 + (unsigned)rnd(3);
    world.first_contact = chance(20);
}

void world_reset(uint64_t seed) {
    bool tracing = world.trace;
    memset(&world, 0, sizeof world);
    world.trace = tracing;
    world.seed = world.rng = seed;
    character();
    check_reset();
    for (unsigned i = 0; i < NODES; i++)
        node_init(&nodes[i], i);
    event_add(E_LINK_TRY, 0, 1 + rnd(500));
    event_add(E_FAULT, 0, 1 + some_time(world.fault_every));
    for (unsigned i = 0; i < NODES; i++) {
        event_add(E_CLIENT_NEW, i, 1);
        event_add(E_CHECKPOINT, i, 500);
    }
}
