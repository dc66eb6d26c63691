/*
 * recent - see recent.h
 *
 * The file: a line that names the life of the file system, then records: length 4, and items of
 * one transaction: table 1, length of the key 2, of the value 4 (all ones: none), key, value. Only
 * the last record can have been cut short, by a kill within its write.
 *
 * An error of writing ends it until the next checkpoint: without the file a start is as after a
 * power cut. A full disk does not, for a while: room is set apart beforehand.
 *
 * Diagnostics: how far it is known at a start; that it cannot be written.
 */
#include "recent.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"
#include "io/io.h"
#include "journal.h"
#include "store.h"
#include "util/bytes.h"
#include "util/log.h"
#include "util/str.h"

#define PREFIX     "recent-"
#define ITEM_HEAD  7
#define NO_VALUE   UINT32_MAX
#define RECENT_MAX ((size_t)256 << 20) /* of one checkpoint to the next; beyond, it ends */
#define APART      ((size_t)1 << 20)   /* some thousands of flags or removals */

static void file_name(uint64_t generation, char out[48]) {
    snprintf(out, 48, PREFIX "%" PRIu64, generation);
}

/* ---- writing ----------------------------------------------------------------------- */

/* What one thread does that belongs together. */
static _Thread_local struct {
    struct state *st;
    unsigned depth;
    struct buf items;
} group;

static void close_file(struct recent *f) {
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

/* Under its mutex. A chain that lacks a part must not be taken for whole: its beginning goes first.
 */
static void give_up(struct state *st) {
    struct recent *f = &st->recent;
    char name[48];
    int r;

    if (f->fd >= 0)
        io_ftruncate(f->fd, 0); /* should the name stay */
    close_file(f);
    file_name(f->generation - 1, name);
    r = io_unlink(st->own, name);
    file_name(f->generation, name);
    if (r == 0 || r == -ENOENT)
        io_unlink(st->own, name);
    atomic_store(&f->lost, true);
}

static int set_apart(int fd, size_t from, size_t to) {
    int r = io_fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)(to - from));

    return r == -EOPNOTSUPP ? 0 : r;
}

static int append(struct recent *f, struct buf *items) {
    size_t end = f->size + items->len;

    /* Where there is no more to be had it goes on in what there is. */
    if (end + APART / 2 > f->apart && set_apart(f->fd, f->size, end + APART) == 0)
        f->apart = end + APART;
    bytes_put_u32((uint8_t *)items->p, (uint32_t)(items->len - 4));
    f->size += items->len;
    return io_write_all(f->fd, items->p, items->len);
}

static void report(struct state *st, int err) {
    state_fail(st, err, NULL, "cannot note what is known since the last checkpoint");
}

static void write_record(struct state *st, struct buf *items) {
    struct recent *f = &st->recent;
    int r = buf_error(items);

    pthread_mutex_lock(&f->mutex);
    if (f->fd < 0)
        r = 0; /* given up before, and said */
    else if (r == 0 && f->size + items->len > RECENT_MAX)
        r = -EFBIG;
    else if (r == 0)
        r = append(f, items);
    if (r < 0)
        give_up(st);
    pthread_mutex_unlock(&f->mutex);
    if (r < 0)
        report(st, r);
}

static void record_init(struct buf *items) {
    buf_init(items, RECENT_MAX);
    buf_append(items, "\0\0\0\0", 4); /* its length */
}

static void add_item(struct buf *b, enum table t, const void *key, size_t nkey, const void *val,
                     size_t nval) {
    uint8_t head[ITEM_HEAD];

    head[0] = (uint8_t)t;
    bytes_put_u16(head + 1, (uint16_t)nkey);
    bytes_put_u32(head + 3, val ? (uint32_t)nval : NO_VALUE);
    buf_append(b, head, sizeof(head));
    buf_append(b, key, nkey);
    if (val)
        buf_append(b, val, nval);
}

void recent_begin(struct state *st) {
    if (group.depth == 0) {
        group.st = st;
        record_init(&group.items);
    }
    if (group.st == st)
        group.depth++;
}

void recent_end(struct state *st) {
    if (group.st != st || --group.depth > 0)
        return;
    if (group.items.len > 4 || buf_error(&group.items) < 0)
        write_record(st, &group.items);
    buf_free(&group.items);
    group.st = NULL;
}

