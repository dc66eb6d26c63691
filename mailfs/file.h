#ifndef MAILFS_FILE_H
#define MAILFS_FILE_H

/*
 * Open files: one for each OPEN or CREATE, holding a descriptor of the store's file opened with the
 * caller's flags (O_APPEND too, since the kernel's idea of the size may be old).
 *
 * A file that travels as a whole (control files, sieve scripts, a message written in place) is
 * *dirty* from the first write until syncd has been told: at release, at U, or when the owner of L
 * dies.
 *
 * The handle that the kernel has for it outlives this worker; another one opens the file anew, by
 * its inode, when the handle is first used; what is dirty stays so.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <fcntl.h>

#include "inode.h"

struct spot;

/* What of open(2)'s flags means something on the store: O_DIRECT is the kernel's affair. */
#define FILE_BACKING_FLAGS                                                                         \
    (O_ACCMODE | O_APPEND | O_TRUNC | O_SYNC | O_DSYNC | O_NOATIME | O_NONBLOCK)

struct file {
    struct file *prev, *next; /* of in->files */
    uint64_t fh;              /* its handle in the kernel, keep.h */
    struct inode *in;         /* a reference */
    int fd;
    int refs;
    int flags;
    pid_t pid;    /* thread that opened it */
    bool tracked; /* writes make it dirty */
    bool dirty;
    struct inode *dirty_in; /* the container it is dirty in, a reference */
    struct file *dprev, *dnext;
};

/* Takes over fd; references in. at: where it was opened, or NULL if that is not known. */
struct file *file_new(struct inode *in, int fd, int flags, pid_t pid, const struct spot *at);
void file_unref(struct file *f);

/*
 * Of a handle of the kernel's: borrowed, valid as long as the request is. NULL: it cannot be opened
 * any more: the file was removed while another worker had it open.
 */
struct file *file_of(uint64_t fh);
/* Opens those that were left dirty, so that U finds them. Before there are requests. */
void file_take_over(void);
/* The kernel has closed it: NULL if it was never used here (and is no more). The caller's
 * reference. */
struct file *file_closed(uint64_t fh);
int file_fd(const struct file *f);

/* Any open file of in, with a reference, or NULL. */
struct file *file_borrow(struct inode *in);

/* Has this thread opened it for writing, and not closed it? */
bool file_is_writable_by(struct inode *in, pid_t tid);

/* Within a change of its container: it differs from what was told. */
void file_dirty(struct file *f, struct inode *container);

bool file_is_dirty(struct file *f);

/* Takes it off its list: was it dirty? */
bool file_clean(struct file *f);

/*
 * The next dirty file of this container, taken off the list, with a reference; NULL: none is left.
 * file_told() when it has been told: until then another worker would find it dirty.
 */
struct file *file_next_dirty(struct dir *container);
void file_told(struct file *f);
bool file_dir_is_dirty(struct dir *container);

/* in has got a new name: do writes to its open files count from now on? */
void file_retrack(struct inode *in, const struct spot *at);

#endif
