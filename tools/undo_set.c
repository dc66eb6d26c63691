/*
 * undo_set - what is kept of expunged messages, by mailbox
 *
 * Diagnostics: none; errors are returned.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <uthash.h>

#include "adopt.h"
#include "io/dirid.h"
#include "io/undo.h"
#include "maildir/class.h"
#include "undelete.h"
#include "util/str.h"

#define DEPTH_MAX 64

/* A kept inode with more than one name: those in stage/, in snapshots or twice in undo/ do not
 * count. */
struct links {
    UT_hash_handle hh;
    ino_t ino;
    bool elsewhere; /* in some mailbox */
};

struct reading {
    struct undo_set *set;
    struct links *links;
};

/* ---- kept messages ------------------------------------------------------------------ */

static int note_inode(struct reading *rd, const struct stat *st) {
    struct links *l;

    if (st->st_nlink < 2)
        return 0;
    HASH_FIND(hh, rd->links, &st->st_ino, sizeof(st->st_ino), l);
    if (l)
        return 0;
    l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    l->ino = st->st_ino;
    HASH_ADD(hh, rd->links, ino, sizeof(l->ino), l);
    return 0;
}

static int by_time(const void *a, const void *b) {
    const struct timespec *x = &((const struct undo_message *)a)->st.st_ctim;
    const struct timespec *y = &((const struct undo_message *)b)->st.st_ctim;

    if (x->tv_sec != y->tv_sec)
        return x->tv_sec < y->tv_sec ? 1 : -1;
    return (x->tv_nsec < y->tv_nsec) - (x->tv_nsec > y->tv_nsec);
}

static int read_messages(struct reading *rd, int fd, struct undo_mailbox *box) {
    struct dirent **names = NULL;
    int n = adopt_list(fd, &names), r = n < 0 ? n : 0;

    box->msgs = r == 0 ? calloc((size_t)n + 1, sizeof(*box->msgs)) : NULL;
    if (r == 0 && !box->msgs)
        r = -ENOMEM;
    for (int i = 0; r == 0 && i < n; i++) {
        struct undo_message *m = &box->msgs[box->n];

        if (str_starts(names[i]->d_name, IO_UNDO_DAMAGED))
            continue; /* no mail, but what verification has replaced */
        if (fstatat(fd, names[i]->d_name, &m->st, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISREG(m->st.st_mode))
            continue; /* its time came just now */
        m->name = strdup(names[i]->d_name);
        r = m->name ? note_inode(rd, &m->st) : -ENOMEM;
        box->n++;
    }
    adopt_list_free(names, n);
    if (r == 0 && box->n > 1)
        qsort(box->msgs, box->n, sizeof(*box->msgs), by_time);
    return r;
}

static int read_box(struct reading *rd, const char *hex) {
    struct undo_mailbox *box = &rd->set->boxes[rd->set->n];
    char path[PATH_MAX];
    ssize_t len;
    int fd, r;

    if (mailfs_id_parse(hex, &box->id) != 0)
        return 0;
    fd = adopt_open_dir(rd->set->fd, hex);
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    len = fgetxattr(fd, IO_UNDO_XATTR, path, sizeof(path) - 1);
    path[len > 0 ? len : 0] = '\0';
    box->path = strdup(path);
    box->deleted = !mailfs_id_is_root(&box->id);
    rd->set->n++;
    r = box->path ? read_messages(rd, fd, box) : -ENOMEM;
    close(fd);
    return r;
}

static int read_boxes(struct reading *rd) {
    struct dirent **names = NULL;
    int n = adopt_list(rd->set->fd, &names), r = n < 0 ? n : 0;

    rd->set->boxes = r == 0 ? calloc((size_t)n + 1, sizeof(*rd->set->boxes)) : NULL;
    if (r == 0 && !rd->set->boxes)
        r = -ENOMEM;
    for (int i = 0; r == 0 && i < n; i++)
        r = read_box(rd, names[i]->d_name);
    adopt_list_free(names, n);
    return r;
}

static void set_elsewhere(struct reading *rd) {
    for (size_t i = 0; i < rd->set->n; i++) {
        struct undo_mailbox *box = &rd->set->boxes[i];

        for (size_t k = 0; k < box->n; k++) {
            struct undo_message *m = &box->msgs[k];
            struct links *l;

            HASH_FIND(hh, rd->links, &m->st.st_ino, sizeof(m->st.st_ino), l);
            m->elsewhere = l && l->elsewhere;
        }
    }
}

/* ---- mailboxes that live ------------------------------------------------------------ */

static void found_at(struct undo_set *set, int fd, const char *path) {
    struct mailfs_id id;

    if (io_dirid_get(fd, &id) != 0)
        return;
    for (size_t i = 0; i < set->n; i++) {
        char *copy;

        if (!mailfs_id_equal(&set->boxes[i].id, &id) || !(copy = strdup(path)))
            continue;
        free(set->boxes[i].path);
        set->boxes[i].path = copy;
        set->boxes[i].deleted = false;
    }
}

/* The messages of a mailbox that lives, by the inode numbers that the listing has. */
static void look_in(struct reading *rd, int fd, const char *part) {
    int sub = rd->links ? adopt_open_dir(fd, part) : -ENOENT;
    DIR *d = sub < 0 ? NULL : fdopendir(sub);
    const struct dirent *de;

    while (d && (de = readdir(d))) {
        struct links *l;

        HASH_FIND(hh, rd->links, &de->d_ino, sizeof(de->d_ino), l);
        if (l)
            l->elsewhere = true;
    }
    if (d)
        closedir(d);
    else if (sub >= 0)
        close(sub);
}

static int walk(struct reading *rd, int fd, const char *path, int depth) {
    struct dirent **names = NULL;
    char child[PATH_MAX];
    int n = adopt_list(fd, &names), r = n < 0 ? n : 0;

    look_in(rd, fd, "new");
    look_in(rd, fd, "cur");
    for (int i = 0; r == 0 && depth < DEPTH_MAX && i < n; i++) {
        const char *name = names[i]->d_name;
        size_t len = strlen(name);
        int sub;

        if (names[i]->d_type != DT_DIR && names[i]->d_type != DT_UNKNOWN)
            continue;
        if (maildir_dir_of(MAILDIR_DIR_CONTAINER, name, len) != MAILDIR_DIR_CONTAINER ||
            maildir_class_is_local(maildir_class_of(MAILDIR_DIR_CONTAINER, name, len)) ||
            adopt_join(child, sizeof(child), path, name) != 0)
            continue;
        sub = adopt_open_dir(fd, name);
        if (sub < 0)
            continue; /* no directory, or gone meanwhile */
        found_at(rd->set, sub, child);
        r = walk(rd, sub, child, depth + 1);
        close(sub);
    }
    adopt_list_free(names, n);
    return r;
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const struct undo_mailbox *)a)->path, ((const struct undo_mailbox *)b)->path);
}

