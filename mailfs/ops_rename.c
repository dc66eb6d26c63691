/*
 * ops_rename - rename(2) in all its forms
 *
 * Never waits for the peer: the kernel may hold the whole mount's rename lock meanwhile.
 *
 * Diagnostics: none; errors are replied.
 */
#include "req.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "dir.h"
#include "event.h"
#include "file.h"
#include "io/io.h"
#include "lock.h"
#include "note.h"
#include "notify.h"
#include "prepare.h"
#include "upcall.h"
#include "validity.h"

struct renaming {
    const struct spot *from, *to;
    unsigned flags;
    pid_t pid;
    struct stat victim; /* what had the new name; st_ino 0: nothing */
    bool no_op;         /* both are links to one file: rename(2) does nothing then */
};

/*
 * What is at both names, before; 1: the rename was done already, by this very request (what had the
 * new name is as noted then); 0: it is to be done, and noted.
 */
static int look_before(struct renaming *r, int fromfd, int tofd, struct stat *src) {
    struct note n;
    int e = fstatat(fromfd, r->from->name, src, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : -errno;
    if (fstatat(tofd, r->to->name, &r->victim, AT_SYMLINK_NOFOLLOW) != 0)
        r->victim.st_ino = 0;
    bool exchanged = e == 0 && (r->flags & RENAME_EXCHANGE) != 0;
    if (note_found(NOTE_RENAME, &n) && r->victim.st_ino == n.ino && n.ino != n.other &&
        (e != 0 || (exchanged && src->st_ino == n.other))) {
        r->victim = (struct stat){
            .st_ino = n.other, .st_dev = n.dev, .st_mode = n.mode, .st_nlink = n.nlink};
        return 1;
    }
    if (e == 0)
        note_write(&(struct note){.kind = NOTE_RENAME,
                                  .ino = src->st_ino,
                                  .other = r->victim.st_ino,
                                  .dev = (uint32_t)src->st_dev,
                                  .mode = r->victim.st_mode,
                                  .nlink = (uint32_t)r->victim.st_nlink});
    return e;
}

static int rename_in_store(struct renaming *r) {
    int fromfd = r->from->dir->dir->fd, tofd = r->to->dir->dir->fd;
    struct stat src;
    struct inode *first = r->from->dir < r->to->dir ? r->from->dir : r->to->dir;
    struct inode *second = first == r->from->dir ? r->to->dir : r->from->dir;
    names_begin(first);
    if (second != first)
        names_begin(second);
    int e = look_before(r, fromfd, tofd, &src);
    bool done = e > 0;
    if (e == 0 && S_ISDIR(src.st_mode))
        e = spot_refuses_dir(r->to);
    if (e == 0 && dir_is_cut(r->to->dir))
        e = -ENOENT;
    if (e == 0)
        e = io_rename(fromfd, r->from->name, tofd, r->to->name, r->flags);
    if (done)
        e = 0;
    r->no_op = e == 0 && !done && r->victim.st_ino == src.st_ino && r->victim.st_dev == src.st_dev;
    if (second != first)
        names_end(second, r->pid);
    names_end(first, r->pid);
    note_die_at("rename");
    return e;
}

/* The inode that lost its last name, or one of them. */
static void victim_gone(const struct renaming *r) {
    struct inode *in =
        r->victim.st_ino == 0 ? NULL : inode_find(r->victim.st_dev, r->victim.st_ino);
    if (in == NULL)
        return;
    if (in->dir != NULL) {
        event_dir_gone(r->to, in, r->pid);
        dir_removed(in);
    } else {
        inode_place_drop(in, r->to->dir, r->to->name);
        if (r->victim.st_nlink <= 1)
            prepare_dropped(in);
    }
    inode_unref(in, 1);
}

/* The kernel moves a name with the lifetime it had under the old one. */
static void end_lifetime(struct inode *in, const struct spot *to) {
    if (in->dir != NULL || inode_short_lived(in) || !maildir_class_is_volatile(to->class))
        return;
    inode_set_short_lived(in, true);
    notify_name(to->dir, to->name);
}

/* The event first: it may want the place that the inode had. */
static void file_renamed(const struct renaming *r, const struct spot *from, const struct spot *to,
                         struct inode *in, const struct stat *st) {
    inode_place_drop(in, from->dir, from->name);
    if (r->flags & RENAME_EXCHANGE)
        event_appeared(to, in, st, r->pid);
    else
        event_renamed(from, to, in, st, r->pid);
    if (!prepare_is_for(to))
        prepare_dropped(in);
    inode_place_set(in, to->dir, to->name);
    file_retrack(in, to);
    end_lifetime(in, to);
}

/* What stood at `from` stands at `to` now. */
static void one_renamed(const struct renaming *r, const struct spot *from, const struct spot *to) {
    struct stat st;
    struct inode *in = NULL;
    if (fstatat(to->dir->dir->fd, to->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        in = inode_find(st.st_dev, st.st_ino);
    if (in == NULL && inode_lookup(to->dir, to->name, &in, &st) != 0) {
        upcall_lost(); /* or somebody below the mount was faster */
        return;
    }
    if (in->dir == NULL) {
        file_renamed(r, from, to, in, &st);
    } else {
        dir_moved(in, to->dir, to->name);
        event_dir_renamed(from, to, in, &st, r->pid);
        if (r->flags & RENAME_EXCHANGE)
            upcall_lost(); /* two names swapped cannot be told one by one */
    }
    inode_unref(in, 1);
}

static int do_rename(struct renaming *r) {
    const struct spot *spots[2] = {r->from, r->to};
    int e = change_begin(spots, 2);
    /* Unmarked mail may be lost to the merge: a delivery is put off. What L guards must go on. */
    bool from_tmp = r->from->w.kind == MAILDIR_DIR_TMP;
    e = e != 0 && from_tmp ? -EAGAIN : rename_in_store(r);
    if (e == 0 && !r->no_op) {
        if (!(r->flags & RENAME_EXCHANGE))
            victim_gone(r);
        one_renamed(r, r->from, r->to);
        if (r->flags & RENAME_EXCHANGE)
            one_renamed(r, r->to, r->from);
    }
    change_end();
    return from_tmp ? error_for_now(r->to, e) : e;
}

/* Dovecot takes the next UIDVALIDITY. One of the other node's it is not given: it looks for the
 * highest name then, and that is the one which the refused rename has made. */
static int take_validity(struct renaming *r, struct spot *to) {
    char ahead[MAILDIR_UIDVALIDITY_NAME_MAX];
    enum validity whose = VALIDITY_NONE;
    if (r->from->class == MAILDIR_VALIDITY_MARK && r->from->dir == to->dir)
        whose = validity_of(to, ahead);
    if (whose == VALIDITY_OURS)
        to->name = ahead;
    int e = do_rename(r);
    return e == 0 && whose == VALIDITY_THEIRS ? -ENOENT : e;
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
               const char *newname, unsigned flags) {
    struct spot from, to;
    int e;
    spot_make(&from, inode_of(parent), name);
    spot_make(&to, inode_of(newparent), newname);
    struct renaming r = {.from = &from, .to = &to, .flags = flags, .pid = req_pid(req)};
    /* L needs a token: it comes by O_EXCL only. */
    bool to_lock = (to.class == MAILDIR_LOCK_L && !to.w.local) ||
                   (from.class == MAILDIR_LOCK_L && lock_is_held(from.dir->dir));
    if (spot_hidden(&from) || from.class == MAILDIR_POKE)
        e = -ENOENT;
    else if (spot_hidden(&to) || to.class == MAILDIR_POKE || to_lock)
        e = -EPERM;
    else
        e = take_validity(&r, &to);
    reply_result(req, e);
    spot_done(&to);
    spot_done(&from);
}
