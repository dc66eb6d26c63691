/*
 * test_waits MAILFS [CASE...]: what mailfs tells syncd, and what waits for it, with a syncd that
 * this program plays. Each case has a store, a mailfs and a process of its own. One line a case;
 * ends 1 if any failed.
 */
#include "fake_syncd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum { CASE_SECONDS = 30, A_WHILE_MS = 300, AT_ONCE_MS = 2000, PEER_TIMEOUT_S = 2 };

static const char *mailfs;
static char top[256];
static pid_t daemon_pid;

/* --- small things
 * ------------------------------------------------------------------------------------ */

static long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000L + t.tv_nsec / 1000000;
}

/* Below the mount; two at once. */
static const char *in_mount(const char *name) {
    static char buf[4][512];
    static unsigned n;
    char *p = buf[n++ % 4];
    snprintf(p, sizeof buf[0], "%s/mount/%s", top, name);
    return p;
}

static const char *in_store(const char *name) {
    static char buf[512];
    snprintf(buf, sizeof buf, "%s/store/%s", top, name);
    return buf;
}

static bool exists(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

static void put_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    CHECK(fd >= 0);
    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    CHECK(close(fd) == 0);
}

/* Something that may wait, done by a process of its own. */
struct doing {
    pid_t pid;
    int end; /* readable when it is done */
};

static int saying_pipe; /* in the process: closed when it ends, or before */

static void close_saying_pipe(void) {
    close(saying_pipe);
}

