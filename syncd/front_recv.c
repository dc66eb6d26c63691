/*
 * front_recv - packets from mailfs
 *
 * mailfs is trusted with its own volume, but not to be free of bugs: what makes no sense ends the
 * connection.
 *
 * Diagnostics: Hello with another version or volume; events that mailfs had to drop.
 */
#include "front.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "asks.h"
#include "base.h"
#include "contact.h"
#include "driver.h"
#include "front_private.h"
#include "load.h"
#include "mem.h"
#include "named.h"
#include "oneway.h"
#include "role.h"
#include "txn.h"
#include "util/log.h"
#include "volume.h"
#include "wire/check.h"

#define LOCAL_VERSION 1

static void say_welcome(struct front *f) {
    Mfl__ToMailfs m = MFL__TO_MAILFS__INIT;
    Mfl__Welcome welcome = MFL__WELCOME__INIT;
    welcome.version = LOCAL_VERSION;
    welcome.link_state = (uint32_t)replica_state(f->v->machine);
    welcome.mark_gen = f->gen;
    welcome.instance = f->v->incarnation + f->lost_stale;
    welcome.standby = role_of(f->v).standby;
    m.m_case = MFL__TO_MAILFS__M_WELCOME;
    m.welcome = &welcome;
    front_send(f, &m);
}

/* ---- what changed while nobody told us --------------------------------------------- */

/*
 * The marks know of it, and these are listed at a contact: so a mailfs that comes while the link is
 * up, and finds marks, makes for a new contact. Without marks nothing was changed: what an earlier
 * one had prepared on the other node was never named, and goes there; otherwise after that contact,
 * since what was named has come over then.
 */
struct unseen {
    struct volume *v;
    uint64_t incarnation; /* of the mailfs that came */
    size_t n;
};

static void unseen_run(void *arg) {
    struct unseen *u = arg;
    struct state_mark *marks = NULL;
    if (state_marks(u->v->state, UINT64_MAX, &marks, &u->n) != 0)
        u->n = 1;
    free(marks);
}

static void unseen_done(void *arg) {
    struct unseen *u = arg;
    struct volume *v = u->v;
    if (u->n > 0)
        oneway_changed(v, &mailfs_id_root, true);
    if (u->n > 0 && contact_is_up(v))
        contact_drop(v, "mailfs was started anew: its changes are to be listed", true);
    replica_abort_others(v->machine, volume_now(), u->incarnation, u->n > 0);
    v->front->looks--;
    free(u);
    driver_pump(v);
}

static void look_for_unseen(struct volume *v, uint64_t incarnation) {
    if (!contact_is_up(v) && v->n_links == 0) {
        replica_abort_others(v->machine, volume_now(), incarnation, true);
        return;
    }
    struct unseen *u = mem_new(sizeof *u);
    u->v = v;
    u->incarnation = incarnation;
    v->front->looks++;
    jobs_run(v->jobs, &mailfs_id_root, unseen_run, unseen_done, u);
}

/* ---- packets ----------------------------------------------------------------------- */

static int lock_dir(const struct front *f, const ProtobufCBinaryData *bytes,
                    struct mailfs_id *dir) {
    if (wire_id(bytes, dir) != 0)
        return -EPROTO;
    *dir = txns_lock_id(f->v->txns, dir);
    return 0;
}

/* Of a U that the one before may have told we know best whether it did: it goes on as it is. */
static int recv_locks(struct front *f, const Mfl__Hello *h) {
    struct mailfs_id *dirs = mem_new((h->n_locked + h->n_going + 1) * sizeof *dirs);
    size_t n = 0;
    int r = 0;
    for (size_t i = 0; i < h->n_locked && r == 0; i++)
        r = lock_dir(f, &h->locked[i], &dirs[n++]);
    for (size_t i = 0; i < h->n_going && r == 0; i++) {
        r = lock_dir(f, &h->going[i], &dirs[n]);
        n += r == 0 && txns_locked(f->v->txns, &dirs[n]);
    }
    if (r == 0)
        txns_locks_are(f->v->txns, dirs, n, false);
    free(dirs);
    return r;
}

static void recv_aborted(struct front *f, const Mfl__Hello *h) {
    for (size_t i = 0; i < h->n_aborted; i++)
        replica_abort(f->v->machine, volume_now(),
                      (struct replica_prep){h->aborted[i]->incarnation, h->aborted[i]->seq});
}

static int recv_hello(struct front *f, const Mfl__Hello *h, int *fd) {
    struct volume *v = f->v;
    if (f->hello || h->version != LOCAL_VERSION || strcmp(h->volume, v->cv->name) != 0) {
        volume_error(v, "mailfs %d: version %u, volume \"%s\": not ours", (int)f->pid, h->version,
                     h->volume);
        return -EPROTO;
    }
    bool kept = f->away && f->mount == h->incarnation;
    if (f->away && !kept)
        front_is_lost(f);
    f->away = false;
    int r = recv_locks(f, h);
    if (r != 0)
        return r;
    named_learn(v, h);
    recv_aborted(f, h);
    f->doubt_fd = *fd;
    *fd = -1;
    f->hello = true;
    f->mount = h->incarnation;
    f->is_private = h->unchecked;
    f->no_peer = h->no_peer;
    if (!front_asks_nobody(f))
        asks_begin(v->asks, f->fd);
    front_held_by(f, h->keeps ? h->holder : 0);
    if (h->mark_gen > f->gen)
        f->gen = h->mark_gen;
    log_info("volume %s: mailfs %d is connected", v->cv->name, (int)f->pid);
    say_welcome(f);
    front_tell_stale(f);
    if (!kept || h->untold || f->missed)
        look_for_unseen(v, h->incarnation);
    f->missed = false;
    if (front_is_apart(f) && contact_is_up(v))
        contact_drop(v, "its mailfs asks nobody", true);
    driver_mailfs_here(v);
    return 0;
}

