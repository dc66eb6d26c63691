#ifndef TESTS_SYNCD_PAIR_H
#define TESTS_SYNCD_PAIR_H

/*
 * Two nodes' disk sides without network or mount: a store and a state each in a temporary
 * directory, something that behaves like a mail client on the store, and the way of a transaction
 * from one to the other. Everything fails the running cmocka test at the first error.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "syncd/state.h"
#include "syncd/apply.h"

struct node {
    char root[64]; /* temporary directory */
    char store[96];
    char state[96];
    char name[16], peer[16];
    struct state *st;
    struct state_start start;
};

struct pair {
    struct node a, b;
};

void stores_open(struct pair *p); /* no mailbox yet; had_contact is set on both */
void stores_close(struct pair *p);
/* As after a power cut, with a store that was synced: what is not in a checkpoint is forgotten. */
void node_reopen(struct node *n);
void node_killed(struct node *n);   /* as after syncd was killed: nothing is forgotten */
void node_lost(struct node *n);     /* its syncd ended, and all it had in STATE is gone */
void node_replay(struct node *n);   /* the journal, to the store; and the start is over */
void node_replaced(struct node *n); /* an empty one is in its place, that has met nobody */

/* ---- a mail client, on the store of a node. rel is relative to the store. ---------------- */

void fs_write(struct node *n, const char *rel, const char *text);
void fs_append(struct node *n, const char *rel, const char *text);
void fs_set_mtime(struct node *n, const char *rel, time_t t);
char *fs_read(struct node *n, const char *rel); /* malloc'ed, NULL if not there */
bool fs_there(struct node *n, const char *rel);
void fs_rename(struct node *n, const char *from, const char *to);
void fs_unlink(struct node *n, const char *rel);
void fs_symlink(struct node *n, const char *target, const char *rel);
void fs_mkdir(struct node *n, const char *rel);
void fs_link(struct node *n, const char *from, const char *to);
struct mailfs_id fs_id(struct node *n, const char *rel); /* of a container; made if it has none */
void fs_copy_id(struct node *n, const char *from, const char *to); /* as cp -a does */

/* ---- what mailfs would have told ------------------------------------------------------------ */

struct acts {
    Mfl__Act *v[1024];
    size_t n;
};
void act_add(struct node *n, struct acts *a, const char *mbox, int sub, const char *name,
             uint64_t prep);
void act_add_link(struct node *n, struct acts *a, const char *mbox, int sub, const char *name,
                  const struct mailfs_id *from, int from_sub, const char *from_name);
void acts_prepared(struct acts *a, uint64_t prep); /* the last one's content, too */
void act_move(struct acts *a, int old_sub, const char *old_name, int sub, const char *name);
void act_remove(struct acts *a, int sub, const char *name);
void act_file(struct acts *a, const char *name);
void act_dir_make(struct node *n, struct acts *a, const char *parent, const char *name);
void act_dir_move(struct acts *a, const struct mailfs_id *id, const char *old_name,
                  const struct mailfs_id *parent, const char *name);
void act_dir_remove(struct acts *a, const struct mailfs_id *id, const char *name,
                    const char *const *bases, size_t n);
void act_subdir(struct acts *a, int sub);
void acts_free(struct acts *a);

/* ---- the way of a transaction ------------------------------------------------------------------
 */

/* The content of a message as prepared by `from` at `to`. */
void stores_prepare(struct node *from, struct node *to, const char *mbox, const char *tmp_name,
                    const char *rel, uint64_t prep);
/* collect; NULL: nothing to tell. */
Mfp__Txn *node_collect(struct node *n, const struct mailfs_id *dir, struct acts *a, bool locked);
/* Over the wire (packed and unpacked), contents fetched, journalled. Returns the journal's number.
 */
uint64_t node_receive(struct node *from, struct node *to, const Mfp__Txn *txn, Mfp__Txn **got);
/* All of it: collect, receive, apply, acknowledge. Returns what apply said of being suspect. */
bool stores_send(struct node *from, struct node *to, const struct mailfs_id *dir, struct acts *a,
                 bool locked);
/* Fetches into the stage of `to` what a listing of `from` says and `to` lacks. */
void stores_stage(struct node *from, struct node *to, const Mfp__Listing *listing);
Mfp__Listing *listing_over_wire(const Mfp__Listing *l);
Mfp__Tree *tree_over_wire(const Mfp__Tree *t);

/* A delivery at a, which b is told; prep 0: not prepared. The mailbox's path is "u". */
void stores_deliver(struct pair *p, const struct mailfs_id *dir, const char *base, const char *text,
                    uint64_t prep);
void stores_checkpoint(struct pair *p); /* on both */

/* Makes a mailbox on `from` and tells `to`. */
struct mailfs_id stores_mailbox(struct node *from, struct node *to, const char *parent,
                                const char *name);

/* Fails unless the two stores hold the same: names, contents, modes, mtimes, link targets, ids. */
void stores_assert_equal(struct pair *p);

#endif
