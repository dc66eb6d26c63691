#ifndef TESTS_UNSYNCED_H
#define TESTS_UNSYNCED_H

/*
 * Which files hold what was not synced. The power cuts of io_fault.h take back a name that was not
 * synced; a file system may as well keep it, and lose what is in the file. So: what gets a name in
 * a mailbox, or in kept/, was synced before. Operations of a table for io_ops_set().
 */

#include <stdbool.h>
#include <sys/types.h>

#define UNSYNCED_MAX 32

extern unsigned n_unsynced; /* set to 0 to begin; at most UNSYNCED_MAX */

void watch(void); /* with all of these; until io_ops_set(&io_ops_real) */
ssize_t watched_pwrite(int fd, const void *data, size_t n, off_t off);
int watched_fsync(int fd);
int watched_syncfs(int fd);
int watched_rename(int fromdir, const char *from, int todir, const char *to, unsigned flags);

bool is_named(const char *to); /* in a mailbox, or in kept/ */
void is_synced(int dirfd, const char *name);

#endif
