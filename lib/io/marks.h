#ifndef MAILFS_IO_MARKS_H
#define MAILFS_IO_MARKS_H

/*
 * The marks: which containers may differ from what both nodes last agreed on. An environment of its
 * own (STATE/marks), which mailfs writes and syncd reads and clears; both may have it open.
 *
 * A mark is durable before the first change of its container since its generation began. The
 * generation is a number that only grows; it is kept here, too, so that a mailfs that starts anew
 * never marks under an older one than it has promised (GenReached, local.proto).
 *
 * Rules: a container has at most one mark, of the highest generation it was marked under. Whoever
 * clears marks up to a generation must have started a later one and have mailfs' answer.
 *
 * Format, byte by byte (big-endian):
 *   table "marks": key   16 bytes container id
 *                  value u8 version (1), u64 generation, u8 handle length, u8 handle type,
 *                        handle bytes, then the path below the store, without NUL (a hint)
 *   table "meta":  key "generation", value u64
 *
 * Any thread. Errors: negative errno; -ENOENT where said; -EUCLEAN: a record is not of this format.
 */

#include <stddef.h>
#include <stdint.h>

#include "io/handle.h"
#include "util/id.h"

#define MARKS_PATH_MAX 1024 /* longer hints are cut at the front */

struct marks;

struct mark {
    struct mailfs_id dir;
    uint64_t gen;
    struct io_handle handle; /* len 0: unknown */
    const char *path;        /* "" : the root, or unknown */
};

/* state_dir must exist; "marks" in it is made, 0700. */
int marks_open(const char *state_dir, struct marks **out);
void marks_close(struct marks *m); /* NULL is allowed */

/*
 * Durable when 0 is returned: all n of them in one commit. A mark that is there already under the
 * same or a higher generation stays as it is, and when that goes for all of them nothing is
 * written.
 */
int marks_put(struct marks *m, const struct mark *mark, size_t n);

/*
 * Deletes those of gen <= upto; the others, marked anew meanwhile, stay. One commit; unknown ids
 * are fine.
 */
int marks_clear(struct marks *m, const struct mailfs_id *dirs, size_t n, uint64_t upto);

/*
 * Calls fn for each, in order of the ids, on one snapshot; stops at a result other than 0 and
 * returns it. The mark is valid during the call. fn must not call into m.
 */
int marks_each(struct marks *m, int (*fn)(const struct mark *mark, void *arg), void *arg);

int marks_count(struct marks *m, uint64_t *n);

/* The generation new marks carry: 1 if none was ever begun. */
int marks_generation(struct marks *m, uint64_t *gen);

/* Raises it, durably; a lower or equal number changes nothing. */
int marks_generation_raise(struct marks *m, uint64_t gen);

#endif
