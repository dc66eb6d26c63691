/*
 * front_send - packets to mailfs
 *
 * Diagnostics: a mailfs that does not read its packets loses the connection, and comes again.
 */
#include "front.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <utlist.h>

#include "front_private.h"
#include "mem.h"
#include "net/local.h"
#include "util/log.h"
#include "volume.h"
#include "wire/check.h"

/* Names in one Invalidate: a packet has room for 128 KiB. */
#define INVALIDATE_BYTES (96u * 1024u)

#define REQ_BITS 48
#define REQ_MASK ((UINT64_C(1) << REQ_BITS) - 1)

void front_flush(struct front *f) {
    while (f->fd >= 0 && f->queue != NULL) {
        struct front_packet *p = f->queue;
        int r = local_send(f->fd, p->data, p->len, -1);
        if (r == -EAGAIN || r == -EINTR || r == -ENOBUFS) {
            if (!f->write_armed)
                event_add(f->write, NULL);
            f->write_armed = true;
            return;
        }
        if (r != 0)
            log_debug("mailfs: %s", log_strerror(r)); /* its end is read soon */
        DL_DELETE(f->queue, p);
        f->queued -= p->len;
        free(p);
    }
    front_doubt(f, false);
}

void front_send(struct front *f, const Mfl__ToMailfs *m) {
    size_t n = mfl__to_mailfs__get_packed_size(m);
    if (f->fd < 0 || n > LOCAL_PACKET_MAX)
        return;
    if (f->queued + n > FRONT_QUEUE_MAX) {
        log_error("volume %s: mailfs does not read: connection closed", f->v->cv->name);
        front_give_up(f);
        return;
    }
    struct front_packet *p = mem_new(sizeof *p + n);
    p->len = n;
    mfl__to_mailfs__pack(m, p->data);
    DL_APPEND(f->queue, p);
    f->queued += n;
    if (!f->write_armed)
        front_flush(f);
}

/* False: that request was of an earlier connection. */
static bool own_req(const struct front *f, uint64_t *req) {
    if (!front_is_connected(f) || (uint16_t)(*req >> REQ_BITS) != f->conn_no)
        return false;
    *req &= REQ_MASK;
    return true;
}

bool front_grant(struct front *f, uint64_t req, int err, uint32_t raise) {
    Mfl__ToMailfs m = MFL__TO_MAILFS__INIT;
    Mfl__Grant grant = MFL__GRANT__INIT;
    char holder[256];
    if (!own_req(f, &req))
        return false;
    const struct conf_peer *peer = f->v->cv->peer;
    snprintf(holder, sizeof holder, "1:%s", peer != NULL ? peer->name : "");
    grant.req = req;
    grant.err = -err;
    grant.raise = raise;
    if (err != 0)
        grant.holder = holder;
    m.m_case = MFL__TO_MAILFS__M_GRANT;
    m.grant = &grant;
    front_send(f, &m);
    return true;
}

void front_release(struct front *f, uint64_t req, int err, bool only_here) {
    Mfl__ToMailfs m = MFL__TO_MAILFS__INIT;
    Mfl__Release release = MFL__RELEASE__INIT;
    if (!own_req(f, &req))
        return;
    release.req = req;
    release.err = err == 0 ? 0 : EAGAIN;
    release.only_here = only_here;
    m.m_case = MFL__TO_MAILFS__M_RELEASE;
    m.release = &release;
    front_send(f, &m);
}

void front_working(struct front *f, uint64_t req) {
    Mfl__ToMailfs m = MFL__TO_MAILFS__INIT;
    Mfl__Working working = MFL__WORKING__INIT;
    if (!own_req(f, &req))
        return;
    working.req = req;
    m.m_case = MFL__TO_MAILFS__M_WORKING;
    m.working = &working;
    front_send(f, &m);
}

void front_token_here(struct front *f, const struct mailfs_id *dir) {
    Mfl__ToMailfs m = MFL__TO_MAILFS__INIT;
    Mfl__TokenHere here = MFL__TOKEN_HERE__INIT;
    if (!front_is_connected(f))
        return;
    here.dir = wire_bytes_of(dir);
    m.m_case = MFL__TO_MAILFS__M_TOKEN_HERE;
    m.token_here = &here;
    front_send(f, &m);
}

void front_role(struct front *f, bool standby) {
    Mfl__ToMailfs m = MFL__TO_MAILFS__INIT;
    Mfl__Role role = MFL__ROLE__INIT;
    if (!front_is_connected(f))
        return;
    role.standby = standby;
    m.m_case = MFL__TO_MAILFS__M_ROLE;
    m.role = &role;
    front_send(f, &m);
}

void front_token_hint(struct front *f, const struct mailfs_id *dir, bool held) {
    Mfl__ToMailfs m = MFL__TO_MAILFS__INIT;
    Mfl__Token token = MFL__TOKEN__INIT;
    if (!front_is_connected(f))
        return;
    token.dir = wire_bytes_of(dir);
    token.held = held;
    m.m_case = MFL__TO_MAILFS__M_TOKEN;
    m.token = &token;
    front_send(f, &m);
    if (!held && f->queue != NULL) /* it goes now, whether that is sent or not */
        front_doubt(f, true);
}

