/*
 * lock_tell - what is said about L to syncd, and remembered for the time without it
 *
 * Memory: 72 bytes for each mailbox whose token was here or whose UID was raised since syncd was
 * last connected.
 *
 * Diagnostics: none.
 */
#include <pthread.h>
#include <stdlib.h>
#include <uthash.h>

#include "lock_int.h"
#include "wire/check.h"

void lock_tell_opened(const struct mailfs_id *dir, bool ok) {
    Mfl__LockOpened opened = MFL__LOCK_OPENED__INIT;
    Mfl__ToSyncd m = MFL__TO_SYNCD__INIT;
    opened.dir = wire_bytes_of(dir);
    opened.ok = ok;
    m.m_case = MFL__TO_SYNCD__M_LOCK_OPENED;
    m.lock_opened = &opened;
    if (vol.has_syncd)
        upcall_tell(&m);
}

bool lock_ask_open(const struct mailfs_id *dir, pid_t pid, upcall_fn *fn, void *arg) {
    Mfl__LockOpen open = MFL__LOCK_OPEN__INIT;
    Mfl__ToSyncd m = MFL__TO_SYNCD__INIT;
    open.req = upcall_number();
    open.dir = wire_bytes_of(dir);
    open.pid = pid;
    m.m_case = MFL__TO_SYNCD__M_LOCK_OPEN;
    m.lock_open = &open;
    return upcall_ask(&m, open.req, -1, fn, arg);
}

bool lock_ask_unlock(const struct mailfs_id *dir, bool again, upcall_fn *fn, void *arg) {
    Mfl__Unlock unlock = MFL__UNLOCK__INIT;
    Mfl__ToSyncd m = MFL__TO_SYNCD__INIT;
    unlock.req = upcall_number();
    unlock.again = again;
    unlock.dir = wire_bytes_of(dir);
    m.m_case = MFL__TO_SYNCD__M_UNLOCK;
    m.unlock = &unlock;
    return upcall_ask(&m, unlock.req, -1, fn, arg);
}

void lock_tell_died(const struct mailfs_id *dir, bool again) {
    Mfl__Unlock unlock = MFL__UNLOCK__INIT;
    Mfl__ToSyncd m = MFL__TO_SYNCD__INIT;
    unlock.dir = wire_bytes_of(dir);
    unlock.owner_died = true;
    unlock.again = again;
    m.m_case = MFL__TO_SYNCD__M_UNLOCK;
    m.unlock = &unlock;
    if (vol.has_syncd)
        upcall_tell(&m);
}

/* --- hints ---------------------------------------------------------------------------------------
 */

struct hint {
    struct mailfs_id id;
    bool held;   /* the token was here */
    bool raised; /* since syncd went away */
    UT_hash_handle hh;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct hint *hints;
static uint64_t hints_time; /* how often they have been void */

/* Under the lock. make: NULL only without memory. */
static struct hint *hint_of(const struct mailfs_id *id, bool make) {
    struct hint *h;
    HASH_FIND(hh, hints, id->b, sizeof id->b, h);
    if (h == NULL && make && (h = calloc(1, sizeof *h)) != NULL) {
        h->id = *id;
        HASH_ADD(hh, hints, id.b, sizeof h->id.b, h);
    }
    return h;
}

void lock_token_hint(const struct mailfs_id *id, bool held) {
    pthread_mutex_lock(&lock);
    struct hint *h = hint_of(id, held);
    if (h != NULL)
        h->held = held;
    pthread_mutex_unlock(&lock);
}

void lock_forget_hints(void) {
    pthread_mutex_lock(&lock);
    struct hint *first = hints;
    HASH_CLEAR(hh, hints);
    hints_time++;
    pthread_mutex_unlock(&lock);
    for (struct hint *h = first, *next; h != NULL; h = next) {
        next = h->hh.next;
        free(h);
    }
}

uint64_t lock_hints_time(void) {
    pthread_mutex_lock(&lock);
    uint64_t time = hints_time;
    pthread_mutex_unlock(&lock);
    return time;
}

bool lock_raise_is_due(const struct mailfs_id *id) {
    pthread_mutex_lock(&lock);
    const struct hint *h = hint_of(id, false);
    bool due = h == NULL || (!h->held && !h->raised);
    pthread_mutex_unlock(&lock);
    return vol.has_peer && due;
}

void lock_raise_was_done(const struct mailfs_id *id, uint64_t time) {
    pthread_mutex_lock(&lock);
    struct hint *h = time == hints_time ? hint_of(id, true) : NULL;
    if (h != NULL)
        h->raised = true;
    pthread_mutex_unlock(&lock);
}
