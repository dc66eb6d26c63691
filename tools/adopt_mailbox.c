/*
 * adopt_mailbox - the messages, the uidlist and the temporary files of one mailbox
 *
 * Diagnostics: to the report.
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

#include "adopt.h"
#include "adopt_kinds.h"
#include "io/file.h"
#include "maildir/class.h"
#include "maildir/name.h"
#include "maildir/uidlist.h"
#include "util/array.h"
#include "util/log.h"
#include "util/str.h"

#define TMP_FRESH 60

struct message {
    char *name;
    size_t base_len;
    bool in_cur;
};

struct mailbox {
    struct adopt *a;
    int fd;
    const char *path;
    uid_t owner;
    struct message *msgs;
    size_t n;
    bool seen; /* some message is in cur */
};

/* ---- messages ----------------------------------------------------------------------- */

static bool keep_message(struct mailbox *m, const char *name, size_t base_len, bool in_cur) {
    struct message *v = array_room(m->msgs, m->n, sizeof(*v));

    if (!v)
        return false;
    m->msgs = v;
    m->msgs[m->n] = (struct message){strdup(name), base_len, in_cur};
    return m->msgs[m->n].name && ++m->n;
}

static void check_attributes(struct mailbox *m, const struct maildir_name *name, const char *path,
                             const struct stat *st) {
    if (name->size >= 0 && name->size != st->st_size)
        report_add(m->a->report, &kind_size, path, "%lld bytes", (long long)st->st_size);
    if (st->st_uid == m->owner ? !(st->st_mode & S_IRUSR) : !(st->st_mode & (S_IRGRP | S_IROTH)))
        report_add(m->a->report, &kind_owner, path, "owner %u, mode %04o; the mailbox's is %u",
                   st->st_uid, st->st_mode & 07777, m->owner);
    m->a->messages++;
    m->a->bytes += (uint64_t)st->st_size;
    if (st->st_nlink > 1)
        m->a->linked++;
}

static void check_message(struct mailbox *m, int fd, const char *file, const char *path,
                          bool in_cur) {
    struct maildir_name name;
    struct stat st;

    if (file[0] == '.') {
        report_add(m->a->report, &kind_hidden_name, path, "%s", "");
        return;
    }
    if (fstatat(fd, file, &st, AT_SYMLINK_NOFOLLOW) != 0)
        report_add(m->a->report, &kind_unreadable, path, "%s", log_strerror(errno));
    else if (S_ISLNK(st.st_mode))
        report_add(m->a->report, &kind_link_message, path, "%s", "");
    else if (S_ISDIR(st.st_mode))
        report_add(m->a->report, &kind_part_dir, path, "%s", "");
    else if (!S_ISREG(st.st_mode))
        report_add(m->a->report, &kind_not_message, path, "%s", "");
    else if (maildir_name_parse(file, strlen(file), &name) != 0)
        report_add(m->a->report, &kind_message_name, path, "%s", "");
    else if (keep_message(m, file, name.base_len, in_cur))
        check_attributes(m, &name, path, &st);
    else
        report_add(m->a->report, &kind_unreadable, path, "%s", log_strerror(-ENOMEM));
}

static int base_cmp(const struct message *x, const struct message *y) {
    size_t n = x->base_len < y->base_len ? x->base_len : y->base_len;
    int r = memcmp(x->name, y->name, n);

    return r ? r : (x->base_len > y->base_len) - (x->base_len < y->base_len);
}

static int by_base(const void *a, const void *b) {
    const struct message *x = a, *y = b;
    int r = base_cmp(x, y);

    if (r == 0) /* those in cur first, then by name: the same report each time */
        r = y->in_cur - x->in_cur;
    return r ? r : strcmp(x->name, y->name);
}

