/*
 * asked - which attributes of directories may be under way to the kernel
 *
 * Bought, in requests (make bench): 3 of the 6 of a flag, 1 of the 3 of a warm read, all of a stat;
 * with the lifetimes of req.h 23 of the 78 of an LMTP delivery, 19 of the 46 of an IMAP STORE.
 *
 * Diagnostics: none.
 */
#include "asked.h"

#include "dir.h"
#include "notify.h"
#include "req.h"
#include "util/clock.h"

/* Longer than an answer is believed. */
#define UNDER_WAY_MS ((uint64_t)(2 * LIFETIME_SHORT * 1000))

static bool is_part(const struct inode *dir) {
    return dir->dir->kind == MAILDIR_DIR_NEW || dir->dir->kind == MAILDIR_DIR_CUR;
}

/* PID_MAX_LIMIT is 2^22. */
enum { THREAD_BITS = 22 };

static pid_t thread_of(uint64_t last) {
    return (pid_t)(last & ((1u << THREAD_BITS) - 1));
}

static uint64_t time_of(uint64_t last) {
    return last >> THREAD_BITS;
}

void asked_init(struct asked *a) {
    atomic_store(&a->last, 0);
    atomic_store(&a->others, clock_ms());
}

static void raise_to(_Atomic uint64_t *a, uint64_t value) {
    uint64_t was = atomic_load(a);
    while (was < value && !atomic_compare_exchange_weak(a, &was, value))
        ;
}

/* Who is replaced as the last one is among the others before that. */
bool asked_now(struct inode *dir, pid_t thread) {
    if (!is_part(dir))
        return false;
    struct asked *a = &dir->dir->asked;
    uint64_t now = clock_ms() << THREAD_BITS | (uint64_t)thread, was = atomic_load(&a->last);
    do
        if (thread_of(was) != thread)
            raise_to(&a->others, time_of(was));
    while (!atomic_compare_exchange_weak(&a->last, &was, now));
    return true;
}

void asked_changed(struct inode *dir, pid_t thread) {
    if (!is_part(dir))
        return;
    struct asked *a = &dir->dir->asked;
    uint64_t last = atomic_load(&a->last), others = atomic_load(&a->others);
    if ((thread == 0 || thread_of(last) != thread) && time_of(last) > others)
        others = time_of(last);
    if (others != 0 && clock_ms() - others < UNDER_WAY_MS)
        notify_attr(dir);
}
