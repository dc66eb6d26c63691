/*
 * oneway - brings what changes in a store to the ends of its one-way links, and their changes to it
 *
 * A link's `dirty` are containers that have changed since it last looked; a moment later (one pass
 * for many changes) each is announced to the link's machine with the digest of its base, and is
 * merged. The directories have no such way: their trees are compared at a contact, so a new one is
 * made.
 *
 * Nothing here has to outlive the process: see oneway_take_marks().
 *
 * Diagnostics: marks that cannot be copied are logged by the disk side; nothing is cleared then.
 */
#include "oneway.h"

#include <errno.h>
#include <stdlib.h>

#include <event2/event.h>
#include <uthash.h>

#include "base.h"
#include "contact.h"
#include "driver.h"
#include "jobs.h"
#include "mem.h"
#include "role.h"
#include "scan.h"
#include "store.h"
#include "timer.h"
#include "util/clock.h"
#include "volume.h"

/* A standby may be this far behind, for the sake of one pass over a busy mailbox instead of many.
 */
#define PASS_MS 1000

struct dirty {
    struct mailfs_id dir;
    bool looking;
    UT_hash_handle hh;
};

/* A container in which this node has, or lacks, what is another's. Its mark stays: when that other
 * one is followed no more, it is for this node to bring. */
struct left {
    struct mailfs_id dir;
    UT_hash_handle hh;
};

struct oneway {
    struct volume *link;
    struct event *timer;
    struct dirty *dirty;
    struct left *left;
    bool tree;
    bool comparing; /* the trees; what is dirty waits for it */
};

static struct volume *root_of(struct volume *v) {
    return v->main != NULL ? v->main : v;
}

/* ---- what has changed -------------------------------------------------------------- */

/* Nothing has changed, as far as it knows, that it has not looked at. */
static bool has_none(const struct oneway *o) {
    return o->dirty == NULL && !o->tree && !o->comparing;
}

struct look {
    struct oneway *o;
    struct mailfs_id dir;
    struct state *lenders[CONF_LINKS_MAX];
    size_t n_lenders;
    bool left, nowhere;
    uint8_t digest[STATE_DIGEST];
};

static bool is_here(struct state *st, const struct mailfs_id *dir) {
    struct store_dir d;
    int r = store_dir_open(st, dir, &d);
    store_dir_close(&d);
    return r != -ENOENT;
}

static void look_run(void *arg) {
    struct look *l = arg;
    l->left = scan_is_left(l->o->link->state, &l->dir, l->lenders, l->n_lenders);
    /* One just made the volume knows first. */
    l->nowhere =
        scan_is_nowhere(l->o->link->state, &l->dir) && !is_here(l->o->link->main->state, &l->dir);
    if (base_digest(l->o->link->state, &l->dir, l->digest) != 0)
        memset(l->digest, 0, sizeof l->digest); /* logged there: compared in full */
}

/* Where there was nothing to merge no round comes to an end, and nobody else says so. */
static void told_all(struct oneway *o) {
    if (has_none(o) && replica_state(o->link->machine) == REPLICA_IN_SYNC)
        o->link->untold_since_wall_ns = 0;
}

static void look_done(void *arg) {
    struct look *l = arg;
    struct volume *link = l->o->link;
    struct dirty *d;
    HASH_FIND(hh, l->o->dirty, &l->dir, sizeof l->dir, d);
    if (d != NULL) {
        HASH_DEL(l->o->dirty, d);
        free(d);
    }
    if (l->left || l->nowhere) /* the other end does not have it: nothing to merge it with */
        oneway_left(link, &l->dir, l->left);
    else if (!link->stopping)
        replica_changed(link->machine, volume_now(), l->dir, l->digest);
    told_all(l->o);
    free(l);
    driver_pump(link);
}

static void look(struct oneway *o, struct dirty *d) {
    struct look *l = mem_new(sizeof *l);
    l->o = o;
    l->dir = d->dir;
    l->n_lenders = oneway_lenders(o->link, l->lenders);
    d->looking = true;
    jobs_run(o->link->jobs, &l->dir, look_run, look_done, l);
}

