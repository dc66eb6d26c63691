/*
 * subs_lock: Dovecot's lock of a `subscriptions` file.
 *
 * Dovecot reads, changes and replaces the file under this dotlock, which it takes for stale after
 * 30 s. Ours has "pid:host" in it: so one that was left behind by a syncd that was killed is
 * nobody's at once, for Dovecot (which looks for the process) and for the syncd that comes after.
 *
 * Diagnostics: a lock that cannot be removed. Without the lock the caller goes on.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "apply_int.h"
#include "io/file.h"
#include "io/io.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/str.h"

#define LOCK          "subscriptions.lock"
#define STALE_SECONDS 30
#define TRIES         200
#define UNLOCK_TRIES  20
#define PAUSE_MS      10
#define OWNER_MAX     320

static int subs_owner(char owner[OWNER_MAX], long pid) {
    char host[256];

    if (gethostname(host, sizeof(host)) < 0)
        return -errno;
    host[sizeof(host) - 1] = '\0';
    return str_printf(owner, OWNER_MAX, "%ld:%s", pid, host);
}

/* Made by a process of this host that is no more? */
static bool subs_lock_orphaned(int dir) {
    char owner[OWNER_MAX], *text, *end;
    bool orphaned = false;
    size_t n;
    long pid;

    if (io_file_read_at(dir, LOCK, OWNER_MAX - 1, &text, &n, NULL) < 0)
        return false;
    errno = 0;
    pid = strtol(text, &end, 10);
    if (errno == 0 && *end == ':' && pid > 0 && pid <= INT_MAX && pid != getpid() &&
        subs_owner(owner, pid) == 0)
        orphaned = strcmp(owner, text) == 0 && kill((pid_t)pid, 0) < 0 && errno == ESRCH;
    free(text);
    return orphaned;
}

static bool subs_lock_stale(int dir) {
    struct stat sb;
    return fstatat(dir, LOCK, &sb, AT_SYMLINK_NOFOLLOW) == 0 &&
           sb.st_mtim.tv_sec + STALE_SECONDS < (time_t)(clock_wall_ns() / 1000000000u);
}

/* Under a name of its own first: a lock is never there without its owner in it. */
static int make(struct apply *a, char temp[STAGE_TEMP_MAX]) {
    char owner[OWNER_MAX];
    int r = subs_owner(owner, getpid()), fd;

    stage_temp_name(a->st, temp);
    if (r < 0)
        return r;
    fd = io_open_beneath(a->st->stage, temp, O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (fd < 0)
        return fd;
    r = io_write_all(fd, owner, strlen(owner));
    close(fd);
    return r;
}

static bool take(struct apply *a, const char *temp) {
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    int dir = a->d.fd[0], i, r;

    for (i = 0; i < TRIES; i++) {
        r = io_link(a->st->stage, temp, dir, LOCK);
        if (r == 0)
            return true;
        if (r == -EEXIST && subs_lock_orphaned(dir)) {
            io_unlink(dir, LOCK);
            continue;
        }
        if (r != -EEXIST || subs_lock_stale(dir))
            return false;
        nanosleep(&pause, NULL);
    }
    return false;
}

bool apply_subs_lock(struct apply *a) {
    char temp[STAGE_TEMP_MAX];
    bool taken = make(a, temp) == 0 && take(a, temp);

    io_unlink(a->st->stage, temp);
    return taken;
}

/* One that stays has a living process in it: Dovecot would wait for that for ever. */
void apply_subs_unlock(struct apply *a) {
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    char path[256];
    int i, r = -EIO;

    for (i = 0; r < 0 && r != -ENOENT && i < UNLOCK_TRIES; i++) {
        if (i > 0)
            nanosleep(&pause, NULL);
        r = io_unlink(a->d.fd[0], LOCK);
    }
    if (r < 0 && r != -ENOENT)
        log_error("%s: " LOCK " cannot be removed: remove it: %s",
                  state_path(a->st, &a->dir, path, sizeof(path)), log_strerror(r));
}
