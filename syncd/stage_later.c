/*
 * stage_later: what was fetched, and is not durable until somebody counts on it.
 *
 * A content that is fetched is of no use before it is part of something: the merge that it was
 * fetched for, which syncs all of it at once before the first of it gets a name in the mailbox; or
 * a transaction, whose journal entry syncs what it names. Until then it lies in the stage under the
 * name it was written with, h-<number>-<key>. An orderly stop makes it durable and gives it the
 * name that a start looks for, so that the filling of a node goes on from there. That it did is
 * said by a name of its own (STAGE_WHOLE), which the start takes away: so that is believed over a
 * reboot, and never of what came after it. Whatever else ends syncd, a start drops it (or goes on
 * from there, if it is long), and it is fetched once more.
 *
 * A journal entry finds its contents by their keys after a start, so one that an entry is going to
 * refer to gets that name first.
 *
 * Diagnostics: none; errors are returned.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apply_int.h"
#include "io/io.h"
#include "stage_private.h"
#include "util/str.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

/* Under the mutex. The file gets the key for its name. */
static int name_by_key(struct state *st, struct stage_item *it) {
    char *file;
    int r;

    if (strcmp(it->file, it->key) == 0)
        return 0;
    file = strdup(it->key);
    r = file ? io_rename(st->stage, it->file, st->stage, it->key, 0) : -ENOMEM;
    if (r < 0) {
        free(file);
        return r;
    }
    free(it->file);
    it->file = file;
    return 0;
}

/* Under the mutex. Another content of this key was staged before: it is replaced, as by a rename.
 */
static int replace(struct state *st, struct stage_item *it, const char *name) {
    int r = name_by_key(st, it);

    return r == 0 || r == -ENOENT ? io_rename(st->stage, name, st->stage, it->key, 0) : r;
}

/* The one that is here has its own name, for a transaction that finds it by that, and is durable or
 * about to be made so: it may have been asked for beside the merge. */
static bool is_counted_on(const struct stage_item *it) {
    return !it->gone && (it->refs > 0 || (!it->later && strcmp(it->file, it->key) == 0));
}

int stage_note_later(struct stage_file *f) {
    struct state *st = f->st;
    struct stage_item *it;
    int r = 0;

    state_lock(st);
    it = stage_find(st, f->key);
    if (it && is_counted_on(it))
        r = -EBUSY;
    else if (f->errors != st->sync_errors)
        r = -EIO;
    else if (it)
        r = replace(st, it, f->name);
    else if (!(it = stage_item_add(st, f->key, f->name)))
        r = -ENOMEM;
    if (r == 0) {
        it->gone = false;
        it->noted = stage_seconds();
        it->link = st->stage_link;
        it->later = STAGE_ITEM_LATER;
    }
    state_unlock(st);
    return r;
}

int stage_settle(struct state *st, const char *key) {
    struct stage_item *it;
    bool unsynced; /* its content, or its name */
    int r = 0;

    state_lock(st);
    it = stage_find(st, key);
    unsynced = it && !it->is_prep && !it->gone && (it->later || strcmp(it->file, key) != 0);
    if (unsynced)
        r = name_by_key(st, it);
    if (unsynced && r == 0) {
        it->later = STAGE_ITEM_SURE;
        stage_note_loose(st, it);
    }
    state_unlock(st);
    return r;
}

/* ---- all that merges are going to use ---------------------------------------------- */

static void collect(struct state *st, struct stage_names *l) {
    struct stage_item *it, *tmp;

    state_lock(st);
    l->errors = st->sync_errors; /* all of them were begun after these */
    HASH_ITER(hh, st->items, it, tmp) {
        if (!it->later || it->gone)
            continue;
        it->later = STAGE_ITEM_SYNCING;
        stage_names_add(l, it->file);
    }
    state_unlock(st);
}

/* But not what has come meanwhile, perhaps in the place of one of them. */
static void settled(struct state *st) {
    struct stage_item *it, *tmp;

    state_lock(st);
    HASH_ITER(hh, st->items, it, tmp) {
        if (it->later == STAGE_ITEM_SYNCING)
            it->later = STAGE_ITEM_SURE;
    }
    state_unlock(st);
}

/* One at a time: an error is told once, and whose content it was about is not known; so all of them
 * are gone before the next one may take any for durable. */
int stage_settle_all(struct state *st) {
    struct stage_names l = {.n = 0};
    struct stage_item *dropped;
    int r;

    pthread_mutex_lock(&st->settling);
    collect(st, &l);
    r = stage_sync_names(st, &l);
    if (r < 0) {
        state_lock(st);
        dropped = stage_drop_unsure(st);
        state_unlock(st);
        stage_unlink(st, dropped);
    } else if (l.n > 0) {
        settled(st);
    }
    pthread_mutex_unlock(&st->settling);
    return r;
}

int stage_make_durable(struct state *st) {
    int r = stage_settle_all(st);

    return r == 0 ? stage_sync(st) : r;
}

/* ---- what a merge is going to use -------------------------------------------------- */

/* Under the mutex. */
static bool is_unsynced(const struct state *st, const struct stage_item *it) {
    return it && !it->gone && (it->later || it->loose || it->syncing || st->stage_loose);
}

bool stage_is_unsynced(struct state *st, const char *key) {
    bool r;

    state_lock(st);
    r = is_unsynced(st, stage_find(st, key));
    state_unlock(st);
    return r;
}

int stage_keys_add_unsynced(struct state *st, struct stage_keys *k, const char *key) {
    char(*v)[STAGE_NAME_MAX];

    if (!stage_is_unsynced(st, key))
        return 0;
    v = realloc(k->v, (k->n + 1) * sizeof(*v));
    if (!v)
        return -ENOMEM;
    k->v = v;
    return str_copy(v[k->n++], STAGE_NAME_MAX, key);
}

