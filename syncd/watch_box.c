/*
 * watch_box - the containers of a watched store
 *
 * Diagnostics: a watch that the kernel refuses, once; a directory that cannot be read, limited.
 */
#include "watch_box.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <inotifytools/inotifytools.h>

#include "io/dirid.h"
#include "io/io.h"
#include "maildir/class.h"
#include "mem.h"
#include "store.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/str.h"

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
#define NAMES     (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO)

static const char *const part_name[BOX_PARTS] = {"", "new", "cur"};

/* ---- paths ------------------------------------------------------------------------- */

/* As inotifytools keeps directories: with a slash at the end. */
static int part_path(const struct boxes *bs, const struct box *b, int part, char *out,
                     size_t size) {
    return str_printf(out, size, "%s%s%s/%s%s", bs->store, *b->path ? "/" : "", b->path,
                      part_name[part], part == BOX_SELF ? "" : "/");
}

static int open_part(const struct boxes *bs, const struct box *b, int part) {
    char path[4096];
    const char *slash = *b->path && part != BOX_SELF ? "/" : "";
    if (!*b->path && part == BOX_SELF)
        return fcntl(bs->root, F_DUPFD_CLOEXEC, 0);
    int r = str_printf(path, sizeof path, "%s%s%s", b->path, slash, part_name[part]);
    return r != 0 ? r : io_open_beneath(bs->root, path, DIR_FLAGS, 0);
}

static int64_t time_of(const struct boxes *bs, const struct box *b, int part) {
    struct stat sb;
    int fd = open_part(bs, b, part);
    int64_t ns = 0;
    if (fd >= 0 && fstat(fd, &sb) == 0)
        ns = (int64_t)sb.st_mtim.tv_sec * 1000000000 + sb.st_mtim.tv_nsec;
    if (fd >= 0)
        close(fd);
    return ns;
}

/* ---- watches ----------------------------------------------------------------------- */

static void wd_add(struct boxes *bs, struct box *b, int part) {
    char path[4096];
    /* Control files are written in place as well as replaced; messages never are. */
    int mask = (part == BOX_SELF ? NAMES | IN_MODIFY : NAMES) | IN_ONLYDIR | IN_DONT_FOLLOW;
    if (part_path(bs, b, part, path, sizeof path) != 0)
        return;
    if (!inotifytools_watch_file(path, mask)) {
        if (inotifytools_error() == ENOSPC && bs->limit > bs->n_watched)
            bs->limit = bs->n_watched; /* others have used up what the kernel allows */
        return;
    }
    int wd = inotifytools_wd_from_filename(path);
    if (wd < 0)
        return;
    struct box_wd *w = box_of_wd(bs, wd);
    if (w == NULL) {
        w = mem_new(sizeof *w);
        w->wd = wd;
        HASH_ADD_INT(bs->wds, wd, w);
        bs->n_watched++;
    }
    w->box = b;
    w->part = part;
    b->wd[part] = wd;
}

static void wd_drop(struct boxes *bs, struct box *b, int part) {
    struct box_wd *w = b->wd[part] >= 0 ? box_of_wd(bs, b->wd[part]) : NULL;
    b->wd[part] = -1;
    if (w == NULL || w->box != b || w->part != part)
        return;
    inotifytools_remove_watch_by_wd(w->wd);
    HASH_DEL(bs->wds, w);
    free(w);
    bs->n_watched--;
}

static void unwatch(struct boxes *bs, struct box *b) {
    for (int part = 0; part < BOX_PARTS; part++)
        wd_drop(bs, b, part);
    b->watched = false;
}

static struct box *longest_ago(struct boxes *bs, uint64_t before_ms) {
    struct box *b, *tmp, *found = NULL;
    HASH_ITER(hh, bs->all, b, tmp) {
        if (b->watched && b->changed_ms < before_ms &&
            (found == NULL || b->changed_ms < found->changed_ms))
            found = b;
    }
    return found;
}

void box_watch(struct boxes *bs, struct box *b) {
    if (b->watched) { /* new/ or cur/ may have been made since */
        for (int part = 0; part < BOX_PARTS; part++)
            if (b->wd[part] < 0 && b->seen_ns[part] != 0 && bs->n_watched < bs->limit)
                wd_add(bs, b, part);
        return;
    }
    while (bs->n_watched + BOX_PARTS > bs->limit) {
        struct box *other = longest_ago(bs, b->changed_ms);
        if (other == NULL)
            return; /* looked at, then */
        unwatch(bs, other);
    }
    bool all = true;
    for (int part = 0; part < BOX_PARTS; part++) {
        if (b->seen_ns[part] == 0)
            continue;
        wd_add(bs, b, part);
        all = all && b->wd[part] >= 0;
    }
    b->watched = true;
    if (!all) /* half watched would be not looked at either */
        unwatch(bs, b);
}

