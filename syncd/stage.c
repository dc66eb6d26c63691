/*
 * stage: contents from the peer that have no name in a mailbox yet. See stage.h for the names.
 *
 * A content is complete when it has its p- or f- name; before it has an h- one, and what is left of
 * that when the link is cut is for stage_part.c. t- files are removed at a start. What a journal
 * entry refers to is kept until the entry is gone (refs). This file writes and finds them;
 * stage_publish.c gives names to what nobody committed, stage_drop.c and stage_used.c clean up.
 *
 * Diagnostics: errors of writing, with the container.
 */
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <utlist.h>

#include "alias.h"
#include "base.h"
#include "io/hash.h"
#include "io/io.h"
#include "io/sum.h"
#include "stage_private.h"
#include "state_int.h"
#include "store.h"
#include "util/clock.h"
#include "util/str.h"

#define PREP_KEY_LEN 35 /* p-, 16 digits, -, 16 digits */
#define PREP_HEAD    (PREP_KEY_LEN + 1 + 32 + 1 + 32 + 1 + 16 + 1)
#define PREP_TMP_MAX (MAILDIR_NAME_MAX - PREP_HEAD)

void stage_prep_key(uint64_t incarnation, uint64_t seq, char out[STAGE_NAME_MAX]) {
    snprintf(out, STAGE_NAME_MAX, "p-%016" PRIx64 "-%016" PRIx64, incarnation, seq);
}

void stage_fetch_name(const struct mailfs_id *dir, int sub, const char *name,
                      char out[STAGE_NAME_MAX]) {
    char text[MAILDIR_NAME_MAX + 3], hex[MAILFS_ID_HEX], hash_hex[MAILFS_ID_HEX];
    uint8_t hash[IO_HASH_BYTES] = {0};
    struct mailfs_id half;

    snprintf(text, sizeof(text), "%c%.*s", sub == MFP__SUB__SELF ? 's' : 'm', MAILDIR_NAME_MAX,
             name);
    io_hash(text, strlen(text), hash);
    memcpy(half.b, hash, sizeof(half.b));
    snprintf(out, STAGE_NAME_MAX, "f-%s-%s", mailfs_id_format(dir, hex),
             mailfs_id_format(&half, hash_hex));
}

/* ---- the table of items ------------------------------------------------------------ */

struct stage_item *stage_find(struct state *st, const char *key) {
    struct stage_item *it;

    HASH_FIND_STR(st->items, key, it);
    return it;
}

void stage_item_take(struct state *st, struct stage_item *it) {
    HASH_DEL(st->items, it);
    if (it->loose)
        DL_DELETE(st->loose_items, it);
    else if (it->syncing)
        DL_DELETE(st->syncing_items, it);
    it->loose = it->syncing = false;
}

void stage_item_free(struct state *st, struct stage_item *it) {
    stage_item_take(st, it);
    stage_item_delete(it);
}

void stage_item_delete(struct stage_item *it) {
    free(it->file);
    free(it->tmp_name);
    free(it);
}

static int parse_id(const char *hex, struct mailfs_id *id) {
    char text[MAILFS_ID_HEX];
    int r = str_copyn(text, sizeof(text), hex, 32);

    return r == 0 ? mailfs_id_parse(text, id) : r;
}

/* The parts of a prepared content's file name. */
static bool parse_prep(struct stage_item *it, const char *file) {
    if (strlen(file) <= PREP_HEAD ||
        sscanf(file, "p-%16" SCNx64 "-%16" SCNx64, &it->incarnation, &it->seq) != 2 ||
        parse_id(file + PREP_KEY_LEN + 1, &it->dir) < 0 ||
        parse_id(file + PREP_KEY_LEN + 1 + 33, &it->parent) < 0 ||
        sscanf(file + PREP_KEY_LEN + 1 + 66, "%16" SCNx64, &it->size) != 1)
        return false;
    it->is_prep = true;
    it->tmp_name = strdup(file + PREP_HEAD);
    return it->tmp_name != NULL;
}

int64_t stage_seconds(void) {
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec;
}

struct stage_item *stage_item_add(struct state *st, const char *key, const char *file) {
    bool prep = str_starts(file, "p-");
    size_t nkey = prep ? PREP_KEY_LEN : strlen(key);
    struct stage_item *it = calloc(1, sizeof(*it) + nkey + 1);

    if (!it)
        return NULL;
    if ((prep && !parse_prep(it, file)) || !(it->file = strdup(file))) {
        free(it->tmp_name);
        free(it);
        return NULL;
    }
    memcpy(it->key, key, nkey);
    it->noted = stage_seconds();
    it->link = st->stage_link;
    HASH_ADD_STR(st->items, key, it);
    return it;
}

