/*
 * unread: messages and files that only this node has, and cannot read.
 *
 * Diagnostics: none here; who notes one says so.
 */
#include "unread.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hold.h"
#include "io/hash.h"
#include "io/io.h"
#include "io/sum.h"
#include "state_int.h"
#include "store.h"
#include "util/log.h"
#include "util/str.h"

/* By its container, what it is and its base name, which lie side by side in msg. */
struct unread {
    UT_hash_handle hh;
    struct unread_msg msg;
    bool told;
    bool listed; /* what is merged next is of a listing that was begun after this was noted */
    bool known;  /* what follows: of the file that could not be read */
    ino_t ino;
    off_t size;
    struct timespec mtime;
};

bool unread_is_error(int err) {
    return err == -EIO || err == -EUCLEAN || err == -EBADMSG;
}

const char *unread_words(int err) {
    return err == -EUCLEAN ? "it does not fit its checksum, or its directory is damaged"
                           : log_strerror(err);
}

static size_t key_len(const struct unread_msg *m) {
    return offsetof(struct unread_msg, base) + strlen(m->base);
}

/* Under the mutex. */
static struct unread *find(struct state *st, const struct mailfs_id *dir, enum unread_what what,
                           const char *base) {
    struct unread_msg key = {.dir = *dir, .what = what};
    struct unread *u;

    if (!st->unread || str_copy(key.base, sizeof(key.base), base) < 0)
        return NULL;
    HASH_FIND(hh, st->unread, &key, key_len(&key), u);
    return u;
}

static void file_is(struct unread *u, const struct stat *sb) {
    u->known = sb != NULL;
    if (!sb)
        return;
    u->ino = sb->st_ino;
    u->size = sb->st_size;
    u->mtime = sb->st_mtim;
}

static bool is_file(const struct unread *u, const struct stat *sb) {
    return u->known && u->ino == sb->st_ino && u->size == sb->st_size &&
           u->mtime.tv_sec == sb->st_mtim.tv_sec && u->mtime.tv_nsec == sb->st_mtim.tv_nsec;
}

static struct unread *add(struct state *st, const struct mailfs_id *dir, enum unread_what what,
                          const char *base) {
    struct unread *u = calloc(1, sizeof(*u));

    if (!u)
        return NULL;
    u->msg.dir = *dir;
    u->msg.what = what;
    str_copy(u->msg.base, sizeof(u->msg.base), base);
    HASH_ADD_KEYPTR(hh, st->unread, &u->msg, key_len(&u->msg), u);
    return u;
}

void unread_note(struct state *st, const struct mailfs_id *dir, enum unread_what what,
                 const char *base, int err, const struct stat *sb) {
    struct unread *u;

    state_lock(st);
    u = find(st, dir, what, base);
    if (!u)
        u = add(st, dir, what, base); /* without memory: the next time */
    if (u) {
        u->told = u->told && u->msg.err == err;
        u->msg.err = err;
        u->msg.before = false;
        u->listed = false;
        file_is(u, sb);
        st->unread_news = st->unread_news || !u->told;
    }
    state_unlock(st);
}

bool unread_untold(struct state *st, struct unread_msg *msg) {
    struct unread *u = NULL;

    state_lock(st);
    if (st->unread_news)
        for (u = st->unread; u && u->told;)
            u = u->hh.next;
    st->unread_news = u != NULL;
    if (u) {
        u->told = true;
        *msg = u->msg;
    }
    state_unlock(st);
    return u != NULL;
}

enum unread_is unread_is(struct state *st, const struct mailfs_id *dir, enum unread_what what,
                         const char *base, const struct stat *sb) {
    enum unread_is is = UNREAD_NOT;
    const struct unread *u;

    state_lock(st);
    u = find(st, dir, what, base);
    if (u)
        is = u->msg.before || (sb && !is_file(u, sb)) ? UNREAD_BEFORE : UNREAD_STILL;
    state_unlock(st);
    return is;
}

bool unread_in(struct state *st, const struct mailfs_id *dir) {
    const struct unread *u;

    state_lock(st);
    for (u = st->unread; u && dir && !mailfs_id_equal(&u->msg.dir, dir);)
        u = u->hh.next;
    state_unlock(st);
    return u != NULL;
}

void unread_rename(struct state *st, const struct mailfs_id *dir, const char *base,
                   const char *to) {
    struct unread *u;

    state_lock(st);
    u = find(st, dir, UNREAD_MSG, base);
    if (u) {
        HASH_DEL(st->unread, u);
        if (find(st, dir, UNREAD_MSG, to)) {
            free(u);
        } else {
            memset(u->msg.base, 0, sizeof(u->msg.base));
            str_copy(u->msg.base, sizeof(u->msg.base), to);
            HASH_ADD_KEYPTR(hh, st->unread, &u->msg, key_len(&u->msg), u);
        }
    }
    state_unlock(st);
}