void recent_put(struct state *st, enum table t, const void *key, size_t nkey, const void *val,
                size_t nval) {
    struct buf one;

    if (group.st == st) {
        add_item(&group.items, t, key, nkey, val, nval);
        return;
    }
    record_init(&one);
    add_item(&one, t, key, nkey, val, nval);
    write_record(st, &one);
    buf_free(&one);
}

/* ---- files ------------------------------------------------------------------------- */

/* It has its name when it can be read: after a kill, one without its first line would make all of
 * what its predecessor says unknown. */
static int make_file(struct state *st, const char *name) {
    struct recent *f = &st->recent;
    char line[IO_LIFE_MAX + 1];
    int n = snprintf(line, sizeof(line), "%s\n", f->life), r;
    int fd = io_open_beneath(st->own, PREFIX "new", O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);

    r = fd < 0 ? fd : set_apart(fd, 0, APART);
    if (r == 0)
        r = io_write_all(fd, line, (size_t)n);
    if (r == 0)
        r = io_rename(st->own, PREFIX "new", st->own, name, 0);
    if (r < 0) {
        if (fd >= 0)
            close(fd);
        io_unlink(st->own, PREFIX "new");
        return r;
    }
    close_file(f);
    f->fd = fd;
    f->size = (size_t)n;
    f->apart = APART;
    return 0;
}

/* No room for another one: this one is about what follows upon the next base, too. What it says of
 * the time before is in that, and can be said once more. */
static int share_file(struct state *st, const char *name) {
    char old[48];

    file_name(st->recent.generation, old);
    return io_link(st->own, old, st->own, name);
}

/* Under the mutex, or at the start. */
static int start_file(struct state *st, uint64_t generation) {
    struct recent *f = &st->recent;
    bool goes_on = f->fd >= 0;
    char name[48];
    int r;

    if (!*f->life)
        return 0;
    file_name(generation, name);
    r = make_file(st, name);
    if (goes_on && (r == -ENOSPC || r == -EDQUOT)) {
        r = share_file(st, name);
        if (r == -ENOSPC || r == -EDQUOT)
            return r;
    }
    f->generation = generation;
    if (r < 0)
        give_up(st);
    return r;
}

int recent_next(struct state *st, uint64_t generation) {
    struct recent *f = &st->recent;
    bool goes_on;
    int r = 0;

    pthread_mutex_lock(&f->mutex);
    /* Otherwise the checkpoint failed, and is tried again. */
    if (f->generation != generation || f->fd < 0)
        r = start_file(st, generation);
    goes_on = f->fd >= 0;
    pthread_mutex_unlock(&f->mutex);
    if (r < 0 && !goes_on)
        report(st, r);
    return goes_on ? r : 0;
}

bool recent_is_lost(const struct state *st) {
    return atomic_load(&st->recent.lost);
}

void recent_committed(struct state *st) {
    struct recent *f = &st->recent;
    char name[48];

    pthread_mutex_lock(&f->mutex);
    if (f->fd >= 0) /* it follows upon a base that is there now */
        atomic_store(&f->lost, false);
    pthread_mutex_unlock(&f->mutex);
    file_name(st->generation - 1, name);
    io_unlink(st->own, name);
}

void recent_close(struct state *st) {
    close_file(&st->recent);
    pthread_mutex_destroy(&st->recent.mutex);
}

/* ---- reading ----------------------------------------------------------------------- */

typedef int item_fn(struct state *st, enum table t, const uint8_t *key, size_t nkey,
                    const uint8_t *val, size_t nval);

static bool is_item(uint8_t t, size_t nkey) {
    return t == T_JOURNAL ? nkey == 8 : t < KV_TABLES && nkey > MAILFS_ID_BYTES;
}

static int each_item(struct state *st, const uint8_t *p, size_t n, item_fn *fn) {
    int r = 0;

    while (r == 0 && n > 0) {
        size_t nkey = n < ITEM_HEAD ? 0 : bytes_get_u16(p + 1);
        uint32_t len = n < ITEM_HEAD ? 0 : bytes_get_u32(p + 3);
        size_t nval = len == NO_VALUE ? 0 : len;

        if (n < ITEM_HEAD || n - ITEM_HEAD < nkey + nval || !is_item(p[0], nkey))
            return -EUCLEAN;
        if (fn)
            r = fn(st, (enum table)p[0], p + ITEM_HEAD, nkey,
                   len == NO_VALUE ? NULL : p + ITEM_HEAD + nkey, nval);
        p += ITEM_HEAD + nkey + nval;
        n -= ITEM_HEAD + nkey + nval;
    }
    return r;
}

