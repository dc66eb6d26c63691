#ifndef SYNCD_BASE_H
#define SYNCD_BASE_H

/*
 * The base: what both nodes last agreed on, per container, message and file.
 *
 * Three layers, each read through to the one below:
 *   sent    what was sent and not acknowledged (origin's view: "was" of the next transaction)
 *   agreed  acknowledged or applied since the last checkpoint, in memory
 *   disk    LMDB, as of the last checkpoint: never ahead of the store on disk
 *
 * The driver calls only base_acked(), base_forget_sent(), base_digest(). The rest is for the
 * modules beside it.
 */

#include "state.h"
#include "maildir/name.h"

/* The peer has this transaction (RACT_ACKED): it is now in the agreed base. */
int base_acked(struct state *st, const Mfp__Txn *txn);
/* The epoch ended: what was sent and not acknowledged is not agreed, and marks remember it. */
void base_forget_sent(struct state *st);
/* Digest of a container's agreed base, the same on both nodes when the bases are; all zero when
 * there is none. Does not depend on the order in which the base was made. */
int base_digest(struct state *st, const struct mailfs_id *dir, uint8_t digest[STATE_DIGEST]);
/* The same of the directory tree. */
int base_tree_digest(struct state *st, uint8_t digest[STATE_DIGEST]);
int base_tree_digest_now(struct state *st, uint8_t digest[STATE_DIGEST]); /* also before contact */

/* ---- for the modules --------------------------------------------------------------- */

/* PROPOSED: the result of a merge that the peer has not confirmed yet. */
enum base_view { BASE_AGREED, BASE_SENT, BASE_PROPOSED };

/* sub MFP__SUB__SELF: not there. */
struct base_msg {
    uint8_t sub;
    uint32_t uid;
    char info[MAILDIR_NAME_MAX + 1]; /* after the ':', "" if none */
    uint32_t mode, owner, group;
    int64_t mtime_ns;
    uint64_t size;
};

struct base_file {
    uint32_t type; /* S_IFREG, S_IFLNK; 0: not there */
    uint32_t mode, owner, group;
    int64_t mtime_ns;
    uint64_t size;
    uint8_t sha256[32];
    char *link; /* target of a symbolic link, malloc'ed; NULL */
};

struct base_dir {
    struct mailfs_id parent;
    char name[MAILDIR_NAME_MAX + 1];
    uint32_t mode, owner, group;
    uint8_t subdirs; /* bit MFP__SUB__NEW, _CUR, _TMP */
    bool agreed;     /* the peer knows it too (false: only its place here is remembered) */
    bool told;       /* made here; while it is not agreed: the peer may have it all the same */
    bool merged;     /* its contents have been agreed on once: the digest is valid */
    struct io_handle handle; /* len 0: unknown */
};

struct base_uidlist {
    uint32_t v, n;
    char *header_ext; /* malloc'ed, or NULL */
};

/* All: 0, -ENOENT, or an error. *_put with a state that is "not there" removes. */
int base_msg_get(struct state *st, enum base_view view, const struct mailfs_id *dir,
                 const char *name, struct base_msg *out);
int base_msg_put(struct state *st, enum base_view view, const struct mailfs_id *dir,
                 const char *name, const struct base_msg *msg);
int base_file_get(struct state *st, enum base_view view, const struct mailfs_id *dir,
                  const char *name, struct base_file *out); /* base_file_clear() it */
int base_file_put(struct state *st, enum base_view view, const struct mailfs_id *dir,
                  const char *name, const struct base_file *file);
void base_file_clear(struct base_file *file);
int base_dir_get(struct state *st, const struct mailfs_id *dir, struct base_dir *out);
int base_dir_put(struct state *st, const struct mailfs_id *dir, const struct base_dir *rec);
int base_dir_get_in(struct state *st, enum base_view view, const struct mailfs_id *dir,
                    struct base_dir *out);
int base_dir_put_in(struct state *st, enum base_view view, const struct mailfs_id *dir,
                    const struct base_dir *rec);
int base_digest_in(struct state *st, enum base_view view, const struct mailfs_id *dir,
                   uint8_t digest[STATE_DIGEST]);
/* The sum of what the container's messages and files add; zero: nothing has been agreed on. */
int base_sum_get(struct state *st, enum base_view view, const struct mailfs_id *dir,
                 uint8_t sum[STATE_DIGEST]);
/* a += b or a -= b, as numbers of 256 bits (big-endian): the order of what is added is nothing. */
void base_sum_add(uint8_t a[STATE_DIGEST], const uint8_t b[STATE_DIGEST], bool minus);

/* Which of two bases is the later one: counts the transactions that moved it, see
 * replica/base_age.h. 0: none. */
enum base_version_of { BASE_OF_MAILBOX = 'V', BASE_OF_TREE = 'W' /* dir: the root */ };
int base_version_get(struct state *st, enum base_version_of of, const struct mailfs_id *dir,
                     uint64_t *version);
/* As it is listed: with BASE_AGE_LACKS where it applies; 0 only for a tree that could not follow.
 */
int base_version_list(struct state *st, enum base_version_of of, const struct mailfs_id *dir,
                      uint64_t *version);
/* At the start, when what came after the last checkpoint is lost: what is marked then may lack
 * something in its base, until it has been merged. */
int base_lacking_load(struct state *st);
/* Is it one of those after a power cut? Then that it had been merged may be among what is lost. */
bool base_was_cut(struct state *st, const struct mailfs_id *dir);
/* And may an index of Dovecot's have UIDs there that its list has not? Not once the list of this
 * node is above them, which base_lacking_raised() says. Never of a one-way link's. */
