/*
 * state_identity: do store, state and peer belong together?
 *
 * STORE/.mailfs/id holds the store's id in 32 hex digits; the base has a copy. When the two differ
 * (a store restored from a backup, a state directory of another store) the base is forgotten: then
 * nothing is taken for removed, and the next contact compares everything. So it is when the one is
 * older than the other: STORE/.mailfs/generation and the base's copy count the checkpoints, and the
 * store, written first, may be ahead by one.
 *
 * Diagnostics: a lost base; a base of another version.
 */
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"
#include "io/io.h"
#include "owed.h"
#include "recent.h"
#include "state_int.h"
#include "util/log.h"
#include "util/str.h"

#define BASE_FORMAT "1" /* docs/INTERFACES.md */

/* ---- meta -------------------------------------------------------------------------- */

struct meta {
    const char *key;
    const void *val;
    size_t n;
    char out[256];
};

static int meta_read(struct db_txn *txn, void *arg) {
    struct meta *m = arg;
    struct db_val v;
    int r = db_get(txn, T_META, m->key, strlen(m->key), &v);

    if (r == 0)
        r = str_copyn(m->out, sizeof(m->out), v.p, v.n);
    return r;
}

static int meta_write(struct db_txn *txn, void *arg) {
    struct meta *m = arg;

    return db_put(txn, T_META, m->key, strlen(m->key), m->val, m->n);
}

static int meta_get(struct state *st, const char *key, char out[256]) {
    struct meta m = {.key = key};
    int r = db_view(st->db, meta_read, &m);

    memcpy(out, m.out, sizeof(m.out));
    return r;
}

static int meta_put(struct state *st, const char *key, const char *val) {
    struct meta m = {.key = key, .val = val, .n = strlen(val)};
    return db_update(st->db, meta_write, &m);
}

int state_set_contact(struct state *st, bool had) {
    int r = meta_put(st, "contact", had ? "1" : "0");

    if (r < 0)
        return state_fail(st, r, NULL, "state: cannot note the common base");
    st->had_contact = had;
    return 0;
}

bool state_had_contact(const struct state *st) {
    return st->had_contact;
}

int state_set_met(struct state *st) {
    int r = st->met ? 0 : meta_put(st, "met", "1");

    if (r < 0)
        return state_fail(st, r, NULL, "state: cannot note the first merge");
    st->met = true;
    return 0;
}

int state_set_followed(struct state *st, uint64_t term) {
    char text[24];
    int r = 0;

    snprintf(text, sizeof(text), "%" PRIu64, term);
    if (!state_followed(st, term))
        r = meta_put(st, "followed", text);
    if (r < 0)
        return state_fail(st, r, NULL, "state: cannot note that the other end has everything");
    state_lock(st);
    st->followed = term + 1;
    state_unlock(st);
    return 0;
}

bool state_followed(struct state *st, uint64_t term) {
    bool is;

    state_lock(st);
    is = st->had_contact && st->followed == term + 1;
    state_unlock(st);
    return is;
}

int state_set_role(struct state *st, const char *line) {
    int r = meta_put(st, "role", line);

    return r < 0 ? state_fail(st, r, NULL, "state: cannot note the role") : 0;
}

int state_role(struct state *st, char line[STATE_ROLE_MAX]) {
    return meta_get(st, "role", line);
}

/* ---- a start after a power cut ----------------------------------------------------- */

int state_start_begin(struct state *st) {
    return meta_put(st, "start", st->lost ? "lost" : st->first ? "first" : "cut");
}

bool state_start_goes_on(struct state *st) {
    char was[256] = "";
    int r = meta_get(st, "start", was);

    if (r == -ENOENT)
        return false;
    st->lost = st->lost || strcmp(was, "lost") == 0;
    st->first = st->first || strcmp(was, "first") == 0;
    return r < 0 || strcmp(was, "0") != 0;
}

int state_start_over(struct state *st) {
    int r = st->recent.whole ? 0 : meta_put(st, "start", "0");

    return r < 0 ? state_fail(st, r, NULL, "state: cannot note that the journal is applied") : 0;
}