void unread_forget(struct state *st, const struct mailfs_id *dir, enum unread_what what,
                   const char *base) {
    struct unread *u;

    state_lock(st);
    u = find(st, dir, what, base);
    if (u)
        HASH_DEL(st->unread, u);
    state_unlock(st);
    free(u);
}

void unread_listing_begins(struct state *st, const struct mailfs_id *dir) {
    struct unread *u;

    state_lock(st);
    for (u = st->unread; u; u = u->hh.next)
        u->listed = u->listed || mailfs_id_equal(&u->msg.dir, dir);
    state_unlock(st);
}

void unread_forget_others(struct state *st, const struct mailfs_id *dir, unread_stays_fn *stays,
                          const void *arg) {
    struct unread *u, *tmp;

    state_lock(st);
    HASH_ITER(hh, st->unread, u, tmp) {
        if (!mailfs_id_equal(&u->msg.dir, dir) || !u->listed ||
            stays(arg, u->msg.what, u->msg.base))
            continue;
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): it is in the table */
        HASH_DEL(st->unread, u);
        free(u);
    }
    state_unlock(st);
}

void unread_forget_all(struct state *st) {
    struct unread *u, *tmp;

    state_lock(st);
    HASH_ITER(hh, st->unread, u, tmp) {
        HASH_DEL(st->unread, u);
        free(u);
    }
    state_unlock(st);
}

int unread_list(struct state *st, struct unread_msg **v, size_t *n) {
    const struct unread *u;
    size_t most;

    *n = 0;
    state_lock(st);
    most = HASH_COUNT(st->unread);
    *v = calloc(most + 1, sizeof(**v));
    for (u = st->unread; *v && u && *n < most; u = u->hh.next)
        (*v)[(*n)++] = u->msg;
    state_unlock(st);
    return *v ? 0 : -ENOMEM;
}

/* ---- once more --------------------------------------------------------------------- */

/* From the disk: what the page cache has of it says nothing. */
static bool can_be_read(int fd) {
    uint8_t sha256[IO_HASH_BYTES];
    struct io_sum sum;
    int r;

    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    r = io_hash_fd(fd, sha256);
    if (r == 0 && io_sum_get(fd, &sum) == 0)
        r = memcmp(sum.sha256, sha256, sizeof(sha256)) == 0 ? 0 : -EUCLEAN;
    return r == 0;
}

/* In a mailbox of many messages to look for a name costs more than all else. */
static void note_name(struct state *st, const struct unread_msg *m, const char *name) {
    struct unread *u;

    if (strcmp(m->name, name) == 0)
        return;
    state_lock(st);
    u = find(st, &m->dir, m->what, m->base);
    if (u)
        str_copy(u->msg.name, sizeof(u->msg.name), name);
    state_unlock(st);
}

static int open_it(struct state *st, struct store_dir *d, const struct unread_msg *m) {
    const char *hint = *m->name ? m->name : m->base;
    char name[MAILDIR_NAME_MAX + 1];
    int sub, r;

    if (m->what == UNREAD_FILE)
        return io_open_beneath(d->fd[0], m->base, O_RDONLY | O_NONBLOCK, 0);
    r = store_msg_find(st, d, m->base, hint, &sub, name);
    if (r < 0)
        return r;
    note_name(st, m, name);
    return io_open_beneath(d->fd[sub], name, O_RDONLY | O_NONBLOCK, 0);
}

static int try_in(struct state *st, struct store_dir *d, const struct unread_msg *m, bool read) {
    int fd = open_it(st, d, m), r;
    struct stat sb;

    if (fd < 0)
        return fd == -ELOOP ? read : fd; /* a symbolic link: whoever lists it tries */
    if (fstat(fd, &sb) < 0)
        r = -errno;
    else
        r = unread_is(st, &m->dir, m->what, m->base, &sb) == UNREAD_BEFORE ||
            (read && can_be_read(fd));
    close(fd);
    return r;
}

int unread_try(struct state *st, const struct unread_msg *m, bool read) {
    struct store_dir d = {.fd = {-1, -1, -1, -1}};
    struct unread *u;
    int r = store_dir_open(st, &m->dir, &d);

    if (r == 0)
        r = try_in(st, &d, m, read);
    store_dir_close(&d);
    /* What is held is kept elsewhere (hold_kept.c): were it forgotten, it would be asked for again.
     */
    if (r <= 0)
        return r == -ENOENT && !hold_covers(st, &m->dir) ? r : 0;
    state_lock(st);
    u = find(st, &m->dir, m->what, m->base);
    if (u)
        u->msg.before = true;
    state_unlock(st);
    return 1;
}
