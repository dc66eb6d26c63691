/*
 * snapshot_box - one mailbox's part of a snapshot
 *
 * Messages first, then keywords and uidlist, and again until a look at the messages finds nothing
 * new. So each message in it has the UID that the list copied after it gives it, and a line whose
 * message is missing is that of one expunged meanwhile, as Dovecot itself leaves them. A busy
 * mailbox, which is never found at rest, fits all the same: the list was read last.
 *
 * What is expunged meanwhile stays while the list still has its line: it belongs to it. What has
 * neither file nor line any more goes.
 *
 * Diagnostics: none; errors are returned.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <uthash.h>

#include "adopt.h"
#include "io/file.h"
#include "io/io.h"
#include "maildir/class.h"
#include "maildir/keywords.h"
#include "maildir/name.h"
#include "maildir/uidlist.h"
#include "snapshot.h"

#define ROUNDS_MAX 10
#define UIDLIST    "dovecot-uidlist"
#define KEYWORDS   "dovecot-keywords"

enum { SUB_NEW, SUB_CUR, SUBS };

static const char *const sub_names[SUBS] = {"new", "cur"};

/* A message of the snapshot. */
struct msg {
    UT_hash_handle hh;
    char *name; /* in its directory, the base name first */
    int sub;
    unsigned round; /* in which it was last seen in the store */
    char base[];
};

struct box {
    struct snapshot_take *t;
    int live, into;
    int from[SUBS], to[SUBS]; /* -1: there is no such directory */
    struct msg *msgs;
    uint32_t letters; /* of keywords, in names */
    unsigned round;
    bool changed; /* by this round */
};

/* ---- messages ----------------------------------------------------------------------- */

static struct msg *find(struct box *b, const char *name) {
    struct msg *m;
    size_t len = maildir_name_base_len(name, strlen(name));

    HASH_FIND(hh, b->msgs, name, len, m);
    return m;
}

static struct msg *add(struct box *b, int sub, const char *name) {
    size_t len = maildir_name_base_len(name, strlen(name));
    struct msg *m = calloc(1, sizeof(*m) + len + 1);

    if (!m || !(m->name = strdup(name))) {
        free(m);
        return NULL;
    }
    memcpy(m->base, name, len);
    m->sub = sub;
    HASH_ADD(hh, b->msgs, base, len, m);
    return m;
}

static void drop(struct box *b, struct msg *m) {
    HASH_DEL(b->msgs, m);
    free(m->name);
    free(m);
}

/* A file with too many names, or one that may get none, is copied. -ENOENT: it is gone. */
static int link_message(struct box *b, int sub, const char *name) {
    int r = io_link(b->from[sub], name, b->to[sub], name);

    if (r == -EMLINK || r == -EPERM)
        r = snapshot_copy(b->from[sub], b->to[sub], name);
    return r == -EEXIST ? 0 : r;
}

static int rename_message(struct box *b, struct msg *m, int sub, const char *name) {
    char *copy = strdup(name);
    int r = copy ? io_rename(b->to[m->sub], m->name, b->to[sub], name, 0) : -ENOMEM;

    if (r < 0) {
        free(copy);
        return r;
    }
    free(m->name);
    m->name = copy;
    m->sub = sub;
    return 0;
}

static int see(struct box *b, int sub, const char *name) {
    struct maildir_name parsed;
    struct msg *m = find(b, name);
    int r = 0;

    if (!m) {
        b->changed = true;
        r = link_message(b, sub, name);
        if (r == -ENOENT) /* renamed or gone: the next round knows */
            return 0;
        m = r == 0 ? add(b, sub, name) : NULL;
        if (!m)
            return r < 0 ? r : -ENOMEM;
    } else if (m->sub != sub || strcmp(m->name, name) != 0) {
        b->changed = true;
        r = rename_message(b, m, sub, name);
    }
    m->round = b->round;
    if (maildir_name_parse(name, strlen(name), &parsed) == 0)
        b->letters |= parsed.keywords;
    return r;
}

static bool is_message(const struct dirent *de) {
    return de->d_type == DT_REG &&
           maildir_class_of(MAILDIR_DIR_CUR, de->d_name, strlen(de->d_name)) == MAILDIR_MESSAGE;
}

static int look(struct box *b, int sub) {
    struct dirent **names = NULL;
    int n = b->from[sub] < 0 ? 0 : adopt_list(b->from[sub], &names), r = n < 0 ? n : 0;

    for (int i = 0; r == 0 && i < n; i++) {
        if (is_message(names[i]))
            r = see(b, sub, names[i]->d_name);
        if (r == 0 && *b->t->stop)
            r = -ECANCELED;
    }
    adopt_list_free(names, n);
    return r;
}

/* new/ before cur/: what is picked up in between is seen in the second. */
static int look_at_all(struct box *b) {
    int r = 0;

    b->round++;
    b->changed = false;
    b->letters = 0;
    for (int sub = 0; r == 0 && sub < SUBS; sub++)
        r = look(b, sub);
    return r;
}

/* What the snapshot has already, from an earlier pass. */
static int note_taken(struct box *b, int sub) {
    struct dirent **names = NULL;
    int n = b->to[sub] < 0 ? 0 : adopt_list(b->to[sub], &names), r = n < 0 ? n : 0;

    for (int i = 0; r == 0 && i < n; i++)
        r = add(b, sub, names[i]->d_name) ? 0 : -ENOMEM;
    adopt_list_free(names, n);
    return r;
}

/* ---- lists -------------------------------------------------------------------------- */

