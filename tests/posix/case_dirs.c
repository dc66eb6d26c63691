/*
 * case_dirs.c: listing while things change, large directories, positions.
 */
#include "posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void list_kinds(void) {
    make_file("f", "");
    did("mkdir", mkdir("d", 0700));
    did("symlink", symlink("x", "l"));
    did("fifo", mkfifo("p", 0600));
    note_dir(".");
    note_dir("d");
    did("of a file", open("f", O_RDONLY | O_DIRECTORY));
}

enum { LISTED = 500 };

/* Renames one further on, and one elsewhere. */
static void rename_two(int i) {
    char from[64], to[64];

    for (int k = 0; k < 2; k++) {
        int j = (i * 7 + k * 251) % LISTED;

        snprintf(from, sizeof from, "%d.msg:2,", j);
        snprintf(to, sizeof to, "%d.msg:2,S", j);
        (void)rename(from, to);
    }
}

/* A skipped entry makes Dovecot expunge the message: every name that was there the whole time
 * comes. */
static void list_while_renaming(void) {
    char name[64];
    int seen[LISTED] = {0}, missing = 0, other = 0, i;
    struct dirent *e;
    DIR *d;

    for (i = 0; i < LISTED; i++) {
        snprintf(name, sizeof name, "%d.msg:2,", i);
        make_file(name, "m");
    }
    d = opendir(".");
    while ((e = readdir(d)) != NULL) {
        if (sscanf(e->d_name, "%d.msg", &i) != 1) {
            other++;
            continue;
        }
        seen[i]++;
        rename_two(i);
    }
    closedir(d);
    for (i = 0; i < LISTED; i++)
        missing += seen[i] < 1;
    note("not seen: %d; others: %d", missing, other);
}

static void many_names(void) {
    char name[64];

    for (int i = 0; i < 10000; i++) {
        snprintf(name, sizeof name, "%d.M%dP%d.host,S=%d", i, i * 13, i * 7, i);
        make_file(name, "");
    }
    note_dir(".");
    for (int i = 0; i < 10000; i += 2) {
        snprintf(name, sizeof name, "%d.M%dP%d.host,S=%d", i, i * 13, i * 7, i);
        if (unlink(name) != 0)
            did("unlink", -1);
    }
    note_dir(".");
}

static void positions(void) {
    char name[32], third[256] = "";
    struct dirent *e;
    long at = 0;
    int n = 0;
    DIR *d;

    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "n%03d", i);
        make_file(name, "");
    }
    d = opendir(".");
    while ((e = readdir(d)) != NULL) {
        if (++n == 150)
            at = telldir(d);
        if (n == 151)
            snprintf(third, sizeof third, "%s", e->d_name);
    }
    note("names: %d", n);
    seekdir(d, at);
    e = readdir(d);
    note("back at the same: %d", e != NULL && strcmp(e->d_name, third) == 0);
    make_file("later", "");
    rewinddir(d);
    for (n = 0; readdir(d) != NULL;)
        n++;
    note("after rewinding: %d", n);
    closedir(d);
}

static void removed_under_us(void) {
    int fd;

    did("mkdir", mkdir("d", 0700));
    fd = must_open("d", O_RDONLY | O_DIRECTORY, 0);
    did("rmdir", rmdir("d"));
    did("create in it", openat(fd, "x", O_WRONLY | O_CREAT, 0600));
    did("mkdir in it", mkdirat(fd, "y", 0700));
    did("look up in it", faccessat(fd, "z", F_OK, 0));
    did("fsync it", fsync(fd));
}

static void deep(void) {
    for (int i = 0; i < 100; i++)
        if (mkdir("d", 0700) != 0 || chdir("d") != 0)
            did("deeper", -1);
    make_file("f", "at the bottom");
    note_content("f");
    did("look up", access("../../../d/d/d/f", F_OK));
}

/* Names made are seen at once, and names gone are gone. */
static void seen_at_once(void) {
    int missing = 0, ghosts = 0;
    char name[32];

    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "n%d", i);
        ghosts += access(name, F_OK) == 0;
        make_file(name, "x");
        missing += access(name, F_OK) != 0;
        (void)rename(name, "moved");
        ghosts += access(name, F_OK) == 0;
        missing += access("moved", F_OK) != 0;
        (void)unlink("moved");
        ghosts += access("moved", F_OK) == 0;
    }
    note("missing %d, ghosts %d", missing, ghosts);
}

const struct posix_case posix_dirs[] = {
    {"list_kinds", list_kinds},
    {"list_while_renaming", list_while_renaming},
    {"many_names", many_names},
    {"positions", positions},
    {"removed_under_us", removed_under_us},
    {"deep", deep},
    {"seen_at_once", seen_at_once},
    {NULL, NULL},
};
