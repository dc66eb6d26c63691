/*
 * test_sim - runs of the made-up world
 *
 *     test_sim                          what `make check` runs: the executions, trees, many seeds,
 *                                       every deliberate fault, each of which must be found
 *     test_sim --seeds COUNT [--from N] other seeds, of nodes and of trees
 *     test_sim --mutants                the deliberate faults only, as a table
 *     test_sim --executions [--trace]   the executions only
 *     test_sim --seed N [--steps M] [--trace] [--mutant NAME]   one run, the same every time
 *     test_sim --tree N [--steps M] [--trace] [--mutant NAME]   the same, of the world of trees
 *
 * and, to restrict a run: --without KIND (of fault or client; may be repeated), --clients N,
 * --boxes N.
 *
 * Diagnostics: lines PASS and FAIL; a failure tells seed and step, the smallest run found that
 * fails in the same check, and the command to see it.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* With the sanitizers it is the memory that is looked at, not the rules: less of it, and no faults.
 */
#ifdef __SANITIZE_ADDRESS__
enum { SEEDS = 200, TREE_SEEDS = 2000, WITH_MUTANTS = 0 };
#else
enum { SEEDS = 3000, TREE_SEEDS = 20000, WITH_MUTANTS = 1 };
#endif
enum { QUIET_WITHIN_MS = 400000 };

static bool node_quiet(const struct node *n) {
    if (n->r == NULL || replica_state(n->r) != REPLICA_IN_SYNC || n->journal != NULL)
        return false;
    if (n->untold != NULL) /* of a client that is gone, too */
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

bool run_down(void) {
    world.winding_down = true;
    world.odd_merges = 0;
    world.silent_until = world.now;
    world.flap_until = 0;
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
    return world.failed == NULL;
}

static bool run(uint64_t seed, uint64_t steps) {
    world_reset(seed);
    while (world.failed == NULL && world.steps < steps && world_step())
        check_step();
    return world.failed == NULL && run_down();
}

const struct sort sort_nodes = {
    .name = "seeds",
    .option = "seed",
    .group = 100,
    .run = run,
    .faults = (1u << FAULTS) - 1,
    .clients = (1u << C_KINDS) - 1,
    .sized = true,
};

/* ---- many ---- */

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

static const char *commit_name(void) {
    return world.commit == REPLICA_COMMIT_DISK     ? "disk"
           : world.commit == REPLICA_COMMIT_MEMORY ? "memory"
                                                   : "async";
}

static void say_totals(const struct totals *t) {
    printf("%llu steps: %llu faults, %llu L granted, %llu busy, %llu merges, %llu suspect, "
           "%llu published, %llu told to clients\n",
           (unsigned long long)t->steps, (unsigned long long)t->faults,
           (unsigned long long)t->granted, (unsigned long long)t->busy,
           (unsigned long long)t->merges, (unsigned long long)t->suspects,
           (unsigned long long)t->published, (unsigned long long)t->acked);
}

/* Stops at the first that fails; the other groups are run all the same. */
static bool run_group(const struct sort *s, uint64_t from, uint64_t count, uint64_t steps) {
    struct totals t = {0};
    uint64_t seed, bad = 0;
    for (seed = from; seed < from + count && bad == 0; seed++) {
        if (!s->run(seed, steps))
            bad = seed;
        add_up(&t);
        if (bad != 0)
            printf("%s: seed %llu, step %llu, at %llu ms: %s\n"
                   "    see: test_sim --%s %llu --steps %llu --trace\n",
                   s == &sort_nodes ? commit_name() : s->name, (unsigned long long)seed,
                   (unsigned long long)world.steps, (unsigned long long)world.now, world.failure,
                   s->option, (unsigned long long)seed, (unsigned long long)steps);
        world_free();
    }
    if (bad != 0 && !options.trace)
        shrink(s, bad, steps);
    if (s == &sort_nodes)
        say_totals(&t);
    printf("%s sim %s %llu to %llu\n", bad == 0 ? "PASS" : "FAIL", s->name,
           (unsigned long long)from, (unsigned long long)(from + count - 1));
    fflush(stdout);
    return bad == 0;
}

static bool run_groups(const struct sort *s, uint64_t from, uint64_t seeds, uint64_t steps) {
    bool good = true;
    for (uint64_t at = from, left = seeds; left > 0;) {
        uint64_t count = left < s->group ? left : s->group;
        good = run_group(s, at, count, steps) && good;
        at += count;
        left -= count;
    }
    return good;
}

/* ---- deliberate faults ---- */

static const struct sort *sort_of(enum replica_mutant m) {
    return strncmp(mutants[m].name, "tree-", 5) == 0 ? &sort_trees : &sort_nodes;
}

/* The seed that fails in the check that the fault is to be found by, of those that otherwise hold;
 * 0: none. The world is left as it is then. */
static uint64_t seed_that_fails(enum replica_mutant m, uint64_t steps) {
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        if (!sort_of(m)->run(seed, steps) && failed_in(mutants[m].check))
            return seed;
        world_free();
    }
    return 0;
}

