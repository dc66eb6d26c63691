/*
 * stage_later: what was fetched, and is not durable until somebody counts on it.
 *
 * A content that is fetched is of no use before it is part of something: the merge that it was
 * fetched for, which syncs all of it at once before the first of it gets a name in the mailbox; or
 * a transaction, whose journal entry syncs what it names. Until then it lies in the stage under the
 * name it was written with, h-<number>-<key>. Whatever ends syncd before, a start drops it (or goes
 * on from there, if it is long), and it is fetched once more.
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

/* Of more than these one syncfs is faster than an fsync of each: see stage_sync.c. */
#define SYNCED_ALONE 16

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

/* The one that is here is durable, or is about to be made so, for a transaction: that may have been
 * asked for beside the merge. */
static bool is_counted_on(const struct stage_item *it) {
    return !it->gone && (it->refs > 0 || !it->later);
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
        it->later = true;
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
        it->later = false;
        stage_note_loose(st, it);
    }
    state_unlock(st);
    return r;
}

/* ---- all that a merge is going to use ---------------------------------------------- */

struct files {
    char v[SYNCED_ALONE][STAGE_NAME_MAX];
    size_t n;        /* may be more than there is room for */
    unsigned errors; /* all of them were begun after this many syncs had failed */
};

static void collect(struct state *st, const struct mailfs_id *dir, struct files *l) {
    char begin[STAGE_NAME_MAX], hex[MAILFS_ID_HEX];
    struct stage_item *it, *tmp;

    l->n = 0;
    snprintf(begin, sizeof(begin), "f-%s-", mailfs_id_format(dir, hex));
    state_lock(st);
    l->errors = st->sync_errors;
    HASH_ITER(hh, st->items, it, tmp) {
        if (!it->later || it->gone || !str_starts(it->key, begin))
            continue;
        if (l->n < SYNCED_ALONE)
            (void)str_copy(l->v[l->n], STAGE_NAME_MAX, it->file);
        l->n++;
    }
    state_unlock(st);
}

/* It may have been dropped since. A symbolic link is nothing that could be cut short. */
static int sync_one(struct state *st, const char *file) {
    int fd = io_open_beneath(st->stage, file, O_RDONLY | O_NOFOLLOW, 0), r;

    if (fd < 0)
        return fd == -ENOENT || fd == -ELOOP ? 0 : fd;
    r = io_fsync(fd);
    close(fd);
    return r;
}

static int sync_files(struct state *st, const struct files *l) {
    size_t i;
    int r = 0;

    if (l->n > SYNCED_ALONE)
        return state_sync(st, l->errors);
    for (i = 0; r == 0 && i < l->n; i++)
        r = sync_one(st, l->v[i]);
    return r;
}

void stage_drop_unsure(struct state *st) {
    struct stage_item *it, *tmp;

    HASH_ITER(hh, st->items, it, tmp) {
        if (it->is_prep)
            it->unsure = true;
        else if (it->refs == 0)
            stage_item_drop(st, it);
    }
}

int stage_settle_all(struct state *st, const struct mailfs_id *dir) {
    struct files l;
    int r;

    collect(st, dir, &l);
    r = sync_files(st, &l);
    if (r < 0) {
        state_lock(st);
        stage_drop_unsure(st);
        state_unlock(st);
    }
    return r;
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

static int move(struct state *st, const char *key, const char *file, int dirfd, const char *name) {
    int r = io_rename(st->stage, file, dirfd, name, RENAME_NOREPLACE);

    if (r == 0)
        return 0;
    /* It is another's, then, or as before: for the next attempt. */
    if (r == -EEXIST || stage_note(st, key, file, false) < 0)
        io_unlink(st->stage, file);
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
    if ((r == 0 || r == -EEXIST) && !str_starts(key, "p-"))
        stage_release(st, key);
    return r;
}