/* ---- what belongs to what ---------------------------------------------------------- */

/* A file of .mailfs/; by way of the stage, which is swept at a start. */
static int replace(struct state *st, int dirfd, const char *name, const char *text, size_t n) {
    const struct io_file_attr attr = {.has_tmpdir = 1, .tmpdir = st->stage};

    return io_file_replace_at(dirfd, name, text, n, &attr);
}

/* -ENOENT: it has none (or one that is none of ours). */
static int read_store_id(struct state *st, struct mailfs_id *id) {
    char *text;
    size_t n;
    int r = io_file_read_at(st->home, "id", 256, &text, &n, NULL);

    if (r < 0)
        return r;
    text[n < 32 ? n : 32] = '\0';
    r = mailfs_id_parse(text, id);
    free(text);
    return r < 0 ? -ENOENT : 0;
}

static int make_store_id(struct state *st, struct mailfs_id *id) {
    char hex[MAILFS_ID_HEX];
    int r = mailfs_id_new(id);

    if (r == 0)
        r = replace(st, st->home, "id", mailfs_id_format(id, hex), 32);
    return r;
}

/* Another peer than before, or the first: there is no common base with it. */
static int check_peer(struct state *st) {
    char peer[256], contact[256];
    int r = meta_get(st, "peer", peer);

    if (r < 0 && r != -ENOENT)
        return r;
    if (st->peer && (r == -ENOENT || strcmp(peer, st->peer) != 0)) {
        r = meta_put(st, "contact", "0");
        if (r == 0)
            r = meta_put(st, "peer", st->peer);
        if (r < 0)
            return r;
    }
    r = meta_get(st, "contact", contact);
    if (r < 0 && r != -ENOENT)
        return r;
    st->had_contact = r == 0 && strcmp(contact, "1") == 0;
    return 0;
}

/* Of the store; 0: it has none. */
static int read_generation(struct state *st, uint64_t *gen) {
    char *text;
    size_t n;
    int r = io_file_read_at(st->own, "generation", 32, &text, &n, NULL);

    *gen = 0;
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    if (sscanf(text, "%" SCNu64, gen) != 1)
        *gen = UINT64_MAX; /* not one of ours: as if it were another store's */
    free(text);
    return 0;
}

/* Always of one length, and over the old one: a store that is full has no room for another file. */
int state_write_generation(struct state *st, uint64_t gen) {
    char text[24];
    size_t n = (size_t)snprintf(text, sizeof(text), "%020" PRIu64, gen);
    int r, fd = io_open_beneath(st->own, "generation", O_WRONLY, 0);

    if (fd == -ENOENT)
        return replace(st, st->own, "generation", text, n);
    if (fd < 0)
        return fd;
    r = io_pwrite_all(fd, text, n, 0);
    if (r == 0)
        r = io_fsync(fd);
    close(fd);
    return r;
}

/* Is one of store and base of an earlier time than the other? st->generation: what the base has. */
static int check_generation(struct state *st, bool *lost) {
    char text[256] = "";
    uint64_t gen;
    int r = meta_get(st, "generation", text);

    if (r < 0 && r != -ENOENT)
        return r;
    st->generation = strtoull(text, NULL, 10);
    r = read_generation(st, &gen);
    if (r == 0 && gen != st->generation && gen != st->generation + 1) {
        log_warn("%s: store and state are of different times (%" PRIu64 ", %" PRIu64 ")",
                 st->store_path, gen, st->generation);
        *lost = true;
    }
    return r;
}

/* Both begin at one, after the base was forgotten. */
static int restart_generation(struct state *st) {
    int r = meta_put(st, "generation", "1");

    if (r == 0)
        r = state_write_generation(st, 1);
    st->generation = 1;
    return r;
}

static int clear_meta(struct db_txn *txn) {
    struct db_iter it;
    int r = db_iter_first(txn, T_META, NULL, 0, &it);

    while (r == 0) {
        if (!owed_is_key(&it.key))
            r = db_iter_del(&it);
        if (r == 0)
            r = db_iter_next(&it);
    }
    db_iter_end(&it);
    return r == -ENOENT ? 0 : r;
}

