/*
 * cmd_snapshot - mailfsctl snapshot: a read-only view of a volume, for backups
 *
 * Works on the store, whether or not mailfs and syncd run.
 *
 * Diagnostics: "mailfsctl: ..." to stderr. Exit code 1: it could not be done, and nothing is left
 * of it.
 */
#include <errno.h>
#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <json-c/json.h>

#include "adopt.h"
#include "commands.h"
#include "human.h"
#include "snapshot.h"
#include "util/log.h"

struct request {
    const struct ctl_args *args;
    const struct conf_volume *volume;
    struct snapshots there;
    const char *name, *dir; /* NULL: not given */
};

struct action {
    const char *name;
    int operands; /* after the action */
    bool makes;   /* the directory of all snapshots, if need be */
    const char *usage;
    int (*run)(struct request *q);
};

static volatile sig_atomic_t stopped;

static void on_signal(int number) {
    (void)number;
    stopped = 1;
}

static int failed(const struct request *q, int err, const char *why) {
    fprintf(stderr, "mailfsctl: snapshot %s: %s\n", q->name ? q->name : q->volume->name,
            why ? why : log_strerror(err));
    return CTL_FAILED;
}

static int failed_at(const struct request *q, const char *dir, int err) {
    char path[PATH_MAX];

    fprintf(stderr, "mailfsctl: snapshot %s cannot be mounted at %s: %s\n", q->name,
            human_text(dir, path, sizeof(path)), log_strerror(err));
    return CTL_FAILED;
}

/* ---- create ------------------------------------------------------------------------- */

static int explain_create(const struct request *q, const char *where, int err) {
    char path[PATH_MAX];

    if (err == -EEXIST && where[0] == '\0')
        return failed(q, err, "there is one of this name");
    fprintf(stderr, "mailfsctl: snapshot %s: %s/%s: %s; nothing is left of it\n", q->name,
            q->volume->store, human_text(where, path, sizeof(path)),
            err == -ECANCELED ? "interrupted" : log_strerror(err));
    return CTL_FAILED;
}

static int create(struct request *q) {
    struct sigaction sa = {.sa_handler = on_signal};
    char where[PATH_MAX] = "", boxes[HUMAN_MAX], messages[HUMAN_MAX];
    struct snapshot_take t = {.stop = &stopped, .where = where};
    int r;

    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGHUP, &sa, NULL);
    r = snapshot_create(&q->there, q->name, &t);
    if (r < 0)
        return explain_create(q, where, r);
    printf("snapshot %s: %s in %s\n", q->name,
           human_count(t.messages, "message", "messages", messages),
           human_count(t.mailboxes, "mailbox", "mailboxes", boxes));
    return CTL_DONE;
}

/* ---- list --------------------------------------------------------------------------- */

static void print_one(const char *name, const struct snapshot_info *info) {
    char messages[HUMAN_MAX], boxes[HUMAN_MAX], when[32] = "?";
    time_t at = (time_t)info->at;
    struct tm tm;

    if (localtime_r(&at, &tm))
        strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
    printf("%s  %s  %s in %s\n", when, name,
           human_count(info->messages, "message", "messages", messages),
           human_count(info->mailboxes, "mailbox", "mailboxes", boxes));
}

static void add_one(json_object *list, const char *name, const struct snapshot_info *info) {
    json_object *o = json_object_new_object();

    json_object_object_add(o, "name", json_object_new_string(name));
    json_object_object_add(o, "at", json_object_new_int64(info->at));
    json_object_object_add(o, "mailboxes", json_object_new_int64((int64_t)info->mailboxes));
    json_object_object_add(o, "messages", json_object_new_int64((int64_t)info->messages));
    json_object_array_add(list, o);
}

