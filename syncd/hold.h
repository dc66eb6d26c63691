#ifndef SYNCD_HOLD_H
#define SYNCD_HOLD_H

/*
 * What the brake holds back: mailboxes of which so much was removed on this node that it is not
 * told to the others, until somebody says that it was meant (brake.h).
 *
 * In such a tree (the topmost mailbox and all below it, or the volume) what the base has and the
 * store has not counts as there: it is no removal in a transaction, nor in a listing; what another
 * node does to it moves the base only; its directories, when they are removed, are made again,
 * empty. All else goes on as in any mailbox: both nodes have one base, and the tokens move. When
 * the tree is held no longer, what is missing then is a removal like any other, and the merge takes
 * it to the others.
 *
 * One table for each volume, in its state; one-way links ask that. Any thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "maildir/name.h"
#include "util/id.h"

/* When so many trees are held the next one holds the volume. */
#define HOLD_TREES_MAX 1000

struct state;
struct invals;
struct tree_result;
struct holds;

/* A tree that was seen to be held since the last hold_trips(); or that has another id now. */
struct hold_trip {
    struct mailfs_id tree;
    char *path; /* below the store; NULL: */
    struct mailfs_id was;
    uint64_t removed, present;
    int64_t since; /* the first that went */
};

/* percent: see brake_trips(). Without this nothing of the volume is ever held. */
int hold_open(struct state *st, unsigned percent);
void hold_close(struct state *st);

void hold_set(struct state *st, const struct mailfs_id *tree, bool held);
/* What went of it up to then was meant; what was counted is forgotten. */
void hold_meant(struct state *st, const struct mailfs_id *tree, int64_t until);

/* Two directories have become one: what was held under the one id is held under the other. */
void hold_alias(struct state *st, const struct mailfs_id *old, const struct mailfs_id *now);

/* Is it, or anything above it, held? */
bool hold_covers(struct state *st, const struct mailfs_id *dir);
/* The same, or is something below it held: may the directory not go? */
bool hold_keeps_dir(struct state *st, const struct mailfs_id *dir);

/* Is it worth while to count? */
bool hold_counts(struct state *st);
/* A message of that name was removed by somebody here, and is nowhere else (it lies in
 * .mailfs/undo). */
bool hold_is_gone(struct state *st, const struct mailfs_id *dir, const char *name);
/* So many went in dir, by somebody here, and nobody has been told yet. If it is too much, its tree
 * is held from now on. */
void hold_removed(struct state *st, const struct mailfs_id *dir, uint32_t n);
/* Before a contact: what went and was not told, while there was no contact, or no syncd. For each
 * state of the volume; a worker's. */
int hold_look(struct state *st);
/* Of the volume as a whole, what is not of trees that are held; a worker's, now and then: it may
 * have to count all messages. */
void hold_weigh_volume(struct state *st);

/* malloc'ed, with its paths. */
size_t hold_trips(struct state *st, struct hold_trip **out);

/* ---- hold_dirs.c ------------------------------------------------------------------- */

/* A directory that may not go has gone, or a part of it. */
void hold_dir_gone(struct state *st, const struct mailfs_id *dir);
bool hold_dirs_due(struct state *st);
/* Makes them again. While nothing else of the volume runs. *ids, malloc'ed: of those made. After an
 * error (-EEXIST, -ENOTEMPTY: the name is taken) some are still due. */
int hold_make_dirs(struct state *st, struct invals *inval, struct mailfs_id **ids, size_t *n);
/* The same of one, with what is above it. 1: it was made. */
int hold_make_dir(struct state *st, const struct mailfs_id *dir, struct invals *inval);

/* After a merge of full listings: a held directory that neither side listed, as its place is taken
 * here (made anew), and there has got the id of that one, is no longer in the base. */
int hold_tree_merged(struct state *st, const struct tree_result *result);

/* ---- hold_kept.c ------------------------------------------------------------------- */

/* What .mailfs/undo keeps of dir: a descriptor. -ENOENT: nothing. */
int hold_kept_dir(struct state *st, const struct mailfs_id *dir);
/* The name that a message has in it, perhaps that of hint. -ENOENT. */
int hold_kept_find(int kept, const char *base, const char *hint, char name[MAILDIR_NAME_MAX + 1]);

/* ---- hold_end.c -------------------------------------------------------------------- */

/* The mailboxes of n trees that lack something of the base, or of which something is kept in
 * .mailfs/undo, with the number of their tree; one that is in two trees comes for either. Reads all
 * directories of the trees, once. */
typedef int hold_box_fn(void *arg, size_t tree, const struct mailfs_id *box);
int hold_boxes(struct state *st, const struct mailfs_id *trees, size_t n, hold_box_fn *fn,
               void *arg);
/* What went of one since then is put back under its old name. *n: how many. What the base has and
 * is not kept here is left to the peer, to be brought by the next merge. In its lane. */
int hold_put_back(struct state *st, const struct mailfs_id *dir, int64_t since,
                  struct invals *inval, uint64_t *n);

#endif