void stage_keys_free(struct stage_keys *k) {
    free(k->v);
    *k = (struct stage_keys){NULL, 0};
}

/* With `settling` and `syncing`, so nobody else is at any of them. True: not only these. */
static bool pick(struct state *st, const struct stage_keys *k, struct stage_names *l) {
    struct stage_item *it;
    bool all;
    size_t i;

    state_lock(st);
    l->errors = st->sync_errors; /* what is good yet was begun after these */
    all = st->stage_loose;
    for (i = 0; i < k->n; i++) {
        it = stage_find(st, k->v[i]);
        if (!it || it->gone || !(it->later || it->loose))
            continue;
        stage_names_add(l, it->file);
        if (it->loose)
            stage_take_loose(st, it);
        if (it->later)
            it->later = STAGE_ITEM_SYNCING;
    }
    state_unlock(st);
    return all;
}

static int settle_keys(struct state *st, const struct stage_keys *k) {
    struct stage_names l = {.n = 0};
    bool all = pick(st, k, &l);
    int r = stage_sync_names(st, &l);
    struct stage_item *dropped;

    state_lock(st);
    dropped = stage_loose_taken(st, r);
    state_unlock(st);
    stage_unlink(st, dropped);
    if (r == 0)
        settled(st);
    return r == 0 && all ? stage_sync_loose(st) : r;
}

static bool any_unsynced(struct state *st, const struct stage_keys *k) {
    size_t i = 0;

    while (i < k->n && !stage_is_unsynced(st, k->v[i]))
        i++;
    return i < k->n;
}

int stage_settle_keys(struct state *st, const struct stage_keys *k) {
    int r = 0;

    if (k->n == 0)
        return 0;
    pthread_mutex_lock(&st->settling);
    pthread_mutex_lock(&st->syncing);
    /* Not once: a transaction that wants one of them, too, may give it its own name meanwhile, and
     * it is not found under the other one. */
    while (r == 0 && any_unsynced(st, k))
        r = settle_keys(st, k);
    pthread_mutex_unlock(&st->syncing);
    pthread_mutex_unlock(&st->settling);
    return r;
}

/* ---- from one life to the next ----------------------------------------------------- */

/* Each gets the name by which a start finds it. */
static int name_all(struct state *st, bool *any) {
    struct stage_item *it, *tmp;
    int r = 0;

    *any = false;
    state_lock(st);
    HASH_ITER(hh, st->items, it, tmp) {
        if (r < 0 || it->is_prep || it->gone)
            continue;
        r = name_by_key(st, it);
        *any = true;
    }
    state_unlock(st);
    return r;
}

/* Is all that lies there what it says, as far as it has been synced? */
static bool is_sound(struct state *st) {
    bool sound;

    state_lock(st);
    sound = (st->stage_whole || st->recent.whole) && !st->sync_lost;
    state_unlock(st);
    return sound;
}

/* The names and what they name are durable when this is. */
static int vouch(struct state *st) {
    int fd = io_open_beneath(st->stage, STAGE_WHOLE, O_WRONLY | O_CREAT, 0600);

    if (fd < 0)
        return fd;
    close(fd);
    return io_fsync(st->stage);
}

int stage_keep_fetched(struct state *st) {
    bool any = false;
    int r = stage_settle_all(st);

    if (r == 0)
        r = name_all(st, &any);
    if (r < 0 || !any || !is_sound(st))
        return r;
    r = stage_sync(st);
    return r == 0 ? vouch(st) : r;
}

int stage_take_vouched(struct state *st) {
    int r = faccessat(st->stage, STAGE_WHOLE, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : -errno;

    if (r == 0)
        r = io_unlink(st->stage, STAGE_WHOLE);
    if (r == 0)
        r = io_fsync(st->stage);
    st->stage_whole = r == 0;
    return r == -ENOENT ? 0 : r;
}

/* ---- to its name ------------------------------------------------------------------- */

/* Takes the item out of the table: its file is the caller's. False: others need it, too. */
static bool detach(struct state *st, const char *key, char file[STAGE_NAME_MAX]) {
    struct stage_item *it;
    bool ours;

    state_lock(st);
    it = stage_find(st, key);
    ours = it && !it->is_prep && !it->gone && it->refs == 0 &&
           str_copy(file, STAGE_NAME_MAX, it->file) == 0;
    if (ours)
        stage_item_free(st, it);
    state_unlock(st);
    return ours;
}

/* As it was, for the next attempt. Another may have been staged meanwhile. */
static void attach(struct state *st, const char *key, const char *file) {
    bool ours;

    state_lock(st);
    ours = !stage_find(st, key) && stage_item_add(st, key, file);
    state_unlock(st);
    if (!ours)
        io_unlink(st->stage, file);
}

static int move(struct state *st, const char *key, const char *file, int dirfd, const char *name) {
    int r = io_rename(st->stage, file, dirfd, name, RENAME_NOREPLACE);

    if (r < 0)
        attach(st, key, file);
    return r;
}

int stage_place(struct state *st, const char *key, const Mfp__Meta *meta, int dirfd,
                const char *name) {
    char file[STAGE_NAME_MAX];
    int r = stage_lookup(st, key, file);

    if (r == 0)
        r = apply_set_meta(st, st->stage, file, meta);
    if (r < 0)
        return r;
    if (detach(st, key, file))
        return move(st, key, file, dirfd, name);
    r = io_link(st->stage, file, dirfd, name);
    /* What was prepared may be another message's as well: that is for the caller. */
    if (r == 0 && !str_starts(key, "p-"))
        stage_release(st, key);
    return r;
}