/* *end: behind the last whole record. */
static int each_record(struct state *st, const char *text, size_t n, size_t *end, item_fn *fn) {
    const uint8_t *p = (const uint8_t *)text;
    int r = 0;

    while (r == 0 && n - *end >= 4 && n - *end - 4 >= bytes_get_u32(p + *end)) {
        size_t len = bytes_get_u32(p + *end);
        r = each_item(st, p + *end + 4, len, fn);
        *end += 4 + len;
    }
    return r;
}

static int take_item(struct state *st, enum table t, const uint8_t *key, size_t nkey,
                     const uint8_t *val, size_t nval) {
    if (t == T_JOURNAL) {
        journal_was_applied(st, bytes_get_u64(key));
        return 0;
    }
    return kv_put(st, KV_AGREED, t, key, nkey, val, nval);
}

struct part {
    char *text;
    size_t n, from, end; /* its records */
};

/* -ENOENT: none; -ESTALE: of another life. */
static int read_part(struct state *st, uint64_t generation, struct part *part) {
    size_t line = strlen(st->recent.life);
    char name[48];
    int r;

    file_name(generation, name);
    r = io_file_read_at(st->own, name, RECENT_MAX + IO_LIFE_MAX, &part->text, &part->n, NULL);
    if (r < 0)
        return r;
    if (part->n <= line || memcmp(part->text, st->recent.life, line) != 0 ||
        part->text[line] != '\n')
        return -ESTALE;
    part->from = part->end = line + 1;
    return each_record(st, part->text, part->n, &part->end, NULL);
}

/* Goes on with a file. */
static int take_part(struct state *st, uint64_t generation, const struct part *part) {
    struct recent *f = &st->recent;
    size_t end = part->from;
    char name[48];
    int r = each_record(st, part->text, part->n, &end, take_item);

    if (r < 0)
        return r;
    close_file(f);
    file_name(generation, name);
    f->generation = generation;
    f->size = f->apart = part->end;
    f->fd = io_open_beneath(st->own, name, O_RDWR | O_APPEND, 0);
    if (f->fd < 0)
        return f->fd;
    return part->end < part->n ? io_ftruncate(f->fd, (off_t)part->end) : 0;
}

/* A kill between the beginning of a checkpoint and its commit leaves two, or two names of one. */
static int take_all(struct state *st) {
    struct part a = {0}, b = {0};
    int r = read_part(st, st->generation, &a), r2;

    r2 = r == 0 ? read_part(st, st->generation + 1, &b) : r;
    if (r == 0)
        r = r2 == -ENOENT ? 0 : r2;
    /* (while it is read nothing of it is written again: the file is opened behind that) */
    if (r == 0)
        r = take_part(st, st->generation, &a);
    if (r == 0 && r2 == 0) {
        close_file(&st->recent);
        r = take_part(st, st->generation + 1, &b);
    }
    free(a.text);
    free(b.text);
    return r;
}

struct sweep {
    struct state *st;
    uint64_t from, to; /* stay */
};

static int sweep_one(void *arg, const char *name, unsigned char type) {
    const struct sweep *s = arg;
    uint64_t gen;

    if (!str_starts(name, PREFIX))
        return 0;
    gen = strtoull(name + strlen(PREFIX), NULL, 10);
    if (gen < s->from || gen > s->to)
        io_unlink(s->st->own, name);
    return 0;
}

void recent_forget(struct state *st) {
    struct sweep all = {st, UINT64_MAX, 0};

    store_each_name(st->own, sweep_one, &all);
}

void recent_open(struct state *st) {
    struct recent *f = &st->recent;
    struct sweep old = {st, st->generation, st->generation + 1};
    bool goes_on = state_start_goes_on(st);
    int r = io_life(st->root, f->life);

    if (r < 0)
        f->life[0] = '\0';
    if (r == 0)
        r = take_all(st);
    f->whole = r == 0 && !goes_on;
    if (r == 0) {
        store_each_name(st->own, sweep_one, &old);
        return;
    }
    if (r != -ENOENT)
        log_info("%s: what was not synced is not known to be there: %s", st->store_path,
                 r == -ESTALE ? "booted, or mounted anew, since" : log_strerror(r));
    close_file(f);
    recent_forget(st);
    r = state_start_begin(st);
    if (r < 0)
        f->life[0] = '\0'; /* then there is no file: a later start would take it for all */
    else
        r = start_file(st, st->generation);
    if (r < 0)
        report(st, r);
}
