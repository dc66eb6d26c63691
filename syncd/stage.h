#ifndef SYNCD_STAGE_H
#define SYNCD_STAGE_H

/*
 * Contents that came from the peer and have no name in a mailbox yet: STORE/.mailfs/stage/.
 *
 * A prepared content is known by its prep id; a fetched one by (container, name) of what it is for:
 * a base name for messages, a file name for sub SELF. The staged inode becomes the message: it has
 * its owner, mode and mtime from the beginning.
 *
 *   p-<incarnation>-<seq>-<container>-<its parent>-<size>-<tmp name>
 *   f-<container>-<hash of sub class and name>
 *   h-<number>-<p-... or f-..., cut>                  being written, or the half that has come
 *   t-<number>                                        of others, being written
 */

#include "io/hash.h"
#include "state.h"

struct stage_prep {
    uint64_t incarnation, seq;
};

struct stage_file; /* being written; one thread at a time */

/* meta: owner, mode, mtime to be; may be NULL. -EINVAL: a name that may not be. -ENOSPC. */
int stage_begin_prep(struct state *st, const struct stage_prep *prep, const struct mailfs_id *dir,
                     const char *tmp_name, const Mfp__Meta *meta, struct stage_file **f);
/* name: base name (sub NEW or CUR) or file name (SELF). symlink: content is its target, else NULL.
 */
int stage_begin_fetch(struct state *st, const struct mailfs_id *dir, int sub, const char *name,
                      const Mfp__Meta *meta, const char *symlink, struct stage_file **f);
/* offset must be what was written so far (-EINVAL). */
int stage_write(struct stage_file *f, uint64_t offset, const void *p, size_t n);
/*
 * f is gone, also on error. With STAGE_LATER a merge of more than 16 messages syncs the file system
 * twice, where each message had two fsyncs.
 */
enum stage_how {
    STAGE_LOOSE,   /* it has its name, and is not synced (commit = memory, async) */
    STAGE_DURABLE, /* file and name are, before 0 */
    STAGE_LATER,   /* fetched: neither, until somebody takes it: see stage_later.c */
};
int stage_commit(struct stage_file *f, enum stage_how how);
void stage_abandon(struct stage_file *f); /* NULL is allowed */

/* All that was fetched is durable: before any of it gets a name in a mailbox, since a power cut
 * must not leave one that is cut short. After an error it is gone, and has to be fetched again. */
int stage_settle_all(struct state *st);
/* And all that was prepared (commit = memory, async). */
int stage_make_durable(struct state *st);
/* The same at an orderly stop: a later life finds it, after a reboot as well. */
int stage_keep_fetched(struct state *st);

/* The link was cut: what has been fetched is kept for the merges of the next connection, and goes
 * when these did without (stage_drop_idle()). */
void stage_link_ended(struct state *st);
/* This was staged for a connection that had ended by then. */
void stage_came_late(struct state *st, const struct mailfs_id *dir, int sub, const char *name);
/* When all is merged: fetched contents that nobody came for, of merges that were put off, or broken
 * off with an earlier connection, and then did without. */
void stage_drop_idle(struct state *st);

/*
 * The link was cut: what has come is kept, if it is worth it, for stage_resume() of this life or a
 * later one. f is gone. NULL is allowed.
 */
#define STAGE_PART_MIN (1u << 20)
void stage_keep_part(struct stage_file *f);

/*
 * As stage_begin_fetch(), with the first *have bytes there already, which have that hash: they have
 * come as part of it, or of the delivery `prep` (seq 0: none). -ENOENT: nothing has. Reads it all.
 */
int stage_resume(struct state *st, const struct mailfs_id *dir, int sub, const char *name,
                 const struct stage_prep *prep, struct stage_file **f, uint64_t *have,
                 uint8_t sha256[IO_HASH_BYTES]);
int stage_resume_as(struct stage_file *f, const Mfp__Meta *meta); /* NULL is allowed */

/* An open file without a name in the store's file system, or -errno. */
int stage_scratch(struct state *st);

/* Room is wanted: what was kept of halves goes. How many that were. */
unsigned stage_parts_drop(struct state *st);

bool stage_has_prep(struct state *st, const struct stage_prep *prep);
/* Was it prepared in this mailbox, or is it not here? A copy of a message, in another mailbox,
 * bears the same number. */
bool stage_prep_is_of(struct state *st, const struct stage_prep *prep, const struct mailfs_id *dir);
/* Aborted by its origin. Something the journal refers to stays until the entry goes; what is being
 * published is published, or goes when it could not be. */
int stage_drop(struct state *st, const struct stage_prep *prep);

/*
 * The origin is gone: gives it a name in new/ of its mailbox (or in the nearest container that
 * still is there), remembers what it was published as, marks the container with generation gen. 0;
 * 1: not published: used up already, or aborted. -EBUSY: a transaction refers to it, which may not
 * get into the journal. iv may be NULL.
 */
int stage_publish(struct state *st, const struct stage_prep *prep, uint64_t gen, struct invals *iv);

/* Again those whose mailbox was not there: it may have come with the merge of the trees. */
void stage_publish_homeless(struct state *st, struct invals *iv);
/* Nothing is left to merge, and it has not come: to .mailfs/kept/, for the administrator. */
void stage_keep_homeless(struct state *st);

/* At the start, after the replay: every prepared content that nothing refers to, malloc'ed. The
 * caller publishes each. Used ones and fragments, and what a power cut has torn, have been dropped;
 * what was fetched stays, but after a power cut. */
int stage_leftovers(struct state *st, struct stage_prep **preps, size_t *n);

#endif
