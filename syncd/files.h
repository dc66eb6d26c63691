#ifndef SYNCD_FILES_H
#define SYNCD_FILES_H

/* The state of a file that is no message: as it is in the store, and as the peer told it. */

#include <sys/stat.h>

#include "base.h"

#define FILES_INLINE_MAX (64u << 10) /* contents up to this travel inside the operation */

/*
 * What `name` in a container is now: *out (base_file_clear() it), type 0 if it is not there or of a
 * kind that is not replicated. With content (may be NULL), a regular file of at most
 * FILES_INLINE_MAX is read too: malloc'ed, NULL if it is larger.
 */
int files_read(int dirfd, const char *name, struct base_file *out, char **content, size_t *n);

/* Likewise; but where the disk does not give what nobody has touched since it was agreed on, it is
 * what was agreed on. */
int files_read_agreed(struct state *st, const struct mailfs_id *dir, int dirfd, const char *name,
                      struct base_file *out, char **content, size_t *n);
/* By stat(2) alone; sb NULL: of a file of which not even that is known. */
void files_from_stat(const struct stat *sb, struct base_file *out);
/* Size, time, mode and owner are these: nobody has written to it. */
bool files_untouched(int dirfd, const char *name, const struct base_file *was);

/* Is it still what files_read() found? By kind, size and time: no content is read. Not where a
 * directory has the name: nothing is to take that one's place. */
bool files_still(int dirfd, const char *name, const struct base_file *found);

/* Nothing to tell between the two (times do not count). */
bool files_same(const struct base_file *a, const struct base_file *b);
void files_from_state(const Mfp__FileState *s, struct base_file *out); /* link is borrowed */

#endif