bool front_new_gen(struct front *f, uint64_t gen, front_gen_fn *done) {
    Mfl__ToMailfs m = MFL__TO_MAILFS__INIT;
    Mfl__NewGen new_gen = MFL__NEW_GEN__INIT;
    if (!front_is_connected(f))
        return false;
    f->gen = gen;
    f->gen_done = done;
    new_gen.gen = gen;
    m.m_case = MFL__TO_MAILFS__M_NEW_GEN;
    m.new_gen = &new_gen;
    front_send(f, &m);
    return front_is_connected(f);
}

/* ---- Invalidate -------------------------------------------------------------------- */

static void stale_add(struct front *f, const struct mailfs_id *dir) {
    struct front_stale *s;
    HASH_FIND(hh, f->stale, dir, sizeof *dir, s);
    if (s != NULL)
        return;
    if (HASH_COUNT(f->stale) >= FRONT_STALE_MAX) {
        log_warn_limited("volume %s: more containers changed than are remembered for mailfs",
                         f->v->cv->name);
        f->lost_stale++;
        return;
    }
    s = mem_new(sizeof *s);
    s->dir = *dir;
    HASH_ADD(hh, f->stale, dir, sizeof s->dir, s);
}

/*
 * mailfs may have died with it in its queue, or between what it says it has done and the poke that
 * follows. Told twice is harmless.
 */
static void recent_add(struct front *f, const struct mailfs_id *dir, uint64_t seq) {
    enum { RECENT_MS = 3000, MANY = 1024 };
    uint64_t now = volume_now();
    struct front_stale *s, *tmp;
    HASH_FIND(hh, f->recent, dir, sizeof *dir, s);
    if (s == NULL) {
        s = mem_new(sizeof *s);
        s->dir = *dir;
        HASH_ADD(hh, f->recent, dir, sizeof s->dir, s);
    }
    s->seq = seq;
    s->at = 0;
    if (HASH_COUNT(f->recent) % MANY != 0)
        return;
    HASH_ITER(hh, f->recent, s, tmp) {
        if (s->at == 0 || now - s->at <= RECENT_MS)
            continue;
        HASH_DEL(f->recent, s);
        free(s);
    }
}

void front_invalidated(struct front *f, const struct mailfs_id *dir, uint64_t seq) {
    struct front_stale *s;
    HASH_FIND(hh, f->recent, dir, sizeof *dir, s);
    if (s != NULL && s->seq == seq)
        s->at = volume_now();
}

void front_recent_to_stale(struct front *f) {
    struct front_stale *s, *tmp;
    HASH_ITER(hh, f->recent, s, tmp) {
        HASH_DEL(f->recent, s);
        stale_add(f, &s->dir);
        free(s);
    }
}

void front_tell_stale(struct front *f) {
    struct front_stale *s, *tmp;
    HASH_ITER(hh, f->stale, s, tmp) {
        struct inval one = {.dir = s->dir, .all = true, .poke_new = true, .poke_cur = true};
        struct invals iv = {&one, 1};
        HASH_DEL(f->stale, s);
        front_invalidate(f, &iv);
        free(s);
    }
}

static size_t name_bytes(const struct inval_name *n) {
    return 32 + (n->old_name != NULL ? strlen(n->old_name) : 0) +
           (n->name != NULL ? strlen(n->name) : 0);
}

static void changed_fill(Mfl__Changed *c, const struct inval_name *n) {
    mfl__changed__init(c);
    c->sub = (Mfl__Sub)n->sub;
    if (n->old_name != NULL)
        c->old_name = n->old_name;
    if (n->name != NULL)
        c->name = n->name;
    c->content = n->content;
}

/* Sends names from *from on, as many as a packet takes; pokes go with the last. */
static void invalidate_part(struct front *f, const struct inval *iv, size_t *from) {
    Mfl__ToMailfs m = MFL__TO_MAILFS__INIT;
    Mfl__Invalidate inv = MFL__INVALIDATE__INIT;
    size_t left = iv->n_names - *from, bytes = 0;
    Mfl__Changed *all = mem_new((left + 1) * sizeof *all);
    Mfl__Changed **refs = mem_new((left + 1) * sizeof *refs);
    while (*from < iv->n_names && bytes < INVALIDATE_BYTES) {
        const struct inval_name *n = &iv->names[(*from)++];
        changed_fill(&all[inv.n_names], n);
        refs[inv.n_names] = &all[inv.n_names];
        inv.n_names++;
        bytes += name_bytes(n);
    }
    bool last = *from == iv->n_names;
    inv.names = refs;
    inv.seq = ++f->inval_seq;
    recent_add(f, &iv->dir, inv.seq);
    inv.dir = wire_bytes_of(&iv->dir);
    inv.all = iv->all;
    inv.poke_new = last && iv->poke_new;
    inv.poke_cur = last && iv->poke_cur;
    if (iv->moved)
        inv.moved_id = wire_bytes_of(&iv->moved_id);
    if (iv->renumbered)
        inv.former_id = wire_bytes_of(&iv->former_id);
    m.m_case = MFL__TO_MAILFS__M_INVALIDATE;
    m.invalidate = &inv;
    front_send(f, &m);
    free(refs);
    free(all);
}

void front_invalidate(struct front *f, const struct invals *iv) {
    for (size_t i = 0; i < iv->n; i++) {
        size_t from = 0;
        if (!front_is_connected(f)) {
            stale_add(f, &iv->v[i].dir);
            f->lost_stale += iv->v[i].renumbered; /* it is to read all ids anew */
            continue;
        }
        do
            invalidate_part(f, &iv->v[i], &from);
        while (from < iv->v[i].n_names && front_is_connected(f));
    }
}
