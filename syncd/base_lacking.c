/*
 * base_lacking: bases that may lack what was acknowledged.
 *
 * What the base has got since the last checkpoint is lost with the power (recent.h); what the peer
 * did is in the journal and applied once more, what this node did is not. Containers with such a
 * base are marked, since marks outlive the checkpoint. So does one that could not follow the
 * peer's, which moved when this node had the transaction in its journal. That it lacks something is
 * kept with the base, so that it does not pass for whole after another start. In memory: about 80
 * bytes for each such container, until it is merged.
 *
 * A container may have been made, or merged for the first time, since that checkpoint: then the
 * base does not even say that there is one. It is taken for one all the same, with what has come
 * into it from the journal: that was common, and a merge removes nothing but what both say was.
 * Otherwise all that was expunged in it would be back.
 *
 * Of the tree it matters which of the two it is. After a power cut the base is an earlier one, and
 * what the peer's does not know any more was removed since. One that could not follow is neither
 * earlier nor later: beside it what only one base knows was not removed by anybody. (Directories
 * that both nodes were just making went that way.)
 *
 * No diagnostics of its own.
 */
#include "base.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "replica/base_age.h"
#include "state_int.h"

enum { OF_MAILBOX = 'L', OF_TREE = 'M' };

struct put_back {
    UT_hash_handle hh;
    char name[];
};

static void put_back_free(struct lacking *l) {
    struct put_back *p, *tmp;

    HASH_ITER(hh, l->put_back, p, tmp) {
        HASH_DEL(l->put_back, p);
        free(p);
    }
}

static void lacking_free(struct lacking *l) {
    if (!l)
        return;
    put_back_free(l);
    free(l);
}

static struct lacking *find(const struct state *st, const struct mailfs_id *dir) {
    struct lacking *l;

    HASH_FIND(hh, st->lacking, dir, sizeof(*dir), l);
    return l;
}

static void make_key(uint8_t key[MAILFS_ID_BYTES + 1], const struct mailfs_id *dir, char what) {
    memcpy(key, dir->b, MAILFS_ID_BYTES);
    key[MAILFS_ID_BYTES] = (uint8_t)what;
}

/* As it is noted. RAISED: cut, and the list is above all UIDs that may have been shown. */
enum lack { WHOLE = 0, LACKS = '1', CUT = '2', UNDONE = '3', RAISED = '4' };

/* An enum lack, or an error. */
static int noted(struct state *st, const struct mailfs_id *dir, char what) {
    uint8_t key[MAILFS_ID_BYTES + 1];
    void *val;
    size_t n;
    int r;

    make_key(key, dir, what);
    r = kv_get(st, KV_AGREED, T_CONT, key, sizeof(key), &val, &n);
    if (r == 0)
        r = n == 1 && *(char *)val >= CUT && *(char *)val <= RAISED ? *(char *)val : LACKS;
    free(val);
    return r == -ENOENT ? WHOLE : r;
}

static int note(struct state *st, const struct mailfs_id *dir, char what, enum lack lack) {
    uint8_t key[MAILFS_ID_BYTES + 1];
    char val = (char)lack;

    make_key(key, dir, what);
    return kv_put(st, KV_AGREED, T_CONT, key, sizeof(key), lack != WHOLE ? &val : NULL,
                  lack != WHOLE);
}

static enum lack lack_of(const struct lacking *l) {
    return l->lost_uids ? CUT : l->cut ? RAISED : LACKS;
}

static int add(struct state *st, const struct mailfs_id *dir, enum lack lack) {
    struct lacking *l = calloc(1, sizeof(*l));

    if (!l)
        return -ENOMEM;
    l->dir = *dir;
    l->cut = lack == CUT || lack == RAISED;
    l->lost_uids = lack == CUT && !st->main;
    l->noted = true; /* or there is no start */
    HASH_ADD(hh, st->lacking, dir, sizeof(l->dir), l);
    return note(st, dir, OF_MAILBOX, lack);
}

/* What does this one lack after the start? With a state that was lost, or was never there, there is
 * no base at all, and none that a power cut has taken. */
static int lacks_at_start(struct state *st, const struct mailfs_id *dir, char what) {
    if (!st->recent.whole)
        return st->lost || st->first ? LACKS : CUT;
    return noted(st, dir, what);
}

static int tree_load(struct state *st) {
    int r = noted(st, &mailfs_id_root, OF_TREE);

    if (r >= 0) {
        st->tree_undone = r == UNDONE;
        r = st->tree_undone ? UNDONE : lacks_at_start(st, &mailfs_id_root, OF_TREE);
    }
    st->tree_lacks = r > 0;
    if (r <= 0)
        return r;
    return note(st, &mailfs_id_root, OF_TREE, st->tree_undone ? UNDONE : LACKS);
}

int base_lacking_load(struct state *st) {
    struct state_mark *marks;
    size_t n, i;
    int r = state_marks(st, UINT64_MAX, &marks, &n);

    for (i = 0; r >= 0 && i < n; i++) {
        if (find(st, &marks[i].dir))
            continue;
        r = lacks_at_start(st, &marks[i].dir, OF_MAILBOX);
        if (r > 0)
            r = add(st, &marks[i].dir, (enum lack)r);
    }
    if (r >= 0 && n)
        r = tree_load(st);
    free(marks);
    return r < 0 ? r : 0;
}

/* Where it could not be before, too. */
static int note_once(struct state *st, const struct mailfs_id *dir) {
    enum lack lack = WHOLE;
    struct lacking *l;
    int r;

    state_lock(st);
    l = find(st, dir);
    if (l && !l->noted)
        lack = lack_of(l);
    state_unlock(st);
    r = lack != WHOLE ? note(st, dir, OF_MAILBOX, lack) : 0;
    state_lock(st);
    l = find(st, dir);
    if (l && r == 0)
        l->noted = true;
    state_unlock(st);
    return r;
}

