/*
 * stage_publish: prepared contents that their origin did not commit get a name in new/; what was
 * used up is removed.
 *
 * A prepared content that a transaction used is noted in the base's table `preps` in the commit
 * that removes the journal entry, before its file is removed: after a crash in between it is not
 * taken for one that nobody committed. What was published is noted there before it can be seen, so
 * that it is never published twice, and that the origin's transaction, when it comes after all,
 * renames it.
 *
 * preps: incarnation 8, seq 8 -> 'U' (used up, the file goes) 'P' container 16, name
 *   (about to be published), 'D' the same (published)
 *
 * Diagnostics: a message that could not be published, with the container.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alias.h"
#include "base.h"
#include "io/io.h"
#include "maildir/name.h"
#include "merge_int.h"
#include "stage.h"
#include "state_int.h"
#include "store.h"
#include "util/bytes.h"
#include "util/str.h"

static void prep_bytes(uint64_t incarnation, uint64_t seq, uint8_t key[16]) {
    bytes_put_u64(key, incarnation);
    bytes_put_u64(key + 8, seq);
}

struct prep_rec {
    uint8_t key[16];
    struct mailfs_id dir;
    char name[STAGE_NAME_MAX];
    bool del;
    bool done; /* its name in new/ is durable */
};

static int prep_write(struct db_txn *txn, void *arg) {
    struct prep_rec *p = arg;
    uint8_t val[1 + MAILFS_ID_BYTES + STAGE_NAME_MAX];
    size_t n = strlen(p->name);
    int r;

    if (p->del) {
        r = db_del(txn, T_PREPS, p->key, sizeof(p->key));
        return r == -ENOENT ? 0 : r;
    }
    val[0] = p->done ? 'D' : 'P';
    memcpy(val + 1, p->dir.b, MAILFS_ID_BYTES);
    memcpy(val + 1 + MAILFS_ID_BYTES, p->name, n);
    return db_put(txn, T_PREPS, p->key, sizeof(p->key), val, 1 + MAILFS_ID_BYTES + n);
}

static int prep_read(struct db_txn *txn, void *arg) {
    struct prep_rec *p = arg;
    struct db_val v;
    int r = db_get(txn, T_PREPS, p->key, sizeof(p->key), &v);
    const uint8_t *b = v.p;

    if (r < 0)
        return r;
    if (v.n < 2 + MAILFS_ID_BYTES || (b[0] != 'P' && b[0] != 'D'))
        return -ENOENT;
    memcpy(p->dir.b, b + 1, MAILFS_ID_BYTES);
    return str_copyn(p->name, sizeof(p->name), (const char *)b + 1 + MAILFS_ID_BYTES,
                     v.n - 1 - MAILFS_ID_BYTES);
}

int stage_published(struct state *st, uint64_t incarnation, uint64_t seq, struct mailfs_id *dir,
                    char name[STAGE_NAME_MAX]) {
    struct prep_rec p = {.name = ""};
    int r;

    prep_bytes(incarnation, seq, p.key);
    r = db_view(st->db, prep_read, &p);
    if (r < 0)
        return r;
    *dir = p.dir;
    return str_copy(name, STAGE_NAME_MAX, p.name);
}

int stage_unpublish(struct state *st, uint64_t incarnation, uint64_t seq) {
    struct prep_rec p = {.del = true};

    prep_bytes(incarnation, seq, p.key);
    return db_update(st->db, prep_write, &p);
}

struct pub_list {
    const struct mailfs_id *dir;
    struct stage_pub *v;
    size_t n;
};

static int pub_add(struct pub_list *l, const struct db_iter *it) {
    const uint8_t *k = it->key.p, *b = it->val.p;
    struct stage_pub *v;

    if (it->key.n != 16 || it->val.n < 2 + MAILFS_ID_BYTES || (b[0] != 'P' && b[0] != 'D') ||
        memcmp(b + 1, l->dir->b, MAILFS_ID_BYTES) != 0)
        return 0;
    v = realloc(l->v, (l->n + 1) * sizeof(*v));
    if (!v)
        return -ENOMEM;
    l->v = v;
    v += l->n++;
    v->incarnation = bytes_get_u64(k);
    v->seq = bytes_get_u64(k + 8);
    return str_copyn(v->name, sizeof(v->name), (const char *)b + 1 + MAILFS_ID_BYTES,
                     it->val.n - 1 - MAILFS_ID_BYTES);
}

