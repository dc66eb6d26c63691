#ifndef TOOLS_SNAPSHOT_H
#define TOOLS_SNAPSHOT_H

/*
 * The parts of `mailfsctl snapshot`: STORE/.mailfs/snapshots/NAME, a tree like the store's in which
 * messages are further names of the same files and all other files are copies.
 *
 * Nobody is held up while it is made. At every instant the store is such that a power cut leaves
 * mailboxes Dovecot takes as they are: a message's file is there before its line in the uidlist. So
 * it is enough to look at the messages first and at the uidlist after them, until nothing has
 * changed in between (snapshot_box.c).
 */

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "conf/conf.h"

#define SNAPSHOT_NAME_MAX 64

/* ---- taking ------------------------------------------------------------------------- */

/* One that is being made. */
struct snapshot_take {
    int64_t since; /* when that began; what changed later is copied once more */
    uint64_t mailboxes, messages, files;
    const volatile sig_atomic_t *stop; /* ends it with -ECANCELED when it becomes true */
    char *where; /* PATH_MAX bytes: what an error was about, below the store */
};

/*
 * Brings `into` to what the store is now; into is empty, or was brought there before. Returns 0 or
 * -errno with t->where; what has been made stays.
 */
int snapshot_take_tree(struct snapshot_take *t, int store, int into);

/* The same for new/, cur/, dovecot-keywords and dovecot-uidlist of one mailbox. */
int snapshot_take_mailbox(struct snapshot_take *t, int live, int into);

/* Copies a regular file, or a symbolic link, with owner, mode and time. What is there goes.
 * -ENOENT: it is not there (any more). Not synced. */
int snapshot_copy(int from, int to, const char *name);

/* Gives a directory the mode, owner and time of another. */
int snapshot_dress(int fd, const struct stat *like);

/* ---- those there are ---------------------------------------------------------------- */

struct snapshots {
    int store;
    int fd; /* of .mailfs/snapshots, locked; -1: there has never been one */
};

/* What is known of one. */
struct snapshot_info {
    int64_t at; /* when it was complete, wall clock, seconds */
    uint64_t mailboxes, messages;
};

/* May a snapshot be called so? Letters, digits, - _ . ; the first no dot. */
bool snapshot_name_is_good(const char *name);

/*
 * Opens and locks (-EBUSY: another mailfsctl has it), and clears away what was begun and not
 * finished. make: the directory is made. 0 or -errno.
 */
int snapshots_open(const struct conf_volume *v, bool make, struct snapshots *out);
void snapshots_close(struct snapshots *s);

/* -EEXIST: the name is taken. After any error nothing is left of it. t->where as above. */
int snapshot_create(struct snapshots *s, const char *name, struct snapshot_take *t);

/* -EBUSY: it is mounted. */
int snapshot_remove(struct snapshots *s, const char *name);

/* Mounts it, read-only, at a directory. 0 or -errno. */
int snapshot_mount(struct snapshots *s, const char *name, const char *dir);

/* 0 or -errno. Figures that are not known are 0. */
int snapshot_read_info(struct snapshots *s, const char *name, struct snapshot_info *out);

#endif