static struct doing start(int (*fn)(const char *), const char *arg) {
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

static bool done_within(const struct doing *d, int ms) {
    struct pollfd p = {.fd = d->end, .events = POLLIN};
    return poll(&p, 1, ms) == 1;
}

/* Its exit status: an errno. */
static int finish(struct doing *d) {
    int status;
    CHECK(done_within(d, AT_ONCE_MS));
    CHECK(waitpid(d->pid, &status, 0) == d->pid);
    close(d->end);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static int do_lock(const char *box) {
    char path[512];
    snprintf(path, sizeof path, "%s/dovecot-uidlist.lock", box);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    return fd < 0 ? errno : 0;
}

/* Takes L and goes on living, so that it stays. */
static int do_lock_and_stay(const char *box) {
    int r = do_lock(box);
    if (r != 0)
        return r;
    close(STDIN_FILENO);
    for (;;)
        pause();
}

static int do_unlock(const char *box) {
    char path[512];
    snprintf(path, sizeof path, "%s/dovecot-uidlist.lock", box);
    return unlink(path) == 0 ? 0 : errno;
}

static int do_fsync(const char *path) {
    int fd = open(path, O_WRONLY | O_APPEND);
    return fd < 0 || fsync(fd) != 0 ? errno : 0;
}

/* Says when it is durable, and goes on living. */
static int do_fsync_and_stay(const char *path) {
    int r = do_fsync(path);
    if (r != 0)
        return r;
    close_saying_pipe();
    for (;;)
        pause();
}

static int do_trash(const char *box) {
    return rename(box, in_mount("..DOVECOT-TRASHED")) == 0 ? 0 : errno;
}

static int do_rmdir(const char *path) {
    return rmdir(path) == 0 ? 0 : errno;
}

static int do_pick_up(const char *box) {
    char from[600], to[600];
    snprintf(from, sizeof from, "%s/new/1.x", box);
    snprintf(to, sizeof to, "%s/cur/1.x:2,", box);
    return rename(from, to) == 0 ? 0 : errno;
}

static int do_touch(const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    return fd < 0 || close(fd) != 0 ? errno : 0;
}

/* --- what packets say
 * --------------------------------------------------------------------------------- */

static const Mfl__Act *expect_act_at(int line, Mfl__Act__WhatCase kind) {
    const Mfl__ToSyncd *m = fake_expect_at(__FILE__, line, MFL__TO_SYNCD__M_ACT);
    if (m->act->what_case != kind) {
        printf("# act %d was expected, not %d\n", (int)kind, (int)m->act->what_case);
        fake_fail(__FILE__, line, "the wrong act");
    }
    return m->act;
}
#define expect_act(kind) expect_act_at(__LINE__, kind)

static uint8_t dir_bytes[2][16];

/* A mailbox and its id, kept in a numbered slot. */
static ProtobufCBinaryData make_box(const char *name, int slot) {
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

/* A message of the mailbox, prepared and delivered by link, as Postfix does. */
static void deliver(const char *box, const char *name) {
    char tmp[600], new[600];
    snprintf(tmp, sizeof tmp, "%s/tmp/%s", in_mount(box), name);
    snprintf(new, sizeof new, "%s/new/%s", in_mount(box), name);
    put_file(tmp, "text");
    CHECK(rename(tmp, new) == 0);
    const Mfl__Act *a = expect_act(MFL__ACT__WHAT_ADD);
    CHECK(strcmp(a->add->name, name) == 0 && a->add->sub == MFL__SUB__NEW && !a->in_txn);
}

/* L of the mailbox is taken by a process that lives. */
static struct doing hold(const char *box) {
    struct doing d = start(do_lock_and_stay, in_mount(box));
    const Mfl__ToSyncd *m = fake_expect(MFL__TO_SYNCD__M_LOCK_OPEN);
    fake_grant(m->lock_open->req, 0, 0, "");
    m = fake_expect(MFL__TO_SYNCD__M_LOCK_OPENED);
    CHECK(m->lock_opened->ok);
    return d;
}

static void end(struct doing *d) {
    kill(d->pid, SIGKILL);
    waitpid(d->pid, NULL, 0);
    close(d->end);
}

static void nothing_comes(void) {
    CHECK(fake_next(A_WHILE_MS, NULL) == NULL);
}

/* --- cases: all begin with a connected mailfs
 * ---------------------------------------------------------- */

/* A held L keeps nobody else waiting, in its own mailbox or another. */
static void case_held_lock(void) {
    make_box("a", 0);
    make_box("b", 1);
    deliver("a", "1.x");
    struct doing l = start(do_lock, in_mount("a"));
    uint64_t req = fake_expect(MFL__TO_SYNCD__M_LOCK_OPEN)->lock_open->req;
    CHECK(!done_within(&l, A_WHILE_MS));
    CHECK(rename(in_mount("a/new/1.x"), in_mount("a/cur/1.x:2,")) == 0);
    expect_act(MFL__ACT__WHAT_MOVE);
    deliver("b", "2.x");
    CHECK(rename(in_mount("b/new/2.x"), in_mount("b/cur/2.x:2,S")) == 0);
    expect_act(MFL__ACT__WHAT_MOVE);
    CHECK(!exists(in_store("a/dovecot-uidlist.lock")));
    fake_grant(req, 0, 0, "");
    CHECK(finish(&l) == 0);
    CHECK(fake_expect(MFL__TO_SYNCD__M_LOCK_OPENED)->lock_opened->ok);
}

/* U waits; what is told before it is what the owner wrote. Meanwhile a pick-up and a rename
 * elsewhere. */
static void case_unlock(void) {
    make_box("a", 0);
    make_box("b", 1);
    deliver("a", "1.x");
    CHECK(do_touch(in_mount("a/dovecot-uidlist")) == 0);
    expect_act(MFL__ACT__WHAT_FILE);
    struct doing owner = hold("a");
    int list = open(in_mount("a/dovecot-uidlist"), O_WRONLY | O_APPEND);
    CHECK(list >= 0 && write(list, "1 :1.x\n", 7) == 7);
    nothing_comes();
    struct doing u = start(do_unlock, in_mount("a"));
    const Mfl__Act *a = expect_act(MFL__ACT__WHAT_FILE);
    CHECK(a->in_txn && strcmp(a->file->name, "dovecot-uidlist") == 0);
    const Mfl__ToSyncd *m = fake_expect(MFL__TO_SYNCD__M_UNLOCK);
    uint64_t req = m->unlock->req;
    CHECK(!m->unlock->owner_died);
    CHECK(!done_within(&u, A_WHILE_MS));
    CHECK(exists(in_store("a/dovecot-uidlist.lock")));
    CHECK(rename(in_mount("a/new/1.x"), in_mount("a/cur/1.x:2,")) == 0);
    CHECK(!expect_act(MFL__ACT__WHAT_MOVE)->in_txn);
    deliver("b", "2.x");
    fake_release(req, 0);
    CHECK(finish(&u) == 0);
    CHECK(!exists(in_store("a/dovecot-uidlist.lock")));
    close(list);
    end(&owner);
    nothing_comes();
}

/* What the owner does is part of the transaction, what others do is not. */
static int do_owner_acts(const char *box) {
    char from[600], to[600];
    int r = do_lock(box);
    snprintf(from, sizeof from, "%s/new/1.x", box);
    snprintf(to, sizeof to, "%s/cur/1.x:2,S", box);
    if (r == 0 && rename(from, to) != 0)
        r = errno;
    if (r == 0 && unlink(to) != 0)
        r = errno;
    return r != 0 ? r : do_unlock(box);
}

static void case_in_txn(void) {
    make_box("a", 0);
    deliver("a", "1.x");
    struct doing d = start(do_owner_acts, in_mount("a"));
    fake_grant(fake_expect(MFL__TO_SYNCD__M_LOCK_OPEN)->lock_open->req, 0, 0, "");
    fake_expect(MFL__TO_SYNCD__M_LOCK_OPENED);
    const Mfl__Act *a = expect_act(MFL__ACT__WHAT_MOVE);
    CHECK(a->in_txn && a->move->old_sub == MFL__SUB__NEW && a->move->sub == MFL__SUB__CUR);
    CHECK(strcmp(a->move->name, "1.x:2,S") == 0);
    a = expect_act(MFL__ACT__WHAT_REMOVE);
    CHECK(a->in_txn && strcmp(a->remove->name, "1.x:2,S") == 0);
    fake_release(fake_expect(MFL__TO_SYNCD__M_UNLOCK)->unlock->req, 0);
    CHECK(finish(&d) == 0);
}

static void *fsync_it(void *path) {
    return (void *)(intptr_t)do_fsync(path);
}

static struct timespec in_ms(long ms) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += ms % 1000 * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_nsec -= 1000000000;
        t.tv_sec++;
    }
    return t;
}

/* The fsync of a message waits for its content to be prepared; its names then refer to that. (It is
 * made by a thread: what a process prepared that has ended is aborted.) */
static void case_prepare(void) {
    char text[16];
    int fd = -1;
    pthread_t d;
    void *err;
    make_box("a", 0);
    make_box("b", 1);
    put_file(in_mount("a/tmp/1.x"), "the content");
    CHECK(pthread_create(&d, NULL, fsync_it, strdup(in_mount("a/tmp/1.x"))) == 0);
    const Mfl__ToSyncd *m = fake_next(AT_ONCE_MS, &fd);
    CHECK(m != NULL && m->m_case == MFL__TO_SYNCD__M_PREPARE && fd >= 0);
    CHECK(strcmp(m->prepare->tmp_name, "1.x") == 0 && m->prepare->meta->size == 11);
    CHECK(pread(fd, text, sizeof text, 0) == 11 && memcmp(text, "the content", 11) == 0);
    close(fd);
    uint64_t req = m->prepare->req, seq = m->prepare->id->seq, inc = m->prepare->id->incarnation;
    struct timespec until = in_ms(A_WHILE_MS);
    CHECK(pthread_timedjoin_np(d, NULL, &until) == ETIMEDOUT);
    fake_release(req, 0);
    until = in_ms(AT_ONCE_MS);
    CHECK(pthread_timedjoin_np(d, &err, &until) == 0 && err == NULL);
    CHECK(do_fsync(in_mount("a/tmp/1.x")) == 0); /* nothing new: nothing waits */
    CHECK(link(in_mount("a/tmp/1.x"), in_mount("a/new/1.x")) == 0);
    const Mfl__Act *a = expect_act(MFL__ACT__WHAT_ADD);
    CHECK(a->add->source != NULL && a->add->source->prepared != NULL);
    CHECK(a->add->source->prepared->seq == seq && a->add->source->prepared->incarnation == inc);
    CHECK(unlink(in_mount("a/tmp/1.x")) == 0);
    nothing_comes();
    /* Another recipient, and a copy, by links of the message. */
    CHECK(link(in_mount("a/new/1.x"), in_mount("b/tmp/y")) == 0);
    CHECK(rename(in_mount("b/tmp/y"), in_mount("b/new/y")) == 0);
    a = expect_act(MFL__ACT__WHAT_ADD);
    CHECK(a->add->source->prepared != NULL && a->add->source->prepared->seq == seq);
    CHECK(strcmp(a->add->source->link_name, "1.x") == 0);
    CHECK(memcmp(a->add->source->link_dir.data, dir_bytes[0], 16) == 0);
    CHECK(memcmp(a->dir.data, dir_bytes[1], 16) == 0);
}

/* Refused, changed, given up. */
static void case_prepare_ends(void) {
    make_box("a", 0);
    put_file(in_mount("a/tmp/1.x"), "one");
    struct doing d = start(do_fsync, in_mount("a/tmp/1.x"));
    const Mfl__ToSyncd *m = fake_expect(MFL__TO_SYNCD__M_PREPARE);
    uint64_t first = m->prepare->id->seq;
    fake_release(m->prepare->req, EIO);
    CHECK(finish(&d) == EAGAIN);
    int fd = open(in_mount("a/tmp/1.x"), O_WRONLY | O_APPEND);
    CHECK(fd >= 0 && write(fd, "two", 3) == 3);
    close(fd);
    d = start(do_fsync, in_mount("a/tmp/1.x"));
    CHECK(fake_expect(MFL__TO_SYNCD__M_ABORT)->abort->id->seq == first);
    m = fake_expect(MFL__TO_SYNCD__M_PREPARE);
    uint64_t second = m->prepare->id->seq;
    CHECK(second != first && m->prepare->meta->size == 6);
    fake_release(m->prepare->req, 0);
    CHECK(finish(&d) == 0);
    CHECK(unlink(in_mount("a/tmp/1.x")) == 0);
    CHECK(fake_expect(MFL__TO_SYNCD__M_ABORT)->abort->id->seq == second);
    nothing_comes();
}

/* The kernel sends one fsync of a file after the other; one after a refusal asks anew. */
static void case_fsync_twice(void) {
    make_box("a", 0);
    put_file(in_mount("a/tmp/1.x"), "one");
    struct doing d = start(do_fsync, in_mount("a/tmp/1.x"));
    uint64_t req = fake_expect(MFL__TO_SYNCD__M_PREPARE)->prepare->req;
    struct doing e = start(do_fsync, in_mount("a/tmp/1.x"));
    CHECK(!done_within(&e, A_WHILE_MS));
    nothing_comes();
    fake_release(req, EAGAIN);
    CHECK(finish(&d) == EAGAIN);
    for (int i = 0; i < 2; i++) { /* the end of the first and the second are not in any order */
        const Mfl__ToSyncd *m = fake_next(AT_ONCE_MS, NULL);
        CHECK(m != NULL &&
              (m->m_case == MFL__TO_SYNCD__M_ABORT || m->m_case == MFL__TO_SYNCD__M_PREPARE));
        if (m->m_case == MFL__TO_SYNCD__M_PREPARE)
            req = m->prepare->req;
    }
    CHECK(!done_within(&e, A_WHILE_MS));
    fake_release(req, 0);
    CHECK(finish(&e) == 0);
}

/* A sieve script is no message, though it is written to a tmp/. */
static void case_sieve_tmp(void) {
    CHECK(mkdir(in_mount("sieve"), 0700) == 0);
    expect_act(MFL__ACT__WHAT_DIR_MAKE);
    CHECK(mkdir(in_mount("sieve/tmp"), 0700) == 0);
    expect_act(MFL__ACT__WHAT_SUBDIR);
    put_file(in_mount("sieve/tmp/x"), "keep;");
    CHECK(do_fsync(in_mount("sieve/tmp/x")) == 0);
    nothing_comes();
    CHECK(rename(in_mount("sieve/tmp/x"), in_mount("sieve/x.sieve")) == 0);
    CHECK(strcmp(expect_act(MFL__ACT__WHAT_FILE)->file->name, "x.sieve") == 0);
    nothing_comes();
}

/* A mailbox that is deleted while somebody holds its L: U is still told. */
static void case_lock_in_trash(void) {
    make_box("a", 0);
    struct doing owner = hold("a");
    CHECK(rename(in_mount("a"), in_mount("..DOVECOT-TRASHED")) == 0);
    expect_act(MFL__ACT__WHAT_DIR_REMOVE);
    struct doing u = start(do_unlock, in_mount("..DOVECOT-TRASHED"));
    uint64_t req = fake_expect(MFL__TO_SYNCD__M_UNLOCK)->unlock->req;
    CHECK(!done_within(&u, A_WHILE_MS));
    fake_release(req, 0);
    CHECK(finish(&u) == 0);
    end(&owner);
    nothing_comes();
}

/* The peer has the token: a lock that bears its name, until the token is here. */
static void case_busy(void) {
    char text[64] = "";
    ProtobufCBinaryData dir = make_box("a", 0);
    struct doing l = start(do_lock, in_mount("a"));
    fake_grant(fake_expect(MFL__TO_SYNCD__M_LOCK_OPEN)->lock_open->req, EEXIST, 0, "77:mx-b");
    CHECK(finish(&l) == EEXIST);
    int fd = open(in_mount("a/dovecot-uidlist.lock"), O_RDONLY);
    CHECK(fd >= 0 && read(fd, text, sizeof text) == 7 && memcmp(text, "77:mx-b", 7) == 0);
    close(fd);
    CHECK(do_lock(in_mount("a")) == EEXIST);
    nothing_comes();
    fake_token_here(dir);
    for (long until = now_ms() + AT_ONCE_MS; exists(in_mount("a/dovecot-uidlist.lock"));)
        CHECK(now_ms() < until);
    l = start(do_lock, in_mount("a"));
    fake_grant(fake_expect(MFL__TO_SYNCD__M_LOCK_OPEN)->lock_open->req, 0, 0, "");
    CHECK(finish(&l) == 0);
    CHECK(fake_expect(MFL__TO_SYNCD__M_LOCK_OPENED)->lock_opened->ok);
    CHECK(fake_expect(MFL__TO_SYNCD__M_UNLOCK)->unlock->owner_died); /* it has ended by now */
}

/* Invalidations of a mailbox whose L is waited for do not hold up another's, and come in the end.
 */
static void case_invalidate(void) {
    ProtobufCBinaryData a = make_box("a", 0), b = make_box("b", 1);
    deliver("a", "1.x");
    deliver("b", "1.x");
    CHECK(exists(in_mount("a/new/1.x")) && exists(in_mount("b/new/1.x")));
    struct doing l = start(do_lock, in_mount("a"));
    uint64_t req = fake_expect(MFL__TO_SYNCD__M_LOCK_OPEN)->lock_open->req;
    put_file(in_store("a/subscriptions"), "x\n");
    fake_invalidate(1, a, MFL__SUB__SELF, "", "subscriptions", true);
    fake_invalidate(2, b, MFL__SUB__NEW, "1.x", "", true);
    CHECK(unlink(in_store("b/new/1.x")) == 0);
    CHECK(fake_expect(MFL__TO_SYNCD__M_INVALIDATED)->invalidated->seq == 2);
    CHECK(!exists(in_mount("b/new/1.x")));
    nothing_comes();
    fake_grant(req, 0, 0, "");
    CHECK(finish(&l) == 0);
    bool opened = false, invalidated = false, died = false;
    while (!opened || !invalidated || !died) {
        const Mfl__ToSyncd *m = fake_next(AT_ONCE_MS, NULL);
        CHECK(m != NULL);
        opened |= m->m_case == MFL__TO_SYNCD__M_LOCK_OPENED;
        died |= m->m_case == MFL__TO_SYNCD__M_UNLOCK && m->unlock->owner_died;
        invalidated |= m->m_case == MFL__TO_SYNCD__M_INVALIDATED && m->invalidated->seq == 1;
    }
    CHECK(exists(in_mount("a/subscriptions")));
}

/* A rename below the mount is seen under both names, and wakes who watches. */
static void case_poke(void) {
    char events[4096];
    ProtobufCBinaryData a = make_box("a", 0);
    struct pollfd p = {.fd = inotify_init1(IN_CLOEXEC), .events = POLLIN};
    deliver("a", "1.x");
    CHECK(rename(in_mount("a/new/1.x"), in_mount("a/cur/1.x:2,")) == 0);
    expect_act(MFL__ACT__WHAT_MOVE);
    CHECK(exists(in_mount("a/cur/1.x:2,")));
    CHECK(inotify_add_watch(p.fd, in_mount("a/cur"), IN_CREATE | IN_DELETE) >= 0);
    char from[600];
    snprintf(from, sizeof from, "%s", in_store("a/cur/1.x:2,"));
    CHECK(rename(from, in_store("a/cur/1.x:2,S")) == 0);
    fake_invalidate(5, a, MFL__SUB__CUR, "1.x:2,", "1.x:2,S", true);
    CHECK(fake_expect(MFL__TO_SYNCD__M_INVALIDATED)->invalidated->seq == 5);
    CHECK(poll(&p, 1, AT_ONCE_MS) == 1);
    CHECK(read(p.fd, events, sizeof events) > 0);
    CHECK(!exists(in_mount("a/cur/1.x:2,")));
    CHECK(exists(in_mount("a/cur/1.x:2,S")));
    close(p.fd);
    nothing_comes();
    CHECK(open(in_mount("a/cur/.mailfs-poke"), O_CREAT | O_WRONLY, 0600) < 0 && errno == EPERM);
}

static bool times_are_fresh(const char *dir) {
    struct stat seen, is;
    CHECK(stat(in_mount(dir), &seen) == 0 && stat(in_store(dir), &is) == 0);
    return seen.st_mtim.tv_sec == is.st_mtim.tv_sec && seen.st_mtim.tv_nsec == is.st_mtim.tv_nsec;
}

static int do_stat_for_ever(const char *dir) {
    struct stat st;
    while (stat(dir, &st) == 0)
        ;
    return errno;
}

/* Attributes that somebody asked for before a rename are not believed after it. (A look at the very
 * moment in which the kernel takes in another's answer can see what was there before: the next one
 * does not.) */
static void case_times(void) {
    enum { LOOKERS = 3, RENAMES = 3000 };
    struct doing lookers[LOOKERS];
    char one[600], two[600];
    make_box("a", 0);
    deliver("a", "1.x");
    snprintf(one, sizeof one, "%s", in_mount("a/new/1.x"));
    snprintf(two, sizeof two, "%s", in_mount("a/new/1.x:2,S"));
    for (int i = 0; i < LOOKERS; i++)
        lookers[i] = start(do_stat_for_ever, in_mount("a/new"));
    int stale = 0;
    for (int i = 0; i < RENAMES; i++) {
        CHECK(rename(i % 2 == 0 ? one : two, i % 2 == 0 ? two : one) == 0);
        stale += !times_are_fresh("a/new") && !times_are_fresh("a/new");
        expect_act(MFL__ACT__WHAT_MOVE);
    }
    for (int i = 0; i < LOOKERS; i++)
        end(&lookers[i]);
    if (stale > 0)
        printf("# %d of %d times the time was that from before the rename\n", stale, RENAMES);
    CHECK(stale == 0);
}

/* Who is granted L sees the times of what was changed below the mount before. */
static void case_times_at_grant(void) {
    ProtobufCBinaryData a = make_box("a", 0);
    for (int i = 0; i < 50; i++) {
        CHECK(times_are_fresh("a/cur"));
        struct doing l = start(do_lock, in_mount("a"));
        uint64_t req = fake_expect(MFL__TO_SYNCD__M_LOCK_OPEN)->lock_open->req;
        put_file(in_store("a/cur/1.x:2,"), "text");
        fake_invalidate(1, a, MFL__SUB__CUR, "", "1.x:2,", true);
        fake_grant(req, 0, 0, "");
        CHECK(finish(&l) == 0);
        CHECK(times_are_fresh("a/cur"));
        bool died = false, invalidated = false;
        while (!died || !invalidated) {
            const Mfl__ToSyncd *m = fake_next(AT_ONCE_MS, NULL);
            CHECK(m != NULL);
            died |= m->m_case == MFL__TO_SYNCD__M_UNLOCK && m->unlock->owner_died;
            invalidated |= m->m_case == MFL__TO_SYNCD__M_INVALIDATED;
        }
        for (long until = now_ms() + AT_ONCE_MS; exists(in_store("a/dovecot-uidlist.lock"));)
            CHECK(now_ms() < until);
        CHECK(unlink(in_mount("a/cur/1.x:2,")) == 0);
        expect_act(MFL__ACT__WHAT_REMOVE);
    }
}

/* The owner dies: its transaction ends, its lock goes. */
static void case_owner_dies(void) {
    make_box("a", 0);
    struct doing owner = hold("a");
    CHECK(exists(in_mount("a/dovecot-uidlist.lock")));
    end(&owner);
    const Mfl__ToSyncd *m = fake_expect(MFL__TO_SYNCD__M_UNLOCK);
    CHECK(m->unlock->owner_died && memcmp(m->unlock->dir.data, dir_bytes[0], 16) == 0);
    for (long until = now_ms() + AT_ONCE_MS; exists(in_mount("a/dovecot-uidlist.lock"));)
        CHECK(now_ms() < until);
}

/* syncd dies: all that waits goes on at once; when it is back it hears what is held and what it
 * missed. */
static void case_syncd_dies(void) {
    make_box("a", 0);
    make_box("b", 1);
    put_file(in_mount("a/tmp/1.x"), "x");
    struct doing owner = hold("b");
    struct doing f = start(do_fsync, in_mount("a/tmp/1.x"));
    fake_expect(MFL__TO_SYNCD__M_PREPARE);
    struct doing l = start(do_lock_and_stay, in_mount("a"));
    fake_expect(MFL__TO_SYNCD__M_LOCK_OPEN);
    long before = now_ms();
    fake_stop();
    CHECK(finish(&f) == 0);
    while (!exists(in_store("a/dovecot-uidlist.lock")))
        CHECK(now_ms() < before + AT_ONCE_MS);
    CHECK(rename(in_mount("a/tmp/1.x"), in_mount("a/new/1.x")) == 0); /* nobody hears it */
    CHECK(do_unlock(in_mount("b")) == 0);
    char state[300];
    snprintf(state, sizeof state, "%s/state", top);
    fake_listen(state);
    const Mfl__Hello *h = fake_welcome();
    CHECK(h->n_locked == 1 && memcmp(h->locked[0].data, dir_bytes[0], 16) == 0);
    CHECK(fake_expect(MFL__TO_SYNCD__M_LOST)->lost->dropped > 0);
    end(&owner);
    end(&l);
    CHECK(fake_expect(MFL__TO_SYNCD__M_UNLOCK)->unlock->owner_died);
}

/* A syncd that accepts and then says nothing does not stop the mail. */
static void case_syncd_stuck(void) {
    char state[300];
    make_box("a", 0);
    put_file(in_mount("a/tmp/1.x"), "x");
    fake_stop();
    snprintf(state, sizeof state, "%s/state", top);
    fake_listen(state);
    fake_accept();
    fake_expect(MFL__TO_SYNCD__M_HELLO); /* before that mailfs does not know that it is there */
    struct doing f = start(do_fsync, in_mount("a/tmp/1.x"));
    CHECK(!done_within(&f, A_WHILE_MS));
    CHECK(done_within(&f, 1000 * PEER_TIMEOUT_S + AT_ONCE_MS));
    CHECK(finish(&f) == 0);
}

static void case_new_generation(void) {
    fake_new_gen(9);
    CHECK(fake_expect(MFL__TO_SYNCD__M_GEN_REACHED)->gen_reached->gen == 9);
    make_box("a", 0);
}

/* Folders: made, renamed, moved, deleted as Dovecot does it. */
static void case_folders(void) {
    make_box("a", 0);
    CHECK(rename(in_mount("a"), in_mount("b")) == 0);
    const Mfl__Act *a = expect_act(MFL__ACT__WHAT_DIR_MOVE);
    CHECK(memcmp(a->dir_move->id.data, dir_bytes[0], 16) == 0);
    CHECK(strcmp(a->dir_move->old_name, "a") == 0 && strcmp(a->dir_move->name, "b") == 0);
    deliver("b", "1.x");
    CHECK(rename(in_mount("b"), in_mount("..DOVECOT-TRASHED")) == 0);
    a = expect_act(MFL__ACT__WHAT_DIR_REMOVE);
    CHECK(a->dir_remove->trashed && a->dir_remove->n_bases == 1);
    CHECK(strcmp(a->dir_remove->bases[0], "1.x") == 0);
    CHECK(unlink(in_mount("..DOVECOT-TRASHED/new/1.x")) == 0);
    CHECK(rmdir(in_mount("..DOVECOT-TRASHED/new")) == 0);
    CHECK(rmdir(in_mount("..DOVECOT-TRASHED/cur")) == 0);
    CHECK(rmdir(in_mount("..DOVECOT-TRASHED/tmp")) == 0);
    CHECK(rmdir(in_mount("..DOVECOT-TRASHED")) == 0);
    nothing_comes();
}

/* So that no other end of a pipe is held. */
static void closefrom_stdio(void) {
    for (int fd = STDERR_FILENO + 1; fd < 64; fd++)
        close(fd);
}

static int do_make_in_cwd(const char *dir) {
    char unused;
    closefrom_stdio();
    if (chdir(dir) != 0)
        return errno;
    /* Told by the parent to go on, when the directory is away. */
    if (read(STDIN_FILENO, &unused, 1) != 0)
        return EPROTO;
    int fd = open("late", O_WRONLY | O_CREAT | O_EXCL, 0600);
    return fd < 0 ? errno : 0;
}

static void await_cwd(pid_t pid, const char *want) {
    char link[40], at[600] = "";
    snprintf(link, sizeof link, "/proc/%d/cwd", (int)pid);
    for (long until = now_ms() + AT_ONCE_MS; strcmp(at, want) != 0;) {
        ssize_t n = readlink(link, at, sizeof at - 1);
        at[n > 0 ? n : 0] = '\0';
        CHECK(now_ms() < until);
    }
}

/* A folder that the peer removed takes nothing more, also from those who are in it. */
static void case_taken_away(void) {
    ProtobufCBinaryData root = {16, (uint8_t[16]){0}};
    char from[600];
    int fds[2], saved = dup(STDIN_FILENO);
    make_box("a", 0);
    CHECK(saved >= 0 && pipe(fds) == 0 && dup2(fds[0], STDIN_FILENO) >= 0);
    struct doing d = start(do_make_in_cwd, in_mount("a/new"));
    dup2(saved, STDIN_FILENO);
    await_cwd(d.pid, in_mount("a/new"));
    snprintf(from, sizeof from, "%s", in_store("a"));
    CHECK(rename(from, in_store(".mailfs/gone-a")) == 0);
    fake_moved(7, root, (ProtobufCBinaryData){16, dir_bytes[0]}, "a", NULL);
    CHECK(fake_expect(MFL__TO_SYNCD__M_INVALIDATED)->invalidated->seq == 7);
    CHECK(!exists(in_mount("a")));
    close(fds[1]);
    close(fds[0]);
    CHECK(finish(&d) == ENOENT);
    CHECK(!exists(in_store(".mailfs/gone-a/new/late")));
    nothing_comes();
}

/* What was being delivered into it is given up: the peer must not think it was accepted. */
static void case_taken_away_delivery(void) {
    ProtobufCBinaryData root = {16, (uint8_t[16]){0}};
    char from[600];
    make_box("a", 0);
    put_file(in_mount("a/tmp/1.x"), "one");
    struct doing d = start(do_fsync, in_mount("a/tmp/1.x"));
    const Mfl__ToSyncd *m = fake_expect(MFL__TO_SYNCD__M_PREPARE);
    uint64_t seq = m->prepare->id->seq;
    fake_release(m->prepare->req, 0);
    CHECK(finish(&d) == 0);
    snprintf(from, sizeof from, "%s", in_store("a"));
    CHECK(rename(from, in_store(".mailfs/gone-b")) == 0);
    fake_moved(8, root, (ProtobufCBinaryData){16, dir_bytes[0]}, "a", NULL);
    CHECK(fake_expect(MFL__TO_SYNCD__M_ABORT)->abort->id->seq == seq);
    CHECK(fake_expect(MFL__TO_SYNCD__M_INVALIDATED)->invalidated->seq == 8);
    nothing_comes();
}

/* Of a/b and a, which is now b/a, the peer's syncd tells the last first: each below the other. */
static void case_circle(void) {
    ProtobufCBinaryData root = {16, (uint8_t[16]){0}};
    char from[600];
    make_box("a", 0);
    make_box("b", 1);
    snprintf(from, sizeof from, "%s", in_mount("b"));
    CHECK(rename(from, in_mount("a/b")) == 0);
    expect_act(MFL__ACT__WHAT_DIR_MOVE);
    snprintf(from, sizeof from, "%s", in_store("a/b"));
    CHECK(rename(from, in_store("b")) == 0);
    snprintf(from, sizeof from, "%s", in_store("a"));
    CHECK(rename(from, in_store("b/a")) == 0);
    fake_moved(7, (ProtobufCBinaryData){16, dir_bytes[1]}, (ProtobufCBinaryData){16, dir_bytes[0]},
               NULL, "a");
    CHECK(fake_expect(MFL__TO_SYNCD__M_INVALIDATED)->invalidated->seq == 7);
    fake_moved(8, root, (ProtobufCBinaryData){16, dir_bytes[1]}, "a", "b");
    CHECK(fake_expect(MFL__TO_SYNCD__M_INVALIDATED)->invalidated->seq == 8);
    CHECK(exists(in_mount("b/a/new")));
    deliver("b/a", "1.x");
}

static void await_signal(int number) {
    sigset_t set;
    int got;
    sigemptyset(&set);
    sigaddset(&set, number);
    CHECK(sigwait(&set, &got) == 0);
}

/* As Dovecot between L and U, whose mailbox is renamed: it looks for its lock (SIGUSR1), does not
 * find it, and closes the UID list (SIGUSR2) without another word. */
static int do_lose_lock(const char *box) {
    char path[600];
    struct stat st;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    snprintf(path, sizeof path, "%s/dovecot-uidlist", box);
    int list = open(path, O_RDWR);
    int r = list < 0 ? errno : do_lock(box);
    if (r != 0)
        return r;
    await_signal(SIGUSR1);
    snprintf(path, sizeof path, "%s/dovecot-uidlist.lock", box);
    if (lstat(path, &st) == 0)
        return EEXIST;
    await_signal(SIGUSR2);
    close(list);
    close_saying_pipe();
    for (;;)
        pause();
}

/* The next one gets L of the mailbox while the former owner lives. */
static void lock_is_free(const char *box, const struct doing *former) {
    for (long until = now_ms() + AT_ONCE_MS; exists(in_store("b/dovecot-uidlist.lock"));) {
        CHECK(now_ms() < until);
        poll(NULL, 0, 5);
    }
    struct doing next = start(do_lock, in_mount(box));
    fake_grant(fake_expect(MFL__TO_SYNCD__M_LOCK_OPEN)->lock_open->req, 0, 0, "");
    CHECK(fake_expect(MFL__TO_SYNCD__M_LOCK_OPENED)->lock_opened->ok);
    CHECK(finish(&next) == 0);
    CHECK(waitpid(former->pid, NULL, WNOHANG) == 0);
}

/* A mailbox is renamed under L: its owner cannot end it. It ends when he can write nothing more. */
static void case_renamed_held(void) {
    make_box("a", 0);
    CHECK(do_touch(in_mount("a/dovecot-uidlist")) == 0);
    expect_act(MFL__ACT__WHAT_FILE);
    struct doing owner = start(do_lose_lock, in_mount("a"));
    fake_grant(fake_expect(MFL__TO_SYNCD__M_LOCK_OPEN)->lock_open->req, 0, 0, "");
    CHECK(fake_expect(MFL__TO_SYNCD__M_LOCK_OPENED)->lock_opened->ok);
    CHECK(rename(in_mount("a"), in_mount("b")) == 0);
    expect_act(MFL__ACT__WHAT_DIR_MOVE);
    nothing_comes();
    kill(owner.pid, SIGUSR1);
    nothing_comes();
    CHECK(exists(in_store("b/dovecot-uidlist.lock")));
    kill(owner.pid, SIGUSR2);
    CHECK(done_within(&owner, AT_ONCE_MS));
    CHECK(fake_expect(MFL__TO_SYNCD__M_UNLOCK)->unlock->owner_died);
    lock_is_free("b", &owner);
    end(&owner);
}

/* It looks for it, as Dovecot does before it believes that it has it, and that is all. */
static int do_lock_and_look(const char *box) {
    char path[600];
    struct stat st;
    int r = do_lock(box);
    snprintf(path, sizeof path, "%s/dovecot-uidlist.lock", box);
    if (r != 0 || lstat(path, &st) == 0)
        return r != 0 ? r : EEXIST;
    close_saying_pipe();
    for (;;)
        pause();
}

/* The other node renames it while somebody here waits for L. */
static void case_renamed_waiting(void) {
    ProtobufCBinaryData root = {16, (uint8_t[16]){0}};
    char from[600];
    make_box("a", 0);
    struct doing owner = start(do_lock_and_look, in_mount("a"));
    uint64_t req = fake_expect(MFL__TO_SYNCD__M_LOCK_OPEN)->lock_open->req;
    snprintf(from, sizeof from, "%s", in_store("a"));
    CHECK(rename(from, in_store("b")) == 0);
    fake_moved(7, root, (ProtobufCBinaryData){16, dir_bytes[0]}, "a", "b");
    CHECK(fake_expect(MFL__TO_SYNCD__M_INVALIDATED)->invalidated->seq == 7);
    fake_grant(req, 0, 0, "");
    CHECK(fake_expect(MFL__TO_SYNCD__M_LOCK_OPENED)->lock_opened->ok);
    CHECK(done_within(&owner, AT_ONCE_MS));
    CHECK(fake_expect(MFL__TO_SYNCD__M_UNLOCK)->unlock->owner_died);
    lock_is_free("b", &owner);
    end(&owner);
}

/* Files that are not mail; what is local is not told. */
static void case_files(void) {
    make_box("a", 0);
    put_file(in_mount("a/sieve"), "keep;");
    const Mfl__Act *a = expect_act(MFL__ACT__WHAT_FILE);
    CHECK(strcmp(a->file->name, "sieve") == 0 && !a->file->removed && !a->in_txn);
    CHECK(chmod(in_mount("a/sieve"), 0640) == 0);
    expect_act(MFL__ACT__WHAT_FILE);
    CHECK(symlink("sieve", in_mount("a/active")) == 0);
    expect_act(MFL__ACT__WHAT_FILE);
    CHECK(rename(in_mount("a/sieve"), in_mount("a/sieve2")) == 0);
    CHECK(!expect_act(MFL__ACT__WHAT_FILE)->file->removed);
    a = expect_act(MFL__ACT__WHAT_FILE);
    CHECK(a->file->removed && strcmp(a->file->name, "sieve") == 0);
    put_file(in_mount("a/subscriptions.lock"), "x\n");
    put_file(in_mount("a/maildirsize"), "x\n");
    put_file(in_mount("a/dovecot.index.log"), "x\n");
    put_file(in_mount("a/tmp/z"), "x\n");
    CHECK(unlink(in_mount("a/tmp/z")) == 0);
    nothing_comes();
    CHECK(rename(in_mount("a/subscriptions.lock"), in_mount("a/subscriptions")) == 0);
    a = expect_act(MFL__ACT__WHAT_FILE);
    CHECK(strcmp(a->file->name, "subscriptions") == 0);
    CHECK(open(in_mount(".mailfs"), O_RDONLY) < 0 && errno == ENOENT);
    CHECK(mkdir(in_mount(".mailfs"), 0700) < 0 && errno == EPERM);
    nothing_comes();
}

/* What the store has of them is not seen, and none can be made that the peer would not get. */
static void case_no_xattrs(void) {
    char value[8];
    make_box("a", 0);
    CHECK(setxattr(in_store("a"), "user.test", "x", 1, 0) == 0);
    CHECK(getxattr(in_mount("a"), "user.test", value, sizeof value) < 0 && errno == EOPNOTSUPP);
    CHECK(listxattr(in_mount("a"), NULL, 0) < 0 && errno == EOPNOTSUPP);
    CHECK(setxattr(in_mount("a"), "user.test", "y", 1, 0) < 0 && errno == EOPNOTSUPP);
    CHECK(removexattr(in_mount("a"), "user.test") < 0 && errno == EOPNOTSUPP);
    CHECK(getxattr(in_store("a"), "user.test", value, sizeof value) == 1 && value[0] == 'x');
    nothing_comes();
}

/* What would be in them would never be sent: a user "new", a folder "a.lock". */
static void case_no_such_folder(void) {
    static const char *const names[] = {"a/new/Maildir", "a/tmp/x", "a/cur/x", "a/.b.lock",
                                        "temp.x"};
    make_box("a", 0);
    CHECK(mkdir(in_mount("a/.b"), 0700) == 0);
    expect_act(MFL__ACT__WHAT_DIR_MAKE);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        CHECK(mkdir(in_mount(names[i]), 0700) < 0 && errno == EPERM);
        CHECK(rename(in_mount("a/.b"), in_mount(names[i])) < 0 && errno == EPERM);
    }
    nothing_comes();
    /* deleting it, and emptying the trash */
    CHECK(rename(in_mount("a/.b"), in_mount("a/..DOVECOT-TRASHED")) == 0);
    expect_act(MFL__ACT__WHAT_DIR_REMOVE);
    CHECK(mkdir(in_mount("a/..DOVECOT-TRASHED/new"), 0700) == 0);
    nothing_comes();
}

