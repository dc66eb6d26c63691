/*
 * stage_used: prepared contents that were used up are removed, at a start and at a checkpoint.
 *
 * A start also finds what nobody has used, which is published then. The records are those of
 * stage_named.c. They are read without the mutex: a checkpoint takes it within its transaction, and
 * one that has to grow the map stands between the two.
 *
 * Diagnostics: a stage that cannot be read; info: what a power cut has torn.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/hash.h"
#include "io/io.h"
#include "io/sum.h"
#include "stage_private.h"
#include "util/bytes.h"
#include "util/log.h"

/* Under the mutex. */
static struct stage_item *item_of(struct state *st, const struct stage_prep *prep) {
    char key[STAGE_NAME_MAX];

    stage_prep_key(prep->incarnation, prep->seq, key);
    return stage_find(st, key);
}

/* What a record of `preps` is about. */
static struct stage_prep prep_of(const struct db_val *k) {
    if (k->n != 16)
        return (struct stage_prep){0, 0}; /* none */
    return (struct stage_prep){bytes_get_u64(k->p), bytes_get_u64((const uint8_t *)k->p + 8)};
}

static bool is_used(const struct db_val *v) {
    return v->n && *(const uint8_t *)v->p == 'U';
}

static bool is_published_for_good(const struct db_val *v) {
    return v->n && *(const uint8_t *)v->p == 'D';
}

/* ---- what was published ------------------------------------------------------------ */

/* Of one that has its name for good the stage has something still, as that could not be removed:
 * from now on nobody publishes it. */
static bool take_left(struct state *st, const char *key) {
    struct stage_item *it;
    bool left;

    state_lock(st);
    it = stage_find(st, key);
    left = it && !it->gone && it->refs == 0;
    if (left)
        it->used = true;
    state_unlock(st);
    return left;
}

/* err: of noting that. */
static void left_noted(struct state *st, const char *key, int err) {
    struct stage_item *it;

    if (err == 0)
        stage_release(st, key);
    state_lock(st);
    it = err < 0 ? stage_find(st, key) : NULL;
    if (it && it->refs == 0)
        it->used = false;
    state_unlock(st);
}

int stage_unpublish(struct state *st, uint64_t incarnation, uint64_t seq) {
    struct stage_record rec = {.del = true};
    char key[STAGE_NAME_MAX];
    struct stage_pub pub;
    int r = stage_published(st, incarnation, seq, &pub);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    stage_prep_key(incarnation, seq, key);
    rec.used = pub.done && take_left(st, key);
    rec.del = !rec.used;
    stage_record_key(incarnation, seq, rec.key);
    r = db_update(st->db, stage_record_write, &rec);
    if (rec.used)
        left_noted(st, key, r);
    return r;
}

/* ---- at a start -------------------------------------------------------------------- */

struct used {
    struct stage_prep *v;
    size_t n;
};

static int used_add(struct used *u, struct stage_prep prep) {
    struct stage_prep *v = realloc(u->v, (u->n + 1) * sizeof(*v));

    if (!v)
        return -ENOMEM;
    u->v = v;
    v[u->n++] = prep;
    return 0;
}

static int read_used(struct db_txn *txn, void *arg) {
    struct db_iter it;
    int r;

    for (r = db_iter_first(txn, T_PREPS, NULL, 0, &it); r == 0; r = db_iter_next(&it)) {
        if ((is_used(&it.val) || is_published_for_good(&it.val)) &&
            (r = used_add(arg, prep_of(&it.key))) < 0)
            break;
    }
    db_iter_end(&it);
    return r == -ENOENT ? 0 : r;
}

/* After a crash: what was used up is not there to be published. (What was about to be published may
 * have to be done once more: it is not marked.) */
static int sweep_used(struct state *st) {
    struct used u = {NULL, 0};
    struct stage_item *it;
    int r = db_view(st->db, read_used, &u);
    size_t i;

    state_lock(st);
    for (i = 0; r == 0 && i < u.n; i++) {
        it = item_of(st, &u.v[i]);
        if (it && it->refs == 0)
            it->used = true;
    }
    state_unlock(st);
    free(u.v);
    return r;
}

/* Under the mutex. (Of what is noted as published none is left.) */
static bool is_named(struct state *st, const struct stage_item *it) {
    return it->is_prep && it->refs == 0 && !it->used && stage_has_links(st, it->file);
}

