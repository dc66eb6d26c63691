/*
 * cmd_undelete - mailfsctl undelete: list what was expunged, put it back
 *
 * Diagnostics: "mailfsctl: ..." to stderr. Exit code 1: something could not be put back.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "adopt.h"
#include "commands.h"
#include "human.h"
#include "mailbox_path.h"
#include "undelete.h"
#include "io/file.h"
#include "maildir/name.h"
#include "util/log.h"
#include "util/str.h"

#define HEAD_MAX 16384

struct choice {
    const struct ctl_args *args;
    const struct conf_volume *volume;
    const char *path; /* below the mount; NULL: all */
    int64_t since;
    size_t chosen, restored, already, elsewhere, failed;
};

/* ---- what is meant ------------------------------------------------------------------ */

static bool is_meant_box(const struct choice *c, const struct undo_mailbox *box) {
    size_t n = c->path ? strlen(c->path) : 0;

    if (!c->path || strcmp(box->path, c->path) == 0)
        return true;
    return c->args->recursive && strncmp(box->path, c->path, n) == 0 &&
           (n == 0 || box->path[n] == '/');
}

/* Named ones, by base name; else all of that time. */
static bool is_meant(const struct choice *c, const struct undo_message *m) {
    if (c->args->n_operands < 2)
        return m->st.st_ctim.tv_sec >= c->since;
    for (int i = 1; i < c->args->n_operands; i++)
        if (maildir_name_same_base(m->name, c->args->operands[i]))
            return true;
    return false;
}

/* ---- listing ------------------------------------------------------------------------ */

static void print_time(int64_t at) {
    time_t t = (time_t)at;
    struct tm tm;
    char text[32] = "?";

    if (localtime_r(&t, &tm))
        strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
    printf("%s", text);
}

/* The value of the Subject field, its first line; "" when there is none. */
static void subject_of(int dir, const char *name, char *out, size_t size) {
    char *text = NULL, *at;
    size_t n = 0;
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    out[0] = '\0';
    text = calloc(1, HEAD_MAX + 1);
    if (fd >= 0 && text) {
        ssize_t got = pread(fd, text, HEAD_MAX, 0);
        n = got > 0 ? (size_t)got : 0;
    }
    at = n > 0 ? strcasestr(text, "\nsubject:") : NULL;
    if (at) {
        at += strlen("\nsubject:");
        at += strspn(at, " \t");
        at[strcspn(at, "\r\n")] = '\0';
        human_text(at, out, size);
    }
    free(text);
    if (fd >= 0)
        close(fd);
}

static void list_messages(const struct undo_set *set, const struct undo_mailbox *box,
                          struct choice *c) {
    char hex[MAILFS_ID_HEX], name[256], subject[80], size[HUMAN_MAX];
    int dir = adopt_open_dir(set->fd, mailfs_id_format(&box->id, hex));

    for (size_t i = 0; i < box->n; i++) {
        const struct undo_message *m = &box->msgs[i];

        if (!is_meant(c, m))
            continue;
        subject_of(dir, m->name, subject, sizeof(subject));
        printf("  ");
        print_time(m->st.st_ctim.tv_sec);
        printf("  %10s  %s%s\n      %s\n", human_bytes((uint64_t)m->st.st_size, size), subject,
               m->elsewhere ? "  (also in another mailbox)" : "",
               human_text(m->name, name, sizeof(name)));
    }
    if (dir >= 0)
        close(dir);
}

static void list_box(const struct undo_set *set, const struct undo_mailbox *box, struct choice *c) {
    char path[PATH_MAX], count[HUMAN_MAX];
    size_t n = 0;

    for (size_t i = 0; i < box->n; i++)
        n += is_meant(c, &box->msgs[i]);
    if (n == 0)
        return;
    c->chosen += n;
    printf("%s%s: %s, the last ", human_text(box->path[0] ? box->path : ".", path, sizeof(path)),
           box->deleted ? " (deleted)" : "", human_count(n, "message", "messages", count));
    print_time(box->msgs[0].st.st_ctim.tv_sec);
    printf("\n");
    if (c->path)
        list_messages(set, box, c);
}

/* ---- putting back ------------------------------------------------------------------- */

