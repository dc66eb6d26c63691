/*
 * base: what both nodes last agreed on, and the encoding of the keys.
 *
 * Keys (values in base_codec.h; numbers big-endian):
 *   cont   id + kind: 'T' place, 'U' uidlist (V 4, N 4, rest of the header), 'K' keywords,
 *          'S' subscriptions, 'D' sum of digests, 'V' version 8, 'C' what is coming (coming.c), and
 *          of the root 'W' version of the tree 8
 *   msgs   id + base name      files  id + name      prepof  id + base name
 *
 * 'D' is the sum (mod 2^256) of one SHA-256 for each message and file, so that it does not depend
 * on the order of changes and costs O(1) each. It exists for the agreed view only.
 *
 * Diagnostics: none here, errors are returned.
 */
#include "base.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base_codec.h"
#include "half.h"
#include "io/hash.h"
#include "pending.h"
#include "recent.h"
#include "state_int.h"
#include "util/bytes.h"

static enum kv_view kv_view_of(enum base_view v) {
    return v == BASE_SENT ? KV_SENT : v == BASE_PROPOSED ? KV_PROPOSED : KV_AGREED;
}

static size_t kind_key(uint8_t key[BASE_KEY_MAX], const struct mailfs_id *dir, char kind) {
    memcpy(key, dir->b, MAILFS_ID_BYTES);
    key[MAILFS_ID_BYTES] = (uint8_t)kind;
    return MAILFS_ID_BYTES + 1;
}

/* ---- the sum of digests ------------------------------------------------------------ */

static int sum_get(struct state *st, enum kv_view view, const struct mailfs_id *dir,
                   uint8_t sum[STATE_DIGEST]) {
    uint8_t key[BASE_KEY_MAX];
    size_t nkey = kind_key(key, dir, 'D'), n;
    void *val;
    int r = kv_get(st, view, T_CONT, key, nkey, &val, &n);

    memset(sum, 0, STATE_DIGEST);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    if (n == STATE_DIGEST)
        memcpy(sum, val, n);
    free(val);
    return 0;
}

int base_sum_get(struct state *st, enum base_view view, const struct mailfs_id *dir,
                 uint8_t sum[STATE_DIGEST]) {
    return sum_get(st, kv_view_of(view), dir, sum);
}

/* As it is when the one is taken from it and the other added; either may be NULL. */
static int sum_after(struct state *st, enum kv_view view, const struct mailfs_id *dir,
                     const uint8_t *minus, const uint8_t *plus, uint8_t sum[STATE_DIGEST]) {
    int r = sum_get(st, view, dir, sum);

    if (r == 0 && minus)
        base_sum_add(sum, minus, true);
    if (r == 0 && plus)
        base_sum_add(sum, plus, false);
    return r;
}

/* What a record adds to the sum. Only what the two nodes have alike: no mtimes. */
static int record_hash(enum table t, const char *name, const void *val, size_t n,
                       uint8_t out[STATE_DIGEST]) {
    struct buf b;
    int r;

    buf_init(&b, 64u << 10);
    buf_add_char(&b, t == T_MSGS ? 'M' : 'F');
    buf_append(&b, name, strlen(name) + 1);
    if (t == T_MSGS)
        base_msg_identity(val, n, &b);
    else
        base_file_identity(val, n, &b);
    r = buf_error(&b);
    if (r == 0)
        r = io_hash(b.p, b.len, out);
    buf_free(&b);
    return r;
}

/* Neither is on the disk without the other: nobody counts the sum anew. */
static int put_with_sum(struct state *st, enum kv_view view, const struct mailfs_id *dir,
                        const struct kv_item *record, const uint8_t sum[STATE_DIGEST]) {
    uint8_t key[BASE_KEY_MAX];
    size_t nkey = kind_key(key, dir, 'D');
    struct kv_item both[] = {*record, {T_CONT, key, nkey, sum, STATE_DIGEST}};
    int r;

    recent_begin(st);
    r = kv_put_all(st, view, both, 2);
    recent_end(st);
    return r;
}

/* Puts a message or a file (val NULL: removes); in the agreed view the sum follows. */
static int record_put(struct state *st, enum base_view view, enum table t,
                      const struct mailfs_id *dir, const char *name, const void *val, size_t n) {
    uint8_t key[BASE_KEY_MAX], minus[STATE_DIGEST], plus[STATE_DIGEST], sum[STATE_DIGEST];
    int nkey = base_name_key(key, dir, name), r;
    bool had;
    void *old;
    size_t nold;

    if (nkey < 0)
        return nkey;
    if (view == BASE_SENT)
        return kv_put(st, KV_SENT, t, key, (size_t)nkey, val, n);
    r = kv_get(st, kv_view_of(view), t, key, (size_t)nkey, &old, &nold);
    if (r < 0 && r != -ENOENT)
        return r;
    had = r == 0;
    r = had ? record_hash(t, name, old, nold, minus) : 0;
    free(old);
    if (r == 0 && val)
        r = record_hash(t, name, val, n, plus);
    if (r < 0 || !(had || val))
        return r;
    r = sum_after(st, kv_view_of(view), dir, had ? minus : NULL, val ? plus : NULL, sum);
    if (r < 0)
        return r;
    return put_with_sum(st, kv_view_of(view), dir, &(struct kv_item){t, key, (size_t)nkey, val, n},
                        sum);
}

