/*
 * hold_worker - starting a worker, and knowing that it is gone
 *
 * A worker's threads that invalidate can be locked out in the kernel by a request that only the
 * next worker will answer. Such a process has ended and yet neither waitpid(2) nor its pidfd tells,
 * nor do its descriptors close. So its end is seen by that of one thread that never waits there,
 * the sentinel (PIDFD_THREAD; before Linux 6.9, and before it serves, by looking), and its other
 * threads are looked at one by one. (A PIDFD_THREAD of the first thread tells nothing of the kind
 * since 6.15.)
 *
 * Diagnostics: warning: threads of a worker that has ended are still at the store.
 */
#include "hold_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hold.h"
#include "keep.h"
#include "mount.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/str.h"

#define BY_THREAD O_EXCL /* PIDFD_THREAD */

enum { STILL_THERE_MS = 5000 };

static char program[4096];
static int program_fd = -1; /* what workers are started from */

int hold_worker_program(void) {
    static const char deleted[] = " (deleted)";
    program_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (program_fd < 0)
        return -errno;
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0)
        return n < 0 ? -errno : -ENOENT;
    program[n] = '\0';
    size_t tail = sizeof deleted - 1;
    if ((size_t)n > tail && strcmp(program + n - tail, deleted) == 0)
        program[n - (ssize_t)tail] = '\0';
    return 0;
}

static void run(const struct hold_args *args, int from, int ctl, int fuse_fd, int mem_fd) {
    char fds[64];
    const char *argv[10] = {"mailfs", "-W", fds};
    size_t n = 3;
    sigset_t none;
    snprintf(fds, sizeof fds, "%d,%d,%d", ctl, fuse_fd, mem_fd);
    if (args->foreground)
        argv[n++] = "-f";
    if (args->conf_path != NULL) {
        argv[n++] = "-c";
        argv[n++] = args->conf_path;
    }
    if (args->volume != NULL)
        argv[n++] = args->volume;
    fcntl(ctl, F_SETFD, 0);
    fcntl(fuse_fd, F_SETFD, 0);
    fcntl(mem_fd, F_SETFD, 0);
    fcntl(mount_lock_fd(), F_SETFD, 0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    syscall(SYS_execveat, from, "", argv, environ, AT_EMPTY_PATH);
    log_error("%s: %s", program, log_strerror(-errno));
    _exit(1);
}

static int start_failed(struct hold_worker *w, int err) {
    if (w->program >= 0)
        close(w->program);
    w->program = -1;
    return err;
}

void hold_worker_trust(struct hold_worker *w) {
    if (w->program < 0)
        return;
    close(program_fd);
    program_fd = w->program;
    w->program = -1;
}

static int look_open(struct hold_worker *w) {
    char path[40];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)w->pid);
    w->stat = open(path, O_RDONLY | O_CLOEXEC);
    int err = w->stat < 0 ? -errno : 0;
    snprintf(path, sizeof path, "/proc/%d/task", (int)w->pid);
    w->tasks = opendir(path);
    if (err == 0 && w->tasks == NULL)
        err = -errno;
    if (err != 0) {
        kill(w->pid, SIGKILL);
        waitpid(w->pid, NULL, 0);
        hold_worker_done(w);
    }
    return err;
}

int hold_worker_start(struct hold_worker *w, const struct hold_args *args, bool newest, int fuse_fd,
                      int mem_fd) {
    int pair[2];
    int from = newest ? open(program, O_RDONLY | O_CLOEXEC) : program_fd;
    if (from < 0)
        return -errno;
    w->program = newest ? from : -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return start_failed(w, -errno);
    keep.head->lives++;
    pid_t pid = fork();
    if (pid == 0)
        run(args, from, pair[1], fuse_fd, mem_fd);
    int err = errno;
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return start_failed(w, -err);
    }
    w->pid = pid;
    w->ctl = pair[0];
    w->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    w->sentinel = -1;
    return look_open(w);
}

void hold_worker_serves(struct hold_worker *w) {
    int tid = atomic_load(&keep.head->sentinel);
    w->sentinel = tid > 0 ? (int)syscall(SYS_pidfd_open, tid, BY_THREAD) : -1;
}

/* A dead process whose other threads are not all gone says so only here (proc(5): the state follows
 * the name, which is in parentheses). What cannot be read says nothing. */
static bool is_zombie(const struct hold_worker *w) {
    char line[512];
    ssize_t n = pread(w->stat, line, sizeof line - 1, 0);
    if (n <= 0)
        return n < 0 && errno == ESRCH;
    line[n] = '\0';
    const char *end = strrchr(line, ')');
    return end != NULL && end[1] != '\0' && end[2] != '\0' && strchr("ZX", end[2]) != NULL;
}

bool hold_worker_ended(const struct hold_worker *w) {
    struct pollfd p[] = {{.fd = w->pidfd, .events = POLLIN}, {.fd = w->sentinel, .events = POLLIN}};
    return poll(p, 2, 0) > 0 || is_zombie(w);
}

static bool is_walker(pid_t tid) {
    for (unsigned i = 0; i < KEEP_WALKERS; i++)
        if (atomic_load(&keep.head->walkers[i]) == tid)
            return true;
    return false;
}

/* Threads of it that may be in a call that changes the store. */
static bool is_at_store(const struct hold_worker *w) {
    bool found = false;
    rewinddir(w->tasks);
    for (const struct dirent *e; (e = readdir(w->tasks)) != NULL;) {
        pid_t tid = (pid_t)strtol(e->d_name, NULL, 10);
        found |= tid > 0 && tid != w->pid && !is_walker(tid);
    }
    return found;
}

void hold_worker_wait(struct hold_worker *w) {
    uint64_t say = clock_ms() + STILL_THERE_MS;
    while (!is_zombie(w) || is_at_store(w)) {
        usleep(500);
        if (clock_ms() < say)
            continue;
        log_warn("worker %d has been killed, but waits for the store's disk", (int)w->pid);
        say = clock_ms() + STILL_THERE_MS;
    }
    for (unsigned i = 0; i < KEEP_WALKERS; i++)
        atomic_store(&keep.head->walkers[i], 0);
    atomic_store(&keep.head->sentinel, 0);
}

int hold_worker_done(struct hold_worker *w) {
    int status;
    pid_t pid = waitpid(w->pid, &status, WNOHANG);
    if (w->pidfd >= 0)
        close(w->pidfd);
    if (w->sentinel >= 0)
        close(w->sentinel);
    if (w->program >= 0)
        close(w->program);
    if (w->stat >= 0)
        close(w->stat);
    if (w->tasks != NULL)
        closedir(w->tasks);
    close(w->ctl);
    bool known = pid == w->pid;
    *w = (struct hold_worker)HOLD_WORKER_NONE;
    return known ? status : -1;
}

int hold_worker_say(const struct hold_worker *w, char what) {
    return send(w->ctl, &what, 1, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

int hold_worker_hear(const struct hold_worker *w) {
    char what;
    ssize_t n = recv(w->ctl, &what, 1, MSG_DONTWAIT);
    if (n == 1)
        return what;
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -ECONNRESET;
}
