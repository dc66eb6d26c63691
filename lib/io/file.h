#ifndef MAILFS_IO_FILE_H
#define MAILFS_IO_FILE_H

/*
 * Whole small files: the one module for reading one into memory and for replacing one atomically.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

/* How the new file is to look, and where it is made. Zero-initialise; then set what matters. */
struct io_file_attr {
    mode_t mode; /* permission bits; 0: 0600 */
    uid_t uid;   /* (uid_t)-1, or 0 with set_owner false: left alone */
    gid_t gid;
    int set_owner; /* uid and gid are meant */
    int set_mtime; /* mtime is meant (atime is set alike) */
    struct timespec mtime;
    int has_tmpdir; /* the temporary file is made in tmpdir instead of dirfd: same filesystem! */
    int tmpdir;
    int (*go_on)(void); /* asked when all but the rename is done; an error ends it. May be NULL */
    int no_dirsync;     /* the caller syncs the directory itself (a batch) */
    /* Asked when the new file is durable, of what has the name then; and once more, as `keep` in
     * keepdir, when it has lost its name, since a program can write another one in between. An
     * error ends it, and what was there has its name again. May be NULL. */
    int (*may_replace)(void *arg, int dirfd, const char *name);
    void *arg;
    /* With may_replace: a free name in a directory that nobody clears, of the same filesystem. What
     * is not to be replaced and cannot have its name back, or has it not when the machine dies,
     * stays there. */
    int keepdir;
    const char *keep;
};

/*
 * name in dirfd becomes a new inode with exactly these bytes, or stays what it was.
 *
 * Order: O_EXCL temporary file (".mailfs-" and 16 hex digits), write, attributes, fsync, rename,
 * fsync of dirfd. A failure before the rename leaves the old file and no temporary one (unless the
 * machine dies: io_file_is_temp() tells such a name, and who owns the directory removes it). When
 * only the last fsync fails the new file *is* in place, but may be gone after a power cut: the
 * caller sees the error and must treat the content as either.
 * attr may be NULL. 0 or -errno: -ENOSPC, -EDQUOT, -EIO, ...
 */
int io_file_replace_at(int dirfd, const char *name, const void *p, size_t n,
                       const struct io_file_attr *attr);

/*
 * The last step by itself: temp in tmpdir takes the name, if attr lets it. -ESTALE: what has the
 * name came, or went, in that moment. temp is gone, also after an error; after one `keep` may be
 * there, which is what had the name.
 */
int io_file_take_name(int tmpdir, const char *temp, int dirfd, const char *name,
                      const struct io_file_attr *attr);

/* Is this the name of a temporary file of io_file_replace_at()? */
int io_file_is_temp(const char *name);

/*
 * The whole of a regular file: *p is malloc'ed, with a NUL behind its *n bytes; the caller frees
 * it. -EFBIG when it is longer than max, -ENOENT, -EISDIR or -EINVAL for what is no regular file,
 * -ELOOP for a symbolic link. st (may be NULL) is of the very file read.
 */
int io_file_read_at(int dirfd, const char *name, size_t max, char **p, size_t *n, struct stat *st);

/* The same from an open descriptor, from offset 0, without moving its offset. */
int io_file_read_fd(int fd, size_t max, char **p, size_t *n, struct stat *st);

/*
 * Makes every missing directory of an absolute path of the configuration, mode for each. 0 or
 * -errno.
 */
int io_mkdirs(const char *path, mode_t mode);

#endif
