#ifndef SYNCD_STAGE_PRIVATE_H
#define SYNCD_STAGE_PRIVATE_H

/* What the files stage*.c share. Nobody else includes this. */

#include <inttypes.h>
#include <sys/stat.h>

#include "io/hash.h"
#include "stage.h"
#include "state_int.h"

struct stage_file {
    struct state *st;
    struct mailfs_id dir;
    unsigned errors; /* of syncs, when it was begun: state_sync_errors() */
    int fd;          /* -1: a symbolic link */
    uint64_t written;
    char name[STAGE_NAME_MAX]; /* that it has: h- while it is being written, or `file` */
    char file[STAGE_NAME_MAX];
    char key[STAGE_NAME_MAX];
    bool sized, has_meta;   /* sized: the name says how long it is */
    bool direct;            /* made under its name */
    struct io_hasher *hash; /* of a message; NULL of others */
    uint32_t mode, uid, gid;
    int64_t mtime_ns;
};

/* For what is fetched: its names; nothing is made. NULL: no memory, or a name that may not be
 * (*err). */
struct stage_file *stage_file_for(struct state *st, const struct mailfs_id *dir, int sub,
                                  const char *name, int *err);

/* While it is being written: h-<number>-<key>. */
void stage_name_part(struct stage_file *f);
void stage_set_meta(struct stage_file *f, const Mfp__Meta *meta); /* NULL is allowed */
/* In the place of a prepared content `file`, with all that sb says of it. */
int stage_begin_again(struct state *st, const char *key, const char *file, const struct stat *sb,
                      struct stage_file **f);
/* Before its last byte. */
int stage_set_owner(struct stage_file *f);

/* Under the mutex. NULL: no memory, or no such name. */
struct stage_item *stage_item_add(struct state *st, const char *key, const char *file);
/* It stays under the name it was written with, until it is wanted. -EBUSY: somebody counts on the
 * one that is here, so it takes that one's place only when it is durable. -EIO: a sync has failed
 * since it was begun. */
int stage_note_later(struct stage_file *f);
/*
 * Files to be synced. An fsync takes about a millisecond on a busy disk: of more than there is room
 * for, one sync of the file system is faster.
 */
#define STAGE_SYNCED_ALONE 16
struct stage_names {
    char v[STAGE_SYNCED_ALONE][STAGE_NAME_MAX];
    size_t n;        /* may be more */
    unsigned errors; /* they were begun after so many: see state_sync() */
};
void stage_names_add(struct stage_names *l, const char *file);
/* What they hold is durable. */
int stage_sync_names(struct state *st, const struct stage_names *l);

/* With the mutex `syncing`: what stage_sync() does, */
int stage_sync_loose(struct state *st);
/* and its parts. Under the mutex: off the list, and what became of all that were taken off it;
 * returns what is to be given to stage_unlink(). */
void stage_take_loose(struct state *st, struct stage_item *it);
struct stage_item *stage_loose_taken(struct state *st, int err);

/* CLOCK_MONOTONIC: of stage_item.noted. */
int64_t stage_seconds(void);
/* One that was just fetched may be for a transaction that is not in the journal yet; nothing is
 * fetched for so long that then is of use. */
#define STAGE_IDLE_SECONDS 600

#define STAGE_TEMP "t-%" PRIu64
/* What was fetched is durable: made by stage_keep_fetched(), gone from the start on. */
#define STAGE_WHOLE "whole"
/* At the start, before anything is staged or read there: was it there? */
int stage_take_vouched(struct state *st);

/* Under the mutex: it is the caller's, for stage_item_delete(). */
void stage_item_take(struct state *st, struct stage_item *it);
void stage_item_delete(struct stage_item *it);

/* Under the mutex: nobody finds it any more. Its file goes with stage_unlink(*dropped), after the
 * mutex was given up: whoever wants that does not wait for the disk. */
void stage_item_drop(struct state *st, struct stage_item *it, struct stage_item **dropped);

/* ---- stage_named.c ----------------------------------------------------------------- */

/* A record of the table `preps` that says what was published. */
struct stage_record {
    uint8_t key[16];
    struct mailfs_id dir;
    char name[STAGE_NAME_MAX];
    bool del;
    bool used; /* it is used up, and its file may be there still */
    bool done; /* its name in new/ is durable */
};

void stage_record_key(uint64_t incarnation, uint64_t seq, uint8_t key[16]);
int stage_record_write(struct db_txn *txn, void *arg); /* arg: struct stage_record */
/* The order of stage_published_in(). */
int stage_pub_cmp(const void *a, const void *b);
bool stage_is_same_file(int dir, const char *name, int stage, const char *file);
bool stage_has_links(struct state *st, const char *file); /* another name, anywhere */
/* It has a name somewhere, and is not said to be published: a merge had given it that name, and was
 * not finished; with the base the records of what was used up are gone; or it was about to be
 * published. */
bool stage_is_linked(struct state *st, uint64_t incarnation, uint64_t seq, const char *file);
/* 1: its mailbox has it, under a name that is on the disk, and not the one noted for it. */
int stage_is_there_already(struct state *st, const struct stage_prep *prep,
                           const struct mailfs_id *id, const char *file);
/* 1: it has the name that was noted for it, which is on the disk, or had it, and was expunged; by
 * whom that was noted was killed then, or met an error of the disk. pub->dir: its mailbox's id now.
 */
int stage_is_half_published(struct state *st, struct stage_pub *pub, const char *file);
/* Of a linked one, at a start: has the message itself got its name, and not the one noted for it?
 */
bool stage_used_before(struct state *st, const struct stage_prep *prep, const struct mailfs_id *id,
                       const char *file);

/* ---- stage_publish.c --------------------------------------------------------------- */

/* Reserves the item. 0; 1: nothing to publish; -EBUSY: the journal refers to it. */
int stage_take(struct state *st, const char *key, struct mailfs_id *dir, struct mailfs_id *parent,
               char file[STAGE_NAME_MAX], char tmp[STAGE_NAME_MAX]);
/* What became of what was taken. err 0: the item is freed. */
void stage_taken(struct state *st, const char *key, int err);

typedef bool stage_pick_fn(struct state *st, const struct stage_item *it); /* under the mutex */

/* Malloc'ed. NULL: no memory. */
struct stage_prep *stage_pick(struct state *st, stage_pick_fn *fn, size_t *n);

#endif
