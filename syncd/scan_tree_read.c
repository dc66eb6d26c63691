/*
 * scan_tree_read: where the directories of the tree are now.
 *
 * Full: the whole store is walked. Otherwise only the directories of marked containers are read:
 * the mark of a container covers the names in it, so a directory can only have come, gone or been
 * renamed in a marked one. What lies below Dovecot's trash, or in .mailfs, is not of the tree.
 *
 * Diagnostics: none here, errors are returned.
 */
#include "scan_tree_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "apply_int.h"
#include "io/dirid.h"
#include "io/io.h"
#include "maildir/class.h"
#include "store.h"

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
#define DEPTH_MAX 64

/* ---- reading ----------------------------------------------------------------------- */

struct children {
    struct tree *t;
    int fd, depth;
    struct mailfs_id parent;
};

static int read_children(struct tree *t, int fd, const struct mailfs_id *parent, int depth);

static bool is_container(const char *name, unsigned char type) {
    size_t n = strlen(name);

    return type == DT_DIR && maildir_name_check(name, n, MAILDIR_NAME_COMPONENT) == 0 &&
           maildir_dir_of(MAILDIR_DIR_CONTAINER, name, n) == MAILDIR_DIR_CONTAINER &&
           !maildir_class_is_local(maildir_class_of(MAILDIR_DIR_CONTAINER, name, n));
}

static int one_child(void *arg, const char *name, unsigned char type) {
    struct children *c = arg;
    struct store_dir d;
    struct node *n;
    bool fresh;
    int fd, r;

    if (!is_container(name, type))
        return 0;
    fd = io_open_beneath(c->fd, name, DIR_FLAGS, 0);
    if (fd < 0)
        return fd == -ENOENT || fd == -ENOTDIR ? 0 : fd;
    r = store_dir_adopt(c->t->st, fd, &d);
    n = r == 0 ? scan_tree_get(c->t, &d.id) : NULL;
    if (r == 0 && !n)
        r = -ENOMEM;
    /* A second holder of an id that the base does not know yet: found by having been seen already.
     */
    if (r == 0 && n->looked && n->is &&
        !(mailfs_id_equal(&n->parent, &c->parent) && strcmp(n->name, name) == 0)) {
        r = mailfs_id_new(&d.id);
        if (r == 0)
            r = io_dirid_replace(fd, &d.id);
        n = r == 0 ? scan_tree_get(c->t, &d.id) : NULL;
        if (r == 0 && !n)
            r = -ENOMEM;
    }
    fresh = r == 0 && !n->was;
    if (r == 0)
        r = scan_tree_place(c->t, n, &c->parent, name, fd);
    /* Of one the peer does not know everything below is new. */
    if (r == 0 && (c->t->full || fresh))
        r = read_children(c->t, fd, &n->id, c->depth + 1);
    store_dir_close(&d);
    return r;
}

static int read_children(struct tree *t, int fd, const struct mailfs_id *parent, int depth) {
    struct children c = {t, fd, depth, *parent};

    return depth > DEPTH_MAX ? -ELOOP : store_each_name(fd, one_child, &c);
}

/* ---- the whole store --------------------------------------------------------------- */

static int mark_nodes(struct tree *t) {
    struct state_mark *marks;
    size_t n, i;
    int r = state_marks(t->st, UINT64_MAX, &marks, &n);

    for (i = 0; r == 0 && i < n; i++) {
        struct node *node = scan_tree_find(t, &marks[i].dir);
        if (node)
            node->marked = true;
    }
    if (r == 0)
        free(marks);
    return r;
}

int scan_tree_whole(struct tree *t) {
    struct node *n, *tmp;
    int r = read_children(t, t->st->root, &mailfs_id_root, 0);

    HASH_ITER(hh, t->nodes, n, tmp) {
        n->looked = true; /* what the walk did not see is not there */
    }
    return r == 0 ? mark_nodes(t) : r;
}

/* ---- marked containers ------------------------------------------------------------- */

static int read_marked(struct tree *t, const struct state_mark *marks, size_t n) {
    struct store_dir d;
    struct node *node;
    size_t i;
    int r = 0;

    for (i = 0; r == 0 && i < n; i++) {
        if (mailfs_id_is_root(&marks[i].dir)) {
            r = read_children(t, t->st->root, &mailfs_id_root, 0);
            continue;
        }
        node = scan_tree_get(t, &marks[i].dir);
        if (!node)
            return -ENOMEM;
        node->marked = true;
        r = store_dir_open(t->st, &marks[i].dir, &d);
        if (r == -ENOENT) {
            r = 0;
            continue;
        }
        if (r == 0)
            r = read_children(t, d.fd[0], &d.id, 0);
        store_dir_close(&d);
    }
    return r;
}

/* Where is one whose marked parent does not have it any more, or that is marked itself? */
static int look_for(struct tree *t, struct node *n) {
    char name[MAILDIR_NAME_MAX + 1];
    struct mailfs_id parent;
    struct store_dir d;
    int r = store_dir_open(t->st, &n->id, &d);

    n->looked = true;
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    r = apply_place_of(t->st, d.fd[0], &parent, NULL, name);
    if (r == 0)
        r = scan_tree_place(t, n, &parent, name, d.fd[0]);
    store_dir_close(&d);
    return r;
}

static bool is_suspicious(struct tree *t, const struct node *n) {
    struct node *p = scan_tree_find(t, &n->old_parent);

    if (n->looked)
        return false;
    if (n->marked || !n->was)
        return true;
    /* Its parent is gone, or was read and did not show it (the root is marked when it changes). */
    return p && ((p->looked && !p->is) || p->marked);
}

static int look_for_missing(struct tree *t, bool root_marked) {
    struct node *n, *tmp;
    bool again = true;
    int r = 0;

    while (again && r == 0) {
        again = false;
        HASH_ITER(hh, t->nodes, n, tmp) {
            bool below_root = root_marked && mailfs_id_is_root(&n->old_parent);
            if (n->looked || !(is_suspicious(t, n) || (n->was && below_root)))
                continue;
            r = look_for(t, n);
            if (r < 0)
                break;
            again = true;
        }
    }
    return r;
}

int scan_tree_marked(struct tree *t) {
    struct state_mark *marks;
    size_t n, i;
    bool root = false;
    int r = state_marks(t->st, UINT64_MAX, &marks, &n);

    if (r < 0)
        return r;
    for (i = 0; i < n; i++)
        root = root || mailfs_id_is_root(&marks[i].dir);
    r = read_marked(t, marks, n);
    if (r == 0)
        r = look_for_missing(t, root);
    free(marks);
    return r;
}