static void forget_dirty(struct oneway *o) {
    struct dirty *d, *tmp;
    HASH_ITER(hh, o->dirty, d, tmp) {
        if (d->looking)
            continue;
        HASH_DEL(o->dirty, d);
        free(d);
    }
}

/* First the directories: a mailbox that the other end does not know cannot be merged. */
static void compare_trees(struct oneway *o) {
    o->tree = false;
    if (o->link->peer_takes_trees) {
        o->comparing = true;
        replica_tree_changed(o->link->machine, volume_now());
        driver_pump(o->link);
    } else {
        driver_compare_trees(o->link, "directories have changed");
    }
}

static void pass(evutil_socket_t fd, short what, void *arg) {
    struct oneway *o = arg;
    struct dirty *d, *tmp;
    if (!contact_is_up(o->link) || o->link->stopping) {
        o->tree = false;
        forget_dirty(o); /* the next contact reads the marks */
        return;
    }
    if (o->comparing)
        return; /* oneway_trees_compared() comes back here */
    if (o->tree)
        compare_trees(o);
    HASH_ITER(hh, o->dirty, d, tmp) {
        if (!d->looking && !o->comparing)
            look(o, d);
    }
}

void oneway_trees_compared(struct volume *link) {
    struct oneway *o = link->oneway;
    if (o == NULL || !o->comparing || !replica_trees_compared(link->machine))
        return;
    o->comparing = false;
    pass(-1, 0, o);
}

static void pass_soon(struct oneway *o) {
    struct timeval tv = {.tv_sec = PASS_MS / 1000};
    if (!evtimer_pending(o->timer, NULL))
        evtimer_add(o->timer, &tv);
}

/* What was dirty waited for the comparison, which nobody ends any more: there may be a connection
 * again by then, and then it is looked at. */
void oneway_disconnected(struct volume *link) {
    struct oneway *o = link->oneway;
    if (o == NULL)
        return;
    o->comparing = false;
    if (o->dirty != NULL || o->tree)
        pass_soon(o);
}

static struct dirty *dirty_get(struct oneway *o, const struct mailfs_id *dir) {
    struct dirty *d;
    HASH_FIND(hh, o->dirty, dir, sizeof *dir, d);
    if (d == NULL) {
        d = mem_new(sizeof *d);
        d->dir = *dir;
        HASH_ADD(hh, o->dirty, dir, sizeof d->dir, d);
    }
    return d;
}

static void note(struct volume *link, const struct mailfs_id *dir, bool tree) {
    struct oneway *o = link->oneway;
    link->changes++;
    if (link->untold_since_wall_ns == 0)
        link->untold_since_wall_ns = clock_wall_ns();
    o->tree = o->tree || tree;
    dirty_get(o, dir);
    pass_soon(o);
}

void oneway_changed(struct volume *v, const struct mailfs_id *dir, bool tree) {
    struct volume *root = root_of(v);
    for (size_t i = 0; i < root->n_links; i++) {
        if (root->links[i] != v && root->links[i]->oneway != NULL)
            note(root->links[i], dir, tree);
    }
    if (v == root)
        return;
    replica_suspect(root->machine, volume_now(), *dir);
    driver_pump(root);
    if (tree)
        driver_compare_trees(root, "a one-way link has changed directories");
}

void oneway_hurry(struct volume *link) {
    struct timeval now = {0};
    evtimer_add(link->oneway->timer, &now);
}

bool oneway_reconnects(const struct volume *link) {
    return link->compare_trees_due || (link->oneway->tree && !link->peer_takes_trees);
}

bool oneway_is_clean(const struct volume *link, const struct mailfs_id *dir) {
    struct dirty *d;
    HASH_FIND(hh, link->oneway->dirty, dir, sizeof *dir, d);
    return d == NULL && !link->oneway->tree && !link->oneway->comparing && !link->compare_trees_due;
}

void oneway_left(struct volume *link, const struct mailfs_id *dir, bool some) {
    struct oneway *o = link->oneway;
    struct left *l;
    HASH_FIND(hh, o->left, dir, sizeof *dir, l);
    if (some && l == NULL) {
        l = mem_new(sizeof *l);
        l->dir = *dir;
        HASH_ADD(hh, o->left, dir, sizeof l->dir, l);
    } else if (!some && l != NULL) {
        HASH_DEL(o->left, l);
        free(l);
    }
}

