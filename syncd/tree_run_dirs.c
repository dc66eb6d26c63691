/*
 * tree_run_dirs: what the merge of the directory tree does to the directories of the store.
 *
 * One that moves is in .mailfs/trash/move-<id> meanwhile (tree_recover.c). One that goes leaves its
 * messages in .mailfs/kept/ until merge_caught_up() (retire.h).
 *
 * Diagnostics: a file that was in the way of a directory; at level info a directory that lives on.
 */
#include "tree_run_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alias.h"
#include "apply_int.h"
#include "io/dirid.h"
#include "io/io.h"
#include "maildir/class.h"
#include "merge_int.h"
#include "owed.h"
#include "pour.h"
#include "renumber.h"
#include "retire.h"
#include "util/log.h"
#include "util/str.h"
#include "validity.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

static void away_name(const struct mailfs_id *id, char out[MAILFS_ID_HEX + 8]) {
    char hex[MAILFS_ID_HEX];
    snprintf(out, MAILFS_ID_HEX + 8, "move-%s", mailfs_id_format(id, hex));
}

/*
 * Two ids were one directory to their users, and the one that this node has it under goes: then it
 * gets the other one where it is (tree_run_join()), and what is in it is there all the while. NULL:
 * it goes, and what is in it moves.
 */
static const struct mailfs_id *renumbered(const struct tree_run *t, const struct mailfs_id *id) {
    const struct tree_item *it = tree_result_find(t->result, id), *now;

    if (!it || !it->aliased || !it->at_a)
        return NULL;
    now = tree_result_find(t->result, &it->alias_of);
    return now && !now->at_a ? &now->id : NULL;
}

bool tree_run_is_left(const struct tree_item *it) {
    return (it->what & TREE_LEFT) != 0;
}

static bool is_borrowed(const struct tree_item *it) {
    return it->a && it->a->borrowed;
}

bool tree_run_moves(const struct tree_run *t, const struct tree_item *it) {
    const struct mailfs_id *parent;

    if (!it->present || !it->at_a || tree_run_is_left(it))
        return false;
    parent = renumbered(t, &it->now_a.parent);
    if (!parent)
        parent = &it->now_a.parent;
    return !(mailfs_id_equal(&it->place.parent, parent) &&
             strcmp(it->place.name, it->now_a.name) == 0);
}

int tree_run_take_away(struct tree_run *t, const struct tree_item *it) {
    char name[MAILDIR_NAME_MAX + 1], to[MAILFS_ID_HEX + 8];
    struct mailfs_id parent;
    struct store_dir d;
    /* It may lie in one that was taken away before it. */
    int from = -1, r = store_dir_open_anywhere(t->st, &it->id, &d);

    if (r < 0)
        return r == -ENOENT ? -ESTALE : r;
    away_name(&it->id, to);
    r = apply_place_of(t->st, d.fd[0], &parent, &from, name);
    if (r == 0 && !(mailfs_id_equal(&parent, &it->now_a.parent) && !strcmp(name, it->now_a.name)))
        r = -ESTALE;
    if (r == 0)
        r = io_rename(from, name, t->st->trash, to, RENAME_NOREPLACE);
    if (r == 0)
        inval_moved(t->inval, &parent, &it->id, name, NULL);
    if (from >= 0)
        close(from);
    store_dir_close(&d);
    return r;
}

static int put_at(struct tree_run *t, const struct mailfs_id *id, const struct tree_place *at) {
    char from[MAILFS_ID_HEX + 8];
    struct store_dir parent;
    int r = store_dir_open(t->st, &at->parent, &parent);

    away_name(id, from);
    if (r == 0)
        r = io_rename(t->st->trash, from, parent.fd[0], at->name, RENAME_NOREPLACE);
    if (r == 0)
        inval_moved(t->inval, &at->parent, id, NULL, at->name);
    store_dir_close(&parent);
    return r;
}

