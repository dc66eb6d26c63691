/*
 * said - what the log has been told already
 *
 * No diagnostics: without memory it is said once more.
 */
#include "said.h"

#include <stdlib.h>
#include <string.h>

#include <uthash.h>

struct said {
    int err;
    uint64_t at;
    UT_hash_handle hh;
    char of[];
};

static void drop(struct said **all, struct said *s) {
    HASH_DEL(*all, s);
    free(s);
}

static struct said *get(struct said **all, const char *of) {
    size_t n = strlen(of);
    struct said *s;
    HASH_FIND(hh, *all, of, n, s);
    if (s != NULL)
        return s;
    if (HASH_COUNT(*all) >= SAID_MAX)
        drop(all, *all); /* the table keeps the order */
    s = calloc(1, sizeof *s + n + 1);
    if (s == NULL)
        return NULL;
    memcpy(s->of, of, n);
    HASH_ADD(hh, *all, of, n, s);
    return s;
}

bool said_before(struct said **all, const char *of, int err, uint64_t now) {
    struct said *s = get(all, of);
    bool before = s != NULL && s->at != 0 && s->err == err && now - s->at < SAID_AGAIN_MS;
    if (s != NULL && !before) {
        s->err = err;
        s->at = now > 0 ? now : 1;
    }
    return before;
}

void said_free(struct said **all) {
    while (*all != NULL)
        drop(all, *all);
}