void oneway_left_by_none(struct volume *link, const struct mailfs_id *dir) {
    struct oneway *o = link->oneway;
    struct left *l;
    HASH_FIND(hh, o->left, dir, sizeof *dir, l);
    if (l != NULL && oneway_is_clean(link, dir) && !link->stopping)
        look(o, dirty_get(o, dir));
}

bool oneway_keeps_mark(const struct volume *link, const struct mailfs_id *dir) {
    struct left *l;
    HASH_FIND(hh, link->oneway->left, dir, sizeof *dir, l);
    return l != NULL || !oneway_is_clean(link, dir);
}

void oneway_caught_up(struct volume *link) {
    struct oneway *o = link->oneway;
    if (o != NULL && !has_none(o) && link->untold_since_wall_ns == 0)
        link->untold_since_wall_ns = clock_wall_ns();
}

/* ---- marks ------------------------------------------------------------------------- */

int oneway_mark(struct volume *v, const struct mailfs_id *dir) {
    struct volume *root = root_of(v);
    int r = 0;
    for (size_t i = 0; r == 0 && i < root->n_links; i++) {
        struct volume *link = root->links[i];
        uint64_t gen;
        if (link == v || link->state == NULL)
            continue;
        r = state_mark_gen(link->state, &gen);
        if (r == 0)
            r = state_mark_own(link->state, dir, gen);
    }
    return r;
}

int oneway_keep_marks(struct volume *v, struct mailfs_id *dirs, size_t n) {
    int r = 0;
    for (size_t i = 0; r == 0 && n > 0 && i < v->n_links; i++)
        r = state_marks_copy(v->state, v->links[i]->state, dirs, n);
    return r;
}

int oneway_take_marks(struct volume *link) {
    return state_marks_copy(link->main->state, link->state, NULL, 0);
}

/* ---- what came from another -------------------------------------------------------- */

/*
 * One that has not said what it is, since this syncd was started, is what the configuration says: a
 * source that is away comes back, and what it had is for it to bring. One that this node fed as
 * long as it was active knows of its mail without being able to bring it to anybody.
 */
static bool is_active(const struct volume *link) {
    return link->met ? !link->other_standby : link->cv->peer->source;
}

size_t oneway_lenders(const struct volume *link, struct state **out) {
    const struct volume *root = link->main;
    size_t n = 0;
    if (root == NULL || !role_of(root).standby || link->other_standby || !link->peer_knows_borrowed)
        return 0;
    for (size_t i = 0; i < root->n_links; i++) {
        if (root->links[i] != link && is_active(root->links[i]))
            out[n++] = root->links[i]->state;
    }
    return n;
}

bool oneway_only_follows(const struct volume *link) {
    return link->main != NULL && role_of(link).standby && !link->other_standby &&
           link->peer_knows_borrowed && state_followed(link->state, role_of(link).term);
}

/* A directory that is made again is empty until the other end of link has filled it. */
bool oneway_trees_only_follow(const struct volume *link) {
    struct state *lenders[CONF_LINKS_MAX];
    size_t n = oneway_lenders(link, lenders), i = 0;
    while (i < n &&
           (!state_had_contact(lenders[i]) || state_followed(lenders[i], role_of(link).term)))
        i++;
    return i == n && oneway_only_follows(link);
}

/* ---- life -------------------------------------------------------------------------- */

struct oneway *oneway_new(struct volume *link) {
    struct oneway *o = mem_new(sizeof *o);
    o->link = link;
    o->timer = timer_new(link->engine->evb, pass, o);
    return o;
}

void oneway_free(struct oneway *o) {
    struct dirty *d, *tmp;
    struct left *left, *after;
    if (o == NULL)
        return;
    HASH_ITER(hh, o->left, left, after) {
        HASH_DEL(o->left, left);
        free(left);
    }
    HASH_ITER(hh, o->dirty, d, tmp) {
        HASH_DEL(o->dirty, d);
        free(d);
    }
    event_free(o->timer);
    free(o);
}
