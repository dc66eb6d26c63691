/*
 * scan_tree: the directory tree against the agreed base.
 *
 * Full: the whole store is walked. Otherwise only the directories of marked containers are read:
 * the mark of a container covers the names in it, so a directory can only have come, gone or been
 * renamed in a marked one. What lies below Dovecot's trash, or in .mailfs, is not of the tree.
 *
 * Memory: about 700 bytes a container of the base (all of them are loaded).
 *
 * Diagnostics: a directory that could not be read, with its path. info: how many were not looked
 * into.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apply_int.h"
#include "build.h"
#include "hold.h"
#include "io/dirid.h"
#include "io/io.h"
#include "maildir/class.h"
#include "merge_run.h"
#include "replica/base_age.h"
#include "scan.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/str.h"

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
#define DEPTH_MAX 64

struct node {
    UT_hash_handle hh;
    struct mailfs_id id;
    bool was, is, looked, marked, listed;
    bool inside;  /* that was looked at: */
    bool changed; /* something in it is not as in the base */
    struct mailfs_id old_parent, parent;
    char *old_name, *name;
    uint32_t mode, uid, gid;
};

struct tree {
    struct state *st;
    struct node *nodes;
    bool full;
    bool unmade;                  /* see make_held() */
    struct state *const *lenders; /* scan.h */
    size_t n_lenders;
};

/* ---- nodes ------------------------------------------------------------------------- */

static struct node *node_find(struct tree *t, const struct mailfs_id *id) {
    struct node *n;

    HASH_FIND(hh, t->nodes, id, sizeof(*id), n);
    return n;
}

static struct node *node_get(struct tree *t, const struct mailfs_id *id) {
    struct node *n = node_find(t, id);

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
        free(n->old_name);
        free(n->name);
        free(n);
    }
}

static int from_base(void *arg, const struct mailfs_id *id, const struct base_dir *rec) {
    struct tree *t = arg;
    struct node *n = node_get(t, id);

    if (!n)
        return -ENOMEM;
    if (!rec->agreed)
        return 0;
    n->was = true;
    n->old_parent = rec->parent;
    n->old_name = strdup(rec->name);
    n->mode = rec->mode;
    n->uid = rec->owner;
    n->gid = rec->group;
    return n->old_name ? 0 : -ENOMEM;
}

/* Where it is now; the base learns of a container it did not know, and of its handle. */
static int node_place(struct tree *t, struct node *n, const struct mailfs_id *parent,
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
    n = r == 0 ? node_get(c->t, &d.id) : NULL;
    if (r == 0 && !n)
        r = -ENOMEM;
    /* A second holder of an id that the base does not know yet: found by having been seen already.
     */
    if (r == 0 && n->looked && n->is &&
        !(mailfs_id_equal(&n->parent, &c->parent) && strcmp(n->name, name) == 0)) {
        r = mailfs_id_new(&d.id);
        if (r == 0)
            r = io_dirid_replace(fd, &d.id);
        n = r == 0 ? node_get(c->t, &d.id) : NULL;
        if (r == 0 && !n)
            r = -ENOMEM;
    }
    fresh = r == 0 && !n->was;
    if (r == 0)
        r = node_place(c->t, n, &c->parent, name, fd);
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
        node = node_get(t, &marks[i].dir);
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
        r = node_place(t, n, &parent, name, d.fd[0]);
    store_dir_close(&d);
    return r;
}

