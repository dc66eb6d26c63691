/*
 * stage_part: what had come of a content when the link was cut.
 *
 * It lies in the stage under the name it was written with, h-<number>-<key>, so it is there as well
 * when syncd was killed: a start takes every such name that is long enough for one. (One that was
 * written under its final name, a delivery's, gets such a name.) It is asked for by the same key,
 * or by that of the delivery it was part of. Whether these bytes are the content's beginning is for
 * the peer to say, who gets their hash: so nothing here has to be durable, nor to be believed.
 *
 * They are dropped after a day, when there are too many, when the room is wanted, and when nothing
 * is left to merge, since nobody came for them then.
 *
 * Diagnostics: none; without a part all of the content is sent.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "io/io.h"
#include "stage_private.h"
#include "util/str.h"

#define PARTS_MAX      64
#define PARTS_SIZE_MAX (UINT64_C(1) << 30)
#define PARTS_SECONDS  (24 * 3600)

static struct stage_part *part_find(struct state *st, const char *key) {
    struct stage_part *p;

    HASH_FIND_STR(st->parts, key, p);
    return p;
}

static void part_free(struct state *st, struct stage_part *p) {
    HASH_DEL(st->parts, p);
    free(p);
}

static void part_drop(struct state *st, struct stage_part *p) {
    io_unlink(st->stage, p->file);
    part_free(st, p);
}

static bool is_old(const struct stage_part *p) {
    time_t now = time(NULL);

    return now > p->written && now - p->written > PARTS_SECONDS;
}

/* The oldest go first: the table is in the order in which they came, but for a start's. */
static void trim(struct state *st) {
    struct stage_part *p, *tmp;
    uint64_t size = 0;

    HASH_ITER(hh, st->parts, p, tmp) {
        size += p->size;
    }
    HASH_ITER(hh, st->parts, p, tmp) {
        if (!is_old(p) && HASH_COUNT(st->parts) <= PARTS_MAX && size <= PARTS_SIZE_MAX)
            continue;
        size -= p->size;
        part_drop(st, p);
    }
}

