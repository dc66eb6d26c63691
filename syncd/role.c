/*
 * role - standby or active, and how one becomes the other
 *
 * Diagnostics: each change of the role; a role that could not be written, or is gone.
 */
#include "role.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contact.h"
#include "driver.h"
#include "front.h"
#include "jobs.h"
#include "mem.h"
#include "promote.h"
#include "state.h"
#include "util/log.h"
#include "volume.h"

struct role {
    struct conf_role now;
    struct promotion *promotion;
};

struct promotion {
    struct volume *v;
    role_promoted_fn *done;
    void *arg;
    enum replica_raise raise;
    bool force;
    size_t raised;
    struct invals inval;
    int err;
};

static const struct volume *root_of(const struct volume *v) {
    return v->main != NULL ? v->main : v;
}

static const char *word(bool standby) {
    return standby ? "standby" : "active";
}

struct conf_role role_of(const struct volume *v) {
    return root_of(v)->role->now;
}

/* ---- what it was ------------------------------------------------------------------- */

static void line_of(struct conf_role r, char line[STATE_ROLE_MAX]) {
    snprintf(line, STATE_ROLE_MAX, "%s %" PRIu64, word(r.standby), r.term);
}

static uint64_t term_in(const char *line) {
    uint64_t term;
    return sscanf(line, "%*s %" SCNu64, &term) == 1 ? term : 0;
}

static void note(struct volume *v) {
    char line[STATE_ROLE_MAX];
    line_of(v->role->now, line);
    (void)state_set_role(v->state, line); /* logged there */
}

/* Terms only grow: a lower one is that of a file that was removed, or put back. It counts all the
 * same, as whoever did that may have meant it. */
static void tell_if_lost(struct volume *v) {
    char was[STATE_ROLE_MAX] = "", now[STATE_ROLE_MAX];
    int r = state_role(v->state, was);
    line_of(v->role->now, now);
    if (r == 0 && term_in(was) > v->role->now.term)
        volume_error(v,
                     "%s/role said \"%s\" before, and has been removed or replaced: this node is "
                     "\"%s\" now. If that was not meant, stop mailfs and mailfs-syncd, write the "
                     "former line into that file, and start them again",
                     v->cv->state, was, now);
    if (r == -ENOENT || (r == 0 && strcmp(was, now) != 0))
        note(v);
}

int role_open(struct volume *v, char *err, size_t errsize) {
    v->role = mem_new(sizeof *v->role);
    int r = conf_role_read(v->cv, &v->role->now);
    if (r == 0)
        tell_if_lost(v);
    if (r != 0)
        snprintf(err, errsize,
                 "%s/role: %s; it must be one line, \"active N\" or \"standby N\": remove it, and "
                 "`mode` "
                 "in the configuration holds",
                 v->cv->state, log_strerror(r));
    return r;
}

void role_close(struct role *r) {
    free(r);
}

/* Roles are said in Hello: whoever is connected hears of a new one in the next. */
static void tell_others(struct volume *v) {
    contact_drop(v, "the role of this node has changed", true);
    for (size_t i = 0; i < v->n_links; i++)
        contact_drop(v->links[i], "the role of this node has changed", true);
}

static int become(struct volume *v, bool standby, uint64_t term) {
    struct conf_role now = {standby, term};
    int r = conf_role_write(v->cv, &now);
    if (r != 0) {
        volume_error(v, "%s/role cannot be written: %s", v->cv->state, log_strerror(r));
        return r;
    }
    if (v->role->now.standby != standby)
        log_warn("volume %s: this node is %s from now on (term %" PRIu64 ")", v->cv->name,
                 word(standby), term);
    v->role->now = now;
    note(v);
    front_role(v->front, standby);
    tell_others(v);
    return 0;
}

/* ---- meeting ----------------------------------------------------------------------- */

