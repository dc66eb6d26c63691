/*
 * content: what transactions and listings refer to, and where it is.
 *
 * A message that a transaction adds comes from a prepared content, from a message that is here
 * already (the origin made a hard link), or is fetched. All three end as an item of the stage,
 * which the journal entry holds until the transaction has been applied and synced.
 *
 * Diagnostics: none here, but of the stage.
 */
#include "content.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base.h"
#include "index.h"
#include "io/hash.h"
#include "io/io.h"
#include "maildir/class.h"
#include "stage.h"
#include "state_int.h"
#include "store.h"
#include "util/str.h"
#include "wire/check.h"

void content_wants_free(struct content_wants *w) {
    size_t i;

    for (i = 0; i < w->n; i++) {
        free(w->v[i].name);
        free(w->v[i].info);
    }
    free(w->v);
    w->v = NULL;
    w->n = 0;
}

static int want(struct content_wants *w, const struct mailfs_id *dir, int sub, const char *name,
                uint64_t size) {
    struct content_want *v;

    if ((w->n & (w->n - 1)) == 0) { /* full at each power of two */
        v = realloc(w->v, (w->n ? 2 * w->n : 1) * sizeof(*v));
        if (!v)
            return -ENOMEM;
        w->v = v;
    }
    v = &w->v[w->n];
    *v = (struct content_want){.dir = *dir, .sub = sub, .size = size, .mtime = INT64_MAX};
    v->by_base = sub != MFP__SUB__SELF;
    v->name = strdup(name);
    if (!v->name)
        return -ENOMEM;
    w->n++;
    return 0;
}

bool content_op_adds(const Mfp__OpMsg *op) {
    return op->now && op->now->sub != MFP__SUB__SELF &&
           (!op->old || op->old->sub == MFP__SUB__SELF);
}

static bool op_needs_file(const Mfp__OpFile *op) {
    return op->now && S_ISREG(op->now->type) && !op->has_content;
}

static bool staged(struct state *st, const char *key) {
    struct stage_item *it;
    bool there;

    state_lock(st);
    it = stage_find(st, key);
    there = it && !it->gone;
    state_unlock(st);
    return there;
}

/* The prepared content an added message has, under this key, or "" */
static void prep_key_of(const Mfp__OpMsg *op, char key[STAGE_NAME_MAX]) {
    key[0] = '\0';
    if (op->source && op->source->prepared)
        stage_prep_key(op->source->prepared->incarnation, op->source->prepared->seq, key);
}

/* The stage item an added message comes from: what was fetched for it, else the prepared one. */
static void item_key_of(struct state *st, const struct mailfs_id *dir, const Mfp__OpMsg *op,
                        char key[STAGE_NAME_MAX]) {
    stage_fetch_name(dir, MFP__SUB__CUR, op->bname, key);
    if (staged(st, key))
        return;
    prep_key_of(op, key);
    if (*key == '\0' || !staged(st, key))
        stage_fetch_name(dir, MFP__SUB__CUR, op->bname, key);
}

/* A copy of it bears the same number, and is another message: it is not what was published, and not
 * removed with it. */
bool content_published(struct state *st, const struct mailfs_id *dir, const Mfp__OpMsg *op,
                       char name[STAGE_NAME_MAX]) {
    const Mfp__Source *src = op->source;
    struct mailfs_id in;

    return src && src->prepared && src->dir.len == 0 &&
           stage_published(st, src->prepared->incarnation, src->prepared->seq, &in, name) == 0 &&
           mailfs_id_equal(&in, dir);
}

static bool op_is_published(struct state *st, const struct mailfs_id *dir, const Mfp__OpMsg *op) {
    char name[STAGE_NAME_MAX];

    return content_published(st, dir, op, name);
}

/* Links a message that is in some mailbox here into the stage. */
static int pin_message(struct state *st, const struct mailfs_id *from, const char *base,
                       const char *hint, const char *key) {
    char name[MAILDIR_NAME_MAX + 1];
    struct store_dir d;
    int r = store_dir_open(st, from, &d), sub, fd;

    if (r < 0)
        return r;
    r = store_msg_find(st, &d, base, hint, &sub, name);
    if (r == 0) {
        fd = io_open_beneath(d.fd[sub], name, O_RDONLY, 0);
        r = fd < 0 ? fd : stage_pin(st, fd, key);
        if (fd >= 0)
            close(fd);
    }
    store_dir_close(&d);
    return r;
}

