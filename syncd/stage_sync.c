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
#include "stage.h"
#include "state_int.h"
#include "util/str.h"

/* An fsync takes about a millisecond on a busy disk: of more than these, one syncfs is faster. */
#define SYNCED_ALONE 16

struct loose {
    char files[SYNCED_ALONE][STAGE_NAME_MAX];
    size_t n;
    bool dirty, all; /* names; more contents than those */
};

int stage_pin(struct state *st, int fd, const char *file) {
    struct stage_item *it;
    bool loose;
    int r;

    state_lock(st);
    loose = ++st->stage_pins > SYNCED_ALONE;
    state_unlock(st);
    r = loose ? 0 : io_fsync(fd); /* who wrote it may not have; it is going to be acknowledged */
    if (r == 0)
        r = io_link_fd(fd, st->stage, file);
    if (r < 0 && r != -EEXIST)
        return r;
    state_lock(st);
    it = stage_item_note(st, file, file, false);
    st->stage_dirty = true;
    st->stage_loose = st->stage_loose || loose;
    state_unlock(st);
    return it ? 0 : -ENOMEM;
}

void stage_note_loose(struct state *st, struct stage_item *it) {
    st->stage_dirty = true;
    if (!it->loose) {
        it->loose = true;
        DL_APPEND(st->loose_items, it);
    }
}

/* Takes what is to be synced off the lists. */
static void take(struct state *st, struct loose *l) {
    struct stage_item *it, *tmp;

    l->n = 0;
    state_lock(st);
    l->dirty = st->stage_dirty;
    l->all = st->stage_loose;
    st->stage_dirty = st->stage_loose = false;
    st->stage_pins = 0;
    DL_FOREACH_SAFE(st->loose_items, it, tmp) {
        DL_DELETE(st->loose_items, it);
        it->loose = false;
        if (l->n < SYNCED_ALONE && str_copy(l->files[l->n], STAGE_NAME_MAX, it->file) == 0)
            l->n++;
        else
            l->all = true;
    }
    state_unlock(st);
}

/* It may have been dropped, or published, since it was taken: then nobody is told of it. */
static int sync_one(struct state *st, const char *file) {
    int fd = io_open_beneath(st->stage, file, O_RDONLY | O_NOFOLLOW, 0), r;

    if (fd < 0)
        return fd == -ENOENT || fd == -ELOOP ? 0 : fd; /* a symbolic link is not cut short */
    r = io_fsync(fd);
    close(fd);
    return r;
}

static int sync_all(struct state *st) {
    struct loose l;
    size_t i;
    int r = 0;

    take(st, &l);
    if (l.all)
        r = state_sync(st, st->stage_errors);
    for (i = 0; r == 0 && !l.all && i < l.n; i++)
        r = sync_one(st, l.files[i]);
    if (r == 0 && l.dirty && !l.all)
        r = io_fsync(st->stage);
    /* What an error was about that has been told by now is dropped, or not counted on. */
    st->stage_errors = state_sync_errors(st);
    if (r < 0) { /* which of them is not known: all, the next time */
        state_lock(st);
        st->stage_dirty = st->stage_loose = true;
        stage_drop_unsure(st);
        state_unlock(st);
    }
    return r;
}

int stage_sync(struct state *st) {
    int r;

    pthread_mutex_lock(&st->syncing);
    r = sync_all(st);
    pthread_mutex_unlock(&st->syncing);
    return r;
}
