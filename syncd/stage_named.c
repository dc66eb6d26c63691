/*
 * stage_named: has a prepared content a name in a mailbox already?
 *
 * Either it was published, which the base's table `preps` says; or a merge gave it its name, which
 * its links in the store say.
 *
 * A prepared content that a transaction used is noted in `preps` in the commit that removes the
 * journal entry, before its file is removed: after a crash in between it is not taken for one that
 * nobody committed. What was published is noted there before it can be seen, so that it is never
 * published twice, and that the origin's transaction, when it comes after all, renames it.
 *
 * preps: incarnation 8, seq 8 -> 'U' (used up, the file goes) 'P' container 16, name
 *   (about to be published), 'D' the same (published)
 *
 * Diagnostics: none; errors are returned.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alias.h"
#include "io/io.h"
#include "stage_private.h"
#include "store.h"
#include "util/bytes.h"
#include "util/str.h"

/* ---- what was published ------------------------------------------------------------ */

void stage_record_key(uint64_t incarnation, uint64_t seq, uint8_t key[16]) {
    bytes_put_u64(key, incarnation);
    bytes_put_u64(key + 8, seq);
}

int stage_record_write(struct db_txn *txn, void *arg) {
    struct stage_record *p = arg;
    uint8_t val[1 + MAILFS_ID_BYTES + STAGE_NAME_MAX];
    size_t n = strlen(p->name);
    int r;

    if (p->del) {
        r = db_del(txn, T_PREPS, p->key, sizeof(p->key));
        return r == -ENOENT ? 0 : r;
    }
    val[0] = p->done ? 'D' : 'P';
    memcpy(val + 1, p->dir.b, MAILFS_ID_BYTES);
    memcpy(val + 1 + MAILFS_ID_BYTES, p->name, n);
    return db_put(txn, T_PREPS, p->key, sizeof(p->key), val, 1 + MAILFS_ID_BYTES + n);
}

static int prep_read(struct db_txn *txn, void *arg) {
    struct stage_record *p = arg;
    struct db_val v;
    int r = db_get(txn, T_PREPS, p->key, sizeof(p->key), &v);
    const uint8_t *b = v.p;

    if (r < 0)
        return r;
    if (v.n < 2 + MAILFS_ID_BYTES || (b[0] != 'P' && b[0] != 'D'))
        return -ENOENT;
    memcpy(p->dir.b, b + 1, MAILFS_ID_BYTES);
    return str_copyn(p->name, sizeof(p->name), (const char *)b + 1 + MAILFS_ID_BYTES,
                     v.n - 1 - MAILFS_ID_BYTES);
}

int stage_published(struct state *st, uint64_t incarnation, uint64_t seq, struct mailfs_id *dir,
                    char name[STAGE_NAME_MAX]) {
    struct stage_record p = {.name = ""};
    int r;

    stage_record_key(incarnation, seq, p.key);
    r = db_view(st->db, prep_read, &p);
    if (r < 0)
        return r;
    *dir = p.dir;
    return str_copy(name, STAGE_NAME_MAX, p.name);
}

int stage_unpublish(struct state *st, uint64_t incarnation, uint64_t seq) {
    struct stage_record p = {.del = true};

    stage_record_key(incarnation, seq, p.key);
    return db_update(st->db, stage_record_write, &p);
}

struct pub_list {
    const struct mailfs_id *dir;
    struct stage_pub *v;
    size_t n;
};

static int pub_add(struct pub_list *l, const struct db_iter *it) {
    const uint8_t *k = it->key.p, *b = it->val.p;
    struct stage_pub *v;

    if (it->key.n != 16 || it->val.n < 2 + MAILFS_ID_BYTES || (b[0] != 'P' && b[0] != 'D') ||
        memcmp(b + 1, l->dir->b, MAILFS_ID_BYTES) != 0)
        return 0;
    v = realloc(l->v, (l->n + 1) * sizeof(*v));
    if (!v)
        return -ENOMEM;
    l->v = v;
    v += l->n++;
    v->incarnation = bytes_get_u64(k);
    v->seq = bytes_get_u64(k + 8);
    v->done = b[0] == 'D';
    return str_copyn(v->name, sizeof(v->name), (const char *)b + 1 + MAILFS_ID_BYTES,
                     it->val.n - 1 - MAILFS_ID_BYTES);
}

static int pub_read(struct db_txn *txn, void *arg) {
    struct db_iter it;
    int r;

    for (r = db_iter_first(txn, T_PREPS, NULL, 0, &it); r == 0; r = db_iter_next(&it)) {
        r = pub_add(arg, &it);
        if (r < 0)
            break;
    }
    db_iter_end(&it);
    return r == -ENOENT ? 0 : r;
}

