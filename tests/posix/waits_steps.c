/* waits_steps.c: what the cases are made of; see waits.h */
#include "waits.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000L + t.tv_nsec / 1000000;
}

bool exists(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

void put_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    CHECK(fd >= 0);
    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    CHECK(close(fd) == 0);
}

static int saying_pipe; /* in the process: closed when it ends, or before */

void close_saying_pipe(void) {
    close(saying_pipe);
}

struct doing doing_start(int (*fn)(const char *), const char *arg) {
    struct doing d;
    int fds[2];
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    d.pid = fork();
    CHECK(d.pid >= 0);
    if (d.pid == 0) {
        saying_pipe = fds[1];
        _exit(fn(arg));
    }
    close(fds[1]);
    d.end = fds[0];
    return d;
}

bool doing_ends_within(const struct doing *d, int ms) {
    struct pollfd p = {.fd = d->end, .events = POLLIN};
    return poll(&p, 1, ms) == 1;
}

int doing_finish(struct doing *d) {
    int status;
    CHECK(doing_ends_within(d, AT_ONCE_MS));
    CHECK(waitpid(d->pid, &status, 0) == d->pid);
    close(d->end);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

void doing_kill(struct doing *d) {
    kill(d->pid, SIGKILL);
    waitpid(d->pid, NULL, 0);
    close(d->end);
}

int do_lock(const char *box) {
    char path[512];
    snprintf(path, sizeof path, "%s/dovecot-uidlist.lock", box);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    return fd < 0 ? errno : 0;
}

int do_lock_and_stay(const char *box) {
    int r = do_lock(box);
    if (r != 0)
        return r;
    close(STDIN_FILENO);
    for (;;)
        pause();
}

int do_unlock(const char *box) {
    char path[512];
    snprintf(path, sizeof path, "%s/dovecot-uidlist.lock", box);
    return unlink(path) == 0 ? 0 : errno;
}

int do_fsync(const char *path) {
    int fd = open(path, O_WRONLY | O_APPEND);
    return fd < 0 || fsync(fd) != 0 ? errno : 0;
}

int do_touch(const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    return fd < 0 || close(fd) != 0 ? errno : 0;
}

const Mfl__Act *expect_act_at(const char *file, int line, Mfl__Act__WhatCase kind) {
    const Mfl__ToSyncd *m = fake_expect_at(file, line, MFL__TO_SYNCD__M_ACT);
    if (m->act->what_case != kind) {
        printf("# act %d was expected, not %d\n", (int)kind, (int)m->act->what_case);
        fake_fail(file, line, "the wrong act");
    }
    return m->act;
}

uint8_t dir_bytes[2][16];

ProtobufCBinaryData make_box(const char *name, int slot) {
    static const char *const parts[] = {"cur", "new", "tmp"};
    char path[600];
    CHECK(mkdir(in_mount(name), 0700) == 0);
    const Mfl__Act *a = expect_act(MFL__ACT__WHAT_DIR_MAKE);
    CHECK(strcmp(a->dir_make->name, name) == 0);
    CHECK(a->dir_make->id.len == 16 && a->dir_make->handle.len > 2);
    memcpy(dir_bytes[slot], a->dir_make->id.data, 16);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", in_mount(name), parts[i]);
        CHECK(mkdir(path, 0700) == 0);
        a = expect_act(MFL__ACT__WHAT_SUBDIR);
        CHECK(!a->subdir->removed && memcmp(a->dir.data, dir_bytes[slot], 16) == 0);
    }
    return (ProtobufCBinaryData){16, dir_bytes[slot]};
}

void deliver(const char *box, const char *name) {
    char tmp[600], new[600];
    snprintf(tmp, sizeof tmp, "%s/tmp/%s", in_mount(box), name);
    snprintf(new, sizeof new, "%s/new/%s", in_mount(box), name);
    put_file(tmp, "text");
    CHECK(rename(tmp, new) == 0);
    const Mfl__Act *a = expect_act(MFL__ACT__WHAT_ADD);
    CHECK(strcmp(a->add->name, name) == 0 && a->add->sub == MFL__SUB__NEW && !a->in_txn);
}

struct doing hold(const char *box) {
    struct doing d = doing_start(do_lock_and_stay, in_mount(box));
    const Mfl__ToSyncd *m = fake_expect(MFL__TO_SYNCD__M_LOCK_OPEN);
    fake_grant(m->lock_open->req, 0, 0, "");
    m = fake_expect(MFL__TO_SYNCD__M_LOCK_OPENED);
    CHECK(m->lock_opened->ok);
    return d;
}

void nothing_comes(void) {
    CHECK(fake_next(A_WHILE_MS, NULL) == NULL);
}
