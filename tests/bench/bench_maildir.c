/*
 * bench_maildir - what a mail server does to a Maildir, as fast as it goes
 *
 *	bench_maildir PHASE DIR WORKERS COUNT [FILES]
 *
 * Each worker is a process with a mailbox of its own, DIR/m<worker>, and does its part of COUNT
 * operations. Names follow from worker and number, so that one phase finds what another one left;
 * numbers begin again after FILES, for those that can be repeated:
 *
 *	make			the mailboxes
 *	deliver, link		create in tmp/, write, fsync, close; rename (or link, unlink) into
 *new/ pickup			new/X to cur/X:2, flag			cur/X:2, to cur/X:2,S stat,
 *read, list	of cur/X:2,S; list: the whole folder is one operation
 *	act			set a flag on cur/X:2,S, stat, read, take the flag away
 *	store			set a flag as Dovecot does: inside dovecot-uidlist.lock
 *	keyword			after store: a keyword, and dovecot-keywords written anew each time
 *	expunge			unlinks new/X
 *	fill			messages cur/X:2,S without fsync
 */
#include "measure.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SIZE_LEAST = 2048, SIZE_STEPS = 6, LISTS_PER = 20, LOCK_TRIES = 10000 };

#define LOCK "dovecot-uidlist.lock"

struct job {
    const char *dir;
    size_t each; /* operations of each worker */
    void (*op)(size_t i);
};

static char body[SIZE_LEAST << SIZE_STEPS];
static unsigned me;  /* the worker's number */
static size_t files; /* of each mailbox */

/* 2 to 64 KiB, the small ones more often: 8 KiB on average. */
static size_t size_of(size_t i) {
    static const unsigned char step[] = {0, 1, 1, 0, 2, 1, 0, 3, 1, 2, 0, 1, 4, 2, 0, 1};
    size_t least = (size_t)SIZE_LEAST << step[i % sizeof step];
    return least + (i * 7919) % least;
}

static const char *path(const char *part, size_t i, const char *info) {
    static char buf[4][160];
    static unsigned turn;
    char *p = buf[turn++ % 4];
    snprintf(p, sizeof buf[0], "%s/1700000000.M%06zuP%u.bench%s", part, i, me, info);
    return p;
}

static void must(int r, const char *what, const char *name) {
    if (r < 0)
        die(what, name);
}

static void write_file(const char *name, int flags, const char *data, size_t len, int sync) {
    int fd = open(name, O_WRONLY | O_CREAT | flags, 0600);
    must(fd, "open", name);
    if (write(fd, data, len) != (ssize_t)len)
        die("write", name);
    must(sync ? fsync(fd) : 0, "fsync", name);
    must(close(fd), "close", name);
}

static void rename_to(const char *from, const char *to) {
    must(rename(from, to), "rename", from);
}

static void op_deliver(size_t i) {
    write_file(path("tmp", i, ""), O_EXCL, body, size_of(i), 1);
    rename_to(path("tmp", i, ""), path("new", i, ""));
}

static void op_link(size_t i) {
    const char *tmp = path("tmp", i, ""), *to = path("new", i, "");
    write_file(tmp, O_EXCL, body, size_of(i), 1);
    must(link(tmp, to), "link", to);
    must(unlink(tmp), "unlink", tmp);
}

static void op_pickup(size_t i) {
    rename_to(path("new", i, ""), path("cur", i, ":2,"));
}

static void op_flag(size_t i) {
    rename_to(path("cur", i, ":2,"), path("cur", i, ":2,S"));
}

/* As Dovecot: looks first, and who finds it taken asks again. */
static void lock(void) {
    const struct timespec wait = {0, 1000000};
    struct stat st;
    char text[32];
    int fd = -1, n = snprintf(text, sizeof text, "%d:bench", (int)getpid());
    for (int tries = 0; fd < 0 && tries < LOCK_TRIES; tries++) {
        if (lstat(LOCK, &st) != 0)
            fd = open(LOCK, O_RDWR | O_CREAT | O_EXCL, 0600);
        if (fd < 0)
            nanosleep(&wait, NULL);
    }
    must(fd, "open", LOCK);
    if (write(fd, text, (size_t)n) != n)
        die("write", LOCK);
    close(fd);
}

static void unlock(void) {
    must(unlink(LOCK), "unlink", LOCK);
}

static void op_store(size_t i) {
    lock();
    rename_to(path("cur", i, ":2,S"), path("cur", i, ":2,FS"));
    unlock();
}

