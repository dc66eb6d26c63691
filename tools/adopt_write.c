/*
 * adopt_write - what adopting and leaving write: ids of directories, and one rename
 *
 * Diagnostics: none; errors are returned with the path.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <uthash.h>

#include "adopt.h"
#include "io/dirid.h"
#include "io/file.h"
#include "io/io.h"
#include "maildir/class.h"
#include "util/str.h"

static char failed_path[PATH_MAX]; /* one command, one thread */

struct seen {
    UT_hash_handle hh;
    struct mailfs_id id;
};

struct each {
    struct adopt *a;
    int (*dir)(struct each *e, int fd, const char *path);
    int (*file)(struct each *e, int fd, const char *name);
    struct seen *seen;
    uint64_t dirs, files; /* changed */
};

/* ---- every container ---------------------------------------------------------------- */

static int each_container(struct each *e, int fd, const char *path);

static int each_entry(struct each *e, int fd, const struct dirent *de, const char *path) {
    const char *name = de->d_name;
    enum maildir_class c = maildir_class_of(MAILDIR_DIR_CONTAINER, name, strlen(name));
    struct stat st;
    int sub, r;

    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISDIR(st.st_mode))
        return e->file(e, fd, name);
    /* .mailfs itself is neither given ids nor emptied here. */
    if (maildir_dir_of(MAILDIR_DIR_CONTAINER, name, strlen(name)) != MAILDIR_DIR_CONTAINER ||
        c == MAILDIR_INTERNAL)
        return 0;
    sub = adopt_open_dir(fd, name);
    r = sub < 0 ? sub : each_container(e, sub, path);
    if (sub >= 0)
        close(sub);
    return r;
}

static int each_container(struct each *e, int fd, const char *path) {
    struct dirent **names = NULL;
    char child[PATH_MAX];
    int n = adopt_list(fd, &names);
    int r = n < 0 ? n : path[0] ? e->dir(e, fd, path) : 0;

    for (int i = 0; r == 0 && i < n; i++) {
        r = adopt_join(child, sizeof(child), path, names[i]->d_name);
        if (r == 0)
            r = each_entry(e, fd, names[i], child);
        if (r < 0 && failed_path[0] == '\0')
            str_copy(failed_path, sizeof(failed_path), child);
    }
    if (r < 0 && failed_path[0] == '\0')
        str_copy(failed_path, sizeof(failed_path), path[0] ? path : ".");
    adopt_list_free(names, n);
    return r;
}

static int run(struct each *e, const char **path) {
    struct seen *s, *tmp;
    int r;

    failed_path[0] = '\0';
    *path = failed_path;
    r = each_container(e, e->a->fd, "");
    HASH_ITER(hh, e->seen, s, tmp) {
        HASH_DEL(e->seen, s);
        free(s);
    }
    return r == 0 ? io_syncfs(e->a->fd) : r;
}

/* ---- adopting ----------------------------------------------------------------------- */

static int note_id(struct each *e, const struct mailfs_id *id) {
    struct seen *s = calloc(1, sizeof(*s));

    if (!s)
        return -ENOMEM;
    s->id = *id;
    HASH_ADD(hh, e->seen, id, sizeof(s->id), s);
    return 0;
}

static int give_id(struct each *e, int fd, const char *path) {
    struct mailfs_id id;
    struct seen *s = NULL;
    int r = io_dirid_get(fd, &id);

    (void)path;
    if (r == 0)
        HASH_FIND(hh, e->seen, &id, sizeof(id), s);
    if (r == 0 && !s)
        return note_id(e, &id);
    if (r < 0 && r != -ENODATA && r != -EINVAL)
        return r;
    r = mailfs_id_new(&id);
    if (r == 0)
        r = io_dirid_replace(fd, &id);
    if (r == 0)
        e->dirs++;
    return r == 0 ? note_id(e, &id) : r;
}

static int take_away(struct each *e, int fd, const char *name, enum maildir_class class) {
    int r;

    if (maildir_class_of(MAILDIR_DIR_CONTAINER, name, strlen(name)) != class)
        return 0;
    r = io_unlink(fd, name);
    if (r == 0)
        e->files++;
    return r == -ENOENT ? 0 : r;
}