int base_lacking_note(struct state *st, const struct mailfs_id *dir, bool tree) {
    struct lacking *l = calloc(1, sizeof(*l));
    bool was;
    int r;

    if (!l)
        return -ENOMEM;
    l->dir = *dir;
    state_lock(st);
    was = find(st, dir) != NULL;
    if (!was)
        HASH_ADD(hh, st->lacking, dir, sizeof(l->dir), l);
    if (tree)
        st->tree_lacks = st->tree_undone = true;
    state_unlock(st);
    if (was)
        free(l);
    r = note_once(st, dir);
    return r == 0 && tree ? note(st, &mailfs_id_root, OF_TREE, UNDONE) : r;
}

bool base_was_cut(struct state *st, const struct mailfs_id *dir) {
    const struct lacking *l;
    bool cut;

    state_lock(st);
    l = find(st, dir);
    cut = l && l->cut;
    state_unlock(st);
    return cut;
}

bool base_lost_uids(struct state *st, const struct mailfs_id *dir) {
    const struct lacking *l;
    bool lost;

    state_lock(st);
    l = find(st, dir);
    lost = l && l->lost_uids;
    state_unlock(st);
    return lost;
}

int base_lacking_raised(struct state *st, const struct mailfs_id *dir) {
    struct lacking *l;
    bool did;

    state_lock(st);
    l = find(st, dir);
    did = l && l->lost_uids;
    if (did)
        l->lost_uids = false;
    state_unlock(st);
    return did ? note(st, dir, OF_MAILBOX, RAISED) : 0;
}

static struct put_back *put_back_find(const struct lacking *l, const char *name) {
    struct put_back *p = NULL;

    if (l)
        HASH_FIND(hh, l->put_back, name, strlen(name), p);
    return p;
}

int base_put_back_note(struct state *st, const struct mailfs_id *dir, const char *name) {
    size_t n = strlen(name);
    struct put_back *p = malloc(sizeof(*p) + n + 1);
    struct lacking *l;

    if (!p)
        return -ENOMEM;
    memcpy(p->name, name, n + 1);
    state_lock(st);
    l = find(st, dir);
    if (l && !put_back_find(l, name)) {
        HASH_ADD_KEYPTR(hh, l->put_back, p->name, n, p);
        p = NULL;
    }
    state_unlock(st);
    free(p);
    return 0;
}

void base_put_back_forget(struct state *st, const struct mailfs_id *dir, const char *name) {
    struct lacking *l;
    struct put_back *p;

    state_lock(st);
    l = find(st, dir);
    p = put_back_find(l, name);
    if (p)
        HASH_DEL(l->put_back, p);
    state_unlock(st);
    free(p);
}

void base_put_back_forget_all(struct state *st) {
    struct lacking *l, *tmp;

    state_lock(st);
    HASH_ITER(hh, st->lacking, l, tmp) {
        put_back_free(l);
    }
    state_unlock(st);
}

bool base_was_put_back(struct state *st, const struct mailfs_id *dir, const char *name) {
    bool was;

    state_lock(st);
    was = put_back_find(find(st, dir), name) != NULL;
    state_unlock(st);
    return was;
}

int base_lacking_merged(struct state *st, const struct mailfs_id *dir) {
    struct lacking *l;
    bool did;

    state_lock(st);
    l = find(st, dir);
    did = l != NULL;
    if (did)
        HASH_DEL(st->lacking, l);
    state_unlock(st);
    lacking_free(l);
    return did ? note(st, dir, OF_MAILBOX, WHOLE) : 0;
}

int base_lacking_renumber(struct state *st, const struct mailfs_id *former,
                          const struct mailfs_id *now) {
    enum lack lack = LACKS;
    struct lacking *l, *to;
    int r;

    state_lock(st);
    l = find(st, former);
    to = find(st, now);
    if (l) {
        HASH_DEL(st->lacking, l);
        l->dir = *now;
        l->cut = l->cut || (to && to->cut);
        l->lost_uids = l->lost_uids || (to && to->lost_uids);
        l->noted = true; /* or it has not been renumbered */
        lack = lack_of(l);
        if (to)
            /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): it is in the table */
            HASH_DEL(st->lacking, to);
        HASH_ADD(hh, st->lacking, dir, sizeof(l->dir), l);
    }
    state_unlock(st);
    if (!l)
        return 0;
    lacking_free(to);
    r = note(st, now, OF_MAILBOX, lack);
    return r == 0 ? note(st, former, OF_MAILBOX, WHOLE) : r;
}

int base_lacking_tree_merged(struct state *st) {
    bool did = st->tree_lacks;

    st->tree_lacks = st->tree_undone = false;
    return did ? note(st, &mailfs_id_root, OF_TREE, WHOLE) : 0;
}

void base_lacking_free(struct state *st) {
    struct lacking *l, *tmp;

    HASH_ITER(hh, st->lacking, l, tmp) {
        HASH_DEL(st->lacking, l);
        lacking_free(l);
    }
}

int base_version_list(struct state *st, enum base_version_of of, const struct mailfs_id *dir,
                      uint64_t *version) {
    bool lacks, undone;
    int r = base_version_get(st, of, dir, version);

    state_lock(st);
    lacks = of == BASE_OF_TREE ? st->tree_lacks : find(st, dir) != NULL;
    undone = of == BASE_OF_TREE && st->tree_undone;
    state_unlock(st);
    ++*version;
    if (lacks)
        *version |= BASE_AGE_LACKS;
    if (undone)
        *version = 0;
    return r;
}
