/*
 * mount - store, state directory and mount point, before and after
 *
 * Files: STATE/mailfs.lock, with the pid of the holder, is locked (flock(2)) while a mailfs runs;
 * STATE/mailfs.unclean exists from its start until its clean stop.
 *
 * Diagnostics: error: each reason not to start. warning: a stale mount was taken away; the mount
 * point can be written by others than root while nothing is mounted. info: the kernel checks no
 * permissions in this mount.
 */
#include "mount.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "io/file.h"
#include "io/io.h"
#include "io/private.h"
#include "io/undo.h"
#include "maildir/class.h"
#include "util/log.h"
#include "util/str.h"
#include "vol.h"

#define UNCLEAN "mailfs.unclean"

static int state_fd = -1, lock_fd = -1;

/* --- the store
 * --------------------------------------------------------------------------------------- */

static int refuse(int err, const char *what, const char *path, const char *advice) {
    log_error("%s %s: %s%s%s", what, path, log_strerror(err), advice[0] != '\0' ? "; " : "",
              advice);
    return err;
}

/* Ids are kept in extended attributes. */
static int check_xattrs(int fd, const char *path) {
    static const char probe[] = "user.mailfs.probe";
    if (fsetxattr(fd, probe, "1", 1, 0) == 0 && fremovexattr(fd, probe) == 0)
        return 0;
    return refuse(-errno, "store", path, "its file system must take user extended attributes");
}

int mount_open_store(void) {
    const char *path = vol.conf_volume->store;
    vol.store_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (vol.store_fd < 0)
        return refuse(-errno, "store", path, "create it, owned by the user of the mail");
    int r = io_mkdir(vol.store_fd, MAILDIR_INTERNAL_NAME, 0700);
    if (r != 0 && r != -EEXIST)
        return refuse(r, "store", path, "");
    vol.internal_fd =
        io_open_beneath(vol.store_fd, MAILDIR_INTERNAL_NAME, O_RDONLY | O_DIRECTORY, 0);
    if (vol.internal_fd < 0)
        return refuse(vol.internal_fd, "store", path, "its .mailfs cannot be opened");
    r = check_xattrs(vol.internal_fd, path);
    if (r == 0 && vol.conf_volume->keep_s > 0)
        r = vol.undo_fd = io_undo_open(vol.internal_fd);
    return r < 0 ? r : 0;
}

/* --- the state directory
 * ------------------------------------------------------------------------------ */

static bool is_ours(const char *path);

/* The lock is its worker's, too, which ends soon after its holder was killed. */
static bool holder_is_dead(int fd) {
    char text[32] = "";
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    pid_t pid = n > 0 ? (pid_t)strtol(text, NULL, 10) : 0;
    return pid > 0 && kill(pid, 0) != 0 && errno == ESRCH;
}

/* Who only looks whether it is locked has it for a moment. A worker that was killed with its holder
 * does not end while one of its threads waits in the kernel for an answer from itself: nobody would
 * ever give it, so the connection is ended. */
static int lock_or_wait(int fd) {
    enum { LOOK_MS = 20, AT_MOST_MS = 10000, ABORT_MS = 1000 };
    for (int ms = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; ms++) {
        if (ms >= AT_MOST_MS || (ms >= LOOK_MS && !holder_is_dead(fd)))
            return -EBUSY;
        if (ms == ABORT_MS && is_ours(vol.conf_volume->mount))
            mount_abort();
        usleep(1000);
    }
    return 0;
}

static int take_lock(const char *path) {
    char text[32];
    int fd = io_open(state_fd, "mailfs.lock", O_RDWR | O_CREAT, 0600);
    if (fd < 0)
        return refuse(fd, "state", path, "");
    if (lock_or_wait(fd) != 0) {
        close(fd);
        log_error("another mailfs serves this volume (it holds %s/mailfs.lock)", path);
        return -EBUSY;
    }
    lock_fd = fd; /* held until this process and its workers end */
    int n = snprintf(text, sizeof text, "%10d\n", (int)getpid());
    return io_pwrite_all(fd, text, (size_t)n, 0);
}

int mount_lock_fd(void) {
    return lock_fd;
}