/* Raised before L is given, and told as part of the transaction. */
static void case_raise(void) {
    char text[256] = "";
    make_box("a", 0);
    put_file(in_mount("a/dovecot-uidlist"), "3 V1700000000 N5 G0123456789abcdef0123456789abcdef\n");
    expect_act(MFL__ACT__WHAT_FILE);
    struct doing l = start(do_lock_and_stay, in_mount("a"));
    fake_grant(fake_expect(MFL__TO_SYNCD__M_LOCK_OPEN)->lock_open->req, 0, 1, "");
    fake_expect(MFL__TO_SYNCD__M_LOCK_OPENED);
    const Mfl__Act *a = expect_act(MFL__ACT__WHAT_FILE);
    CHECK(a->in_txn && strcmp(a->file->name, "dovecot-uidlist") == 0);
    int fd = open(in_mount("a/dovecot-uidlist"), O_RDONLY);
    CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    CHECK(strstr(text, " N196608 ") != NULL); /* the first odd block at least 2^16 above 5 */
    close(fd);
    end(&l);
    CHECK(fake_expect(MFL__TO_SYNCD__M_UNLOCK)->unlock->owner_died);
}

/* --- cases in which the worker dies ------------------------------------------------------------
 */

/* Killed when it was about to tell of U, or just had: the next one says that it does not know. */
static void case_dies_going(void) {
    make_box("a", 0);
    struct doing owner = hold("a");
    struct doing u = start(do_unlock, in_mount("a"));
    const Mfl__Hello *h = fake_welcome();
    CHECK(h->n_locked == 0 && h->n_going == 1);
    CHECK(memcmp(h->going[0].data, dir_bytes[0], 16) == 0);
    const Mfl__Unlock *again = fake_expect(MFL__TO_SYNCD__M_UNLOCK)->unlock;
    CHECK(again->again && !again->owner_died);
    CHECK(!done_within(&u, A_WHILE_MS));
    fake_release(again->req, 0);
    CHECK(finish(&u) == 0);
    CHECK(!exists(in_store("a/dovecot-uidlist.lock")));
    end(&owner);
}