int stage_pub_cmp(const void *a, const void *b) {
    return strcmp(((const struct stage_pub *)a)->name, ((const struct stage_pub *)b)->name);
}

int stage_published_in(struct state *st, const struct mailfs_id *dir, struct stage_pub **v,
                       size_t *n) {
    struct pub_list l = {.dir = dir};
    int r = db_view(st->db, pub_read, &l);

    if (r < 0) {
        free(l.v);
        return r;
    }
    if (l.n)
        qsort(l.v, l.n, sizeof(*l.v), stage_pub_cmp);
    *v = l.v;
    *n = l.n;
    return 0;
}

/* ---- what a merge has given its name ------------------------------------------------ */

bool stage_is_same_file(int dir, const char *name, int stage, const char *file) {
    struct stat a, b;

    return fstatat(dir, name, &a, AT_SYMLINK_NOFOLLOW) == 0 &&
           fstatat(stage, file, &b, AT_SYMLINK_NOFOLLOW) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

bool stage_is_linked(struct state *st, uint64_t incarnation, uint64_t seq, const char *file) {
    char name[STAGE_NAME_MAX];
    struct mailfs_id dir;
    struct stat sb;

    return fstatat(st->stage, file, &sb, AT_SYMLINK_NOFOLLOW) == 0 && sb.st_nlink > 1 &&
           stage_published(st, incarnation, seq, &dir, name) == -ENOENT;
}

struct find_link {
    int dir, stage;
    const char *file;
};

static int find_link(void *arg, const char *name, unsigned char type) {
    const struct find_link *f = arg;

    return type == DT_REG && stage_is_same_file(f->dir, name, f->stage, f->file);
}

/* dir: of store_sub_open(). 1: yes. */
static int has_link(struct state *st, int dir, const char *file) {
    struct find_link f = {dir, st->stage, file};

    if (dir < 0)
        return dir == -ENOENT ? 0 : dir;
    return store_each_name(dir, find_link, &f);
}

/* The mailbox it was prepared for. */
static int own_dir(struct state *st, const struct mailfs_id *id, struct store_dir *d) {
    struct mailfs_id now;
    int r = store_dir_open(st, id, d);

    return r == -ENOENT && alias_now(st, id, &now) ? store_dir_open(st, &now, d) : r;
}

/* Which part of it has a name of the message; 0: none. */
static int own_name(struct state *st, struct store_dir *d, const char *file) {
    int sub, r = 0;

    for (sub = MFP__SUB__NEW; r == 0 && sub <= MFP__SUB__CUR; sub++)
        r = has_link(st, store_sub_open(st, d, sub, false), file);
    return r > 0 ? sub - 1 : r;
}

/* Its client expunged it since. 1: yes. */
static int was_expunged(struct state *st, const struct store_dir *d, const char *file) {
    char hex[MAILFS_ID_HEX];
    int fd = st->undo < 0 ? -ENOENT
                          : io_open_beneath(st->undo, mailfs_id_format(&d->id, hex),
                                            O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    int r = has_link(st, fd, file);

    if (fd >= 0)
        close(fd);
    return r;
}

/*
 * Its mailbox has it: a merge that the disk had no room to finish gave it its name, and the link
 * went before the next one. Under a second name it would be a second message. The name is to be on
 * the disk before the stage has it no more.
 */
int stage_is_there_already(struct state *st, const struct stage_prep *prep,
                           const struct mailfs_id *id, const char *file) {
    struct store_dir d;
    int r, sub;

    if (!stage_is_linked(st, prep->incarnation, prep->seq, file))
        return 0;
    r = own_dir(st, id, &d);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    sub = own_name(st, &d, file);
    if (sub > 0)
        r = io_fsync(d.fd[sub]);
    else
        r = sub < 0 ? sub : was_expunged(st, &d, file);
    store_dir_close(&d);
    return sub > 0 && r == 0 ? 1 : r;
}

/*
 * A name elsewhere may be a copy's: the message itself is not merged yet, and this may be all that
 * is here of it. (Was it moved to another mailbox since, it comes back, and that is no loss.) Where
 * the mailbox is not known, removed or lost with the base, each name is its own.
 */
bool stage_used_before(struct state *st, const struct mailfs_id *id, const char *file) {
    struct store_dir d;
    int r = own_dir(st, id, &d);
    bool used =
        r == -ENOENT || (r == 0 && (own_name(st, &d, file) > 0 || was_expunged(st, &d, file) > 0));

    store_dir_close(&d);
    return used;
}
