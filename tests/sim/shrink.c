/*
 * A failing run made smaller: the same check fails, with fewer kinds of faults, fewer kinds of
 * clients, fewer of them, fewer mailboxes, fewer steps.
 *
 * Leaving something out changes all that follows, as there is one generator of random numbers. So
 * each restriction is tried with the seed that failed and with some others; it is kept if one of
 * them fails in the same check, and then the seed with the fewest steps.
 */
#include "sim.h"

#include <stdio.h>
#include <string.h>

enum { OTHER_SEEDS = 300 };

struct best {
    const struct sort *sort;
    uint64_t seed, limit; /* of its steps; then it is run down, which ends where it fails: */
    uint64_t steps;
    struct options options;
    char failure[sizeof world.failure];
};

/* "C3" of "C3: box 1 ...", "I4" of "a: I4: merged ...": which check it is. */
static void check_of(const char *failure, char out[4]) {
    const char *p = failure;
    while (*p != '\0' && !(strchr("CIT", *p) != NULL && p[1] >= '0' && p[1] <= '9'))
        p++;
    snprintf(out, 4, "%.3s", *p != '\0' ? p : failure);
    out[strcspn(out, ": ")] = '\0';
}

bool failed_in(const char *check) {
    char now[4] = "";
    if (world.failed != NULL)
        check_of(world.failure, now);
    return strcmp(now, check) == 0;
}

/* True: it fails in the same check, before `most` steps. */
static bool fails_so(const struct best *b, uint64_t seed, uint64_t most, const char *check) {
    return !b->sort->run(seed, most) && failed_in(check) && world.steps < most + 5000;
}

static bool try(struct best *b, const char *check, uint64_t max_steps) {
    uint64_t found = 0, found_limit = 0, steps = 0;
    char text[sizeof world.failure] = "";
    for (uint64_t i = 0; i <= OTHER_SEEDS; i++) {
        uint64_t seed = i == 0 ? b->seed : i;
        uint64_t limit = steps > 0 ? steps - 1 : max_steps;
        if (limit > 0 && fails_so(b, seed, limit, check) && (steps == 0 || world.steps < steps)) {
            found = seed;
            found_limit = world.steps < limit ? world.steps : limit;
            steps = world.steps;
            memcpy(text, world.failure, sizeof text);
        }
        world_free();
    }
    if (found == 0)
        return false;
    b->seed = found;
    b->limit = found_limit;
    b->steps = steps;
    b->options = options;
    memcpy(b->failure, text, sizeof text);
    return true;
}

/* One restriction; taken back if the failure is gone with it. */
static void restrict_to(struct best *b, struct options o, const char *check) {
    options = o;
    if (!try(b, check, b->limit))
        options = b->options;
}

static void restrict_kinds(struct best *b, const char *check) {
    for (unsigned f = 0; f < FAULTS; f++) {
        struct options o = b->options;
        o.without |= b->sort->faults & 1u << f;
        if (o.without != b->options.without)
            restrict_to(b, o, check);
    }
    for (unsigned k = 0; k < C_KINDS; k++) {
        struct options o = b->options;
        o.without_clients |= b->sort->clients & 1u << k;
        if (o.without_clients != b->options.without_clients)
            restrict_to(b, o, check);
    }
}

static void restrict_numbers(struct best *b, const char *check) {
    while (b->options.clients > 1) {
        struct options o = b->options;
        unsigned had = o.clients--;
        restrict_to(b, o, check);
        if (b->options.clients == had)
            break;
    }
    while (b->options.boxes > 1) {
        struct options o = b->options;
        unsigned had = o.boxes--;
        restrict_to(b, o, check);
        if (b->options.boxes == had)
            break;
    }
}

static void say(const struct best *b) {
    printf("    smaller: seed %llu, step %llu: %s\n    see: test_sim --%s %llu --steps %llu",
           (unsigned long long)b->seed, (unsigned long long)b->steps, b->failure, b->sort->option,
           (unsigned long long)b->seed, (unsigned long long)b->limit);
    for (unsigned f = 0; f < FAULTS; f++)
        if (b->options.without & (1u << f))
            printf(" --without %s", fault_names[f]);
    for (unsigned k = 0; k < C_KINDS; k++)
        if (b->options.without_clients & (1u << k))
            printf(" --without %s", client_names[k]);
    if (b->sort->sized)
        printf(" --clients %u --boxes %u", b->options.clients, b->options.boxes);
    if (replica_mutant != MUTANT_NONE)
        printf(" --mutant %s", mutants[replica_mutant].name);
    printf(" --trace\n");
}

static bool is_restricted(const struct options *o, const struct options *had) {
    return o->without != had->without || o->without_clients != had->without_clients ||
           o->clients < had->clients || o->boxes < had->boxes;
}

bool shrink(const struct sort *s, uint64_t seed, uint64_t steps) {
    struct options had = options;
    struct best b = {.sort = s, .seed = seed, .limit = steps, .options = options};
    char check[4];
    options.trace = false;
    bool failed = !s->run(seed, steps);
    if (failed) {
        check_of(world.failure, check);
        b.options = options;
        b.steps = world.steps;
        b.limit = world.steps < steps ? world.steps : steps;
        memcpy(b.failure, world.failure, sizeof b.failure);
    }
    world_free();
    if (!failed)
        return false;
    restrict_kinds(&b, check);
    if (s->sized)
        restrict_numbers(&b, check);
    say(&b);
    options = b.options;
    bool again = fails_so(&b, b.seed, b.limit, check) && world.steps == b.steps;
    world_free();
    options = had;
    return again && is_restricted(&b.options, &had);
}