/* DELETE is a rename: of which mailbox is still told by the id. */
static void case_dies_trashing(void) {
    make_box("a", 0);
    deliver("a", "1.x");
    struct doing d = start(do_trash, in_mount("a"));
    fake_welcome();
    const Mfl__Act *a = expect_act(MFL__ACT__WHAT_DIR_REMOVE);
    CHECK(memcmp(a->dir_remove->id.data, dir_bytes[0], 16) == 0 && a->dir_remove->trashed);
    CHECK(a->dir_remove->n_bases == 1);
    CHECK(finish(&d) == 0);
}

/* Of a directory that is gone nobody knows the id. */
static void case_dies_rmdir(void) {
    CHECK(mkdir(in_mount("d"), 0700) == 0);
    expect_act(MFL__ACT__WHAT_DIR_MAKE);
    struct doing d = start(do_rmdir, in_mount("d"));
    fake_welcome();
    fake_expect(MFL__TO_SYNCD__M_LOST);
    CHECK(finish(&d) == 0);
}

/* A file that was written under L and is still open is told by the next worker, before U. */
static void case_dies_telling(void) {
    make_box("a", 0);
    struct doing owner = hold("a");
    int fd = open(in_mount("a/dovecot-keywords"), O_WRONLY | O_CREAT, 0600);
    CHECK(fd >= 0 && write(fd, "0 k\n", 4) == 4);
    struct doing u = start(do_unlock, in_mount("a"));
    const Mfl__Hello *h = fake_welcome();
    CHECK(h->n_locked == 1 && h->n_going == 0);
    const Mfl__Act *a = expect_act(MFL__ACT__WHAT_FILE);
    CHECK(a->in_txn && strcmp(a->file->name, "dovecot-keywords") == 0);
    fake_release(fake_expect(MFL__TO_SYNCD__M_UNLOCK)->unlock->req, 0);
    CHECK(finish(&u) == 0 && close(fd) == 0);
    end(&owner);
}

