/*
 * reserve - a file whose blocks are given up when a list cannot be written under L
 *
 * Files: STORE/.mailfs/reserve, RESERVE bytes when the disk has room. What is given up comes back
 * with the next L that finds room; until then those L's are granted that the rest is enough for.
 *
 * Diagnostics: warning: L refused for want of room; a reserve that is being used.
 */
#include "reserve.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "change.h"
#include "io/io.h"
#include "maildir/class.h"
#include "util/clock.h"
#include "util/log.h"
#include "vol.h"

#define RESERVE  ((off_t)4 << 20)
#define STEP     ((off_t)16 << 10)
#define SHORT    ((off_t)16 << 20)
#define AGAIN_MS 200 /* between two tries to fill it */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int fd = -1; /* -1: none can be kept here */
static off_t left;
static uint64_t tried_at;

/* Under the lock. */
static void fill(void) {
    tried_at = clock_ms();
    int r = io_fallocate(fd, 0, 0, RESERVE);
    if (r == 0) {
        left = RESERVE;
        return;
    }
    io_ftruncate(fd, left); /* what it got before it failed */
    if (r != -ENOSPC && r != -EDQUOT) {
        log_info("no reserve for a full disk can be kept in the store: %s", log_strerror(r));
        close(fd);
        fd = -1;
    }
}

void reserve_init(void) {
    struct stat st;
    pthread_mutex_lock(&lock);
    fd = io_open_beneath(vol.internal_fd, "reserve", O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    if (fd >= 0) {
        left = fstat(fd, &st) == 0 && st.st_size < RESERVE ? st.st_size : RESERVE;
        fill();
    }
    pthread_mutex_unlock(&lock);
}

/* What a session may have to write: the list once more beside the old one, keywords, a line. */
static off_t need_of(int container) {
    struct stat st;
    off_t size =
        fstatat(container, "dovecot-uidlist", &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_size : 0;
    return 2 * size + STEP;
}

static bool disk_has(off_t more) {
    struct statvfs v;
    return fstatvfs(vol.internal_fd, &v) == 0 && (off_t)(v.f_bavail * v.f_frsize) >= more;
}

bool reserve_is_short(void) {
    pthread_mutex_lock(&lock);
    bool whole = fd < 0 || left == RESERVE;
    pthread_mutex_unlock(&lock);
    return !whole || !disk_has(SHORT);
}

int reserve_check(struct inode *container) {
    char path[PATH_MAX];
    off_t need = need_of(container->dir->fd);
    pthread_mutex_lock(&lock);
    if (fd >= 0 && left < RESERVE && clock_ms() >= tried_at + AGAIN_MS)
        fill();
    bool enough = fd < 0 || left >= need || disk_has(need);
    pthread_mutex_unlock(&lock);
    if (enough)
        return 0;
    log_warn_limited("%s: the mailbox's lock is refused: the store is full",
                     dir_shown(container, path, sizeof path));
    return -ENOSPC;
}

bool reserve_is_for(const struct spot *at) {
    return at->class == MAILDIR_UIDLIST || at->class == MAILDIR_UIDLIST_TMP ||
           (at->class == MAILDIR_LOCK_OTHER && strcmp(at->name, "dovecot-keywords.lock") == 0);
}

bool reserve_give(struct inode *container, size_t size) {
    char path[PATH_MAX];
    pthread_mutex_lock(&lock);
    bool some = fd >= 0 && left > 0;
    if (some) {
        off_t less = (off_t)size + STEP;
        left = left > less ? left - less : 0;
        io_ftruncate(fd, left);
    }
    off_t rest = left;
    pthread_mutex_unlock(&lock);
    if (some)
        log_warn_limited("%s: the store is full: its list is written with what is kept for that, "
                         "%lld bytes are left",
                         dir_shown(container, path, sizeof path), (long long)rest);
    return some;
}
