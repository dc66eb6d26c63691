/*
 * merge_run: carries out the merge of a mailbox on this node.
 *
 * Both nodes have both listings and compute the same result (lib/replica/merge); each puts it into
 * its own store and base. The base's digest afterwards proves it.
 *
 * Diagnostics: a merge that failed, with the mailbox; at level info what it did.
 */
#include "merge_run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base.h"
#include "coming.h"
#include "half.h"
#include "io/io.h"
#include "journal.h"
#include "merge_int.h"
#include "pending.h"
#include "recent.h"
#include "stage.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/str.h"

/* ---- what is kept back ------------------------------------------------------------- */

static void note_kept(struct state *st, bool some) {
    state_lock(st);
    st->kept_some = some;
    state_unlock(st);
}

int merge_kept_name(const char *name, char prefix, char kept[MERGE_KEPT_MAX]) {
    char hex[MAILFS_ID_HEX];
    struct mailfs_id id;
    int r = mailfs_id_new(&id);

    if (r == 0)
        snprintf(kept, MERGE_KEPT_MAX, "%c-%s-%.200s", prefix, mailfs_id_format(&id, hex), name);
    return r;
}

bool merge_kept_is(struct state *st, const char *kept) {
    struct stat sb;
    bool is = fstatat(st->kept, kept, &sb, AT_SYMLINK_NOFOLLOW) == 0;

    if (is)
        note_kept(st, true);
    return is;
}

int merge_keep(struct state *st, int dirfd, const char *name, char prefix, bool move) {
    char kept[MERGE_KEPT_MAX];
    int r = merge_kept_name(name, prefix, kept);

    if (r < 0)
        return r;
    r = move ? io_rename(dirfd, name, st->kept, kept, 0) : io_link(dirfd, name, st->kept, kept);
    if (r == 0 && prefix == 'l')
        note_kept(st, true);
    return r;
}

static int count_kept(void *arg, const char *name, unsigned char type) {
    uint64_t *n = arg;

    *n += str_starts(name, "l-");
    return 0;
}

uint64_t merge_kept(struct state *st) {
    uint64_t n = 0;
    bool some;

    state_lock(st);
    some = st->kept_some;
    state_unlock(st);
    if (some && store_each_name(st->kept, count_kept, &n) == 0 && n == 0)
        note_kept(st, false);
    return n;
}

static int drop_removed(void *arg, const char *name, unsigned char type) {
    struct state *st = arg;

    return str_starts(name, "r-") && type != DT_DIR ? io_unlink(st->kept, name) : 0;
}

void merge_keep_back(struct state *st) {
    state_lock(st);
    if (!st->keep_removed)
        st->keep_since = (int64_t)(clock_wall_ns() / 1000000000);
    st->keep_removed = true;
    st->keep_turn++;
    state_unlock(st);
}

uint64_t merge_keep_turn(struct state *st) {
    uint64_t turn;

    state_lock(st);
    turn = st->keep_turn;
    state_unlock(st);
    return turn;
}

int merge_caught_up(struct state *st, uint64_t turn) {
    bool over;
    int r;

    state_lock(st);
    over = st->keep_turn == turn;
    if (over)
        st->keep_removed = false;
    state_unlock(st);
    if (!over)
        return 0;
    pending_merged(st);
    stage_drop_idle(st);
    stage_keep_homeless(st);
    r = store_each_name(st->kept, drop_removed, st);
    if (r == 0)
        r = base_gone_in_sync(st);
    return r < 0 ? state_fail(st, r, NULL, "cannot remove what was kept back") : 0;
}

/* ---- the run ----------------------------------------------------------------------- */

static int same_digest(const Mfp__Listing *a, const Mfp__Listing *b) {
    return a->base_valid && b->base_valid && a->base_digest.len == STATE_DIGEST &&
           b->base_digest.len == STATE_DIGEST &&
           memcmp(a->base_digest.data, b->base_digest.data, STATE_DIGEST) == 0;
}

static bool has_line(char *const *v, size_t n, size_t at, const char *line) {
    size_t i;

    if (strcmp(v[at], line) == 0)
        return true;
    for (i = 0; i < n; i++)
        if (strcmp(v[i], line) == 0)
            return true;
    return false;
}

/* As a set: no line is there twice. */
static bool same_subs(const Mfp__Listing *l) {
    size_t i;

    if (l->n_subs != l->n_subs_base)
        return false;
    for (i = 0; i < l->n_subs; i++) {
        if (!has_line(l->subs_base, l->n_subs_base, i, l->subs[i]))
            return false;
    }
    return true;
}

bool merge_part_is_base(const Mfp__Listing *l, enum merge_part part) {
    switch (part) {
    case MERGE_NUMBERS:
        return l->v == l->base_v && l->n == l->base_n;
    case MERGE_KEYWORDS:
        return l->keywords.len == l->keywords_base.len &&
               (l->keywords.len == 0 ||
                memcmp(l->keywords.data, l->keywords_base.data, l->keywords.len) == 0);
    default:
        return same_subs(l);
    }
}

