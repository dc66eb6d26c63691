/*
 * case_procs.c: several processes at once. What each sees is not written down, since that may
 * differ from run to run; what all of them together leave behind is.
 */
#include "posix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCS = 8, ROUNDS = 100 };

/* The winner of each name leaves one byte in a file all append to. */
static void one_creates(int me) {
    char name[32];

    for (int i = 0; i < ROUNDS; i++) {
        int fd, wins;

        snprintf(name, sizeof name, "lock%d", i);
        fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
        if (fd < 0 && errno == EEXIST)
            continue;
        wins = open("wins", O_WRONLY | O_APPEND | O_CREAT, 0600);
        if (fd < 0 || wins < 0 || write(wins, "w", 1) != 1)
            _exit(1);
        close(wins);
        close(fd);
    }
}

static void exclusive_creates(void) {
    all_at_once(PROCS, one_creates);
    note_content("wins");
    note_dir(".");
}

static void one_appends(int me) {
    int fd = open("log", O_WRONLY | O_APPEND | O_CREAT, 0600);
    char line[64];

    memset(line, 'a' + me, 64);
    line[63] = '\n';
    for (int i = 0; i < ROUNDS; i++)
        if (write(fd, line, 64) != 64)
            _exit(1);
}

static void appends_do_not_mix(void) {
    char line[64];
    int fd, torn = 0, lines = 0;

    all_at_once(PROCS, one_appends);
    note_stat("log", false);
    fd = must_open("log", O_RDONLY, 0);
    for (; read(fd, line, 64) == 64; lines++)
        for (int i = 1; i < 63; i++)
            torn += line[i] != line[0];
    note("lines %d, torn %d", lines, torn);
}

/* All race to rename the same names: each can be taken once only. */
static void one_takes(int me) {
    char from[32], to[32];

    for (int i = 0; i < ROUNDS * 4; i++) {
        snprintf(from, sizeof from, "new/%d", i);
        snprintf(to, sizeof to, "cur/%d.%d", i, me);
        if (rename(from, to) != 0 && errno != ENOENT)
            _exit(1);
    }
}

static void each_taken_once(void) {
    char name[32];

    make_mailbox("box");
    if (chdir("box") != 0)
        return;
    for (int i = 0; i < ROUNDS * 4; i++) {
        snprintf(name, sizeof name, "new/%d", i);
        make_file(name, "m");
    }
    all_at_once(PROCS, one_takes);
    did("count", system("ls cur | cut -d. -f1 | sort -u | wc -l; ls cur | wc -l; ls new | wc -l"));
}

static void one_delivers(int me) {
    char tmp[64], new[64], cur[80];

    for (int i = 0; i < ROUNDS; i++) {
        int fd;

        snprintf(tmp, sizeof tmp, "tmp/%d.P%d.h", i, me);
        snprintf(new, sizeof new, "new/%d.P%d.h", i, me);
        snprintf(cur, sizeof cur, "cur/%d.P%d.h:2,S", i, me);
        fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL, 0600);
        if (fd < 0 || write(fd, tmp, strlen(tmp)) < 0 || fsync(fd) != 0 || close(fd) != 0)
            _exit(1);
        if (me % 2 ? rename(tmp, new) != 0 : link(tmp, new) != 0 || unlink(tmp) != 0)
            _exit(2);
        if (i % 3 == 0 && rename(new, cur) != 0)
            _exit(3);
        if (i % 6 == 0 && unlink(cur) != 0)
            _exit(4);
    }
}

static void deliveries(void) {
    make_mailbox("box");
    if (chdir("box") != 0)
        return;
    all_at_once(PROCS, one_delivers);
    did("count", system("ls tmp | wc -l; ls new | wc -l; ls cur | wc -l"));
    did("bodies", system("cat new/* cur/* | sort | md5sum"));
}