static const char *full_name(const char *base, const char *info, char out[MAILDIR_NAME_MAX + 1]) {
    if (!info || !*info)
        return base;
    if (maildir_name_format_info(out, MAILDIR_NAME_MAX + 1, base, strlen(base), info,
                                 strlen(info)) < 0)
        return base;
    return out;
}

/* Where a message is by the base's record: saves reading the directory. */
static const char *hint_of(struct state *st, const struct mailfs_id *dir, const char *base,
                           char out[MAILDIR_NAME_MAX + 1]) {
    struct base_msg msg;

    if (base_msg_get(st, BASE_SENT, dir, base, &msg) < 0)
        return NULL;
    return full_name(base, msg.info, out);
}

/* The source is itself a message not applied yet (copied twice in one transaction, say). */
static int pin_staged(struct state *st, const struct mailfs_id *from, const char *base,
                      const char *key) {
    char have[STAGE_NAME_MAX], file[STAGE_NAME_MAX];
    struct stage_item *it;
    int fd, r;

    stage_fetch_name(from, MFP__SUB__CUR, base, have);
    state_lock(st);
    it = stage_find(st, have);
    r = it ? str_copy(file, sizeof(file), it->file) : -ENOENT;
    state_unlock(st);
    if (r < 0)
        return -ENOENT;
    fd = io_open_beneath(st->stage, file, O_RDONLY, 0);
    r = fd < 0 ? fd : stage_pin(st, fd, key);
    if (fd >= 0)
        close(fd);
    return r;
}

/* What the base does not know is not looked for in the directories: that would be a reading of all
 * names for each message. It is fetched. */
static int pin_source(struct state *st, const Mfp__Source *src, const char *key) {
    char buf[MAILDIR_NAME_MAX + 1];
    struct mailfs_id from;
    const char *hint;
    int r;

    if (!src || src->dir.len == 0 || wire_id(&src->dir, &from) < 0 ||
        maildir_name_check(src->bname, strlen(src->bname), MAILDIR_NAME_BASE) < 0)
        return -ENOENT;
    r = pin_staged(st, &from, src->bname, key);
    if (r != -ENOENT)
        return r;
    hint = hint_of(st, &from, src->bname, buf);
    return hint ? pin_message(st, &from, src->bname, hint, key) : -ENOENT;
}

/* It is here already: sent again in another epoch, or both delivered it. Directories are read only
 * when the base knows it. */