int stage_lookup(struct state *st, const char *key, char file[STAGE_NAME_MAX]) {
    struct stage_item *it;
    int r = -ENOENT;

    state_lock(st);
    it = stage_find(st, key);
    if (it)
        r = it->gone ? -ESTALE : str_copy(file, STAGE_NAME_MAX, it->file);
    state_unlock(st);
    return r;
}

bool stage_has_prep(struct state *st, const struct stage_prep *prep) {
    char key[STAGE_NAME_MAX], file[STAGE_NAME_MAX];

    stage_prep_key(prep->incarnation, prep->seq, key);
    return stage_lookup(st, key, file) == 0;
}

struct stage_item *stage_item_note(struct state *st, const char *key, const char *file, bool gone) {
    struct stage_item *it = stage_find(st, key);

    if (!it)
        it = stage_item_add(st, key, file);
    if (it) {
        it->gone = gone;
        it->unsure = false;
        it->noted = stage_seconds();
        it->link = st->stage_link;
    }
    return it;
}

int stage_note(struct state *st, const char *key, const char *file, bool gone) {
    struct stage_item *it;

    state_lock(st);
    it = stage_item_note(st, key, file, gone);
    state_unlock(st);
    return it ? 0 : -ENOMEM;
}

int stage_note_gone(struct state *st, const char *file) {
    return stage_note(st, file, file, true);
}

/* One that was not fsynced (commit = memory) may have been cut short by a power cut. */
static bool is_whole(struct state *st, const char *name, const struct stage_item *it) {
    struct stat sb;

    return !it->is_prep || it->size == 0 ||
           (fstatat(st->stage, name, &sb, AT_SYMLINK_NOFOLLOW) == 0 &&
            (uint64_t)sb.st_size == it->size);
}

static int load_name(void *arg, const char *name, unsigned char type) {
    bool ours = str_starts(name, "p-") || str_starts(name, "f-");
    struct state *st = arg;
    struct stage_item *it = ours ? stage_item_add(st, name, name) : NULL;

    if (str_starts(name, "h-") && stage_part_load(st, name))
        return 0;
    if (it && is_whole(st, name, it))
        return 0;
    if (it && stage_part_load_prep(st, it))
        return 0;
    if (it)
        stage_item_free(st, it);
    return io_unlink(st->stage, name);
}

int stage_load(struct state *st) {
    int r = stage_take_vouched(st);

    if (r < 0)
        return r;
    state_lock(st);
    r = store_each_name(st->stage, load_name, st);
    /* The syncd before this one may have been killed before it synced them. */
    st->stage_dirty = st->stage_loose = st->items != NULL;
    st->stage_whole = st->stage_whole || !st->items;
    st->stage_link++; /* what asked for these is of an earlier life */
    state_unlock(st);
    return r;
}

void stage_free(struct state *st) {
    struct stage_item *it, *tmp;

    HASH_ITER(hh, st->items, it, tmp) {
        stage_item_free(st, it);
    }
    stage_parts_free(st);
}

static uint64_t next_number(struct state *st) {
    uint64_t n;

    state_lock(st);
    n = ++st->stage_number;
    state_unlock(st);
    return n;
}

void stage_temp_name(struct state *st, char out[STAGE_TEMP_MAX]) {
    snprintf(out, STAGE_TEMP_MAX, STAGE_TEMP, next_number(st));
}

int stage_scratch(struct state *st) {
    return io_open_beneath(st->stage, ".", O_RDWR | O_TMPFILE, 0600);
}

/* ---- writing ----------------------------------------------------------------------- */

static struct stage_file *file_new(struct state *st, const struct mailfs_id *dir,
                                   const Mfp__Meta *meta) {
    struct stage_file *f = calloc(1, sizeof(*f));

    if (!f)
        return NULL;
    f->st = st;
    f->errors = state_sync_errors(st);
    f->dir = *dir;
    f->fd = -1;
    stage_set_meta(f, meta);
    return f;
}

void stage_set_meta(struct stage_file *f, const Mfp__Meta *meta) {
    if (!meta)
        return;
    f->has_meta = true;
    f->mode = meta->mode & 0777;
    f->uid = meta->uid;
    f->gid = meta->gid;
    f->mtime_ns = meta->mtime_ns;
}

void stage_name_part(struct stage_file *f) {
    stage_part_name(next_number(f->st), f->key, f->name);
}

static int create(struct stage_file *f) {
    f->fd = io_open_beneath(f->st->stage, f->name, O_RDWR | O_CREAT | O_EXCL, 0600);
    return f->fd < 0 ? f->fd : 0;
}

