/*
 * stage_drop: contents that nobody needs, or may count on, go.
 *
 * Where it may be many of them they are taken out of the table in one step, and their files are
 * unlinked when the mutex was given up: a slow disk must not stop whoever wants to know of another
 * one, the loop thread least of all.
 *
 * No diagnostics.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "io/io.h"
#include "stage_private.h"
#include "util/str.h"

/* ---- many -------------------------------------------------------------------------- */

/* Under the mutex. Another content may get its name before it is unlinked, and then that would go.
 * What has a number for its name has it alone. False: its file is gone. */
static bool leave_name(struct state *st, struct stage_item *it) {
    char name[STAGE_TEMP_MAX], *file;

    if (str_starts(it->file, "h-"))
        return true;
    snprintf(name, sizeof(name), STAGE_TEMP, ++st->stage_number);
    file = strdup(name);
    if (!file || io_rename(st->stage, it->file, st->stage, name, 0) < 0) {
        free(file);
        io_unlink(st->stage, it->file);
        return false;
    }
    free(it->file);
    it->file = file;
    return true;
}

void stage_item_drop(struct state *st, struct stage_item *it, struct stage_item **dropped) {
    stage_item_take(st, it);
    if (!it->gone && leave_name(st, it))
        LL_PREPEND(*dropped, it);
    else
        stage_item_delete(it);
}

void stage_unlink(struct state *st, struct stage_item *dropped) {
    struct stage_item *it, *tmp;

    LL_FOREACH_SAFE(dropped, it, tmp) {
        io_unlink(st->stage, it->file);
        stage_item_delete(it);
    }
}

struct stage_item *stage_drop_unsure(struct state *st) {
    struct stage_item *it, *tmp, *dropped = NULL;

    st->stage_doubts++;
    HASH_ITER(hh, st->items, it, tmp) {
        if (it->is_prep)
            it->unsure = true;
        else if (it->refs == 0)
            stage_item_drop(st, it, &dropped);
    }
    return dropped;
}

void stage_link_ended(struct state *st) {
    st->stage_link++;
}

void stage_came_late(struct state *st, const struct mailfs_id *dir, int sub, const char *name) {
    char key[STAGE_NAME_MAX];
    struct stage_item *it;

    stage_fetch_name(dir, sub, name, key);
    state_lock(st);
    it = stage_find(st, key);
    if (it)
        it->link = 0;
    state_unlock(st);
}

/* One that was just fetched may be for a transaction that is not in the journal yet. */
static bool is_idle(const struct state *st, const struct stage_item *it, int64_t now) {
    return !it->is_prep && !it->refs &&
           (it->link != st->stage_link || now - it->noted >= STAGE_IDLE_SECONDS);
}

void stage_drop_idle(struct state *st) {
    struct stage_item *it, *tmp, *dropped = NULL;
    int64_t now = stage_seconds();

    state_lock(st);
    HASH_ITER(hh, st->items, it, tmp) {
        if (is_idle(st, it, now))
            stage_item_drop(st, it, &dropped);
    }
    state_unlock(st);
    stage_unlink(st, dropped);
    stage_parts_drop(st);
}

void stage_drop_fetched(struct state *st, const struct mailfs_id *dir) {
    char begin[STAGE_NAME_MAX], hex[MAILFS_ID_HEX];
    struct stage_item *it, *tmp, *dropped = NULL;

    snprintf(begin, sizeof(begin), "f-%s-", mailfs_id_format(dir, hex));
    state_lock(st);
    HASH_ITER(hh, st->items, it, tmp) {
        if (it->refs || !str_starts(it->key, begin))
            continue;
        stage_item_drop(st, it, &dropped);
    }
    state_unlock(st);
    stage_unlink(st, dropped);
}

/* ---- one --------------------------------------------------------------------------- */

/* Under the mutex. What is not removed is still there: nobody is to believe that it is not. */
static int drop_one(struct state *st, struct stage_item *it) {
    int r = it->gone ? 0 : io_unlink(st->stage, it->file);

    if (r < 0 && r != -ENOENT)
        return r;
    stage_item_free(st, it);
    return 0;
}

void stage_release(struct state *st, const char *key) {
    struct stage_item *it;

    state_lock(st);
    it = stage_find(st, key);
    if (it && it->refs == 0)
        (void)drop_one(st, it);
    state_unlock(st);
}

int stage_drop(struct state *st, const struct stage_prep *prep) {
    char key[STAGE_NAME_MAX];
    struct stage_item *it;
    int r = 0;

    stage_prep_key(prep->incarnation, prep->seq, key);
    state_lock(st);
    it = stage_find(st, key);
    if (it && it->refs == 0 && it->used)
        it->unwanted = true; /* if it cannot be published: stage_taken() */
    else if (it && it->refs == 0)
        r = drop_one(st, it);
    state_unlock(st);
    return r;
}
