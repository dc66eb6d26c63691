/*
 * pending: which messages added here the peer does not have yet.
 *
 * In memory, in the order they came (uthash iterates in the order of insertion), so the oldest is
 * the first. About 150 bytes each; at most PENDING_MAX, further ones are not counted.
 * A restart counts anew: pending_rescan(). Nothing is logged.
 */
#include "pending.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "state_int.h"
#include "store.h"
#include "util/clock.h"

#define PENDING_MAX 2000000

static size_t pend_key(uint8_t *key, const struct mailfs_id *dir, const char *base) {
    size_t n = strnlen(base, MAILDIR_NAME_MAX);

    memcpy(key, dir->b, MAILFS_ID_BYTES);
    memcpy(key + MAILFS_ID_BYTES, base, n);
    return MAILFS_ID_BYTES + n;
}

static void add_at(struct state *st, const struct mailfs_id *dir, const char *base, uint64_t bytes,
                   uint64_t wall_ns) {
    uint8_t key[MAILFS_ID_BYTES + MAILDIR_NAME_MAX];
    size_t n = pend_key(key, dir, base);
    struct pend *p;

    state_lock(st);
    HASH_FIND(hh, st->pending, key, n, p);
    if (!p && HASH_COUNT(st->pending) < PENDING_MAX && (p = calloc(1, sizeof(*p) + n + 1))) {
        p->bytes = bytes;
        p->wall_ns = wall_ns;
        memcpy(p->key, key, n);
        HASH_ADD_KEYPTR(hh, st->pending, p->key, n, p);
        st->pending_bytes += bytes;
        st->pending_count++;
    }
    state_unlock(st);
}

void pending_add(struct state *st, const struct mailfs_id *dir, const char *base, uint64_t bytes) {
    add_at(st, dir, base, bytes, clock_wall_ns());
}

static void drop(struct state *st, struct pend *p) {
    st->pending_bytes -= p->bytes;
    st->pending_count--;
    HASH_DEL(st->pending, p);
    free(p);
}

void pending_del(struct state *st, const struct mailfs_id *dir, const char *base) {
    uint8_t key[MAILFS_ID_BYTES + MAILDIR_NAME_MAX];
    size_t n = pend_key(key, dir, base);
    struct pend *p;

    state_lock(st);
    HASH_FIND(hh, st->pending, key, n, p);
    if (p)
        drop(st, p);
    state_unlock(st);
}

void pending_clear(struct state *st, const struct mailfs_id *dir) {
    struct pend *p, *tmp;

    state_lock(st);
    HASH_ITER(hh, st->pending, p, tmp) {
        if (memcmp(p->key, dir->b, MAILFS_ID_BYTES) == 0)
            drop(st, p);
    }
    state_unlock(st);
}

/* Told of, and not acknowledged. */
static bool is_on_its_way(struct state *st, const struct pend *p) {
    const char *base = (const char *)p->key + MAILFS_ID_BYTES;
    struct base_msg msg;
    struct mailfs_id dir;

    memcpy(dir.b, p->key, MAILFS_ID_BYTES);
    return base_msg_get(st, BASE_SENT, &dir, base, &msg) == 0 &&
           base_msg_get(st, BASE_AGREED, &dir, base, &msg) == -ENOENT;
}

void pending_merged(struct state *st) {
    struct pend *p, *tmp;

    HASH_ITER(hh, st->pending, p, tmp) {
        if (is_on_its_way(st, p))
            continue;
        state_lock(st);
        drop(st, p);
        state_unlock(st);
    }
}

void pending_totals(struct state *st, struct pending_totals *out) {
    state_lock(st);
    out->messages = st->pending_count;
    out->bytes = st->pending_bytes;
    out->oldest_wall_ns = st->pending ? st->pending->wall_ns : 0;
    state_unlock(st);
}

void pending_free(struct state *st) {
    struct pend *p, *tmp;

    HASH_ITER(hh, st->pending, p, tmp) {
        HASH_DEL(st->pending, p);
        free(p);
    }
}

struct rescan {
    struct state *st;
    const struct mailfs_id *dir;
    int fd;
};

static int rescan_name(void *arg, const char *name, unsigned char type) {
    struct rescan *rs = arg;
    char base[MAILDIR_NAME_MAX + 1];
    struct base_msg msg;
    struct stat sb;
    size_t n = maildir_name_base_len(name, strlen(name));

    if (maildir_name_check(name, strlen(name), MAILDIR_NAME_MESSAGE) < 0)
        return 0;
    memcpy(base, name, n);
    base[n] = '\0';
    if (base_msg_get(rs->st, BASE_AGREED, rs->dir, base, &msg) == 0)
        return 0;
    if (fstatat(rs->fd, name, &sb, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(sb.st_mode))
        add_at(rs->st, rs->dir, base, (uint64_t)sb.st_size,
               (uint64_t)sb.st_ctim.tv_sec * 1000000000u + (uint64_t)sb.st_ctim.tv_nsec);
    return 0;
}

static int by_time(const struct pend *a, const struct pend *b) {
    return a->wall_ns < b->wall_ns ? -1 : a->wall_ns > b->wall_ns;
}

int pending_rescan(struct state *st, const struct mailfs_id *dir) {
    struct store_dir d;
    uint64_t before;
    int r = store_dir_open(st, dir, &d), sub;

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    state_lock(st);
    before = st->pending_count;
    state_unlock(st);
    for (sub = MFP__SUB__NEW; r == 0 && sub <= MFP__SUB__CUR; sub++) {
        struct rescan rs = {st, dir, store_sub_open(st, &d, sub, false)};
        if (rs.fd >= 0)
            r = store_each_name(rs.fd, rescan_name, &rs);
    }
    store_dir_close(&d);
    state_lock(st);
    if (st->pending_count != before)
        HASH_SORT(st->pending, by_time); /* directories have another order */
    state_unlock(st);
    return r;
}
