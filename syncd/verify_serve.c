/*
 * verify_serve: the peer's questions about this node's store
 *
 * Diagnostics: none; what cannot be done is answered with the error.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "contact.h"
#include "driver.h"
#include "link_peer.h"
#include "mem.h"
#include "mend.h"
#include "verify_int.h"
#include "volume.h"
#include "util/array.h"
#include "wire/check.h"

struct sum_item {
    struct io_sum sum;
    char *name;
};

/* One question. */
struct serving {
    struct serving *next, *prev;
    struct verify *y;
    uint64_t number;
    Mfp__Verify__What what;
    struct look_order order;
    struct mailfs_id from, to, *dirs;
    size_t n;
    bool range;
    bool late; /* the connection has ended: nobody waits for the answer */
    int err;
    struct look *look;
    struct sum_item *sums; /* SUMS */
    size_t n_sums;
    /* MEND */
    char **names;
    size_t n_names, at;
    struct check_problems mended;
};

static void serving_end(struct serving *s) {
    DL_DELETE(s->y->serving, s);
    s->y->n_serving--;
    check_problems_free(&s->mended);
    for (size_t i = 0; i < s->n_names; i++)
        free(s->names[i]);
    for (size_t i = 0; i < s->n_sums; i++)
        free(s->sums[i].name);
    free(s->sums);
    free(s->names);
    free(s->dirs);
    free(s);
}

/* ---- answers ----------------------------------------------------------------------- */

static void send(struct serving *s, Mfp__Verified *m) {
    Mfp__Frame frame = MFP__FRAME__INIT;

    m->number = s->number;
    frame.m_case = MFP__FRAME__M_VERIFIED;
    frame.verified = m;
    if (!s->late && contact_is_up(s->y->v))
        peer_send_frame(s->y->v->peer, &frame, false); /* fails only when the connection ends */
}

static void answer_error(struct serving *s, int err) {
    Mfp__Verified m = MFP__VERIFIED__INIT;

    m.err = -err;
    m.end = true;
    send(s, &m);
}

/* The lists of one answer, made of what is lent to it. */
struct lists {
    Mfp__VerifyProblem *problems, **problem_at;
    Mfp__VerifyDir *dirs, **dir_at;
};

static void put_problems(struct lists *l, Mfp__Verified *m, const struct check_problems *from) {
    l->problems = mem_new((from->n + 1) * sizeof *l->problems);
    l->problem_at = mem_new((from->n + 1) * sizeof *l->problem_at);
    for (size_t i = 0; i < from->n; i++) {
        const struct check_problem *p = &from->v[i];
        mfp__verify_problem__init(l->problem_at[i] = &l->problems[i]);
        l->problems[i].dir = wire_bytes_of(&p->dir);
        l->problems[i].kind = p->kind;
        l->problems[i].fate = p->fate;
        if (p->name != NULL)
            l->problems[i].name = p->name;
    }
    m->problems = l->problem_at;
    m->n_problems = from->n;
    m->more = from->more;
}

static void put_digests(struct lists *l, Mfp__Verified *m, const struct look_result *res) {
    l->dirs = mem_new((res->n + 1) * sizeof *l->dirs);
    l->dir_at = mem_new((res->n + 1) * sizeof *l->dir_at);
    for (size_t i = 0; i < res->n; i++) {
        const struct check_digest *d = &res->digests[i];
        mfp__verify_dir__init(l->dir_at[i] = &l->dirs[i]);
        l->dirs[i].dir = wire_bytes_of(&d->dir);
        l->dirs[i].digest = (ProtobufCBinaryData){sizeof d->base, (uint8_t *)(uintptr_t)d->base};
        l->dirs[i].sums = (ProtobufCBinaryData){sizeof d->sums, (uint8_t *)(uintptr_t)d->sums};
    }
    m->dirs = l->dir_at;
    m->n_dirs = res->n;
}

static void lists_free(struct lists *l) {
    free(l->problems);
    free(l->problem_at);
    free(l->dirs);
    free(l->dir_at);
}

static void looked(void *arg, struct look_result *res) {
    struct serving *s = arg;
    Mfp__Verified m = MFP__VERIFIED__INIT;
    uint8_t roll[STATE_DIGEST];
    struct lists l = {0};

    if (res->err != 0) {
        answer_error(s, res->err);
        serving_end(s);
        return;
    }
    m.end = true;
    m.containers = res->n;
    m.messages = res->counts.messages;
    m.bytes = res->counts.bytes;
    if (s->what == MFP__VERIFY__WHAT__DIGESTS) {
        put_digests(&l, &m, res);
    } else {
        check_digest_roll(res->digests, res->n, roll);
        m.digest = (ProtobufCBinaryData){sizeof roll, roll};
        put_problems(&l, &m, &res->problems);
    }
    send(s, &m);
    lists_free(&l);
    serving_end(s);
}

/* ---- checksums --------------------------------------------------------------------- */

static int sums_add(void *arg, const char *base, const struct io_sum *sum) {
    struct serving *s = arg;
    struct sum_item *v = array_room(s->sums, s->n_sums, sizeof *v), *it;

    if (v == NULL)
        return -ENOMEM;
    s->sums = v;
    it = &v[s->n_sums];
    it->sum = *sum;
    it->name = strdup(base);
    if (it->name == NULL)
        return -ENOMEM;
    s->n_sums++;
    return 0;
}

static void sums_run(void *arg) {
    struct serving *s = arg;

    s->err = check_each_sum(s->y->v->state, &s->dirs[0], sums_add, s);
}

