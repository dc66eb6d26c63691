#ifndef TOOLS_ADOPT_H
#define TOOLS_ADOPT_H

/*
 * The parts of `mailfsctl adopt` and `leave`: what is looked at, and what is written.
 *
 * A check adds what it finds to the report and changes nothing on disk. Errors in the report are
 * reasons not to go on; warnings are not.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "conf/conf.h"
#include "report.h"

struct adopt {
    const struct conf *conf;
    const struct conf_volume *volume;
    const char *dir;            /* absolute, without symbolic links */
    const char *store;          /* where it is to be; without symbolic links if it is there */
    const char *dovecot_config; /* NULL: Dovecot's own default */
    int fd;                     /* of dir, O_RDONLY */
    dev_t dev;
    struct report *report;
    /* counted by adopt_check_tree() */
    uint64_t containers, mailboxes, messages, bytes, files, indexes, tmp_files, linked;
    uint64_t with_uidlist, without_ids, locks;
};

/* ---- looking ------------------------------------------------------------------------ */

/* Who uses the tree: mailfs, syncd, a mount of it, processes with files open below it. */
void adopt_check_running(struct adopt *a);

/* Where it is and where it is to be: file system, extended attributes, file handles, room. After
 * adopt_check_tree(), since what room is needed depends on what there is. */
void adopt_check_place(struct adopt *a);

/* Whether dir can be renamed to `to`, which is not it (adopt_exchange). */
void adopt_check_target(struct adopt *a, const char *to);

/* Every directory, name and uidlist below it. */
void adopt_check_tree(struct adopt *a);

/* What Dovecot's configuration says of where mail, control files and indexes are. */
void adopt_check_dovecot(struct adopt *a);

/* One mailbox: its messages, uidlist and temporary files. fd: the directory; path: below dir, for
 * messages. */
void adopt_check_mailbox(struct adopt *a, int fd, const char *path);

/* ---- writing ------------------------------------------------------------------------ */

/* An id for each directory, no two alike; locks that were left behind go. Synced. May be repeated
 * after an error. 0 or a negative errno with *path = where (static). */
int adopt_write_ids(struct adopt *a, uint64_t *written, uint64_t *locks, const char **path);

/* Takes ids and temporary files of mailfs away, and .mailfs at last. The same. */
int adopt_remove_ids(struct adopt *a, uint64_t *removed, const char **path);

/*
 * The directory `from` gets the name `to`, and an empty directory (mode 0, root's) takes its place;
 * at once and without copying. `to` must not exist or be an empty directory. Missing parents of
 * `to` are made. 0 or a negative errno: nothing has been moved then.
 */
int adopt_exchange(const char *from, const char *to);

/* ---- shared ------------------------------------------------------------------------- */

/* The names in a directory, sorted, without . and .. ; as scandir(3): the caller frees each and the
 * list. Its number or a negative errno. */
struct dirent;
int adopt_list(int fd, struct dirent ***names);
void adopt_list_free(struct dirent **names, int n);

/* Opens the directory `name` in fd, not through a symbolic link. */
int adopt_open_dir(int fd, const char *name);

/* Removes what `name` in fd is, a directory with all that is in it. 0, also when it is not there,
 * or a negative errno. */
int adopt_remove_tree(int fd, const char *name);

/* Is a file system mounted at path? 1, 0, or a negative errno. */
int adopt_is_mounted(const char *path);

/* "a/b" or "b" when a is empty. 0 or -ENAMETOOLONG. */
int adopt_join(char *buf, size_t size, const char *a, const char *b);

#endif
