/*
 * check_content: the messages of a mailbox against their sizes and checksums, and digests of these
 *
 * Contents are read from the disk, not from the page cache, where damage does not show; and do not
 * stay in it, where they would displace what is in use.
 *
 * Diagnostics: none; what is found is returned.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base.h"
#include "check_int.h"
#include "io/io.h"
#include "util/clock.h"
#include "util/str.h"

/* ---- contents ---------------------------------------------------------------------- */

static int begin(struct state *st, const struct mailfs_id *dir, struct store_dir *d,
                 struct index *ix) {
    int r;

    ix->msgs = NULL;
    *d = (struct store_dir){.fd = {-1, -1, -1, -1}};
    r = store_dir_open(st, dir, d);
    return r == 0 ? index_read(st, d, ix) : r;
}

static int open_msg(struct state *st, struct store_dir *d, const struct index_msg *m) {
    int fd = store_sub_open(st, d, m->sub, false);

    return fd < 0 ? fd : io_open_beneath(fd, m->name, O_RDONLY | O_NONBLOCK, 0);
}

static int hash_from_disk(int fd, uint8_t sha256[IO_HASH_BYTES]) {
    int r;

    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    r = io_hash_fd(fd, sha256);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    return r;
}

static void damaged(struct reading *rd, int fd, const char *base, struct io_sum *found) {
    struct check_problem *p = check_problem_add(rd->out, &rd->d.id, CHECK_DAMAGED, base);

    if (rd->how->accept && io_sum_set(fd, found) == 0 && p)
        p->fate = CHECK_ACCEPTED;
}

/* 0, or an error of reading. */
static int check_sum(struct reading *rd, int fd, const char *base) {
    struct io_sum known, found = {.from = IO_SUM_FOUND};
    int r = hash_from_disk(fd, found.sha256);

    if (r < 0)
        return r;
    r = io_sum_get(fd, &known);
    if (r == -ENODATA) {
        rd->counts->unknown++;
        return io_sum_set(fd, &found);
    }
    if (r == 0 && memcmp(known.sha256, found.sha256, sizeof(found.sha256)) != 0)
        damaged(rd, fd, base, &found);
    return r;
}

static int check_open(struct reading *rd, int fd, const char *base) {
    struct base_msg msg;
    struct stat sb;

    if (fstat(fd, &sb) < 0)
        return -errno;
    rd->counts->messages++;
    rd->counts->bytes += rd->how->content ? (uint64_t)sb.st_size : 0;
    if (base_msg_get(rd->st, BASE_AGREED, &rd->d.id, base, &msg) == 0 && !rd->how->accept &&
        msg.size && msg.size != (uint64_t)sb.st_size) {
        check_problem_add(rd->out, &rd->d.id, CHECK_SIZE, base);
        return 0;
    }
    return rd->how->content ? check_sum(rd, fd, base) : 0;
}

static void check_msg(struct reading *rd, const struct index_msg *m) {
    char base[MAILDIR_NAME_MAX + 1];
    int fd = open_msg(rd->st, &rd->d, m), r = fd;

    str_copyn(base, sizeof(base), m->name, m->base_len);
    if (fd >= 0) {
        r = check_open(rd, fd, base);
        close(fd);
    }
    if (r < 0 && r != -ENOENT) /* renamed or gone meanwhile: the next time */
        check_problem_add(rd->out, &rd->d.id, CHECK_UNREADABLE, base);
}

static void rest(const struct check_how *how, uint64_t since_us) {
    uint64_t us = clock_us() - since_us;
    struct timespec ts = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};

    if (how->gentle)
        nanosleep(&ts, NULL);
}

int check_read_all(struct reading *rd) {
    struct index_msg *m, *tmp;
    int r = 0;

    HASH_ITER(hh, rd->ix.msgs, m, tmp) {
        uint64_t since = clock_us();
        if (r < 0)
            break;
        check_msg(rd, m);
        rest(rd->how, since);
        if (atomic_load(rd->how->stop))
            r = -ECANCELED;
    }
    return r;
}

int check_contents(struct state *st, const struct mailfs_id *dir, const struct check_how *how,
                   struct check_problems *out, struct check_counts *counts) {
    struct reading rd = {.st = st, .how = how, .out = out, .counts = counts};
    int r = begin(st, dir, &rd.d, &rd.ix);

    if (r == 0)
        r = check_read_all(&rd);
    index_free(&rd.ix);
    store_dir_close(&rd.d);
    return r == -ENOENT ? 0 : r;
}

int check_each_sum(struct state *st, const struct mailfs_id *dir, check_sum_fn *fn, void *arg) {
    char base[MAILDIR_NAME_MAX + 1];
    struct index_msg *m, *tmp;
    struct store_dir d;
    struct io_sum sum;
    struct index ix;
    int r = begin(st, dir, &d, &ix);

    HASH_ITER(hh, ix.msgs, m, tmp) {
        int fd = r == 0 ? open_msg(st, &d, m) : -1;
        if (fd < 0)
            continue;
        str_copyn(base, sizeof(base), m->name, m->base_len);
        if (io_sum_get(fd, &sum) == 0)
            r = fn(arg, base, &sum);
        close(fd);
    }
    index_free(&ix);
    store_dir_close(&d);
    return r == -ENOENT ? 0 : r;
}

/* ---- digests ----------------------------------------------------------------------- */

static int add_sum(void *arg, const char *base, const struct io_sum *sum) {
    uint8_t *sums = arg, one[STATE_DIGEST];
    struct io_hasher *h = io_hasher_new();
    int r;

    io_hasher_add(h, base, strlen(base) + 1);
    io_hasher_add(h, sum->sha256, sizeof(sum->sha256));
    r = io_hasher_end(h, one);
    if (r == 0)
        base_sum_add(sums, one, false);
    return r;
}

int check_digest_of(struct state *st, const struct mailfs_id *dir, bool content,
                    struct check_digest *out) {
    int r;

    *out = (struct check_digest){.dir = *dir};
    r = base_digest(st, dir, out->base);
    return r == 0 && content ? check_each_sum(st, dir, add_sum, out->sums) : r;
}

void check_digest_roll(const struct check_digest *v, size_t n, uint8_t out[STATE_DIGEST]) {
    uint8_t one[STATE_DIGEST];
    size_t i;

    memset(out, 0, STATE_DIGEST);
    for (i = 0; i < n; i++)
        if (io_hash(&v[i], sizeof(v[i]), one) == 0)
            base_sum_add(out, one, false);
}