static void check_duplicates(struct mailbox *m) {
    char path[PATH_MAX];

    if (m->n > 1)
        qsort(m->msgs, m->n, sizeof(*m->msgs), by_base);
    for (size_t i = 1; i < m->n; i++) {
        const struct message *x = &m->msgs[i - 1], *y = &m->msgs[i];

        if (base_cmp(x, y) != 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s/%s", m->path, x->in_cur ? "cur" : "new", x->name);
        report_add(m->a->report, &kind_duplicate, path, "and %s/%s", y->in_cur ? "cur" : "new",
                   y->name);
    }
}

/* Opens new, cur or tmp and lists it. -ENOENT: there is none, which is no problem. */
static int open_part(struct mailbox *m, const char *part, int *fd, struct dirent ***names) {
    char path[PATH_MAX];
    int n;

    *fd = adopt_open_dir(m->fd, part);
    n = *fd < 0 ? *fd : adopt_list(*fd, names);
    if (n < 0 && n != -ENOENT) {
        adopt_join(path, sizeof(path), m->path, part);
        report_add(m->a->report, n == -ELOOP || n == -ENOTDIR ? &kind_link_dir : &kind_unreadable,
                   path, "%s", log_strerror(n));
    }
    return n;
}

static void check_part(struct mailbox *m, const char *part, bool in_cur) {
    struct dirent **names = NULL;
    char where[PATH_MAX], path[PATH_MAX];
    int fd, n = open_part(m, part, &fd, &names);

    if (n < 0 || adopt_join(where, sizeof(where), m->path, part) != 0)
        goto out;
    for (int i = 0; i < n; i++) {
        if (adopt_join(path, sizeof(path), where, names[i]->d_name) == 0)
            check_message(m, fd, names[i]->d_name, path, in_cur);
    }
    m->seen = m->seen || (in_cur && n > 0);
out:
    adopt_list_free(names, n);
    if (fd >= 0)
        close(fd);
}

/* ---- the rest ----------------------------------------------------------------------- */

static void check_tmp(struct mailbox *m) {
    struct dirent **names = NULL;
    char path[PATH_MAX];
    struct stat st;
    int fd, n = open_part(m, "tmp", &fd, &names);
    time_t now = time(NULL);

    for (int i = 0; i < n; i++) {
        if (fstatat(fd, names[i]->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
            str_printf(path, sizeof(path), "%s%stmp/%s", m->path, m->path[0] ? "/" : "",
                       names[i]->d_name) != 0)
            continue;
        if (S_ISDIR(st.st_mode))
            report_add(m->a->report, &kind_part_dir, path, "%s", "");
        if (!S_ISREG(st.st_mode))
            continue;
        m->a->tmp_files++;
        if (now - st.st_mtime < TMP_FRESH)
            report_add(m->a->report, &kind_tmp_fresh, path, "%s", "");
    }
    adopt_list_free(names, n);
    if (fd >= 0)
        close(fd);
}

static void check_uidlist(struct mailbox *m) {
    struct maildir_uidlist_report rep = {0};
    struct maildir_uidlist *list = NULL;
    char *text = NULL, path[PATH_MAX];
    size_t n;
    int r = io_file_read_at(m->fd, "dovecot-uidlist", MAILDIR_UIDLIST_TEXT_MAX, &text, &n, NULL);

    adopt_join(path, sizeof(path), m->path, "dovecot-uidlist");
    if (r == 0)
        r = maildir_uidlist_parse(text, n, &list, &rep);
    if (r == 0)
        m->a->with_uidlist++;
    else if (r == -ENOENT && m->seen)
        report_add(m->a->report, &kind_no_uidlist, m->path[0] ? m->path : ".", "%s", "");
    else if (r != -ENOENT && rep.what)
        report_add(m->a->report, &kind_uidlist, path, "line %zu: %s", rep.line, rep.what);
    else if (r != -ENOENT)
        report_add(m->a->report, &kind_uidlist, path, "%s", log_strerror(r));
    maildir_uidlist_free(list);
    free(text);
}

void adopt_check_mailbox(struct adopt *a, int fd, const char *path) {
    struct mailbox m = {.a = a, .fd = fd, .path = path};
    struct stat st;

    if (fstat(fd, &st) == 0)
        m.owner = st.st_uid;
    check_part(&m, "new", false);
    check_part(&m, "cur", true);
    check_duplicates(&m);
    check_tmp(&m);
    check_uidlist(&m);
    for (size_t i = 0; i < m.n; i++)
        free(m.msgs[i].name);
    free(m.msgs);
}