static int record_get(struct state *st, enum base_view view, enum table t,
                      const struct mailfs_id *dir, const char *name, void **val, size_t *n) {
    uint8_t key[BASE_KEY_MAX];
    int nkey = base_name_key(key, dir, name);

    *val = NULL;
    if (nkey < 0)
        return nkey;
    return kv_get(st, kv_view_of(view), t, key, (size_t)nkey, val, n);
}

/* ---- messages, files --------------------------------------------------------------- */

int base_msg_get(struct state *st, enum base_view view, const struct mailfs_id *dir,
                 const char *name, struct base_msg *out) {
    void *val;
    size_t n;
    int r = record_get(st, view, T_MSGS, dir, name, &val, &n);

    if (r == 0)
        r = base_msg_decode(val, n, out);
    else
        memset(out, 0, sizeof(*out));
    free(val);
    return r;
}

int base_msg_put(struct state *st, enum base_view view, const struct mailfs_id *dir,
                 const char *name, const struct base_msg *msg) {
    struct buf b;
    int r;

    if (msg->sub == MFP__SUB__SELF)
        return record_put(st, view, T_MSGS, dir, name, NULL, 0);
    buf_init(&b, 1024);
    r = base_msg_encode(msg, &b);
    if (r == 0)
        r = record_put(st, view, T_MSGS, dir, name, b.p, b.len);
    buf_free(&b);
    return r;
}

void base_file_clear(struct base_file *file) {
    free(file->link);
    memset(file, 0, sizeof(*file));
}

int base_file_get(struct state *st, enum base_view view, const struct mailfs_id *dir,
                  const char *name, struct base_file *out) {
    void *val;
    size_t n;
    int r = record_get(st, view, T_FILES, dir, name, &val, &n);

    memset(out, 0, sizeof(*out));
    if (r == 0)
        r = base_file_decode(val, n, out);
    free(val);
    return r;
}

int base_file_put(struct state *st, enum base_view view, const struct mailfs_id *dir,
                  const char *name, const struct base_file *file) {
    struct buf b;
    int r;

    if (file->type == 0)
        return record_put(st, view, T_FILES, dir, name, NULL, 0);
    buf_init(&b, 8192);
    r = base_file_encode(file, &b);
    if (r == 0)
        r = record_put(st, view, T_FILES, dir, name, b.p, b.len);
    buf_free(&b);
    return r;
}

/* ---- containers -------------------------------------------------------------------- */

int base_dir_get_in(struct state *st, enum base_view view, const struct mailfs_id *dir,
                    struct base_dir *out) {
    uint8_t key[BASE_KEY_MAX];
    size_t nkey = kind_key(key, dir, 'T'), n;
    void *val;
    int r = kv_get(st, kv_view_of(view), T_CONT, key, nkey, &val, &n);

    if (r == 0)
        r = base_dir_decode(val, n, out);
    free(val);
    return r;
}

int base_dir_put_in(struct state *st, enum base_view view, const struct mailfs_id *dir,
                    const struct base_dir *rec) {
    uint8_t key[BASE_KEY_MAX];
    size_t nkey = kind_key(key, dir, 'T');
    struct buf b;
    int r;

    buf_init(&b, 1024);
    r = base_dir_encode(rec, &b);
    if (r == 0)
        r = kv_put(st, kv_view_of(view), T_CONT, key, nkey, b.p, b.len);
    buf_free(&b);
    return r;
}

int base_dir_get(struct state *st, const struct mailfs_id *dir, struct base_dir *out) {
    return base_dir_get_in(st, BASE_AGREED, dir, out);
}

int base_dir_put(struct state *st, const struct mailfs_id *dir, const struct base_dir *rec) {
    return base_dir_put_in(st, BASE_AGREED, dir, rec);
}

struct wipe {
    struct state *st;
    enum kv_view view;
    enum table t;
};

