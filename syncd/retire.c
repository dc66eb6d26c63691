/*
 * retire: a container that was removed on the other node leaves this one.
 *
 * A look whether it holds anything new, and then the removal of all that is in it, would lose what
 * comes between the two: mailfs keeps directories open, and delivers into them wherever they are.
 * So nothing is removed here but what was agreed on, each message by its name, and new/, cur/ and
 * the container go by rmdir(2), which succeeds only for an empty one and lets nothing in after
 * that: who comes too late is told ENOENT, and his mail was not accepted. Who came in time made
 * rmdir fail, and the container goes back to its place.
 *
 * It is put out of sight first (.mailfs/trash/move-<id>), so that nobody sees half of it, and so
 * that a crash is mended by tree_recover().
 *
 * No diagnostics: the caller knows whose removal it was.
 */
#include "retire.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "apply_int.h"
#include "io/io.h"
#include "maildir/class.h"
#include "merge_int.h"
#include "util/str.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

/* A directory that always has something new that may go (a lock, a file in tmp/) is in use. */
#define TRIES_MAX 1000

static const char *const sub_names[] = {"", "new", "cur", "tmp"};

struct retire {
    struct state *st;
    struct store_dir *d;
    retire_agreed_fn *agreed;
    void *arg;
    int sub; /* the part that is being looked at */
    const char *what;
    struct mailfs_id parent;
    int from; /* where it was */
    char name[MAILDIR_NAME_MAX + 1], away[MAILFS_ID_HEX + 8];
};

/* ---- what is in it ----------------------------------------------------------------- */

static bool is_message(const struct retire *t, const char *name, unsigned char type) {
    enum maildir_dir kind = t->sub == MFP__SUB__NEW ? MAILDIR_DIR_NEW : MAILDIR_DIR_CUR;

    return type == DT_REG && (t->sub == MFP__SUB__NEW || t->sub == MFP__SUB__CUR) &&
           maildir_class_of(kind, name, strlen(name)) == MAILDIR_MESSAGE;
}

/* A container in it that concerns the peer; new/, cur/ and tmp/ are parts of it. */
static bool is_container(const struct retire *t, const char *name, unsigned char type) {
    size_t n = strlen(name);

    return t->sub == MFP__SUB__SELF && type == DT_DIR &&
           maildir_dir_of(MAILDIR_DIR_CONTAINER, name, n) == MAILDIR_DIR_CONTAINER &&
           !maildir_class_is_local(maildir_class_of(MAILDIR_DIR_CONTAINER, name, n));
}

static bool is_part(const struct retire *t, const char *name) {
    return t->sub == MFP__SUB__SELF &&
           maildir_dir_of(MAILDIR_DIR_CONTAINER, name, strlen(name)) != MAILDIR_DIR_CONTAINER;
}

/* Is this name a reason for the container to live? 1: yes, and t->what says what it is. */
static int is_more(struct retire *t, const char *name, unsigned char type) {
    char base[MAILDIR_NAME_MAX + 1];
    int r;

    if (is_container(t, name, type)) {
        t->what = "a directory";
        return 1;
    }
    if (!is_message(t, name, type))
        return 0;
    r = str_copyn(base, sizeof(base), name, maildir_name_base_len(name, strlen(name)));
    r = r < 0 ? r : t->agreed(t->arg, base);
    if (r == 0)
        t->what = "a message";
    return r < 0 ? r : r == 0;
}

static int more_name(void *arg, const char *name, unsigned char type) {
    return is_more(arg, name, type);
}

/* 0: nothing but what was agreed on. 1: more. */
static int look(struct retire *t) {
    int r = 0, fd;

    for (t->sub = MFP__SUB__SELF; r == 0 && t->sub <= MFP__SUB__CUR; t->sub++) {
        fd = store_sub_open(t->st, t->d, t->sub, false);
        r = fd < 0 ? fd : store_each_name(fd, more_name, t);
        r = r == -ENOENT ? 0 : r;
    }
    return r;
}

/* ---- emptying it ------------------------------------------------------------------- */

