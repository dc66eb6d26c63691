/*
 * event_dir - the Acts of local.proto that are about directories
 *
 * Diagnostics: warning: a deleted mailbox held so many messages that the list of them is cut; the
 * peer may keep it then.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "event.h"
#include "event_int.h"
#include "maildir/name.h"
#include "note.h"
#include "upcall.h"
#include "util/array.h"
#include "util/log.h"
#include "wire/check.h"

/* A directory in new/ or cur/ is nobody's mail. */
static bool dir_travels(const struct spot *at) {
    return at->sent && at->class != MAILDIR_MESSAGE;
}

/* st NULL: it is gone. */
static void tell_part(const struct spot *at, const struct stat *st, pid_t pid) {
    Mfl__Act act = MFL__ACT__INIT;
    Mfl__SubDir sub = MFL__SUB_DIR__INIT;
    Mfl__Meta meta;
    sub.sub = event_sub(maildir_dir_of(at->w.kind, at->name, strlen(at->name)));
    sub.removed = st == NULL;
    if (st != NULL) {
        event_meta(&meta, st);
        sub.meta = &meta;
    }
    act.what_case = MFL__ACT__WHAT_SUBDIR;
    act.subdir = &sub;
    event_tell(&act, &at->w, pid);
}

static void tell_make(const struct spot *at, struct inode *in, const struct stat *st, pid_t pid) {
    Mfl__Act act = MFL__ACT__INIT;
    Mfl__DirMake make = MFL__DIR_MAKE__INIT;
    Mfl__Meta meta;
    struct io_handle handle;
    inode_handle(in, &handle);
    event_meta(&meta, st);
    make.id = wire_bytes_of(&in->dir->id);
    make.name = event_text(at->name);
    make.meta = &meta;
    make.handle = (ProtobufCBinaryData){sizeof handle, (uint8_t *)&handle};
    act.what_case = MFL__ACT__WHAT_DIR_MAKE;
    act.dir_make = &make;
    event_tell(&act, &at->w, pid);
}

void event_dir_made(const struct spot *at, struct inode *in, const struct stat *st, pid_t pid) {
    if (!dir_travels(at))
        return;
    if (event_is_part(at))
        tell_part(at, st, pid);
    else if (in->dir->has_id)
        tell_make(at, in, st, pid);
}

/* --- removing
 * ---------------------------------------------------------------------------------------- */

/* The base names that the directory's new/ and cur/ hold. */
struct bases {
    char **v;
    size_t n, bytes;
};
#define BASES_BYTES_MAX (96u << 10) /* a packet holds 128 KiB */

static bool bases_add(struct bases *b, const char *name) {
    size_t len = maildir_name_base_len(name, strlen(name));
    if (name[0] == '.' || len == 0)
        return true;
    if (b->bytes + len + 4 > BASES_BYTES_MAX)
        return false;
    char **v = array_room(b->v, b->n, sizeof *v);
    if (v == NULL)
        return false;
    b->v = v;
    b->v[b->n] = strndup(name, len);
    if (b->v[b->n] == NULL)
        return false;
    b->n++;
    b->bytes += len + 4;
    return true;
}

static bool bases_of(struct bases *b, int dirfd, const char *part) {
    int fd = openat(dirfd, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return true;
    DIR *d = fdopendir(fd);
    if (d == NULL) {
        close(fd);
        return false;
    }
    bool all = true;
    for (struct dirent *e; all && (e = readdir(d)) != NULL;)
        all = bases_add(b, e->d_name);
    closedir(d);
    return all;
}

static void bases_free(struct bases *b) {
    for (size_t i = 0; i < b->n; i++)
        free(b->v[i]);
    free(b->v);
}

static void tell_remove(const struct spot *at, struct inode *in, bool trashed, pid_t pid) {
    Mfl__Act act = MFL__ACT__INIT;
    Mfl__DirRemove remove = MFL__DIR_REMOVE__INIT;
    struct bases b = {0};
    char path[PATH_MAX];
    if (trashed && (!bases_of(&b, in->dir->fd, "new") || !bases_of(&b, in->dir->fd, "cur")))
        log_warn("the list of what the deleted mailbox %s held is cut: the peer may keep it",
                 spot_shown(at, path, sizeof path));
    remove.id = wire_bytes_of(&in->dir->id);
    remove.name = event_text(at->name);
    remove.n_bases = b.n;
    remove.bases = b.v;
    remove.trashed = trashed;
    act.what_case = MFL__ACT__WHAT_DIR_REMOVE;
    act.dir_remove = &remove;
    event_tell(&act, &at->w, pid);
    bases_free(&b);
}

void event_dir_gone(const struct spot *at, struct inode *in, pid_t pid) {
    if (!dir_travels(at))
        return;
    if (event_is_part(at))
        tell_part(at, NULL, pid);
    else if (in->dir->has_id)
        tell_remove(at, in, false, pid);
    else if (note_is_resent())
        upcall_lost(); /* another worker removed it, and with it went its id */
}

/* --- renaming
 * ----------------------------------------------------------------------------------------- */

static void tell_move(const struct spot *from, const struct spot *to, struct inode *in, pid_t pid) {
    Mfl__Act act = MFL__ACT__INIT;
    Mfl__DirMove move = MFL__DIR_MOVE__INIT;
    move.id = wire_bytes_of(&in->dir->id);
    move.old_name = event_text(from->name);
    move.new_parent = wire_bytes_of(&to->w.id);
    move.name = event_text(to->name);
    act.what_case = MFL__ACT__WHAT_DIR_MOVE;
    act.dir_move = &move;
    event_tell(&act, &from->w, pid);
}

void event_dir_renamed(const struct spot *from, const struct spot *to, struct inode *in,
                       const struct stat *st, pid_t pid) {
    bool was = dir_travels(from), is = dir_travels(to);
    if ((was || is) && in->dir->has_id)
        change_mark(in->dir);
    if (was && is && !event_is_part(from) && !event_is_part(to)) {
        tell_move(from, to, in, pid);
        return;
    }
    if (was && event_is_part(from))
        tell_part(from, NULL, pid);
    else if (was && in->dir->has_id)
        tell_remove(from, in, true, pid);
    else if (was && note_is_resent())
        upcall_lost();
    event_dir_made(to, in, st, pid);
    if (!was && is)
        upcall_lost(); /* of what it holds nobody has been told */
}
