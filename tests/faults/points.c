/*
 * points - fault points in a running daemon
 *
 * Any thread. Diagnostics: a line on stderr, and exit status 3, when the file of FAULT_DIR is not
 * as expected; what was done is said on stderr, which is the daemon's log.
 */
#include "tests/faults/points.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lmdb.h>

#include "io/io.h"

/* ext4's, btrfs' and XFS' ioctl that stops a file system at once; see ioctl_xfs_goingdown(2). */
#define SHUTDOWN         _IOR('X', 125, __u32)
#define SHUTDOWN_NOFLUSH 2u

enum { FRAMES = 9 }; /* three of them here and in lib/io: points.py drops these */

static struct points_control *control;
static int steps_fd = -1;

extern const char __executable_start[]; /* of ld(1): where the program was loaded */

/* --- what a step is --------------------------------------------------------------------------- */

struct step {
    const char *op;
    uint32_t turn; /* how often that had been done before which is done here */
    char path[PATH_MAX];
    char class[32];
    char site[128];
};

static void path_of_fd(int fd, char path[PATH_MAX]) {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = fd == AT_FDCWD ? 0 : readlink(link, path, PATH_MAX - 1);
    path[n > 0 ? n : 0] = '\0';
}

static bool is_one_of(const char *name, const char *const *names) {
    while (*names != NULL && strcmp(*names, name) != 0)
        names++;
    return *names != NULL;
}

static bool contains(const char *s, const char *part) {
    return strstr(s, part) != NULL;
}

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

/* What kind of file: the names of docs/INTERFACES.md, and those of Maildir. */
static const char *class_of(const char *path) {
    static const char *const subs[] = {"new", "cur", "tmp", NULL};
    static const char *const named[] = {"dovecot-uidlist",
                                        "dovecot-uidlist.lock",
                                        "dovecot-keywords",
                                        "subscriptions",
                                        "maildirsize",
                                        "maildirfolder",
                                        NULL};
    static __thread char above[NAME_MAX + 1];
    const char *name = strrchr(path, '/');
    if (name == NULL)
        return path[0] == '\0' ? "-" : path;
    const char *from = name;
    while (from > path && from[-1] != '/')
        from--;
    snprintf(above, sizeof above, "%.*s", (int)(name - from), from);
    name++;
    if (strncmp(name, ".mailfs-", 8) == 0)
        return "temp";
    const char *inner = strstr(path, "/.mailfs/");
    if (inner != NULL && strncmp(inner + 9, "recent-", 7) == 0)
        return "recent"; /* whatever its number */
    if (inner != NULL) {
        snprintf(above, sizeof above, "%.*s", (int)strcspn(inner + 9, "/"), inner + 9);
        return above;
    }
    if (contains(path, "/state/") || ends_with(path, "/state"))
        return "state";
    if (is_one_of(above, subs))
        return above;
    if (is_one_of(name, subs))
        return "mailbox/";
    if (is_one_of(name, named))
        return name;
    if (ends_with(name, ".lock"))
        return "lock";
    if (strncmp(name, "dovecot", 7) == 0)
        return "dovecot";
    return name[0] == '.' ? "folder" : "file";
}

/* One word, so that a line of the record can be split at its blanks. */
static void word_copy(char *to, size_t size, const char *from) {
    size_t i = 0;
    for (; from[i] != '\0' && i + 1 < size; i++)
        to[i] = from[i] == ' ' ? '_' : from[i];
    to[i] = '\0';
}

static void site_now(char *site, size_t size) {
    void *frames[FRAMES];
    int n = backtrace(frames, FRAMES);
    size_t at = 0;
    site[0] = '\0';
    for (int i = 0; i < n && at < size; i++) {
        long off = (const char *)frames[i] - __executable_start - 1; /* in the call itself */
        if (off < 0 || off > (64 << 20))
            break; /* a library's */
        at += (size_t)snprintf(site + at, size - at, "%s%lx", i > 0 ? "/" : "", off);
    }
}

/* --- what is wanted --------------------------------------------------------------------------- */

static void note(const struct step *s) {
    char line[512];
    int n = snprintf(line, sizeof line, "%u %s %s %s\n", control->phase, s->op, s->class, s->site);
    if (n > 0 && write(steps_fd, line, (size_t)n) < 0)
        perror("points: steps");
}