/* Under the mutex. False: it is not kept, and its file is the caller's still. */
static bool part_add(struct state *st, const char *key, const char *file) {
    struct stage_part *p = part_find(st, key);
    struct stat sb;

    if (p && strcmp(p->file, file) == 0)
        return true;
    if (fstatat(st->stage, file, &sb, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(sb.st_mode) ||
        (uint64_t)sb.st_size < STAGE_PART_MIN)
        return false;
    if (p && p->size > (uint64_t)sb.st_size)
        return false;
    if (p)
        part_drop(st, p);
    p = calloc(1, sizeof(*p));
    if (!p || str_copy(p->key, sizeof(p->key), key) < 0 ||
        str_copy(p->file, sizeof(p->file), file) < 0) {
        free(p);
        return false;
    }
    p->size = (uint64_t)sb.st_size;
    p->written = sb.st_mtim.tv_sec;
    HASH_ADD_STR(st->parts, key, p);
    trim(st);
    return true;
}

bool stage_part_load(struct state *st, const char *file) {
    uint64_t number;
    int at = 0;

    if (sscanf(file, "h-%" SCNu64 "-%n", &number, &at) != 1 || at == 0)
        return false;
    if (number > st->stage_number)
        st->stage_number = number;
    return part_add(st, file + at, file);
}

void stage_part_name(uint64_t number, const char *key, char out[STAGE_NAME_MAX]) {
    snprintf(out, STAGE_NAME_MAX, "h-%" PRIu64 "-%.200s", number, key);
}

/* Under the mutex. A prepared content has its name from the beginning, and may come once more. */
static int rename_prep(struct state *st, const char *key, char file[STAGE_NAME_MAX]) {
    char to[STAGE_NAME_MAX];
    int r;

    stage_part_name(++st->stage_number, key, to);
    r = io_rename(st->stage, file, st->stage, to, 0);
    return r == 0 ? str_copy(file, STAGE_NAME_MAX, to) : r;
}

/* Names in the stage are read while it is: a new one comes again, and is what it was. */
bool stage_part_load_prep(struct state *st, struct stage_item *it) {
    char file[STAGE_NAME_MAX];
    struct stat sb;

    if (fstatat(st->stage, it->file, &sb, AT_SYMLINK_NOFOLLOW) < 0 ||
        (uint64_t)sb.st_size < STAGE_PART_MIN || str_copy(file, sizeof(file), it->file) < 0 ||
        rename_prep(st, it->key, file) < 0)
        return false;
    if (!part_add(st, it->key, file))
        io_unlink(st->stage, file);
    stage_item_free(st, it);
    return true;
}

void stage_parts_free(struct state *st) {
    struct stage_part *p, *tmp;

    HASH_ITER(hh, st->parts, p, tmp) {
        part_free(st, p);
    }
}

unsigned stage_parts_drop(struct state *st) {
    struct stage_part *p, *tmp;
    unsigned n = 0;

    state_lock(st);
    HASH_ITER(hh, st->parts, p, tmp) {
        part_drop(st, p);
        n++;
    }
    state_unlock(st);
    return n;
}

void stage_keep_part(struct stage_file *f) {
    bool kept = false;

    if (!f)
        return;
    if (f->fd >= 0 && f->written >= STAGE_PART_MIN) {
        state_lock(f->st);
        kept = (!f->direct || rename_prep(f->st, f->key, f->name) == 0) &&
               part_add(f->st, f->key, f->name);
        state_unlock(f->st);
    }
    if (!kept) {
        stage_abandon(f);
        return;
    }
    close(f->fd);
    io_hasher_free(f->hash);
    free(f);
}

/* ---- going on ---------------------------------------------------------------------- */

/* The name of the part that is one's own from here on; "": there is none. */
static void part_take(struct state *st, const char *key, char file[STAGE_NAME_MAX]) {
    struct stage_part *p;

    state_lock(st);
    p = part_find(st, key);
    if (p && *file == '\0' && str_copy(file, STAGE_NAME_MAX, p->file) == 0)
        part_free(st, p);
    state_unlock(st);
}

/* What is there of it, hashed. */
static int read_part(struct stage_file *f, struct io_hasher *h) {
    size_t size = 256u << 10;
    uint8_t *buf = malloc(size);
    ssize_t n = buf ? 1 : -1;

    while (n > 0) {
        n = pread(f->fd, buf, size, (off_t)f->written);
        if (n < 0 && errno == EINTR) {
            n = 1;
            continue;
        }
        if (n > 0) {
            io_hasher_add(h, buf, (size_t)n);
            f->written += (uint64_t)n;
        }
    }
    free(buf);
    return n < 0 ? -EIO : 0;
}

int stage_resume(struct state *st, const struct mailfs_id *dir, int sub, const char *name,
                 const struct stage_prep *prep, struct stage_file **out, uint64_t *have,
                 uint8_t sha256[IO_HASH_BYTES]) {
    char key[STAGE_NAME_MAX];
    struct stage_file *f;
    int r;

    f = stage_file_for(st, dir, sub, name, &r);
    if (!f)
        return r;
    f->name[0] = '\0';
    part_take(st, f->key, f->name);
    if (prep && prep->seq) {
        stage_prep_key(prep->incarnation, prep->seq, key);
        part_take(st, key, f->name);
    }
    r = *f->name ? io_open_beneath(st->stage, f->name, O_RDWR, 0) : -ENOENT;
    f->fd = r < 0 ? -1 : r;
    if (r >= 0 && !f->hash)
        f->hash = io_hasher_new();
    if (r >= 0)
        r = read_part(f, f->hash);
    if (r == 0)
        r = io_hasher_so_far(f->hash, sha256);
    if (r < 0) {
        stage_abandon(f);
        return r;
    }
    *have = f->written;
    *out = f;
    return 0;
}

int stage_resume_as(struct stage_file *f, const Mfp__Meta *meta) {
    stage_set_meta(f, meta);
    return stage_set_owner(f);
}