static int read_all(struct reading *rd, int store) {
    struct links *l, *tmp;
    int r = read_boxes(rd);

    if (r == 0)
        r = walk(rd, store, "", 0);
    if (r == 0)
        set_elsewhere(rd);
    HASH_ITER(hh, rd->links, l, tmp) {
        HASH_DEL(rd->links, l);
        free(l);
    }
    if (r == 0 && rd->set->n > 1)
        qsort(rd->set->boxes, rd->set->n, sizeof(*rd->set->boxes), by_path);
    return r;
}

int undo_set_read(const struct conf_volume *v, struct undo_set *out) {
    struct reading rd = {.set = out};
    int store = open(v->store, O_RDONLY | O_DIRECTORY | O_CLOEXEC), own, r;

    *out = (struct undo_set){.fd = -1};
    if (store < 0)
        return -errno;
    own = adopt_open_dir(store, MAILDIR_INTERNAL_NAME);
    r = out->fd = own < 0 ? own : adopt_open_dir(own, IO_UNDO_NAME);
    if (r >= 0)
        r = read_all(&rd, store);
    if (own >= 0)
        close(own);
    close(store);
    if (r < 0)
        undo_set_free(out);
    return r < 0 ? r : 0;
}

void undo_set_free(struct undo_set *set) {
    for (size_t i = 0; i < set->n; i++) {
        for (size_t k = 0; k < set->boxes[i].n; k++)
            free(set->boxes[i].msgs[k].name);
        free(set->boxes[i].msgs);
        free(set->boxes[i].path);
    }
    free(set->boxes);
    if (set->fd >= 0)
        close(set->fd);
    *set = (struct undo_set){.fd = -1};
}