bool merge_listing_is_base(const Mfp__Listing *l) {
    return !l->gone && !l->full && l->base_valid && l->n_msgs == 0 && l->n_files == 0 &&
           merge_part_is_base(l, MERGE_NUMBERS) && merge_part_is_base(l, MERGE_KEYWORDS) &&
           merge_part_is_base(l, MERGE_SUBS);
}

/* Was the list of UIDs thrown away since, or put back? Numbers of another V mean nothing, also
 * those that look as they did and are not listed: all are to be. */
static bool numbered_anew(const Mfp__Listing *l) {
    return l->base_v != 0 && (l->v != l->base_v || l->n < l->base_n);
}

static void side_of(const Mfp__Listing *l, const struct merge_entry *entries, size_t n,
                    struct merge_side *s) {
    memset(s, 0, sizeof(*s));
    s->base_valid = l->base_valid;
    s->full = l->full;
    s->cut = l->cut;
    s->validity = l->v;
    s->next = l->n;
    s->base_validity = l->base_v;
    s->base_next = l->base_n;
    s->base_version = l->base_version;
    s->half_age = l->half_age;
    s->life = l->life;
    s->half_with = l->half_with;
    s->held = l->held;
    s->entries = entries;
    s->count = n;
}

static int compute(struct merge_run *m) {
    struct merge_side a, b;
    int r = merge_keywords_join(m);

    if (r == 0)
        r = merge_entries(m);
    if (r == 0)
        r = merge_published(m);
    if (r < 0)
        return r;
    side_of(m->mine, m->em, m->n_em, &a);
    side_of(m->theirs, m->et, m->n_et, &b);
    return merge_mailbox(&a, &b, 0, &m->result);
}

/* The place of a container that came with a marked parent, if the base has none yet. */
static int agree_on_dir(struct merge_run *m) {
    struct base_dir rec;
    int r = base_dir_get_in(m->a.st, BASE_PROPOSED, &m->a.dir, &rec);

    if (r < 0 && r != -ENOENT)
        return r;
    if (r == -ENOENT) {
        memset(&rec, 0, sizeof(rec));
        r = apply_place_of(m->a.st, m->a.d.fd[0], &rec.parent, NULL, rec.name);
        if (r == 0)
            r = io_handle_get_fd(m->a.d.fd[0], &rec.handle);
        if (r < 0)
            return r;
    }
    rec.agreed = rec.merged = true;
    return base_dir_put_in(m->a.st, BASE_PROPOSED, &m->a.dir, &rec);
}

static int merge_version(struct merge_run *m) {
    return base_version_put(m->a.st, BASE_PROPOSED, BASE_OF_MAILBOX, &m->a.dir, merge_age(m));
}

/* One that brings nothing can still have another number for what this node brings. */
static bool stays_here(const struct merge_result *r) {
    return r->stats.added_a + r->stats.removed_a + r->stats.changed_a == 0;
}

/* Whether the peer confirms the result may never be known here: the container is marked before
 * anything is changed in it. Nothing is, before everything is known to be there. */
static int carry_out(struct merge_run *m) {
    int r = compute(m);

    if (r == 0)
        m->only_base = m->only_base && stays_here(m->result);
    if (r == 0)
        r = merge_still_fits(m);
    if (r == 0)
        r = merge_contents_ready(m);
    if (r == 0)
        r = merge_contents_sync(m);
    if (r == 0)
        r = merge_unread_begin(m);
    if (r == 0)
        collect_forget_notes(m->a.st, &m->a.dir);
    /* What one base has and the other not is listed by one side at least: all is put anew. */
    if (r == 0 && m->both_full)
        r = base_wipe(m->a.st, BASE_PROPOSED, &m->a.dir);
    if (r == 0)
        r = agree_on_dir(m);
    if (r == 0 && m->a.st->main && !m->only_base)
        r = coming_note(m);
    if (r == 0)
        r = merge_apply_subdirs(m);
    if (r == 0)
        r = merge_apply_keywords(m);
    if (r == 0 && !m->only_base)
        r = merge_apply_msgs(m);
    if (r == 0)
        r = merge_apply_subs(m);
    if (r == 0)
        r = merge_apply_files(m);
    if (r == 0)
        r = merge_base_msgs(m);
    if (r == 0)
        r = merge_version(m);
    if (r == 0)
        r = apply_maildirsize(&m->a);
    /* The peer moves its base when it hears that this store has the result. */
    if (r == 0 && m->res.inval.n)
        r = state_sync(m->a.st, m->sync_errors);
    if (r == 0 && m->mine->cut)
        r = base_lacking_raised(m->a.st, &m->a.dir);
    if (r == 0 && !m->a.st->main) /* of a one-way link what the peer does not bring stays */
        r = half_keep(m);
    if (r == 0)
        merge_release_staged(m);
    if (r == 0)
        merge_unread_settled(m);
    return r;
}

