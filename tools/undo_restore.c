/*
 * undo_restore - put an expunged message back, as a delivery through the mount
 *
 * It gets a new base name, so a new UID: the old UID has been shown as expunged. The name follows
 * from the old one, so that a message which is put back on both nodes is one message.
 *
 * Diagnostics: none; errors are returned.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "adopt.h"
#include "io/io.h"
#include "maildir/name.h"
#include "undelete.h"
#include "util/str.h"

#define MARK ".undeleted"

/* ---- names and times ---------------------------------------------------------------- */

/* "1700.M1.host,S=10:2,S" becomes "1700.M1.host.undeleted,S=10". One that would be too long with
 * its flags loses the end of the host's name. */
int undo_new_base(const char *name, char out[256]) {
    size_t len = strlen(name), base = maildir_name_base_len(name, len), comma = 0, room;

    while (comma < base && name[comma] != ',')
        comma++;
    room = MAILDIR_NAME_MAX - strlen(MARK) - (len - comma);
    return str_printf(out, 256, "%.*s" MARK "%.*s", (int)(comma < room ? comma : room), name,
                      (int)(base - comma), name + comma);
}

int undo_time_parse(const char *text, int64_t now, int64_t *out) {
    static const char *const forms[] = {"%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d"};
    uint64_t ago;

    if (conf_duration_parse(text, &ago) == 0) {
        *out = now - (int64_t)ago;
        return 0;
    }
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct tm tm = {.tm_isdst = -1};
        const char *end = strptime(text, forms[i], &tm);

        if (!end || *end)
            continue;
        *out = (int64_t)mktime(&tm);
        return *out == -1 ? -EINVAL : 0;
    }
    return -EINVAL;
}

/* ---- the mailbox -------------------------------------------------------------------- */

/* 1: it was made. */
static int make_dir(int fd, const char *name, const struct stat *like) {
    int r = io_mkdir(fd, name, 0700);

    if (r == 0)
        r = io_chown(fd, name, like->st_uid, like->st_gid);
    return r == -EEXIST ? 0 : r < 0 ? r : 1;
}

/* Maildir++ marks a folder by this file. */
static int make_folder_file(int fd, const char *name, const struct stat *like) {
    int r = name[0] == '.' ? io_mknod(fd, "maildirfolder", S_IFREG | 0600, 0) : 0;

    if (r == 0 && name[0] == '.')
        r = io_chown(fd, "maildirfolder", like->st_uid, like->st_gid);
    return r == -EEXIST ? 0 : r;
}