static int pub_read(struct db_txn *txn, void *arg) {
    struct db_iter it;
    int r;

    for (r = db_iter_first(txn, T_PREPS, NULL, 0, &it); r == 0; r = db_iter_next(&it)) {
        r = pub_add(arg, &it);
        if (r < 0)
            break;
    }
    db_iter_end(&it);
    return r == -ENOENT ? 0 : r;
}

static int pub_cmp(const void *a, const void *b) {
    return strcmp(((const struct stage_pub *)a)->name, ((const struct stage_pub *)b)->name);
}

int stage_published_in(struct state *st, const struct mailfs_id *dir, struct stage_pub **v,
                       size_t *n) {
    struct pub_list l = {.dir = dir};
    int r = db_view(st->db, pub_read, &l);

    if (r < 0) {
        free(l.v);
        return r;
    }
    if (l.n)
        qsort(l.v, l.n, sizeof(*l.v), pub_cmp);
    *v = l.v;
    *n = l.n;
    return 0;
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
        if (r == 0 && store_sub_open(st, d, MFP__SUB__NEW, depth == 0) >= 0)
            return 0;
        store_dir_close(d);
        if (mailfs_id_is_root(&id))
            return -ENOENT;
        if (base_dir_get(st, &id, &rec) == 0)
            id = rec.parent;
        else if (depth == 0)
            id = *parent; /* removed since, and nobody knows its place any more */
        else
            return -ENOENT;
    }
    return -ENOENT;
}

static bool is_same_file(int dir, const char *name, int stage, const char *file) {
    struct stat a, b;

    return fstatat(dir, name, &a, AT_SYMLINK_NOFOLLOW) == 0 &&
           fstatat(stage, file, &b, AT_SYMLINK_NOFOLLOW) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
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
        return !is_same_file(fd, name, st->stage, file);
    if (base_msg_get(st, BASE_AGREED, &d->id, base, &msg) == 0)
        return 1;
    r = stage_published_in(st, &d->id, &pubs, &n);
    if (r < 0)
        return r;
    r = n > 0 && bsearch(&key, pubs, n, sizeof(*pubs), pub_cmp) != NULL;
    free(pubs);
    return r;
}

/* The name it had in tmp/. Postfix gives that to all that one process delivers within a second:
 * then the number of the prepared content is behind it. */
static int publish_name(struct state *st, struct store_dir *d, const struct stage_prep *prep,
                        const char *file, const char *tmp_name, char name[STAGE_NAME_MAX]) {
    struct mailfs_id dir;
    int r;

    if (stage_published(st, prep->incarnation, prep->seq, &dir, name) == 0 &&
        mailfs_id_equal(&dir, &d->id))
        return 0; /* before syncd was killed */
    r = name_taken(st, d, file, tmp_name);
    if (r < 0)
        return r;
    return r == 0 ? str_copy(name, STAGE_NAME_MAX, tmp_name)
                  : str_printf(name, STAGE_NAME_MAX, "%s.%" PRIx64, tmp_name, prep->seq);
}

/* rec: what is noted of it, with its name. */
static int publish_in(struct state *st, struct store_dir *d, const struct stage_prep *prep,
                      const char *file, const char *tmp_name, uint64_t gen, struct prep_rec *rec) {
    int fd = d->fd[MFP__SUB__NEW];
    int r = publish_name(st, d, prep, file, tmp_name, rec->name);

    rec->dir = d->id;
    prep_bytes(prep->incarnation, prep->seq, rec->key);
    if (r == 0)
        r = stage_sync(st);
    if (r == 0)
        r = state_mark(st, &d->id, gen);
    if (r == 0)
        r = db_update(st->db, prep_write, rec);
    if (r == 0)
        r = io_link(st->stage, file, fd, rec->name);
    if (r == -EEXIST && is_same_file(fd, rec->name, st->stage, file))
        r = 0;
    if (r == 0)
        r = io_fsync(fd);
    rec->done = true;
    if (r == 0)
        r = db_update(st->db, prep_write, rec);
    if (r == 0)
        r = io_unlink(st->stage, file);
    return r;
}