/* A fault that is there on purpose must be found: else the checks are no checks. */
static bool find_mutant(enum replica_mutant m, uint64_t steps) {
    const struct mutant *what = &mutants[m];
    uint64_t seed = 0;
    replica_mutant = m;
    bool scripted = executions_find(m);
    if (!scripted)
        seed = seed_that_fails(m, steps);
    bool found = scripted || seed != 0;
    printf("%-20s 8.%-3s %-52s ", what->name, what->section, what->rule);
    if (scripted)
        printf("its execution: %.90s\n", world.failure);
    else if (found)
        printf("seed %4llu, step %5llu: %.90s\n", (unsigned long long)seed,
               (unsigned long long)world.steps, world.failure);
    else
        printf("not found\n");
    world_free();
    replica_mutant = MUTANT_NONE;
    printf("%s sim finds the fault %s in %s\n", found ? "PASS" : "FAIL", what->name, what->check);
    fflush(stdout);
    return found;
}

/* What it prints is a run with less in it that fails in the same check. */
static bool makes_smaller(enum replica_mutant m, uint64_t steps) {
    replica_mutant = m;
    uint64_t seed = seed_that_fails(m, steps);
    world_free();
    bool good = seed != 0 && shrink(sort_of(m), seed, steps);
    replica_mutant = MUTANT_NONE;
    printf("%s sim makes a failing run of %s smaller (%s)\n", good ? "PASS" : "FAIL",
           sort_of(m)->name, mutants[m].name);
    fflush(stdout);
    return good;
}

static bool find_mutants(uint64_t steps) {
    unsigned found = 0, all = MUTANT_COUNT - 1;
    for (enum replica_mutant m = MUTANT_NONE + 1; m < MUTANT_COUNT; m++)
        found += find_mutant(m, steps);
    printf("# deliberate faults: %u of %u found\n", found, all);
    return found == all;
}

static bool check_the_checks(uint64_t steps) {
    bool good = find_mutants(steps);
    good = makes_smaller(MUTANT_KEEP_TOKEN, steps) && good;
    return makes_smaller(MUTANT_TREE_SAME_VALIDITY, steps) && good;
}

/* ---- the command line ---- */

static bool leave_out(const char *kind) {
    for (unsigned f = 0; f < FAULTS; f++)
        if (strcmp(kind, fault_names[f]) == 0)
            return (options.without |= 1u << f) != 0;
    for (unsigned k = 0; k < C_KINDS; k++)
        if (strcmp(kind, client_names[k]) == 0)
            return (options.without_clients |= 1u << k) != 0;
    return false;
}

static unsigned number_upto(const char *value, unsigned most) {
    unsigned long n = strtoul(value, NULL, 10);
    return n < 1 ? 1 : n > most ? most : (unsigned)n;
}

struct wanted {
    uint64_t seed, tree, steps, seeds, from;
    bool mutants, executions;
};

/* False: not understood. */
static bool option(struct wanted *w, const char *name, const char *value) {
    if (strcmp(name, "--seed") == 0)
        w->seed = strtoull(value, NULL, 10);
    else if (strcmp(name, "--tree") == 0)
        w->tree = strtoull(value, NULL, 10);
    else if (strcmp(name, "--steps") == 0)
        w->steps = strtoull(value, NULL, 10);
    else if (strcmp(name, "--seeds") == 0)
        w->seeds = strtoull(value, NULL, 10);
    else if (strcmp(name, "--from") == 0)
        w->from = strtoull(value, NULL, 10);
    else if (strcmp(name, "--mutant") == 0)
        return (replica_mutant = mutant_named(value)) != MUTANT_NONE;
    else if (strcmp(name, "--without") == 0)
        return leave_out(value);
    else if (strcmp(name, "--clients") == 0)
        options.clients = number_upto(value, CLIENTS);
    else if (strcmp(name, "--boxes") == 0)
        options.boxes = number_upto(value, BOXES);
    else
        return false;
    return true;
}

static bool both(uint64_t from, uint64_t seeds, uint64_t steps) {
    bool good = run_groups(&sort_trees, from, seeds, steps);
    return run_groups(&sort_nodes, from, seeds, steps) && good;
}

static bool all(uint64_t steps) {
    bool good = executions_run();
    good = run_groups(&sort_trees, 1, TREE_SEEDS, steps) && good;
    good = run_groups(&sort_nodes, 1, SEEDS, steps) && good;
    return (!WITH_MUTANTS || check_the_checks(steps)) && good;
}

int main(int argc, char **argv) {
    struct wanted w = {.steps = 6000, .from = 1};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--trace") == 0)
            options.trace = true;
        else if (strcmp(argv[i], "--mutants") == 0)
            w.mutants = true;
        else if (strcmp(argv[i], "--executions") == 0)
            w.executions = true;
        else if (i + 1 >= argc || !option(&w, argv[i], argv[i + 1]))
            return fprintf(stderr, "test_sim: %s: see the beginning of test_sim.c\n", argv[i]), 2;
        else
            i++;
    }
    bool good;
    if (w.tree != 0)
        good = run_groups(&sort_trees, w.tree, 1, w.steps);
    else if (w.seed != 0)
        good = run_groups(&sort_nodes, w.seed, 1, w.steps);
    else if (w.executions)
        good = executions_run();
    else if (w.seeds != 0)
        good = both(w.from, w.seeds, w.steps);
    else
        good = w.mutants ? check_the_checks(w.steps) : all(w.steps);
    return good ? 0 : 1;
}