static int pin_present(struct state *st, const struct mailfs_id *dir, const Mfp__OpMsg *op,
                       const char *key) {
    char buf[MAILDIR_NAME_MAX + 1];
    const char *name = full_name(op->bname, op->now->info, buf);
    struct base_msg msg;
    struct store_dir d;
    struct stat sb;
    int r, fd;

    if (base_msg_get(st, BASE_SENT, dir, op->bname, &msg) == 0)
        return pin_message(st, dir, op->bname, name, key);
    r = store_dir_open(st, dir, &d);
    if (r < 0)
        return r;
    r = -ENOENT;
    fd = store_sub_open(st, &d, (int)op->now->sub, false);
    if (fd >= 0 && fstatat(fd, name, &sb, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(sb.st_mode))
        r = pin_message(st, dir, op->bname, name, key);
    store_dir_close(&d);
    return r;
}

static int want_msg(struct content_wants *w, const struct mailfs_id *dir, const char *base,
                    const Mfp__MsgState *now, const Mfp__Meta *meta, const Mfp__PrepId *prep) {
    int r = want(w, dir, MFP__SUB__CUR, base, meta ? meta->size : 0);

    if (r == 0 && prep)
        w->v[w->n - 1].prep = (struct stage_prep){prep->incarnation, prep->seq};
    if (r == 0)
        w->v[w->n - 1].info = strdup(now->info ? now->info : "");
    return r;
}

static int missing_msg(struct state *st, const struct mailfs_id *dir, const Mfp__OpMsg *op,
                       struct content_wants *out) {
    char key[STAGE_NAME_MAX];
    int r;

    item_key_of(st, dir, op, key);
    if (staged(st, key) || op_is_published(st, dir, op))
        return 0;
    r = pin_source(st, op->source, key);
    if (r == -ENOENT)
        r = pin_present(st, dir, op, key);
    if (r != -ENOENT)
        return r;
    return want_msg(out, dir, op->bname, op->now, op->meta,
                    op->source ? op->source->prepared : NULL);
}

bool content_is(struct state *st, const char *key, const Mfp__FileState *now) {
    char file[STAGE_NAME_MAX];
    uint8_t hash[IO_HASH_BYTES];
    int fd, r;

    if (stage_lookup(st, key, file) < 0 || now->sha256.len != sizeof(hash))
        return false;
    fd = io_open_beneath(st->stage, file, O_RDONLY, 0);
    if (fd < 0)
        return false;
    r = io_hash_fd(fd, hash);
    close(fd);
    return r == 0 && memcmp(hash, now->sha256.data, sizeof(hash)) == 0;
}

/* More than that is looked for in a worker. */
#define AT_HAND_MAX 16

bool content_at_hand(struct state *st, const Mfp__Txn *txn) {
    char key[STAGE_NAME_MAX];
    struct mailfs_id dir;
    bool all = txn->n_ops <= AT_HAND_MAX && wire_id(&txn->dir, &dir) == 0;

    if (!all || pthread_mutex_trylock(&st->mutex) != 0)
        return false;
    for (size_t i = 0; all && i < txn->n_ops; i++) {
        const Mfp__Op *op = txn->ops[i];
        struct stage_item *it = NULL;
        if (op->op_case == MFP__OP__OP_MSG && content_op_adds(op->msg)) {
            prep_key_of(op->msg, key);
            it = *key ? stage_find(st, key) : NULL;
            all = it && !it->gone;
        } else if (op->op_case == MFP__OP__OP_FILE) {
            all = !op_needs_file(op->file);
        }
    }
    state_unlock(st);
    return all;
}

static int missing_file(struct state *st, const struct mailfs_id *dir, const Mfp__OpFile *op,
                        struct content_wants *out) {
    char key[STAGE_NAME_MAX];

    stage_fetch_name(dir, MFP__SUB__SELF, op->name, key);
    if (content_is(st, key, op->now))
        return 0;
    return want(out, dir, MFP__SUB__SELF, op->name, op->now->meta ? op->now->meta->size : 0);
}

int content_missing(struct state *st, const Mfp__Txn *txn, struct content_wants *out) {
    struct mailfs_id dir;
    size_t i;
    int r = wire_id(&txn->dir, &dir);

    memset(out, 0, sizeof(*out));
    for (i = 0; r == 0 && i < txn->n_ops; i++) {
        const Mfp__Op *op = txn->ops[i];
        out->looked = i;
        if (op->op_case == MFP__OP__OP_MSG && content_op_adds(op->msg))
            r = missing_msg(st, &dir, op->msg, out);
        else if (op->op_case == MFP__OP__OP_FILE && op_needs_file(op->file))
            r = missing_file(st, &dir, op->file, out);
    }
    if (r < 0) {
        content_wants_free(out);
        return state_fail(st, r, &dir, "cannot look for a transaction's contents");
    }
    return 0;
}

int content_gone(struct state *st, const struct content_want *w) {
    char key[STAGE_NAME_MAX];

    stage_fetch_name(&w->dir, w->sub, w->name, key);
    return stage_note_gone(st, key);
}

void content_keys_free(char **keys, size_t n) {
    size_t i;

    for (i = 0; i < n; i++)
        free(keys[i]);
    free(keys);
}

/* The key of what this operation needs; false: nothing. */
static bool key_of_op(struct state *st, const struct mailfs_id *dir, const Mfp__Op *op,
                      char key[STAGE_NAME_MAX]) {
    if (op->op_case == MFP__OP__OP_MSG && content_op_adds(op->msg)) {
        if (op_is_published(st, dir, op->msg))
            return false;
        item_key_of(st, dir, op->msg, key);
        return true;
    }
    if (op->op_case == MFP__OP__OP_FILE && op_needs_file(op->file)) {
        stage_fetch_name(dir, MFP__SUB__SELF, op->file->name, key);
        return true;
    }
    return false;
}

/* The prepared content it uses up, where that is not what it needs: the message was moved out and
 * in again meanwhile, and what was linked for that has the same key. */
static bool also_uses(struct state *st, const Mfp__Op *op, const char *needs,
                      char key[STAGE_NAME_MAX]) {
    prep_key_of(op->msg, key);
    return *key != '\0' && strcmp(key, needs) != 0 && staged(st, key);
}

struct keys {
    char **v;
    size_t n;
};

static int keys_add(struct keys *k, const char *key) {
    k->v[k->n] = strdup(key);
    return k->v[k->n++] ? 0 : -ENOMEM;
}

static int keys_of_op(struct state *st, const struct mailfs_id *dir, const Mfp__Op *op,
                      struct keys *out) {
    char key[STAGE_NAME_MAX], prep[STAGE_NAME_MAX];
    int r;

    if (!key_of_op(st, dir, op, key))
        return 0;
    r = keys_add(out, key);
    if (r == 0 && op->op_case == MFP__OP__OP_MSG && also_uses(st, op, key, prep))
        r = keys_add(out, prep);
    return r;
}

int content_keys(struct state *st, const Mfp__Txn *txn, char ***keys, size_t *n) {
    struct keys k = {NULL, 0};
    struct mailfs_id dir;
    size_t i;
    int r = wire_id(&txn->dir, &dir);

    *keys = NULL;
    *n = 0;
    if (r < 0)
        return r;
    k.v = calloc(2 * txn->n_ops + 1, sizeof(*k.v));
    if (!k.v)
        return -ENOMEM;
    for (i = 0; r == 0 && i < txn->n_ops; i++)
        r = keys_of_op(st, &dir, txn->ops[i], &k);
    if (r < 0) {
        content_keys_free(k.v, k.n);
        return r;
    }
    *keys = k.v;
    *n = k.n;
    return 0;
}

int content_item(struct state *st, const struct mailfs_id *dir, const Mfp__OpMsg *op,
                 char file[STAGE_NAME_MAX]) {
    char key[STAGE_NAME_MAX];

    item_key_of(st, dir, op, key);
    return stage_lookup(st, key, file);
}

/* ---- listings ---------------------------------------------------------------------- */

/* Is it here, and can it be the same message? One of another size is another message. */
static bool have_msg(struct store_dir *d, const struct index *ix, const Mfp__BaseMsg *m) {
    const struct index_msg *have = index_find(ix, m->bname);
    struct stat sb;

    if (!have || !m->meta || d->fd[have->sub] < 0 ||
        fstatat(d->fd[have->sub], have->name, &sb, AT_SYMLINK_NOFOLLOW) < 0)
        return have != NULL;
    return (uint64_t)sb.st_size == m->meta->size;
}

static bool lists(const Mfp__Listing *l, const char *base) {
    size_t i;

    for (i = 0; i < l->n_msgs; i++)
        if (strcmp(l->msgs[i]->bname, base) == 0)
            return true;
    return false;
}

/* It was published here, and the merge will see that it is this one: merge_published(). */
static bool will_join(struct state *st, const struct mailfs_id *dir, const struct index *ix,
                      const Mfp__Listing *theirs, const Mfp__PrepId *prep) {
    char name[STAGE_NAME_MAX];
    struct mailfs_id in;
    struct base_msg msg;

    return prep && stage_published(st, prep->incarnation, prep->seq, &in, name) == 0 &&
           mailfs_id_equal(&in, dir) && index_find(ix, name) && !lists(theirs, name) &&
           base_msg_get(st, BASE_AGREED, dir, name, &msg) == -ENOENT;
}

/* Staged, and not another message of that name, of a round that was put off. */
static bool staged_as(struct state *st, const char *key, const Mfp__Meta *meta) {
    char file[STAGE_NAME_MAX];
    struct stat sb;

    return stage_lookup(st, key, file) == 0 &&
           (!meta || (fstatat(st->stage, file, &sb, AT_SYMLINK_NOFOLLOW) == 0 &&
                      (uint64_t)sb.st_size == meta->size));
}

/* What is borrowed does not come, but into a mailbox that is being filled (M8). */
static bool will_come(struct state *st, const struct mailfs_id *dir, const struct index *ix,
                      const Mfp__BaseMsg *m) {
    struct base_dir rec;

    return !m->borrowed || index_find(ix, m->bname) || base_dir_get(st, dir, &rec) < 0 ||
           !rec.merged;
}

static int lacks_msg(struct state *st, struct store_dir *d, const struct index *ix,
                     const Mfp__Listing *l, const Mfp__BaseMsg *m, struct content_wants *out) {
    const struct mailfs_id *dir = &d->id;
    char key[STAGE_NAME_MAX];

    if (!m->is || m->is->sub == MFP__SUB__SELF || have_msg(d, ix, m) || !will_come(st, dir, ix, m))
        return 0;
    stage_fetch_name(dir, MFP__SUB__CUR, m->bname, key);
    if (staged_as(st, key, m->meta) || will_join(st, dir, ix, l, m->prepared))
        return 0;
    if (m->prepared) {
        stage_prep_key(m->prepared->incarnation, m->prepared->seq, key);
        if (staged(st, key))
            return 0;
    }
    int r = want_msg(out, dir, m->bname, m->is, m->meta, m->prepared);
    if (r == 0)
        out->v[out->n - 1].mtime = m->meta ? m->meta->mtime_ns : 0;
    return r;
}

static int newest_first(const void *a, const void *b) {
    int64_t x = ((const struct content_want *)a)->mtime,
            y = ((const struct content_want *)b)->mtime;

    return (x < y) - (x > y);
}

static int lacks_file(struct state *st, const struct mailfs_id *dir, const Mfp__BaseFile *f,
                      struct content_wants *out) {
    struct base_file have;
    char key[STAGE_NAME_MAX];
    bool same;

    if (!f->is || !S_ISREG(f->is->type) || f->has_content || f->borrowed)
        return 0;
    stage_fetch_name(dir, MFP__SUB__SELF, f->name, key);
    if (content_is(st, key, f->is))
        return 0;
    same = base_file_get(st, BASE_AGREED, dir, f->name, &have) == 0 && f->is->sha256.len == 32 &&
           memcmp(have.sha256, f->is->sha256.data, 32) == 0;
    base_file_clear(&have);
    if (same)
        return 0;
    return want(out, dir, MFP__SUB__SELF, f->name, f->is->meta ? f->is->meta->size : 0);
}

static int lacks_all(struct state *st, struct store_dir *d, const struct index *ix,
                     const Mfp__Listing *l, struct content_wants *out) {
    size_t i;
    int r = 0;

    for (i = 0; r == 0 && i < l->n_msgs; i++)
        r = lacks_msg(st, d, ix, l, l->msgs[i], out);
    for (i = 0; r == 0 && i < l->n_files; i++)
        r = lacks_file(st, &d->id, l->files[i], out);
    return r;
}

int content_lacks(struct state *st, const Mfp__Listing *theirs, struct content_wants *out) {
    struct index ix = {NULL};
    struct store_dir d;
    struct mailfs_id id;
    int r = wire_id(&theirs->dir, &id);

    memset(out, 0, sizeof(*out));
    if (r < 0)
        return r;
    r = store_dir_open(st, &id, &d);
    if (r == 0)
        r = index_read(st, &d, &ix);
    else if (r == -ENOENT)
        r = 0;
    if (r == 0)
        r = lacks_all(st, &d, &ix, theirs, out);
    if (r == 0 && out->n > 1)
        qsort(out->v, out->n, sizeof(*out->v), newest_first);
    index_free(&ix);
    store_dir_close(&d);
    if (r < 0) {
        content_wants_free(out);
        return state_fail(st, r, &id, "cannot compare with the peer's listing");
    }
    return 0;
}

/* ---- for the peer ------------------------------------------------------------------ */

static int open_plain(int dirfd, const char *name, int *fd, struct stat *sb, char **link) {
    char target[4096];
    ssize_t n;
    int r;

    if (fstatat(dirfd, name, sb, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (S_ISLNK(sb->st_mode)) {
        n = readlinkat(dirfd, name, target, sizeof(target) - 1);
        if (n < 0)
            return -errno;
        target[n] = '\0';
        *link = strdup(target);
        return *link ? 0 : -ENOMEM;
    }
    if (!S_ISREG(sb->st_mode))
        return -EINVAL;
    r = io_open_beneath(dirfd, name, O_RDONLY | O_NONBLOCK, 0);
    if (r < 0)
        return r;
    *fd = r;
    return fstat(r, sb) < 0 ? -errno : 0;
}

/*
 * Under the name that the peer was told. Without it all names are read for each message that no
 * base knows: of a mailbox of 250 a third of the sender's system calls, of a larger one more.
 */
static int open_as_told(struct state *st, struct store_dir *d, const struct content_want *w,
                        int *fd, struct stat *sb, char **link) {
    const int subs[] = {MFP__SUB__CUR, MFP__SUB__NEW};
    char buf[MAILDIR_NAME_MAX + 1];
    const char *name = full_name(w->name, w->info, buf);
    size_t i;
    int dirfd, r = -ENOENT;

    for (i = 0; r == -ENOENT && i < 2; i++) {
        dirfd = store_sub_open(st, d, subs[i], false);
        if (dirfd >= 0)
            r = open_plain(dirfd, name, fd, sb, link);
    }
    return r;
}

/* A message wherever it is. It can be renamed between finding and opening: three tries. */
static int open_by_base(struct state *st, struct store_dir *d, const struct content_want *w,
                        int *fd, struct stat *sb, char **link) {
    char found[MAILDIR_NAME_MAX + 1], hint[MAILDIR_NAME_MAX + 1];
    const char *base = w->name;
    int tries, sub, r = w->info ? open_as_told(st, d, w, fd, sb, link) : -ENOENT;

    for (tries = 0; tries < 3 && r == -ENOENT; tries++) {
        r = store_msg_find(st, d, base, hint_of(st, &d->id, base, hint), &sub, found);
        if (r == -ENOENT)
            continue; /* a listing can miss a name that is being changed */
        if (r < 0)
            return r;
        r = open_plain(d->fd[sub], found, fd, sb, link);
    }
    return r;
}

static int open_in(struct state *st, struct store_dir *d, const struct content_want *w, int *fd,
                   struct stat *sb, char **link) {
    const char *name = w->name;
    size_t n = strlen(name);
    int r, sub = w->sub;

    if (sub == MFP__SUB__SELF) {
        if (maildir_name_check(name, n, MAILDIR_NAME_COMPONENT) < 0)
            return -EINVAL;
        if (maildir_class_is_local(maildir_class_of(MAILDIR_DIR_CONTAINER, name, n)))
            return -EACCES;
        return open_plain(d->fd[0], name, fd, sb, link);
    }
    if (maildir_name_check(name, n, w->by_base ? MAILDIR_NAME_BASE : MAILDIR_NAME_MESSAGE) < 0 ||
        sub == MFP__SUB__TMP)
        return -EINVAL;
    if (w->by_base)
        return open_by_base(st, d, w, fd, sb, link);
    r = store_sub_open(st, d, sub, false);
    return r < 0 ? r : open_plain(r, name, fd, sb, link);
}

int content_open_in(struct state *st, struct store_dir *d, const struct content_want *w, int *fd,
                    struct stat *sb, char **link) {
    int r;

    *fd = -1;
    *link = NULL;
    r = open_in(st, d, w, fd, sb, link);
    if (r < 0 && *fd >= 0) {
        close(*fd);
        *fd = -1;
    }
    return r;
}

int content_open(struct state *st, const struct content_want *w, int *fd, struct stat *sb,
                 char **link) {
    struct store_dir d;
    int r;

    *fd = -1;
    *link = NULL;
    r = store_dir_open(st, &w->dir, &d);
    if (r < 0)
        return r;
    r = content_open_in(st, &d, w, fd, sb, link);
    store_dir_close(&d);
    return r;
}
