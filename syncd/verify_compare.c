/*
 * verify_compare: the digests of a batch differ. Of which containers, and, where it is the contents
 * that do, of which messages
 *
 * A container that is being changed has another digest on each node for a moment: those that differ
 * are asked for again.
 *
 * A checksum that was taken when a message was passed from node to node is right against one that
 * was computed from what was found later.
 *
 * Diagnostics: none.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <uthash.h>

#include "driver.h"
#include "mem.h"
#include "mend.h"
#include "verify_int.h"
#include "volume.h"
#include "wire/check.h"

/* ---- checksums of one mailbox ------------------------------------------------------ */

struct sum_entry {
    UT_hash_handle hh;
    struct io_sum sum;
    char name[];
};

static void sums_free(struct sums *s) {
    struct sum_entry *e, *tmp;

    HASH_ITER(hh, s->all, e, tmp) {
        HASH_DEL(s->all, e);
        free(e);
    }
}

static int sums_add(void *arg, const char *base, const struct io_sum *sum) {
    struct sums *s = arg;
    struct sum_entry *e = calloc(1, sizeof *e + strlen(base) + 1);

    if (e == NULL)
        return -ENOMEM;
    e->sum = *sum;
    strcpy(e->name, base);
    HASH_ADD_STR(s->all, name, e);
    return 0;
}

/* Of one message; p is the pass, its at_sums the mailbox. */
static void judge(struct pass *p, const char *base, unsigned from, const uint8_t *sha256) {
    const struct mailfs_id *dir = &p->differ_sums[p->at_sums];
    struct sum_entry *own;
    struct check_problem *found;
    unsigned kind = CHECK_DAMAGED;

    HASH_FIND_STR(p->own_sums.all, base, own);
    if (own == NULL || memcmp(own->sum.sha256, sha256, sizeof own->sum.sha256) == 0)
        return;
    if (own->sum.from == from)
        kind = CHECK_DIFFER;
    found = check_problem_add(&p->suspects, dir, kind, base);
    if (found != NULL)
        found->there = kind == CHECK_DAMAGED && from == IO_SUM_FOUND;
}

/* ---- repairing what was found so --------------------------------------------------- */

static void suspect_next(struct pass *p);

static void suspect_done(struct pass *p, unsigned fate) {
    p->suspects.v[p->at_suspect++].fate = fate;
    suspect_next(p);
}

static void own_mended(void *arg, int err) {
    suspect_done(arg, err == 0 ? CHECK_MENDED : CHECK_NOT);
}

static void mend_there(struct pass *p, const struct check_problem *s) {
    Mfp__Verify m = MFP__VERIFY__INIT;
    ProtobufCBinaryData id = wire_bytes_of(&s->dir);
    char *name = s->name;

    m.what = MFP__VERIFY__WHAT__MEND;
    m.dirs = &id;
    m.n_dirs = 1;
    m.bnames = &name;
    m.n_bnames = 1;
    if (pass_ask(p, &m, PASS_MEND) != 0)
        pass_is_over(p);
}

static void to_problems(struct pass *p) {
    for (size_t i = 0; i < p->suspects.n; i++) {
        const struct check_problem *s = &p->suspects.v[i];
        struct check_problem *to = check_problem_add(&p->problems, &s->dir, s->kind, s->name);
        if (to != NULL) {
            to->fate = s->fate;
            to->there = s->there;
        }
    }
    p->problems.more += p->suspects.more;
    check_problems_free(&p->suspects);
    p->at_suspect = 0;
}

static void sums_next(struct pass *p);

/* Either fits its own checksum: no reason for a standby to change its source. */
static bool may_repair(const struct volume *v, const struct check_problem *s) {
    return s->there ? verify_may_send(v) : verify_may_fetch(v, CHECK_DIFFER);
}

static void suspect_next(struct pass *p) {
    if (pass_is_over(p))
        return;
    for (; p->order.repair && p->at_suspect < p->suspects.n; p->at_suspect++) {
        const struct check_problem *s = &p->suspects.v[p->at_suspect];
        if (s->kind != CHECK_DAMAGED || s->name == NULL || !may_repair(p->y->v, s))
            continue;
        if (s->there)
            mend_there(p, s);
        else
            mend(p->y->v, &s->dir, s->kind, s->name, own_mended, p);
        return;
    }
    to_problems(p);
    p->at_sums++;
    sums_next(p);
}

/* ---- asking for them --------------------------------------------------------------- */

static void ask_sums(struct pass *p) {
    Mfp__Verify m = MFP__VERIFY__INIT;
    ProtobufCBinaryData id = wire_bytes_of(&p->differ_sums[p->at_sums]);

    m.what = MFP__VERIFY__WHAT__SUMS;
    m.dirs = &id;
    m.n_dirs = 1;
    if (pass_ask(p, &m, PASS_SUMS) != 0)
        pass_is_over(p);
}

static void own_sums_run(void *arg) {
    struct pass *p = arg;
    int r = check_each_sum(p->y->v->state, &p->differ_sums[p->at_sums], sums_add, &p->own_sums);

    if (r != 0)
        sums_free(&p->own_sums); /* then nothing is compared; the digests differ the next time */
}

static void own_sums_done(void *arg) {
    struct pass *p = arg;
    struct volume *v = p->y->v;

    if (!pass_is_over(p))
        ask_sums(p);
    driver_pump(v);
}

static void sums_next(struct pass *p) {
    sums_free(&p->own_sums);
    if (p->at_sums >= p->n_differ_sums)
        pass_batch_next(p);
    else if (workq_submit(p->y->v->engine->slow, WORKQ_NO_LANE, own_sums_run, own_sums_done, p) !=
             0)
        mem_out("the work queue");
}