struct anew {
    const char *store_id;
    bool lost;
};

/* That a base was lost is known as soon as it is not there: the start can end here. */
static int write_anew(struct db_txn *txn, void *arg) {
    const struct anew *a = arg;
    struct meta id = {.key = "store_id", .val = a->store_id, .n = strlen(a->store_id)};
    struct meta met = {.key = "met", .val = "1", .n = 1};
    struct meta start = {.key = "start", .val = "lost", .n = 4};
    unsigned t;
    int r = 0;

    for (t = 0; r == 0 && t < T_END; t++)
        r = t == T_META ? clear_meta(txn) : db_clear(txn, t);
    if (r == 0)
        r = meta_write(txn, &id);
    if (r == 0 && a->lost)
        r = meta_write(txn, &met);
    return r == 0 && a->lost ? meta_write(txn, &start) : r;
}

static int begin_base(struct state *st, const char *store_id, bool lost) {
    struct anew a = {store_id, lost};
    int r;

    recent_forget(st);
    r = db_update(st->db, write_anew, &a);

    return r == 0 ? restart_generation(st) : r;
}

static int forget_base(struct state *st, const char *store_id) {
    log_warn("%s: the state does not belong to this store, or is not of its time; everything will "
             "be compared, and nothing removed",
             st->store_path);
    return begin_base(st, store_id, true);
}

/* Only mail that was never merged with another node's needs no care with its UIDs. */
static int check_met(struct state *st) {
    char met[256];
    int r = meta_get(st, "met", met);

    if (r < 0 && r != -ENOENT)
        return r;
    st->met = st->had_contact || (r == 0 && strcmp(met, "1") == 0);
    return 0;
}

static int read_followed(struct state *st) {
    char term[256];
    int r = meta_get(st, "followed", term);

    if (r == 0)
        st->followed = strtoull(term, NULL, 10) + 1;
    return r == -ENOENT ? 0 : r;
}

/*
 * Do store, state and peer belong together? Otherwise the base is that of something else, and is
 * forgotten. A store whose id is not its state's may be a copy, of the peer's store even, and two
 * of one id are refused: it gets another. (The id is of use to its own state only, and those of its
 * one-way links.)
 */
int state_check_identity(struct state *st, struct state_start *start) {
    char hex[MAILFS_ID_HEX] = "", was[256] = "";
    struct mailfs_id id;
    bool has_id, has_state;
    int r = read_store_id(st, &id);

    has_id = r == 0;
    r = r == -ENOENT ? 0 : r;
    if (r == 0)
        r = meta_get(st, "store_id", was);
    has_state = r == 0;
    r = r == -ENOENT ? 0 : r;
    if (r == 0 && has_id && strcmp(mailfs_id_format(&id, hex), was) == 0) {
        r = check_generation(st, &start->lost);
    } else if (r == 0 && st->main) { /* the volume has seen to the store's id; the link is new */
        start->lost = has_state;
    } else if (r == 0) {
        start->lost = has_id || has_state;
        r = make_store_id(st, &id);
        mailfs_id_format(&id, hex);
    }
    st->lost = start->lost;
    st->first = !has_state;
    if (r == 0 && start->lost)
        r = forget_base(st, hex);
    else if (r == 0 && !has_state)
        r = begin_base(st, hex, false);
    memcpy(start->store_id, id.b, sizeof(id.b));
    if (r == 0)
        r = check_peer(st);
    if (r == 0)
        r = check_met(st);
    if (r == 0)
        r = read_followed(st);
    start->had_contact = st->had_contact;
    start->met = st->met;
    return r;
}

/* Of another version of this program: not touched. */
int state_check_format(struct state *st) {
    char format[256];
    int r = meta_get(st, "format", format);

    if (r == -ENOENT)
        return meta_put(st, "format", BASE_FORMAT);
    if (r == 0 && strcmp(format, BASE_FORMAT) != 0) {
        log_error("the base is of format %s, this program knows %s", format, BASE_FORMAT);
        return -EUCLEAN;
    }
    return r;
}