void mount_sweep(void) {
    int fd = io_open_beneath(vol.internal_fd, ".", O_RDONLY | O_DIRECTORY, 0);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (d == NULL) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        if (io_file_is_temp(e->d_name))
            io_unlink(vol.internal_fd, e->d_name);
    closedir(d);
}

int mount_take_state(void) {
    const char *path = vol.conf_volume->state;
    int r = io_mkdirs(path, 0700);
    if (r == 0)
        r = state_fd = io_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    if (r >= 0)
        r = io_fchmod(state_fd, 0700);
    if (r < 0)
        return refuse(r, "state", path, "");
    r = take_lock(path);
    if (r != 0)
        return r;
    int fd = io_open(state_fd, UNCLEAN, O_WRONLY | O_CREAT | O_EXCL, 0600);
    vol.clean = fd >= 0;
    if (fd >= 0)
        close(fd);
    else if (fd != -EEXIST)
        return refuse(fd, "state", path, "");
    return io_fsync(state_fd);
}

void mount_leave_state(void) {
    if (io_unlink(state_fd, UNCLEAN) == 0)
        io_fsync(state_fd);
}

/* --- the mount point
 * ------------------------------------------------------------------------------------ */

/* mountinfo(5) writes a space as \040 and so on. */
static void unescape(char *s) {
    char *to = s;
    for (; *s != '\0'; s++) {
        unsigned c;
        if (*s == '\\' && sscanf(s + 1, "%3o", &c) == 1) {
            *to++ = (char)c;
            s += 3;
        } else {
            *to++ = *s;
        }
    }
    *to = '\0';
}

/* Is a file system mounted at path? type gets its name. */
static bool mounted_at(const char *path, char *type, size_t size) {
    char line[8192], at[4096], kind[128];
    bool found = false;
    FILE *f = fopen("/proc/self/mountinfo", "re");
    if (f == NULL)
        return false;
    while (fgets(line, sizeof line, f) != NULL) {
        const char *dash = strstr(line, " - ");
        if (dash == NULL || sscanf(line, "%*s %*s %*s %*s %4095s", at) != 1 ||
            sscanf(dash, " - %127s", kind) != 1)
            continue;
        unescape(at);
        if (strcmp(at, path) == 0) {
            found = true;
            str_copy(type, size, kind);
        }
    }
    fclose(f);
    return found;
}

/* Is it a mailfs, alive or not? */
static bool is_ours(const char *path) {
    char type[128];
    return mounted_at(path, type, sizeof type) && strncmp(type, "fuse.mailfs", 11) == 0;
}

/* A forced unmount ends the connection first, and then fails, since it is in use: by us. No request
 * is sent for an O_PATH descriptor of a mount's root. */
void mount_abort(void) {
    int pin = open(vol.conf_volume->mount, O_PATH | O_DIRECTORY | O_CLOEXEC);
    umount2(vol.conf_volume->mount, MNT_FORCE);
    if (pin >= 0)
        close(pin);
}

void mount_take_away(void) {
    umount2(vol.conf_volume->mount, MNT_FORCE | MNT_DETACH);
}

/* Whatever answers or not: by a process that can be left waiting. */
static bool answers(const char *path, unsigned at_most_ms) {
    struct statfs st;
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        /* Not stat(2): the kernel may have the root's attributes in its cache for a while. */
        bool stale = statfs(path, &st) != 0 && (errno == ENOTCONN || errno == ECONNABORTED);
        _exit(stale ? 1 : 0);
    }
    pid_t done = 0;
    for (unsigned ms = 0; child > 0 && done == 0 && ms < at_most_ms; ms++) {
        done = waitpid(child, &status, WNOHANG);
        if (done == 0)
            usleep(1000);
    }
    if (child > 0 && done == 0)
        kill(child, SIGKILL);
    return child < 0 || (done == child && status == 0);
}

/*
 * A mailfs that was killed leaves its mount behind. One whose last threads wait in the kernel for
 * an answer from itself keeps it open, so that it does not even say that nobody answers.
 */
static int take_stale_away(const char *path) {
    enum { ANSWER_MS = 5000 };
    while (is_ours(path) && !answers(path, ANSWER_MS)) {
        mount_abort();
        if (umount2(path, MNT_DETACH) != 0)
            return refuse(-errno, "stale mount at", path, "unmount it");
        log_warn("took away the stale mount at %s, left by a mailfs that died", path);
    }
    return 0;
}