static pid_t child_of(pid_t pid) {
    char path[64], line[64] = "";
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *f = fopen(path, "r");
    pid_t child = f != NULL && fgets(line, sizeof line, f) != NULL ? (pid_t)atoi(line) : 0;
    if (f != NULL)
        fclose(f);
    return child;
}

static char state_of(pid_t pid) {
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    const char *end = f != NULL && fgets(line, sizeof line, f) != NULL ? strrchr(line, ')') : NULL;
    if (f != NULL)
        fclose(f);
    return end != NULL ? end[2] : '?';
}

/* The next worker, which MAILFS_STOP has stopped. */
static pid_t stopped_worker(void) {
    pid_t worker = 0;
    for (int ms = 0; ms < AT_ONCE_MS && (worker == 0 || state_of(worker) != 'T'); ms += 5) {
        poll(NULL, 0, 5);
        worker = child_of(daemon_pid);
    }
    CHECK(state_of(worker) == 'T');
    return worker;
}

/* Carried out, not told; and whoever asked is killed before the next worker is asked again. */
static void case_dies_with_client(void) {
    make_box("a", 0);
    deliver("a", "1.x");
    struct doing d = start(do_pick_up, in_mount("a"));
    pid_t worker = stopped_worker();
    CHECK(exists(in_store("a/cur/1.x:2,")));
    end(&d);
    CHECK(kill(worker, SIGCONT) == 0);
    fake_welcome();
    fake_expect(MFL__TO_SYNCD__M_LOST);
}