static int list(struct request *q) {
    json_object *doc = json_object_new_array();
    struct dirent **names = NULL;
    struct snapshot_info info;
    int n = q->there.fd < 0 ? 0 : adopt_list(q->there.fd, &names);

    for (int i = 0; i < n; i++) {
        if (snapshot_read_info(&q->there, names[i]->d_name, &info) != 0)
            continue;
        if (q->args->json)
            add_one(doc, names[i]->d_name, &info);
        else
            print_one(names[i]->d_name, &info);
    }
    if (q->args->json)
        printf("%s\n", json_object_to_json_string_ext(doc, JSON_C_TO_STRING_PRETTY));
    json_object_put(doc);
    adopt_list_free(names, n);
    return n < 0 ? failed(q, n, NULL) : CTL_DONE;
}

/* ---- remove, mount ------------------------------------------------------------------ */

static int remove_it(struct request *q) {
    int r = snapshot_remove(&q->there, q->name);

    if (r == -ENOENT)
        return failed(q, r, "there is none of this name");
    if (r == -EBUSY)
        return failed(q, r, "it is mounted: umount it first");
    return r < 0 ? failed(q, r, NULL) : CTL_DONE;
}

static int mount_it(struct request *q) {
    char dir[PATH_MAX];
    int r;

    if (!realpath(q->dir, dir))
        return failed_at(q, q->dir, -errno);
    if (conf_path_within(q->volume->store, dir) ||
        (q->volume->mount[0] && conf_path_within(q->volume->mount, dir)))
        return failed(q, -EINVAL, "not in the volume itself, please");
    r = snapshot_mount(&q->there, q->name, dir);
    if (r == -ENOENT)
        return failed(q, r, "there is none of this name");
    if (r < 0)
        return failed_at(q, dir, r);
    printf("snapshot %s is mounted at %s, read-only; umount it when you are done\n", q->name, dir);
    return CTL_DONE;
}

/* ---- the command -------------------------------------------------------------------- */

static const struct action actions[] = {
    {"create", 1, true, "create NAME", create},
    {"list", 0, false, "list", list},
    {"remove", 1, false, "remove NAME", remove_it},
    {"mount", 2, false, "mount NAME DIR", mount_it},
};

static int usage(const char *what) {
    fprintf(stderr, "mailfsctl: snapshot: %s\n", what);
    return CTL_USAGE;
}

static int usage_of(const struct action *action) {
    fprintf(stderr, "usage: mailfsctl snapshot %s\n", action->usage);
    return CTL_USAGE;
}

static const struct action *find_action(const char *name) {
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
        if (strcmp(actions[i].name, name) == 0)
            return &actions[i];
    return NULL;
}

static int no_store(const struct request *q, int err) {
    fprintf(stderr, "mailfsctl: snapshot: %s: %s\n", q->volume->store,
            err == -ENOENT ? "not set up yet: start mailfs-syncd, once" : log_strerror(err));
    return CTL_FAILED;
}

static int carry_out(const struct action *action, struct request *q) {
    int rc, r = snapshots_open(q->volume, action->makes, &q->there);

    if (r == -EBUSY)
        return failed(q, r, "another mailfsctl snapshot is at work");
    if (r < 0)
        return no_store(q, r);
    rc = action->run(q);
    snapshots_close(&q->there);
    return rc;
}

int command_snapshot(const struct ctl_args *args) {
    const struct action *action = find_action(args->operands[0]);
    struct request q = {.args = args};

    if (!action)
        return usage("create NAME, list, remove NAME, or mount NAME DIR");
    if (args->n_operands != 1 + action->operands)
        return usage_of(action);
    q.name = action->operands > 0 ? args->operands[1] : NULL;
    q.dir = action->operands > 1 ? args->operands[2] : NULL;
    if (q.name && !snapshot_name_is_good(q.name))
        return usage("a NAME is made of letters, digits, - _ . ; the first is no dot");
    q.volume = command_volume(args);
    if (!q.volume)
        return CTL_USAGE;
    return carry_out(action, &q);
}