/* Is it one of these words? (link is no unlink) */
static bool has_word(const char *words, const char *word) {
    size_t n = strlen(word);
    for (const char *at = words; (at = strstr(at, word)) != NULL; at += n)
        if ((at == words || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'))
            return true;
    return false;
}

static bool fits(const struct step *s) {
    const struct points_control *c = control;
    return (c->op[0] == '\0' || has_word(c->op, s->op)) &&
           (c->class[0] == '\0' || strcmp(c->class, s->class) == 0) &&
           strncmp(c->site, s->site, strlen(c->site)) == 0 && contains(s->path, c->path);
}

static void die(bool cut) {
    if (cut) {
        int fd = open(control->device, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        __u32 how = SHUTDOWN_NOFLUSH;
        if (fd < 0 || ioctl(fd, SHUTDOWN, &how) != 0)
            perror("points: shutdown");
    }
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Is this step the one? Then what is to happen with it, the *turn-th time, from 0. */
static enum points_action wanted(const struct step *s, uint32_t *turn) {
    enum points_action action = (enum points_action)control->action;
    if (action == POINTS_NONE || !fits(s))
        return POINTS_NONE;
    uint32_t hit = __atomic_add_fetch(&control->hits, 1, __ATOMIC_SEQ_CST);
    if (hit < control->nth)
        return POINTS_NONE;
    if (control->times > 0 && hit >= control->nth + control->times)
        return POINTS_NONE;
    *turn = hit - control->nth;
    __atomic_add_fetch(&control->done, 1, __ATOMIC_SEQ_CST);
    fprintf(stderr, "points: %u at %s %s %s\n", (unsigned)action, s->op, s->class, s->path);
    return action;
}

static enum points_action step_taken(struct step *s) {
    word_copy(s->class, sizeof s->class, class_of(s->path));
    site_now(s->site, sizeof s->site);
    if (control->record != 0)
        note(s);
    enum points_action action = wanted(s, &s->turn);
    if (action == POINTS_KILL_BEFORE || action == POINTS_CUT_BEFORE)
        die(action == POINTS_CUT_BEFORE);
    return action;
}

static void step_done(enum points_action action) {
    if (action == POINTS_KILL_AFTER || action == POINTS_CUT_AFTER)
        die(action == POINTS_CUT_AFTER);
}

static void step_of_fd(struct step *s, const char *op, int fd) {
    s->op = op;
    path_of_fd(fd, s->path);
}

static void step_of_name(struct step *s, const char *op, int dirfd, const char *name) {
    step_of_fd(s, op, dirfd);
    size_t n = strlen(s->path);
    if (name[0] != '\0')
        snprintf(s->path + n, sizeof s->path - n, "%s%s", name[0] == '/' ? "" : "/", name);
}

/* --- the table -------------------------------------------------------------------------------- */

/* One operation with its step around it; r is its result. */
#define STEP(type, s, call)                                                                        \
    ({                                                                                             \
        enum points_action action = step_taken(&(s));                                              \
        type step_r = action == POINTS_FAIL ? (type)control->error : (call);                       \
        step_done(action);                                                                         \
        step_r;                                                                                    \
    })

#define BY_FD(type, op, fd, call)                                                                  \
    struct step s;                                                                                 \
    step_of_fd(&s, op, fd);                                                                        \
    return STEP(type, s, call)

#define BY_NAME(op, dirfd, name, call)                                                             \
    struct step s;                                                                                 \
    step_of_name(&s, op, dirfd, name);                                                             \
    return STEP(int, s, call)

static int points_open(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve) {
    bool tmpfile = (flags & O_TMPFILE) == O_TMPFILE;
    bool changes =
        tmpfile || (flags & O_TRUNC) != 0 ||
        ((flags & O_CREAT) != 0 && faccessat(dirfd, path, F_OK, AT_SYMLINK_NOFOLLOW) != 0);
    if (!changes)
        return io_ops_real.open(dirfd, path, flags, mode, resolve);
    BY_NAME("create", dirfd, path, io_ops_real.open(dirfd, path, flags, mode, resolve));
}

/* A short write: half of it; the next one that fits has the error, as when the disk filled up. */
static ssize_t written(struct step *s, size_t n, ssize_t (*real)(void *arg, size_t n), void *arg) {
    enum points_action action = step_taken(s);
    if (action == POINTS_FAIL || (action == POINTS_SHORT && (n < 2 || s->turn % 2 != 0)))
        return control->error;
    ssize_t r = real(arg, action == POINTS_SHORT ? n / 2 : n);
    step_done(action);
    return r;
}

struct args {
    int fd, to;
    const void *p;
    off_t off, to_off;
};

static ssize_t do_pwrite(void *arg, size_t n) {
    const struct args *a = arg;
    return io_ops_real.pwrite(a->fd, a->p, n, a->off);
}

static ssize_t do_write(void *arg, size_t n) {
    const struct args *a = arg;
    return io_ops_real.write(a->fd, a->p, n);
}

static ssize_t do_copy(void *arg, size_t n) {
    const struct args *a = arg;
    return io_ops_real.copy(a->fd, a->off, a->to, a->to_off, n);
}

static ssize_t points_pwrite(int fd, const void *p, size_t n, off_t off) {
    struct step s;
    step_of_fd(&s, "pwrite", fd);
    return written(&s, n, do_pwrite, &(struct args){.fd = fd, .p = p, .off = off});
}

static ssize_t points_write(int fd, const void *p, size_t n) {
    struct step s;
    step_of_fd(&s, "write", fd);
    return written(&s, n, do_write, &(struct args){.fd = fd, .p = p});
}

static ssize_t points_copy(int from, off_t from_off, int to, off_t to_off, size_t n) {
    struct step s;
    step_of_fd(&s, "copy", to);
    struct args a = {.fd = from, .off = from_off, .to = to, .to_off = to_off};
    return written(&s, n, do_copy, &a);
}

static int points_ftruncate(int fd, off_t size) {
    BY_FD(int, "truncate", fd, io_ops_real.ftruncate(fd, size));
}

static int points_fallocate(int fd, int mode, off_t off, off_t len) {
    BY_FD(int, "allocate", fd, io_ops_real.fallocate(fd, mode, off, len));
}

static int points_fsync(int fd) {
    BY_FD(int, "fsync", fd, io_ops_real.fsync(fd));
}

static int points_fdatasync(int fd) {
    BY_FD(int, "fdatasync", fd, io_ops_real.fdatasync(fd));
}

static int points_fsync_named(int fd, int dirfd) {
    BY_FD(int, "fsync", fd, io_ops_real.fsync_named(fd, dirfd));
}

static int points_syncfs(int fd) {
    BY_FD(int, "syncfs", fd, io_ops_real.syncfs(fd));
}

/* Changes nothing. */
static int points_fstatvfs(int fd, struct statvfs *fs) {
    return io_ops_real.fstatvfs(fd, fs);
}

static int points_rename(int fromdir, const char *from, int todir, const char *to, unsigned flags) {
    BY_NAME("rename", todir, to, io_ops_real.rename(fromdir, from, todir, to, flags));
}

static int points_link(int fromdir, const char *from, int todir, const char *to, int flags) {
    BY_NAME("link", todir, to, io_ops_real.link(fromdir, from, todir, to, flags));
}

static int points_unlink(int dirfd, const char *name, int flags) {
    BY_NAME(flags & AT_REMOVEDIR ? "rmdir" : "unlink", dirfd, name,
            io_ops_real.unlink(dirfd, name, flags));
}

static int points_mkdir(int dirfd, const char *name, mode_t mode) {
    BY_NAME("mkdir", dirfd, name, io_ops_real.mkdir(dirfd, name, mode));
}

static int points_mknod(int dirfd, const char *name, mode_t mode, dev_t dev) {
    BY_NAME("mknod", dirfd, name, io_ops_real.mknod(dirfd, name, mode, dev));
}

static int points_symlink(const char *target, int dirfd, const char *name) {
    BY_NAME("symlink", dirfd, name, io_ops_real.symlink(target, dirfd, name));
}

static int points_fchmod(int fd, mode_t mode) {
    BY_FD(int, "chmod", fd, io_ops_real.fchmod(fd, mode));
}

static int points_chown(int dirfd, const char *name, uid_t uid, gid_t gid, int flags) {
    BY_NAME("chown", dirfd, name, io_ops_real.chown(dirfd, name, uid, gid, flags));
}

static int points_utimens(int dirfd, const char *name, const struct timespec ts[2], int flags) {
    BY_NAME("utimens", dirfd, name, io_ops_real.utimens(dirfd, name, ts, flags));
}

static int points_setxattr(int fd, const char *name, const void *p, size_t n, int flags) {
    BY_FD(int, "setxattr", fd, io_ops_real.setxattr(fd, name, p, n, flags));
}

static int points_removexattr(int fd, const char *name) {
    BY_FD(int, "removexattr", fd, io_ops_real.removexattr(fd, name));
}

/* Nothing: the commit itself is a step, see below. */
static int points_barrier(const char *what) {
    return io_ops_real.barrier(what);
}

static const struct io_ops table = {
    .open = points_open,
    .pwrite = points_pwrite,
    .write = points_write,
    .copy = points_copy,
    .ftruncate = points_ftruncate,
    .fallocate = points_fallocate,
    .fsync = points_fsync,
    .fdatasync = points_fdatasync,
    .fsync_named = points_fsync_named,
    .syncfs = points_syncfs,
    .fstatvfs = points_fstatvfs,
    .rename = points_rename,
    .link = points_link,
    .unlink = points_unlink,
    .mkdir = points_mkdir,
    .mknod = points_mknod,
    .symlink = points_symlink,
    .fchmod = points_fchmod,
    .chown = points_chown,
    .utimens = points_utimens,
    .setxattr = points_setxattr,
    .removexattr = points_removexattr,
    .barrier = points_barrier,
};

/* --- what does not go through the table ------------------------------------------------------- */

/* LMDB's commit, from lib/io/db: before it and after it are two different things. */
int mdb_txn_commit(MDB_txn *txn) {
    static int (*real)(MDB_txn *);
    const char *dir = "";
    struct step s;
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "mdb_txn_commit");
    if (control == NULL)
        return real(txn);
    mdb_env_get_path(mdb_txn_env(txn), &dir);
    s.op = "commit";
    snprintf(s.path, sizeof s.path, "%s", dir);
    enum points_action action = step_taken(&s);
    if (action == POINTS_FAIL) {
        mdb_txn_abort(txn);
        return -control->error; /* LMDB gives positive errno */
    }
    int r = real(txn);
    step_done(action);
    return r;
}

static bool unreadable(int fd) {
    char path[PATH_MAX];
    if (control == NULL || control->read[0] == '\0')
        return false;
    int err = errno;
    path_of_fd(fd, path);
    errno = err;
    if (!contains(path, control->read))
        return false;
    __atomic_add_fetch(&control->done, 1, __ATOMIC_SEQ_CST);
    errno = EIO;
    return true;
}

#define NEXT(name)                                                                                 \
    static __typeof__(name) *real;                                                                 \
    if (real == NULL)                                                                              \
    *(void **)&real = dlsym(RTLD_NEXT, #name)

ssize_t pread64(int fd, void *p, size_t n, off64_t off) {
    NEXT(pread64);
    return unreadable(fd) ? -1 : real(fd, p, n, off);
}

/* What a compiler that knows the size of p makes of pread(2). */
ssize_t __pread64_chk(int fd, void *p, size_t n, off64_t off, size_t room);
ssize_t __pread64_chk(int fd, void *p, size_t n, off64_t off, size_t room) {
    if (n > room)
        abort();
    return pread64(fd, p, n, off);
}

/* A directory, too. */
struct dirent64 *readdir64(DIR *dir) {
    NEXT(readdir64);
    return unreadable(dirfd(dir)) ? NULL : real(dir);
}

/* --- beginning -------------------------------------------------------------------------------- */

static void give_up(const char *what) {
    fprintf(stderr, "points: %s: %s\n", what, strerror(errno));
    _exit(3);
}

void points_start(const char *program) {
    const char *dir = getenv("FAULT_DIR");
    char host[256], path[PATH_MAX];
    void *frame[1];
    struct stat st;
    if (dir == NULL)
        return;
    if (gethostname(host, sizeof host) != 0)
        give_up("host name");
    snprintf(path, sizeof path, "%s/%s.%s", dir, host, program);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0 || (size_t)st.st_size < sizeof *control)
        give_up(path);
    void *p = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        give_up(path);
    close(fd);
    strncat(path, ".steps", sizeof path - strlen(path) - 1);
    steps_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (steps_fd < 0)
        give_up(path);
    backtrace(frame, 1); /* loads what it needs now, not within some step */
    control = p;
    io_ops_set(&table);
}
