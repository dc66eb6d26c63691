/*
 * hold_kept - what is held back lies in .mailfs/undo, and comes from there to a node that is new
 *
 * Both nodes' bases have it, and the other one its file; but for one that has been put in the place
 * of a lost one, and has nothing yet.
 *
 * Diagnostics: none; errors are returned.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "hold_int.h"
#include "io/io.h"
#include "maildir/name.h"
#include "store.h"
#include "util/str.h"

int hold_kept_dir(struct state *st, const struct mailfs_id *dir) {
    char hex[MAILFS_ID_HEX];

    if (st->undo < 0)
        return -ENOENT;
    return io_open_beneath(st->undo, mailfs_id_format(dir, hex), O_RDONLY | O_DIRECTORY, 0);
}

struct find {
    const char *base;
    char *name;
};

/* A damaged copy begins with a dot (lib/io/undo.h), as no message does. */
static int find_name(void *arg, const char *name, unsigned char type) {
    const struct find *f = arg;

    if (*name == '.' || !maildir_name_same_base(name, f->base))
        return 0;
    return str_copy(f->name, MAILDIR_NAME_MAX + 1, name) == 0;
}

int hold_kept_find(int kept, const char *base, const char *hint, char name[MAILDIR_NAME_MAX + 1]) {
    struct find f = {base, name};
    struct stat sb;
    int r;

    if (fstatat(kept, hint, &sb, AT_SYMLINK_NOFOLLOW) == 0)
        return str_copy(name, MAILDIR_NAME_MAX + 1, hint);
    r = store_each_name(kept, find_name, &f);
    return r == 1 ? 0 : r < 0 ? r : -ENOENT;
}