static int wipe_one(void *arg, const uint8_t *key, size_t nkey, const void *val, size_t n) {
    struct wipe *w = arg;

    /* The place of a container outlives its contents, and so does the version of its base; what is
     * said of the tree is not about the root's contents. */
    if (w->t == T_CONT && strchr("TVWM", key[MAILFS_ID_BYTES]))
        return 0;
    return kv_put(w->st, w->view, w->t, key, nkey, NULL, 0);
}

int base_wipe(struct state *st, enum base_view view, const struct mailfs_id *dir) {
    static const enum table all[] = {T_CONT, T_MSGS, T_FILES, T_PREPOF};
    size_t i;
    int r = 0;

    for (i = 0; r == 0 && i < sizeof(all) / sizeof(*all); i++) {
        struct wipe w = {st, kv_view_of(view), all[i]};
        r = kv_each(st, w.view, all[i], dir, wipe_one, &w);
    }
    return r;
}

int base_dir_del(struct state *st, const struct mailfs_id *dir) {
    uint8_t key[BASE_KEY_MAX];
    size_t nkey = kind_key(key, dir, 'T');
    int r = base_wipe(st, BASE_AGREED, dir);

    pending_clear(st, dir);
    half_forget(st, dir);
    base_moved_forget(st, dir);
    if (r == 0)
        r = kv_put(st, KV_AGREED, T_CONT, key, nkey, NULL, 0);
    kind_key(key, dir, 'V');
    return r == 0 ? kv_put(st, KV_AGREED, T_CONT, key, nkey, NULL, 0) : r;
}

int base_uidlist_get(struct state *st, enum base_view view, const struct mailfs_id *dir,
                     struct base_uidlist *out) {
    uint8_t key[BASE_KEY_MAX];
    size_t nkey = kind_key(key, dir, 'U'), n;
    void *val;
    int r = kv_get(st, kv_view_of(view), T_CONT, key, nkey, &val, &n);

    memset(out, 0, sizeof(*out));
    if (r == 0 && n < 8)
        r = -EUCLEAN;
    if (r == 0) {
        out->v = bytes_get_u32(val);
        out->n = bytes_get_u32((uint8_t *)val + 4);
        out->header_ext = strdup((char *)val + 8); /* kv_get puts a NUL behind */
        if (!out->header_ext)
            r = -ENOMEM;
    }
    free(val);
    return r;
}

int base_uidlist_put(struct state *st, enum base_view view, const struct mailfs_id *dir,
                     const struct base_uidlist *rec) {
    uint8_t key[BASE_KEY_MAX], head[8];
    size_t nkey = kind_key(key, dir, 'U');
    struct buf b;
    int r;

    buf_init(&b, 8192);
    bytes_put_u32(head, rec->v);
    bytes_put_u32(head + 4, rec->n);
    buf_append(&b, head, sizeof(head));
    buf_add_str(&b, rec->header_ext ? rec->header_ext : "");
    r = buf_error(&b);
    if (r == 0)
        r = kv_put(st, kv_view_of(view), T_CONT, key, nkey, b.p, b.len);
    buf_free(&b);
    return r;
}

int base_text_get(struct state *st, enum base_view view, const struct mailfs_id *dir,
                  enum base_text which, char **p, size_t *n) {
    uint8_t key[BASE_KEY_MAX];
    size_t nkey = kind_key(key, dir, (char)which);
    void *val;
    int r = kv_get(st, kv_view_of(view), T_CONT, key, nkey, &val, n);

    *p = val;
    return r;
}

int base_text_put(struct state *st, enum base_view view, const struct mailfs_id *dir,
                  enum base_text which, const char *p, size_t n) {
    uint8_t key[BASE_KEY_MAX];
    size_t nkey = kind_key(key, dir, (char)which);

    return kv_put(st, kv_view_of(view), T_CONT, key, nkey, p, n);
}

int base_version_get(struct state *st, enum base_version_of of, const struct mailfs_id *dir,
                     uint64_t *version) {
    uint8_t key[BASE_KEY_MAX];
    size_t nkey = kind_key(key, dir, (char)of), n;
    void *val;
    int r = kv_get(st, KV_AGREED, T_CONT, key, nkey, &val, &n);

    *version = r == 0 && n == 8 ? bytes_get_u64(val) : 0;
    free(val);
    return r == -ENOENT ? 0 : r;
}

int base_version_put(struct state *st, enum base_view view, enum base_version_of of,
                     const struct mailfs_id *dir, uint64_t version) {
    uint8_t key[BASE_KEY_MAX], val[8];
    size_t nkey = kind_key(key, dir, (char)of);

    bytes_put_u64(val, version);
    return kv_put(st, kv_view_of(view), T_CONT, key, nkey, val, sizeof(val));
}

int base_version_next(struct state *st, enum base_version_of of, const struct mailfs_id *dir) {
    uint64_t v;
    int r = base_version_get(st, of, dir, &v);

    return r == 0 ? base_version_put(st, BASE_AGREED, of, dir, v + 1) : r;
}

