/*
 * stage_publish: prepared contents that their origin did not commit get a name in new/.
 *
 * One whose mailbox is on neither node gets one in .mailfs/kept/. What of it is noted in the base,
 * and when, is in stage_named.c.
 *
 * Diagnostics: a message that could not be published, or has no mailbox, with the container.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alias.h"
#include "base.h"
#include "io/io.h"
#include "maildir/name.h"
#include "merge_int.h"
#include "stage_private.h"
#include "store.h"
#include "util/str.h"

/* ---- taking one -------------------------------------------------------------------- */

int stage_take(struct state *st, const char *key, struct mailfs_id *dir, struct mailfs_id *parent,
               char file[STAGE_NAME_MAX], char tmp[STAGE_NAME_MAX]) {
    struct stage_item *it;
    int r = 1;

    state_lock(st);
    it = stage_find(st, key);
    if (it && it->is_prep && it->refs > 0) {
        r = -EBUSY;
    } else if (it && it->is_prep && !it->used && !it->gone) {
        *dir = it->dir;
        *parent = it->parent;
        r = str_copy(file, STAGE_NAME_MAX, it->file);
        /* A name that no Maildir reader would look at is made one that it does. */
        if (r == 0)
            r = str_printf(tmp, STAGE_NAME_MAX, "%s%s", *it->tmp_name == '.' ? "m" : "",
                           it->tmp_name);
        it->used = true;
    }
    state_unlock(st);
    return r;
}

void stage_taken(struct state *st, const char *key, int err) {
    struct stage_item *it;
    bool unwanted = false;

    state_lock(st);
    it = stage_find(st, key);
    if (it && err == 0) {
        stage_item_free(st, it);
    } else if (it) {
        it->used = false;
        it->homeless = it->homeless || err == -ENOENT; /* also after an error of the disk */
        unwanted = it->unwanted;
    }
    state_unlock(st);
    if (unwanted)
        stage_release(st, key);
}

struct stage_prep *stage_pick(struct state *st, stage_pick_fn *fn, size_t *n) {
    struct stage_item *it, *tmp;
    struct stage_prep *v;

    *n = 0;
    state_lock(st);
    v = calloc(HASH_COUNT(st->items) + 1, sizeof(*v));
    HASH_ITER(hh, st->items, it, tmp) {
        if (v && fn(st, it))
            v[(*n)++] = (struct stage_prep){it->incarnation, it->seq};
    }
    state_unlock(st);
    return v;
}

/* ---- publishing -------------------------------------------------------------------- */

/* The mailbox, or the nearest container above it that has a new/. parent: what was above it when
 * the content came. */
static int publish_dir(struct state *st, struct mailfs_id id, const struct mailfs_id *parent,
                       struct store_dir *d) {
    struct base_dir rec;
    struct mailfs_id now;
    int depth, r;

    for (depth = 0; depth < 64; depth++) {
        r = store_dir_open(st, &id, d);
        if (r == -ENOENT && alias_now(st, &id, &now)) {
            id = now;
            r = store_dir_open(st, &id, d);
        }
        /* Its own mailbox may have come with the tree's merge, which makes no new/ in it. */
        if (r == 0)
            r = store_sub_open(st, d, MFP__SUB__NEW, depth == 0);
        if (r >= 0)
            return 0;
        store_dir_close(d);
        if (r != -ENOENT && r != -ENOTDIR && r != -ELOOP)
            return r; /* there, perhaps */
        if (mailfs_id_is_root(&id))
            return -ENOENT;
        r = base_dir_get(st, &id, &rec);
        if (r == 0)
            id = rec.parent;
        else if (r == -ENOENT && depth == 0)
            id = *parent; /* removed since, and nobody knows its place any more */
        else
            return r;
    }
    return -ENOENT;
}

/* Is it another message's? One that was published so may be in cur/ by now, and one that both nodes
 * know anywhere. */
