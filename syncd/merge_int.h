#ifndef SYNCD_MERGE_INT_H
#define SYNCD_MERGE_INT_H

/* Shared by the parts of merge_run. Side a of lib/replica/merge is this node, b the peer. */

#include "apply_int.h"
#include "maildir/keywords.h"
#include "merge_run.h"
#include "replica/merge.h"

struct merge_run {
    struct apply a; /* container, store, what to invalidate */
    struct apply_result res;
    const Mfp__Listing *mine, *theirs;
    bool same_base; /* both have one, and it is the same */
    bool both_full;
    unsigned sync_errors; /* before anything was written */
    bool only_base; /* the peer brings nothing: the store has the result, whoever works in it */
    struct maildir_keywords *kw; /* the merged table */
    struct maildir_keywords_remap rm, rt;
    bool letters_moved;          /* messages here have the letters of that table already */
    struct merge_entry *em, *et; /* of mine->msgs and theirs->msgs, in their order; .base can
                                    be another, and there can be more behind them: see
                                    merge_published() */
    size_t n_em, n_et;
    struct merge_result *result;
    struct stage_keys unsynced; /* of the contents that it takes, those not known to be on disk */
    bool told;                  /* why it failed, where that was found */
};

#define MERGE_KEPT_MAX 256
/* A free name in .mailfs/kept/: 'r': until merge_caught_up(), 'l': for good. */
int merge_kept_name(const char *name, char prefix, char kept[MERGE_KEPT_MAX]);
/* Is it there (an 'l')? Then status counts it. */
bool merge_kept_is(struct state *st, const char *kept);
/* Moves a file there, or gives it that name, too. */
int merge_keep(struct state *st, int dirfd, const char *name, char prefix, bool move);
/* merge_msgs.c: what the listings mean */
int merge_keywords_join(struct merge_run *m);
int merge_entries(struct merge_run *m);
/* One message under two names, since one of them was published when its origin was gone. */
int merge_published(struct merge_run *m);

/* merge_apply.c, merge_fits.c: the result to the store and the base */
int merge_contents_ready(struct merge_run *m); /* -ENODATA */
/* What has its name in the mailbox is whole there, also after a power cut: all that the result
 * takes from the stage is durable before the first of it gets one. Mostly it is by now: the mailbox
 * is frozen, and does not wait for what others have staged. */
int merge_contents_sync(struct merge_run *m);
/* 0, or -ESTALE: this merge of a one-way link would give a UID that may have been another message's
 * since this node's listing, or change something here without L. Before anything is put anywhere.
 */
int merge_still_fits(struct merge_run *m);
int merge_apply_msgs(struct merge_run *m);
/* What was fetched for the peer's listing has its name in the mailbox now, or is not wanted. */
void merge_release_staged(struct merge_run *m);
int merge_base_msgs(struct merge_run *m);
/* It stays here as it is. */
bool merge_is_left(const struct merge_item *it);
/* mine->msgs[at] was published, and has another name in the result. */
bool merge_has_new_name(const struct merge_run *m, size_t at);
/* A message's file name in this state. */
int merge_name_of(const char *base, const struct merge_state *s, char out[MAILDIR_NAME_MAX + 1]);

/* merge_unread.c */
/* It stays at the one node that has it, unread. */
bool merge_is_unread(const struct merge_item *it);
/* Before anything is changed: this node's base knows nothing of it any more, durably. */
int merge_unread_begin(struct merge_run *m);
/* What both have now, or none, is told of again; not what cannot be read since it was listed. */
void merge_unread_settled(struct merge_run *m);

/* merge_uidlist.c */
int merge_apply_uidlist(struct merge_run *m);
/* Before any message gets another name: what loses its own to one of the peer's has no UID under it
 * any more, or that one would have it until the list is written. */
int merge_forget_halves(struct merge_run *m);
int merge_drop_records(struct merge_run *m);
/* The fields beside V and N, of which G is the mailbox's own id: those of the side whose V stays,
 * and of two made apart with one V the same on both nodes. */
const char *merge_header(const struct merge_run *m);

/* merge_letters.c */
/* Before the merged table is written: messages get its letters, where that changes what one says.
 */
int merge_letters_move(struct merge_run *m);
/* Is what follows the ':' still what was listed, but for that? */
bool merge_letters_same(const struct merge_run *m, const char *listed, const char *now);

/* merge_files.c */
int merge_apply_keywords(struct merge_run *m);
int merge_apply_subs(struct merge_run *m);
int merge_apply_files(struct merge_run *m);
int merge_apply_subdirs(struct merge_run *m);

#endif