static int drop_name(void *arg, const char *name, unsigned char type) {
    struct retire *t = arg;
    int fd = t->d->fd[t->sub], r = is_more(t, name, type);

    if (r != 0)
        return r;
    if (is_part(t, name))
        return 0;
    if (type == DT_DIR)
        r = apply_remove_tree(t->st, fd, name);
    else if (is_message(t, name, type))
        r = apply_drop(t->st, &t->d->id, fd, name, false);
    else
        r = io_unlink(fd, name);
    return r == -ENOENT ? 0 : r;
}

/* Empties a directory and removes it under that name in `at`. What may go can come as long as it is
 * there. */
static int drop_dir(struct retire *t, int sub, int at, const char *name) {
    int fd = store_sub_open(t->st, t->d, sub, false), tries, r = -ENOTEMPTY;

    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    t->sub = sub;
    for (tries = 0; (r == -ENOTEMPTY || r == -EEXIST) && tries < TRIES_MAX; tries++) {
        r = store_each_name(fd, drop_name, t);
        if (r == 0)
            r = io_rmdir(at, name);
    }
    return r == -ENOENT ? 0 : r;
}

/* new/ first: what comes, comes there. 1: it holds more. */
static int drop_all(struct retire *t) {
    int sub, r = 0;

    for (sub = MFP__SUB__NEW; r == 0 && sub <= MFP__SUB__TMP; sub++)
        r = drop_dir(t, sub, t->d->fd[0], sub_names[sub]);
    return r == 0 ? drop_dir(t, MFP__SUB__SELF, t->st->trash, t->away) : r;
}

/* ---- back -------------------------------------------------------------------------- */

/* The parts that went already. Whoever had them open is told ENOENT, and looks anew. */
static int make_whole(struct retire *t, struct invals *inval) {
    struct stat sb;
    int sub, fd;

    for (sub = MFP__SUB__NEW; sub <= MFP__SUB__TMP; sub++) {
        fd = t->d->fd[sub];
        if (fd < 0 || fstat(fd, &sb) < 0 || sb.st_nlink > 0)
            continue;
        close(fd);
        t->d->fd[sub] = -1;
        fd = store_sub_open(t->st, t->d, sub, true);
        if (fd < 0)
            return fd;
        inval_moved(inval, &t->d->id, &t->d->id, sub_names[sub], sub_names[sub]);
    }
    return 0;
}

static int put_back(struct retire *t, struct invals *inval) {
    int r = make_whole(t, inval);

    if (r == 0)
        r = io_rename(t->st->trash, t->away, t->from, t->name, RENAME_NOREPLACE);
    if (r == 0)
        inval_moved(inval, &t->parent, &t->d->id, NULL, t->name);
    if (r == -EEXIST || r == -ENOTEMPTY || r == -ENOENT)
        return RETIRE_LEFT;
    return r == 0 ? RETIRE_LIVES : r;
}

/* ---- all --------------------------------------------------------------------------- */

static int put_away(struct retire *t, struct invals *inval) {
    char hex[MAILFS_ID_HEX];
    int r = apply_place_of(t->st, t->d->fd[0], &t->parent, &t->from, t->name);

    snprintf(t->away, sizeof(t->away), "move-%s", mailfs_id_format(&t->d->id, hex));
    if (r == 0)
        r = io_rename(t->from, t->name, t->st->trash, t->away, RENAME_NOREPLACE);
    if (r == 0)
        inval_moved(inval, &t->parent, &t->d->id, t->name, NULL);
    return r;
}

int retire_dir(struct state *st, struct store_dir *d, retire_agreed_fn *agreed, void *arg,
               const char **what, struct invals *inval) {
    struct retire t = {.st = st, .d = d, .agreed = agreed, .arg = arg, .from = -1};
    int r, back;

    r = look(&t);
    if (r == 0) {
        r = put_away(&t, inval);
        if (r == 0 && (r = drop_all(&t)) != 0) {
            back = put_back(&t, inval);
            r = r < 0 ? r : back;
        }
    } else if (r > 0) {
        r = RETIRE_LIVES; /* not touched */
    }
    if (t.from >= 0)
        close(t.from);
    *what = t.what;
    return r;
}