static int name_taken(struct state *st, struct store_dir *d, const char *file, const char *name) {
    struct stage_pub *pubs, key = {.name = ""};
    int fd = d->fd[MFP__SUB__NEW], r;
    char base[STAGE_NAME_MAX];
    struct base_msg msg;
    size_t n;

    r = str_copyn(base, sizeof(base), name, maildir_name_base_len(name, strlen(name)));
    if (r == 0)
        r = str_copy(key.name, sizeof(key.name), name);
    if (r < 0)
        return r;
    if (faccessat(fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return !stage_is_same_file(fd, name, st->stage, file);
    if (base_msg_get(st, BASE_AGREED, &d->id, base, &msg) == 0)
        return 1;
    r = stage_published_in(st, &d->id, &pubs, &n);
    if (r < 0)
        return r;
    r = n > 0 && bsearch(&key, pubs, n, sizeof(*pubs), stage_pub_cmp) != NULL;
    free(pubs);
    return r;
}

/* The name it had in tmp/. Postfix gives that to all that one process delivers within a second:
 * then the number of the prepared content is behind it. */
static int publish_name(struct state *st, struct store_dir *d, const struct stage_prep *prep,
                        const char *file, const char *tmp_name, char name[STAGE_NAME_MAX]) {
    struct stage_pub pub;
    int r = stage_published(st, prep->incarnation, prep->seq, &pub);

    if (r == 0 && mailfs_id_equal(&pub.dir, &d->id))
        return str_copy(name, STAGE_NAME_MAX, pub.name); /* and it has not got it yet */
    r = name_taken(st, d, file, tmp_name);
    if (r < 0)
        return r;
    return r == 0 ? str_copy(name, STAGE_NAME_MAX, tmp_name)
                  : str_printf(name, STAGE_NAME_MAX, "%s.%" PRIx64, tmp_name, prep->seq);
}

/* rec: what is noted of it, with its name. */
static int publish_in(struct state *st, struct store_dir *d, const struct stage_prep *prep,
                      const char *file, const char *tmp_name, uint64_t gen,
                      struct stage_record *rec) {
    int fd = d->fd[MFP__SUB__NEW], r = publish_name(st, d, prep, file, tmp_name, rec->name);

    rec->dir = d->id;
    if (r == 0)
        r = stage_sync(st);
    if (r == 0)
        r = state_mark(st, &d->id, gen);
    if (r == 0)
        r = db_update(st->db, stage_record_write, rec);
    if (r == 0)
        r = io_link(st->stage, file, fd, rec->name);
    if (r == 0)
        r = io_fsync(fd);
    rec->done = true;
    return r == 0 ? db_update(st->db, stage_record_write, rec) : r;
}

/* 1: it has had its name, and the stage could not let it go, or that was not noted any more. What
 * has become of it since stays: it may have been expunged. */
static int was_published(struct state *st, const struct stage_prep *prep, const char *file,
                         uint64_t gen, struct stage_record *rec) {
    struct stage_pub pub;
    int r = stage_published(st, prep->incarnation, prep->seq, &pub);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    if (!pub.done && (r = stage_is_half_published(st, &pub, file)) <= 0)
        return r;
    rec->dir = pub.dir;
    r = str_copy(rec->name, sizeof(rec->name), pub.name);
    if (r < 0 || pub.done)
        return r < 0 ? r : 1;
    rec->done = true;
    r = state_mark(st, &pub.dir, gen);
    if (r == 0)
        r = db_update(st->db, stage_record_write, rec);
    return r < 0 ? r : 1;
}

/* An attempt that failed may have taken it away. */
static int leave_stage(struct state *st, const char *file) {
    int r = io_unlink(st->stage, file);

    return r == -ENOENT ? 0 : r;
}

int stage_publish(struct state *st, const struct stage_prep *prep, uint64_t gen,
                  struct invals *iv) {
    char key[STAGE_NAME_MAX], file[STAGE_NAME_MAX], tmp[STAGE_NAME_MAX];
    struct stage_record rec = {.done = false};
    struct mailfs_id dir, parent;
    struct store_dir d;
    int r;

    stage_prep_key(prep->incarnation, prep->seq, key);
    stage_record_key(prep->incarnation, prep->seq, rec.key);
    r = stage_take(st, key, &dir, &parent, file, tmp);
    if (r)
        return r;
    d = (struct store_dir){.fd = {-1, -1, -1, -1}};
    r = was_published(st, prep, file, gen, &rec);
    if (r == 0 && (r = stage_is_there_already(st, prep, &dir, file)) > 0) {
        r = stage_unpublish(st, prep->incarnation, prep->seq);
        if (r == 0)
            io_unlink(st->stage, file);
        stage_taken(st, key, r);
        return r < 0 ? state_fail(st, r, &dir, "cannot forget a prepared message") : 0;
    }
    if (r == 0)
        r = publish_dir(st, dir, &parent, &d);
    if (r == 0)
        r = publish_in(st, &d, prep, file, tmp, gen, &rec);
    if (r >= 0)
        r = leave_stage(st, file);
    stage_taken(st, key, r);
    if (r == 0) {
        inval_add(iv, &rec.dir, MFL__SUB__NEW, NULL, rec.name, false);
        inval_poke(iv, &rec.dir, MFL__SUB__NEW);
    }
    store_dir_close(&d);
    return r < 0 ? state_fail(st, r, &dir, "cannot publish a prepared message") : 0;
}

static bool is_homeless(struct state *st, const struct stage_item *it) {
    (void)st;
    return it->homeless;
}

void stage_publish_homeless(struct state *st, struct invals *iv) {
    struct stage_prep *v;
    uint64_t gen;
    size_t n, i;

    if (state_mark_gen(st, &gen) < 0)
        return; /* at the next merge, or start */
    v = stage_pick(st, is_homeless, &n);
    for (i = 0; i < n; i++)
        stage_publish(st, &v[i], gen, iv); /* which tells of errors */
    free(v);
}

static void keep_one(struct state *st, const struct stage_prep *prep) {
    char key[STAGE_NAME_MAX], file[STAGE_NAME_MAX], tmp[STAGE_NAME_MAX];
    struct mailfs_id dir, parent;
    int r;

    stage_prep_key(prep->incarnation, prep->seq, key);
    if (stage_take(st, key, &dir, &parent, file, tmp))
        return;
    r = stage_sync(st);
    if (r == 0)
        r = merge_keep(st, st->stage, file, 'l', true);
    if (r == 0)
        r = io_fsync(st->kept);
    stage_taken(st, key, r);
    if (r < 0)
        state_fail(st, r, &dir, "a prepared message cannot be put into .mailfs/kept");
    else
        state_tell(st, &dir,
                   "a prepared message's mailbox is gone on both nodes: see .mailfs/kept/l-*");
}

void stage_keep_homeless(struct state *st) {
    size_t n, i;
    struct stage_prep *v = stage_pick(st, is_homeless, &n);

    for (i = 0; i < n; i++)
        keep_one(st, &v[i]);
    free(v);
}