/* ---- what a merge has given its name ------------------------------------------------ */

/* It has a name somewhere, and not the one under which it was about to be published: a merge had
 * given it that name, and was not finished; or with the base the records of what was used up are
 * gone. */
static bool is_linked(struct state *st, uint64_t incarnation, uint64_t seq, const char *file) {
    char name[STAGE_NAME_MAX];
    struct mailfs_id dir;
    struct stat sb;

    return fstatat(st->stage, file, &sb, AT_SYMLINK_NOFOLLOW) == 0 && sb.st_nlink > 1 &&
           stage_published(st, incarnation, seq, &dir, name) == -ENOENT;
}

struct find_link {
    int dir, stage;
    const char *file;
};

static int find_link(void *arg, const char *name, unsigned char type) {
    const struct find_link *f = arg;

    return type == DT_REG && is_same_file(f->dir, name, f->stage, f->file);
}

static bool has_link(struct state *st, int dir, const char *file) {
    struct find_link f = {dir, st->stage, file};

    return dir >= 0 && store_each_name(dir, find_link, &f) == 1;
}

/* The mailbox it was prepared for. */
static int own_dir(struct state *st, const struct mailfs_id *id, struct store_dir *d) {
    struct mailfs_id now;
    int r = store_dir_open(st, id, d);

    return r == -ENOENT && alias_now(st, id, &now) ? store_dir_open(st, &now, d) : r;
}

/* Which part of it has a name of the message; 0: none. */
static int own_name(struct state *st, struct store_dir *d, const char *file) {
    if (has_link(st, store_sub_open(st, d, MFP__SUB__NEW, false), file))
        return MFP__SUB__NEW;
    return has_link(st, store_sub_open(st, d, MFP__SUB__CUR, false), file) ? MFP__SUB__CUR : 0;
}

