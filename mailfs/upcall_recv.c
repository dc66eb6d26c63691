/*
 * upcall_recv - what syncd says
 *
 * Diagnostics: error: a packet that makes no sense ends the connection; a generation of marks that
 * cannot be begun.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "change.h"
#include "lock.h"
#include "net/local.h"
#include "notify.h"
#include "role.h"
#include "upcall_int.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/workq.h"
#include "wire/check.h"
#include "wire/codec.h"

enum { LOOK_MS = 500 };

static void run_new_generation(void *arg) {
    uint64_t gen = *(uint64_t *)arg;
    Mfl__GenReached reached = MFL__GEN_REACHED__INIT;
    Mfl__ToSyncd m = MFL__TO_SYNCD__INIT;
    free(arg);
    int r = change_new_generation(gen);
    if (r != 0) {
        log_error("a generation of marks cannot be begun: %s", log_strerror(r));
        return;
    }
    reached.gen = change_generation();
    m.m_case = MFL__TO_SYNCD__M_GEN_REACHED;
    m.gen_reached = &reached;
    upcall_tell(&m);
}

static void new_generation(uint64_t gen) {
    uint64_t *arg = malloc(sizeof *arg);
    if (arg == NULL)
        return;
    *arg = gen;
    if (workq_submit(upcall_queue(), UPCALL_LANE_GENERATION, run_new_generation, NULL, arg) != 0)
        free(arg); /* syncd asks again with the next generation */
}

static int errno_of(int32_t err) {
    return err < 0 ? -err : err;
}

/* Takes m over. */
static void dispatch(Mfl__ToMailfs *m) {
    struct upcall_answer a = {0};
    struct mailfs_id id;
    switch (m->m_case) {
    case MFL__TO_MAILFS__M_WELCOME:
        lock_forget_hints();
        upcall_welcome(m->welcome->instance);
        role_set(m->welcome->standby);
        if (m->welcome->mark_gen > change_generation())
            new_generation(m->welcome->mark_gen);
        break;
    case MFL__TO_MAILFS__M_GRANT:
        a.err = errno_of(m->grant->err);
        a.raise = m->grant->raise;
        a.holder = m->grant->holder;
        upcall_answered(m->grant->req, &a);
        break;
    case MFL__TO_MAILFS__M_RELEASE:
        a.err = errno_of(m->release->err);
        a.only_here = m->release->only_here;
        upcall_answered(m->release->req, &a);
        break;
    case MFL__TO_MAILFS__M_WORKING:
        upcall_working(m->working->req);
        break;
    case MFL__TO_MAILFS__M_TOKEN_HERE:
        if (wire_id(&m->token_here->dir, &id) == 0)
            lock_token_here(&id);
        break;
    case MFL__TO_MAILFS__M_TOKEN:
        if (wire_id(&m->token->dir, &id) == 0)
            upcall_token(&id, m->token->held);
        break;
    case MFL__TO_MAILFS__M_ROLE:
        role_set(m->role->standby);
        break;
    case MFL__TO_MAILFS__M_NEW_GEN:
        new_generation(m->new_gen->gen);
        break;
    case MFL__TO_MAILFS__M_INVALIDATE:
        notify_invalidate(m);
        return;
    default:
        break;
    }
    wire_to_mailfs_free(m);
}

static bool give_up(bool hung) {
    upcall_give_up();
    return hung;
}

bool upcall_receive(int fd) {
    static uint8_t buf[LOCAL_PACKET_MAX];
    char why[256];
    uint64_t look = clock_ms() + LOOK_MS;
    for (;;) {
        Mfl__ToMailfs *m;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int ready = poll(&p, 1, LOOK_MS);
        /* By the clock, since one answer can be missing while other packets come. */
        if (clock_ms() >= look) {
            look = clock_ms() + LOOK_MS;
            if (upcall_is_hung())
                return give_up(true);
        }
        if (ready <= 0)
            continue;
        ssize_t n = local_recv(fd, buf, sizeof buf, NULL);
        if (n == 0)
            return false;
        if (n < 0)
            return give_up(false);
        int r = wire_to_mailfs_unpack(buf, (size_t)n, &m, why, sizeof why);
        if (r == -ENOTSUP)
            continue;
        if (r != 0) {
            log_error("syncd sent what cannot be understood: %s", why);
            return give_up(false);
        }
        upcall_heard();
        dispatch(m);
    }
}
