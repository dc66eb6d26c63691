/*
 * note - what is known of requests that come again
 *
 * A thread has one record of the table for all its requests. Records that earlier workers left are
 * kept until their request has come and is answered; those of requests that have not come for a
 * while are the first to go if none is free.
 *
 * Diagnostics: error: a request that cannot be noted.
 */
#include "note.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "keep.h"
#include "util/clock.h"
#include "util/log.h"

#define RESENT (UINT64_C(1) << 63) /* FUSE_UNIQUE_RESEND */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool taken[KEEP_NOTES_MAX]; /* by a thread of ours, or by a request not seen yet */
static _Atomic uint8_t left_by[KEEP_NOTES_MAX]; /* enum left */
static _Atomic unsigned n_unclaimed, n_given_up;
static _Atomic uint64_t resent_at;

/* Of records that earlier workers left. */
enum left { NOT_LEFT, UNCLAIMED, GIVEN_UP };

static __thread uint64_t unique;
static __thread bool resent;
static __thread struct keep_note *own, *left;

void note_init(void) {
    for (unsigned i = 0; i < KEEP_NOTES_MAX; i++) {
        taken[i] = atomic_load(&keep.notes[i].unique) != 0;
        if (!taken[i])
            continue;
        bool told = atomic_load(&keep.notes[i].told) != 0; /* and perhaps answered, too */
        atomic_store(&left_by[i], told ? GIVEN_UP : UNCLAIMED);
        atomic_fetch_add(told ? &n_given_up : &n_unclaimed, 1);
    }
}

void note_resent(void) {
    atomic_store(&resent_at, clock_ms());
}

uint64_t note_since_resent_ms(void) {
    uint64_t at = atomic_load(&resent_at);
    return at == 0 ? 0 : clock_ms() - at;
}

unsigned note_unclaimed(void) {
    return atomic_load(&n_unclaimed);
}

unsigned note_give_up_unclaimed(void) {
    unsigned n = 0;
    for (unsigned i = 0; i < KEEP_NOTES_MAX && atomic_load(&n_unclaimed) > 0; i++) {
        uint8_t was = UNCLAIMED;
        if (!atomic_compare_exchange_strong(&left_by[i], &was, GIVEN_UP))
            continue;
        atomic_fetch_sub(&n_unclaimed, 1);
        atomic_fetch_add(&n_given_up, 1);
        n++;
    }
    return n;
}

/* false: nobody has left this record, or it is claimed. */
static bool claim(unsigned i) {
    uint8_t was = atomic_exchange(&left_by[i], NOT_LEFT);
    if (was != NOT_LEFT)
        atomic_fetch_sub(was == UNCLAIMED ? &n_unclaimed : &n_given_up, 1);
    return was != NOT_LEFT;
}

/* The record of this request, if a worker before us left one. */
static struct keep_note *find_left(void) {
    for (unsigned i = 0; i < KEEP_NOTES_MAX; i++)
        if (atomic_load(&keep.notes[i].unique) == unique && claim(i))
            return &keep.notes[i];
    return NULL;
}

/* Once for each thread. There are many more than these, unless workers die very often. */
static struct keep_note *new_record(void) {
    struct keep_note *n = NULL;
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < KEEP_NOTES_MAX && n == NULL; i++)
        if (!taken[i] || (atomic_load(&left_by[i]) == GIVEN_UP && claim(i))) {
            n = &keep.notes[i];
            taken[i] = true;
        }
    pthread_mutex_unlock(&lock);
    if (n == NULL)
        log_error_limited("no room to note a request: done twice if this worker dies now");
    return n;
}

/* A record of an earlier worker whose request is answered is anybody's. */
static void record_free(struct keep_note *n) {
    atomic_store(&n->unique, 0);
    pthread_mutex_lock(&lock);
    taken[n - keep.notes] = false;
    pthread_mutex_unlock(&lock);
}

void note_request(uint64_t number) {
    unique = number & ~RESENT;
    resent = (number & RESENT) != 0;
    bool any = atomic_load(&n_unclaimed) + atomic_load(&n_given_up) > 0;
    left = resent && any ? find_left() : NULL;
}

void note_done(void) {
    if (left != NULL)
        record_free(left);
    if (own != NULL && atomic_load(&own->unique) != 0)
        atomic_store(&own->unique, 0);
    left = NULL;
    unique = 0;
    resent = false;
}

uint64_t note_unique(void) {
    return unique;
}

bool note_is_resent(void) {
    return resent;
}

bool note_found(enum note_kind kind, struct note *n) {
    if (left == NULL || left->kind != kind)
        return false;
    *n = (struct note){.kind = kind,
                       .ino = left->ino,
                       .other = left->other,
                       .size = left->size,
                       .dev = left->dev,
                       .mode = left->mode,
                       .nlink = left->nlink};
    return true;
}

/* Its number last: a record without one says nothing, and the request had not begun. */
void note_write(const struct note *n) {
    if (own == NULL && left == NULL)
        own = new_record();
    struct keep_note *k = left != NULL ? left : own;
    if (k == NULL || unique == 0)
        return;
    atomic_store(&k->unique, 0);
    k->kind = n->kind;
    k->ino = n->ino;
    k->other = n->other;
    k->size = n->size;
    k->dev = n->dev;
    k->mode = n->mode;
    k->nlink = n->nlink;
    atomic_store(&k->told, 0);
    atomic_store(&k->unique, unique);
}

void note_told(void) {
    struct keep_note *k = left != NULL ? left : own;
    if (k != NULL && unique != 0)
        atomic_store(&k->told, 1);
}

bool note_made(int dirfd, const char *name) {
    struct stat st;
    struct note n;
    bool there = fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (there && note_found(NOTE_MAKE, &n) && n.ino == 0)
        return true;
    note_write(&(struct note){.kind = NOTE_MAKE, .ino = there ? st.st_ino : 0});
    return false;
}

int note_removed(int dirfd, const char *name, struct stat *st) {
    struct note n;
    bool there = fstatat(dirfd, name, st, AT_SYMLINK_NOFOLLOW) == 0;
    int err = errno;
    if (note_found(NOTE_REMOVE, &n) && (!there || st->st_ino != n.ino)) {
        *st =
            (struct stat){.st_ino = n.ino, .st_dev = n.dev, .st_mode = n.mode, .st_nlink = n.nlink};
        return 1;
    }
    if (!there)
        return -err;
    note_write(&(struct note){.kind = NOTE_REMOVE,
                              .ino = st->st_ino,
                              .dev = (uint32_t)st->st_dev,
                              .mode = st->st_mode,
                              .nlink = (uint32_t)st->st_nlink});
    return 0;
}

void note_stop_at(const char *point) {
    const char *wanted = keep_is_first() ? NULL : getenv("MAILFS_STOP");
    if (wanted != NULL && strcmp(wanted, point) == 0)
        raise(SIGSTOP);
}

void note_die_at(const char *point) {
    static const char *wanted;
    static _Atomic int asked, times;
    if (atomic_load(&asked) == 0) {
        wanted = getenv("MAILFS_DIE");
        atomic_store(&asked, 1);
    }
    size_t n = wanted != NULL && keep_is_first() ? strlen(point) : 0;
    if (n == 0 || strncmp(wanted, point, n) != 0 || (wanted[n] != '\0' && wanted[n] != ':'))
        return;
    int at = wanted[n] == ':' ? atoi(wanted + n + 1) : 1;
    if (atomic_fetch_add(&times, 1) + 1 == at)
        kill(getpid(), SIGKILL);
    while (atomic_load(&times) >= at)
        pause(); /* the signal is on its way */
}
