/*
 * cmd_leave - mailfsctl leave: a store becomes a plain Maildir tree again
 *
 * Only when everything is in it: what syncd has received and not carried out, or keeps for the
 * administrator, would go with .mailfs. That goes last, so that a leave cut short can be repeated.
 *
 * Diagnostics: the report to stdout; "mailfsctl: ..." to stderr. Exit code 1: refused, or cut
 * short.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adopt.h"
#include "adopt_kinds.h"
#include "commands.h"
#include "human.h"
#include "io/db.h"
#include "io/marks.h"
#include "maildir/class.h"
#include "util/log.h"
#include "snapshot.h"
#include "undelete.h"
#include "util/str.h"

/* ---- is everything in the store? ---------------------------------------------------- */

/* Names in .mailfs/LINK/NAME for which wanted() is true. */
static void check_own(struct adopt *a, const char *link, const char *part,
                      bool (*wanted)(const char *), const struct report_kind *kind) {
    struct dirent **names = NULL;
    char path[PATH_MAX], name[PATH_MAX];
    int own = adopt_open_dir(a->fd, MAILDIR_INTERNAL_NAME), n;
    int fd = own < 0 ? own : adopt_join(name, sizeof(name), link, part);

    if (fd >= 0)
        fd = adopt_open_dir(own, name);
    n = fd < 0 ? fd : adopt_list(fd, &names);
    for (int i = 0; i < n; i++) {
        if (!wanted(names[i]->d_name))
            continue;
        if (str_printf(path, sizeof(path), "%s/" MAILDIR_INTERNAL_NAME "/%s/%s", a->dir, name,
                       names[i]->d_name) != 0)
            str_copy(path, sizeof(path), name);
        report_add(a->report, kind, path, "%s", "");
    }
    if (n < 0 && n != -ENOENT)
        report_add(a->report, &kind_unreadable, name, "%s", log_strerror(n));
    adopt_list_free(names, n);
    if (fd >= 0)
        close(fd);
    if (own >= 0)
        close(own);
}

static bool is_content(const char *name) {
    return !str_starts(name, "t-") && !str_starts(name, "h-"); /* those are fragments */
}

static bool is_any(const char *name) {
    (void)name;
    return true;
}

static bool is_moving(const char *name) {
    return str_starts(name, "move-");
}

static int count_journal(struct db_txn *txn, void *arg) {
    return db_count(txn, 0, arg);
}

/* syncd's own tables are opened by their names; this one is all that matters here. */
static void check_journal(struct adopt *a, const char *link) {
    static const char *const tables[] = {"journal"};
    const struct db_config conf = {.tables = tables, .n_tables = 1};
    char path[PATH_MAX];
    struct db *db = NULL;
    uint64_t n = 0;
    int r =
        str_printf(path, sizeof(path), "%s/%s%sbase", a->volume->state, link, link[0] ? "/" : "");

    if (r == 0 && access(path, F_OK) != 0)
        return; /* syncd has never been here */
    if (r == 0)
        r = db_open(path, &conf, &db);
    if (r == 0)
        r = db_view(db, count_journal, &n);
    if (r < 0)
        report_add(a->report, &kind_unreadable, path, "%s", log_strerror(r));
    else if (n > 0)
        report_add(a->report, &kind_journal, path, "%" PRIu64, n);
    db_close(db);
}

/* Not one that was begun only. */
static bool is_snapshot(const char *name) {
    return name[0] != '.';
}

/* link: "" for the peer's, or "links/NAME" for what a one-way link keeps of its own. */
static void check_link(struct adopt *a, const char *link) {
    check_own(a, link, "stage", is_content, &kind_staged);
    check_own(a, link, "kept", is_any, &kind_kept);
    check_own(a, link, "trash", is_moving, &kind_trash_move);
    check_journal(a, link);
}

static void check_links(struct adopt *a) {
    struct dirent **names = NULL;
    char link[PATH_MAX];
    int fd = adopt_open_dir(a->fd, MAILDIR_INTERNAL_NAME "/links");
    int n = fd < 0 ? fd : adopt_list(fd, &names);

    for (int i = 0; i < n; i++)
        if (adopt_join(link, sizeof(link), "links", names[i]->d_name) == 0)
            check_link(a, link);
    if (n < 0 && n != -ENOENT)
        report_add(a->report, &kind_unreadable, "links", "%s", log_strerror(n));
    adopt_list_free(names, n);
    if (fd >= 0)
        close(fd);
}