/* Every directory down to the mailbox; to->fd is it. */
static int open_path(const char *mount, const char *path, const struct stat *like,
                     struct undo_target *to) {
    char text[PATH_MAX], *rest = text, *part;
    int fd = open(mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 ? -errno : str_copy(text, sizeof(text), path);

    while (r >= 0 && path[0] && (part = strsep(&rest, "/"))) {
        int next;

        r = make_dir(fd, part, like);
        next = r < 0 ? r : adopt_open_dir(fd, part);
        to->made = r == 1;
        if (next >= 0) {
            close(fd);
            fd = next;
        }
        r = next < 0 ? next : to->made && !rest ? make_folder_file(fd, part, like) : 0;
    }
    to->fd = fd;
    return r < 0 ? r : 0;
}

static int open_part(struct undo_target *to, const char *name, const struct stat *like, int *fd) {
    int r = make_dir(to->fd, name, like);

    if (r == 1)
        to->made = true;
    *fd = r < 0 ? r : adopt_open_dir(to->fd, name);
    return *fd < 0 ? *fd : 0;
}

static int text_cmp(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add_bases(struct undo_target *to, int fd) {
    struct dirent **names = NULL;
    int n = adopt_list(fd, &names), r = n < 0 ? n : 0;
    char **v = r == 0 ? realloc(to->bases, (to->n + (size_t)n + 1) * sizeof(*v)) : NULL;

    if (r == 0 && !v)
        r = -ENOMEM;
    to->bases = v ? v : to->bases;
    for (int i = 0; r == 0 && i < n; i++) {
        const char *name = names[i]->d_name;

        v[to->n] = strndup(name, maildir_name_base_len(name, strlen(name)));
        r = v[to->n] ? 0 : -ENOMEM;
        to->n += r == 0;
    }
    adopt_list_free(names, n);
    return r;
}

int undo_target_open(const char *mount, const char *path, const struct stat *like,
                     struct undo_target *out) {
    int r;

    *out = (struct undo_target){.fd = -1, .tmp = -1, .cur = -1, .new = -1};
    r = open_path(mount, path, like, out);
    if (r == 0)
        r = open_part(out, "tmp", like, &out->tmp);
    if (r == 0)
        r = open_part(out, "new", like, &out->new);
    if (r == 0)
        r = open_part(out, "cur", like, &out->cur);
    if (r == 0)
        r = add_bases(out, out->new);
    if (r == 0)
        r = add_bases(out, out->cur);
    if (r == 0 && out->n > 1)
        qsort(out->bases, out->n, sizeof(*out->bases), text_cmp);
    if (r < 0)
        undo_target_close(out);
    return r;
}

void undo_target_close(struct undo_target *t) {
    int fds[] = {t->fd, t->tmp, t->cur, t->new};

    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    for (size_t i = 0; i < t->n; i++)
        free(t->bases[i]);
    free(t->bases);
    *t = (struct undo_target){.fd = -1, .tmp = -1, .cur = -1, .new = -1};
}

/* ---- one message -------------------------------------------------------------------- */

static bool is_there(const struct undo_target *to, const char *base) {
    return to->n > 0 && bsearch(&base, to->bases, to->n, sizeof(*to->bases), text_cmp);
}

/* It was put back (on the other node, say), and expunged again: that one is to be put back. Under
 * this name it has been shown as expunged. */
static bool went_again(const struct undo_mailbox *box, const char *base) {
    for (size_t i = 0; i < box->n; i++)
        if (maildir_name_same_base(box->msgs[i].name, base))
            return true;
    return false;
}

/* A message may be kept twice: with other flags, when it was moved out, in, and out again. */
static int note_base(struct undo_target *to, const char *base) {
    char **v = realloc(to->bases, (to->n + 1) * sizeof(*v));
    size_t i = to->n;

    if (!v)
        return -ENOMEM;
    to->bases = v;
    while (i > 0 && strcmp(v[i - 1], base) > 0)
        i--;
    memmove(v + i + 1, v + i, (to->n - i) * sizeof(*v));
    v[i] = strdup(base);
    if (!v[i])
        return -ENOMEM;
    to->n++;
    return 0;
}

/* Keyword letters mean what the mailbox's dovecot-keywords says: not the new one's. */
static int new_name(const struct undo_message *msg, const char *base, bool keywords,
                    char out[MAILDIR_NAME_MAX + 1]) {
    struct maildir_name n;
    int r = maildir_name_parse(msg->name, strlen(msg->name), &n);

    if (r < 0)
        return r;
    if (!n.info)
        return str_copy(out, MAILDIR_NAME_MAX + 1, base);
    if (!n.standard)
        return maildir_name_format_info(out, MAILDIR_NAME_MAX + 1, base, strlen(base), n.info,
                                        n.info_len);
    return maildir_name_format(out, MAILDIR_NAME_MAX + 1, base, strlen(base), true, n.flags,
                               keywords ? n.keywords : 0);
}

/* The fsync is where both nodes get it. */
static int copy_to(int from, const struct undo_message *msg, int tmp, const char *base) {
    const struct timespec ts[2] = {msg->st.st_mtim, msg->st.st_mtim};
    int to = io_open_beneath(tmp, base, O_WRONLY | O_CREAT | O_EXCL, 0600);
    ssize_t n;
    int r = to < 0 ? to : 0;

    if (r == 0) {
        n = io_copy_all(from, 0, to, 0, (size_t)msg->st.st_size);
        r = n < 0 ? (int)n : n != msg->st.st_size ? -EIO : 0;
    }
    if (r == 0)
        r = io_fchown(to, msg->st.st_uid, msg->st.st_gid);
    if (r == 0)
        r = io_fchmod(to, msg->st.st_mode & 0777);
    if (r == 0)
        r = io_futimens(to, ts);
    if (r == 0)
        r = io_fsync(to);
    if (to >= 0)
        close(to);
    return r;
}

static int deliver(int from, const struct undo_message *msg, const struct undo_target *to,
                   bool keywords, const char *base) {
    char name[MAILDIR_NAME_MAX + 1];
    int r = new_name(msg, base, keywords, name), dir;

    if (r < 0)
        return r;
    dir = strchr(name, ':') ? to->cur : to->new;
    (void)io_unlink(to->tmp, base); /* of an attempt that was cut short */
    r = copy_to(from, msg, to->tmp, base);
    if (r == 0)
        r = io_rename(to->tmp, base, dir, name, RENAME_NOREPLACE);
    if (r < 0)
        (void)io_unlink(to->tmp, base);
    return r == 0 ? io_fsync(dir) : r;
}

int undo_restore(const struct undo_set *set, const struct undo_mailbox *box,
                 const struct undo_message *msg, struct undo_target *to) {
    char hex[MAILFS_ID_HEX], base[256];
    int r = undo_new_base(msg->name, base), dir, fd;
    bool there;

    if (r < 0)
        return r;
    dir = adopt_open_dir(set->fd, mailfs_id_format(&box->id, hex));
    if (dir < 0)
        return dir;
    there = is_there(to, base) || went_again(box, base);
    fd = there ? 0 : io_open_beneath(dir, msg->name, O_RDONLY, 0);
    r = fd < 0 ? fd : there ? -EEXIST : deliver(fd, msg, to, !to->made && !box->deleted, base);
    if (fd > 0)
        close(fd);
    if (r == 0)
        r = note_base(to, base);
    if (r == 0 || r == -EEXIST)
        (void)io_unlink(dir, msg->name);
    close(dir);
    return r;
}
