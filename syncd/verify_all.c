/*
 * verify_all: with whom a verification of a volume is made, and its result
 *
 *   a pair                        with the peer
 *   a standby                     with one active node that it follows: both of a pair have the
 * same a node with standbys alone    with each that is in sync, one after the other no other node
 * nobody: contents against their checksums
 *
 * Diagnostics: the result is logged.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "role.h"
#include "util/log.h"
#include "util/str.h"
#include "verify_int.h"
#include "verify_plan.h"
#include "volume.h"

struct verify_all {
    struct verify *y; /* the volume's */
    struct look_order order;
    char **paths;
    size_t n_paths;
    struct verify *with[CONF_LINKS_MAX];
    size_t n_with, at;
    struct check_problems problems;
    struct verify_result result;
    char error[256];
    verify_fn *fn;
    void *arg;
};

/* ---- the end ----------------------------------------------------------------------- */

static void all_free(struct verify_all *w) {
    for (size_t i = 0; i < w->n_paths; i++)
        free(w->paths[i]);
    check_problems_free(&w->problems);
    free(w->paths);
    free(w);
}

static void report(struct volume *v, const struct verify_result *r) {
    const char *name = v->cv->name;

    for (size_t i = 0; i < r->n; i++)
        log_warn("volume %s: node %s: %s: %s%s%s: %s", name, r->list[i].node, r->list[i].path,
                 r->list[i].name ? r->list[i].name : "", r->list[i].name ? ": " : "",
                 check_kind_text(r->list[i].kind), check_fate_text(r->list[i].fate));
    if (r->error)
        log_warn("volume %s: verification ended: %s", name, r->error);
    else if (r->problems > 0)
        volume_error(v, "verification found %llu problems, %llu of them repaired",
                     (unsigned long long)r->problems, (unsigned long long)r->mended);
    else
        log_info("volume %s: verified: %llu containers, %llu messages", name,
                 (unsigned long long)r->containers, (unsigned long long)r->messages);
    if (r->parted > 0)
        log_info(
            "volume %s: %llu mailboxes not compared: the nodes it follows have not merged them",
            name, (unsigned long long)r->parted);
}

static void keep(struct verify *y, const struct verify_result *r) {
    y->last = *r;
    y->last.list = NULL;
    y->last.n = 0;
    int err = verify_record_write(y->v, &y->last);
    if (err != 0)
        volume_error(y->v, "the result of the verification cannot be kept: %s", log_strerror(err));
}

static void finish(struct verify_all *w) {
    struct verify_result *r = &w->result;
    struct verify *y = w->y;

    r->list = w->problems.v;
    r->n = w->problems.n;
    r->problems = r->n + w->problems.more;
    for (size_t i = 0; i < r->n; i++)
        r->mended += r->list[i].fate != CHECK_FOUND && r->list[i].fate != CHECK_NOT;
    report(y->v, r);
    if (r->error == NULL && w->n_paths == 0)
        keep(y, r);
    y->all = NULL;
    w->fn(w->arg, r);
    all_free(w);
}

/* ---- one after the other ----------------------------------------------------------- */

static bool listed(const struct verify_all *w, const struct check_problem *p) {
    for (size_t i = 0; i < w->problems.n; i++) {
        const struct check_problem *have = &w->problems.v[i];
        if (strcmp(have->node, p->node) == 0 && mailfs_id_equal(&have->dir, &p->dir) &&
            have->kind == p->kind &&
            strcmp(have->name ? have->name : "", p->name ? p->name : "") == 0)
            return true;
    }
    return false;
}

/* What this node was found to have is found again with the next standby. */
static void take(struct verify_all *w, const struct verify_result *r) {
    for (size_t i = 0; i < r->n; i++) {
        const struct check_problem *from = &r->list[i];
        struct check_problem *to = NULL;
        if (!(w->n_with > 1 && listed(w, from)))
            to = check_problem_add(&w->problems, &from->dir, from->kind, from->name);
        if (to == NULL)
            continue;
        to->fate = from->fate;
        to->there = from->there;
        to->node = from->node;
        to->path = mem_strdup(from->path);
    }
    w->problems.more += r->problems - r->n;
}

static void next(struct verify_all *w);

