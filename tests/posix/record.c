/*
 * record.c: what a case writes down.
 *
 * Lines go to standard output, which the runner has pointed at a file; a child's lines go there
 * too, so only one process of a case may write at a time.
 */
#include "posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void note(const char *format, ...) {
    va_list ap;

    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
}

static void give_up(const char *what, const char *path) {
    note("GIVES UP: %s %s: %s", what, path, strerror(errno));
    _exit(3);
}

long did(const char *what, long ret) {
    int err = errno;

    if (ret >= 0)
        note("%s: ok", what);
    else
        note("%s: %s", what, strerrorname_np(err));
    errno = err;
    return ret;
}

static char type_of(mode_t mode) {
    switch (mode & S_IFMT) {
    case S_IFREG:
        return 'f';
    case S_IFDIR:
        return 'd';
    case S_IFLNK:
        return 'l';
    case S_IFIFO:
        return 'p';
    case S_IFSOCK:
        return 's';
    default:
        return '?';
    }
}

static void note_st(const char *what, const struct stat *st, bool mtime) {
    char when[64] = "";

    if (mtime)
        snprintf(when, sizeof when, " mtime=%lld.%09ld", (long long)st->st_mtim.tv_sec,
                 st->st_mtim.tv_nsec);
    /* The size and links of a directory are the file system's own affair. */
    if (S_ISDIR(st->st_mode))
        note("%s: d %04o %u:%u%s", what, st->st_mode & 07777, st->st_uid, st->st_gid, when);
    else
        note("%s: %c %04o n=%lu %u:%u size=%lld%s", what, type_of(st->st_mode), st->st_mode & 07777,
             (unsigned long)st->st_nlink, st->st_uid, st->st_gid, (long long)st->st_size, when);
}

void note_stat(const char *path, bool mtime) {
    struct stat st;

    if (lstat(path, &st) != 0)
        note("stat %s: %s", path, strerrorname_np(errno));
    else
        note_st(path, &st, mtime);
}

void note_fstat(const char *what, int fd) {
    struct stat st;

    if (fstat(fd, &st) != 0)
        note("fstat %s: %s", what, strerrorname_np(errno));
    else
        note_st(what, &st, false);
}

void note_content(const char *path) {
    unsigned char buf[4096];
    uint64_t sum = 14695981039346656037u; /* FNV-1a */
    long long len = 0;
    ssize_t n;
    char head[41] = "";
    int fd = open(path, O_RDONLY);

    if (fd < 0) {
        note("content %s: %s", path, strerrorname_np(errno));
        return;
    }
    while ((n = read(fd, buf, sizeof buf)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            sum = (sum ^ buf[i]) * 1099511628211u;
            if (len + i < 40)
                head[len + i] = (char)(buf[i] >= ' ' && buf[i] < 127 ? buf[i] : '.');
        }
        len += n;
    }
    if (n < 0)
        note("read %s: %s", path, strerrorname_np(errno));
    close(fd);
    note("content %s: %lld bytes, %016llx \"%s\"", path, len, (unsigned long long)sum, head);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void note_dir(const char *path) {
    static char *names[20000];
    char line[300];
    size_t n = 0;
    struct dirent *e;
    DIR *d = opendir(path);

    if (d == NULL) {
        note("opendir %s: %s", path, strerrorname_np(errno));
        return;
    }
    while ((e = readdir(d)) != NULL && n < sizeof names / sizeof *names) {
        snprintf(line, sizeof line, "%s type %d", e->d_name, e->d_type);
        names[n++] = strdup(line);
    }
    closedir(d);
    qsort(names, n, sizeof *names, by_name);
    note("%s: %zu names", path, n);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && strcmp(names[i], names[i - 1]) == 0)
            note("  TWICE: %s", names[i]);
        if (n <= 60)
            note("  %s", names[i]);
    }
    for (size_t i = 0; i < n; i++)
        free(names[i]);
}

int must_open(const char *path, int flags, mode_t mode) {
    int fd = open(path, flags, mode);

    if (fd < 0)
        give_up("open", path);
    return fd;
}

void must_write(int fd, const void *data, size_t len) {
    if (write(fd, data, len) != (ssize_t)len)
        give_up("write", "");
}

void make_file(const char *path, const char *content) {
    int fd = must_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    must_write(fd, content, strlen(content));
    if (close(fd) != 0)
        give_up("close", path);
}

void make_mailbox(const char *path) {
    static const char *const parts[] = {"", "/cur", "/new", "/tmp"};
    char name[300];

    for (size_t i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s%s", path, parts[i]);
        if (mkdir(name, 0700) != 0)
            give_up("mkdir", name);
    }
}

void as_user(unsigned uid, unsigned gid, void (*fn)(void)) {
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        if (setgroups(0, NULL) != 0 || setgid(gid) != 0 || setuid(uid) != 0)
            give_up("become", "user");
        fn();
        _exit(0);
    }
    waitpid(pid, &status, 0);
    note("as %u:%u ended %d", uid, gid, status);
}

void all_at_once(int n, void (*fn)(int)) {
    int good = 0, status, go[2];
    char c;

    if (pipe(go) != 0)
        give_up("pipe", "");
    for (int i = 0; i < n; i++)
        if (fork() == 0) {
            close(go[1]);
            (void)!read(go[0], &c, 1); /* all start when the last one is there */
            fn(i);
            _exit(0);
        }
    close(go[0]);
    close(go[1]);
    for (int i = 0; i < n; i++)
        if (wait(&status) > 0 && status == 0)
            good++;
    note("%d of %d ended well", good, n);
}