/* Under a new name, in kept/: looked at there, where nobody can make another thing of it. */
static int keep_file(struct state *st, int parent, const char *name) {
    char kept[MERGE_KEPT_MAX];
    struct stat sb;
    int r = merge_kept_name(name, 'l', kept);

    if (r == 0)
        r = io_rename(parent, name, st->kept, kept, RENAME_NOREPLACE);
    if (r == 0 && (fstatat(st->kept, kept, &sb, AT_SYMLINK_NOFOLLOW) < 0 || S_ISDIR(sb.st_mode)))
        r = io_rename(st->kept, kept, parent, name, RENAME_NOREPLACE) < 0 ? -EIO : -EEXIST;
    merge_kept_is(st, kept);
    return r;
}

/*
 * The name is taken. Not by a directory: then the one that comes has it, with the mail in it, and
 * the file is for the administrator. There is nothing else that both nodes could agree on.
 */
static int make_room(struct tree_run *t, const struct tree_place *at) {
    struct store_dir parent;
    struct stat sb;
    char path[256];
    int r = store_dir_open(t->st, &at->parent, &parent);

    if (r == 0 &&
        (fstatat(parent.fd[0], at->name, &sb, AT_SYMLINK_NOFOLLOW) < 0 || S_ISDIR(sb.st_mode) ||
         maildir_class_of(MAILDIR_DIR_CONTAINER, at->name, strlen(at->name)) != MAILDIR_OTHER))
        r = -EEXIST;
    if (r == 0)
        r = keep_file(t->st, parent.fd[0], at->name);
    if (r == 0) {
        log_warn("%s: %s has the name of a directory of the other node; it is in .mailfs/kept/",
                 state_path(t->st, &at->parent, path, sizeof(path)), at->name);
        inval_add(t->inval, &at->parent, MFP__SUB__SELF, at->name, NULL, true);
    }
    store_dir_close(&parent);
    return r;
}

/* A name that was taken meanwhile, a parent that is gone: what was listed is old. */
static int put_back(struct tree_run *t, const struct tree_item *it) {
    int r = put_at(t, &it->id, &it->place);

    if (r == -EEXIST && make_room(t, &it->place) == 0)
        r = put_at(t, &it->id, &it->place);
    return r == -EEXIST || r == -ENOENT || r == -ENOTEMPTY ? -ESTALE : r;
}

/* Its parent may have another id by now. */
static int put_where_it_was(struct tree_run *t, const struct tree_item *it) {
    const struct mailfs_id *parent = renumbered(t, &it->now_a.parent);
    struct tree_place at = it->now_a;
    int r = put_at(t, &it->id, &at);

    if (r == -ENOENT && parent) {
        at.parent = *parent;
        r = put_at(t, &it->id, &at);
    }
    return r;
}

void tree_run_undo(struct tree_run *t) {
    bool again = t->order != NULL;
    size_t i;

    while (again) {
        again = false;
        for (i = 0; i < t->result->count; i++) {
            const struct tree_item *it = t->order[i];
            if (tree_run_moves(t, it) && put_where_it_was(t, it) == 0)
                again = true;
        }
    }
}

/* So that what is to be made in it finds it: by its handle, as if a scan had found it. */
static int note_made(struct tree_run *t, const struct tree_item *it, int parent) {
    struct base_dir rec;
    int r = base_dir_get(t->st, &it->id, &rec), fd;

    if (r < 0 && r != -ENOENT)
        return r;
    if (r == -ENOENT) {
        rec = (struct base_dir){.parent = it->place.parent,
                                .mode = it->attr.mode,
                                .owner = it->attr.uid,
                                .group = it->attr.gid};
        if (str_copy(rec.name, sizeof(rec.name), it->place.name) < 0)
            return -EINVAL;
    }
    fd = io_open_beneath(parent, it->place.name, O_RDONLY | O_DIRECTORY, 0);
    r = fd < 0 ? fd : io_handle_get_fd(fd, &rec.handle);
    if (fd >= 0)
        close(fd);
    return r == 0 ? base_dir_put(t->st, &it->id, &rec) : r;
}

