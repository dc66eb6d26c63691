/*
 * replica_queue - the actions that wait for the driver
 *
 * A list in the order of emission. Whoever emits fills in the action through the pointer.
 *
 * Diagnostics: "replica: out of memory" ends the process (see replica.h).
 */
#include "replica/replica_int.h"
#include "util/log.h"

#include <stdlib.h>
#include <string.h>

_Noreturn void replica_no_memory(void) {
    log_error("replica: out of memory");
    abort();
}

void *replica_alloc(size_t size) {
    void *p = calloc(1, size);
    if (p == NULL)
        replica_no_memory();
    return p;
}

struct replica_action *replica_emit(struct replica *r, enum replica_action_kind kind) {
    struct out *o = replica_alloc(sizeof *o);
    o->action.kind = kind;
    DL_APPEND(r->out, o);
    return &o->action;
}

struct replica_action *replica_emit_dir(struct replica *r, enum replica_action_kind kind,
                                        const struct dir *d) {
    struct replica_action *a = replica_emit(r, kind);
    a->dir = d->id;
    return a;
}

struct replica_msg *replica_send(struct replica *r, enum replica_msg_kind kind) {
    struct replica_action *a = replica_emit(r, RACT_SEND);
    a->msg.kind = kind;
    r->sent_at = r->now;
    return &a->msg;
}

struct replica_msg *replica_send_dir(struct replica *r, enum replica_msg_kind kind,
                                     const struct dir *d) {
    struct replica_msg *m = replica_send(r, kind);
    m->dir = d->id;
    return m;
}

void replica_release(struct replica *r, uint64_t req, bool alone) {
    struct replica_action *a = replica_emit(r, RACT_RELEASE);
    a->req = req;
    a->alone = alone;
}

struct replica_prep *replica_preps_copy(const struct replica_prep *preps, size_t n) {
    if (n == 0)
        return NULL;
    struct replica_prep *copy = replica_alloc(n * sizeof *copy);
    memcpy(copy, preps, n * sizeof *copy);
    return copy;
}

bool replica_next(struct replica *r, struct replica_action *out) {
    struct out *o = r->out;
    if (o == NULL)
        return false;
    DL_DELETE(r->out, o);
    *out = o->action;
    free(o);
    if (out->kind == RACT_RAISE)
        replica_token_raise_begins(r, &out->dir);
    return true;
}

void replica_action_done(struct replica_action *a) {
    replica_payload_unref(a->payload);
    replica_payload_unref(a->msg.payload);
    free((void *)(uintptr_t)a->msg.preps); /* ours, const only to the driver */
    free((void *)(uintptr_t)a->msg.marks);
    a->payload = NULL;
    a->msg.payload = NULL;
    a->msg.preps = NULL;
    a->msg.marks = NULL;
}

void replica_queue_clear(struct replica *r) {
    struct replica_action a;
    while (replica_next(r, &a))
        replica_action_done(&a);
}
