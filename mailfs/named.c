/*
 * named - what became of prepared contents
 *
 * Diagnostics: none.
 */
#include "named.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "keep.h"
#include "maildir/name.h"
#include "util/str.h"
#include "vol.h"
#include "wire/check.h"

enum {
    HELLO_BYTES = 64 * 1024, /* half a packet: L's, and what was given up, are there, too */
    ENTRY_BYTES = 64         /* of one, packed, beside its name */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of this worker's threads */

/* A worker can be killed between any two stores: the number is written last, and counted then. */
void named_note(uint64_t seq, const struct mailfs_id *dir, const char *name) {
    size_t n_base = maildir_name_base_len(name, strlen(name));
    if (n_base == 0)
        return; /* no Maildir reader looks at it */
    pthread_mutex_lock(&lock);
    uint64_t noted = atomic_load(&keep.names->noted);
    struct keep_named *n = &keep.names->v[noted % KEEP_NAMED_MAX];
    atomic_store(&n->seq, 0);
    n->dir = *dir;
    if (str_copyn(n->base, sizeof n->base, name, n_base) == 0) {
        atomic_store(&n->seq, seq);
        atomic_store(&keep.names->noted, noted + 1);
    }
    pthread_mutex_unlock(&lock);
}

void named_given_up(uint64_t seq) {
    pthread_mutex_lock(&lock);
    uint64_t noted = atomic_load(&keep.given_up->noted);
    atomic_store(&keep.given_up->seq[noted % KEEP_GIVEN_UP], seq);
    atomic_store(&keep.given_up->noted, noted + 1);
    pthread_mutex_unlock(&lock);
}

/* A copy of one, as Hello wants it. */
struct told {
    struct mailfs_id dir;
    char base[KEEP_BASE_MAX];
    Mfl__Prepared id;
    Mfl__Named msg;
};

struct told_all {
    Mfl__Named *named[KEEP_NAMED_MAX];
    struct told told[KEEP_NAMED_MAX];
    Mfl__Prepared *aborted[KEEP_GIVEN_UP];
    Mfl__Prepared id[KEEP_GIVEN_UP];
};

static void id_set(Mfl__Prepared *id, uint64_t seq) {
    mfl__prepared__init(id);
    id->incarnation = vol.incarnation;
    id->seq = seq;
}

static void tell(Mfl__Hello *hello, struct told *t, const struct keep_named *n) {
    t->dir = n->dir;
    memcpy(t->base, n->base, sizeof t->base);
    mfl__named__init(&t->msg);
    id_set(&t->id, atomic_load(&n->seq));
    t->msg.id = &t->id;
    t->msg.dir = wire_bytes_of(&t->dir);
    t->msg.bname = t->base;
    hello->named[hello->n_named++] = &t->msg;
}

/* The newest first. */
static void tell_names(Mfl__Hello *hello, struct told_all *all) {
    uint64_t noted = atomic_load(&keep.names->noted);
    size_t n = noted < KEEP_NAMED_MAX ? (size_t)noted : KEEP_NAMED_MAX, left = HELLO_BYTES;
    hello->named = all->named;
    for (size_t i = 0; i < n; i++) {
        const struct keep_named *from = &keep.names->v[(noted - 1 - i) % KEEP_NAMED_MAX];
        if (atomic_load(&from->seq) == 0 || from->base[0] == '\0')
            continue;
        size_t bytes = ENTRY_BYTES + strlen(from->base);
        if (bytes > left)
            break;
        left -= bytes;
        tell(hello, &all->told[i], from);
    }
}

static void tell_given_up(Mfl__Hello *hello, struct told_all *all) {
    hello->aborted = all->aborted;
    for (size_t i = 0; i < KEEP_GIVEN_UP; i++) {
        uint64_t seq = atomic_load(&keep.given_up->seq[i]);
        if (seq == 0)
            continue;
        id_set(&all->id[i], seq);
        hello->aborted[hello->n_aborted++] = &all->id[i];
    }
}

void *named_hello(Mfl__Hello *hello) {
    struct told_all *all = NULL;
    pthread_mutex_lock(&lock);
    if (atomic_load(&keep.names->noted) != 0 || atomic_load(&keep.given_up->noted) != 0)
        all = malloc(sizeof *all);
    if (all != NULL) {
        tell_names(hello, all);
        tell_given_up(hello, all);
    }
    pthread_mutex_unlock(&lock);
    return all;
}
