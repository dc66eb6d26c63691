/*
 * test_sim - runs of the made-up world
 *
 *     test_sim                          many seeds, then every deliberate fault: each must be found
 *     test_sim --seed N [--steps M] [--trace] [--mutant NAME]     one run, the same every time
 *     test_sim --from N --seeds COUNT   other seeds
 *
 * Diagnostics: lines PASS and FAIL; a failure tells seed and step, and the command to see it.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { QUIET_WITHIN_MS = 400000, GROUP = 50, MUTANT_SEEDS = 1500 };

static const char *const mutants[MUTANT_COUNT] = {
    [MUTANT_NO_ACK_WAIT] = "no-ack-wait", [MUTANT_ACK_EARLY] = "ack-early",
    [MUTANT_KEEP_TOKEN] = "keep-token",   [MUTANT_NO_RAISE] = "no-raise",
    [MUTANT_EQUAL_RAISE] = "equal-raise", [MUTANT_GRANT_UNAPPLIED] = "grant-unapplied",
    [MUTANT_NO_PUBLISH] = "no-publish",   [MUTANT_FORGET_DIRTY] = "forget-dirty",
    [MUTANT_LOST_WAITER] = "lost-waiter", [MUTANT_NO_FREEZE] = "no-freeze",
    [MUTANT_NO_REQUEST] = "no-request",
};

static bool node_quiet(const struct node *n) {
    if (n->r == NULL || replica_state(n->r) != REPLICA_IN_SYNC || n->journal != NULL)
        return false;
    struct replica_counts counts;
    replica_count(n->r, &counts);
    if (counts.unacked > 0 || counts.unapplied > 0 || counts.waiting > 0)
        return false;
    for (unsigned b = 0; b < BOXES; b++)
        if (n->lock[b] != NULL || n->shown[b])
            return false;
    for (unsigned i = 0; i < CLIENTS; i++)
        if (n->client[i].alive)
            return false;
    return true;
}

static void wind_down(void) {
    world.winding_down = true;
    world.odd_merges = 0;
    world.silent_until = world.now;
    for (unsigned i = 0; i < NODES; i++) {
        nodes[i].disk_full = false;
        event_add(E_SYNCD_START, i, 100);
    }
    uint64_t until = world.now + QUIET_WITHIN_MS;
    while (world.failed == NULL && world_step()) {
        check_step();
        /* What was prepared for a process that is gone gets its name after another timeout. */
        if (node_quiet(&nodes[0]) && node_quiet(&nodes[1]) && nodes[0].prepared == NULL &&
            nodes[1].prepared == NULL)
            break;
        if (world.now > until)
            fail("C6: not quiet after %d s", QUIET_WITHIN_MS / 1000);
    }
    if (world.failed == NULL)
        check_quiet();
}

/* True: everything held. */
static bool run(uint64_t seed, uint64_t steps) {
    world_reset(seed);
    while (world.failed == NULL && world.steps < steps && world_step())
        check_step();
    if (world.failed == NULL)
        wind_down();
    return world.failed == NULL;
}

struct totals {
    uint64_t steps, granted, busy, published, merges, faults, acked, suspects;
};

static void add_up(struct totals *t) {
    t->steps += world.steps;
    t->granted += world.granted[0] + world.granted[1];
    t->busy += world.busy;
    t->published += world.published;
    t->merges += world.merges;
    t->faults += world.faults;
    t->acked += world.acked;
    t->suspects += world.suspects;
}

static bool run_group(uint64_t from, uint64_t count, uint64_t steps) {
    struct totals t = {0};
    bool good = true;
    for (uint64_t seed = from; seed < from + count && good; seed++) {
        good = run(seed, steps);
        add_up(&t);
        if (!good)
            printf("%s: ", world.commit == REPLICA_COMMIT_DISK     ? "disk"
                           : world.commit == REPLICA_COMMIT_MEMORY ? "memory"
                                                                   : "async");
        if (!good)
            printf("seed %llu, step %llu, at %llu ms: %s\n"
                   "    see: test_sim --seed %llu --steps %llu --trace\n",
                   (unsigned long long)seed, (unsigned long long)world.steps,
                   (unsigned long long)world.now, world.failure, (unsigned long long)seed,
                   (unsigned long long)steps);
        world_free();
    }
    printf("%llu steps: %llu faults, %llu L granted, %llu busy, %llu merges, %llu suspect, "
           "%llu published, %llu told to clients\n",
           (unsigned long long)t.steps, (unsigned long long)t.faults, (unsigned long long)t.granted,
           (unsigned long long)t.busy, (unsigned long long)t.merges, (unsigned long long)t.suspects,
           (unsigned long long)t.published, (unsigned long long)t.acked);
    printf("%s sim seeds %llu to %llu\n", good ? "PASS" : "FAIL", (unsigned long long)from,
           (unsigned long long)(from + count - 1));
    fflush(stdout);
    return good;
}

/* A fault that is there on purpose must be found: else the checks are no checks. */
static bool find_mutant(enum replica_mutant m, uint64_t steps) {
    replica_mutant = m;
    uint64_t seed = 1;
    bool found = false;
    for (; seed <= MUTANT_SEEDS && !found; seed++) {
        found = !run(seed, steps);
        if (found)
            printf("%s: seed %llu, step %llu: %s\n", mutants[m], (unsigned long long)seed,
                   (unsigned long long)world.steps, world.failure);
        world_free();
    }
    replica_mutant = MUTANT_NONE;
    printf("%s sim finds the fault %s\n", found ? "PASS" : "FAIL", mutants[m]);
    fflush(stdout);
    return found;
}

static int run_all(uint64_t from, uint64_t seeds, uint64_t steps) {
    bool good = true;
    for (uint64_t s = from; s < from + seeds; s += GROUP)
        good = run_group(s, from + seeds - s < GROUP ? from + seeds - s : GROUP, steps) && good;
    for (enum replica_mutant m = MUTANT_NONE + 1; m < MUTANT_COUNT; m++)
        good = find_mutant(m, steps) && good;
    return good ? 0 : 1;
}

static int run_one(uint64_t seed, uint64_t steps) {
    bool good = run_group(seed, 1, steps);
    return good ? 0 : 1;
}

static enum replica_mutant mutant_named(const char *name) {
    for (enum replica_mutant m = MUTANT_NONE + 1; m < MUTANT_COUNT; m++)
        if (strcmp(mutants[m], name) == 0)
            return m;
    fprintf(stderr, "test_sim: no mutant is called %s\n", name);
    exit(2);
}

int main(int argc, char **argv) {
    uint64_t seed = 0, steps = 6000, seeds = 1500, from = 1;
    bool only_seeds = false;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--trace") == 0) {
            world.trace = true;
            continue;
        }
        if (strcmp(argv[i], "--seed") == 0)
            seed = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--steps") == 0)
            steps = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--seeds") == 0)
            only_seeds = (seeds = strtoull(value, NULL, 10)) > 0;
        else if (strcmp(argv[i], "--from") == 0)
            from = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--mutant") == 0)
            replica_mutant = mutant_named(value);
        else
            return fprintf(stderr, "test_sim: see the beginning of test_sim.c\n"), 2;
        i++;
    }
    if (seed != 0)
        return run_one(seed, steps);
    if (!only_seeds)
        return run_all(from, seeds, steps);
    bool good = true;
    for (uint64_t s = from; s < from + seeds; s += GROUP)
        good = run_group(s, from + seeds - s < GROUP ? from + seeds - s : GROUP, steps) && good;
    return good ? 0 : 1;
}
