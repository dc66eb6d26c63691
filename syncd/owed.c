/*
 * owed - mailboxes whose next UID is to be raised
 *
 * A key of T_META for each: there are few, and seldom any.
 */
#include "owed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/db.h"
#include "state_int.h"

#define PREFIX  "raise"
#define KEY_MAX (sizeof PREFIX - 1 + sizeof(struct mailfs_id))

/* Values. An earlier life that ended before it had raised has left DUE. */
#define DUE    '1'
#define RAISED '2'

struct owed {
    char key[KEY_MAX];
    char value;
    struct owed_dir *dirs;
    size_t n;
};

static void key_of(struct owed *o, const struct mailfs_id *dir) {
    memcpy(o->key, PREFIX, sizeof PREFIX - 1);
    memcpy(o->key + sizeof PREFIX - 1, dir, sizeof *dir);
}

static char value_of(const struct db_val *v) {
    return v->n == 1 && *(const char *)v->p == RAISED ? RAISED : DUE;
}

static int look(struct db_txn *txn, void *arg) {
    struct owed *o = arg;
    struct db_val v;
    int r = db_get(txn, T_META, o->key, sizeof o->key, &v);
    if (r == 0)
        o->value = value_of(&v);
    return r;
}

static int put(struct db_txn *txn, void *arg) {
    const struct owed *o = arg;
    return db_put(txn, T_META, o->key, sizeof o->key, &o->value, 1);
}

static int take(struct db_txn *txn, void *arg) {
    const struct owed *o = arg;
    return db_del(txn, T_META, o->key, sizeof o->key);
}

/* 0: it is so already. */
static int change(struct state *st, struct owed *o, char from, char to) {
    int r = db_view(st->db, look, o);
    if (r < 0 || o->value != from)
        return r;
    o->value = to;
    return db_update(st->db, put, o);
}

int owed_note(struct state *st, const struct mailfs_id *dir) {
    struct owed o = {.value = DUE};
    key_of(&o, dir);
    int r = change(st, &o, RAISED, DUE);
    if (r == -ENOENT)
        r = db_update(st->db, put, &o);
    return r < 0 ? state_fail(st, r, dir, "cannot note that the next UID is to be raised") : 0;
}

int owed_raised(struct state *st, const struct mailfs_id *dir) {
    struct owed o = {.n = 0};
    key_of(&o, dir);
    int r = change(st, &o, DUE, RAISED);
    if (r == 0 || r == -ENOENT)
        return 0;
    return state_fail(st, r, dir, "cannot note that the next UID has been raised");
}

int owed_paid(struct state *st, const struct mailfs_id *dir) {
    struct owed o = {.n = 0};
    key_of(&o, dir);
    int r = db_view(st->db, look, &o);
    if (r == 0 && o.value == RAISED)
        r = db_update(st->db, take, &o);
    if (r == 0 || r == -ENOENT)
        return 0;
    return state_fail(st, r, dir, "cannot note that the next UID has been raised");
}

int owed_copy(struct state *st, const struct mailfs_id *former, const struct mailfs_id *now) {
    struct owed from = {.n = 0}, to = {.n = 0};
    key_of(&from, former);
    key_of(&to, now);
    int r = db_view(st->db, look, &from);
    if (r == -ENOENT)
        return 0;
    if (r == 0)
        r = db_view(st->db, look, &to);
    if (r == -ENOENT || (r == 0 && to.value == RAISED && from.value == DUE)) {
        to.value = from.value;
        r = db_update(st->db, put, &to);
    }
    return r;
}

int owed_drop(struct state *st, const struct mailfs_id *dir) {
    struct owed o = {.n = 0};
    key_of(&o, dir);
    int r = db_view(st->db, look, &o);
    if (r == 0)
        r = db_update(st->db, take, &o);
    return r == -ENOENT ? 0 : r;
}

bool owed_is_key(const struct db_val *key) {
    return key->n == KEY_MAX && memcmp(key->p, PREFIX, sizeof PREFIX - 1) == 0;
}

static int list_one(struct owed *o, const struct db_iter *it) {
    if (!owed_is_key(&it->key))
        return 0;
    struct owed_dir *more = realloc(o->dirs, (o->n + 1) * sizeof *more);
    if (more == NULL)
        return -ENOMEM;
    o->dirs = more;
    struct owed_dir *one = &o->dirs[o->n++];
    one->raised = value_of(&it->val) == RAISED;
    memcpy(&one->dir, (const char *)it->key.p + sizeof PREFIX - 1, sizeof one->dir);
    return 0;
}

static int list_all(struct db_txn *txn, void *arg) {
    struct owed *o = arg;
    struct db_iter it;
    int r = db_iter_first(txn, T_META, PREFIX, sizeof PREFIX - 1, &it);
    while (r == 0) {
        r = list_one(o, &it);
        if (r == 0)
            r = db_iter_next(&it);
    }
    db_iter_end(&it);
    return r == -ENOENT ? 0 : r;
}

int owed_list(struct state *st, struct owed_dir **dirs, size_t *n) {
    struct owed o = {.n = 0};
    int r = db_view(st->db, list_all, &o);
    *dirs = o.dirs;
    *n = o.n;
    return r < 0 ? state_fail(st, r, NULL, "cannot read where the next UID is to be raised") : 0;
}