static void sums_send(struct serving *s, size_t from, size_t n) {
    static Mfp__VerifySum sums[VERIFY_SUMS]; /* the loop's thread */
    static Mfp__VerifySum *at[VERIFY_SUMS];
    Mfp__Verified m = MFP__VERIFIED__INIT;

    for (size_t i = 0; i < n; i++) {
        struct sum_item *it = &s->sums[from + i];
        mfp__verify_sum__init(at[i] = &sums[i]);
        sums[i].bname = it->name;
        sums[i].from = it->sum.from;
        sums[i].sha256 = (ProtobufCBinaryData){sizeof it->sum.sha256, it->sum.sha256};
    }
    m.sums = at;
    m.n_sums = n;
    m.end = from + n == s->n_sums;
    send(s, &m);
}

static void sums_done(void *arg) {
    struct serving *s = arg;
    struct volume *v = s->y->v;
    size_t i = 0;

    if (s->err != 0)
        answer_error(s, s->err);
    while (s->err == 0) {
        size_t n = s->n_sums - i < VERIFY_SUMS ? s->n_sums - i : VERIFY_SUMS;
        sums_send(s, i, n);
        i += n;
        if (i == s->n_sums)
            break;
    }
    serving_end(s);
    driver_pump(v);
}

/* ---- repairing --------------------------------------------------------------------- */

static void mend_next(struct serving *s);

static void mended(void *arg, int err) {
    struct serving *s = arg;
    struct check_problem *p =
        check_problem_add(&s->mended, &s->dirs[0], CHECK_DAMAGED, s->names[s->at++]);

    if (p != NULL)
        p->fate = err == 0 ? CHECK_MENDED : CHECK_NOT;
    mend_next(s);
}

static void refuse(struct serving *s) {
    struct check_problem *p =
        check_problem_add(&s->mended, &s->dirs[0], CHECK_DAMAGED, s->names[s->at++]);

    if (p != NULL)
        p->fate = CHECK_NOT;
}

static void mend_next(struct serving *s) {
    Mfp__Verified m = MFP__VERIFIED__INIT;
    struct lists l = {0};

    while (s->at < s->n_names && !verify_may_fetch(s->y->v, CHECK_DIFFER))
        refuse(s);
    if (s->at < s->n_names) {
        mend(s->y->v, &s->dirs[0], CHECK_DAMAGED, s->names[s->at], mended, s);
        return;
    }
    m.end = true;
    put_problems(&l, &m, &s->mended);
    send(s, &m);
    lists_free(&l);
    serving_end(s);
}

/* ---- questions --------------------------------------------------------------------- */

static void choose_run(void *arg) {
    struct serving *s = arg;

    if (!s->range)
        return;
    s->err = check_containers(s->y->v->state, &s->from, &s->to, NULL, &s->dirs, &s->n);
    if (s->err == 0 && s->n > VERIFY_RANGE_MAX)
        s->err = -E2BIG;
}

static void begin(struct serving *s) {
    struct volume *v = s->y->v;

    switch (s->what) {
    case MFP__VERIFY__WHAT__CHECK:
        s->look = look_begin(v, s->dirs, s->n, s->order, looked, s);
        break;
    case MFP__VERIFY__WHAT__DIGESTS:
        s->look = look_digests(v, s->dirs, s->n, s->order.content, looked, s);
        break;
    case MFP__VERIFY__WHAT__MEND:
        mend_next(s);
        break;
    default:
        if (workq_submit(v->engine->slow, WORKQ_NO_LANE, sums_run, sums_done, s) != 0)
            mem_out("the work queue");
        break;
    }
}

static void choose_done(void *arg) {
    struct serving *s = arg;
    struct volume *v = s->y->v;

    if (s->err == 0 && (s->late || s->y->stopping))
        s->err = -ECANCELED;
    if (s->err != 0) {
        answer_error(s, s->err);
        serving_end(s);
    } else {
        begin(s);
    }
    driver_pump(v);
}

static void take(struct serving *s, const Mfp__Verify *m) {
    s->number = m->number;
    s->what = m->what;
    s->order = (struct look_order){m->content, m->repair, m->accept, m->gentle};
    s->range = m->n_dirs == 0;
    if (s->range) {
        wire_id(&m->from, &s->from);
        wire_id(&m->to, &s->to);
        return;
    }
    s->n = m->n_dirs;
    s->dirs = mem_new(s->n * sizeof *s->dirs);
    for (size_t i = 0; i < s->n; i++)
        wire_id(&m->dirs[i], &s->dirs[i]);
    s->names = mem_new((m->n_bnames + 1) * sizeof *s->names);
    for (size_t i = 0; i < m->n_bnames; i++)
        s->names[s->n_names++] = mem_strdup(m->bnames[i]);
}

int verify_receive(struct verify *y, const Mfp__Verify *m) {
    bool one = m->what == MFP__VERIFY__WHAT__SUMS || m->what == MFP__VERIFY__WHAT__MEND;

    if (y == NULL || y->n_serving >= VERIFY_SERVED_MAX || (one && m->n_dirs != 1) ||
        m->n_dirs > VERIFY_RANGE_MAX)
        return -EPROTO; /* it asks one after the other, and for so much only */
    struct serving *s = mem_new(sizeof *s);
    s->y = y;
    take(s, m);
    DL_APPEND(y->serving, s);
    y->n_serving++;
    if (workq_submit(y->v->engine->slow, WORKQ_NO_LANE, choose_run, choose_done, s) != 0)
        mem_out("the work queue");
    return 0;
}

void serving_stop(struct verify *y) {
    struct serving *s;

    DL_FOREACH(y->serving, s) {
        s->late = true;
        if (s->look != NULL)
            look_cancel(s->look);
    }
}

void serving_free(struct verify *y) {
    while (y->serving != NULL) {
        if (y->serving->look != NULL)
            look_free(y->serving->look);
        serving_end(y->serving);
    }
}