static void restore_one(const struct undo_set *set, const struct undo_mailbox *box,
                        const struct undo_message *m, struct undo_target *to, struct choice *c) {
    int r;

    c->chosen++;
    if (m->elsewhere && !c->args->all && c->args->n_operands < 2) {
        c->elsewhere++;
        return;
    }
    r = undo_restore(set, box, m, to);
    if (r == 0)
        c->restored++;
    else if (r == -EEXIST)
        c->already++;
    else
        c->failed++;
    if (r < 0 && r != -EEXIST)
        fprintf(stderr, "mailfsctl: %s: %s: %s\n", box->path, m->name, log_strerror(r));
}

static void restore_box(const struct undo_set *set, const struct undo_mailbox *box,
                        struct choice *c) {
    struct undo_target to;
    size_t n = 0;
    int r;

    for (size_t i = 0; i < box->n; i++)
        n += is_meant(c, &box->msgs[i]);
    if (n == 0)
        return;
    r = undo_target_open(c->volume->mount, box->path, &box->msgs[0].st, &to);
    if (r < 0) {
        fprintf(stderr, "mailfsctl: %s/%s: %s\n", c->volume->mount, box->path, log_strerror(r));
        c->failed += n;
        return;
    }
    /* The oldest first: so they get their UIDs. */
    for (size_t i = box->n; i-- > 0;)
        if (is_meant(c, &box->msgs[i]))
            restore_one(set, box, &box->msgs[i], &to, c);
    undo_target_close(&to);
}

static int print_result(const struct choice *c) {
    char count[HUMAN_MAX];

    printf("%s put back\n", human_count(c->restored, "message", "messages", count));
    if (c->already > 0)
        printf("%s been put back before\n",
               human_count(c->already, "message had", "messages had", count));
    if (c->elsewhere > 0)
        printf("%s left out: moved, or still in another mailbox (--all takes them too)\n",
               human_count(c->elsewhere, "message was", "messages were", count));
    if (c->chosen == 0)
        fprintf(stderr, "mailfsctl: nothing is kept of that (undelete --list shows what is)\n");
    return c->failed > 0 || c->chosen == 0 ? CTL_FAILED : CTL_DONE;
}

/* ---- the command -------------------------------------------------------------------- */

static int undelete(struct choice *c) {
    struct undo_set set;
    int r = undo_set_read(c->volume, &set);

    if (r < 0) {
        fprintf(stderr, "mailfsctl: %s: %s\n", c->volume->store,
                r == -ENOENT ? "nothing has been kept yet (see `keep` in mailfs.conf(5))"
                             : log_strerror(r));
        return CTL_FAILED;
    }
    for (size_t i = 0; i < set.n; i++) {
        if (!is_meant_box(c, &set.boxes[i]))
            continue;
        if (c->args->list)
            list_box(&set, &set.boxes[i], c);
        else
            restore_box(&set, &set.boxes[i], c);
    }
    undo_set_free(&set);
    if (!c->args->list)
        return print_result(c);
    if (c->chosen == 0)
        fprintf(stderr, "mailfsctl: nothing is kept%s%s\n", c->path ? " of " : "",
                c->path ? c->path : "");
    return CTL_DONE;
}

static int usage(const char *what) {
    fprintf(stderr, "mailfsctl: undelete: %s\n", what);
    return CTL_USAGE;
}

int command_undelete(const struct ctl_args *args) {
    char path[PATH_MAX];
    struct choice c = {.args = args, .since = INT64_MIN};

    c.volume = command_volume(args);
    if (!c.volume)
        return CTL_USAGE;
    if (args->since && undo_time_parse(args->since, (int64_t)time(NULL), &c.since) != 0)
        return usage("--since takes a time, as in 2h, 3d, \"2026-11-28 14:05\"");
    if (args->n_operands == 0 && !args->list)
        return usage("a MAILBOX, please: its path below the mount (--list shows which)");
    if (args->n_operands > 0 && mailbox_path(c.volume, args->operands[0], path) != 0)
        return usage("MAILBOX is a path below the mount");
    c.path = args->n_operands > 0 ? path : NULL;
    if (!args->list && adopt_is_mounted(c.volume->mount) != 1) {
        fprintf(stderr, "mailfsctl: nothing is mounted at %s: start mailfs first\n",
                c.volume->mount);
        return CTL_FAILED;
    }
    return undelete(&c);
}