/* Before its last byte: a start may find it whole from then on. */
int stage_set_owner(struct stage_file *f) {
    int r = f->has_meta && geteuid() == 0 ? io_fchown(f->fd, f->uid, f->gid) : 0;

    return r == 0 && f->has_meta ? io_fchmod(f->fd, f->mode) : r;
}

/*
 * One whose name says how long it is has that name from the beginning: what a kill leaves of it is
 * shorter, what a power cut leaves is shorter or does not fit its checksum (sweep_torn()). That
 * spares a rename, and with it a change of the directory. Another
 * one, or one that is there already, gets its name when it is whole.
 */
static int make(struct stage_file *f, const char *symlink) {
    int r = -EEXIST;

    if (f->sized) {
        memcpy(f->name, f->file, sizeof(f->name));
        r = create(f);
        f->direct = r == 0;
    }
    if (r == -EEXIST) {
        stage_name_part(f);
        r = symlink ? io_symlink(symlink, f->st->stage, f->name) : create(f);
    }
    if (r < 0 || symlink)
        return r;
    r = stage_set_owner(f);
    if (r < 0) {
        close(f->fd);
        io_unlink(f->st->stage, f->name);
    }
    return r;
}

static int begin(struct stage_file *f, const char *symlink, struct stage_file **out) {
    int r = make(f, symlink);

    if (r < 0) {
        state_fail(f->st, r, &f->dir, "cannot stage a content");
        io_hasher_free(f->hash);
        free(f);
        return r;
    }
    *out = f;
    return 0;
}

int stage_begin_prep(struct state *st, const struct stage_prep *prep, const struct mailfs_id *dir,
                     const char *tmp_name, const Mfp__Meta *meta, struct stage_file **out) {
    char hex[MAILFS_ID_HEX], parent_hex[MAILFS_ID_HEX];
    struct base_dir rec;
    struct stage_file *f;
    size_t n = strlen(tmp_name);

    if (base_dir_get(st, dir, &rec) < 0)
        rec.parent = mailfs_id_root; /* made just now, perhaps; or gone already */
    if (maildir_name_check(tmp_name, n, MAILDIR_NAME_COMPONENT) < 0)
        return -EINVAL;
    f = file_new(st, dir, meta);
    if (!f)
        return -ENOMEM;
    /* A name that is too long loses its end: it is only what a message is published as. */
    if (n > PREP_TMP_MAX)
        n = PREP_TMP_MAX;
    stage_prep_key(prep->incarnation, prep->seq, f->key);
    snprintf(f->file, sizeof(f->file), "%.40s-%s-%s-%016" PRIx64 "-%.*s", f->key,
             mailfs_id_format(dir, hex), mailfs_id_format(&rec.parent, parent_hex),
             meta ? meta->size : 0, (int)n, tmp_name);
    f->sized = meta && meta->size > 0;
    f->hash = io_hasher_new();
    return begin(f, NULL, out);
}

int stage_begin_again(struct state *st, const char *key, const char *file, const struct stat *sb,
                      struct stage_file **out) {
    Mfp__Meta meta = MFP__META__INIT;
    struct stage_file *f;
    int r;

    meta.mode = sb->st_mode;
    meta.uid = sb->st_uid;
    meta.gid = sb->st_gid;
    meta.mtime_ns = (int64_t)sb->st_mtim.tv_sec * 1000000000 + sb->st_mtim.tv_nsec;
    f = file_new(st, &mailfs_id_root, &meta);
    if (!f)
        return -ENOMEM;
    r = str_copy(f->key, sizeof(f->key), key);
    if (r == 0)
        r = str_copy(f->file, sizeof(f->file), file);
    if (r < 0) {
        free(f);
        return r;
    }
    f->hash = io_hasher_new();
    return begin(f, NULL, out);
}

struct stage_file *stage_file_for(struct state *st, const struct mailfs_id *dir, int sub,
                                  const char *name, int *err) {
    struct stage_file *f;

    *err = maildir_name_check(name, strlen(name), MAILDIR_NAME_COMPONENT) < 0 ? -EINVAL : -ENOMEM;
    f = *err == -EINVAL ? NULL : file_new(st, dir, NULL);
    if (!f)
        return NULL;
    stage_fetch_name(dir, sub, name, f->file);
    memcpy(f->key, f->file, sizeof(f->key));
    if (sub != MFP__SUB__SELF)
        f->hash = io_hasher_new();
    return f;
}

