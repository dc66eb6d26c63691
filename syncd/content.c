/*
 * content: what transactions and listings refer to, and under which key it is in the stage.
 *
 * A message that a transaction adds comes from a prepared content, from a message that is here
 * already (the origin made a hard link), or is fetched. All three end as an item of the stage,
 * which the journal entry holds until the transaction has been applied and synced. What is not here
 * is found by content_missing.c and content_lacks.c, and opened for the peer by content_open.c.
 *
 * Diagnostics: none here, but of the stage.
 */
#include "content_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base.h"
#include "io/hash.h"
#include "io/io.h"
#include "util/array.h"
#include "wire/check.h"

/* ---- what is wanted ---------------------------------------------------------------- */

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

int content_want_add(struct content_wants *w, const struct mailfs_id *dir, int sub,
                     const char *name, uint64_t size) {
    struct content_want *v;

    v = array_room(w->v, w->n, sizeof(*v));
    if (!v)
        return -ENOMEM;
    w->v = v;
    v += w->n;
    *v = (struct content_want){.dir = *dir, .sub = sub, .size = size, .mtime = INT64_MAX};
    v->by_base = sub != MFP__SUB__SELF;
    v->name = strdup(name);
    if (!v->name)
        return -ENOMEM;
    w->n++;
    return 0;
}

int content_want_msg(struct content_wants *w, const struct mailfs_id *dir, const char *base,
                     const Mfp__MsgState *now, const Mfp__Meta *meta, const Mfp__PrepId *prep) {
    int r = content_want_add(w, dir, MFP__SUB__CUR, base, meta ? meta->size : 0);

    if (r == 0 && prep)
        w->v[w->n - 1].prep = (struct stage_prep){prep->incarnation, prep->seq};
    if (r == 0)
        w->v[w->n - 1].info = strdup(now->info ? now->info : "");
    return r;
}

/* ---- names ------------------------------------------------------------------------- */

const char *content_full_name(const char *base, const char *info, char out[MAILDIR_NAME_MAX + 1]) {
    if (!info || !*info)
        return base;
    if (maildir_name_format_info(out, MAILDIR_NAME_MAX + 1, base, strlen(base), info,
                                 strlen(info)) < 0)
        return base;
    return out;
}

const char *content_hint(struct state *st, const struct mailfs_id *dir, const char *base,
                         char out[MAILDIR_NAME_MAX + 1]) {
    struct base_msg msg;

    if (base_msg_get(st, BASE_SENT, dir, base, &msg) < 0)
        return NULL;
    return content_full_name(base, msg.info, out);
}

/* ---- what an operation needs ------------------------------------------------------- */

bool content_op_adds(const Mfp__OpMsg *op) {
    return op->now && op->now->sub != MFP__SUB__SELF &&
           (!op->old || op->old->sub == MFP__SUB__SELF);
}

bool content_op_needs_file(const Mfp__OpFile *op) {
    return op->now && S_ISREG(op->now->type) && !op->has_content;
}

/* Under the mutex. What an entry of the journal refers to was durable when that was written. */
static bool is_good(const struct stage_item *it) {
    return it && !it->gone && !(it->unsure && it->refs == 0);
}

bool content_staged(struct state *st, const char *key) {
    bool good;

    state_lock(st);
    good = is_good(stage_find(st, key));
    state_unlock(st);
    return good;
}

bool content_fits(struct state *st, const char *key, const Mfp__Meta *meta) {
    char file[STAGE_NAME_MAX];
    struct stat sb;

    return stage_lookup(st, key, file) == 0 &&
           (!meta || (fstatat(st->stage, file, &sb, AT_SYMLINK_NOFOLLOW) == 0 &&
                      (uint64_t)sb.st_size == meta->size));
}

/* The prepared content an added message is, under this key, or "". A copy's is pinned under a key
 * of its own: what the journal holds goes with the entry, and the message itself may need it still.
 */
static void prep_key_of(const Mfp__OpMsg *op, char key[STAGE_NAME_MAX]) {
    key[0] = '\0';
    if (op->source && op->source->prepared && op->source->dir.len == 0)
        stage_prep_key(op->source->prepared->incarnation, op->source->prepared->seq, key);
}

void content_item_key(struct state *st, const struct mailfs_id *dir, const Mfp__OpMsg *op,
                      char key[STAGE_NAME_MAX]) {
    stage_fetch_name(dir, MFP__SUB__CUR, op->bname, key);
    if (content_staged(st, key))
        return;
    prep_key_of(op, key);
    if (*key == '\0' || !content_staged(st, key))
        stage_fetch_name(dir, MFP__SUB__CUR, op->bname, key);
}

/* A copy of it bears the same number, and is another message: it is not what was published, and not
 * removed with it. */
bool content_published(struct state *st, const struct mailfs_id *dir, const Mfp__OpMsg *op,
                       struct stage_pub *pub) {
    const Mfp__Source *src = op->source;

    return src && src->prepared && src->dir.len == 0 &&
           stage_published(st, src->prepared->incarnation, src->prepared->seq, pub) == 0 &&
           mailfs_id_equal(&pub->dir, dir);
}

bool content_op_published(struct state *st, const struct mailfs_id *dir, const Mfp__OpMsg *op) {
    struct stage_pub pub;

    return content_published(st, dir, op, &pub) && pub.done;
}

int content_published_of(struct state *st, const Mfp__Txn *txn, struct stage_prep **v, size_t *n) {
    struct stage_pub pub;
    struct mailfs_id dir;
    size_t i;
    int r = wire_id(&txn->dir, &dir);

    *v = NULL;
    *n = 0;
    for (i = 0; r == 0 && i < txn->n_ops; i++) {
        const Mfp__Op *op = txn->ops[i];
        struct stage_prep *room;
        if (op->op_case != MFP__OP__OP_MSG || !content_op_adds(op->msg) ||
            !content_published(st, &dir, op->msg, &pub))
            continue;
        room = array_room(*v, *n, sizeof(**v));
        if (!room)
            return -ENOMEM;
        *v = room;
        room[(*n)++] = (struct stage_prep){pub.incarnation, pub.seq};
    }
    return r;
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
            all = is_good(it);
        } else if (op->op_case == MFP__OP__OP_FILE) {
            all = !content_op_needs_file(op->file);
        }
    }
    state_unlock(st);
    return all;
}

/* ---- keys of a transaction --------------------------------------------------------- */

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
        if (content_op_published(st, dir, op->msg))
            return false;
        content_item_key(st, dir, op->msg, key);
        return true;
    }
    if (op->op_case == MFP__OP__OP_FILE && content_op_needs_file(op->file)) {
        stage_fetch_name(dir, MFP__SUB__SELF, op->file->name, key);
        return true;
    }
    return false;
}

/* The prepared content it uses up, where that is not what it needs: the message was moved out and
 * in again meanwhile, and what was linked for that has the same key. */
static bool also_uses(struct state *st, const Mfp__Op *op, const char *needs,
                      char key[STAGE_NAME_MAX]) {
    char file[STAGE_NAME_MAX];

    prep_key_of(op->msg, key);
    return *key != '\0' && strcmp(key, needs) != 0 && stage_lookup(st, key, file) == 0;
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

    content_item_key(st, dir, op, key);
    return stage_lookup(st, key, file);
}