static void one_makes_dirs(int me) {
    char name[32];

    for (int i = 0; i < ROUNDS; i++) {
        snprintf(name, sizeof name, "d%d", i % 5);
        if (mkdir(name, 0700) != 0 && errno != EEXIST)
            _exit(1);
        if (me % 2 && rmdir(name) != 0 && errno != ENOENT && errno != ENOTEMPTY)
            _exit(2);
    }
}

static void directories_come_and_go(void) {
    char name[16];

    all_at_once(PROCS, one_makes_dirs);
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "d%d", i);
        (void)rmdir(name);
    }
    note_dir(".");
}

/* Renames between directories both ways, which lock in an order of their own. */
static void one_crosses(int me) {
    char a[32], b[32];

    snprintf(a, sizeof a, "x/f%d", me);
    snprintf(b, sizeof b, "y/f%d", me);
    for (int i = 0; i < ROUNDS * 2; i++)
        if (rename(i % 2 ? b : a, i % 2 ? a : b) != 0)
            _exit(1);
}

static void crossing_renames(void) {
    char name[16];

    did("mkdir", mkdir("x", 0700));
    did("mkdir", mkdir("y", 0700));
    for (int i = 0; i < PROCS; i++) {
        snprintf(name, sizeof name, "x/f%d", i);
        make_file(name, "c");
    }
    all_at_once(PROCS, one_crosses);
    note_dir("x");
    note_dir("y");
}

/* A counter under an fcntl lock, changed through read and write by some and through a map by
 * others. */
static void one_counts(int me) {
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 4};
    int fd = open("counter", O_RDWR), v;
    int *map = mmap(NULL, 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (fd < 0 || map == MAP_FAILED)
        _exit(1);
    for (int i = 0; i < ROUNDS; i++) {
        l.l_type = F_WRLCK;
        if (fcntl(fd, F_SETLKW, &l) != 0)
            _exit(2);
        if (me % 2)
            ++*map;
        else if (pread(fd, &v, 4, 0) == 4 && (v++, pwrite(fd, &v, 4, 0) != 4))
            _exit(3);
        l.l_type = F_UNLCK;
        if (fcntl(fd, F_SETLK, &l) != 0)
            _exit(4);
    }
}

static void counter_under_a_lock(void) {
    int v = 0, fd = must_open("counter", O_RDWR | O_CREAT, 0600);
    ssize_t n;

    must_write(fd, &v, 4);
    all_at_once(PROCS, one_counts);
    n = pread(fd, &v, 4, 0);
    note("read %zd: %d", n, v);
}

/* The mailbox's lock: EEXIST for all but one, and whoever waits gets it in the end. */
static void one_locks(int me) {
    for (int i = 0; i < 20; i++) {
        int fd, v = 0, f;

        while ((fd = open("box/dovecot-uidlist.lock", O_RDWR | O_CREAT | O_EXCL, 0600)) < 0)
            if (errno != EEXIST || usleep(100) != 0)
                _exit(1);
        dprintf(fd, "%d:host", (int)getpid());
        close(fd);
        f = open("box/count", O_RDWR | O_CREAT, 0600);
        if (pread(f, &v, 4, 0) < 0 || (v++, pwrite(f, &v, 4, 0) != 4))
            _exit(2);
        close(f);
        if (unlink("box/dovecot-uidlist.lock") != 0)
            _exit(3);
    }
}

static void mailbox_lock(void) {
    int v = 0;
    ssize_t n;

    make_mailbox("box");
    all_at_once(PROCS, one_locks);
    n = pread(must_open("box/count", O_RDONLY, 0), &v, 4, 0);
    note("read %zd: %d", n, v);
    note_dir("box");
}

const struct posix_case posix_procs[] = {
    {"exclusive_creates", exclusive_creates},
    {"appends_do_not_mix", appends_do_not_mix},
    {"each_taken_once", each_taken_once},
    {"deliveries", deliveries},
    {"directories_come_and_go", directories_come_and_go},
    {"crossing_renames", crossing_renames},
    {"counter_under_a_lock", counter_under_a_lock},
    {"mailbox_lock", mailbox_lock},
    {NULL, NULL},
};
