/*
 * stage_named: has a prepared content a name in a mailbox already?
 *
 * Either it was published, which the base's table `preps` says; or a merge gave it its name, which
 * its links in the store say.
 *
 * A prepared content that a transaction used is noted in `preps` in the commit that removes the
 * journal entry, before its file is removed: after a crash in between it is not taken for one that
 * nobody committed. What was published is noted there before it can be seen, so that it is never
 * published twice, and that the origin's transaction, when it comes after all, renames it. What is
 * noted as about to be published may be nowhere (the disk had no room for the name): it is still in
 * the stage, and who wants to know whether it was published looks for it, also among what was
 * expunged, or asks for 'D'.
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
    if (p->used)
        return db_put(txn, T_PREPS, p->key, sizeof(p->key), "U", 1);
    val[0] = p->done ? 'D' : 'P';
    memcpy(val + 1, p->dir.b, MAILFS_ID_BYTES);
    memcpy(val + 1 + MAILFS_ID_BYTES, p->name, n);
    return db_put(txn, T_PREPS, p->key, sizeof(p->key), val, 1 + MAILFS_ID_BYTES + n);
}

/* -ENOENT: this says nothing of what was published. */
static int pub_parse(const struct db_val *key, const struct db_val *val, struct stage_pub *out) {
    const uint8_t *k = key->p, *b = val->p;

    if (key->n != 16 || val->n < 2 + MAILFS_ID_BYTES || (b[0] != 'P' && b[0] != 'D'))
        return -ENOENT;
    out->incarnation = bytes_get_u64(k);
    out->seq = bytes_get_u64(k + 8);
    out->done = b[0] == 'D';
    memcpy(out->dir.b, b + 1, MAILFS_ID_BYTES);
    return str_copyn(out->name, sizeof(out->name), (const char *)b + 1 + MAILFS_ID_BYTES,
                     val->n - 1 - MAILFS_ID_BYTES);
}

static int prep_read(struct db_txn *txn, void *arg) {
    struct stage_pub *pub = arg;
    uint8_t key[16];
    struct db_val k = {key, sizeof(key)}, v;
    int r;

    stage_record_key(pub->incarnation, pub->seq, key);
    r = db_get(txn, T_PREPS, key, sizeof(key), &v);
    return r < 0 ? r : pub_parse(&k, &v, pub);
}

int stage_published(struct state *st, uint64_t incarnation, uint64_t seq, struct stage_pub *pub) {
    *pub = (struct stage_pub){.incarnation = incarnation, .seq = seq};
    return db_view(st->db, prep_read, pub);
}

struct pub_list {
    const struct mailfs_id *dir; /* or NULL */
    struct stage_pub *v;
    size_t n;
};

