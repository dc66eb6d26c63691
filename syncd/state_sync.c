/*
 * state_sync: the store's file system is synced, for all who want that at once.
 *
 * The kernel tells an error of writing once to each open file (errseq_t; for syncfs(2) since Linux
 * 5.8), and all threads sync by st->root: only one of them would hear of it, though what is lost
 * may be another's. So failed syncs are counted, and a caller says how many there had been when it
 * began to write. A sync is asked for by one thread at a time, and does for all who came before it
 * began: so none can return between an error and its being counted.
 *
 * Diagnostics: none; errors are returned.
 */
#include <errno.h>

#include "io/io.h"
#include "state_int.h"

unsigned state_sync_errors(struct state *st) {
    unsigned n;

    state_lock(st);
    n = st->sync_errors;
    state_unlock(st);
    return n;
}

/* In one step, so that what is staged was begun after the last one that is counted, or is known to
 * its writer to be older. */
static void sync_failed(struct state *st, int err) {
    bool no_room = err == -EDQUOT || (err == -ENOSPC && io_is_full(st->root));
    struct stage_item *dropped;

    state_lock(st);
    st->sync_errors++;
    st->sync_lost = st->sync_lost || !no_room;
    dropped = stage_drop_unsure(st);
    state_unlock(st);
    stage_unlink(st, dropped);
}

/* With sync_mutex. */
static void sync_once(struct state *st) {
    uint64_t turn = ++st->syncs_begun;
    int r;

    st->sync_runs = true;
    pthread_mutex_unlock(&st->sync_mutex);
    r = io_syncfs(st->root);
    if (r < 0)
        sync_failed(st, r);
    pthread_mutex_lock(&st->sync_mutex);
    if (r < 0)
        st->sync_error = r;
    st->syncs_done = turn;
    st->sync_runs = false;
    pthread_cond_broadcast(&st->sync_ended);
}

int state_sync(struct state *st, unsigned since) {
    uint64_t turn;
    int error;

    pthread_mutex_lock(&st->sync_mutex);
    turn = st->syncs_begun + 1;
    while (st->syncs_done < turn) {
        if (st->sync_runs)
            pthread_cond_wait(&st->sync_ended, &st->sync_mutex);
        else
            sync_once(st);
    }
    error = st->sync_error;
    pthread_mutex_unlock(&st->sync_mutex);
    return state_sync_errors(st) == since ? 0 : error < 0 ? error : -EIO;
}

/*
 * What an error was about is lost, whoever heard of it: nothing can be said to be durable any more.
 * Not so where there was no room: ext4, XFS and Btrfs reserve it at write(2), which fails then, so
 * what lacks it is not what syncd counts on, but anybody's on this file system (fs/ext4/inode.c,
 * ext4_da_reserve_space()). Where the file system has room and it is the device below that has none
 * (thin provisioning) what was reserved is lost, too: that is no full disk to syncd.
 */
int state_sync_whole(struct state *st) {
    unsigned since;
    bool lost;

    state_lock(st);
    since = st->sync_errors;
    lost = st->sync_lost;
    state_unlock(st);
    return lost ? -EIO : state_sync(st, since);
}
