#ifndef SYNCD_STATE_INT_H
#define SYNCD_STATE_INT_H

/* What the modules of the disk side share and the driver does not see. */

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <uthash.h>

#include "state.h"
#include "io/db.h"
#include "io/life.h"
#include "io/marks.h"
#include "util/buf.h"

/* Tables of STATE/base. The first KV_TABLES have keys that begin with a container's id and go
 * through the layers in memory; the others are written directly. */
enum table {
    T_CONT,
    T_MSGS,
    T_FILES,
    T_PREPOF,
    KV_TABLES,
    T_META = KV_TABLES,
    T_JOURNAL,
    T_PREPS,
    T_END
};

struct kv_entry {
    UT_hash_handle hh;
    void *val; /* NULL: deleted */
    size_t nval;
    unsigned refs;    /* layer `sent`: transactions on their way that touch it */
    bool transparent; /* holds only refs: look below */
    size_t nkey;
    uint8_t key[]; /* table, then the key */
};

struct kv_cont {
    UT_hash_handle hh;
    struct mailfs_id id;
    struct kv_entry *entries;
};

struct kv_layer {
    struct kv_cont *conts;
    size_t bytes;
};

#define STAGE_NAME_MAX 256 /* a name in stage/, with its NUL */

/* A journal entry not yet removed: contents it holds in the stage. */
struct jentry {
    UT_hash_handle hh;
    uint64_t id;
    bool tried; /* to apply it, whether all of it could be or not */
    bool applied;
    struct mailfs_id dir;
    char **names; /* of stage items */
    size_t n_names;
    struct stage_prep *published; /* here, of what it adds: what is noted of these goes with it */
    size_t n_published;
};

/* Is it on disk? See stage_later.c. */
enum stage_item_later { STAGE_ITEM_SURE, STAGE_ITEM_LATER, STAGE_ITEM_SYNCING };

/* A content in the stage. */
struct stage_item {
    UT_hash_handle hh;
    char *file;    /* name in stage/; also of what is gone */
    unsigned refs; /* journal entries */
    bool used;     /* a journal entry referred to it */
    bool gone;     /* the peer has it no more: there is no file */
    bool is_prep;
    bool homeless;               /* to be published, but its mailbox was not there */
    bool unwanted;               /* dropped while it was being published */
    bool loose;                  /* not known to be on disk: it is in loose_items, */
    bool syncing;                /* or in syncing_items */
    enum stage_item_later later; /* of one that was fetched, and nobody counts on yet */
    bool unsure; /* prepared, and here when a sync failed: only to be published, if need be */
    struct stage_item *next, *prev; /* of loose_items; of what was dropped */
    int64_t noted;                  /* seconds, CLOCK_MONOTONIC, */
    uint64_t link;                  /* and in which connection: stage_link */
    uint64_t incarnation, seq;
    struct mailfs_id dir;
    struct mailfs_id parent; /* of dir, when it came: who gets it when dir is gone */
    uint64_t size;           /* as announced; 0: not known */
    char *tmp_name;
    char key[]; /* "p-<incarnation>-<seq>" or the file's name */
};

/* The beginning of a content: stage_part.c. */
struct stage_part {
    UT_hash_handle hh;
    uint64_t size;
    time_t written;
    char file[STAGE_NAME_MAX]; /* in stage/ */
    char key[STAGE_NAME_MAX];
};

/* The uidlist of a container as it was last looked at: all of it is in the sent view. */
struct ulcache {
    UT_hash_handle hh;
    struct mailfs_id dir;
    ino_t ino;
    off_t size; /* up to the last whole line */
    struct timespec mtime;
    uint32_t v, n;
    struct timespec kw_mtime; /* of dovecot-keywords */
    ino_t kw_ino;
};

/* recent.c: what is known since the last checkpoint, in a file that outlives syncd. */
struct recent {
    pthread_mutex_t mutex;
    char life[IO_LIFE_MAX]; /* of the store's file system; "": not known */
    bool whole;             /* at the start nothing was missing, or had been at one cut short */
    atomic_bool lost;       /* there should be a file, and is none: see recent_is_lost() */
    int fd;                 /* -1: none */
    uint64_t generation;    /* of the base it follows upon */
    size_t size;
    size_t apart; /* up to here the disk has room for it */
};