static int pub_add(struct pub_list *l, const struct db_iter *it) {
    struct stage_pub pub, *v;
    int r = pub_parse(&it->key, &it->val, &pub);

    if (r < 0 || (l->dir && !mailfs_id_equal(&pub.dir, l->dir)))
        return r == -ENOENT ? 0 : r;
    v = realloc(l->v, (l->n + 1) * sizeof(*v));
    if (!v)
        return -ENOMEM;
    l->v = v;
    v[l->n++] = pub;
    return 0;
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

bool stage_has_links(struct state *st, const char *file) {
    struct stat sb;

    return fstatat(st->stage, file, &sb, AT_SYMLINK_NOFOLLOW) == 0 && sb.st_nlink > 1;
}

bool stage_is_linked(struct state *st, uint64_t incarnation, uint64_t seq, const char *file) {
    struct stage_pub pub;
    int r;

    if (!stage_has_links(st, file))
        return false;
    r = stage_published(st, incarnation, seq, &pub);
    return r == -ENOENT || (r == 0 && !pub.done);
}

struct find_link {
    int dir, stage;
    const char *file, *noted;
};

static int find_link(void *arg, const char *name, unsigned char type) {
    const struct find_link *f = arg;

    return type == DT_REG && !maildir_name_same_base(name, f->noted) &&
           stage_is_same_file(f->dir, name, f->stage, f->file);
}

/* A prepared content, and the name that this node was about to give it: by that it is not used up,
 * publishing it is to be finished. "": none. */
struct linked {
    const char *file;
    char noted[STAGE_NAME_MAX];
};

/* dir: of store_sub_open(). 1: yes. */
static int has_link(struct state *st, int dir, const struct linked *l) {
    struct find_link f = {dir, st->stage, l->file, l->noted};

    if (dir < 0)
        return dir == -ENOENT ? 0 : dir;
    return store_each_name(dir, find_link, &f);
}

/* The mailbox it was prepared for, or published in. */
static int own_dir(struct state *st, const struct mailfs_id *id, struct store_dir *d) {
    struct mailfs_id now;
    int r = store_dir_open(st, id, d);

    return r == -ENOENT && alias_now(st, id, &now) ? store_dir_open(st, &now, d) : r;
}

static struct linked linked_of(struct state *st, const struct stage_prep *prep,
                               const struct store_dir *d, const char *file) {
    struct linked l = {file, ""};
    struct stage_pub pub;

    if (stage_published(st, prep->incarnation, prep->seq, &pub) == 0 &&
        mailfs_id_equal(&pub.dir, &d->id))
        str_copy(l.noted, sizeof(l.noted), pub.name);
    return l;
}

/* Which part of it has a name of the message; 0: none. */
static int own_name(struct state *st, struct store_dir *d, const struct linked *l) {
    int sub, r = 0;

    for (sub = MFP__SUB__NEW; r == 0 && sub <= MFP__SUB__CUR; sub++)
        r = has_link(st, store_sub_open(st, d, sub, false), l);
    return r > 0 ? sub - 1 : r;
}

static int undo_open(struct state *st, const struct mailfs_id *id) {
    char hex[MAILFS_ID_HEX];

    return st->undo < 0 ? -ENOENT
                        : io_open_beneath(st->undo, mailfs_id_format(id, hex),
                                          O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
}

/* Its client expunged it since. 1: yes. */
static int was_expunged(struct state *st, const struct mailfs_id *id, const struct linked *l) {
    int fd = undo_open(st, id), r = has_link(st, fd, l);

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
    struct linked l;
    int r, sub;

    if (!stage_is_linked(st, prep->incarnation, prep->seq, file))
        return 0;
    r = own_dir(st, id, &d);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    l = linked_of(st, prep, &d, file);
    sub = own_name(st, &d, &l);
    if (sub > 0)
        r = io_fsync(d.fd[sub]);
    else
        r = sub < 0 ? sub : was_expunged(st, &d.id, &l);
    store_dir_close(&d);
    return sub > 0 && r == 0 ? 1 : r;
}

/* ---- what was about to be published ------------------------------------------------- */

static int find_noted(void *arg, const char *name, unsigned char type) {
    const struct find_link *f = arg;

    return type == DT_REG && maildir_name_same_base(name, f->noted) &&
           stage_is_same_file(f->dir, name, f->stage, f->file);
}

static int is_expunged_as_noted(struct state *st, const struct stage_pub *pub, const char *file) {
    struct find_link f = {undo_open(st, &pub->dir), st->stage, file, pub->name};
    int r;

    if (f.dir < 0)
        return f.dir == -ENOENT ? 0 : f.dir;
    r = store_each_name(f.dir, find_noted, &f);
    close(f.dir);
    return r;
}

int stage_was_expunged(struct state *st, const struct stage_pub *pub) {
    char key[STAGE_NAME_MAX], file[STAGE_NAME_MAX];

    stage_prep_key(pub->incarnation, pub->seq, key);
    return stage_lookup(st, key, file) == 0 ? is_expunged_as_noted(st, pub, file) : 0;
}

/* Which part of it has it under the name that was noted; 0: none. */
static int noted_name(struct state *st, struct store_dir *d, const char *name, const char *file) {
    char found[MAILDIR_NAME_MAX + 1];
    int sub, r = store_msg_find(st, d, name, name, &sub, found);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    return stage_is_same_file(d->fd[sub], found, st->stage, file) ? sub : 0;
}

int stage_is_half_published(struct state *st, struct stage_pub *pub, const char *file) {
    struct store_dir d;
    int sub = 0, r = own_dir(st, &pub->dir, &d);

    if (r == 0) {
        sub = r = noted_name(st, &d, pub->name, file);
        if (sub > 0)
            r = io_fsync(d.fd[sub]);
        pub->dir = d.id;
        store_dir_close(&d);
    }
    if (sub > 0)
        return r < 0 ? r : 1;
    return r == 0 || r == -ENOENT ? is_expunged_as_noted(st, pub, file) : r;
}

/* ---- at a start -------------------------------------------------------------------- */

struct count_links {
    int stage;
    const char *file;
    nlink_t n;
};

static int count_link(void *arg, const char *name, unsigned char type) {
    struct count_links *c = arg;

    c->n += type == DT_REG && stage_is_same_file(c->stage, name, c->stage, c->file);
    return 0;
}

/* Has it a name outside the stage? In it copies have one each, before they are in their mailboxes.
 */
static bool is_outside(struct state *st, const char *file) {
    struct count_links c = {st->stage, file, 0};
    struct stat sb;

    return fstatat(st->stage, file, &sb, AT_SYMLINK_NOFOLLOW) == 0 &&
           store_each_name(st->stage, count_link, &c) == 0 && sb.st_nlink > c.n;
}

/*
 * Its mailbox is not known. With the base all of them are lost, and with the journal what that had
 * used up: so each name is its own, unless this node was about to publish it, in what is above.
 * Else the mailbox has not come yet, or was removed, and a name elsewhere is a copy's.
 */
static bool used_nowhere(struct state *st, const struct stage_prep *prep,
                         const struct mailfs_id *id, const char *file) {
    struct linked l = {file, ""};
    struct stage_pub pub;

    if (!st->lost)
        return was_expunged(st, id, &l) > 0;
    return stage_published(st, prep->incarnation, prep->seq, &pub) == -ENOENT &&
           is_outside(st, file);
}

/* A name elsewhere may be a copy's: the message itself is not merged yet, and this may be all that
 * is here of it. (Was it moved to another mailbox since, it comes back, and that is no loss.) */
bool stage_used_before(struct state *st, const struct stage_prep *prep, const struct mailfs_id *id,
                       const char *file) {
    struct store_dir d;
    int r = own_dir(st, id, &d);
    struct linked l;
    bool used;

    if (r == -ENOENT)
        return used_nowhere(st, prep, id, file);
    if (r < 0)
        return false;
    l = linked_of(st, prep, &d, file);
    used = own_name(st, &d, &l) > 0 || was_expunged(st, &d.id, &l) > 0;
    store_dir_close(&d);
    return used;
}
