/*
 * named - the names that prepared contents got
 *
 * Diagnostics: none.
 */
#include "named.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "maildir/name.h"
#include "util/str.h"
#include "vol.h"
#include "wire/check.h"

enum {
    NAMED_MAX = 512,
    HELLO_BYTES = 64 * 1024, /* half a packet: L's are named there, too */
    ENTRY_BYTES = 64         /* of one, packed, beside its name */
};

struct named {
    uint64_t seq;
    struct mailfs_id dir;
    char base[NAME_MAX + 1];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct named ring[NAMED_MAX];
static size_t noted; /* ever */

void named_note(uint64_t seq, const struct mailfs_id *dir, const char *name) {
    pthread_mutex_lock(&lock);
    struct named *n = &ring[noted % NAMED_MAX];
    if (str_copyn(n->base, sizeof n->base, name, maildir_name_base_len(name, strlen(name))) == 0) {
        n->seq = seq;
        n->dir = *dir;
        noted++;
    }
    pthread_mutex_unlock(&lock);
}

/* A copy of one, as Hello wants it. */
struct told {
    struct named named;
    Mfl__Prepared id;
    Mfl__Named msg;
};

struct told_all {
    Mfl__Named *list[NAMED_MAX];
    struct told told[NAMED_MAX];
};

static Mfl__Named *tell(struct told *t, const struct named *n) {
    t->named = *n;
    mfl__prepared__init(&t->id);
    mfl__named__init(&t->msg);
    t->id.incarnation = vol.incarnation;
    t->id.seq = n->seq;
    t->msg.id = &t->id;
    t->msg.dir = wire_bytes_of(&t->named.dir);
    t->msg.bname = t->named.base;
    return &t->msg;
}

/* The newest first. */
void *named_hello(Mfl__Hello *hello) {
    pthread_mutex_lock(&lock);
    size_t n = noted < NAMED_MAX ? noted : NAMED_MAX, left = HELLO_BYTES;
    struct told_all *all = n == 0 ? NULL : malloc(sizeof *all);
    for (size_t i = 0; all != NULL && i < n; i++) {
        const struct named *from = &ring[(noted - 1 - i) % NAMED_MAX];
        size_t bytes = ENTRY_BYTES + strlen(from->base);
        if (bytes > left)
            break;
        left -= bytes;
        all->list[hello->n_named++] = tell(&all->told[i], from);
    }
    pthread_mutex_unlock(&lock);
    if (all != NULL)
        hello->named = all->list;
    return all;
}
