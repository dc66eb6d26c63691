/*
 * apply_dir: containers made, moved and removed by the peer.
 *
 * Whoever looks sees all of one or nothing, and a crash leaves only what lies in .mailfs/trash: see
 * apply_container.c, and retire.h for those that go.
 *
 * Diagnostics: a directory that the peer removed and that lives on, since it holds what the peer
 * did not know of; two directories made under one name.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alias.h"
#include "apply_int.h"
#include "io/dirid.h"
#include "io/io.h"
#include "maildir/class.h"
#include "renumber.h"
#include "retire.h"
#include "util/log.h"
#include "util/str.h"
#include "wire/check.h"

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW)

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

void apply_suspect_also(struct apply *a, const struct mailfs_id *id) {
    struct apply_result *o = a->out;

    if (o->n_also < sizeof(o->also) / sizeof(*o->also))
        o->also[o->n_also++] = *id;
    else
        o->tree = true; /* a new contact finds it by its mark */
}

/* ---- made -------------------------------------------------------------------------- */

/* After the base has the place: the handle too, so that the id leads there. filled: the peer has
 * not what is in it. */
static int remember(struct apply *a, const struct mailfs_id *id, const char *name,
                    const Mfp__Meta *meta, bool filled) {
    struct base_dir rec;
    int fd, r = base_dir_get(a->st, id, &rec);

    if (r < 0 && r != -ENOENT)
        return r;
    if (r == -ENOENT)
        memset(&rec, 0, sizeof(rec));
    rec.parent = a->dir;
    if (str_copy(rec.name, sizeof(rec.name), name) < 0)
        return -EINVAL;
    if (meta) {
        rec.mode = meta->mode;
        rec.owner = meta->uid;
        rec.group = meta->gid;
    }
    rec.agreed |= filled;
    fd = io_open_beneath(a->d.fd[0], name, DIR_FLAGS, 0);
    if (fd < 0)
        return fd;
    r = io_handle_get_fd(fd, &rec.handle);
    close(fd);
    return r == 0 ? base_dir_put(a->st, id, &rec) : r;
}

/* The trees differ: they are to be compared. The mark makes the container be listed. */
static int suspect_tree(struct apply *a, const char *what, const char *name) {
    uint64_t gen;
    int r = state_mark_gen(a->st, &gen);

    apply_suspect(a, what, name);
    a->out->tree = true;
    if (r == 0)
        r = state_mark(a->st, &a->dir, gen);
    return r == 0 ? APPLY_NOT_DONE : r;
}

/* What was done here under the other id has no mark under this one. */
static int mark_again(struct apply *a, const struct mailfs_id *id) {
    uint64_t gen;
    int r = state_mark_gen(a->st, &gen);

    return r == 0 ? state_mark(a->st, id, gen) : r;
}

/* The peer gives up its id for this one, of which perhaps nobody has told yet. */
static int keep_id(struct apply *a, const char *name, const struct mailfs_id *mine,
                   const struct mailfs_id *theirs) {
    struct base_dir rec;
    int r = base_dir_get(a->st, mine, &rec);

    if (r == -ENOENT)
        r = remember(a, mine, name, NULL, false);
    return r == 0 ? alias_note(a->st, theirs, mine) : r;
}

/*
 * It has had the id since a join that was not noted before syncd was killed: what is in it is in no
 * base, and has no mark under this id. After a power cut it was made by this before, more likely,
 * and what the journal has of it is its base (base_lacking.c).
 */
static int joined_before(struct apply *a, const char *name, const struct mailfs_id *id) {
    int r;

    if (a->replay && !a->st->recent.whole)
        return 0;
    r = remember(a, id, name, NULL, true);

    apply_suspect_also(a, id);
    return r == 0 ? mark_again(a, id) : r;
}

/* Both made a directory of this name: the lower id is that of both, and its contents are compared.
 */