/* Its client expunged it since. */
static bool was_expunged(struct state *st, const struct store_dir *d, const char *file) {
    char hex[MAILFS_ID_HEX];
    int fd = st->undo < 0 ? -1
                          : io_open_beneath(st->undo, mailfs_id_format(&d->id, hex),
                                            O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    bool found = has_link(st, fd, file);

    if (fd >= 0)
        close(fd);
    return found;
}

/*
 * Its mailbox has it: a merge that the disk had no room to finish gave it its name, and the link
 * went before the next one. Under a second name it would be a second message. The name is to be on
 * the disk before the stage has it no more.
 */
static bool is_there_already(struct state *st, const struct stage_prep *prep,
                             const struct mailfs_id *id, const char *file) {
    struct store_dir d;
    bool there = false;
    int sub;

    if (!is_linked(st, prep->incarnation, prep->seq, file))
        return false;
    if (own_dir(st, id, &d) == 0) {
        sub = own_name(st, &d, file);
        there = sub ? io_fsync(d.fd[sub]) == 0 : was_expunged(st, &d, file);
    }
    store_dir_close(&d);
    return there;
}

/* Reserves the item. 0; 1: nothing to publish. */
static int publish_take(struct state *st, const char *key, struct mailfs_id *dir,
                        struct mailfs_id *parent, char file[STAGE_NAME_MAX],
                        char tmp[STAGE_NAME_MAX]) {
    struct stage_item *it;
    int r = 1;

    state_lock(st);
    it = stage_find(st, key);
    if (it && it->is_prep && it->refs == 0 && !it->used && !it->gone) {
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

static void publish_done(struct state *st, const char *key, int err) {
    struct stage_item *it;

    state_lock(st);
    it = stage_find(st, key);
    if (it && err == 0) {
        stage_item_free(st, it);
    } else if (it) {
        it->used = false;
        it->homeless = it->homeless || err == -ENOENT; /* also after an error of the disk */
    }
    state_unlock(st);
}

int stage_publish(struct state *st, const struct stage_prep *prep, uint64_t gen,
                  struct invals *iv) {
    char key[STAGE_NAME_MAX], file[STAGE_NAME_MAX], tmp[STAGE_NAME_MAX];
    struct prep_rec rec = {.done = false};
    struct mailfs_id dir, parent;
    struct store_dir d;
    int r;

    stage_prep_key(prep->incarnation, prep->seq, key);
    r = publish_take(st, key, &dir, &parent, file, tmp);
    if (r)
        return r;
    if (is_there_already(st, prep, &dir, file)) {
        io_unlink(st->stage, file);
        publish_done(st, key, 0);
        return 0;
    }
    r = publish_dir(st, dir, &parent, &d);
    if (r == 0)
        r = publish_in(st, &d, prep, file, tmp, gen, &rec);
    publish_done(st, key, r);
    if (r == 0) {
        inval_add(iv, &d.id, MFL__SUB__NEW, NULL, rec.name, false);
        inval_poke(iv, &d.id, MFL__SUB__NEW);
    }
    store_dir_close(&d);
    return r < 0 ? state_fail(st, r, &dir, "cannot publish a prepared message") : 0;
}

typedef bool pick_fn(struct state *st, const struct stage_item *it); /* under the mutex */

/* NULL: no memory. */
static struct stage_prep *pick(struct state *st, pick_fn *fn, size_t *n) {
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
    v = pick(st, is_homeless, &n);
    for (i = 0; i < n; i++)
        stage_publish(st, &v[i], gen, iv); /* which tells of errors */
    free(v);
}

static void keep_one(struct state *st, const struct stage_prep *prep) {
    char key[STAGE_NAME_MAX], file[STAGE_NAME_MAX], tmp[STAGE_NAME_MAX];
    struct mailfs_id dir, parent;
    int r;

    stage_prep_key(prep->incarnation, prep->seq, key);
    if (publish_take(st, key, &dir, &parent, file, tmp))
        return;
    r = stage_sync(st);
    if (r == 0)
        r = merge_keep(st, st->stage, file, 'l', true);
    if (r == 0)
        r = io_fsync(st->kept);
    publish_done(st, key, r);
    if (r < 0)
        state_fail(st, r, &dir, "a prepared message cannot be put into .mailfs/kept");
    else
        state_fail(st, -ENOENT, &dir,
                   "a prepared message's mailbox is gone on both nodes: see .mailfs/kept/l-*");
}

void stage_keep_homeless(struct state *st) {
    size_t n, i;
    struct stage_prep *v = pick(st, is_homeless, &n);

    for (i = 0; i < n; i++)
        keep_one(st, &v[i]);
    free(v);
}

/* ---- start, checkpoint ------------------------------------------------------------- */

/* The item a record of `preps` is about. Under the mutex. */
static struct stage_item *item_of(struct state *st, const struct db_val *k) {
    char key[STAGE_NAME_MAX];

    if (k->n != 16)
        return NULL;
    stage_prep_key(bytes_get_u64(k->p), bytes_get_u64((const uint8_t *)k->p + 8), key);
    return stage_find(st, key);
}

static bool is_used(const struct db_val *v) {
    return v->n && *(const uint8_t *)v->p == 'U';
}

static bool is_published_for_good(const struct db_val *v) {
    return v->n && *(const uint8_t *)v->p == 'D';
}

/* After a crash: what was used up is not there to be published. (What was about to be published may
 * have to be done once more: it is not marked.) */
static int sweep_used(struct db_txn *txn, void *arg) {
    struct state *st = arg;
    struct stage_item *item;
    struct db_iter it;
    int r;

    for (r = db_iter_first(txn, T_PREPS, NULL, 0, &it); r == 0; r = db_iter_next(&it)) {
        item = item_of(st, &it.key);
        if (item && item->refs == 0 && (is_used(&it.val) || is_published_for_good(&it.val)))
            item->used = true;
    }
    db_iter_end(&it);
    return r == -ENOENT ? 0 : r;
}

/* Under the mutex. */
static bool is_named(struct state *st, const struct stage_item *it) {
    return it->is_prep && it->refs == 0 && !it->used &&
           is_linked(st, it->incarnation, it->seq, it->file);
}

/*
 * A name elsewhere may be a copy's: the message itself is not merged yet, and this may be all that
 * is here of it. (Was it moved to another mailbox since, it comes back, and that is no loss.) Where
 * the mailbox is not known, removed or lost with the base, each name is its own.
 */
static bool used_before(struct state *st, const struct mailfs_id *id, const char *file) {
    struct store_dir d;
    int r = own_dir(st, id, &d);
    bool used = r == -ENOENT || (r == 0 && (own_name(st, &d, file) || was_expunged(st, &d, file)));

    store_dir_close(&d);
    return used;
}

static void sweep_one(struct state *st, const struct stage_prep *prep) {
    char key[STAGE_NAME_MAX], file[STAGE_NAME_MAX], tmp[STAGE_NAME_MAX];
    struct mailfs_id dir, parent;

    stage_prep_key(prep->incarnation, prep->seq, key);
    if (publish_take(st, key, &dir, &parent, file, tmp) == 0 && !used_before(st, &dir, file))
        publish_done(st, key, -EEXIST);
}

/* What was used up by a merge of which there is no record. */
static int sweep_named(struct state *st) {
    size_t n, i;
    struct stage_prep *v = pick(st, is_named, &n);

    for (i = 0; i < n; i++)
        sweep_one(st, &v[i]);
    free(v);
    return v ? 0 : -ENOMEM;
}

/* What was fetched, and after a power cut may be less than it says, is fetched again. */
static bool is_kept(const struct state *st, const struct stage_item *it) {
    return it->refs || (!it->is_prep && st->recent.whole);
}

int stage_leftovers(struct state *st, struct stage_prep **preps, size_t *n) {
    struct stage_item *it, *tmp;
    struct stage_prep *v;
    size_t k = 0;
    int r;

    *preps = NULL;
    *n = 0;
    state_lock(st);
    r = db_view(st->db, sweep_used, st);
    state_unlock(st);
    if (r == 0)
        r = sweep_named(st);
    state_lock(st);
    v = calloc(HASH_COUNT(st->items) + 1, sizeof(*v));
    HASH_ITER(hh, st->items, it, tmp) {
        if (r < 0 || !v || is_kept(st, it))
            continue;
        if (it->is_prep && !it->used) {
            v[k].incarnation = it->incarnation;
            v[k++].seq = it->seq;
        } else {
            io_unlink(st->stage, it->file);
            stage_item_free(st, it);
        }
    }
    state_unlock(st);
    if (r < 0 || !v) {
        free(v);
        return state_fail(st, r < 0 ? r : -ENOMEM, NULL, "cannot read the stage");
    }
    *preps = v;
    *n = k;
    return 0;
}

/* Records of what was used up and whose file is gone (the sync before this commit made that sure).
 */
static int drop_old_used(struct state *st, struct db_txn *txn) {
    struct db_iter it;
    bool there;
    int r;

    for (r = db_iter_first(txn, T_PREPS, NULL, 0, &it); r == 0; r = db_iter_next(&it)) {
        if (!is_used(&it.val))
            continue;
        state_lock(st);
        there = item_of(st, &it.key) != NULL;
        state_unlock(st);
        if (!there && (r = db_iter_del(&it)) < 0)
            break;
    }
    db_iter_end(&it);
    return r == -ENOENT ? 0 : r;
}

int stage_checkpoint_write(struct state *st, struct db_txn *txn, const struct jentry *const *v,
                           size_t n) {
    uint64_t inc, seq;
    uint8_t key[16];
    size_t i, j;
    int r = drop_old_used(st, txn);

    for (i = 0; i < n; i++) {
        for (j = 0; r == 0 && j < v[i]->n_names; j++) {
            if (sscanf(v[i]->names[j], "p-%16" SCNx64 "-%16" SCNx64, &inc, &seq) != 2)
                continue;
            prep_bytes(inc, seq, key);
            r = db_put(txn, T_PREPS, key, sizeof(key), "U", 1);
        }
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
