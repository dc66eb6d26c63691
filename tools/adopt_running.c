/*
 * adopt_running - who uses a tree
 *
 * mailfs holds a lock on STATE/mailfs.lock, syncd answers on STATE/ctl.sock. Others are found by
 * what they have open; who only watches the tree (IMAP IDLE) is not.
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
#include <sys/file.h>
#include <unistd.h>

#include "adopt.h"
#include "adopt_kinds.h"
#include "net/local.h"
#include "query.h"
#include "util/log.h"
#include "util/str.h"

/* mountinfo(5) writes a space as \040 and so on. */
static void unescape(char *s) {
    char *to = s;
    unsigned c;

    for (; *s; s++) {
        if (*s == '\\' && sscanf(s + 1, "%3o", &c) == 1) {
            *to++ = (char)c;
            s += 3;
        } else {
            *to++ = *s;
        }
    }
    *to = '\0';
}

int adopt_is_mounted(const char *path) {
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char line[8192], at[PATH_MAX];
    int found = 0;

    if (!f)
        return -errno;
    while (!found && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%*s %*s %*s %*s %4095s", at) != 1)
            continue;
        unescape(at);
        found = strcmp(at, path) == 0;
    }
    fclose(f);
    return found;
}

static bool is_locked(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool locked = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;

    if (fd >= 0)
        close(fd);
    return locked;
}

static void check_daemons(struct adopt *a) {
    const struct conf_volume *v = a->volume;
    char path[PATH_MAX];
    int fd;

    if (str_printf(path, sizeof(path), "%s/mailfs.lock", v->state) == 0 && is_locked(path))
        report_add(a->report, &kind_running, v->mount, "mailfs serves volume %s", v->name);
    else if (strcmp(v->mount, a->dir) != 0 && adopt_is_mounted(v->mount) == 1)
        report_add(a->report, &kind_running, v->mount, "something is mounted there");
    if (str_printf(path, sizeof(path), "%s/" QUERY_SOCKET, v->state) != 0)
        return;
    fd = local_connect(path);
    if (fd < 0)
        return;
    close(fd);
    report_add(a->report, &kind_running, path, "mailfs-syncd has volume %s", v->name);
}

/* ---- open files --------------------------------------------------------------------- */

static void process_name(const char *pid, char *buf, size_t size) {
    char path[64];
    FILE *f;

    snprintf(buf, size, "process %.16s", pid);
    snprintf(path, sizeof(path), "/proc/%.16s/comm", pid);
    f = fopen(path, "re");
    if (!f)
        return;
    if (fgets(buf, (int)size, f))
        buf[strcspn(buf, "\n")] = '\0';
    fclose(f);
}

/* One that holds something open below the tree is named once. */
static bool report_link(struct adopt *a, const char *pid, const char *link) {
    char target[PATH_MAX], name[64];
    ssize_t n = readlink(link, target, sizeof(target) - 1);

    if (n <= 0)
        return false;
    target[n] = '\0';
    if (!conf_path_within(a->dir, target))
        return false;
    process_name(pid, name, sizeof(name));
    report_add(a->report, &kind_open_file, target, "open in %s (pid %.16s)", name, pid);
    return true;
}

static void check_process(struct adopt *a, const char *pid) {
    char path[300], link[600];
    struct dirent *de;
    DIR *d;

    snprintf(link, sizeof(link), "/proc/%.16s/cwd", pid);
    if (report_link(a, pid, link))
        return;
    snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
    d = opendir(path);
    while (d && (de = readdir(d))) {
        snprintf(link, sizeof(link), "%s/%s", path, de->d_name);
        if (report_link(a, pid, link))
            break;
    }
    if (d)
        closedir(d);
}

static void check_open_files(struct adopt *a) {
    DIR *d = opendir("/proc");
    struct dirent *de;

    while (d && (de = readdir(d))) {
        char *end;
        long pid = strtol(de->d_name, &end, 10);

        if (pid > 0 && *end == '\0' && pid != getpid() && pid != getppid())
            check_process(a, de->d_name);
    }
    if (d)
        closedir(d);
}

void adopt_check_running(struct adopt *a) {
    check_daemons(a);
    check_open_files(a);
}