/* With a peer, marks say which mailboxes it may not have as they are here. */
static void check_marks(struct adopt *a) {
    struct marks *m = NULL;
    char path[PATH_MAX];
    uint64_t n = 0;

    if (!a->volume->peer || str_printf(path, sizeof(path), "%s/marks", a->volume->state) != 0 ||
        access(path, F_OK) != 0 || marks_open(a->volume->state, &m) != 0)
        return;
    if (marks_count(m, &n) == 0 && n > 0)
        report_add(
            a->report, &kind_peer_lacks, a->volume->peer->name,
            "%" PRIu64 " mailboxes may have changed here since both were known to be the same", n);
    marks_close(m);
}

/* Expunged long ago: they go, but not without a word. */
static void check_undo(struct adopt *a) {
    struct undo_set set;
    size_t n = 0;

    if (undo_set_read(a->volume, &set) != 0)
        return;
    for (size_t i = 0; i < set.n; i++)
        n += set.boxes[i].n;
    undo_set_free(&set);
    if (n > 0)
        report_add(a->report, &kind_undo, NULL, "%zu", n);
}

static void check(struct adopt *a) {
    struct stat st;

    adopt_check_running(a);
    if (fstatat(a->fd, MAILDIR_INTERNAL_NAME, &st, AT_SYMLINK_NOFOLLOW) != 0)
        report_add(a->report, &kind_not_store, a->dir, "it has no " MAILDIR_INTERNAL_NAME);
    check_link(a, "");
    check_links(a);
    check_own(a, "", MAILDIR_SNAPSHOTS_NAME, is_snapshot, &kind_snapshot);
    check_undo(a);
    check_marks(a);
}

/* ---- leaving ------------------------------------------------------------------------ */

static int fail(const char *where, const char *path, int err, const char *state) {
    fprintf(stderr, "mailfsctl: %s%s%s: %s; %s\n", where, path[0] ? "/" : "", path,
            log_strerror(err), state);
    return CTL_FAILED;
}

static int carry_out(struct adopt *a, const char *to) {
    char dirs[HUMAN_MAX];
    const char *path;
    uint64_t removed;
    int r = adopt_remove_ids(a, &removed, &path);

    if (r < 0)
        return fail(a->dir, path, r, "the mail is whole; run it again when that is mended");
    printf("%s: took the ids of %s away, and " MAILDIR_INTERNAL_NAME "\n", a->dir,
           human_count(removed, "directory", "directories", dirs));
    if (to)
        r = adopt_exchange(a->dir, to);
    if (r < 0)
        return fail(
            to, "", r,
            "the store is a plain Maildir tree now, and has not been moved there: when that "
            "is mended, move it (mv)");
    printf("%s is a plain Maildir tree. %s is of no use any more, but for the node's key.\n",
           to ? to : a->dir, a->volume->state);
    return CTL_DONE;
}

static int leave(struct adopt *a, const struct ctl_args *args) {
    const char *to = args->n_operands > 0 ? args->operands[0] : NULL;
    size_t errors;

    check(a);
    if (to)
        adopt_check_target(a, to);
    report_print(stdout, a->report);
    errors = report_count(a->report, REPORT_ERROR);
    if (errors > 0) {
        fprintf(stderr, "mailfsctl: nothing was changed: %zu error%s\n", errors,
                errors == 1 ? "" : "s");
        return CTL_FAILED;
    }
    if (!args->dry_run)
        return carry_out(a, to);
    printf("would take the ids away, and %s/" MAILDIR_INTERNAL_NAME "\n", a->dir);
    if (to)
        printf("would rename %s to %s\n", a->dir, to);
    return CTL_DONE;
}

int command_leave(const struct ctl_args *args) {
    char dir[PATH_MAX];
    struct adopt a = {.conf = args->conf, .dir = dir};
    struct stat st;
    int rc;

    a.volume = command_volume(args);
    if (!a.volume)
        return CTL_USAGE;
    if (args->n_operands > 0 && args->operands[0][0] != '/') {
        fprintf(stderr, "mailfsctl: leave: DIR must be an absolute path\n");
        return CTL_USAGE;
    }
    if (!realpath(a.volume->store, dir))
        return fail(a.volume->store, "", -errno, "nothing was changed");
    a.fd = open(a.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (a.fd < 0 || fstat(a.fd, &st) != 0)
        return fail(a.dir, "", -errno, "nothing was changed");
    a.dev = st.st_dev;
    a.report = report_new();
    rc = a.report ? leave(&a, args) : fail(a.dir, "", -ENOMEM, "nothing was changed");
    report_free(a.report);
    close(a.fd);
    return rc;
}