int stage_begin_fetch(struct state *st, const struct mailfs_id *dir, int sub, const char *name,
                      const Mfp__Meta *meta, const char *symlink, struct stage_file **out) {
    int r;
    struct stage_file *f = stage_file_for(st, dir, sub, name, &r);

    if (!f)
        return r;
    stage_set_meta(f, meta);
    return begin(f, symlink && *symlink ? symlink : NULL, out);
}

int stage_write(struct stage_file *f, uint64_t offset, const void *p, size_t n) {
    int r;

    if (offset != f->written || (n && f->fd < 0))
        return -EINVAL;
    r = n ? io_pwrite_all(f->fd, p, n, (off_t)offset) : 0;
    if (r == -ENOSPC && stage_parts_drop(f->st) > 0)
        r = io_pwrite_all(f->fd, p, n, (off_t)offset);
    if (r < 0)
        return state_fail(f->st, r, &f->dir, "cannot write to the stage");
    io_hasher_add(f->hash, p, n);
    f->written += n;
    return 0;
}

void stage_abandon(struct stage_file *f) {
    if (!f)
        return;
    if (f->fd >= 0)
        close(f->fd);
    io_hasher_free(f->hash);
    if (*f->name)
        io_unlink(f->st->stage, f->name);
    free(f);
}

static int set_meta(struct stage_file *f) {
    struct timespec ts[2];
    int dir = f->st->stage, r = 0;

    if (!f->has_meta)
        return 0;
    ts[0] = ts[1] = clock_timespec(f->mtime_ns);
    if (f->fd >= 0)
        return io_futimens(f->fd, ts);
    if (geteuid() == 0)
        r = io_chown(dir, f->name, f->uid, f->gid);
    return r == 0 ? io_utimens(dir, f->name, ts) : r;
}

/* No error of the content's: without a checksum it gets one when it is verified. */
static void set_sum(struct stage_file *f) {
    struct io_sum sum = {.from = IO_SUM_PASSED};

    if (f->hash && io_hasher_end(f->hash, sum.sha256) == 0 && f->fd >= 0)
        (void)io_sum_set(f->fd, &sum);
    f->hash = NULL;
}

static int give_name(struct stage_file *f, bool *named) {
    int r = io_rename(f->st->stage, f->name, f->st->stage, f->file, 0);

    *named = r == 0;
    return r;
}

/* What gets its name now is looked for by it, so it is whole before. */
static int name_durably(struct stage_file *f, bool *named) {
    int r = f->fd >= 0 ? io_fsync(f->fd) : 0;

    if (r == 0)
        r = give_name(f, named);
    return r == 0 ? io_fsync(f->st->stage) : r;
}

/* Its name, and an item that knows it. */
static int commit_durable(struct stage_file *f, bool *named) {
    int r = f->direct ? io_fsync_named(f->fd, f->st->stage) : name_durably(f, named);

    return r == 0 ? stage_note(f->st, f->key, f->file, false) : r;
}

/* The same, in one step: whoever finds the item finds it among those that are to be synced. */
static int commit_loose(struct stage_file *f, bool *named) {
    struct state *st = f->st;
    struct stage_item *it = NULL;
    int r;

    state_lock(st);
    r = f->direct ? 0 : give_name(f, named);
    if (r == 0 && !(it = stage_item_note(st, f->key, f->file, false)))
        r = -ENOMEM;
    if (it) {
        it->unsure = f->errors != st->sync_errors;
        stage_note_loose(st, it);
    }
    state_unlock(st);
    return r;
}

int stage_commit(struct stage_file *f, enum stage_how how) {
    struct state *st = f->st;
    bool named = false;
    int r;

    set_sum(f);
    r = set_meta(f);
    if (r == 0)
        r = how == STAGE_LATER ? stage_note_later(f) : -EBUSY;
    if (r == -EBUSY)
        r = how == STAGE_LOOSE ? commit_loose(f, &named) : commit_durable(f, &named);
    if (r < 0)
        state_fail(st, r, &f->dir, "cannot stage a content");
    if (r < 0 && !named)
        io_unlink(st->stage, f->name);
    if (f->fd >= 0)
        close(f->fd);
    free(f);
    return r;
}

bool stage_prep_is_of(struct state *st, const struct stage_prep *prep,
                      const struct mailfs_id *dir) {
    struct mailfs_id of = *dir, now;
    char key[STAGE_NAME_MAX];
    struct stage_item *it;

    stage_prep_key(prep->incarnation, prep->seq, key);
    state_lock(st);
    it = stage_find(st, key);
    if (it)
        of = it->dir;
    state_unlock(st);
    return mailfs_id_equal(&of, dir) || (alias_now(st, &of, &now) && mailfs_id_equal(&now, dir));
}