/* A container that was marked at the start: its base may lack what was acknowledged. */
struct lacking {
    UT_hash_handle hh;
    struct mailfs_id dir;
    bool cut;       /* see base_was_cut() */
    bool lost_uids; /* see base_lost_uids() */
    bool noted;     /* with the base */
    struct put_back *put_back;
};

struct pend {
    UT_hash_handle hh;
    uint64_t bytes, wall_ns;
    uint8_t key[]; /* id, base */
};

struct state {
    pthread_mutex_t mutex;
    pthread_mutex_t checkpoint; /* one at a time */
    pthread_mutex_t settling;   /* of what was fetched: stage_settle_all() */
    pthread_mutex_t syncing;    /* of the stage: likewise, so that nobody passes one under way */
    pthread_mutex_t sync_mutex; /* of state_sync.c: these */
    pthread_cond_t sync_ended;
    uint64_t syncs_begun, syncs_done;
    bool sync_runs;
    int sync_error;       /* the last */
    unsigned sync_errors; /* how many; this one under the mutex, and */
    bool sync_lost;       /* one of them was not for want of room */
    char *store_path, *node, *peer;
    int root; /* O_RDONLY: also what file handles are opened with */
    dev_t dev;
    ino_t root_ino;
    bool read_only;              /* mail in the store is others' alone */
    struct state *main;          /* of a one-way link: the volume's own */
    int home;                    /* .mailfs */
    int own, stage, kept, trash; /* the same, or the link's part of it, and its directories */
    int undo;                    /* .mailfs/undo; -1: nothing was ever kept */
    bool undo_keeps;             /* what is removed goes there */
    struct db *db;
    struct marks *marks;
    struct kv_layer sent, proposed, agreed, frozen;
    struct recent recent;
    struct jentry *journal;
    uint64_t journal_next;
    struct stage_item *items;
    struct stage_part *parts;
    bool stage_whole;                 /* no power cut has left less there than was fetched */
    bool stage_dirty;                 /* names in stage/ not yet fsynced */
    bool stage_loose;                 /* nobody knows of which contents, either */
    struct stage_item *loose_items;   /* prepared, and not fsynced (commit = memory, async) */
    struct stage_item *syncing_items; /* likewise, by the one who has `syncing` */
    unsigned stage_pins;              /* linked there since the last sync */
    unsigned stage_errors;            /* sync_errors then; under `syncing` */
    uint64_t stage_doubts;            /* how often stage_drop_unsure() was called */
    uint64_t stage_number;
    _Atomic uint64_t stage_link; /* the connection with the peer, or the next one; 0: none yet */
    struct ulcache *uidlists;
    struct lacking *lacking;
    struct alias *aliases;
    unsigned alias_ms; /* ALIAS_MS; for tests */
    struct half *halves;
    uint64_t life;         /* of this opening, random (Listing.life) */
    struct unread *unread; /* see unread.h */
    bool unread_news;      /* some of it has not been told */
    struct gone *gone;     /* see base_gone.c */
    struct moved *moved;   /* see base_moved.c */
    struct holds *holds;   /* of a volume (hold.h); NULL: nothing is held */
    unsigned look_ms;      /* LOOK_INSIDE_MS; for tests: see scan_tree_look_inside() */
    bool tree_lacks;       /* the base of the directory tree: the same; */
    bool tree_undone;      /* since it could not follow the peer's */
    struct pend *pending;
    uint64_t pending_bytes, pending_count;
    bool had_contact, met;
    uint64_t followed; /* state_set_followed(): the term and one; 0: of none */
    bool keep_removed; /* from contact, or a difference found, until everything is merged */
    uint64_t keep_turn;
    bool lost;           /* the base, at the start: see state_start */
    bool first;          /* the start: there was no state */
    int64_t keep_since;  /* so: since then, wall clock, seconds */
    bool kept_some;      /* kept/ may hold what is for the administrator; see merge_kept() */
    uint64_t generation; /* of the base in the database; see checkpoint() */
    char last_error[STATE_ERROR_MAX];
    struct said *said;
};

/* While the trees are compared nobody gets L: well below every timeout. */
#define LOOK_INSIDE_MS 1000