/* ---- digests, one by one ----------------------------------------------------------- */

static const struct check_digest *their_digest(const struct pass *p, const struct mailfs_id *dir) {
    for (size_t i = 0; i < p->n_theirs; i++)
        if (mailfs_id_equal(&p->their_digests[i].dir, dir))
            return &p->their_digests[i];
    return NULL;
}

static const struct check_digest *own_digest(const struct pass *p, const struct mailfs_id *dir) {
    for (size_t i = 0; i < p->n_own; i++)
        if (mailfs_id_equal(&p->own_digests[i].dir, dir))
            return &p->own_digests[i];
    return NULL;
}

static bool base_differs(const struct pass *p, const struct mailfs_id *dir) {
    const struct check_digest *a = own_digest(p, dir), *b = their_digest(p, dir);

    return a == NULL || b == NULL || memcmp(a->base, b->base, sizeof a->base) != 0;
}

static bool sums_differ(const struct pass *p, const struct mailfs_id *dir) {
    const struct check_digest *a = own_digest(p, dir), *b = their_digest(p, dir);

    return a != NULL && b != NULL && memcmp(a->sums, b->sums, sizeof a->sums) != 0;
}

static void records_differ(struct pass *p) {
    for (size_t i = 0; i < p->n_differ; i++) {
        struct check_problem *to =
            check_problem_add(&p->problems, &p->differ[i], CHECK_RECORD, NULL);
        if (p->order.repair && to != NULL && p->y->v->main == NULL)
            to->fate = CHECK_MERGED;
    }
    pass_merge(p);
}

/* What is equal by now leaves the list, for that of the checksums if these differ. */
static void drop_equal(struct pass *p) {
    size_t kept = 0;

    for (size_t i = 0; i < p->n_differ; i++) {
        if (base_differs(p, &p->differ[i]))
            p->differ[kept++] = p->differ[i];
        else if (sums_differ(p, &p->differ[i]))
            p->differ_sums[p->n_differ_sums++] = p->differ[i];
    }
    p->n_differ = kept;
}

/* Containers that this node has not agreed on. */
static void only_theirs(struct pass *p) {
    for (size_t i = 0; i < p->n_theirs && p->n_differ < p->batch + VERIFY_BATCH; i++)
        if (own_digest(p, &p->their_digests[i].dir) == NULL)
            p->differ[p->n_differ++] = p->their_digests[i].dir;
}

static void digests_compared(struct pass *p) {
    struct timeval tv = {VERIFY_AGAIN_MS / 1000, VERIFY_AGAIN_MS % 1000 * 1000};

    if (p->tries == 0)
        only_theirs(p);
    drop_equal(p);
    if (p->n_differ > 0 && ++p->tries < VERIFY_TRIES) {
        evtimer_add(p->timer, &tv);
        return;
    }
    records_differ(p);
    p->n_differ = 0;
    sums_next(p);
}

static void own_digests(void *arg, struct look_result *res) {
    struct pass *p = arg;

    p->look = NULL;
    if (p->err == 0)
        p->err = res->err;
    p->n_own = res->n;
    memcpy(p->own_digests, res->digests, res->n * sizeof *res->digests);
    p->own = true;
    pass_arrived(p);
}

static void ask_digests(struct pass *p) {
    Mfp__Verify m = MFP__VERIFY__INIT;
    struct batch_ids room;
    ProtobufCBinaryData *ids = mem_new((p->n_differ + 1) * sizeof *ids);

    m.what = MFP__VERIFY__WHAT__DIGESTS;
    m.content = p->order.content;
    for (size_t i = 0; i < p->n_differ; i++)
        ids[i] = wire_bytes_of(&p->differ[i]);
    if (p->tries == 0) {
        pass_batch_ids(p, &room, &m);
    } else {
        m.dirs = ids;
        m.n_dirs = p->n_differ;
    }
    int r = pass_ask(p, &m, PASS_DIGESTS);
    free(ids);
    if (r != 0)
        pass_is_over(p);
    else
        p->look = look_digests(p->y->v, p->differ, p->n_differ, p->order.content, own_digests, p);
}

void compare_again(struct pass *p) {
    ask_digests(p);
}

void compare_begin(struct pass *p) {
    free(p->differ);
    free(p->differ_sums);
    p->differ = mem_new((p->batch + VERIFY_BATCH) * sizeof *p->differ);
    p->differ_sums = mem_new((p->batch + VERIFY_BATCH) * sizeof *p->differ_sums);
    memcpy(p->differ, &p->dirs[p->at], p->batch * sizeof *p->differ);
    p->n_differ = p->batch;
    p->n_differ_sums = p->at_sums = 0;
    p->tries = 0;
    ask_digests(p);
}

void compare_answered(struct pass *p, const Mfp__Verified *m) {
    if (p->step == PASS_SUMS)
        for (size_t i = 0; i < m->n_sums; i++)
            judge(p, m->sums[i]->bname, m->sums[i]->from, m->sums[i]->sha256.data);
    if (p->step == PASS_MEND && m->end)
        p->suspects.v[p->at_suspect].fate =
            m->n_problems > 0 && m->problems[0]->fate == CHECK_MENDED ? CHECK_MENDED : CHECK_NOT;
}

void compare_arrived(struct pass *p) {
    if (p->step == PASS_DIGESTS && p->own && p->theirs) {
        digests_compared(p);
    } else if (p->step == PASS_SUMS && p->theirs) {
        suspect_next(p);
    } else if (p->step == PASS_MEND && p->theirs) {
        p->at_suspect++;
        suspect_next(p);
    }
}

void compare_free(struct pass *p) {
    sums_free(&p->own_sums);
    check_problems_free(&p->suspects);
    free(p->differ);
    free(p->differ_sums);
}