static int join(struct apply *a, const char *name, const struct mailfs_id *theirs) {
    int fd = io_open_beneath(a->d.fd[0], name, DIR_FLAGS, 0), r;
    struct mailfs_id mine, former;

    if (fd == -ENOTDIR || fd == -ELOOP)
        return suspect_tree(a, "a file has the name of a directory", name);
    if (fd < 0)
        return fd;
    r = io_dirid_ensure(fd, &mine);
    former = mine;
    if (r == 0 && !mailfs_id_equal(&mine, theirs) && a->beside) {
        close(fd);
        return -EBUSY;
    }
    if (r == 0 && mailfs_id_equal(&mine, theirs)) {
        r = joined_before(a, name, theirs);
    } else if (r == 0) {
        log_info("%s: made on both nodes", name);
        if (mailfs_id_cmp(theirs, &mine) < 0) {
            r = renumber_dir(a->st, fd, &mine, theirs);
            if (r == 0)
                r = renumber_children(a->st, &mine, theirs);
            if (r == 0)
                r = remember(a, theirs, name, NULL, true);
            mine = *theirs;
        } else {
            r = keep_id(a, name, &mine, theirs);
        }
        apply_suspect_also(a, &mine);
        inval_renumbered(&a->out->inval, &a->dir, &former, &mine, name);
        if (r == 0)
            r = mark_again(a, &mine);
    }
    close(fd);
    /* Theirs is then not a container here: the peer gives it up as well, when it hears of mine.
     * Until then what it tells of theirs is of mine. */
    if (r == 0 && !mailfs_id_equal(&mine, theirs))
        return APPLY_NOT_DONE;
    return r;
}

struct new_owner {
    int fd;
    struct stat former;
    const Mfp__Meta *meta;
};

static int give_control_file(void *arg, const char *name, unsigned char type) {
    struct new_owner *o = arg;
    struct stat sb;

    if (type != DT_REG ||
        !maildir_class_is_volatile(maildir_class_of(MAILDIR_DIR_CONTAINER, name, strlen(name))) ||
        fstatat(o->fd, name, &sb, AT_SYMLINK_NOFOLLOW) < 0 || sb.st_uid != o->former.st_uid)
        return 0;
    return io_chown(o->fd, name, o->meta->uid, o->meta->gid);
}

/*
 * Control files are made here with their directory's owner, and their own attributes are not sent:
 * they go with it. (Whoever restores a mailbox as root makes it, fills it, and gives it away last.)
 */
static int update_attr(struct store_dir *d, const Mfp__Meta *meta) {
    struct new_owner o = {.fd = d->fd[0], .meta = meta};
    int r = 0;

    if (!meta || fstat(d->fd[0], &o.former) < 0)
        return 0;
    if ((o.former.st_mode & 07777) == (meta->mode & 02777) && o.former.st_uid == meta->uid &&
        o.former.st_gid == meta->gid)
        return 0;
    if (o.former.st_uid != meta->uid && geteuid() == 0)
        r = store_each_name(d->fd[0], give_control_file, &o);
    return r == 0 ? apply_set_attr(d->fd[0], meta->mode, meta->uid, meta->gid) : r;
}

/* It is here already: made with the tree, or this node's own got its id. Then its contents have not
 * been agreed on, whatever the peer takes it for. */
static void compare_unmerged(struct apply *a, const struct mailfs_id *id) {
    struct base_dir rec;

    if (base_dir_get(a->st, id, &rec) == 0 && rec.agreed && !rec.merged)
        apply_suspect_also(a, id);
}

