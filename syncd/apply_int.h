#ifndef SYNCD_APPLY_INT_H
#define SYNCD_APPLY_INT_H

/* Shared by the parts of apply, and with merge_run. */

#include "apply.h"
#include "base.h"
#include "index.h"
#include "state_int.h"
#include "store.h"

struct apply {
    struct state *st;
    struct mailfs_id dir;
    struct store_dir d;
    bool replay;
    bool locked;              /* the transaction was made under L: it may bind UIDs */
    bool beside;              /* other jobs are at work */
    enum replica_raise raise; /* how->raise */
    struct mailfs_id told;    /* as the peer calls it: */
    bool former;              /* by an id that it is about to give up, dir is the one that it has */
    struct index ix;
    bool has_ix;
    bool has_table;                 /* of keywords: the peer's, by this transaction */
    bool has_own_letters;           /* own_letters is known */
    uint32_t own_letters;           /* that only this node has named */
    int64_t size_bytes, size_count; /* for maildirsize */
    struct apply_result *out;
};

/* The parts below: 0: the store has it; APPLY_NOT_DONE: it has not, and nothing can be done about
 * it here (the container is suspect); or an error. */
#define APPLY_NOT_DONE 1

void apply_suspect(struct apply *a, const char *why, const char *name);
void apply_suspect_also(struct apply *a, const struct mailfs_id *id); /* another container */

/* apply_msg.c */
int apply_msg_present(struct apply *a, const Mfp__OpMsg *op);
int apply_msg_remove(struct apply *a, const Mfp__OpMsg *op);
/* Removes a message: into .mailfs/undo/; without that, while there is something to merge or with
 * `hold`, it is kept back. */
int apply_drop(struct state *st, const struct mailfs_id *dir, int dirfd, const char *name,
               bool hold);
int apply_set_meta(struct state *st, int dirfd, const char *name, const Mfp__Meta *meta);

/* apply_twin.c */
/* A message's name becomes another. 1: another message had that, and has one of its own now: the
 * container is to be compared. */
int apply_rename(struct apply *a, int from_sub, const char *from, int sub, const char *name);
/* It is a message of its own from now on, on this node alone: the merge brings it to the other. */
int apply_make_way(struct apply *a, int sub, const char *name);
/* 1: what has the name holds what is staged as `file`. */
int apply_is_message(int dir, const char *name, int stage, const char *file);

/* apply_control.c */
int apply_keywords(struct apply *a, const Mfp__OpKeywords *op);
/* 1: letters mean here what the peer means by them, as far as both have named them. */
int apply_letters_agreed(struct apply *a, uint32_t letters);
struct maildir_keywords;
/* The table of a container; an empty one if it has none. */
int apply_keywords_read(int dirfd, struct maildir_keywords **kw);
int apply_uidlist(struct apply *a, const Mfp__OpUidlist *op);
/* Dovecot's own lock of the file, for reading, changing and replacing it. Waits 2 s at most; false:
 * not taken (stale, or held all the while): go on without. */
bool apply_subs_lock(struct apply *a);
void apply_subs_unlock(struct apply *a);
int apply_lines(struct apply *a, const Mfp__OpLines *op);
int apply_maildirsize(struct apply *a);
/* A control file becomes this text: a new inode, owner and mode of the old one (or of the
 * container), a time in a later second than any it had. */
int apply_write_control(struct apply *a, const char *name, const char *text, size_t n);
/* The uidlist is rewritten, or (append not NULL) grows. Notes its state for collect. */
struct maildir_uidlist;
int apply_write_uidlist(struct apply *a, struct maildir_uidlist *list);

/* Another V than the file had: Dovecot looks at the list again when the times of new/ and cur/ have
 * changed, not before. */
int apply_renumbered(struct apply *a);

/* apply_file.c */
int apply_file(struct apply *a, const Mfp__OpFile *op);
/* name, which files_read() found as `was`, becomes `now`; without a content: from the stage.
 * was NULL: whatever it is. dovecot-uidvalidity: see there. -ESTALE: somebody here was at it
 * meanwhile. */
int apply_put_file(struct apply *a, const char *name, const struct base_file *was,
                   const struct base_file *now, const char *content, size_t n, bool has_content);

/* apply_dir.c */
int apply_dir_make(struct apply *a, const Mfp__OpDirMake *op);
int apply_dir_move(struct apply *a, const Mfp__OpDirMove *op);
int apply_dir_remove(struct apply *a, const Mfp__OpDirRemove *op);
int apply_subdir(struct apply *a, const Mfp__OpSubDir *op);

/* apply_container.c, also for the merge of the trees */
struct new_container {
    const char *name;
    const struct mailfs_id *id;
    bool has_meta;
    uint32_t mode, uid, gid; /* if so */
    uint32_t validity;       /* not 0: with a list of UIDs under this UIDVALIDITY, an empty one */
};
/* Makes a container, out of sight, and gives it its name. -EEXIST. */
int apply_make_container(struct state *st, int parent, const struct new_container *c);
int apply_set_attr(int fd, uint32_t mode, uint32_t uid, uint32_t gid); /* of a directory */
/* Removes a directory and all below it, out of sight. */
int apply_remove_tree(struct state *st, int parent, const char *name);
/* Where an open container is: its parent's id and its name. */
int apply_place_of(struct state *st, int fd, struct mailfs_id *parent, int *parent_fd,
                   char name[MAILDIR_NAME_MAX + 1]);

#endif
