/*
 * poke - wakes inotify's watchers through the mount
 *
 * The worker sends paths of directories over a socket, one a packet; the poker has a queue with a
 * lane per directory.
 *
 * Diagnostics: debug: a poke that failed. Dovecot then sees the change at its next look (30 s).
 * error: the poker has died.
 */
#include "poke.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uthash.h>

#include "dir.h"
#include "keep.h"
#include "util/log.h"
#include "util/str.h"
#include "util/workq.h"
#include "watch.h"

enum { THREADS = 8, JOBS = 65536 };

/* --- the poker -----------------------------------------------------------------------------------
 */

/* A directory whose poke has not begun. */
struct pending {
    UT_hash_handle hh;
    char path[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pending *pending;

static void run_poke(void *arg) {
    struct pending *p = arg;
    char path[PATH_MAX];
    keep_walker();
    pthread_mutex_lock(&lock);
    HASH_DEL(pending, p); /* a change from here on needs another poke */
    pthread_mutex_unlock(&lock);
    if (str_printf(path, sizeof path, "%s/" MAILDIR_POKE_NAME, p->path) == 0) {
        if (mknod(path, S_IFREG | 0600, 0) != 0)
            log_debug("poke %s: %s", path, log_strerror(-errno));
        else if (unlink(path) != 0)
            log_debug("poke %s: unlink: %s", path, log_strerror(-errno));
    }
    free(p);
}

static void poker_add(struct workq *queue, const char *path) {
    struct pending *p;
    size_t n = strlen(path);
    pthread_mutex_lock(&lock);
    HASH_FIND(hh, pending, path, n, p);
    if (p == NULL && (p = calloc(1, sizeof *p + n + 1)) != NULL) {
        memcpy(p->path, path, n);
        HASH_ADD(hh, pending, path[0], (unsigned)n, p);
        if (workq_submit(queue, p->hh.hashv, run_poke, NULL, p) != 0) {
            HASH_DEL(pending, p);
            free(p);
        }
    }
    pthread_mutex_unlock(&lock);
}

/* Until the worker is gone. */
static void poker(int sock) {
    struct workq *queue;
    char path[PATH_MAX];
    if (workq_new(THREADS, JOBS, &queue) != 0)
        return;
    for (;;) {
        struct pollfd p[] = {{.fd = sock, .events = POLLIN},
                             {.fd = workq_fd(queue), .events = POLLIN}};
        if (poll(p, 2, -1) < 0)
            continue;
        workq_poll(queue);
        ssize_t n = p[0].revents != 0 ? recv(sock, path, sizeof path - 1, MSG_DONTWAIT) : 1;
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return;
        if (n > 0 && p[0].revents != 0) {
            path[n] = '\0';
            poker_add(queue, path);
        }
    }
}

/* --- the worker ----------------------------------------------------------------------------------
 */

static const char *mount;
static int to_poker = -1;
static pid_t poker_pid;

bool poke_is_mine(pid_t tid) {
    bool mine = false;
    for (unsigned i = 0; i < KEEP_WALKERS; i++)
        mine |= tid > 0 && atomic_load(&keep.head->walkers[i]) == tid;
    return mine;
}

int poke_fork(const char *mount_path) {
    enum { SOCK = 3 };
    int pair[2];
    mount = mount_path;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return -errno;
    poker_pid = fork();
    if (poker_pid == 0) {
        int null =
            open("/dev/null", O_RDWR); /* whoever started mailfs waits for its output's end */
        prctl(PR_SET_NAME, "mailfs-poke");
        for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
            dup2(null, fd);
        if (pair[1] != SOCK)
            dup2(pair[1], SOCK);
        syscall(SYS_close_range, SOCK + 1, ~0U, 0);
        poker(SOCK);
        _exit(0);
    }
    int err = errno;
    close(pair[1]);
    to_poker = pair[0];
    return poker_pid < 0 ? -err : 0;
}

static void poker_died(void *arg) {
    log_error("the process that wakes mail clients has died: another worker is to take over");
    kill(getpid(), SIGKILL);
}

int poke_watch(void) {
    uint64_t token;
    int fd = (int)syscall(SYS_pidfd_open, poker_pid, 0);
    return fd < 0 ? -errno : watch_process(fd, poker_died, NULL, &token);
}

void poke(struct inode *dir) {
    char below[PATH_MAX], path[PATH_MAX];
    if (dir_path(dir, below, sizeof below) != 0 ||
        str_printf(path, sizeof path, "%s/%s", mount, below) != 0)
        return;
    if (send(to_poker, path, strlen(path), MSG_NOSIGNAL) < 0)
        log_debug("poke %s: %s", path, log_strerror(-errno));
}
