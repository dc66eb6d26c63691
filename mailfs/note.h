#ifndef MAILFS_NOTE_H
#define MAILFS_NOTE_H

/*
 * Requests that the kernel sends again, because the worker that had read them died before it
 * answered (FUSE_NOTIFY_RESEND). Most can simply be carried out once more. Those that make, remove
 * or rename a name, or append, cannot: done twice they fail with EEXIST or ENOENT, or do too much.
 * So what is there is noted, where it outlives the worker, before such a request is carried out;
 * and when it comes again, what is there now tells whether it was.
 *
 * That can be told, because the kernel holds the directories' locks (of an append: the file's) from
 * the time of the request to its answer, over the death of a worker too: nobody else changes these
 * names through the mount. Only syncd changes them below it, and it never makes nor removes what a
 * request of this kind asks for under the very same name: names of messages are unique, and L is
 * not its business.
 *
 * A note belongs to the request that the calling thread is at (loop.c).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

enum note_kind { NOTE_NONE, NOTE_MAKE, NOTE_REMOVE, NOTE_RENAME, NOTE_APPEND };

struct note {
    enum note_kind kind;
    uint64_t ino;              /* of what had the name; 0: nothing */
    uint64_t other;            /* of what had the new name */
    uint64_t size;             /* of the file */
    uint32_t dev, mode, nlink; /* of what will be gone */
};

/* Finds what earlier workers noted. Before there are requests. */
void note_init(void);

/* The kernel has been asked to send again; how long ago that was (0: not yet). */
void note_resent(void);
uint64_t note_since_resent_ms(void);

/*
 * How many of the requests that earlier workers noted have not come again. Who gives up waiting for
 * them is told how many there were; they are known on, unless their records are needed.
 */
unsigned note_unclaimed(void);
unsigned note_give_up_unclaimed(void);

/* The calling thread begins with this request; it is done with it. */
void note_request(uint64_t unique);
void note_done(void);

/* The request's number, without the bit that says that it was sent again; and that bit. */
uint64_t note_unique(void);
bool note_is_resent(void);

/* What was noted of this request by an earlier worker: false if it did not come to that. */
bool note_found(enum note_kind kind, struct note *n);

/* Before it is carried out. */
void note_write(const struct note *n);

/* After it: syncd has been told, or need not be. */
void note_told(void);

/* A name is to be made. true: it was, by this very request. Else it is noted. */
bool note_made(int dirfd, const char *name);

/* A name is to be removed; st: what has it. 1: it was (st: what had it); 0: noted; -ENOENT. */
int note_removed(int dirfd, const char *name, struct stat *st);

/* For tests: ends this process if MAILFS_DIE names this point ("POINT" or "POINT:n", the n-th time
 * in this process; only the first worker dies). */
void note_die_at(const char *point);

/* For tests: stops a later worker (SIGSTOP) if MAILFS_STOP names this point. */
void note_stop_at(const char *point);

#endif
