/*
 * said - what the log has been told already
 *
 * No diagnostics: without memory it is said once more.
 */
#include "said.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#define KEY_MAX 600

struct said {
    uint64_t at;
    UT_hash_handle hh; /* the table keeps the order: the oldest is the first */
    char key[];
};

static void drop(struct said **all, struct said *s) {
    HASH_DEL(*all, s);
    free(s);
}

static void forget_old(struct said **all, uint64_t now) {
    while (*all != NULL && now - (*all)->at >= SAID_AGAIN_MS)
        drop(all, *all);
}

static struct said *find(struct said *all, const char *key) {
    struct said *s;
    HASH_FIND_STR(all, key, s);
    return s;
}

static void add(struct said **all, const char *key, uint64_t now) {
    size_t n = strlen(key) + 1;
    struct said *s = calloc(1, sizeof *s + n);
    if (s == NULL)
        return;
    s->at = now;
    memcpy(s->key, key, n);
    HASH_ADD_STR(*all, key, s);
}

enum said_what said_look(struct said **all, const char *of, int err, uint64_t now) {
    static const char more[] = "more"; /* no other begins with a letter */
    char key[KEY_MAX];
    forget_old(all, now);
    snprintf(key, sizeof key, "%d %s", err, of);
    if (find(*all, key) != NULL)
        return SAID_BEFORE;
    if (HASH_COUNT(*all) < SAID_MAX) {
        add(all, key, now);
        return SAID_NOT;
    }
    if (find(*all, more) != NULL)
        return SAID_BEFORE;
    add(all, more, now);
    return SAID_TOO_MANY;
}

void said_free(struct said **all) {
    while (*all != NULL)
        drop(all, *all);
}