static int recv_unlock(struct front *f, const Mfl__Unlock *u) {
    struct txns *txns = f->v->txns;
    struct mailfs_id dir;
    if (lock_dir(f, &u->dir, &dir) != 0)
        return -EPROTO;
    if (!u->again || txns_locked(txns, &dir))
        txns_unlock(txns, u->owner_died ? 0 : front_req(f, u->req), &dir);
    else if (!u->owner_died)
        txns_unlock_again(txns, front_req(f, u->req), &dir);
    return 0;
}

static int recv_lock(struct front *f, const Mfl__ToSyncd *m) {
    struct volume *v = f->v;
    struct mailfs_id dir;
    if (m->m_case == MFL__TO_SYNCD__M_LOCK_OPEN) {
        if (wire_id(&m->lock_open->dir, &dir) != 0)
            return -EPROTO;
        txns_lock_open(v->txns, front_req(f, m->lock_open->req), &dir);
    } else if (m->m_case == MFL__TO_SYNCD__M_LOCK_OPENED) {
        if (lock_dir(f, &m->lock_opened->dir, &dir) != 0)
            return -EPROTO;
        txns_lock_opened(v->txns, &dir, m->lock_opened->ok);
    } else {
        return recv_unlock(f, m->unlock);
    }
    return 0;
}

/* Takes m and the descriptor: they are the payload. */
static int recv_prepare(struct front *f, Mfl__ToSyncd **m, int *fd) {
    struct volume *v = f->v;
    const Mfl__Prepare *p = (*m)->prepare;
    struct mailfs_id dir;
    struct stat sb;
    if (p->id == NULL || wire_id(&p->dir, &dir) != 0 || *fd < 0 || fstat(*fd, &sb) != 0 ||
        !S_ISREG(sb.st_mode))
        return -EPROTO;
    uint64_t req = front_req(f, p->req);
    struct replica_prep prep = {p->id->incarnation, p->id->seq};
    bool again = p->again;
    struct replica_payload *payload = load_file(*fd, (uint64_t)sb.st_size, *m);
    *fd = -1;
    *m = NULL;
    if (again)
        replica_prepare_again(v->machine, volume_now(), req, prep, payload);
    else
        replica_prepare(v->machine, volume_now(), req, prep, payload);
    replica_payload_unref(payload);
    return 0;
}

static int recv_gen_reached(struct front *f, uint64_t gen) {
    front_gen_fn *done = f->gen_done;
    if (done != NULL && gen == f->gen) {
        f->gen_done = NULL;
        done(f->v, gen);
    }
    return 0;
}

static int recv_lost(struct front *f, uint32_t dropped) {
    volume_error(f->v, "mailfs had to drop %u events: what it changed is compared anew", dropped);
    base_put_back_forget_all(f->v->state);
    oneway_changed(f->v, &mailfs_id_root, true);
    contact_drop(f->v, "events were lost: changes are to be listed", true);
    return 0;
}

static int recv_abort(struct front *f, const Mfl__Prepared *id) {
    if (id == NULL)
        return -EPROTO;
    replica_abort(f->v->machine, volume_now(), (struct replica_prep){id->incarnation, id->seq});
    return 0;
}

static int recv_invalidated(struct front *f, const Mfl__Invalidated *done) {
    struct mailfs_id dir;
    if (wire_id(&done->dir, &dir) != 0)
        return -EPROTO;
    front_invalidated(f, &dir, done->seq);
    return 0;
}

int front_receive(struct front *f, Mfl__ToSyncd **m, int *passed_fd) {
    if (!f->hello && (*m)->m_case != MFL__TO_SYNCD__M_HELLO)
        return -EPROTO;
    switch ((*m)->m_case) {
    case MFL__TO_SYNCD__M_HELLO:
        return recv_hello(f, (*m)->hello, passed_fd);
    case MFL__TO_SYNCD__M_LOCK_OPEN:
    case MFL__TO_SYNCD__M_LOCK_OPENED:
    case MFL__TO_SYNCD__M_UNLOCK:
        return recv_lock(f, *m);
    case MFL__TO_SYNCD__M_PREPARE:
        return recv_prepare(f, m, passed_fd);
    case MFL__TO_SYNCD__M_ABORT:
        return recv_abort(f, (*m)->abort->id);
    case MFL__TO_SYNCD__M_ACT:
        return txns_act(f->v->txns, m);
    case MFL__TO_SYNCD__M_GEN_REACHED:
        return recv_gen_reached(f, (*m)->gen_reached->gen);
    case MFL__TO_SYNCD__M_LOST:
        return recv_lost(f, (*m)->lost->dropped);
    case MFL__TO_SYNCD__M_INVALIDATED:
        return recv_invalidated(f, (*m)->invalidated);
    default:
        return -EPROTO;
    }
}