struct box_wd *box_of_wd(struct boxes *bs, int wd) {
    struct box_wd *w;
    HASH_FIND_INT(bs->wds, &wd, w);
    return w;
}

/* ---- containers -------------------------------------------------------------------- */

static struct box *box_find(struct boxes *bs, const char *path) {
    struct box *b;
    HASH_FIND_STR(bs->all, path, b);
    return b;
}

void box_forget(struct boxes *bs, struct box *b) {
    unwatch(bs, b);
    HASH_DEL(bs->all, b);
    bs->n--;
    free(b);
}

/* Its id and handle; another directory may have come under the path. */
static int identify(const struct boxes *bs, struct box *b) {
    struct mailfs_id id = mailfs_id_root;
    int fd = open_part(bs, b, BOX_SELF);
    if (fd < 0)
        return fd;
    int r = *b->path ? io_dirid_ensure(fd, &id) : 0;
    if (r == 0)
        r = io_handle_get_fd(fd, &b->handle);
    close(fd);
    b->id = id;
    return r;
}

int box_look(struct boxes *bs, struct box *b) {
    struct mailfs_id was = b->id;
    bool changed = false;
    int r = identify(bs, b);
    if (r != 0)
        return r;
    changed = !mailfs_id_equal(&was, &b->id);
    if (changed) { /* the watches went with the directory that had the path */
        unwatch(bs, b);
        b->tree = true;
    }
    for (int part = 0; part < BOX_PARTS; part++) {
        int64_t ns = time_of(bs, b, part);
        changed = changed || ns != b->seen_ns[part];
        b->seen_ns[part] = ns;
        if (ns > 0 && (uint64_t)ns / 1000000 > b->changed_ms)
            b->changed_ms = (uint64_t)ns / 1000000;
    }
    if (!changed)
        return 0;
    b->dirty = true;
    return 1;
}

struct box *box_get(struct boxes *bs, const char *path) {
    struct box *b = mem_new(sizeof *b + strlen(path) + 1); /* unknown until now */
    strcpy(b->path, path);
    for (int part = 0; part < BOX_PARTS; part++)
        b->wd[part] = -1;
    if (box_look(bs, b) < 0) {
        free(b);
        return NULL;
    }
    b->dirty = b->tree = true;
    HASH_ADD_STR(bs->all, path, b);
    bs->n++;
    return b;
}

struct below {
    struct boxes *bs;
    struct box *box;
};

static void add_below(struct boxes *bs, struct box *b);

static int one_below(void *arg, const char *name, unsigned char type) {
    struct below *l = arg;
    size_t n = strlen(name);
    char path[4096];
    if (type != DT_DIR || maildir_dir_of(MAILDIR_DIR_CONTAINER, name, n) != MAILDIR_DIR_CONTAINER ||
        maildir_class_is_local(maildir_class_of(MAILDIR_DIR_CONTAINER, name, n)))
        return 0;
    if (str_printf(path, sizeof path, "%s%s%s", l->box->path, *l->box->path ? "/" : "", name) !=
            0 ||
        box_find(l->bs, path) != NULL)
        return 0;
    struct box *b = box_get(l->bs, path);
    l->box->dirty = l->box->tree = true;
    if (b != NULL)
        add_below(l->bs, b);
    return 0;
}

static void add_below(struct boxes *bs, struct box *b) {
    struct below l = {bs, b};
    int fd = open_part(bs, b, BOX_SELF);
    if (fd < 0)
        return;
    int r = store_each_name(fd, one_below, &l);
    if (r < 0)
        log_warn_limited("%s/%s: %s", bs->store, b->path, log_strerror(r));
    close(fd);
}

static bool is_below(const struct box *b, const struct box *top) {
    size_t n = strlen(top->path);
    return b != top && (n == 0 || (strncmp(b->path, top->path, n) == 0 && b->path[n] == '/'));
}

/* First those that are gone, with their watches: a renamed directory has the same ones under its
 * new name. */
void box_look_below(struct boxes *bs, struct box *top) {
    struct box *b, *tmp;
    HASH_ITER(hh, bs->all, b, tmp) {
        if (!is_below(b, top) || box_look(bs, b) >= 0)
            continue;
        top->dirty = top->tree = true;
        box_forget(bs, b);
    }
    add_below(bs, top);
}

void boxes_free(struct boxes *bs) {
    struct box *b, *tmp;
    HASH_ITER(hh, bs->all, b, tmp)
        box_forget(bs, b);
}
