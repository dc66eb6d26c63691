/*
 * scan_tree_lost: directories that the base has and the store has not, and that nobody removed: of
 * a standby's store, changed below its mount, or damaged. They are in the base no more, as in one
 * of a node that never had them, and come again from the other end with all that is in them.
 *
 * Diagnostics: each, with its path.
 */
#include "scan_tree_int.h"

#include "util/log.h"

static int lose(struct tree *t, struct node *n) {
    char path[256];

    log_warn("%s: is not in the store, and is from now on as the other end has it",
             state_path(t->st, &n->id, path, sizeof(path)));
    n->was = false;
    t->unmade = true;
    return base_dir_del(t->st, &n->id);
}

int scan_tree_lose(struct tree *t) {
    struct node *n, *tmp;
    int r = 0;

    HASH_ITER(hh, t->nodes, n, tmp) {
        if (r == 0 && n->was && n->looked && !n->is && !scan_tree_borrowed(t, n))
            r = lose(t, n);
    }
    return r;
}