/* As Dovecot does it: the list only grows, to the 26 words that letters stand for. */
static void op_keyword(size_t i) {
    char text[26 * 16];
    int n = 0;
    for (size_t word = 0; word < 26 && word <= i; word++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%zu word%zu\n", word, word);
    lock();
    rename_to(path("cur", i, ":2,FS"), path("cur", i, ":2,FSa"));
    write_file("dovecot-keywords.lock", O_EXCL, text, (size_t)n, 1);
    rename_to("dovecot-keywords.lock", "dovecot-keywords");
    unlock();
}

static void op_stat(size_t i) {
    struct stat st;
    const char *name = path("cur", i, ":2,S");
    must(stat(name, &st), "stat", name);
}

static void read_whole(const char *name) {
    static char buf[sizeof body];
    ssize_t n;
    int fd = open(name, O_RDONLY);
    must(fd, "open", name);
    while ((n = read(fd, buf, sizeof buf)) > 0)
        ;
    must((int)n, "read", name);
    close(fd);
}

static void op_read(size_t i) {
    read_whole(path("cur", i, ":2,S"));
}

static void op_list(size_t i) {
    struct dirent *e;
    size_t n = 0;
    DIR *d = opendir("cur");
    if (d == NULL)
        die("opendir", "cur");
    while ((e = readdir(d)) != NULL)
        n += e->d_name[0] != '.';
    closedir(d);
    if (i == 0 && n == 0) {
        errno = ENOENT;
        die("list", "nothing there");
    }
}

static void op_expunge(size_t i) {
    const char *name = path("new", i, "");
    must(unlink(name), "unlink", name);
}

static void op_fill(size_t i) {
    write_file(path("cur", i, ":2,S"), O_EXCL, body, SIZE_LEAST, 0);
}

/* A large prime: all over the folder. */
static void op_act(size_t i) {
    size_t k = i * 1000003 % files;
    const char *plain = path("cur", k, ":2,S"), *flagged = path("cur", k, ":2,FS");
    struct stat st;
    rename_to(plain, flagged);
    must(stat(flagged, &st), "stat", flagged);
    read_whole(flagged);
    rename_to(flagged, plain);
}

static void enter(struct run *r, unsigned worker, void *arg) {
    const struct job *job = arg;
    char name[4096];
    me = worker;
    snprintf(name, sizeof name, "%s/m%u", job->dir, worker);
    must(chdir(name), "chdir", name);
}

static void work(struct run *r, unsigned worker, void *arg) {
    const struct job *job = arg;
    for (size_t i = 0; i < job->each; i++) {
        uint64_t began = clock_now();
        job->op(i % files);
        run_note(r, worker, began);
    }
}

static void make_all(const char *dir, unsigned workers) {
    static const char *const parts[] = {"", "/cur", "/new", "/tmp"};
    char name[4096];
    for (unsigned i = 0; i < workers; i++)
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
            snprintf(name, sizeof name, "%s/m%u%s", dir, i, parts[k]);
            must(mkdir(name, 0700), "mkdir", name);
        }
}

static const struct {
    const char *name;
    void (*op)(size_t i);
} phases[] = {
    {"deliver", op_deliver}, {"link", op_link},       {"pickup", op_pickup}, {"flag", op_flag},
    {"store", op_store},     {"keyword", op_keyword}, {"stat", op_stat},     {"read", op_read},
    {"list", op_list},       {"expunge", op_expunge}, {"fill", op_fill},     {"act", op_act},
};

int main(int argc, char **argv) {
    if (argc != 5 && argc != 6) {
        fprintf(stderr, "usage: bench_maildir PHASE DIR WORKERS COUNT [FILES]\n");
        return 2;
    }
    unsigned workers = (unsigned)number(argv[3], 1);
    struct job job = {.dir = argv[2], .each = number(argv[4], 1) / workers};
    files = argc == 6 ? number(argv[5], 1) : job.each + 1;
    memset(body, 'x', sizeof body);
    if (strcmp(argv[1], "make") == 0) {
        make_all(job.dir, workers);
        return 0;
    }
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++)
        if (strcmp(argv[1], phases[i].name) == 0)
            job.op = phases[i].op;
    if (job.op == NULL) {
        fprintf(stderr, "bench_maildir: no phase is called %s\n", argv[1]);
        return 2;
    }
    if (job.op == op_list && job.each > LISTS_PER)
        job.each /= LISTS_PER;
    struct run *r = run_new(workers, job.each);
    run_all(r, enter, work, &job);
    run_print(r);
    return 0;
}
