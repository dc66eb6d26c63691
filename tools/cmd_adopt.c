/*
 * cmd_adopt - mailfsctl adopt: an existing Maildir tree becomes a volume's store, where it is
 *
 * Nothing is copied and no mail is touched: each directory gets its id, the tree is renamed to the
 * store's place if it is not there, and locks left behind go. All that can fail for want of room
 * comes before the rename.
 *
 * Diagnostics: the report to stdout; "mailfsctl: ..." to stderr. Exit code 1: refused, or cut
 * short.
 */
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
#include "util/log.h"

static void print_counts(const struct adopt *a) {
    char boxes[HUMAN_MAX], messages[HUMAN_MAX], size[HUMAN_MAX], files[HUMAN_MAX];

    printf("%s: %s, %s, %s; %s besides\n", a->dir,
           human_count(a->mailboxes, "mailbox", "mailboxes", boxes),
           human_count(a->messages, "message", "messages", messages), human_bytes(a->bytes, size),
           human_count(a->files, "file", "files", files));
    if (a->linked > 0)
        printf("  %s hard-linked: one file in several mailboxes; so it stays\n",
               human_count(a->linked, "message is", "messages are", messages));
    if (a->tmp_files > 0)
        printf("  %s in tmp: deliveries that were cut off; each node's own, never replicated\n",
               human_count(a->tmp_files, "file", "files", files));
}

static bool moves(const struct adopt *a) {
    return strcmp(a->dir, a->store) != 0;
}

static void print_plan(const struct adopt *a, bool dry_run) {
    char dirs[HUMAN_MAX];
    const char *to = dry_run ? "would " : "";

    printf("%sgive %s an id%s\n", to, human_count(a->without_ids, "directory", "directories", dirs),
           a->without_ids == 0 ? " (they have them)" : "");
    if (moves(a))
        printf("%srename %s to %s, and leave an empty directory in its place\n", to, a->dir,
               a->store);
    if (a->locks > 0)
        printf("%stake away %s left behind\n", to, human_count(a->locks, "lock", "locks", dirs));
}

static void print_next(const struct adopt *a) {
    printf(
        "Next: mailfsctl init (once), start mailfs-syncd and mailfs %s, see mailfsctl status, then "
        "start the mail daemons on %s.\n",
        a->volume->name, a->volume->mount);
}

static json_object *counts_json(const struct adopt *a) {
    const struct {
        const char *name;
        uint64_t n;
    } v[] = {{"directories", a->containers},
             {"mailboxes", a->mailboxes},
             {"messages", a->messages},
             {"bytes", a->bytes},
             {"files", a->files},
             {"tmp_files", a->tmp_files},
             {"hard_linked", a->linked},
             {"without_ids", a->without_ids},
             {"locks", a->locks}};
    json_object *o = json_object_new_object();

    for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++)
        json_object_object_add(o, v[i].name, json_object_new_int64((int64_t)v[i].n));
    return o;
}

static void print_json(const struct adopt *a, bool done) {
    json_object *o = json_object_new_object();

    json_object_object_add(o, "volume", json_object_new_string(a->volume->name));
    json_object_object_add(o, "directory", json_object_new_string(a->dir));
    json_object_object_add(o, "store", json_object_new_string(a->volume->store));
    json_object_object_add(o, "moves", json_object_new_boolean(moves(a)));
    json_object_object_add(o, "counts", counts_json(a));
    json_object_object_add(o, "problems", report_json(a->report));
    json_object_object_add(o, "errors",
                           json_object_new_int64((int64_t)report_count(a->report, REPORT_ERROR)));
    json_object_object_add(o, "done", json_object_new_boolean(done));
    printf("%s\n",
           json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
                                                 JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(o);
}

static int fail(const char *dir, const char *path, int err, const char *state) {
    fprintf(stderr, "mailfsctl: %s%s%s: %s; %s\n", dir, path[0] ? "/" : "", path, log_strerror(err),
            state);
    return CTL_FAILED;
}

static int carry_out(struct adopt *a) {
    uint64_t ids, locks;
    const char *path;
    int r = adopt_write_ids(a, &ids, &locks, &path);

    if (r < 0)
        return fail(a->dir, path, r,
                    "nothing was moved and no mail touched. When that is mended, run it again: it "
                    "goes on where it stopped");
    if (moves(a))
        r = adopt_exchange(a->dir, a->store);
    if (r < 0)
        return fail(a->store, "", r,
                    "see where the mail is now (nothing is lost): it is in one of the two places");
    return CTL_DONE;
}

static void check(struct adopt *a) {
    adopt_check_running(a);
    adopt_check_tree(a);
    adopt_check_place(a);
    adopt_check_dovecot(a);
}

static int adopt(struct adopt *a, const struct ctl_args *args) {
    size_t errors;
    int rc = CTL_DONE;

    check(a);
    errors = report_count(a->report, REPORT_ERROR);
    if (!args->json) {
        print_counts(a);
        report_print(stdout, a->report);
        if (errors == 0)
            print_plan(a, args->dry_run);
    }
    if (errors > 0) {
        rc = CTL_FAILED;
        fprintf(stderr, "mailfsctl: not adopted, nothing was changed: %zu error%s\n", errors,
                errors == 1 ? "" : "s");
    } else if (!args->dry_run) {
        rc = carry_out(a);
    }
    if (args->json)
        print_json(a, rc == CTL_DONE && !args->dry_run);
    else if (rc == CTL_DONE && !args->dry_run)
        print_next(a);
    return rc;
}

int command_adopt(const struct ctl_args *args) {
    char dir[PATH_MAX], store[PATH_MAX];
    struct adopt a = {.conf = args->conf, .dovecot_config = args->dovecot_config, .dir = dir};
    struct stat st;
    int rc;

    a.volume = command_volume(args);
    if (!a.volume)
        return CTL_USAGE;
    if (a.volume->mode == CONF_MODE_WATCH) {
        fprintf(
            stderr,
            "mailfsctl: volume %s is only watched (mode = \"watch\"): its store stays as it is, "
            "nothing is to be adopted\n",
            a.volume->name);
        return CTL_USAGE;
    }
    if (!realpath(args->operands[0], dir))
        return fail(args->operands[0], "", -errno, "nothing was changed");
    a.store = realpath(a.volume->store, store) ? store : a.volume->store;
    a.fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (a.fd < 0 || fstat(a.fd, &st) != 0)
        return fail(dir, "", -errno, "nothing was changed");
    a.dev = st.st_dev;
    a.report = report_new();
    rc = a.report ? adopt(&a, args) : fail(dir, "", -ENOMEM, "nothing was changed");
    report_free(a.report);
    close(a.fd);
    return rc;
}
