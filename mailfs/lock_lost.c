/*
 * lock_lost - an L whose owner does not find it any more
 *
 * A mailbox can be renamed, here or on the other node, while a process has its L. Dovecot looks for
 * its lock under the old name then, says that it "was deleted", and goes on, for hours if it is an
 * LMTP or IMAP process; L stays behind under the new name, and nobody else would get it.
 *
 * That an owner has looked for what is on the way to his L, in vain, does not say that he is done:
 * it may have been for a message. But it says that he can open nothing of this mailbox any more.
 * What he can still write to is the UID list, if he has it open; so L ends when he has not. As if
 * he had died: what he did is told.
 *
 * Diagnostics: info: a lock that was removed for this.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "dir.h"
#include "file.h"
#include "lock_int.h"
#include "util/log.h"
#include "util/str.h"
#include "vol.h"

/* The file's, not the mailbox's: there may be another one of that name by now. */
void lock_note_path(struct lock_l *l) {
    char path[PATH_MAX];
    if (dir_path(l->cont, path, sizeof path) != 0 ||
        asprintf(&l->path, "%s/%s", path, LOCK_L_NAME) < 0)
        l->path = NULL; /* this one is not found to be lost */
}

/* --- what can be done about it
 * --------------------------------------------------------------------------- */

struct lost {
    struct inode *cont; /* a reference */
    uint64_t serial;
    pid_t owner, opener;
    char path[PATH_MAX];
};

/* Its mailbox has the name again that it had: the peer had removed it, say, and it lives on. */
static bool is_back(const struct lost *lost) {
    struct stat here, there;
    return fstatat(lost->cont->dir->fd, LOCK_L_NAME, &here, AT_SYMLINK_NOFOLLOW) == 0 &&
           fstatat(vol.store_fd, lost->path, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
           here.st_ino == there.st_ino && here.st_dev == there.st_dev;
}

static bool can_write(const struct lost *lost) {
    struct stat st;
    if (fstatat(lost->cont->dir->fd, "dovecot-uidlist", &st, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
    struct inode *in = inode_find(st.st_dev, st.st_ino);
    bool can = in != NULL &&
               (file_is_writable_by(in, lost->owner) || file_is_writable_by(in, lost->opener));
    inode_unref(in, 1);
    return can;
}

static void run_lost(void *arg) {
    struct lost *lost = arg;
    struct lock_l *l = NULL;
    if (!is_back(lost) && !can_write(lost))
        l = lock_claim(lost->cont->dir, HELD, lost->serial, NULL);
    if (l != NULL) {
        log_info("%s: process %d does not find it since the mailbox was renamed: removed",
                 lost->path, (int)lost->owner);
        lock_end_quietly(l);
    }
    inode_unref(lost->cont, 1);
    free(lost);
}

static bool is_lost(struct lock_l *l, void *arg) {
    struct lost *lost = arg;
    if (l->state != HELD || !l->lost)
        return false;
    lost->owner = l->owner;
    lost->opener = l->ctx.pid;
    return str_copy(lost->path, sizeof lost->path, l->path) == 0;
}

void lock_file_closed(void) {
    struct lost found;
    found.serial = 0;
    while ((found.cont = lock_next(found.serial, is_lost, &found, &found.serial)) != NULL) {
        struct lost *lost = malloc(sizeof *lost);
        if (lost == NULL) {
            inode_unref(found.cont, 1);
            return; /* until the next file is closed, or the owner ends */
        }
        *lost = found;
        lock_submit(lost->cont, run_lost, lost);
    }
}

/* --- how it is noticed
 * ------------------------------------------------------------------------------------ */

struct sought {
    pid_t tid;
    const char *path;
};

static bool is_owner(struct lock_l *l, void *arg) {
    const struct sought *s = arg;
    return l->state == HELD && l->path != NULL && (l->owner == s->tid || l->ctx.pid == s->tid);
}

static bool is_on_the_way(const char *path, const char *to) {
    size_t n = strlen(path);
    return strncmp(path, to, n) == 0 && (to[n] == '\0' || to[n] == '/');
}

static bool lose(struct lock_l *l, void *arg) {
    const struct sought *s = arg;
    if (is_owner(l, arg) && is_on_the_way(s->path, l->path))
        l->lost = true;
    return false; /* the others, too */
}

void lock_sought(struct inode *dir, const char *name, pid_t tid) {
    char above[PATH_MAX], path[PATH_MAX];
    struct sought s = {.tid = tid, .path = path};
    uint64_t serial;
    struct inode *cont = tid > 0 ? lock_next(0, is_owner, &s, &serial) : NULL;
    if (cont == NULL)
        return; /* nearly always */
    inode_unref(cont, 1);
    if (dir_path(dir, above, sizeof above) != 0)
        return;
    int n = snprintf(path, sizeof path, "%s%s%s", above, above[0] == '\0' ? "" : "/", name);
    if (n < 0 || (size_t)n >= sizeof path)
        return;
    lock_next(0, lose, &s, &serial);
    lock_file_closed();
}
