/*
 * posix.h: the same operations on the store's own file system and on the mount, compared.
 *
 * A case is a function that works below an empty directory and writes down what it saw: return
 * values as errno names, stat fields, contents. It is run twice, in processes of their own; the two
 * records must be equal. What two file systems may differ in (inode numbers, device, times nobody
 * set) is never written down, only relations between them are.
 */
#ifndef TESTS_POSIX_H
#define TESTS_POSIX_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>

struct posix_case {
    const char *name;
    void (*run)(void); /* the current directory is the case's own, empty, 0755, root's */
};

/* Ends with a nameless case. */
extern const struct posix_case posix_files[];
extern const struct posix_case posix_names[];
extern const struct posix_case posix_attrs[];
extern const struct posix_case posix_dirs[];
extern const struct posix_case posix_procs[];
extern const struct posix_case posix_mail[];

/* One line of the record. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* "what: ok" or "what: ENAME", from a system call's return value; returns the value. */
long did(const char *what, long ret);
/* type, mode, nlink, uid, gid, size of a name, not followed; and its mtime if `mtime`. */
void note_stat(const char *path, bool mtime);
void note_fstat(const char *what, int fd);
/* Content: length and a checksum, and the first bytes where they print. */
void note_content(const char *path);
/* The sorted names of a directory with their types; each name must come once. */
void note_dir(const char *path);

/* Helpers that end the case when they fail: the case is wrong then, or the file system is. */
int must_open(const char *path, int flags, mode_t mode);
void must_write(int fd, const void *data, size_t len);
void make_file(const char *path, const char *content);
void make_mailbox(const char *path);
/* Runs fn in a child as uid/gid with no other groups; notes how it ended. */
void as_user(unsigned uid, unsigned gid, void (*fn)(void));
/* n children at once, each with its number; notes the number that ended well. */
void all_at_once(int n, void (*fn)(int));

#endif