/* Asked again before the next worker has a syncd: its Hello names the L, which is not gone. */
static void case_dies_unheard(void) {
    char path[300], away[310];
    make_box("a", 0);
    struct doing owner = hold("a");
    snprintf(path, sizeof path, "%s/state/syncd.sock", top);
    snprintf(away, sizeof away, "%s.away", path);
    CHECK(rename(path, away) == 0);
    struct doing u = start(do_unlock, in_mount("a"));
    pid_t worker = stopped_worker();
    CHECK(rename(away, path) == 0 && kill(worker, SIGCONT) == 0);
    const Mfl__Hello *h = fake_welcome();
    CHECK(h->n_locked == 0 && h->n_going == 1);
    const Mfl__Unlock *again = fake_expect(MFL__TO_SYNCD__M_UNLOCK)->unlock;
    CHECK(again->again && !again->owner_died);
    fake_release(again->req, 0);
    CHECK(finish(&u) == 0);
    end(&owner);
}

/* The next worker watches who is to name a message, too. */
static void case_dies_author(void) {
    make_box("a", 0);
    put_file(in_mount("a/tmp/1.x"), "one");
    struct doing d = start(do_fsync_and_stay, in_mount("a/tmp/1.x"));
    const Mfl__ToSyncd *m = fake_expect(MFL__TO_SYNCD__M_PREPARE);
    uint64_t seq = m->prepare->id->seq;
    fake_release(m->prepare->req, 0);
    CHECK(done_within(&d, AT_ONCE_MS));
    CHECK(kill(child_of(daemon_pid), SIGKILL) == 0);
    fake_welcome();
    end(&d);
    CHECK(fake_expect(MFL__TO_SYNCD__M_ABORT)->abort->id->seq == seq);
}