static int meet_link(struct volume *v, const Mfp__Hello *h, char *why, size_t size) {
    struct volume *root = v->main;
    struct conf_role own = root->role->now;
    if (!h->standby && !own.standby && h->term == own.term) {
        snprintf(
            why, size,
            "%s and %s are both active: on the one that is to follow, stop mailfs-syncd, set mode "
            "= "
            "\"standby\", and remove the file `role` from its state directory; its mail is merged",
            root->conf->node, h->node);
        return -1;
    }
    if (h->term > own.term && become(root, true, h->term) != 0) { /* somebody was promoted */
        snprintf(why, size, "%s cannot note its role", root->conf->node);
        return -1;
    }
    return 0;
}

int role_meet(struct volume *v, const Mfp__Hello *h, char *why, size_t size) {
    const char *node = v->conf->node;
    if (h->oneway != (v->main != NULL)) {
        snprintf(why, size, "%s is %s of %s, but not the other way round",
                 h->oneway ? node : h->node, "a peer", h->oneway ? h->node : node);
        return -1;
    }
    if (v->main != NULL)
        return meet_link(v, h, why, size);
    /* Two nodes of a pair have one role: what the later one knows. */
    if (h->term > v->role->now.term && become(v, h->standby, h->term) != 0) {
        snprintf(why, size, "%s cannot note its role", node);
        return -1;
    }
    return 0;
}

/* ---- promotion --------------------------------------------------------------------- */

static void promotion_run(void *arg) {
    struct promotion *p = arg;
    p->err = promote_raise_all(p->v, p->raise, &p->raised, &p->inval);
}

static uint64_t highest_term(const struct volume *v) {
    uint64_t term = v->role->now.term;
    for (size_t i = 0; i < v->n_links; i++)
        term = v->links[i]->other_term > term ? v->links[i]->other_term : term;
    return term;
}

static void promotion_done(void *arg) {
    struct promotion *p = arg;
    struct volume *v = p->v;
    char why[VOLUME_ERROR_MAX] = "";
    front_invalidate(v->front, &p->inval);
    invals_free(&p->inval);
    v->role->promotion = NULL;
    if (v->stopping) { /* nobody asks any more, and it is a standby at the next start, too */
        free(p);
        return;
    }
    if (p->err != 0 && !p->force)
        snprintf(why, sizeof why,
                 "the next UID of some mailboxes, named in the log, could not be raised: %s; mend "
                 "that, or use --force (there a UID can name another message than on the old node)",
                 log_strerror(p->err));
    else if ((p->err = become(v, false, highest_term(v) + 1)) != 0)
        snprintf(why, sizeof why, "%s/role cannot be written: %s", v->cv->state,
                 log_strerror(p->err));
    p->done(p->arg, p->err, p->raised, why);
    free(p);
    driver_pump(v);
}

static const struct volume *active_link(const struct volume *v) {
    for (size_t i = 0; i < v->n_links; i++) {
        if (contact_is_up(v->links[i]) && !v->links[i]->other_standby)
            return v->links[i];
    }
    return NULL;
}

void role_promote(struct volume *v, bool force, role_promoted_fn *done, void *arg) {
    const struct volume *active = active_link(v);
    char why[VOLUME_ERROR_MAX];
    if (!v->role->now.standby) {
        done(arg, -EALREADY, 0, "this node is active already");
    } else if (v->role->promotion != NULL) {
        done(arg, -EBUSY, 0, "it is being promoted");
    } else if (active != NULL && !force) {
        snprintf(
            why, sizeof why,
            "%s is connected and active: stop its mailfs and mailfs-syncd first, or use --force "
            "(it becomes a standby then)",
            active->cv->peer->name);
        done(arg, -EBUSY, 0, why);
    } else {
        struct promotion *p = mem_new(sizeof *p);
        *p = (struct promotion){.v = v, .force = force, .done = done, .arg = arg};
        p->raise = v->n_links > 0 && strcmp(v->conf->node, v->links[0]->cv->peer->name) < 0
                       ? REPLICA_RAISE_ODD
                       : REPLICA_RAISE_EVEN;
        v->role->promotion = p;
        jobs_barrier(v->jobs, promotion_run, promotion_done, p);
    }
}
