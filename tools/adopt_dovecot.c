/*
 * adopt_dovecot - what Dovecot's own configuration says of mail on a mailfs mount
 *
 * doveconf -n prints what differs from the defaults, which are all right. Of 2.3 the location with
 * its options ("maildir:PATH:INDEX=...:CONTROL=..."), of 2.4 one setting for each.
 *
 * Diagnostics: to the report.
 */
#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "adopt.h"
#include "adopt_kinds.h"
#include "util/str.h"

extern char **environ;

struct dovecot {
    struct adopt *a;
    bool maildir, index; /* mail is in Maildirs; indexes have a place of their own */
};

/* ---- settings ----------------------------------------------------------------------- */

/* A relative path or one with ~ or % at its start depends on the user. */
static void check_path(struct dovecot *d, const char *key, const char *path) {
    if (path[0] == '/' && !conf_path_within(d->a->volume->mount, path))
        report_add(d->a->report, &kind_dovecot_path, NULL, "%s: %s is not below %s", key, path,
                   d->a->volume->mount);
}

static void check_control(struct dovecot *d, const char *key, const char *path) {
    report_add(d->a->report, &kind_dovecot_control, NULL, "%s: %s", key, path);
}

/* "maildir:/srv/mail/%n:INDEX=/var/index/%n" */
static void check_location(struct dovecot *d, const char *key, const char *value) {
    char text[2048], *rest = text, *part;
    bool first = true;

    if (!str_starts(value, "maildir:") || str_copy(text, sizeof(text), value + 8) != 0)
        return;
    d->maildir = true;
    while ((part = strsep(&rest, ":"))) {
        if (first)
            check_path(d, key, part);
        else if (str_starts(part, "CONTROL="))
            check_control(d, key, part);
        else if (str_starts(part, "INDEX="))
            d->index = true;
        first = false;
    }
}

static const struct {
    const char *key, *value, *why;
} unwanted[] = {
    {"mail_fsync", "never", "mail would be acknowledged before it is on any disk"},
    {"maildir_very_dirty_syncs", "yes", "it would not look for what the other node changed"},
    {"dotlock_use_excl", "no", "mailfs could not tell its locks"},
};

static void check_setting(struct dovecot *d, const char *key, const char *value) {
    if (strcmp(key, "mail_location") == 0 || strcmp(key, "location") == 0)
        check_location(d, key, value);
    else if (strcmp(key, "mail_driver") == 0 && strcmp(value, "maildir") == 0)
        d->maildir = true;
    else if (strcmp(key, "mail_path") == 0)
        check_path(d, key, value);
    else if (strcmp(key, "mail_control_path") == 0 && value[0])
        check_control(d, key, value);
    else if (strcmp(key, "mail_index_path") == 0 && value[0])
        d->index = true;
    for (size_t i = 0; i < sizeof(unwanted) / sizeof(unwanted[0]); i++)
        if (strcmp(key, unwanted[i].key) == 0 && strcmp(value, unwanted[i].value) == 0)
            report_add(d->a->report, &kind_dovecot_setting, NULL, "%s = %s: %s", key, value,
                       unwanted[i].why);
}

static void check_line(struct dovecot *d, char *line) {
    char *key = line + strspn(line, " \t"), *value = strstr(key, " =");

    line[strcspn(line, "\n")] = '\0';
    if (key[0] == '#' || !value)
        return;
    *value = '\0';
    value += 2;
    value += strspn(value, " ");
    check_setting(d, key, value);
}

/* ---- doveconf ----------------------------------------------------------------------- */

/* Its output; NULL and *err when it cannot be started. */
static FILE *start_doveconf(const char *config, pid_t *pid, int *err) {
    char prog[] = "doveconf", flag[] = "-n", opt[] = "-c", path[PATH_MAX];
    char *with[] = {prog, opt, path, flag, NULL}, *without[] = {prog, flag, NULL};
    posix_spawn_file_actions_t acts;
    FILE *out = NULL;
    int fds[2];

    if (str_copy(path, sizeof(path), config ? config : "") != 0 || pipe(fds) != 0) {
        *err = ENAMETOOLONG;
        return NULL;
    }
    posix_spawn_file_actions_init(&acts);
    posix_spawn_file_actions_adddup2(&acts, fds[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&acts, fds[0]);
    posix_spawn_file_actions_addclose(&acts, fds[1]);
    *err = posix_spawnp(pid, prog, &acts, NULL, config ? with : without, environ);
    posix_spawn_file_actions_destroy(&acts);
    close(fds[1]);
    if (*err == 0)
        out = fdopen(fds[0], "r");
    if (!out)
        close(fds[0]);
    return out;
}

static void check_conclusions(struct dovecot *d) {
    if (!d->maildir)
        report_add(d->a->report, &kind_dovecot_setting, NULL,
                   "no setting says that mail is in Maildirs; each user's may (userdb)");
    else if (!d->index)
        report_add(d->a->report, &kind_dovecot_setting, NULL,
                   "no INDEX= (2.4: mail_index_path): indexes would be on the mount, and slower");
}

void adopt_check_dovecot(struct adopt *a) {
    struct dovecot d = {.a = a};
    char line[4096];
    int err, status = 0;
    pid_t pid;
    FILE *out = start_doveconf(a->dovecot_config, &pid, &err);

    if (!out) {
        report_add(a->report, &kind_dovecot, NULL, "doveconf: %s", strerror(err));
        return;
    }
    while (fgets(line, sizeof(line), out))
        check_line(&d, line);
    fclose(out);
    if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        check_conclusions(&d);
    else
        report_add(a->report, &kind_dovecot, NULL, "doveconf -n failed");
}
