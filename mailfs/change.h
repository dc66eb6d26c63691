#ifndef MAILFS_CHANGE_H
#define MAILFS_CHANGE_H

/*
 * Every change of the store is made between change_begin() and change_end(): the marks of the
 * containers it concerns are durable before it, and no new generation of marks begins in its midst.
 * The events that tell syncd of it are queued before change_end().
 *
 * Between the two, nothing waits for syncd; only for the disk. They do not nest.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dir.h"

/* A name in a directory, and what it is. */
struct spot {
    struct where w;
    struct inode *dir; /* borrowed: the directory the name is in */
    const char *name;  /* borrowed */
    enum maildir_class class;
    bool sent; /* the peer is to hear of it, if what has the name is of a type that travels */
};

void spot_make(struct spot *s, struct inode *dir, const char *name);
void spot_done(struct spot *s);

/* Its path below the store, for a line of the log. Returns buf. */
const char *spot_shown(const struct spot *s, char *buf, size_t size);

/* It is our own, and not to be seen in the mount. */
bool spot_hidden(const struct spot *s);

/* May no directory be called so here? What is in it would be on this node only (a user called
 * "new", a folder "a.lock"). -EPERM, logged; or 0. */
int spot_refuses_dir(const struct spot *s);

/* The marks of state_dir. 0 or -errno. */
int change_init(const char *state_dir);
/* The generation that is on disk: when no other worker can begin one any more. */
int change_take_generation(void);
void change_close(void);

/*
 * Marks the containers of those spots that are sent; NULL entries are skipped. 0, or an error of
 * the marks, logged: the change may go on (it is told to syncd if syncd is there), but what can be
 * refused should be, with EAGAIN. Even then change_end() must follow.
 */
int change_begin(const struct spot *const *spots, size_t n);
void change_end(void);

/* For one spot, or NULL. */
int change_begin1(const struct spot *s);

/* Within a change: marks one more container, e.g. a directory that is itself moved. */
int change_mark(struct dir *container);

/* A change that is only the mark itself. */
int change_mark_alone(struct dir *container);

uint64_t change_generation(void);

/*
 * syncd begins a new generation: persists it and returns once no change of an older one is under
 * way and the containers with written, untold files are marked anew. Never from a request's thread.
 */
int change_new_generation(uint64_t gen);

#endif