int apply_dir_make(struct apply *a, const Mfp__OpDirMake *op) {
    struct new_container c = {.name = op->name};
    struct mailfs_id id;
    struct store_dir d;
    int r = wire_id(&op->id, &id);

    if (r < 0 || mailfs_id_is_root(&id) ||
        maildir_name_check(op->name, strlen(op->name), MAILDIR_NAME_COMPONENT) < 0 ||
        maildir_class_is_local(maildir_class_of(MAILDIR_DIR_CONTAINER, op->name, strlen(op->name))))
        return -EINVAL;
    r = store_dir_open(a->st, &id, &d);
    if (r == 0) {
        r = update_attr(&d, op->meta);
        store_dir_close(&d);
        compare_unmerged(a, &id);
        return r;
    }
    if (r != -ENOENT)
        return r;
    c.id = &id;
    if (op->meta) {
        c.has_meta = true;
        c.mode = op->meta->mode;
        c.uid = op->meta->uid;
        c.gid = op->meta->gid;
    }
    r = apply_make_container(a->st, a->d.fd[0], &c);
    if (r == -EEXIST || r == -ENOTEMPTY)
        return join(a, op->name, &id);
    if (r == 0)
        r = remember(a, &id, op->name, op->meta, false);
    if (r == 0 && a->former) { /* a merge agrees on it */
        apply_suspect_also(a, &id);
        r = mark_again(a, &id);
    }
    if (r == 0)
        inval_moved(&a->out->inval, &a->dir, &id, NULL, op->name);
    return r;
}

/* ---- moved ------------------------------------------------------------------------- */

/* Is it where the peer had it, or where the peer has put it? If not, it was moved here as well. */
static bool place_known(const struct apply *a, const Mfp__OpDirMove *op, const struct mailfs_id *to,
                        const struct mailfs_id *parent, const char *name) {
    return (mailfs_id_equal(parent, &a->dir) && strcmp(name, op->old_name) == 0) ||
           (mailfs_id_equal(parent, to) && strcmp(name, op->name) == 0);
}

/*
 * It is there already, and both agreed on that: what took it away from there was told before this,
 * and is still to come, as the container that it was told of is being merged. Later it would be the
 * last word.
 */
static bool overtakes(const struct apply *a, const Mfp__OpDirMove *op, const struct mailfs_id *id,
                      const struct mailfs_id *to) {
    struct base_dir rec;

    return !a->replay && !mailfs_id_equal(&a->dir, to) && base_dir_get(a->st, id, &rec) == 0 &&
           rec.agreed && mailfs_id_equal(&rec.parent, to) && strcmp(rec.name, op->name) == 0;
}

int apply_dir_move(struct apply *a, const Mfp__OpDirMove *op) {
    char name[MAILDIR_NAME_MAX + 1];
    struct mailfs_id id, to_id, from_id;
    struct store_dir d, to;
    int from = -1, r = wire_id(&op->id, &id);
    bool there;

    if (r == 0)
        r = wire_id(&op->new_parent, &to_id);
    if (r < 0 || maildir_name_check(op->name, strlen(op->name), MAILDIR_NAME_COMPONENT) < 0)
        return -EINVAL;
    r = store_dir_open(a->st, &id, &d);
    if (r < 0) {
        int e = suspect_tree(a, "a directory the peer moved is not here", op->name);
        return r == -ENOENT ? e : r;
    }
    r = store_dir_open(a->st, &to_id, &to);
    if (r == 0)
        r = apply_place_of(a->st, d.fd[0], &from_id, &from, name);
    there = r == 0 && mailfs_id_equal(&from_id, &to_id) && strcmp(name, op->name) == 0;
    if (r == 0 && !place_known(a, op, &to_id, &from_id, name)) {
        r = suspect_tree(a, "a directory was moved on both nodes", op->name);
    } else if (there && overtakes(a, op, &id, &to_id)) {
        r = suspect_tree(a, "a directory was moved there and back", op->name);
    } else if (r == 0 && !there) {
        r = io_rename(from, name, to.fd[0], op->name, RENAME_NOREPLACE);
        if (r == 0) {
            inval_moved(&a->out->inval, &from_id, &id, name, NULL);
            inval_moved(&a->out->inval, &to_id, &id, NULL, op->name);
        }
    }
    if (from >= 0)
        close(from);
    store_dir_close(&to);
    store_dir_close(&d);
    if (r == -EEXIST || r == -ENOENT || r == -ENOTEMPTY || r == -EINVAL) {
        apply_suspect_also(a, &id);
        return suspect_tree(a, "a directory cannot be moved as the peer did", op->name);
    }
    return r;
}

