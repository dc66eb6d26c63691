/*
 * verify: a pass over the containers, in batches; both nodes look at each
 *
 * Diagnostics: the result is logged; what is repaired is logged where it is done.
 */
#include "verify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "contact.h"
#include "driver.h"
#include "io/dirid.h"
#include "io/io.h"
#include "link_peer.h"
#include "mem.h"
#include "state_int.h"
#include "timer.h"
#include "util/clock.h"
#include "util/log.h"
#include "verify_int.h"
#include "verify_plan.h"
#include "volume.h"
#include "wire/check.h"

static void pass_fail(struct pass *p, int err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void pass_fail(struct pass *p, int err, const char *fmt, ...) {
    va_list ap;

    if (p->err != 0)
        return;
    p->err = err;
    va_start(ap, fmt);
    vsnprintf(p->error, sizeof p->error, fmt, ap);
    va_end(ap);
}

/* ---- the end ----------------------------------------------------------------------- */

static void pass_free(struct pass *p) {
    for (size_t i = 0; i < p->n_paths; i++)
        free(p->paths[i]);
    compare_free(p);
    check_problems_free(&p->problems);
    event_free(p->timer);
    free(p->own_digests);
    free(p->their_digests);
    free(p->paths);
    free(p->dirs);
    free(p);
}

static void count(struct pass *p) {
    struct verify_result *r = &p->result;

    r->list = p->problems.v;
    r->n = p->problems.n;
    r->problems = p->problems.n + p->problems.more;
    r->parted = p->problems.parted;
    r->content = p->order.content;
    r->seconds = (double)(clock_ms() - p->began_ms) / 1000;
    r->at = (int64_t)(clock_wall_ns() / 1000000000);
    r->error = p->err != 0 ? p->error : NULL;
}

/* Where the problems are, in words: whoever gets the result may know another state. */
static void name_places(struct pass *p) {
    struct volume *v = p->y->v;
    char path[1024];

    for (size_t i = 0; i < p->problems.n; i++) {
        struct check_problem *of = &p->problems.v[i];
        of->node = of->there ? v->cv->peer->name : v->conf->node;
        if (of->path == NULL)
            of->path = mem_strdup(state_path(v->state, &of->dir, path, sizeof path));
    }
}

static void pass_end(struct pass *p) {
    struct verify *y = p->y;

    name_places(p);
    count(p);
    y->pass = NULL;
    p->fn(p->arg, &p->result);
    pass_free(p);
}

/* Ends it, unless this node's look is still under way: that one ends soon. */
bool pass_is_over(struct pass *p) {
    if (p->err == 0 && (p->y->stopping || p->y->v->stopping))
        pass_fail(p, -ECANCELED, "mailfs-syncd was stopped");
    if (p->err == 0)
        return false;
    if (p->look != NULL)
        look_cancel(p->look);
    else
        pass_end(p);
    return true;
}

/* ---- questions --------------------------------------------------------------------- */

int pass_ask(struct pass *p, Mfp__Verify *m, enum pass_step step) {
    struct volume *v = p->y->v;
    Mfp__Frame frame = MFP__FRAME__INIT;
    int r = contact_is_up(v) ? 0 : -ENOTCONN;

    p->step = step;
    p->own = p->theirs = false;
    p->n_theirs = 0;
    m->number = p->number = ++p->y->number;
    frame.m_case = MFP__FRAME__M_VERIFY;
    frame.verify = m;
    if (r == 0)
        r = peer_send_frame(v->peer, &frame, false);
    if (r != 0)
        pass_fail(p, r, "the connection has ended");
    return r;
}

static void take_problems(struct pass *p, const Mfp__Verified *m) {
    for (size_t i = 0; i < m->n_problems; i++) {
        const Mfp__VerifyProblem *from = m->problems[i];
        struct mailfs_id dir;
        wire_id(&from->dir, &dir);
        struct check_problem *to =
            check_problem_take(&p->problems, &dir, from->kind, *from->name ? from->name : NULL);
        if (to != NULL) {
            to->there = true;
            to->fate = from->fate;
        }
    }
    p->problems.more += m->more;
}

/* -EPROTO: more than can have been asked about. */
static int take_digests(struct pass *p, const Mfp__Verified *m) {
    size_t n = p->n_theirs + m->n_dirs;

    if (m->n_dirs == 0)
        return 0;
    if (m->n_dirs > VERIFY_RANGE_MAX || n > VERIFY_RANGE_MAX)
        return -EPROTO;
    p->their_digests = realloc(p->their_digests, n * sizeof *p->their_digests);
    if (p->their_digests == NULL)
        mem_out("digests");
    for (size_t i = 0; i < m->n_dirs; i++) {
        struct check_digest *d = &p->their_digests[p->n_theirs++];
        *d = (struct check_digest){0};
        wire_id(&m->dirs[i]->dir, &d->dir);
        if (m->dirs[i]->digest.len == sizeof d->base)
            memcpy(d->base, m->dirs[i]->digest.data, sizeof d->base);
        if (m->dirs[i]->sums.len == sizeof d->sums)
            memcpy(d->sums, m->dirs[i]->sums.data, sizeof d->sums);
    }
    return 0;
}

int verify_answered(struct verify *y, const Mfp__Verified *m) {
    struct pass *p = y->pass;

    if (p == NULL || m->number != p->number || p->number == 0)
        return 0; /* of a pass that is over */
    if (m->err != 0)
        pass_fail(p, -m->err, "the other node cannot: %s", log_strerror(m->err));
    if (p->step == PASS_LOOK)
        take_problems(p, m);
    if (take_digests(p, m) != 0)
        return -EPROTO;
    compare_answered(p, m);
    if (m->digest.len == sizeof p->their_roll)
        memcpy(p->their_roll, m->digest.data, sizeof p->their_roll);
    if (!m->end && m->err == 0)
        return 0;
    p->number = 0;
    p->theirs = true;
    pass_arrived(p);
    return 0;
}

void verify_disconnected(struct verify *y) {
    struct pass *p = y != NULL ? y->pass : NULL;

    if (y != NULL)
        serving_stop(y);
    if (p == NULL)
        return;
    atomic_store(&p->stop, true);
    pass_fail(p, -ENOTCONN, "the connection with the other node has ended");
    if (p->look != NULL) {
        look_cancel(p->look);
    } else if (p->number != 0) { /* nothing else would come */
        p->number = 0;
        p->theirs = p->own = true;
        pass_arrived(p);
    }
}

/* ---- batches ----------------------------------------------------------------------- */

static void looked(void *arg, struct look_result *res) {
    struct pass *p = arg;

    p->look = NULL;
    if (res->err != 0)
        pass_fail(p, res->err, res->err == -ENOTCONN ? "the nodes are not in sync any more" : "%s",
                  log_strerror(res->err));
    for (size_t i = 0; i < res->problems.n; i++) {
        const struct check_problem *from = &res->problems.v[i];
        struct check_problem *to =
            check_problem_take(&p->problems, &from->dir, from->kind, from->name);
        if (to != NULL)
            to->fate = from->fate;
    }
    p->problems.more += res->problems.more;
    p->result.messages += res->counts.messages;
    p->result.bytes += res->counts.bytes;
    p->n_own = res->n;
    memcpy(p->own_digests, res->digests, res->n * sizeof *res->digests);
    p->own = true;
    pass_arrived(p);
}

void pass_batch_ids(const struct pass *p, struct batch_ids *room, Mfp__Verify *m) {
    if (!p->whole) {
        for (size_t i = 0; i < p->batch; i++)
            room->ids[i] = wire_bytes_of(&p->dirs[p->at + i]);
        m->dirs = room->ids;
        m->n_dirs = p->batch;
        return;
    }
    /* With what only the other one has. */
    room->first = p->dirs[p->at];
    room->last = p->dirs[p->at + p->batch - 1];
    if (p->at == 0)
        memset(room->first.b, 0, sizeof room->first.b);
    if (p->at + p->batch == p->n)
        memset(room->last.b, 0xff, sizeof room->last.b);
    m->from = wire_bytes_of(&room->first);
    m->to = wire_bytes_of(&room->last);
}

static void batch_begin(struct pass *p) {
    Mfp__Verify m = MFP__VERIFY__INIT;
    struct batch_ids room;

    m.what = MFP__VERIFY__WHAT__CHECK;
    m.content = p->order.content;
    m.repair = p->order.repair;
    m.accept = p->order.accept;
    m.gentle = p->order.gentle;
    pass_batch_ids(p, &room, &m);
    if (pass_ask(p, &m, PASS_LOOK) != 0)
        pass_is_over(p);
    else
        p->look = look_begin(p->y->v, &p->dirs[p->at], p->batch, p->order, looked, p);
}

/* Not where something could not be fetched: its absence would be the peer's, too. */
static bool may_merge(const struct pass *p, const struct mailfs_id *dir) {
    for (size_t i = p->before_batch; i < p->problems.n; i++)
        if (p->problems.v[i].fate == CHECK_NOT && mailfs_id_equal(&p->problems.v[i].dir, dir))
            return false;
    return p->problems.more == 0;
}

void pass_merge(struct pass *p) {
    for (size_t i = p->before_batch; i < p->problems.n; i++) {
        struct check_problem *of = &p->problems.v[i];
        if (of->fate != CHECK_MERGED)
            continue;
        if (may_merge(p, &of->dir))
            replica_suspect(p->y->v->machine, volume_now(), of->dir);
        else
            of->fate = CHECK_NOT;
        driver_pump(p->y->v);
    }
    p->before_batch = p->problems.n;
}

static void batch_done(struct pass *p) {
    uint8_t roll[STATE_DIGEST];

    pass_merge(p);
    check_digest_roll(p->own_digests, p->n_own, roll);
    if (memcmp(roll, p->their_roll, sizeof roll) != 0)
        compare_begin(p);
    else
        pass_batch_next(p);
}

void pass_arrived(struct pass *p) {
    if (pass_is_over(p))
        return;
    if (p->step != PASS_LOOK)
        compare_arrived(p);
    else if (p->own && p->theirs)
        batch_done(p);
}

/* A merge that has just been begun is waited for. */
static void batch_when_in_sync(struct pass *p) {
    const struct timeval tv = {VERIFY_AGAIN_MS / 1000, VERIFY_AGAIN_MS % 1000 * 1000};

    if (replica_state(p->y->v->machine) == REPLICA_IN_SYNC) {
        batch_begin(p);
    } else if (++p->tries < VERIFY_SYNC_TRIES) {
        p->step = PASS_SYNC;
        evtimer_add(p->timer, &tv);
    } else {
        pass_fail(p, -ENOTCONN, "the nodes are not in sync any more");
        pass_is_over(p);
    }
}

void pass_batch_next(struct pass *p) {
    p->at += p->batch;
    p->result.containers = p->at;
    p->batch = p->n - p->at < VERIFY_BATCH ? p->n - p->at : VERIFY_BATCH;
    p->tries = 0;
    if (pass_is_over(p))
        return;
    if (p->batch == 0)
        pass_end(p);
    else
        batch_when_in_sync(p);
}

static void pass_again(evutil_socket_t fd, short what, void *arg) {
    struct pass *p = arg;
    struct volume *v = p->y->v;

    if (!pass_is_over(p)) {
        if (p->step == PASS_SYNC)
            batch_when_in_sync(p);
        else
            compare_again(p);
    }
    driver_pump(v);
}

/* ---- the beginning ----------------------------------------------------------------- */

static int id_of(struct state *st, const char *path, struct mailfs_id *id) {
    int fd, r;

    while (*path == '/')
        path++;
    if (*path == '\0' || strcmp(path, ".") == 0) {
        *id = mailfs_id_root;
        return 0;
    }
    fd = io_open_beneath(st->root, path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return fd;
    r = io_dirid_get(fd, id);
    close(fd);
    return r;
}

static int add_path(struct pass *p, const char *path) {
    struct state *st = p->y->v->state;
    struct mailfs_id top, *v, *all;
    size_t n;
    int r = id_of(st, path, &top);

    if (r == 0)
        r = check_containers(st, NULL, NULL, &top, &v, &n);
    if (r == 0 && n == 0)
        r = -ENOENT; /* there, but not known to both nodes */
    if (r != 0) {
        pass_fail(p, r,
                  r == -ENODATA || r == -ENOENT || r == -ENOTDIR ? "%.200s: no such mailbox"
                                                                 : "%.200s: cannot be opened",
                  path);
        return r;
    }
    all = realloc(p->dirs, (p->n + n) * sizeof *all);
    if (all != NULL) {
        memcpy(all + p->n, v, n * sizeof *v);
        p->dirs = all;
        p->n += n;
    }
    free(v);
    return all != NULL ? 0 : -ENOMEM;
}

static void choose_run(void *arg) {
    struct pass *p = arg;
    int r = 0;

    if (p->whole)
        r = check_containers(p->y->v->state, NULL, NULL, NULL, &p->dirs, &p->n);
    for (size_t i = 0; r == 0 && i < p->n_paths; i++)
        r = add_path(p, p->paths[i]);
    if (r != 0)
        pass_fail(p, r, "%s", log_strerror(r));
}

static void choose_done(void *arg) {
    struct pass *p = arg;
    struct volume *v = p->y->v;

    if (!pass_is_over(p))
        pass_batch_next(p);
    driver_pump(v);
}

/* ---- without another node ---------------------------------------------------------- */

/* The whole store, or these directories and what is below them. */
static void lone_run(void *arg) {
    struct pass *p = arg;
    const struct check_how how = {p->order.content, p->order.accept, p->order.gentle, &p->stop};
    struct check_counts counts = {0};
    int r = 0;

    if (p->whole)
        r = check_tree(p->y->v->state, ".", &how, &p->problems, &counts);
    for (size_t i = 0; r == 0 && i < p->n_paths; i++) {
        r = check_tree(p->y->v->state, p->paths[i], &how, &p->problems, &counts);
        if (r == -ENOENT || r == -ENOTDIR)
            pass_fail(p, r, "%.200s: no such mailbox", p->paths[i]);
    }
    if (r != 0)
        pass_fail(p, r, "%s", r == -ECANCELED ? "mailfs-syncd was stopped" : log_strerror(r));
    p->result.containers = counts.mailboxes;
    p->result.messages = counts.messages;
    p->result.bytes = counts.bytes;
    p->result.unknown = counts.unknown;
}

static void lone_done(void *arg) {
    struct pass *p = arg;
    struct volume *v = p->y->v;

    pass_end(p);
    driver_pump(v);
}

/* ---- begin ------------------------------------------------------------------------- */

static bool is_lone(const struct verify *y) {
    return replica_state(y->v->machine) == REPLICA_NO_PEER;
}

const char *verify_pass_refusal(const struct verify *y) {
    static char text[128]; /* the loop's thread */
    enum replica_state s = replica_state(y->v->machine);

    if (is_lone(y))
        return NULL;
    if (s != REPLICA_IN_SYNC) {
        snprintf(text, sizeof text, "the nodes are not in sync (%s): see mailfsctl status",
                 volume_state_word(s));
        return text;
    }
    if (!y->v->peer_verifies)
        return "the other node's mailfs is too old for it";
    return NULL;
}

void verify_pass(struct verify *y, struct look_order order, char *const *paths, size_t n,
                 verify_fn *fn, void *arg) {
    struct pass *p = mem_new(sizeof *p);
    bool lone = is_lone(y);

    *p = (struct pass){.y = y, .order = order, .fn = fn, .arg = arg, .whole = n == 0};
    p->began_ms = clock_ms();
    p->own_digests = mem_new(2 * VERIFY_BATCH * sizeof *p->own_digests);
    p->paths = mem_new((n + 1) * sizeof *p->paths);
    for (p->n_paths = 0; p->n_paths < n; p->n_paths++)
        p->paths[p->n_paths] = mem_strdup(paths[p->n_paths]);
    p->timer = timer_new(y->v->engine->evb, pass_again, p);
    y->pass = p;
    if (workq_submit(y->v->engine->slow, WORKQ_NO_LANE, lone ? lone_run : choose_run,
                     lone ? lone_done : choose_done, p) != 0)
        mem_out("the work queue");
}

/* ---- the module -------------------------------------------------------------------- */

struct verify *verify_new(struct volume *v) {
    struct verify *y = mem_new(sizeof *y);

    y->v = v;
    if (v->main != NULL)
        return y;
    verify_record_read(v, &y->last);
    y->plan = verify_plan_new(v);
    return y;
}

void verify_stop(struct verify *y) {
    if (y == NULL || y->stopping)
        return;
    y->stopping = true;
    verify_plan_free(y->plan);
    y->plan = NULL;
    verify_disconnected(y);
}

void verify_free(struct verify *y) {
    if (y == NULL)
        return;
    if (y->pass != NULL) {
        if (y->pass->look != NULL)
            look_free(y->pass->look);
        pass_free(y->pass);
    }
    serving_free(y);
    verify_all_free(y);
    verify_plan_free(y->plan);
    free(y);
}

void verify_last(const struct verify *y, struct verify_result *out) {
    *out = y != NULL ? y->last : (struct verify_result){0};
}
