/*
 * lock_owner - the processes that hold an L: their end; and those that another worker left
 *
 * Diagnostics: info: an owner of L died; a lock left behind was removed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/io.h"
#include "lock_int.h"
#include "util/log.h"
#include "watch.h"

/* --- the owner's end
 * --------------------------------------------------------------------------------- */

void lock_owner_end_free(struct owner_end *e) {
    inode_unref(e->cont, 1);
    free(e);
}

static void run_owner_ended(void *arg) {
    struct owner_end *e = arg;
    struct lock_l *l = lock_claim(e->cont->dir, HELD, e->serial, NULL);
    if (l != NULL) {
        log_info("process %d ended holding a mailbox's lock: removed", (int)l->owner);
        lock_end_quietly(l);
    }
    lock_owner_end_free(e);
}

static void owner_ended(void *arg) {
    const struct owner_end *e = arg;
    lock_submit(e->cont, run_owner_ended, arg);
}

int lock_watch_owner(struct lock_l *l) {
    if (l->ctx.pid == 0)
        return 0; /* of another pid namespace: what it leaves, Dovecot's own rules must clear */
    if (l->owner == 0)
        return -ESRCH;
    int fd = (int)syscall(SYS_pidfd_open, l->owner, 0);
    if (fd < 0)
        return errno == ESRCH ? -ESRCH : 0;
    struct owner_end *e = calloc(1, sizeof *e);
    if (e == NULL) {
        close(fd);
        return 0;
    }
    e->cont = l->cont;
    e->serial = l->serial;
    inode_ref(e->cont);
    l->end = e;
    if (watch_process(fd, owner_ended, e, &l->watch) != 0) {
        close(fd);
        lock_owner_end_free(e);
    }
    return 0;
}

/* --- taking over
 * -----------------------------------------------------------------------------------------------
 */

/* held: somebody may have. */
static void left_behind(struct dir *d, bool held) {
    lock_aux_set(d->self, 0);
    if (io_unlink(d->fd, LOCK_L_NAME) != 0 || !held)
        return;
    /* Who held it may have numbered a message in its own index, and not in the list (DESIGN, 19).
     */
    d->lock_was_left = true;
    log_info("removed a mailbox's lock that was left behind by a mailfs that is gone");
}

void lock_found(struct dir *d, bool local) {
    struct stat st;
    uint64_t aux = atomic_load(&inode_slot(d->self)->aux);
    bool held =
        (aux & KEEP_L_HELD) != 0 && fstatat(d->fd, LOCK_L_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0;
    struct lock_l *l = held ? lock_new(d->self, NULL) : NULL;
    if (l == NULL) {
        if (!local)
            left_behind(d, aux != KEEP_L_GOING);
        return;
    }
    l->taken_over = true;
    l->told_going = (aux & KEEP_L_GOING) != 0;
    l->number = (uint32_t)(aux >> KEEP_L_NUMBER_SHIFT) & KEEP_L_NUMBER_MASK;
    l->owner = (pid_t)(aux >> KEEP_L_OWNER_SHIFT);
    l->ctx.pid = l->owner;
    lock_note_path(l);
    l->state = HELD;
}

static bool is_taken_over(struct lock_l *l, void *arg) {
    return l->taken_over && l->state == HELD;
}

void lock_take_over(void) {
    struct inode *cont;
    uint64_t serial = 0;
    while ((cont = lock_next(serial, is_taken_over, NULL, &serial)) != NULL) {
        if (lock_watch_owner(cont->dir->lock) == -ESRCH) {
            struct lock_l *l = lock_claim(cont->dir, HELD, serial, NULL);
            if (l != NULL)
                lock_end_quietly(l);
        }
        inode_unref(cont, 1);
    }
}