static int copy_if_there(struct box *b, const char *name) {
    int r = snapshot_copy(b->live, b->into, name);

    if (r == -ENOENT)
        r = io_unlink(b->into, name);
    return r == -ENOENT ? 0 : r;
}

/* Of the snapshot's copy. *out NULL: there is none, or Dovecot would not take it either. A line
 * that was being appended is cut off. */
static int read_list(struct box *b, struct maildir_uidlist **out) {
    struct maildir_uidlist_report report = {0};
    char *text = NULL;
    size_t n;
    int fd, r = io_file_read_at(b->into, UIDLIST, MAILDIR_UIDLIST_TEXT_MAX, &text, &n, NULL);

    *out = NULL;
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    r = maildir_uidlist_parse(text, n, out, &report);
    free(text);
    if (r < 0)
        return r == -ENOMEM ? r : 0;
    if (!report.torn)
        return 0;
    fd = io_open_beneath(b->into, UIDLIST, O_WRONLY, 0);
    r = fd < 0 ? fd : io_ftruncate(fd, (off_t)report.used);
    if (fd >= 0)
        close(fd);
    return r;
}

/* Has each letter in a name its keyword? Dovecot writes the letter first. */
static int letters_are_known(struct box *b, bool *known) {
    struct maildir_keywords *kw = NULL;
    char *text = NULL;
    size_t n = 0;
    int r;

    *known = b->letters == 0;
    if (*known)
        return 0;
    r = io_file_read_at(b->into, KEYWORDS, 1 << 20, &text, &n, NULL);
    if (r == 0)
        r = maildir_keywords_parse(text, n, &kw, NULL);
    *known = r == 0;
    for (unsigned i = 0; r == 0 && i < MAILDIR_LETTERS; i++)
        *known = *known && (!(b->letters & 1u << i) || maildir_keywords_at(kw, i));
    maildir_keywords_free(kw);
    free(text);
    return r == -ENOMEM ? r : 0;
}

/* A listing may leave out a file that is renamed meanwhile. */
static bool lacks_one(struct box *b, const struct maildir_uidlist *list) {
    size_t n = list ? maildir_uidlist_count(list) : 0;

    for (size_t i = 0; i < n; i++)
        if (!find(b, maildir_uidlist_at(list, i)->base))
            return true;
    return false;
}

/* *again: another look is due, whether or not something has changed. */
static int take_lists(struct box *b, struct maildir_uidlist **list, bool *again) {
    const struct timespec pause = {.tv_nsec = 10000000};
    bool known = true;
    int r = copy_if_there(b, KEYWORDS);

    if (r == 0)
        r = copy_if_there(b, UIDLIST);
    if (r == 0)
        r = read_list(b, list);
    if (r == 0)
        r = letters_are_known(b, &known);
    if (r < 0)
        return r;
    *again = !known || (b->round == 1 && lacks_one(b, *list));
    if (!known)
        nanosleep(&pause, NULL);
    return 0;
}

/* ---- together ----------------------------------------------------------------------- */

static int remove_gone(struct box *b, const struct maildir_uidlist *list) {
    struct msg *m, *tmp;
    int r = 0;

    HASH_ITER(hh, b->msgs, m, tmp) {
        if (m->round == b->round || r < 0 ||
            (list && maildir_uidlist_find(list, m->base, strlen(m->base))))
            continue;
        r = io_unlink(b->to[m->sub], m->name);
        drop(b, m);
    }
    return r;
}

static int take(struct box *b) {
    struct maildir_uidlist *list = NULL;
    bool again = true;
    int r = 0;

    for (int sub = 0; r == 0 && sub < SUBS; sub++)
        r = note_taken(b, sub);
    for (int i = 0; r == 0 && i < ROUNDS_MAX; i++) {
        r = look_at_all(b);
        if (r < 0 || (!b->changed && !again))
            break;
        maildir_uidlist_free(list);
        list = NULL;
        r = take_lists(b, &list, &again);
    }
    if (r == 0)
        r = remove_gone(b, list);
    maildir_uidlist_free(list);
    return r;
}

/* The directories of both; those of the snapshot are made. */
static int open_subs(struct box *b) {
    int r = 0;

    for (int i = 0; i < SUBS; i++)
        b->from[i] = b->to[i] = -1;
    for (int i = 0; r >= 0 && i < SUBS; i++) {
        r = b->from[i] = adopt_open_dir(b->live, sub_names[i]);
        if (r == -ENOENT) {
            r = 0;
            continue;
        }
        if (r >= 0)
            r = io_mkdir(b->into, sub_names[i], 0700);
        if (r == 0 || r == -EEXIST)
            r = b->to[i] = adopt_open_dir(b->into, sub_names[i]);
    }
    return r < 0 ? r : 0;
}

static int close_subs(struct box *b) {
    struct stat st;
    int r = 0;

    for (int i = 0; i < SUBS; i++) {
        if (r == 0 && b->to[i] >= 0)
            r = fstat(b->from[i], &st) == 0 ? snapshot_dress(b->to[i], &st) : -errno;
        if (b->from[i] >= 0)
            close(b->from[i]);
        if (b->to[i] >= 0)
            close(b->to[i]);
    }
    return r;
}

int snapshot_take_mailbox(struct snapshot_take *t, int live, int into) {
    struct box b = {.t = t, .live = live, .into = into};
    struct msg *m, *tmp;
    int r = open_subs(&b), closed;

    if (r == 0)
        r = take(&b);
    t->messages += HASH_COUNT(b.msgs);
    t->mailboxes++;
    HASH_ITER(hh, b.msgs, m, tmp)
        drop(&b, m);
    closed = close_subs(&b);
    return r < 0 ? r : closed;
}