static void report(struct merge_run *m) {
    const struct merge_stats *s = &m->result->stats;
    char path[256];

    if (s->added_a + s->added_b + s->removed_a + s->removed_b + s->conflicts + s->renumbered == 0)
        return;
    log_info("%s: merged: %zu came, %zu went, %zu sent, %zu removed there, %zu conflicts, "
             "%zu renumbered",
             state_path(m->a.st, &m->a.dir, path, sizeof(path)), s->added_a, s->removed_a,
             s->added_b, s->removed_b, s->conflicts, s->renumbered);
}

/* A container that is on one node only: the tree's merge, or the removal on its way, decides. */
static int merge_gone(struct state *st, const struct mailfs_id *dir, const Mfp__Listing *mine,
                      const Mfp__Listing *theirs) {
    int r;

    if (!(mine->gone && theirs->gone))
        return -EAGAIN;
    pending_clear(st, dir);
    recent_begin(st);
    journal_settled(st, dir);
    r = base_dir_del(st, dir);
    recent_end(st);
    return r;
}

static int run_open(struct merge_run *m, struct state *st, const struct mailfs_id *dir) {
    uint64_t gen;
    int r;

    kv_refuse(st, dir); /* of an earlier round */
    kv_forget_sent(
        st, dir); /* frozen: nothing is on its way; what was collected and not sent is listed */
    m->a.st = st;
    m->a.dir = *dir;
    m->a.locked = true;
    m->a.out = &m->res;
    r = store_dir_open(st, dir, &m->a.d);
    if (r == 0)
        r = index_read(st, &m->a.d, &m->a.ix);
    m->a.has_ix = r == 0;
    if (r == 0)
        r = state_mark_gen(st, &gen);
    return r == 0 ? state_mark(st, dir, gen) : r;
}

static void run_close(struct merge_run *m, struct invals *inval) {
    if (m->a.has_ix)
        index_free(&m->a.ix);
    store_dir_close(&m->a.d);
    merge_result_free(m->result);
    stage_keys_free(&m->unsynced);
    maildir_keywords_free(m->kw);
    free(m->em);
    free(m->et);
    if (inval)
        *inval = m->res.inval;
    else
        invals_free(&m->res.inval);
}

int merge_mailbox_run(struct state *st, const struct mailfs_id *dir, const Mfp__Listing *mine,
                      const Mfp__Listing *theirs, uint8_t digest[STATE_DIGEST],
                      struct invals *inval) {
    struct merge_run m = {.mine = mine, .theirs = theirs};
    int r;

    memset(digest, 0, STATE_DIGEST);
    if (inval)
        memset(inval, 0, sizeof(*inval));
    if (mine->gone || theirs->gone)
        return merge_gone(st, dir, mine, theirs);
    m.same_base = same_digest(mine, theirs);
    m.both_full = mine->full && theirs->full;
    m.only_base = m.same_base && merge_listing_is_base(theirs) && !mine->cut && !theirs->cut &&
                  mine->half_age == 0;
    /* The listings are of two bases, or do not say all: full ones are needed. */
    if (!m.both_full && (!m.same_base || numbered_anew(mine) || numbered_anew(theirs)))
        return -ESTALE;
    m.sync_errors = state_sync_errors(st);
    m.a.d = (struct store_dir){.fd = {-1, -1, -1, -1}};
    r = run_open(&m, st, dir);
    if (r == 0)
        r = carry_out(&m);
    if (r == 0)
        report(&m);
    run_close(&m, inval);
    if (r == 0)
        r = base_digest_in(st, BASE_PROPOSED, dir, digest);
    if (r < 0)
        kv_refuse(st, dir);
    if (r < 0 && r != -ENODATA && r != -ESTALE && r != -EOWNERDEAD && !m.told)
        state_fail(st, r, dir, "cannot merge");
    return r;
}

int merge_mailbox_done(struct state *st, const struct mailfs_id *dir) {
    int r;

    recent_begin(st);
    r = kv_accept(st, dir);
    if (r == 0)
        journal_settled(st, dir);
    if (r == 0)
        r = base_lacking_merged(st, dir);
    if (r == 0 && st->main)
        r = coming_forget(st, dir);
    recent_end(st);
    if (r == 0)
        r = half_settled(st, dir);
    else
        half_forget(st, dir);
    return r < 0 ? state_fail(st, r, dir, "cannot take over the result of a merge") : 0;
}

void merge_mailbox_half(struct state *st, const struct mailfs_id *dir) {
    kv_refuse(st, dir);
    coming_take(st, dir); /* an error: it will be brought, as this node's own */
    merge_mailbox_forget(st, dir);
}

void merge_broken_off(struct state *st, bool standby) {
    int r = coming_load(st, standby);

    if (r < 0)
        state_fail(st, r, NULL, "cannot look for merges that were broken off");
}

void merge_mailbox_forget(struct state *st, const struct mailfs_id *dir) {
    bool did = kv_proposes(st, dir);

    kv_refuse(st, dir);
    if (st->main)
        coming_forget(st, dir);
    collect_forget_notes(st, dir); /* what was written to the uidlist is not agreed */
    if (did)
        pending_rescan(st, dir); /* an error: for status, the next merge counts */
}
