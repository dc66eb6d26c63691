/*
 * xfer_ahead - the next part of a long content that the peer fetches is read, and hashed, before
 * its turn comes
 *
 * By a worker: what is fetched may have lain on the disk for years, and the loop thread would wait
 * for that, and with it all deliveries. A part of each is in memory, of as many as the peer may
 * have open. One is read at a time, so that most of the threads are left to who waits for a sync.
 *
 * Diagnostics: a damaged message.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "mem.h"
#include "volume.h"
#include "xfer_private.h"

#define LANE UINT64_C(0x6168656164786672)

bool xfer_is_read_ahead(const struct xfer_out *o) {
    return o->kind == MFP__BODY__KIND__FETCH && o->fd >= 0;
}

static void ahead_run(void *arg) {
    struct xfer_out *o = arg;
    if (atomic_load(&o->gone)) /* a bad disk takes long; the next connection waits behind it */
        return;
    o->part_len = xfer_out_read(o, o->part);
    if (o->part_len < 0 || o->hash == NULL)
        return;
    io_hasher_add(o->hash, o->part, (size_t)o->part_len);
    if (o->offset + (uint64_t)o->part_len >= o->size)
        o->err = xfer_out_hashed(o);
}

static void ahead_done(void *arg) {
    struct xfer_out *o = arg;
    o->reading = false;
    if (atomic_load(&o->gone)) {
        xfer_out_end(o);
        return;
    }
    o->ready = true;
    if (o->err == -EUCLEAN)
        xfer_tell_damaged(o->x, &o->want.dir, o->want.name);
    xfer_writable(o->x);
}

void xfer_ahead(struct xfer_out *o) {
    o->ready = false;
    if (!xfer_is_read_ahead(o))
        return;
    if (o->part == NULL)
        o->part = mem_new(XFER_PART);
    o->reading = true;
    if (workq_submit(o->x->v->engine->io, LANE, ahead_run, ahead_done, o) != 0)
        mem_out("work queue");
}
