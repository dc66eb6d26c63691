#ifndef SYNCD_CONTENT_INT_H
#define SYNCD_CONTENT_INT_H

/* Shared by the parts of content. */

#include "content.h"
#include "maildir/name.h"
#include "state_int.h"

/* content.c: what is wanted */
int content_want_add(struct content_wants *w, const struct mailfs_id *dir, int sub,
                     const char *name, uint64_t size);
/* A message; prep: the delivery it was, or NULL. */
int content_want_msg(struct content_wants *w, const struct mailfs_id *dir, const char *base,
                     const Mfp__MsgState *now, const Mfp__Meta *meta, const Mfp__PrepId *prep);

/* content.c: keys of the stage */
/* Has the stage something under this key, that is or can be made durable, and has the peer not said
 * that it is gone? */
bool content_staged(struct state *st, const char *key);
/* Staged, and of that size: not another message of its name (of a round that was put off) or of its
 * number. meta: NULL if it is not known. */
bool content_fits(struct state *st, const char *key, const Mfp__Meta *meta);
/* Does this operation refer to a content that it does not bring along? */
bool content_op_needs_file(const Mfp__OpFile *op);
/* The stage item an added message comes from: what was fetched for it, else the prepared one. */
void content_item_key(struct state *st, const struct mailfs_id *dir, const Mfp__OpMsg *op,
                      char key[STAGE_NAME_MAX]);
/* Was it, for good? What only was about to be may be nowhere but in the stage, and is needed. */
bool content_op_published(struct state *st, const struct mailfs_id *dir, const Mfp__OpMsg *op);

/* content.c: names */
/* A message's name with that info, in out; base itself if there is none, or it makes no name. */
const char *content_full_name(const char *base, const char *info, char out[MAILDIR_NAME_MAX + 1]);
/* Where a message is by the base's record: saves reading the directory. NULL: it says
 * nothing of it. */
const char *content_hint(struct state *st, const struct mailfs_id *dir, const char *base,
                         char out[MAILDIR_NAME_MAX + 1]);

#endif
