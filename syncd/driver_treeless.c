/*
 * driver_treeless - what no merge of mailboxes can settle, and one of the trees can: a mailbox that
 * is on one node only, or whose tree lacks something until there is room
 *
 * No diagnostics: unmerged.h names what stays so.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "driver_merge_int.h"
#include "load.h"
#include "mem.h"
#include "treeless.h"

/* A mailbox that was on one node only when it was last to be merged. */
struct lone {
    struct mailfs_id dir;
    uint8_t trees[STATE_DIGEST]; /* what was agreed on then */
    UT_hash_handle hh;
};

/* ---- on one node only -------------------------------------------------------------- */

bool merges_one_is_gone(const struct step *s) {
    return s->mine != NULL && s->theirs != NULL &&
           load_of(s->mine)->listing->gone != load_of(s->theirs)->listing->gone;
}

static struct lone *lone_find(const struct merges *m, const struct mailfs_id *dir) {
    struct lone *l;
    HASH_FIND(hh, m->lone, dir, sizeof *dir, l);
    return l;
}

static bool lone_forget(struct merges *m, const struct mailfs_id *dir) {
    struct lone *l = lone_find(m, dir);
    if (l == NULL)
        return false;
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): it is in the table */
    HASH_DEL(m->lone, l);
    free(l);
    return true;
}

static void lone_note(struct merges *m, const struct mailfs_id *dir) {
    struct lone *l = lone_find(m, dir);
    if (l == NULL) {
        l = mem_new(sizeof *l);
        l->dir = *dir;
        HASH_ADD(hh, m->lone, dir, sizeof l->dir, l);
    }
    memcpy(l->trees, m->trees, sizeof l->trees);
}

/* Nothing travels on a link that could make it. But a comparison that has changed nothing will not
 * the next time. */
static bool is_lone_on_link(struct merges *m, const struct mailfs_id *dir) {
    const struct lone *l = lone_find(m, dir);
    bool in_vain = l != NULL && memcmp(l->trees, m->trees, sizeof l->trees) == 0;
    lone_note(m, dir);
    return !in_vain;
}

bool merges_lone_still(struct step *s) {
    struct merges *m = s->v->merges;
    bool lone = s->err == -EAGAIN && merges_one_is_gone(s);
    if (lone && s->v->main != NULL)
        return is_lone_on_link(m, &s->dir);
    if (lone_forget(m, &s->dir))
        return lone;
    if (lone)
        lone_note(m, &s->dir);
    return false;
}

void merges_lone_free(struct merges *m) {
    struct lone *l, *next;
    HASH_ITER(hh, m->lone, l, next)
        lone_forget(m, &l->dir);
}

/* ---- until there is room ----------------------------------------------------------- */

void merges_await_trees(struct merges *m, const struct mailfs_id *dir, int err) {
    treeless_put(&m->treeless, dir, err, volume_now());
}

bool merges_awaits_trees(const struct merges *m, const struct mailfs_id *dir) {
    return treeless_has(m->treeless, dir);
}

void merges_look_for_treeless(struct step *s) {
    struct treeless *set = s->v->merges->treeless;
    s->treeless = treeless_has(set, &s->dir);
    free(s->lacking);
    s->lacking = treeless_all(set, &s->n_lacking);
    s->lasting = treeless_lasting(set, &s->dir, volume_now());
}

int merges_look_for_room(struct step *s) {
    int r = s->lasting != 0 ? s->lasting : tree_merge_room(s->v->state, s->lacking, s->n_lacking);
    s->may_compare = r == 0;
    return r == 0 ? -ESTALE : r;
}