int base_prep_get(struct state *st, const struct mailfs_id *dir, const char *name,
                  struct base_prep *out) {
    void *val;
    size_t n;
    int r = record_get(st, BASE_AGREED, T_PREPOF, dir, name, &val, &n);

    if (r == 0 && n != 16)
        r = -EUCLEAN;
    if (r == 0) {
        out->incarnation = bytes_get_u64(val);
        out->seq = bytes_get_u64((uint8_t *)val + 8);
    }
    free(val);
    return r;
}

int base_prep_put(struct state *st, enum base_view view, const struct mailfs_id *dir,
                  const char *name, const struct base_prep *prep) {
    uint8_t key[BASE_KEY_MAX], val[16];
    int nkey = base_name_key(key, dir, name);

    if (nkey < 0)
        return nkey;
    if (prep) {
        bytes_put_u64(val, prep->incarnation);
        bytes_put_u64(val + 8, prep->seq);
    }
    return kv_put(st, kv_view_of(view), T_PREPOF, key, (size_t)nkey, prep ? val : NULL,
                  sizeof(val));
}

bool base_prep_unwritten(struct state *st) {
    return kv_has_unwritten(st, T_PREPOF);
}

/* ---- each -------------------------------------------------------------------------- */

struct each {
    base_msg_fn *msg;
    base_file_fn *file;
    base_dir_fn *dir;
    base_prep_fn *prep;
    void *arg;
};

static int each_name(const uint8_t *key, size_t nkey, char name[MAILDIR_NAME_MAX + 1]) {
    size_t n = nkey - MAILFS_ID_BYTES;

    if (nkey <= MAILFS_ID_BYTES || n > MAILDIR_NAME_MAX)
        return -EUCLEAN;
    memcpy(name, key + MAILFS_ID_BYTES, n);
    name[n] = '\0';
    return 0;
}

static int each_msg(void *arg, const uint8_t *key, size_t nkey, const void *val, size_t n) {
    struct each *e = arg;
    char name[MAILDIR_NAME_MAX + 1];
    struct base_msg msg;
    int r = each_name(key, nkey, name);

    if (r == 0)
        r = base_msg_decode(val, n, &msg);
    return r == 0 ? e->msg(e->arg, name, &msg) : r;
}

static int each_file(void *arg, const uint8_t *key, size_t nkey, const void *val, size_t n) {
    struct each *e = arg;
    char name[MAILDIR_NAME_MAX + 1];
    struct base_file file = {0};
    int r = each_name(key, nkey, name);

    if (r == 0)
        r = base_file_decode(val, n, &file);
    if (r == 0)
        r = e->file(e->arg, name, &file);
    base_file_clear(&file);
    return r;
}

static int each_dir(void *arg, const uint8_t *key, size_t nkey, const void *val, size_t n) {
    struct each *e = arg;
    struct mailfs_id id;
    struct base_dir rec;
    int r;

    if (nkey != MAILFS_ID_BYTES + 1 || key[MAILFS_ID_BYTES] != 'T')
        return 0;
    memcpy(id.b, key, MAILFS_ID_BYTES);
    if (mailfs_id_is_root(&id))
        return 0;
    r = base_dir_decode(val, n, &rec);
    return r == 0 ? e->dir(e->arg, &id, &rec) : r;
}

int base_each_msg(struct state *st, const struct mailfs_id *dir, base_msg_fn *fn, void *arg) {
    struct each e = {.msg = fn, .arg = arg};
    return kv_each(st, KV_AGREED, T_MSGS, dir, each_msg, &e);
}

static int each_prep(void *arg, const uint8_t *key, size_t nkey, const void *val, size_t n) {
    struct each *e = arg;
    char name[MAILDIR_NAME_MAX + 1];
    int r = each_name(key, nkey, name);

    return r == 0 ? e->prep(e->arg, name) : r;
}

int base_each_prep(struct state *st, const struct mailfs_id *dir, base_prep_fn *fn, void *arg) {
    struct each e = {.prep = fn, .arg = arg};
    return kv_each(st, KV_AGREED, T_PREPOF, dir, each_prep, &e);
}

int base_each_file(struct state *st, const struct mailfs_id *dir, base_file_fn *fn, void *arg) {
    struct each e = {.file = fn, .arg = arg};
    return kv_each(st, KV_AGREED, T_FILES, dir, each_file, &e);
}

int base_each_dir(struct state *st, base_dir_fn *fn, void *arg) {
    struct each e = {.dir = fn, .arg = arg};
    return kv_each(st, KV_AGREED, T_CONT, NULL, each_dir, &e);
}
