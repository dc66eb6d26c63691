#ifndef SYNCD_STATE_H
#define SYNCD_STATE_H

/*
 * What a volume keeps on disk, as one object: the store, the base, the journal, the stage and the
 * marks. The modules beside this one (store, base, journal, stage, content, collect, apply, scan,
 * merge_run, tree_run, pending) each work on a struct state.
 *
 * Everything here blocks and is meant for worker threads. Rules for the caller:
 *   - calls that name a container: never two at once for the same container (one lane each);
 *     different containers run side by side;
 *   - journal_append(): one at a time (one lane);
 *   - tree_scan(), tree_merge_run(), state_checkpoint(): the first two only while no call of any
 *     container is running (a barrier); the checkpoint at any time, but one at a time.
 * The state's own mutex guards the tables in memory; it is never held over an fsync, a commit or
 * the reading of a directory.
 *
 * Errors: negative errno. Who finds one logs it once, with the path, and keeps it for
 * state_last_error(). Transactions, listings and trees are whole (all parts joined) unpacked
 * messages of lib/wire, allocated with malloc: free them with mfp__*__free_unpacked(m, NULL).
 * Their sequence, round and "end" fields are the caller's.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/id.h"
#include "io/handle.h"
#include "wire/peer.pb-c.h"
#include "wire/local.pb-c.h"

#define STATE_DIGEST    32
#define STATE_ERROR_MAX 256

struct state;

struct state_config {
    const char *store; /* the store's root */
    const char *dir;   /* STATE: exists, 0700. marks/ and base/ are made in it */
    const char *node;  /* own name */
    const char *peer;  /* NULL: none */
    /* Of a one-way link: the volume's own state, which outlives this one and has the same store.
     * What the link keeps in the store lies in STORE/.mailfs/links/PEER/. */
    struct state *main;
    bool read_only; /* nothing is written to the mail in the store (mode = "watch") */
    bool undo;      /* removed messages are kept for a while */
};

/* What was found at the start. */
struct state_start {
    uint8_t
        store_id[MAILFS_ID_BYTES]; /* of the store, made once, kept in the store and in the state */
    bool had_contact;              /* this store and this peer have had a common base */
    bool met;                      /* they have merged something: UIDs may be common */
    bool lost;      /* store and state do not belong together: the base was forgotten */
    size_t journal; /* transactions to apply again before their containers are served */
};

/*
 * Opens everything; makes STORE/.mailfs/{stage,kept,trash}. -EXDEV: the store is a symbolic link or
 * not a directory of its own; other errors of open, LMDB. Files of the stage that nothing refers to
 * stay until stage_leftovers().
 */
int state_open(const struct state_config *conf, struct state **st, struct state_start *start);
void state_close(struct state *st); /* NULL is allowed. What is not in a checkpoint is forgotten. */

/* The journal has been applied, and stage_leftovers() has looked at what lay in the stage. A syncd
 * that is killed before, in a start after a power cut, is followed by one more such start. Durable.
 */
int state_start_over(struct state *st);
/* A merge of everything with this peer has been completed, or (false) begins from nothing. Durable.
 */
int state_set_contact(struct state *st, bool had);
bool state_had_contact(const struct state *st);
/* Before the first merge with a peer. Durable. */
int state_set_met(struct state *st);
/* Of a one-way link: this node, a standby of that term (role.h), has nothing any more that the
 * other end has not got. Durable. */
int state_set_followed(struct state *st, uint64_t term);
bool state_followed(struct state *st, uint64_t term);
/* The role that this node was known to have last (role.h), a line. Durable. -ENOENT: none. */
#define STATE_ROLE_MAX 256
int state_set_role(struct state *st, const char *line);
int state_role(struct state *st, char line[STATE_ROLE_MAX]);

/*
 * Store synced, then base := what was acknowledged or applied when this was called; journal entries
 * applied by then are gone; marks with a generation below gen of the n containers are gone (those
 * the caller knows to be settled). Contents used by these entries are dropped.
 */
int state_checkpoint(struct state *st, uint64_t gen, const struct mailfs_id *settled, size_t n);

/* Bytes of base kept in memory since the last checkpoint, see CHECKPOINT_DIRTY_BYTES. */
size_t state_dirty_bytes(struct state *st);
/* What is known since the last checkpoint would not outlive a kill (recent_is_lost()). */
bool state_recent_lost(const struct state *st);

/* The last error found by any module; "" if none. buf has STATE_ERROR_MAX bytes. */
void state_last_error(struct state *st, char *buf);

/* The marked containers with a generation below `below` (UINT64_MAX: all), malloc'ed. */
struct state_mark {
    struct mailfs_id dir;
    uint64_t gen;
};
int state_marks(struct state *st, uint64_t below, struct state_mark **marks, size_t *n);
/* Writes a mark (what syncd itself changes while alone, an overdue merge). Durable. */
int state_mark(struct state *st, const struct mailfs_id *dir, uint64_t gen);
/* A container that was found to be changed, by its handle. Durable. */
struct io_handle;
int state_mark_found(struct state *st, const struct mailfs_id *dir, const struct io_handle *handle);
/* The same, only for the link whose state this is. */
int state_mark_own(struct state *st, const struct mailfs_id *dir, uint64_t gen);
/* The generation that new marks carry. */
int state_mark_gen(struct state *st, uint64_t *gen);
/* Raises it: what is marked from now on stays when those marked before go. */
int state_mark_gen_raise(struct state *st, uint64_t gen);
/* Copies marks (all of them, or those of the containers given, sorted by memcmp) to the state of a
 * one-way link, under the generation it has now. Durable. */
int state_marks_copy(struct state *from, struct state *to, const struct mailfs_id *dirs, size_t n);

/* "INBOX path" of a container for logs and status, as far as it is known: ".../user/.Sent". */
const char *state_path(struct state *st, const struct mailfs_id *dir, char *buf, size_t size);

/*
 * What mailfs must forget, and whether to poke: the local protocol's Invalidate without seq. More
 * than INVAL_NAMES_MAX names in one container become `all`.
 */
#define INVAL_NAMES_MAX 512

struct inval_name {
    uint8_t sub;           /* MFL__SUB__* */
    char *old_name, *name; /* either NULL */
    bool content;
};

struct inval {
    struct mailfs_id dir;
    bool all, poke_new, poke_cur;
    bool moved; /* a directory below dir was made, moved or removed: moved_id */
    struct mailfs_id moved_id;
    bool renumbered; /* that one had another id: former_id */
    struct mailfs_id former_id;
    struct inval_name *names;
    size_t n_names;
};

struct invals {
    struct inval *v;
    size_t n;
};

void invals_free(struct invals *iv); /* frees what it holds, leaves it empty */

#endif