/* ---- removed ----------------------------------------------------------------------- */

struct base_set {
    UT_hash_handle hh;
    const char *base;
};

/* What the other node knew it held. */
struct bases {
    struct base_set *all, *memory;
};

static int bases_of(const Mfp__OpDirRemove *op, struct bases *b) {
    struct base_set *s;
    size_t i;

    b->all = NULL;
    b->memory = calloc(op->n_bases + 1, sizeof(*b->memory));
    if (!b->memory)
        return -ENOMEM;
    for (i = 0; i < op->n_bases; i++) {
        HASH_FIND_STR(b->all, op->bases[i], s);
        if (s)
            continue;
        s = &b->memory[i];
        s->base = op->bases[i];
        HASH_ADD_KEYPTR(hh, b->all, s->base, strlen(s->base), s);
    }
    return 0;
}

static void bases_free(struct bases *b) {
    HASH_CLEAR(hh, b->all);
    free(b->memory);
}

static int was_known(void *arg, const char *base) {
    struct bases *b = arg;
    struct base_set *s;

    HASH_FIND_STR(b->all, base, s);
    return s != NULL;
}

/* It lives, and goes back to the other node when the trees are compared. */
static int keep_dir(struct apply *a, const struct mailfs_id *id, const char *what) {
    char path[256];
    uint64_t gen;
    int r = state_mark_gen(a->st, &gen);

    log_warn("%s: removed on the other node, but holds %s it did not know: it is kept",
             state_path(a->st, id, path, sizeof(path)), what);
    if (r == 0)
        r = state_mark(a->st, id, gen);
    if (r == 0)
        r = state_mark(a->st, &a->dir, gen);
    apply_suspect_also(a, id);
    a->out->suspect = a->out->tree = true;
    return r;
}

int apply_dir_remove(struct apply *a, const Mfp__OpDirRemove *op) {
    const char *what = NULL;
    struct mailfs_id id;
    struct store_dir d;
    struct bases bases;
    int r = wire_id(&op->id, &id), lives;

    if (r < 0 || mailfs_id_is_root(&id))
        return -EINVAL;
    r = store_dir_open(a->st, &id, &d);
    if (r == -ENOENT)
        return base_dir_del(a->st, &id);
    if (r < 0)
        return r;
    lives = r = bases_of(op, &bases);
    if (r == 0)
        lives = r = retire_dir(a->st, &d, was_known, &bases, &what, &a->out->inval);
    if (r > 0)
        r = keep_dir(a, &id, what);
    bases_free(&bases);
    store_dir_close(&d);
    /* One that could not be put back finds its way by the base. */
    return r == 0 && lives != RETIRE_LEFT ? base_dir_del(a->st, &id) : r;
}

int apply_subdir(struct apply *a, const Mfp__OpSubDir *op) {
    static const char *const names[] = {"", "new", "cur", "tmp"};
    int fd, r = 0;

    if (op->sub != MFP__SUB__NEW && op->sub != MFP__SUB__CUR && op->sub != MFP__SUB__TMP)
        return -EINVAL;
    if (op->removed) {
        r = io_rmdir(a->d.fd[0], names[op->sub]);
        if (r == -ENOTEMPTY || r == -EEXIST)
            apply_suspect(a, "not empty", names[op->sub]);
    } else {
        fd = store_sub_open(a->st, &a->d, (int)op->sub, true);
        if (fd < 0)
            return fd;
        if (op->meta)
            r = apply_set_attr(fd, op->meta->mode, op->meta->uid, op->meta->gid);
    }
    if (r == 0)
        inval_moved(&a->out->inval, &a->dir, &a->dir, names[op->sub], names[op->sub]);
    return r == -ENOENT || r == -ENOTEMPTY || r == -EEXIST ? 0 : r;
}
