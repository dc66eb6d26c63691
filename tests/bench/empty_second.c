/*
 * empty_second - what is synced is written and synced on a second disk as well, by a process of its
 * own
 *
 * The least that a pair can be: no network, no encryption, no order, no names; one message there
 * and one back for each content, while the first disk syncs. Each thread that serves has its own
 * socket, and its own thread there.
 */
#include "empty.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PART = 1 << 16 };

static int second_dir;
static _Thread_local int link_fd = -1;

static int all(ssize_t (*move)(int, void *, size_t), int fd, void *buf, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t n = move(fd, (char *)buf + done, size - done);
        if (n <= 0)
            return -1;
        done += (size_t)n;
    }
    return 0;
}

static ssize_t send_some(int fd, void *buf, size_t size) {
    return send(fd, buf, size, MSG_NOSIGNAL);
}

/* One content: its size, itself; and an answer when it is durable. */
static int take_one(int sock, int number) {
    static _Atomic unsigned long names;
    char name[32], part[PART];
    uint64_t left;
    if (all(read, sock, &left, sizeof left) != 0)
        return -1;
    snprintf(name, sizeof name, "%d.%lu", number, names++);
    int fd = openat(second_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        err(1, "%s on the second disk", name);
    while (left > 0) {
        size_t n = left < sizeof part ? (size_t)left : sizeof part;
        if (all(read, sock, part, n) != 0 || write(fd, part, n) != (ssize_t)n)
            err(1, "%s on the second disk", name);
        left -= n;
    }
    if (fsync(fd) != 0)
        err(1, "%s on the second disk", name);
    close(fd);
    char done = 0;
    return all(send_some, sock, &done, 1);
}

static void *take(void *arg) {
    int sock = (int)(intptr_t)arg;
    while (take_one(sock, sock) == 0)
        ;
    return NULL;
}

static void second_process(const int *socks, int n) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "second");
    for (int i = 1; i < n; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, take, (void *)(intptr_t)socks[i]) != 0)
            errx(1, "no thread");
    }
    take((void *)(intptr_t)socks[0]);
    for (;;)
        pause();
}

int *empty_second_start(const char *path, int n) {
    int *ends = calloc((size_t)n * 2, sizeof *ends);
    second_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (ends == NULL || second_dir < 0)
        err(1, "%s", path);
    for (int i = 0; i < n; i++) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
            err(1, "socketpair");
        ends[i] = pair[0];
        ends[n + i] = pair[1];
    }
    pid_t pid = fork();
    if (pid < 0)
        err(1, "fork");
    if (pid == 0)
        second_process(ends + n, n);
    return ends;
}

void empty_second_use(int fd) {
    link_fd = fd;
}

/* 0, or -1. */
static int hand_over(int fd) {
    char part[PART];
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return -1;
    uint64_t size = (uint64_t)st.st_size;
    if (all(send_some, link_fd, &size, sizeof size) != 0)
        return -1;
    for (off_t at = 0; at < st.st_size;) {
        ssize_t n = pread(fd, part, sizeof part, at);
        if (n <= 0 || all(send_some, link_fd, part, (size_t)n) != 0)
            err(1, "a content for the second disk");
        at += n;
    }
    return 0;
}

long empty_sync(int fd) {
    bool second = link_fd >= 0 && hand_over(fd) == 0;
    long r = fsync(fd) != 0 ? -errno : 0;
    char answer;
    if (second && all(read, link_fd, &answer, 1) != 0)
        err(1, "the second disk");
    return r;
}