/*
 * A mailbox that this node had removed, and that lives on since the other put something into it.
 * Its clients may have been shown UIDs in it that the other's list will give to other messages: T7.
 * So it is there from its first moment with a list under another UIDVALIDITY, and the mailbox's
 * merge takes that. Until this node has it there, the trees differ, and it is still one that was
 * removed.
 */
static int first_validity(struct tree_run *t, const struct tree_item *it, uint32_t *v) {
    char path[256];
    int r;

    *v = 0;
    if (!it->anew_a || it->old_validity == 0 || t->standby)
        return 0;
    r = validity_take(t->st, &it->place.parent, it->old_validity, v, t->inval);
    if (r == 0)
        log_info("%s/%s: removed here, lives on: it has another UIDVALIDITY, %u",
                 state_path(t->st, &it->place.parent, path, sizeof(path)), it->place.name, *v);
    return r;
}

/* Another link's merge has made it since it was listed. */
static bool is_made(int parent, const struct tree_item *it) {
    struct mailfs_id id;
    int fd = io_open_beneath(parent, it->place.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    bool is = fd >= 0 && io_dirid_get(fd, &id) == 0 && mailfs_id_equal(&id, &it->id);

    if (fd >= 0)
        close(fd);
    return is;
}

static int make(struct tree_run *t, const struct tree_item *it) {
    struct new_container c = {.name = it->place.name,
                              .id = &it->id,
                              .has_meta = true,
                              .mode = it->attr.mode,
                              .uid = it->attr.uid,
                              .gid = it->attr.gid};
    struct store_dir parent;
    int r = store_dir_open(t->st, &it->place.parent, &parent);
    bool made = r == 0 && is_made(parent.fd[0], it);

    if (r == 0 && !made)
        r = first_validity(t, it, &c.validity);
    if (r == 0 && !made)
        r = apply_make_container(t->st, parent.fd[0], &c);
    if (r == -EEXIST && make_room(t, &it->place) == 0)
        r = apply_make_container(t->st, parent.fd[0], &c);
    if (r == 0)
        r = note_made(t, it, parent.fd[0]);
    if (r == 0 && !made)
        inval_moved(t->inval, &it->place.parent, &it->id, NULL, it->place.name);
    store_dir_close(&parent);
    return r;
}

int tree_run_place(struct tree_run *t, const struct tree_item *it) {
    struct store_dir d;
    int r;

    if (tree_run_moves(t, it))
        return put_back(t, it);
    r = store_dir_open(t->st, &it->id, &d);
    if (r == 0)
        store_dir_close(&d);
    return r == -ENOENT ? make(t, it) : r;
}

struct agreed {
    struct state *st;
    const struct mailfs_id *id;
    const struct tree_entry *mine;
};

/* What was new to this node's base the other one knew, when it was removed nevertheless. */
static bool was_known(const struct tree_entry *mine, const char *base) {
    size_t i;

    for (i = 0; mine && i < mine->n_msgs; i++) {
        if (strcmp(mine->msgs[i].name, base) == 0)
            return true;
    }
    return false;
}

/* What was put back after a power cut the other node had sent: it was removed, or went with the
 * rest.
 */
static int is_agreed(void *arg, const char *base) {
    const struct agreed *a = arg;
    struct base_msg rec;
    int r = base_msg_get(a->st, BASE_AGREED, a->id, base, &rec);

    if (r == -ENOENT)
        return was_known(a->mine, base) || base_was_put_back(a->st, a->id, base);
    return r == 0 ? 1 : r;
}

/* The listing its removal was decided on is seconds old. The next round lets it live. */
static int lives_on(struct state *st, const struct mailfs_id *id) {
    char path[256];
    uint64_t gen;
    int r = state_mark_gen(st, &gen);

    log_info("%s: removed on the other node, but changed since: it is looked at again",
             state_path(st, id, path, sizeof(path)));
    if (r == 0)
        r = state_mark(st, id, gen);
    return r == 0 ? -ESTALE : r;
}

static int take_out(struct tree_run *t, const struct tree_item *it, retire_agreed_fn *agreed,
                    void *arg) {
    const char *what;
    struct store_dir d;
    int r = store_dir_open(t->st, &it->id, &d);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    r = retire_dir(t->st, &d, agreed, arg, &what, t->inval);
    store_dir_close(&d);
    /* With something in it that whom it is borrowed from has, and has not removed, it stays. */
    if (r == RETIRE_LIVES && is_borrowed(it))
        return 0;
    return r > 0 ? lives_on(t->st, &it->id) : r;
}

int tree_run_take_out(struct tree_run *t, const struct tree_item *it) {
    struct agreed agreed = {t->st, &it->id, it->a};

    return take_out(t, it, is_agreed, &agreed);
}

/* No message may go, also none that the base has: all were to be poured. */
static int none_agreed(void *arg, const char *base) {
    return 0;
}

/* This node has both: what is in the one goes into the other, which may be out of the tree at this
 * moment, and is compared. */
static int pour_into(struct tree_run *t, const struct tree_item *it, struct store_dir *d,
                     struct store_dir *other) {
    uint64_t gen;
    int r = state_mark_gen(t->st, &gen);

    if (r == 0)
        r = state_mark(t->st, &it->alias_of, gen);
    if (r == 0) /* cut short, they may be two again next time */
        r = state_mark(t->st, &it->id, gen);
    if (r == 0) /* cut short behind the taking out, nobody knows any more that they were one */
        r = owed_copy(t->st, &it->id, &it->alias_of);
    if (r == 0)
        r = pour_dir(t->st, d, other, t->inval);
    inval_poke(t->inval, &it->alias_of, MFP__SUB__NEW);
    inval_poke(t->inval, &it->alias_of, MFP__SUB__CUR);
    if (r == 0)
        r = take_out(t, it, none_agreed, NULL);
    return r == 0 ? alias_note(t->st, &it->id, &it->alias_of) : r;
}

static int take_id(struct tree_run *t, const struct tree_item *it, int fd) {
    struct base_dir rec;
    int r = renumber_dir(t->st, fd, &it->id, &it->alias_of);

    if (r < 0)
        return r;
    memset(&rec, 0, sizeof(rec));
    rec.parent = it->now_a.parent;
    str_copy(rec.name, sizeof(rec.name), it->now_a.name);
    r = io_handle_get_fd(fd, &rec.handle);
    if (r == 0)
        r = base_dir_put(t->st, &it->alias_of, &rec);
    inval_renumbered(t->inval, &it->now_a.parent, &it->id, &it->alias_of, it->now_a.name);
    return r;
}

int tree_run_join(struct tree_run *t, const struct tree_item *it) {
    struct store_dir d, other;
    int r = store_dir_open(t->st, &it->id, &d);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    r = store_dir_open_anywhere(t->st, &it->alias_of, &other);
    if (r == 0) {
        r = pour_into(t, it, &d, &other);
        store_dir_close(&other);
    } else if (r == -ENOENT) {
        r = take_id(t, it, d.fd[0]);
    }
    store_dir_close(&d);
    return r;
}

int tree_run_set_attr(struct tree_run *t, const struct tree_item *it) {
    struct store_dir d;
    struct stat sb;
    int r = store_dir_open(t->st, &it->id, &d);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    if (fstat(d.fd[0], &sb) < 0)
        r = -errno;
    if (r == 0 && geteuid() == 0 && (sb.st_uid != it->attr.uid || sb.st_gid != it->attr.gid))
        r = io_fchown(d.fd[0], it->attr.uid, it->attr.gid);
    if (r == 0 && (sb.st_mode & 07777) != it->attr.mode)
        r = io_fchmod(d.fd[0], it->attr.mode & 02777);
    store_dir_close(&d);
    return r;
}
