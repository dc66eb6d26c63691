#ifndef MAILFS_REQ_H
#define MAILFS_REQ_H

/* Helpers of the callbacks, and their prototypes. */

#include "vol.h"

#include <fuse_lowlevel.h>

#include "change.h"
#include "inode.h"

/*
 * Lifetimes. Long for what changes only through us, or with an invalidation by us. None for the
 * names of the files that Dovecot trusts and that are replaced below the mount while the mailbox
 * directory is locked in the kernel: each look at one by its name is a LOOKUP, and brings the
 * attributes. These live for a second, which saves the questions right after it (an LMTP delivery
 * has 12 GETATTRs less). So do those of maildirsize, to which lines are added below the mount.
 *
 * A second, too, for the attributes of new/ and cur/ when they were asked for (asked.h), otherwise
 * none. Of other directories nobody trusts the mtime that far, but each step of a path asks for
 * their mode: a second bounds the race there. A second, too, for the name of an L that somebody
 * holds. Names that are not there are never cached.
 */
#define LIFETIME_LONG      3600.0
#define LIFETIME_CONTAINER 1.0
#define LIFETIME_SHORT     1.0

double lifetime_attr(const struct inode *in);

/* The reference the caller holds becomes the kernel's; entry_not_taken() if that gets no reply. */
void entry_fill(struct fuse_entry_param *e, struct inode *in, const struct stat *st,
                const struct spot *at);

void entry_not_taken(struct inode *in);

/* r == 0: replies with the entry, giving it the reference to in; else with the error. */
void reply_entry(fuse_req_t req, int r, struct inode *in, const struct stat *st,
                 const struct spot *at);

/* r: 0 or -errno */
void reply_result(fuse_req_t req, int r);

/*
 * What a caller is told of r (0 or -errno) where it may be somebody who delivers: no disk quota.
 * Postfix would bounce the mail, and Dovecot's LMTP refuse it for good (552). It is logged: the
 * caller's own words say nothing of a quota then.
 */
int error_for_now(const struct spot *at, int r);

/* The open file of a request, or NULL after the reply that there is none any more. */
struct file *req_file(fuse_req_t req, const struct fuse_file_info *fi);

/* The calling thread. */
pid_t req_pid(fuse_req_t req);

/* Shared by all who change the names of a directory, and by nobody who lists it. */
void names_begin(struct inode *dir);
/* thread: whose request it was; 0: nobody's, or no names were changed that anybody looks at */
void names_end(struct inode *dir, pid_t thread);

/* The same for one who makes a name: -ENOENT (and nothing begun) when the directory was taken away.
 */
int names_begin_new(struct inode *dir);

/* Returns when all who had begun have ended. */
void names_barrier(struct inode *dir);

/* ---- ops_lookup.c */
void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n);
void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void op_readlink(fuse_req_t req, fuse_ino_t ino);
void op_statfs(fuse_req_t req, fuse_ino_t ino);

/* ---- ops_attr.c */
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int valid,
                struct fuse_file_info *fi);

/* ---- ops_file.c */
void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
               struct fuse_file_info *fi);
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);

/* ---- ops_data.c */
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
              struct fuse_file_info *fi);
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                  struct fuse_file_info *fi);
void op_copy_file_range(fuse_req_t req, fuse_ino_t in, off_t in_off, struct fuse_file_info *in_fi,
                        fuse_ino_t out, off_t out_off, struct fuse_file_info *out_fi, size_t len,
                        int flags);
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi);

/* ---- ops_dir.c */
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);

/* ---- ops_name.c */
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);

/* ---- ops_rename.c */
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
               const char *newname, unsigned flags);

#endif