static int check_empty(const char *path) {
    DIR *d = opendir(path);
    bool empty = true;
    if (d == NULL)
        return refuse(-errno, "mount point", path, "");
    for (const struct dirent *e; empty && (e = readdir(d)) != NULL;)
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    closedir(d);
    if (empty)
        return 0;
    log_error(
        "mount point %s is not empty: mail may have been delivered into it while mailfs was not "
        "running. Move what it holds away, start mailfs, then deliver or copy it again "
        "through the mount",
        path);
    return -ENOTEMPTY;
}

static int check_directory(const char *path) {
    struct stat st, store;
    if (stat(path, &st) != 0)
        return refuse(-errno, "mount point", path, "create it, empty, owned by root, mode 0755");
    if (!S_ISDIR(st.st_mode))
        return refuse(-ENOTDIR, "mount point", path, "");
    if (fstat(vol.store_fd, &store) == 0 && store.st_dev == st.st_dev &&
        store.st_ino == st.st_ino) {
        log_error("mount point %s is the store itself: it needs a directory of its own", path);
        return -EINVAL;
    }
    if (st.st_uid != 0 || st.st_mode & (S_IWGRP | S_IWOTH))
        log_warn(
            "mount point %s can be written by others than root: mail could be delivered into it "
            "while mailfs is not running; chown root and chmod 0755 it",
            path);
    return 0;
}

int mount_check_point(void) {
    const char *path = vol.conf_volume->mount;
    char type[128];
    int r = take_stale_away(path);
    if (r != 0)
        return r;
    if (mounted_at(path, type, sizeof type) && strncmp(type, "fuse.mailfs", 11) == 0) {
        log_error("%s is mounted already (%s): unmount it first", path, type);
        return -EBUSY;
    }
    r = check_directory(path);
    return r != 0 ? r : check_empty(path);
}

/* --- a private mount
 * -------------------------------------------------------------------------------------- */

int mount_check_private(void) {
    const struct conf_volume *v = vol.conf_volume;
    char why[CONF_ERR_MAX + 512];
    if (v->access != CONF_ACCESS_PRIVATE)
        return 0;
    int r = io_private_check(v->mount, v->store, &vol.private_uid, why, sizeof why);
    if (r != 0) {
        log_error("volume %s: access = \"private\" is refused: %s; or set access = \"checked\"",
                  v->name, why);
        return r;
    }
    vol.is_private = true;
    log_info("volume %s: access = \"private\": for uid %u and root only", v->name,
             (unsigned)vol.private_uid);
    return 0;
}

/* Of what path leads to. 0: not known. */
static int mount_id(const char *path) {
    char name[40], line[64];
    int id = 0, at = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    snprintf(name, sizeof name, "/proc/self/fdinfo/%d", at);
    FILE *f = at < 0 ? NULL : fopen(name, "re");
    while (f != NULL && id == 0 && fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "mnt_id: %d", &id) != 1)
            id = 0;
    if (f != NULL)
        fclose(f);
    if (at >= 0)
        close(at);
    return id;
}

/* mountinfo(5): of the mount with this id the device, of others with that device the path. */
static bool mount_find(int id, char dev[32], bool other, char path[4096]) {
    char line[8192], has[32];
    int is;
    bool found = false;
    FILE *f = fopen("/proc/self/mountinfo", "re");
    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "%d %*s %31s %*s %4095s", &is, has, path) != 3)
            continue;
        found = other ? is != id && strcmp(has, dev) == 0 : is == id;
        if (found && !other)
            str_copy(dev, 32, has);
    }
    if (f != NULL)
        fclose(f);
    return found;
}

int mount_check_alone(void) {
    const char *mount = vol.conf_volume->mount;
    char dev[32], path[4096];
    int id = mount_id(mount);
    if (id == 0 || !mount_find(id, dev, false, path))
        return refuse(-ENOENT, "mount point", mount, "it is not to be found among the mounts");
    if (!mount_find(id, dev, true, path))
        return 0;
    unescape(path);
    log_error("volume %s: access = \"private\" is refused: the mount shows up at %s, too, where "
              "nobody is kept out: %s is bind-mounted there; unmount that, or set access = "
              "\"checked\"",
              vol.conf_volume->name, path, mount);
    return -EACCES;
}
