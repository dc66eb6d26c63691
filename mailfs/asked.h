#ifndef MAILFS_ASKED_H
#define MAILFS_ASKED_H

/*
 * Attributes of new/ and cur/ that the kernel may be about to take in.
 *
 * The kernel checks permission at every step of a path, so a lifetime of 0 for them costs a request
 * for each of Dovecot's calls. But with a lifetime, a GETATTR that is under way during a rename
 * leaves the mtime from before it in the kernel's cache, and Dovecot would take that for "nothing
 * has changed". So they live for a second; and whoever changes a directory's names while another
 * thread's answer about it may still be on its way makes the kernel throw that answer away
 * (FUSE_NOTIFY_INVAL_INODE: a reply to what was asked before it is not taken in). A thread's own
 * question has been answered when it makes a change.
 *
 * What remains: an answer that lies about in the kernel for two seconds before the asker takes it
 * in is believed for one; and a stat(2) at the very moment in which the kernel takes in another
 * thread's answer can see the time that was there before, once.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct inode;

struct asked {
    _Atomic uint64_t last;   /* milliseconds << 22 | thread, of who asked last */
    _Atomic uint64_t others; /* milliseconds, when the last of all others did */
};

/* As if somebody had asked just now: the worker before this one may have been about to answer. */
void asked_init(struct asked *a);

/* `thread` is about to be answered: call it before looking. true: this is a new/ or cur/, and the
 * answer may live for LIFETIME_SHORT. */
bool asked_now(struct inode *dir, pid_t thread);

/* `thread` has changed its names, and has not been answered yet. */
void asked_changed(struct inode *dir, pid_t thread);

#endif