static void passed(void *arg, const struct verify_result *r) {
    struct verify_all *w = arg;
    struct verify_result *sum = &w->result;

    take(w, r);
    sum->content = r->content;
    sum->at = r->at;
    sum->seconds += r->seconds;
    sum->containers = r->containers > sum->containers ? r->containers : sum->containers;
    sum->messages = r->messages > sum->messages ? r->messages : sum->messages;
    sum->bytes += r->bytes;
    sum->unknown += r->unknown;
    sum->parted += r->parted;
    w->at++;
    if (r->error != NULL) {
        str_copy(w->error, sizeof w->error, r->error);
        sum->error = w->error;
        w->at = w->n_with;
    }
    next(w);
}

static void next(struct verify_all *w) {
    if (w->at == w->n_with)
        finish(w);
    else
        verify_pass(w->with[w->at], w->order, w->paths, w->n_paths, passed, w);
}

/* ---- who may repair whom ----------------------------------------------------------- */

bool verify_may_fetch(const struct volume *v, unsigned kind) {
    if (volume_is_watched(v))
        return false; /* nobody but its own mail server writes there */
    if (v->main == NULL || role_of(v).standby)
        return true;
    return kind == CHECK_DAMAGED || kind == CHECK_UNREADABLE;
}

bool verify_may_restore(const struct volume *v) {
    return v->main != NULL && role_of(v).standby && !v->other_standby && !volume_is_watched(v);
}

bool verify_may_send(const struct volume *v) {
    return v->main == NULL || v->other_standby;
}

/* ---- with whom --------------------------------------------------------------------- */

static bool is_reached(const struct volume *link) {
    return link->verify != NULL && replica_state(link->machine) != REPLICA_ALONE &&
           link->peer_verifies;
}

static void choose(struct verify_all *w) {
    struct volume *v = w->y->v;
    bool standby = role_of(v).standby;

    if (v->cv->peer != NULL || v->n_links == 0) {
        w->with[w->n_with++] = w->y;
        return;
    }
    for (size_t i = 0; i < v->n_links && !(standby && w->n_with > 0); i++)
        if (is_reached(v->links[i]) && v->links[i]->other_standby != standby)
            w->with[w->n_with++] = v->links[i]->verify;
}

bool verify_has_partner(const struct verify *y) {
    struct verify_all w = {.y = (struct verify *)(uintptr_t)y};

    choose(&w);
    return w.n_with > 0;
}

static bool is_lone(const struct volume *v) {
    return v->cv->peer == NULL && v->n_links == 0;
}

/* Why no verification can begin; NULL: it can. */
static const char *refusal(const struct verify_all *w) {
    const struct volume *v = w->y->v;

    if (w->y->all != NULL)
        return "a verification is under way already: mailfsctl status";
    if (w->n_with == 0)
        return role_of(v).standby
                   ? "no active node that this one follows is connected, or it is too old for it: "
                     "see mailfsctl status"
                   : "no standby of this node is connected, or it is too old for it: see mailfsctl "
                     "status";
    if (is_lone(v) && w->order.repair)
        return "this volume has no other node: there is nothing to repair it from";
    if (is_lone(v) && !w->order.content)
        return "this volume has no other node: there is nothing to compare it with. --content "
               "reads "
               "every message, and compares it with its checksum";
    return w->with[0] == w->y ? verify_pass_refusal(w->y) : NULL;
}

void verify_begin(struct verify *y, struct look_order order, char *const *paths, size_t n,
                  verify_fn *fn, void *arg) {
    struct verify_all *w = mem_new(sizeof *w);
    const char *why;

    *w = (struct verify_all){.y = y, .order = order, .fn = fn, .arg = arg};
    w->paths = mem_new((n + 1) * sizeof *w->paths);
    for (w->n_paths = 0; w->n_paths < n; w->n_paths++)
        w->paths[w->n_paths] = mem_strdup(paths[w->n_paths]);
    choose(w);
    why = refusal(w);
    if (why != NULL) {
        struct verify_result res = {.error = why};
        fn(arg, &res);
        all_free(w);
        return;
    }
    y->all = w;
    w->result.lone = is_lone(y->v);
    next(w);
}

bool verify_running(const struct verify *y, uint64_t *done, uint64_t *all) {
    const struct pass *p;

    if (y == NULL || y->all == NULL)
        return false;
    p = y->all->at < y->all->n_with ? y->all->with[y->all->at]->pass : NULL;
    *done = p != NULL ? p->at : 0;
    *all = p != NULL ? p->n : 0;
    return true;
}

void verify_all_free(struct verify *y) {
    if (y->all != NULL)
        all_free(y->all);
    y->all = NULL;
}