/* A lock that stood for the peer's was nobody's here: no UID can have been given under it. */
static void case_dies_showing(void) {
    make_box("a", 0);
    put_file(in_mount("a/dovecot-uidlist"), "3 V1700000000 N5 G0123456789abcdef0123456789abcdef\n");
    expect_act(MFL__ACT__WHAT_FILE);
    struct doing l = start(do_lock, in_mount("a"));
    fake_grant(fake_expect(MFL__TO_SYNCD__M_LOCK_OPEN)->lock_open->req, EEXIST, 0, "1:mx-b");
    CHECK(finish(&l) == EEXIST && exists(in_store("a/dovecot-uidlist.lock")));
    CHECK(kill(child_of(daemon_pid), SIGKILL) == 0);
    CHECK(fake_welcome()->n_locked == 0 && !exists(in_store("a/dovecot-uidlist.lock")));
    l = hold("a");
    nothing_comes();
    end(&l);
}

struct wait_case {
    const char *name;
    void (*run)(void);
    const char *die;  /* where the first worker dies, or NULL */
    const char *stop; /* where the next one stops, or NULL */
};

static const struct wait_case cases[] = {
    {"held_lock", case_held_lock, NULL, NULL},
    {"unlock", case_unlock, NULL, NULL},
    {"in_txn", case_in_txn, NULL, NULL},
    {"prepare", case_prepare, NULL, NULL},
    {"prepare_ends", case_prepare_ends, NULL, NULL},
    {"fsync_twice", case_fsync_twice, NULL, NULL},
    {"sieve_tmp", case_sieve_tmp, NULL, NULL},
    {"lock_in_trash", case_lock_in_trash, NULL, NULL},
    {"busy", case_busy, NULL, NULL},
    {"invalidate", case_invalidate, NULL, NULL},
    {"poke", case_poke, NULL, NULL},
    {"times", case_times, NULL, NULL},
    {"times_at_grant", case_times_at_grant, NULL, NULL},
    {"owner_dies", case_owner_dies, NULL, NULL},
    {"syncd_dies", case_syncd_dies, NULL, NULL},
    {"syncd_stuck", case_syncd_stuck, NULL, NULL},
    {"new_generation", case_new_generation, NULL, NULL},
    {"folders", case_folders, NULL, NULL},
    {"files", case_files, NULL, NULL},
    {"no_such_folder", case_no_such_folder, NULL, NULL},
    {"no_xattrs", case_no_xattrs, NULL, NULL},
    {"taken_away", case_taken_away, NULL, NULL},
    {"taken_away_delivery", case_taken_away_delivery, NULL, NULL},
    {"circle", case_circle, NULL, NULL},
    {"renamed_held", case_renamed_held, NULL, NULL},
    {"renamed_waiting", case_renamed_waiting, NULL, NULL},
    {"raise", case_raise, NULL, NULL},
    {"dies_going", case_dies_going, "going", NULL},
    {"dies_unheard", case_dies_unheard, "going", "claimed"},
    {"dies_trashing", case_dies_trashing, "rename:2", NULL},
    {"dies_rmdir", case_dies_rmdir, "rmdir", NULL},
    {"dies_with_client", case_dies_with_client, "rename:2", "resent"},
    {"dies_author", case_dies_author, NULL, NULL},
    {"dies_telling", case_dies_telling, "tell", NULL},
    {"dies_showing", case_dies_showing, NULL, NULL},
};

