/*
 * bench_visible - how long until a message delivered on one node is there on the other
 *
 *	bench_visible MAILBOX PEER-MAILBOX WATCH COUNT PER-SECOND
 *
 * Delivers into MAILBOX (create, write, fsync, rename) at that rate. A message is visible when
 * stat() finds it in PEER-MAILBOX/new. That is tried when inotify tells of a change in the
 *directory WATCH, the place below the peer's mount where the message arrives first (for peers
 *without a mount: the same directory), so that asking costs nothing while there is nothing to see.
 *
 * Prints two lines like bench_maildir's: the delivery itself, and from its end to its being
 *visible.
 */
#include "measure.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BODY = 8192, GIVE_UP_MS = 20000, TRY_AGAIN_NS = 200000 };

struct plan {
    const char *from, *to;
    int inotify, tell[2]; /* tell: when a delivery has ended, for the one who looks */
    size_t count;
    uint64_t period;
};

struct told {
    uint64_t number, ended;
};

static void name_of(char *buf, size_t size, const char *dir, const char *part, uint64_t i) {
    snprintf(buf, size, "%s/%s/1700000000.M%06uP%d.visible", dir, part, (unsigned)i,
             (int)getpgrp());
}

static void deliver(const struct plan *p, uint64_t i) {
    static char body[BODY];
    char tmp[4096], new[4096];
    name_of(tmp, sizeof tmp, p->from, "tmp", i);
    name_of(new, sizeof new, p->from, "new", i);
    memset(body, 'x', sizeof body);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd < 0 || write(fd, body, sizeof body) != sizeof body || fsync(fd) != 0 || close(fd) != 0)
        die("deliver", tmp);
    if (rename(tmp, new) != 0)
        die("rename", new);
}

static void sleep_until(uint64_t t) {
    struct timespec ts = {(time_t)(t / 1000000000), (long)(t % 1000000000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
        ;
}

static void deliver_all(struct run *r, const struct plan *p) {
    uint64_t next = clock_now();
    for (uint64_t i = 0; i < p->count; i++, next += p->period) {
        sleep_until(next);
        uint64_t began = clock_now();
        deliver(p, i);
        struct told t = {i, clock_now()};
        run_note_ns(r, 0, t.ended - began);
        if (write(p->tell[1], &t, sizeof t) != sizeof t)
            die("write", "to the looker");
    }
}

/* Until something has changed there, or a while has gone. */
static void wait_change(const struct plan *p) {
    static char events[65536];
    struct pollfd f = {.fd = p->inotify, .events = POLLIN};
    struct timespec a_while = {0, TRY_AGAIN_NS * 50};
    if (ppoll(&f, 1, &a_while, NULL) > 0 && read(p->inotify, events, sizeof events) < 0)
        die("read", "of inotify");
}

static void look_for(const struct plan *p, const struct told *t) {
    char name[4096];
    struct stat st;
    name_of(name, sizeof name, p->to, "new", t->number);
    while (stat(name, &st) != 0) {
        if (clock_now() - t->ended > (uint64_t)GIVE_UP_MS * 1000000) {
            errno = ETIMEDOUT;
            die("never seen:", name);
        }
        wait_change(p);
    }
}

static void look_all(struct run *r, const struct plan *p) {
    struct told t;
    for (size_t i = 0; i < p->count; i++) {
        if (read(p->tell[0], &t, sizeof t) != sizeof t)
            die("read", "of the deliverer");
        look_for(p, &t);
        run_note(r, 0, t.ended);
    }
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: bench_visible MAILBOX PEER-MAILBOX WATCH COUNT PER-SECOND\n");
        return 2;
    }
    struct plan p = {.from = argv[1],
                     .to = argv[2],
                     .count = number(argv[4], 1),
                     .period = 1000000000 / number(argv[5], 1)};
    struct run *out = run_new(1, p.count), *seen = run_new(1, p.count);
    p.inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (p.inotify < 0 || inotify_add_watch(p.inotify, argv[3], IN_CREATE | IN_MOVED_TO) < 0)
        die("inotify", argv[3]);
    if (pipe(p.tell) != 0)
        die("pipe", "to the looker");
    pid_t pid = fork();
    if (pid == 0) {
        deliver_all(out, &p);
        _exit(0);
    }
    close(p.tell[1]);
    look_all(seen, &p);
    run_print(out);
    run_print(seen);
    return pid < 0;
}