static void sweep_one(struct state *st, const struct stage_prep *prep) {
    char key[STAGE_NAME_MAX], file[STAGE_NAME_MAX], tmp[STAGE_NAME_MAX];
    struct mailfs_id dir, parent;

    stage_prep_key(prep->incarnation, prep->seq, key);
    if (stage_take(st, key, &dir, &parent, file, tmp) == 0 &&
        !stage_used_before(st, prep, &dir, file))
        stage_taken(st, key, -EEXIST);
}

/* What was used up by a merge of which there is no record. */
static int sweep_named(struct state *st) {
    size_t n, i;
    struct stage_prep *v = stage_pick(st, is_named, &n);

    for (i = 0; i < n; i++)
        sweep_one(st, &v[i]);
    free(v);
    return v ? 0 : -ENOMEM;
}

/* Under the mutex. */
static bool is_unused(struct state *st, const struct stage_item *it) {
    (void)st;
    return it->is_prep && it->refs == 0 && !it->used;
}

static bool fits_sum(struct state *st, const char *file) {
    int fd = io_open_beneath(st->stage, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    uint8_t sha256[IO_HASH_BYTES];
    struct io_sum sum;
    bool fits;

    if (fd < 0)
        return true; /* whoever publishes it says so */
    fits = io_sum_get(fd, &sum) != 0 || io_hash_fd(fd, sha256) != 0 ||
           memcmp(sum.sha256, sha256, sizeof(sha256)) == 0;
    close(fd);
    return fits;
}

static int copy_to(int fd, struct stage_file *f) {
    uint8_t buf[64u << 10];
    uint64_t at = 0;
    ssize_t n;
    int r = 0;

    while (r == 0 && (n = pread(fd, buf, sizeof(buf), (off_t)at)) != 0) {
        if (n < 0)
            return -errno;
        r = stage_write(f, at, buf, (size_t)n);
        at += (uint64_t)n;
    }
    return r;
}

/*
 * Of an earlier life, in the page cache: as if it were on the disk, but a sync of it may have
 * failed, and no later one writes it then. So it is written once more. Not one that has another
 * name already, for which it was durable. An error: it stays as it is.
 */
static void write_again(struct state *st, const char *key, const char *file) {
    int fd = io_open_beneath(st->stage, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0), r;
    struct stage_file *f;
    struct io_sum sum;
    struct stat sb;

    if (fd < 0)
        return;
    if (io_sum_get(fd, &sum) == 0 && fstat(fd, &sb) == 0 && sb.st_nlink == 1 &&
        stage_begin_again(st, key, file, &sb, &f) == 0) {
        r = copy_to(fd, f);
        if (r == 0)
            (void)stage_commit(f, STAGE_DURABLE);
        else
            stage_abandon(f);
    }
    close(fd);
}

static void sweep_torn_one(struct state *st, const struct stage_prep *prep) {
    char key[STAGE_NAME_MAX], file[STAGE_NAME_MAX], tmp[STAGE_NAME_MAX];
    struct mailfs_id dir, parent;

    stage_prep_key(prep->incarnation, prep->seq, key);
    if (stage_take(st, key, &dir, &parent, file, tmp))
        return;
    if (fits_sum(st, file)) {
        if (st->recent.whole)
            write_again(st, key, file);
        stage_taken(st, key, -EEXIST);
        return;
    }
    log_info("%s: a content that the disk has not, and nobody was told to be here: dropped", file);
    io_unlink(st->stage, file);
    stage_taken(st, key, 0);
}

/*
 * After a power cut a content may be as long as its name says, and hold zeros: ext4 writes the size
 * when it begins to write the data, not after (fs/ext4/inode.c, mpage_map_and_submit_extent()). Its
 * checksum was set before it was synced; so one that does not fit it was not, nor acknowledged.
 * (Where it could not be set, nothing tells, and it is kept.) The same after a kill, before which a
 * sync may have failed.
 */
static int sweep_torn(struct state *st) {
    size_t n, i;
    struct stage_prep *v;

    v = stage_pick(st, is_unused, &n);
    for (i = 0; i < n; i++)
        sweep_torn_one(st, &v[i]);
    free(v);
    return v ? 0 : -ENOMEM;
}

/* What was fetched, and after a power cut may be less than it says, is fetched again. */
static bool is_kept(const struct state *st, const struct stage_item *it) {
    return it->refs || (!it->is_prep && (st->recent.whole || st->stage_whole));
}

int stage_leftovers(struct state *st, struct stage_prep **preps, size_t *n) {
    struct stage_item *it, *tmp, *dropped = NULL;
    struct stage_prep *v;
    size_t k = 0;
    int r;

    *preps = NULL;
    *n = 0;
    r = sweep_used(st);
    if (r == 0)
        r = sweep_named(st);
    if (r == 0)
        r = sweep_torn(st);
    state_lock(st);
    v = calloc(HASH_COUNT(st->items) + 1, sizeof(*v));
    HASH_ITER(hh, st->items, it, tmp) {
        if (r < 0 || !v || is_kept(st, it))
            continue;
        if (it->is_prep && !it->used) {
            v[k].incarnation = it->incarnation;
            v[k++].seq = it->seq;
        } else {
            stage_item_drop(st, it, &dropped);
        }
    }
    st->stage_whole = st->stage_whole || (r == 0 && v);
    state_unlock(st);
    stage_unlink(st, dropped);
    if (r < 0 || !v) {
        free(v);
        return state_fail(st, r < 0 ? r : -ENOMEM, NULL, "cannot read the stage");
    }
    *preps = v;
    *n = k;
    return 0;
}

/* ---- at a checkpoint --------------------------------------------------------------- */

static bool has_item(struct state *st, const struct stage_prep *prep) {
    bool has;

    state_lock(st);
    has = item_of(st, prep) != NULL;
    state_unlock(st);
    return has;
}

/* Records of what was used up, or about to be published, and whose file is gone (the sync before
 * this commit made that sure): who published it notes that before its file goes. */
static int drop_old(struct state *st, struct db_txn *txn) {
    struct stage_prep prep;
    struct db_iter it;
    int r;

    for (r = db_iter_first(txn, T_PREPS, NULL, 0, &it); r == 0; r = db_iter_next(&it)) {
        if (is_published_for_good(&it.val))
            continue;
        prep = prep_of(&it.key);
        if (!has_item(st, &prep) && (r = db_iter_del(&it)) < 0)
            break;
    }
    db_iter_end(&it);
    return r == -ENOENT ? 0 : r;
}

/* Its origin has named it, and the base on the disk says so from now on. Not while the stage has it
 * still, as that could not be removed: it would be published once more. */
static int forget_published(struct state *st, struct db_txn *txn, const struct stage_prep *prep) {
    struct db_val v;
    uint8_t key[16];
    int r;

    stage_record_key(prep->incarnation, prep->seq, key);
    r = db_get(txn, T_PREPS, key, sizeof(key), &v);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    return is_published_for_good(&v) && !has_item(st, prep) ? db_del(txn, T_PREPS, key, sizeof(key))
                                                            : 0;
}

int stage_checkpoint_write(struct state *st, struct db_txn *txn, const struct jentry *const *v,
                           size_t n) {
    uint64_t inc, seq;
    uint8_t key[16];
    size_t i, j;
    int r = drop_old(st, txn);

    for (i = 0; i < n; i++) {
        for (j = 0; r == 0 && j < v[i]->n_names; j++) {
            if (sscanf(v[i]->names[j], "p-%16" SCNx64 "-%16" SCNx64, &inc, &seq) != 2)
                continue;
            stage_record_key(inc, seq, key);
            r = db_put(txn, T_PREPS, key, sizeof(key), "U", 1);
        }
        for (j = 0; r == 0 && j < v[i]->n_published; j++)
            r = forget_published(st, txn, &v[i]->published[j]);
    }
    return r;
}

void stage_checkpoint_done(struct state *st, const struct jentry *const *v, size_t n) {
    size_t i, j;

    state_lock(st);
    for (i = 0; i < n; i++) {
        for (j = 0; j < v[i]->n_names; j++) {
            struct stage_item *it = stage_find(st, v[i]->names[j]);
            if (!it || it->refs == 0 || --it->refs)
                continue;
            if (!it->gone)
                io_unlink(st->stage, it->file);
            stage_item_free(st, it);
        }
    }
    state_unlock(st);
}