/* --- around a case
 * ----------------------------------------------------------------------------------------- */

static void write_conf(const char *path) {
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    fprintf(
        f,
        "node = \"mx-a\"\nvolume \"mail\" {\n store = \"%s/store\"\n mount = \"%s/mount\"\n"
        " state = \"%s/state\"\n listen = \"127.0.0.1:7999\"\n peer \"mx-b\" {\n"
        "  address = \"127.0.0.1:7998\"\n  fingerprint = \"SHA256:%s\"\n  timeout = %d\n }\n}\n",
        top, top, top, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", PEER_TIMEOUT_S);
    CHECK(fclose(f) == 0);
}

static void start_mailfs(const char *conf, const char *die, const char *stop) {
    char log[300];
    snprintf(log, sizeof log, "%s/mailfs.log", top);
    daemon_pid = fork();
    CHECK(daemon_pid >= 0);
    if (daemon_pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup2(fd, STDERR_FILENO);
        alarm(0);
        if (die != NULL)
            setenv("MAILFS_DIE", die, 1);
        if (stop != NULL)
            setenv("MAILFS_STOP", stop, 1);
        execl(mailfs, mailfs, "-f", "-c", conf, (char *)NULL);
        _exit(127);
    }
}

static void await_mount(void) {
    struct stat above, at;
    CHECK(stat(top, &above) == 0);
    for (long until = now_ms() + 5000; now_ms() < until;) {
        if (stat(in_mount(""), &at) == 0 && at.st_dev != above.st_dev)
            return;
        CHECK(waitpid(daemon_pid, NULL, WNOHANG) == 0);
        poll(NULL, 0, 5);
    }
    fake_fail(__FILE__, __LINE__, "no mount");
}

static void run_case(const struct wait_case *c) {
    char conf[300], state[300];
    snprintf(conf, sizeof conf, "%s/conf", top);
    snprintf(state, sizeof state, "%s/state", top);
    CHECK(mkdir(in_store(""), 0755) == 0 && mkdir(in_mount(""), 0755) == 0);
    CHECK(mkdir(state, 0700) == 0);
    write_conf(conf);
    fake_listen(state);
    start_mailfs(conf, c->die, c->stop);
    await_mount();
    const Mfl__Hello *h = fake_welcome();
    CHECK(h->version == 1 && strcmp(h->volume, "mail") == 0 && h->n_locked == 0 && h->clean);
    c->run();
    CHECK(kill(daemon_pid, SIGTERM) == 0);
    int status;
    CHECK(waitpid(daemon_pid, &status, 0) == daemon_pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    _exit(0);
}

static void show_log(void) {
    char line[1200];
    snprintf(line, sizeof line, "%s/mailfs.log", top);
    FILE *f = fopen(line, "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        printf("# %s", line);
    if (f != NULL)
        fclose(f);
}

/* The case is a process group of its own, so that nothing of it outlives it. */
static bool supervise(const struct wait_case *c) {
    char command[400];
    int status = 0;
    snprintf(top, sizeof top, "/tmp/mailfs-waits-XXXXXX");
    CHECK(mkdtemp(top) != NULL);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        alarm(CASE_SECONDS);
        run_case(c);
    }
    waitpid(pid, &status, 0);
    kill(-pid, SIGKILL);
    bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    umount2(in_mount(""), MNT_DETACH);
    if (!ok)
        show_log();
    snprintf(command, sizeof command, "rm -rf --one-file-system %s", top);
    if (system(command) != 0)
        printf("# %s is left\n", top);
    return ok;
}

int main(int argc, char **argv) {
    int failed = 0;
    if (argc < 2) {
        fprintf(stderr, "usage: test_waits MAILFS [CASE...]\n");
        return 2;
    }
    mailfs = argv[1];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool wanted = argc == 2;
        for (int k = 2; k < argc; k++)
            wanted |= strcmp(argv[k], cases[i].name) == 0;
        if (!wanted)
            continue;
        bool ok = supervise(&cases[i]);
        printf("%s waits.%s\n", ok ? "PASS" : "FAIL", cases[i].name);
        failed += !ok;
    }
    return failed != 0;
}
