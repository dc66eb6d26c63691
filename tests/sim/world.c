/*
 * Time, events, random numbers, and the character of a run.
 */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct world world;
struct options options = {.clients = CLIENTS, .boxes = BOXES};

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

struct event *event_add_at(enum event_kind kind, unsigned node, uint64_t at) {
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

/* The same event once more. */
void event_again(const struct event *e, uint64_t delay) {
    struct event *again = event_add(e->kind, e->node, delay);
    uint64_t at = again->at, order = again->order;
    *again = *e;
    again->at = at;
    again->order = order;
    again->payload = replica_payload_ref(e->payload);
    again->msg = NULL;
}

/* ---- the loop ---- */

static void happen(struct event *e) {
    struct node *n = &nodes[e->node];
    switch (e->kind) {
    case E_TICK:
        node_tick(n);
        break;
    case E_DELIVER:
    case E_LINK_NOTICE:
    case E_LINK_TRY:
    case E_LINK_READY:
        link_event(e);
        break;
    case E_FAULT:
        fault_event();
        break;
    case E_CLIENT:
    case E_CLIENT_NEW:
    case E_TELL:
    case E_GRANTED:
        client_event(e);
        break;
    default:
        node_event(n, e);
        break;
    }
}

/* What concerns a node that is paused waits, in its order. */
static bool waits(const struct event *e) {
    return e->kind != E_FAULT && e->kind != E_LINK_TRY && e->kind != E_RESUME &&
           e->at <= nodes[e->node].paused_until;
}

bool world_step(void) {
    if (heap_n == 0)
        return false;
    struct event *e = heap_pop();
    if (waits(e)) {
        e->at = nodes[e->node].paused_until + 1; /* after E_RESUME */
        heap_push(e);
        return true;
    }
    world.now = e->at;
    world.steps++;
    happen(e);
    event_free(e);
    for (unsigned i = 0; i < NODES; i++) {
        node_drain(&nodes[i]);
        disk_note(&nodes[i]);
    }
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
    world.odd_merges = chance(30) ? 5 : 0;
    world.commit = chance(75)   ? REPLICA_COMMIT_DISK
                   : chance(50) ? REPLICA_COMMIT_MEMORY
                                : REPLICA_COMMIT_ASYNC;
    world.parallel = 1 + (unsigned)rnd(3);
    world.first_contact = chance(20);
    fault_character();
}

void world_reset(uint64_t seed) {
    memset(&world, 0, sizeof world);
    world.trace = options.trace;
    world.seed = world.rng = seed;
    world.clients = options.clients;
    world.boxes = options.boxes;
    character();
    check_reset();
    for (unsigned i = 0; i < NODES; i++)
        node_init(&nodes[i], i);
    event_add(E_LINK_TRY, 0, 1 + rnd(500));
    event_add(E_FAULT, 0, 1 + some_time(world.fault_every));
    for (unsigned i = 0; i < NODES; i++)
        event_add(E_CLIENT_NEW, i, 1);
}