static int take_lock_away(struct each *e, int fd, const char *name) {
    return take_away(e, fd, name, MAILDIR_LOCK_L);
}

int adopt_write_ids(struct adopt *a, uint64_t *written, uint64_t *locks, const char **path) {
    struct each e = {.a = a, .dir = give_id, .file = take_lock_away};
    int r = run(&e, path);

    *written = e.dirs;
    *locks = e.files;
    return r;
}

/* ---- leaving ------------------------------------------------------------------------ */

static int take_id_away(struct each *e, int fd, const char *path) {
    int r = io_removexattr(fd, IO_DIRID_XATTR);

    (void)path;
    if (r == 0)
        e->dirs++;
    return r == -ENODATA ? 0 : r;
}

/* A file that was being replaced when the machine died. */
static int take_internal_away(struct each *e, int fd, const char *name) {
    return take_away(e, fd, name, MAILDIR_INTERNAL);
}

int adopt_remove_tree(int fd, const char *name) {
    struct dirent **names = NULL;
    int sub = adopt_open_dir(fd, name), n, r;

    if (sub == -ENOTDIR || sub == -ELOOP)
        return io_unlink(fd, name);
    if (sub < 0)
        return sub == -ENOENT ? 0 : sub;
    n = adopt_list(sub, &names);
    r = n < 0 ? n : 0;
    for (int i = 0; r == 0 && i < n; i++)
        r = adopt_remove_tree(sub, names[i]->d_name);
    adopt_list_free(names, n);
    close(sub);
    return r == 0 ? io_rmdir(fd, name) : r;
}

int adopt_remove_ids(struct adopt *a, uint64_t *removed, const char **path) {
    struct each e = {.a = a, .dir = take_id_away, .file = take_internal_away};
    int r = run(&e, path);

    *removed = e.dirs;
    if (r == 0)
        r = adopt_remove_tree(a->fd, MAILDIR_INTERNAL_NAME);
    if (r < 0 && failed_path[0] == '\0')
        str_copy(failed_path, sizeof(failed_path), MAILDIR_INTERNAL_NAME);
    return r == 0 ? io_syncfs(a->fd) : r;
}

/* ---- the rename --------------------------------------------------------------------- */

static int sync_parent(const char *path) {
    char parent[PATH_MAX];
    char *slash;
    int fd, r = str_copy(parent, sizeof(parent), path);

    slash = r == 0 ? strrchr(parent, '/') : NULL;
    if (!slash)
        return r < 0 ? r : -EINVAL;
    slash[slash == parent] = '\0';
    fd = io_open(AT_FDCWD, parent, O_RDONLY | O_DIRECTORY, 0);
    r = fd < 0 ? fd : io_fsync(fd);
    if (fd >= 0)
        close(fd);
    return r;
}

/* The directory that is to be in the other one's place afterwards. */
static int make_empty(const char *path) {
    char parent[PATH_MAX];
    char *slash;
    int r = str_copy(parent, sizeof(parent), path);

    slash = r == 0 ? strrchr(parent, '/') : NULL;
    if (r < 0 || !slash)
        return r < 0 ? r : -EINVAL;
    *slash = '\0';
    r = slash == parent ? 0 : io_mkdirs(parent, 0755);
    if (r == 0)
        r = io_mkdir(AT_FDCWD, path, 0);
    if (r == -EEXIST) { /* only one that is empty is removed by this */
        r = io_rmdir(AT_FDCWD, path);
        if (r == 0)
            r = io_mkdir(AT_FDCWD, path, 0);
    }
    return r;
}

int adopt_exchange(const char *from, const char *to) {
    int r = make_empty(to);

    if (r == 0)
        r = sync_parent(to);
    if (r == 0) {
        r = io_rename(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE);
        if (r < 0)
            io_rmdir(AT_FDCWD, to);
    }
    if (r < 0)
        return r;
    r = sync_parent(from);
    return r == 0 ? sync_parent(to) : r;
}
