/*
 * What goes wrong, and when.
 *
 * Each run has a character: which faults there are, in what proportion, and how often.
 */
#include "sim.h"

#include <string.h>

const char *const fault_names[FAULTS] = {
    [F_SYNCD] = "syncd",
    [F_MAILFS] = "mailfs",
    [F_DAEMONS] = "daemons",
    [F_POWER] = "power",
    [F_POWER_BOTH] = "power-both",
    [F_STATE] = "state",
    [F_CUT] = "cut",
    [F_FLAP] = "flap",
    [F_SILENT] = "silent",
    [F_HOLD] = "hold",
    [F_STOP] = "stop",
    [F_SLEEP] = "sleep",
    [F_FULL] = "full",
    [F_HANG] = "hang",
};

/* Most of a run's faults are of a few kinds; some runs have hardly any. */
void fault_character(void) {
    static const unsigned usual[FAULTS] = {
        [F_SYNCD] = 10, [F_MAILFS] = 4, [F_DAEMONS] = 8, [F_POWER] = 10,  [F_POWER_BOTH] = 4,
        [F_STATE] = 1,  [F_CUT] = 30,   [F_FLAP] = 3,    [F_SILENT] = 12, [F_HOLD] = 8,
        [F_STOP] = 8,   [F_SLEEP] = 4,  [F_FULL] = 6,    [F_HANG] = 6,
    };
    world.fault_every = chance(15) ? 100000 : 500 + (unsigned)rnd(8000);
    for (unsigned f = 0; f < FAULTS; f++)
        world.share[f] = chance(60) ? usual[f] * (unsigned)(1 + rnd(4)) : 0;
    for (unsigned f = 0; f < FAULTS; f++)
        if (options.without & (1u << f))
            world.share[f] = 0;
}

static void kill_daemons(enum fault f, struct node *n) {
    trace("%s: %s killed", n->name, fault_names[f]);
    if (f == F_SYNCD)
        node_stop_syncd(n);
    else if (f == F_MAILFS)
        node_kill_mailfs(n);
    else
        node_kill(n);
    if (f != F_MAILFS)
        event_add(E_SYNCD_START, n->index, some_time(chance(50) ? 200 : 4000));
}

/* The one fault after which something acknowledged may be on one node only, for a while. */
static void lose_state(struct node *n) {
    struct node *o = node_other(n);
    if (n->behind || o->behind || n->r == NULL || replica_state(n->r) != REPLICA_IN_SYNC)
        return;
    node_kill(n);
    node_lose_state(n);
    event_add(E_SYNCD_START, n->index, some_time(500));
}

static void cut(void) {
    for (unsigned i = 0; i < NODES; i++)
        event_add(E_LINK_NOTICE, i, 1 + some_time(3 * world.delay_net));
    world.silent_until = world.now + some_time(chance(30) ? 10000 : 500);
}

void fault_do(enum fault f, struct node *n) {
    world.faults++;
    trace("FAULT %s at %s", fault_names[f], n->name);
    switch (f) {
    case F_POWER:
        node_power_cut(n, some_time(chance(50) ? 300 : 5000));
        break;
    case F_POWER_BOTH:
        node_power_cut(n, some_time(3000));
        node_power_cut(node_other(n), some_time(3000));
        break;
    case F_STATE:
        lose_state(n);
        break;
    case F_CUT:
        cut();
        break;
    case F_FLAP:
        world.flap_until = world.now + some_time(4000);
        cut();
        break;
    case F_SILENT:
        world.silent = true;
        world.silent_until = world.now + some_time(5000);
        break;
    case F_HOLD:
        world.hold_until[n->index] = world.now + some_time(4000);
        break;
    case F_STOP:
    case F_SLEEP:
        node_pause(n, 1 + some_time(chance(50) ? 1000 : 8000), f == F_SLEEP);
        break;
    case F_HANG:
        n->hung_until = world.now + some_time(5000);
        break;
    case F_FULL:
        n->disk_full = !n->disk_full;
        break;
    default:
        kill_daemons(f, n);
        break;
    }
}

static enum fault choose(void) {
    unsigned sum = 0, f;
    for (f = 0; f < FAULTS; f++)
        sum += world.share[f];
    if (sum == 0)
        return FAULTS;
    unsigned at = (unsigned)rnd(sum);
    for (f = 0; at >= world.share[f]; f++)
        at -= world.share[f];
    return (enum fault)f;
}

void fault_event(void) {
    if (world.winding_down)
        return;
    bool flapping = world.now < world.flap_until;
    event_add(E_FAULT, 0, 1 + some_time(flapping ? 150 : world.fault_every));
    struct node *n = &nodes[rnd(NODES)];
    enum fault f = flapping ? F_CUT : choose();
    if (f == FAULTS)
        return;
    /* A node that is paused has nothing to lose but its power. */
    if (world.now < n->paused_until && f != F_POWER && f != F_POWER_BOTH)
        return;
    fault_do(f, n);
}