static bool is_suspicious(struct tree *t, const struct node *n) {
    struct node *p = node_find(t, &n->old_parent);

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

static int scan_marked(struct tree *t) {
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

/* ---- output ------------------------------------------------------------------------ */

static bool differs(const struct node *n) {
    if (!n->looked)
        return false;
    return n->was != n->is || (n->was && (!mailfs_id_equal(&n->parent, &n->old_parent) ||
                                          strcmp(n->name, n->old_name) != 0));
}

/* Where it is, or that it is not there, is what a lender is known to have. */
static bool is_borrowed(const struct tree *t, const struct node *n) {
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

/* Should one have removed it and get it again, it must not go on under this one. */
static int fill_validity(struct state *st, const struct node *n, Mfp__TreeDir *d) {
    struct base_uidlist ul;
    int r = n->was ? base_uidlist_get(st, BASE_AGREED, &n->id, &ul) : -ENOENT;

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    d->old_v = ul.v;
    free(ul.header_ext);
    return 0;
}

/* Where it was by the base that both nodes certainly had. By differences the listing is beside an
 * equal base: the peer's has the new place too. */
static int fill_old(const struct tree *t, const struct node *n, Mfp__TreeDir *d) {
    char name[MAILDIR_NAME_MAX + 1];
    struct mailfs_id parent;
    bool moved = t->full && base_moved_from(t->st, &n->id, &parent, name);

    d->old_name = build_str(moved ? name : n->old_name);
    return d->old_name ? build_id(&d->old_parent, moved ? &parent : &n->old_parent) : -ENOMEM;
}

static int fill(struct tree *t, const struct node *n, Mfp__TreeDir *d) {
    /* What was not looked at is as it was. */
    bool is = n->looked ? n->is : n->was;
    const char *name = n->looked ? n->name : n->old_name;
    const struct mailfs_id *parent = n->looked ? &n->parent : &n->old_parent;
    struct base_dir rec = {.mode = n->mode, .owner = n->uid, .group = n->gid};
    int r = build_id(&d->id, &n->id);

    if (r == 0)
        r = fill_validity(t->st, n, d);
    d->had = n->was;
    d->has = is;
    d->borrowed = is_borrowed(t, n);
    d->changed_inside = n->changed || !(n->was || (d->borrowed && n->inside));
    if (r == 0 && n->was)
        r = fill_old(t, n, d);
    if (r == 0 && is && !(d->name = build_str(name)))
        r = -ENOMEM;
    if (r == 0 && is)
        r = build_id(&d->parent, parent);
    if (r == 0 && !(d->meta = build_dir_meta(&rec)))
        r = -ENOMEM;
    return r;
}

static int list_node(struct tree *t, struct node *n, Mfp__Tree *out);

static int list_parent(struct tree *t, const struct mailfs_id *id, Mfp__Tree *out) {
    struct node *p = mailfs_id_is_root(id) ? NULL : node_find(t, id);

    return p ? list_node(t, p, out) : 0;
}

/* With all above it, before and now. */
static int list_node(struct tree *t, struct node *n, Mfp__Tree *out) {
    Mfp__TreeDir *d;
    int r = 0;

    if (n->listed || (!n->was && !n->is))
        return 0;
    n->listed = true;
    if (n->was)
        r = list_parent(t, &n->old_parent, out);
    if (r == 0 && n->looked && n->is)
        r = list_parent(t, &n->parent, out);
    if (r < 0)
        return r;
    d = malloc(sizeof(*d));
    if (!d)
        return -ENOMEM;
    mfp__tree_dir__init(d);
    r = fill(t, n, d);
    if (r == 0)
        r = build_push(&out->dirs, &out->n_dirs, d);
    if (r < 0)
        mfp__tree_dir__free_unpacked(d, NULL);
    return r;
}

static int list_all(struct tree *t, Mfp__Tree *out) {
    struct node *n, *tmp;
    int r = 0;

    HASH_ITER(hh, t->nodes, n, tmp) {
        /* A marked one too: the peer may have removed it, and must know that it lives. */
        if (t->full || differs(n) || n->marked)
            r = list_node(t, n, out);
        if (r < 0)
            break;
    }
    return r;
}

static int mark_nodes(struct tree *t) {
    struct state_mark *marks;
    size_t n, i;
    int r = state_marks(t->st, UINT64_MAX, &marks, &n);

    for (i = 0; r == 0 && i < n; i++) {
        struct node *node = node_find(t, &marks[i].dir);
        if (node)
            node->marked = true;
    }
    if (r == 0)
        free(marks);
    return r;
}

/* Added, or added again: Dovecot never gives a file that stays another UID, nor takes it away. */
static bool msg_came(const Mfp__BaseMsg *m) {
    return m->is && (!m->was || (m->was->uid && m->was->uid != m->is->uid));
}

/*
 * What is borrowed is not this node's, and where its directory is borrowed, too, both stay here
 * when the other end removes that (take_out()). A directory that is not would have to go: it lives
 * on for what is in it. Of dovecot-uidvalidity, which never is borrowed, see scan_files.c.
 */
static bool holds_new(const struct tree *t, const struct node *n, const Mfp__Listing *l) {
    bool whole = is_borrowed(t, n);
    size_t i;

    for (i = 0; i < l->n_msgs; i++)
        if (msg_came(l->msgs[i]) && !(whole && l->msgs[i]->borrowed))
            return true;
    for (i = 0; i < l->n_files; i++) {
        const char *name = l->files[i]->name;
        if (l->files[i]->is && !(whole && l->files[i]->borrowed) &&
            !(t->n_lenders &&
              maildir_class_of(MAILDIR_DIR_CONTAINER, name, strlen(name)) == MAILDIR_UIDVALIDITY))
            return true;
    }
    return false;
}

static bool differs_inside(struct tree *t, const struct node *n) {
    Mfp__Listing *l;
    struct base_dir rec;
    bool differs;

    bool merged = base_dir_get(t->st, &n->id, &rec) == 0 && rec.merged;

    if ((!merged && !t->n_lenders) ||
        scan_mailbox_for(t->st, &n->id, false, t->lenders, t->n_lenders, &l) < 0)
        return true;
    differs = !l->gone && ((l->full && !t->n_lenders) || holds_new(t, n, l));
    mfp__listing__free_unpacked(l, NULL);
    return differs;
}

/*
 * A mark says "perhaps" (it outlives the change until the next generation), and a client that only
 * opens a mailbox changes it: new/ to cur/, flags, the next UID. A directory that was removed
 * elsewhere must not come back for that, but for what was put into it. So it is looked at, for as
 * long as everything else of the volume may wait (a message takes 7 us on a busy machine). Of the
 * others that were removed elsewhere this node's own live on, and what is borrowed stays as it is:
 * whom it is borrowed from brings what is in it.
 */
static void look_inside(struct tree *t) {
    uint64_t until = clock_ms() + t->st->look_ms;
    struct node *n, *tmp;
    size_t unseen = 0;

    HASH_ITER(hh, t->nodes, n, tmp) {
        /* At a first contact all are new, and the other end is given them anyway. */
        if (!n->is || !(n->marked || (t->n_lenders && !n->was && t->st->had_contact)))
            continue;
        n->inside = true;
        if (clock_ms() < until) {
            n->changed = differs_inside(t, n);
        } else {
            n->changed = !is_borrowed(t, n);
            unseen++;
        }
    }
    if (unseen)
        log_info("%zu directories were not looked into before the trees are merged: where another "
                 "node removed one, it may live on",
                 unseen);
}

/* Made again, it is where it was. */
static int node_made(struct tree *t, struct node *n) {
    struct store_dir d;
    int r = store_dir_open(t->st, &n->id, &d);

    if (r < 0)
        return r;
    n->marked = true;
    r = node_place(t, n, &n->old_parent, n->old_name, d.fd[0]);
    store_dir_close(&d);
    return r;
}

/*
 * What is held back may not be listed as removed, so it is made again. Where its name is taken (the
 * mailbox was made anew meanwhile) it is not listed at all, nor taken for removed by agreement: the
 * merge then makes one of the two, and what is below it is made the next time.
 */
static int make_held(struct tree *t, struct invals *inval) {
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
            t->unmade = true;
            hold_dir_gone(t->st, &n->id);
            r = 0;
        }
        if (r < 0)
            break;
    }
    return r;
}

static int scan_whole(struct tree *t) {
    struct node *n, *tmp;
    int r = read_children(t, t->st->root, &mailfs_id_root, 0);

    HASH_ITER(hh, t->nodes, n, tmp) {
        n->looked = true; /* what the walk did not see is not there */
    }
    return r == 0 ? mark_nodes(t) : r;
}

int tree_scan(struct state *st, bool full, Mfp__Tree **out, uint8_t digest[STATE_DIGEST],
              struct invals *inval) {
    return tree_scan_for(st, full, NULL, 0, out, digest, inval);
}

int tree_scan_for(struct state *st, bool full, struct state *const *lenders, size_t n_lenders,
                  Mfp__Tree **out, uint8_t digest[STATE_DIGEST], struct invals *inval) {
    struct tree t = {
        .st = st, .full = full || !st->had_contact, .lenders = lenders, .n_lenders = n_lenders};
    Mfp__Tree *tree = malloc(sizeof(*tree));
    int r = tree ? base_tree_digest(st, digest) : -ENOMEM;

    if (tree)
        mfp__tree__init(tree);
    base_gone_forget(st); /* of a merge that the peer has not confirmed */
    merge_keep_back(st);  /* the contact begins; merge_caught_up() ends this */
    if (r == 0)
        r = tree_recover(st);
    if (r == 0)
        r = base_each_dir(st, from_base, &t);
    if (r == 0)
        r = t.full ? scan_whole(&t) : scan_marked(&t);
    if (r == 0)
        r = make_held(&t, inval);
    if (r == 0)
        look_inside(&t);
    if (r == 0)
        r = list_all(&t, tree);
    if (r == 0)
        r = base_version_list(st, BASE_OF_TREE, &mailfs_id_root, &tree->base_version);
    if (t.unmade)
        tree->base_version |= BASE_AGE_LACKS;
    if (t.unmade && !t.full) /* by differences alone the other side could not tell */
        memset(digest, 0, STATE_DIGEST);
    if (r == 0)
        r = build_bytes(&tree->base_digest, digest, STATE_DIGEST);
    tree_clear(&t);
    if (r < 0) {
        if (tree)
            mfp__tree__free_unpacked(tree, NULL);
        return state_fail(st, r, NULL, "cannot read the directory tree");
    }
    tree->full = t.full;
    tree->base_valid = st->had_contact;
    *out = tree;
    return 0;
}
