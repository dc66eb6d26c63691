/*
 * scan_tree_held: directories that are held back (hold.h) are made again before the tree is listed.
 *
 * Diagnostics: none here, errors are returned.
 */
#include "scan_tree_int.h"

#include <errno.h>

#include "hold.h"
#include "store.h"

/* Made again, it is where it was. */
static int node_made(struct tree *t, struct node *n) {
    struct store_dir d;
    int r = store_dir_open(t->st, &n->id, &d);

    if (r < 0)
        return r;
    n->marked = true;
    n->was = !n->told;
    r = scan_tree_place(t, n, &n->old_parent, n->old_name, d.fd[0]);
    store_dir_close(&d);
    return r;
}

/*
 * What is held back may not be listed as removed, so it is made again. Where its name is taken (the
 * mailbox was made anew meanwhile) it is not listed at all, nor taken for removed by agreement: the
 * merge then makes one of the two, and what is below it is made the next time.
 */
int scan_tree_make_held(struct tree *t, struct invals *inval) {
    struct node *n, *tmp;
    int r = 0;

    HASH_ITER(hh, t->nodes, n, tmp) {
        if (!n->was || !n->looked || n->is || !hold_keeps_dir(t->st, &n->id))
            continue;
        r = hold_make_dir(t->st, &n->id, inval);
        if (r >= 0)
            r = node_made(t, n);
        if (r == -EEXIST || r == -ENOTEMPTY || r == -ENOENT) {
            n->was = false;
            r = 0;
            if (n->told) /* in no base */
                continue;
            t->unmade = true;
            hold_dir_gone(t->st, &n->id);
        }
        if (r < 0)
            break;
    }
    return r;
}
