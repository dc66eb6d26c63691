/*
 * scan_tree: the directory tree against the agreed base.
 *
 * Its directories are loaded from the base, found in the store (scan_tree_read.c), made again if
 * they are held back (scan_tree_held.c), looked into (scan_tree_inside.c), and listed
 * (scan_tree_list.c). Here are the nodes, and the order.
 *
 * Memory: about 700 bytes a container of the base (all of them are loaded).
 *
 * Diagnostics: a tree that could not be read.
 */
#include "scan_tree_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "apply_int.h"
#include "build.h"
#include "io/io.h"
#include "merge_run.h"
#include "replica/base_age.h"
#include "util/str.h"

/* ---- nodes ------------------------------------------------------------------------- */

struct node *scan_tree_find(struct tree *t, const struct mailfs_id *id) {
    struct node *n;

    HASH_FIND(hh, t->nodes, id, sizeof(*id), n);
    return n;
}

struct node *scan_tree_get(struct tree *t, const struct mailfs_id *id) {
    struct node *n = scan_tree_find(t, id);

    if (n)
        return n;
    n = calloc(1, sizeof(*n));
    if (!n)
        return NULL;
    n->id = *id;
    HASH_ADD(hh, t->nodes, id, sizeof(n->id), n);
    return n;
}

static void tree_clear(struct tree *t) {
    struct node *n, *tmp;

    HASH_ITER(hh, t->nodes, n, tmp) {
        HASH_DEL(t->nodes, n);
        scan_tree_forget_news(n);
        free(n->old_name);
        free(n->name);
        free(n);
    }
    free(t->pubs);
}

static int from_base(void *arg, const struct mailfs_id *id, const struct base_dir *rec) {
    struct tree *t = arg;
    struct node *n = scan_tree_get(t, id);

    if (!n)
        return -ENOMEM;
    if (!rec->agreed && !rec->told)
        return 0;
    n->was = rec->agreed;
    n->told = !rec->agreed;
    n->old_parent = rec->parent;
    n->old_name = strdup(rec->name);
    n->mode = rec->mode;
    n->uid = rec->owner;
    n->gid = rec->group;
    return n->old_name ? 0 : -ENOMEM;
}

int scan_tree_place(struct tree *t, struct node *n, const struct mailfs_id *parent,
                    const char *name, int fd) {
    struct base_dir rec;
    struct io_handle h;
    struct stat sb;
    int r = base_dir_get(t->st, &n->id, &rec);
    bool known = r == 0;

    if ((r < 0 && r != -ENOENT) || fstat(fd, &sb) < 0)
        return r < 0 && r != -ENOENT ? r : -errno;
    n->is = n->looked = true;
    n->parent = *parent;
    free(n->name);
    n->name = strdup(name);
    n->mode = sb.st_mode & 07777;
    n->uid = sb.st_uid;
    n->gid = sb.st_gid;
    if (!n->name)
        return -ENOMEM;
    r = io_handle_get_fd(fd, &h);
    if (r < 0 || (known && rec.agreed && memcmp(&h, &rec.handle, sizeof(h)) == 0))
        return r;
    if (!known)
        memset(&rec, 0, sizeof(rec));
    rec.handle = h;
    if (!rec.agreed) {
        rec.parent = *parent;
        if (str_copy(rec.name, sizeof(rec.name), name) < 0)
            return -EINVAL;
        rec.mode = n->mode;
        rec.owner = n->uid;
        rec.group = n->gid;
    }
    return base_dir_put(t->st, &n->id, &rec);
}

bool scan_tree_borrowed(const struct tree *t, const struct node *n) {
    bool is = n->looked ? n->is : n->was;
    const char *name = n->looked ? n->name : n->old_name;
    const struct mailfs_id *parent = n->looked ? &n->parent : &n->old_parent;
    struct base_dir rec;
    size_t i;

    for (i = 0; i < t->n_lenders; i++) {
        bool has = base_dir_get(t->lenders[i], &n->id, &rec) == 0 && rec.agreed;
        if (is ? has && mailfs_id_equal(&rec.parent, parent) && strcmp(rec.name, name) == 0
               : !has && t->lenders[i]->had_contact)
            return true;
    }
    return false;
}