bool base_lost_uids(struct state *st, const struct mailfs_id *dir);
int base_lacking_raised(struct state *st, const struct mailfs_id *dir);
int base_lacking_merged(struct state *st, const struct mailfs_id *dir);
/* This message has been put into the store by the journal's replay, and may have been removed here
 * before: after a power cut the base does not say so. Until the mailbox is merged, or syncd ends.
 */
int base_put_back_note(struct state *st, const struct mailfs_id *dir, const char *name);
void base_put_back_forget(struct state *st, const struct mailfs_id *dir, const char *name);
/* Something may have been done that mailfs did not tell: any of them may have come anew. */
void base_put_back_forget_all(struct state *st);
bool base_was_put_back(struct state *st, const struct mailfs_id *dir, const char *name);
/* It has another id: what its base lacks is the same, and which UIDs an index may have. */
int base_lacking_renumber(struct state *st, const struct mailfs_id *former,
                          const struct mailfs_id *now);
int base_lacking_tree_merged(struct state *st); /* nothing else of the volume runs now */
/* What the peer has in its base cannot be applied here; `tree`: of the directory tree. */
int base_lacking_note(struct state *st, const struct mailfs_id *dir, bool tree);
void base_lacking_free(struct state *st);
int base_version_put(struct state *st, enum base_view view, enum base_version_of of,
                     const struct mailfs_id *dir, uint64_t version);
int base_version_next(struct state *st, enum base_version_of of, const struct mailfs_id *dir);
/* The record and, with contents, all messages and files of the container. */
int base_dir_del(struct state *st, const struct mailfs_id *dir);
/* A merge of the trees has removed it here: not in the tree's digest any more, otherwise as before
 * until both nodes have that result (settled) or begin anew (forget). Unlisted: by the peer. One
 * that was told stays until the nodes are in sync, as the peer may have it in its journal. While
 * nothing else of the volume runs. */
int base_gone_note(struct state *st, const struct mailfs_id *dir, bool unlisted);
bool base_gone(const struct state *st, const struct mailfs_id *dir);
int base_gone_settled(struct state *st);
int base_gone_in_sync(struct state *st);
void base_gone_forget(struct state *st);
/* A merge of the trees has moved it in the base; was: the record before. Until both nodes have that
 * result, full listings tell of that place; false: not moved. */
int base_moved_note(struct state *st, const struct mailfs_id *dir, const struct base_dir *was);
bool base_moved_from(struct state *st, const struct mailfs_id *dir, struct mailfs_id *parent,
                     char name[MAILDIR_NAME_MAX + 1]);
void base_moved_settled(struct state *st);
/* A transaction has moved it, or it is gone: the base is right about it. */
void base_moved_forget(struct state *st, const struct mailfs_id *dir);
int base_uidlist_get(struct state *st, enum base_view view, const struct mailfs_id *dir,
                     struct base_uidlist *out); /* free header_ext */
int base_uidlist_put(struct state *st, enum base_view view, const struct mailfs_id *dir,
                     const struct base_uidlist *rec);

enum base_text { BASE_KEYWORDS = 'K', BASE_SUBS = 'S' };
int base_text_get(struct state *st, enum base_view view, const struct mailfs_id *dir,
                  enum base_text which, char **p, size_t *n); /* malloc'ed, NUL behind */
int base_text_put(struct state *st, enum base_view view, const struct mailfs_id *dir,
                  enum base_text which, const char *p, size_t n); /* p NULL: removes */

/* Each of a container (agreed view), in no order. Non-zero from fn ends it and is returned. The
 * records are a copy: fn may change the base. Memory: all of one container's records. */
typedef int base_msg_fn(void *arg, const char *name, const struct base_msg *msg);
typedef int base_file_fn(void *arg, const char *name, const struct base_file *file);
typedef int base_dir_fn(void *arg, const struct mailfs_id *dir, const struct base_dir *rec);
typedef int base_prep_fn(void *arg, const char *name);
int base_each_msg(struct state *st, const struct mailfs_id *dir, base_msg_fn *fn, void *arg);
int base_each_prep(struct state *st, const struct mailfs_id *dir, base_prep_fn *fn, void *arg);
int base_each_file(struct state *st, const struct mailfs_id *dir, base_file_fn *fn, void *arg);
int base_each_dir(struct state *st, base_dir_fn *fn, void *arg); /* all containers but the root */

/* Nothing counts as merged with the peer any more: it is a new one. Durable. While nothing else of
 * the volume runs. */
int base_unmerge(struct state *st);

/* Forgets all messages, files and texts of a container. */
int base_wipe(struct state *st, enum base_view view, const struct mailfs_id *dir);

/*
 * What a transaction makes of the base, and (SENT) that it is on its way. done (NULL: all): which
 * of its operations the store has. What the store has not must not be in the base, or its absence
 * would be taken for a removal; and the base's version is then not raised, so that the peer's is
 * the later.
 */
int base_apply_txn(struct state *st, enum base_view view, const Mfp__Txn *txn, const bool *done);
/* The same of one message that a transaction under way adds, and nothing else of it yet. */
int base_agree_msg(struct state *st, const struct mailfs_id *dir, const Mfp__OpMsg *op,
                   bool locked);

/* Which prepared content a message was added with, until the peer has it. */
struct base_prep {
    uint64_t incarnation, seq;
};
int base_prep_get(struct state *st, const struct mailfs_id *dir, const char *name,
                  struct base_prep *out);
int base_prep_put(struct state *st, enum base_view view, const struct mailfs_id *dir,
                  const char *name, const struct base_prep *prep); /* NULL removes */
/* Is there one that is not on the disk, nor about to be? */
bool base_prep_unwritten(struct state *st);

#endif