static inline void state_lock(struct state *st) {
    pthread_mutex_lock(&st->mutex);
}

static inline void state_unlock(struct state *st) {
    pthread_mutex_unlock(&st->mutex);
}

/* Logs, once (said.h), keeps for state_last_error(), returns err. */
int state_fail(struct state *st, int err, const struct mailfs_id *dir, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The same of what happens once, and is no other's error: each time. */
void state_tell(struct state *st, const struct mailfs_id *dir, const char *what);

/* ---- state_identity.c -------------------------------------------------------------- */

/* At the start. The base may be forgotten; -EUCLEAN: it is of another version. */
int state_check_identity(struct state *st, struct state_start *start);
int state_check_format(struct state *st);
/* What a start has found lost is so for the next one, too, until it is over. Durable; the file of
 * recent.c is not begun before. */
int state_start_begin(struct state *st);
/* Was syncd killed in one? Then what it had found lost is in st->lost, st->first. */
bool state_start_goes_on(struct state *st);
/* The store's copy of the number of a checkpoint; durable. */
int state_write_generation(struct state *st, uint64_t gen);

/* Adds to a list of invalidations (NULL: nowhere). Without memory the container becomes `all`. */
struct inval *inval_of(struct invals *iv, const struct mailfs_id *dir);
void inval_add(struct invals *iv, const struct mailfs_id *dir, int sub, const char *old_name,
               const char *name, bool content);
void inval_poke(struct invals *iv, const struct mailfs_id *dir, int sub);
void inval_moved(struct invals *iv, const struct mailfs_id *dir, const struct mailfs_id *id,
                 const char *old_name, const char *name);
/* The directory of this name below dir has another id, in its place. */
void inval_renumbered(struct invals *iv, const struct mailfs_id *dir,
                      const struct mailfs_id *former, const struct mailfs_id *id, const char *name);

void pending_free(struct state *st);
/* Puts back what was cut short in .mailfs/trash. -EAGAIN: something could not be, and must not be
 * taken for removed. While nothing else of the volume runs. */
int tree_recover(struct state *st);
/* At open: removes what is half made or half removed there. */
int tree_sweep(struct state *st);

/* ---- state_sync.c ------------------------------------------------------------------ */

/* How many syncs of the store have failed: for state_sync(), before anything is written. */
unsigned state_sync_errors(struct state *st);
/* What the caller has written to the store is durable. An error if one of the syncs since then has
 * failed, this one or another thread's: what was lost may be the caller's. */
int state_sync(struct state *st, unsigned since);
/* All that was ever written is: for the base, which says so. -EIO for good once something was lost.
 */
int state_sync_whole(struct state *st);

/* ---- kv.c: sorted tables with layers in memory ------------------------------------- */

enum kv_view { KV_AGREED, KV_SENT, KV_PROPOSED };

/* *val is malloc'ed with a NUL behind; free it. -ENOENT. */
int kv_get(struct state *st, enum kv_view view, enum table t, const void *key, size_t nkey,
           void **val, size_t *nval);
/* val NULL: delete. Copies. */
int kv_put(struct state *st, enum kv_view view, enum table t, const void *key, size_t nkey,
           const void *val, size_t nval);
struct kv_item {
    enum table t;
    const void *key;
    size_t nkey;
    const void *val;
    size_t nval;
};
/* The same of all of them at once: no checkpoint takes one without the others. */
int kv_put_all(struct state *st, enum kv_view view, const struct kv_item *items, size_t n);
/* Layer sent: one more, or one less, transaction touches this key. */
int kv_touch(struct state *st, enum table t, const void *key, size_t nkey);
void kv_untouch(struct state *st, enum table t, const void *key, size_t nkey);
/* All keys of one container (id NULL: of all; not in the view KV_SENT) in order; key without the
 * table. */
typedef int kv_fn(void *arg, const uint8_t *key, size_t nkey, const void *val, size_t nval);
int kv_each(struct state *st, enum kv_view view, enum table t, const struct mailfs_id *id,
            kv_fn *fn, void *arg);
/* Has the layer `agreed` a value of this table? */
bool kv_has_unwritten(struct state *st, enum table t);
/* What is proposed for a container: is there something? It becomes agreed, or is forgotten. */
bool kv_proposes(struct state *st, const struct mailfs_id *id);
int kv_accept(struct state *st, const struct mailfs_id *id);
void kv_refuse(struct state *st, const struct mailfs_id *id);
/* Nothing of the container is on its way. */
void kv_forget_sent(struct state *st, const struct mailfs_id *id);
void kv_layer_clear(struct kv_layer *l);
/* Everything of `from` over `to`; from is empty then. */
int kv_layer_move(struct kv_layer *to, struct kv_layer *from);
/* Writes a layer into the database. */
int kv_layer_write(const struct kv_layer *l, struct db_txn *txn);

/* ---- stage*.c ---------------------------------------------------------------------- */

int stage_load(struct state *st); /* at open: what lies in stage/ */
void stage_free(struct state *st);
/* Name in stage/ of a fetched content. */
void stage_fetch_name(const struct mailfs_id *dir, int sub, const char *name,
                      char out[STAGE_NAME_MAX]);
void stage_prep_key(uint64_t incarnation, uint64_t seq, char out[STAGE_NAME_MAX]);
/* A name in stage/ for something that is not finished: removed there at a start. */
#define STAGE_TEMP_MAX 32
void stage_temp_name(struct state *st, char out[STAGE_TEMP_MAX]);
/* Under the mutex. NULL: not there. */
struct stage_item *stage_find(struct state *st, const char *key);
void stage_item_free(struct state *st, struct stage_item *it);
/* Links an open file into the stage under a fetched content's name. Durable after stage_sync(). */
int stage_pin(struct state *st, int fd, const char *file);
/* At the start, with the mutex: a half that was left. False: of no use, the file is the caller's.
 */
bool stage_part_load(struct state *st, const char *file);
/* ... of a prepared content, whose item is freed if it is kept. */
bool stage_part_load_prep(struct state *st, struct stage_item *it);
void stage_part_name(uint64_t number, const char *key, char out[STAGE_NAME_MAX]);
void stage_parts_free(struct state *st);
/* Notes a content of this key. Under no lock. */
int stage_note(struct state *st, const char *key, const char *file, bool gone);
/* The same, under the mutex. NULL: no memory, or no such name. */
struct stage_item *stage_item_note(struct state *st, const char *key, const char *file, bool gone);
/* Under the mutex. It has not been fsynced. */
void stage_note_loose(struct state *st, struct stage_item *it);
/* Contents by their keys, those only that may not be on disk. */
struct stage_keys {
    char (*v)[STAGE_NAME_MAX];
    size_t n;
};
bool stage_is_unsynced(struct state *st, const char *key);
int stage_keys_add_unsynced(struct state *st, struct stage_keys *k, const char *key);
void stage_keys_free(struct stage_keys *k); /* leaves it empty */
/* They are durable: waits for no other's disk work, unless something of it is about one of them.
 * After an error as stage_sync(), stage_settle_all(). */
int stage_settle_keys(struct state *st, const struct stage_keys *k);
/* What was staged before is durable, names and contents. */
int stage_sync(struct state *st);
/* Notes that a content of this name will not come. */
int stage_note_gone(struct state *st, const char *file);
/* What was staged with STAGE_LATER, before a journal entry counts on it: has its own name, and is
 * durable after stage_sync(). 0 also for any other content. */
int stage_settle(struct state *st, const char *key);
/* After a failed sync, under the mutex: what the kernel could not write may be lost, and a second
 * sync would not say so. All that was fetched, or prepared, and no journal entry refers to, is
 * fetched again. For stage_unlink(). */
struct stage_item *stage_drop_unsure(struct state *st);
/* Without the mutex: removes the files of what was dropped. NULL: nothing was. */
void stage_unlink(struct state *st, struct stage_item *dropped);
/* From the stage to its name in a mailbox. -EEXIST: something has that name; the content stays.
 * -ENOENT, -ESTALE as stage_lookup(). meta may be NULL. */
int stage_place(struct state *st, const char *key, const Mfp__Meta *meta, int dirfd,
                const char *name);
/* Removes a content that has got its name, unless a journal entry refers to it. */
void stage_release(struct state *st, const char *key);
/* What was fetched for a merge of a container that is there no more. */
void stage_drop_fetched(struct state *st, const struct mailfs_id *dir);
/* What a prepared content was published as, or was about to be. */
struct stage_pub {
    struct mailfs_id dir;
    char name[STAGE_NAME_MAX];
    uint64_t incarnation, seq;
    bool done; /* it was there, durably: if it is not any more, it was removed */
};
/* All in this container, NULL: in any; by name, malloc'ed, sorted. */
int stage_published_in(struct state *st, const struct mailfs_id *dir, struct stage_pub **v,
                       size_t *n);
/* One that is noted as about to be published, without having been noted as published: did it have
 * the name, and was expunged? 1: yes. */
int stage_was_expunged(struct state *st, const struct stage_pub *pub);
/* Copies the item's file name. 0, -ENOENT, -ESTALE when gone. */
int stage_lookup(struct state *st, const char *key, char file[STAGE_NAME_MAX]);
/* 0, or -ENOENT: neither. */
int stage_published(struct state *st, uint64_t incarnation, uint64_t seq, struct stage_pub *pub);
/* Forgets it: it has got its final name. What the stage could not let go when it was published is
 * not published again. */
int stage_unpublish(struct state *st, uint64_t incarnation, uint64_t seq);
/* In the checkpoint's commit: marks the items of these entries as used up, and forgets what of
 * theirs was published. */
int stage_checkpoint_write(struct state *st, struct db_txn *txn, const struct jentry *const *v,
                           size_t n);
/* After it: gives up their references and removes what nobody refers to. */
void stage_checkpoint_done(struct state *st, const struct jentry *const *v, size_t n);

/* ---- content.c --------------------------------------------------------------------- */

/* Keys of the stage items a transaction needs, malloc'ed strings in a malloc'ed array. */
int content_keys(struct state *st, const Mfp__Txn *txn, char ***keys, size_t *n);
void content_keys_free(char **keys, size_t n);
/* Is what is staged under this key the content of that state (a file changes, its name does not)?
 */
bool content_is(struct state *st, const char *key, const Mfp__FileState *now);
/* Does this operation bring a message that was not there? */
bool content_op_adds(const Mfp__OpMsg *op);
/* Was the delivery that its origin names here published in dir when that was gone, or about to be?
 * As *pub. */
bool content_published(struct state *st, const struct mailfs_id *dir, const Mfp__OpMsg *op,
                       struct stage_pub *pub);
/* All that were, of a transaction's, malloc'ed. */
int content_published_of(struct state *st, const Mfp__Txn *txn, struct stage_prep **v, size_t *n);
/* File name in stage/ of an added message: 0, -ENOENT, -ESTALE when the peer has it no more. */
int content_item(struct state *st, const struct mailfs_id *dir, const Mfp__OpMsg *op,
                 char file[STAGE_NAME_MAX]);

/* ---- collect_control.c ------------------------------------------------------------- */

/* The uidlist with this stat, up to size, is known to the peer (or came from it): next UID n. */
void collect_note_uidlist(struct state *st, const struct mailfs_id *dir, const struct stat *sb,
                          off_t size, uint32_t v, uint32_t n);
/* Is the file as it was noted? */
bool collect_note_matches(struct state *st, const struct mailfs_id *dir, const struct stat *sb,
                          uint32_t *v, uint32_t *n);
/* dir NULL: all. */
void collect_forget_notes(struct state *st, const struct mailfs_id *dir);

/* ---- journal.c --------------------------------------------------------------------- */

int journal_load(struct state *st);
void journal_free(struct state *st);
/* Under the mutex: applied entries, malloc'ed array of pointers into the table. */
int journal_take_applied(struct state *st, struct jentry ***v, size_t *n);
bool journal_has_applied(const struct state *st);
int journal_delete(struct db_txn *txn, uint64_t id);
void journal_forget(struct state *st, struct jentry *e);
/* So it was in an earlier life of syncd, whose journal may have had an entry of that number. */
void journal_was_applied(struct state *st, uint64_t id);
/* It has been applied as far as it could be. */
void journal_tried(struct state *st, uint64_t id);
/* The container has been merged: the entries that were tried have nothing to say any more. */
void journal_settled(struct state *st, const struct mailfs_id *dir);

#endif