/*
 * Made here, told, and deleted before the peer's answer: the peer may have it, by what it read when
 * the link had ended. It is one that both had, then, and that this node removed. If the peer has it
 * in its base, the bases differ, and it lists it.
 */
static void told_and_gone(struct tree *t) {
    struct node *n, *tmp;

    HASH_ITER(hh, t->nodes, n, tmp) {
        n->was |= n->told && n->looked && !n->is;
    }
}

/* ---- the order --------------------------------------------------------------------- */

int tree_scan(struct state *st, bool full, Mfp__Tree **out, uint8_t digest[STATE_DIGEST],
              struct invals *inval) {
    return tree_scan_for(st, full, NULL, 0, out, digest, inval);
}

/* The nodes, as they are now. */
static int look(struct tree *t, struct invals *inval) {
    int r = tree_recover(t->st);

    if (r == 0)
        r = base_each_dir(t->st, from_base, t);
    if (r == 0)
        r = t->full ? scan_tree_whole(t) : scan_tree_marked(t);
    if (r == 0)
        told_and_gone(t);
    if (r == 0)
        r = scan_tree_make_held(t, inval);
    if (r == 0 && t->follows)
        r = scan_tree_lose(t);
    if (r == 0)
        scan_tree_look_inside(t);
    return r;
}

static int scan(struct tree *t, Mfp__Tree **out, uint8_t digest[STATE_DIGEST],
                struct invals *inval) {
    Mfp__Tree *tree = malloc(sizeof(*tree));
    int r = tree ? base_tree_digest(t->st, digest) : -ENOMEM;

    if (tree)
        mfp__tree__init(tree);
    t->full = t->full || !t->st->had_contact;
    base_gone_forget(t->st); /* of a merge that the peer has not confirmed */
    merge_keep_back(t->st);  /* the contact begins; merge_caught_up() ends this */
    if (r == 0)
        r = look(t, inval);
    if (r == 0 && t->unmade) /* some may have gone from it */
        r = base_tree_digest(t->st, digest);
    if (r == 0)
        r = scan_tree_list(t, tree);
    if (r == 0)
        r = base_version_list(t->st, BASE_OF_TREE, &mailfs_id_root, &tree->base_version);
    if (r == 0 && t->unmade)
        tree->base_version |= BASE_AGE_LACKS;
    if (t->unmade && !t->full) /* by differences alone the other side could not tell */
        memset(digest, 0, STATE_DIGEST);
    if (r == 0)
        r = build_bytes(&tree->base_digest, digest, STATE_DIGEST);
    tree_clear(t);
    if (r < 0) {
        if (tree)
            mfp__tree__free_unpacked(tree, NULL);
        return state_fail(t->st, r, NULL, "cannot read the directory tree");
    }
    tree->full = t->full;
    tree->says_msgs = true;
    tree->base_valid = t->st->had_contact;
    *out = tree;
    return 0;
}

int tree_scan_for(struct state *st, bool full, struct state *const *lenders, size_t n_lenders,
                  Mfp__Tree **out, uint8_t digest[STATE_DIGEST], struct invals *inval) {
    struct tree t = {.st = st, .full = full, .lenders = lenders, .n_lenders = n_lenders};

    return scan(&t, out, digest, inval);
}

int tree_scan_following(struct state *st, bool full, struct state *const *lenders, size_t n_lenders,
                        Mfp__Tree **out, uint8_t digest[STATE_DIGEST], struct invals *inval) {
    struct tree t = {
        .st = st, .full = full, .follows = true, .lenders = lenders, .n_lenders = n_lenders};

    return scan(&t, out, digest, inval);
}
