/*
 * gone - has a message that is kept in .mailfs/undo no other name but in snapshots?
 *
 * A snapshot has it as it was called then. What mail clients change most between then and the end
 * is looked for: seen, picked up, \Deleted. One of other flags counts as being somewhere else
 * still.
 *
 * No diagnostics.
 */
#include "gone.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "io/io.h"
#include "maildir/class.h"
#include "maildir/name.h"
#include "state_int.h"
#include "store.h"
#include "util/str.h"

struct search {
    const char *path, *name;
    const struct stat *sb;
    int snapshots;
    nlink_t found;
};

static bool is_it(int box, const char *name, const struct stat *sb) {
    struct stat is;

    return fstatat(box, name, &is, AT_SYMLINK_NOFOLLOW) == 0 && is.st_dev == sb->st_dev &&
           is.st_ino == sb->st_ino;
}

static bool is_called(const struct search *s, int box, const char *sub, int len, const char *info) {
    char name[NAME_MAX + 16];

    return str_printf(name, sizeof name, "%s/%.*s%s", sub, len, s->name, info) == 0 &&
           is_it(box, name, s->sb);
}

static bool has_it(const struct search *s, int box) {
    int base = (int)maildir_name_base_len(s->name, strlen(s->name)), len = (int)strlen(s->name);
    bool deleted = len > base && s->name[len - 1] == 'T';

    return is_called(s, box, "cur", len, "") ||
           (deleted && is_called(s, box, "cur", len - 1, "")) ||
           is_called(s, box, "new", base, "") || is_called(s, box, "cur", base, ":2,") ||
           is_called(s, box, "cur", base, ":2,S");
}

static int one_snapshot(void *arg, const char *snapshot, unsigned char type) {
    struct search *s = arg;
    char path[PATH_MAX];
    int fd = -1;

    if (type == DT_DIR && str_printf(path, sizeof path, "%s/%s", snapshot, s->path) == 0)
        fd = io_open_beneath(s->snapshots, path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return 0;
    s->found += has_it(s, fd);
    close(fd);
    return 0;
}

bool gone_is(struct state *st, const char *path, const char *name, const struct stat *sb) {
    struct search s = {.path = path, .name = name, .sb = sb};

    if (sb->st_nlink == 1)
        return true;
    s.snapshots = io_open_beneath(st->home, MAILDIR_SNAPSHOTS_NAME, O_RDONLY | O_DIRECTORY, 0);
    if (s.snapshots < 0)
        return false;
    (void)store_each_name(s.snapshots, one_snapshot, &s);
    close(s.snapshots);
    return s.found + 1 == sb->st_nlink;
}
