/*
 * stage_sync: what was staged in a hurry becomes durable, before anybody is told that it is.
 *
 * With commit = memory or async a prepared content is not fsynced when it comes: who delivers does
 * not wait for that. But the acknowledgement of the transaction that names it moves the origin's
 * base, and the journal replays it after a power cut; a content that were cut short then would
 * become a message.
 *
 * No diagnostics: the caller's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <utlist.h>

#include "io/io.h"
#include "stage_private.h"
#include "util/str.h"

/* ---- several files ----------------------------------------------------------------- */

void stage_names_add(struct stage_names *l, const char *file) {
    if (l->n < STAGE_SYNCED_ALONE)
        (void)str_copy(l->v[l->n], STAGE_NAME_MAX, file);
    l->n++;
}

/* It may have been dropped, or published, since: then nobody is told of it. A symbolic link is
 * nothing that could be cut short. */
static int sync_one(struct state *st, const char *file) {
    int fd = io_open_beneath(st->stage, file, O_RDONLY | O_NOFOLLOW, 0), r;

    if (fd < 0)
        return fd == -ENOENT || fd == -ELOOP ? 0 : fd;
    r = io_fsync(fd);
    close(fd);
    return r;
}

int stage_sync_names(struct state *st, const struct stage_names *l) {
    size_t i;
    int r = 0;

    if (l->n > STAGE_SYNCED_ALONE)
        return state_sync(st, l->errors);
    for (i = 0; r == 0 && i < l->n; i++)
        r = sync_one(st, l->v[i]);
    return r;
}

/* ---- what was staged in a hurry ---------------------------------------------------- */

/* What the error was about may have another name in the stage, which no later sync says it of. */
static int sync_pinned(struct state *st, int fd) {
    struct stage_item *dropped;
    int r = io_fsync(fd);

    if (r == 0)
        return 0;
    state_lock(st);
    dropped = stage_drop_unsure(st);
    state_unlock(st);
    stage_unlink(st, dropped);
    return r;
}

int stage_pin(struct state *st, int fd, const char *file) {
    struct stage_item *it;
    bool loose;
    int r;

    state_lock(st);
    loose = ++st->stage_pins > STAGE_SYNCED_ALONE;
    state_unlock(st);
    r = loose ? 0
              : sync_pinned(st, fd); /* who wrote it may not have; it is going to be acknowledged */
    if (r == 0)
        r = io_link_fd(fd, st->stage, file);
    if (r < 0 && r != -EEXIST)
        return r;
    state_lock(st);
    it = stage_item_note(st, file, file, false);
    st->stage_dirty = true;
    if (it && loose)
        stage_note_loose(st, it);
    state_unlock(st);
    return it ? 0 : -ENOMEM;
}

void stage_note_loose(struct state *st, struct stage_item *it) {
    st->stage_dirty = true;
    if (it->syncing) { /* another content of this key, or the same once more */
        DL_DELETE(st->syncing_items, it);
        it->syncing = false;
    }
    if (!it->loose) {
        it->loose = true;
        DL_APPEND(st->loose_items, it);
    }
}

void stage_take_loose(struct state *st, struct stage_item *it) {
    DL_DELETE(st->loose_items, it);
    it->loose = false;
    DL_APPEND(st->syncing_items, it);
    it->syncing = true;
}

struct stage_item *stage_loose_taken(struct state *st, int err) {
    struct stage_item *it, *tmp;

    DL_FOREACH_SAFE(st->syncing_items, it, tmp) {
        DL_DELETE(st->syncing_items, it);
        it->syncing = false;
    }
    if (err == 0)
        return NULL;
    st->stage_dirty = st->stage_loose = true; /* which of them is not known: all, the next time */
    return stage_drop_unsure(st);
}

/* Takes what is to be synced off the lists. True: names have to be durable as well. */
static bool take(struct state *st, struct stage_names *l) {
    struct stage_item *it, *tmp;
    bool dirty;

    l->errors = st->stage_errors;
    state_lock(st);
    dirty = st->stage_dirty;
    l->n = st->stage_loose ? STAGE_SYNCED_ALONE + 1 : 0; /* more contents than are listed */
    st->stage_dirty = false;
    st->stage_pins = 0;
    DL_FOREACH_SAFE(st->loose_items, it, tmp) {
        stage_names_add(l, it->file);
        stage_take_loose(st, it);
    }
    state_unlock(st);
    return dirty;
}

int stage_sync_loose(struct state *st) {
    struct stage_item *dropped;
    struct stage_names l;
    bool dirty = take(st, &l);
    int r = stage_sync_names(st, &l);

    if (r == 0 && dirty && l.n <= STAGE_SYNCED_ALONE)
        r = io_fsync(st->stage);
    /* What an error was about that has been told by now is dropped, or not counted on. */
    st->stage_errors = state_sync_errors(st);
    state_lock(st);
    if (r == 0)
        st->stage_loose = false;
    dropped = stage_loose_taken(st, r);
    state_unlock(st);
    stage_unlink(st, dropped);
    return r;
}

int stage_sync(struct state *st) {
    int r;

    pthread_mutex_lock(&st->syncing);
    r = stage_sync_loose(st);
    pthread_mutex_unlock(&st->syncing);
    return r;
}
