/*
 * content_lacks: what of the peer's listing is not here, to be fetched before a merge.
 *
 * Diagnostics: that the two could not be compared, with the container.
 */
#include "content_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "index.h"
#include "store.h"
#include "wire/check.h"

static bool is_there(const Mfp__BaseMsg *m) {
    return m->is && m->is->sub != MFP__SUB__SELF && !m->lost;
}

/* Is there a message that may have to come? Else nothing has to be looked for here. */
static bool lists_any(const Mfp__Listing *l) {
    size_t i = 0;

    while (i < l->n_msgs && !is_there(l->msgs[i]))
        i++;
    return i < l->n_msgs;
}

/* Is it here, and can it be the same message? One of another size is another message. */
static bool have_msg(struct store_dir *d, const struct index *ix, const Mfp__BaseMsg *m) {
    const struct index_msg *have = index_find(ix, m->bname);
    struct stat sb;

    if (!have || !m->meta || d->fd[have->sub] < 0 ||
        fstatat(d->fd[have->sub], have->name, &sb, AT_SYMLINK_NOFOLLOW) < 0)
        return have != NULL;
    return (uint64_t)sb.st_size == m->meta->size;
}

static bool lists(const Mfp__Listing *l, const char *base) {
    size_t i;

    for (i = 0; i < l->n_msgs; i++)
        if (strcmp(l->msgs[i]->bname, base) == 0)
            return true;
    return false;
}

/* It was published here, and the merge will see that it is this one: merge_published(). */
static bool will_join(struct state *st, const struct mailfs_id *dir, const struct index *ix,
                      const Mfp__Listing *theirs, const Mfp__PrepId *prep) {
    struct stage_pub pub;
    struct base_msg msg;

    return prep && stage_published(st, prep->incarnation, prep->seq, &pub) == 0 &&
           mailfs_id_equal(&pub.dir, dir) && index_find(ix, pub.name) && !lists(theirs, pub.name) &&
           base_msg_get(st, BASE_AGREED, dir, pub.name, &msg) == -ENOENT;
}

static int is_here(struct state *st, const char *key, struct content_wants *out) {
    out->unsynced = out->unsynced || stage_is_unsynced(st, key);
    return 0;
}

/* What is borrowed does not come, but into a mailbox that is being filled (M8); what cannot be read
 * there does not (M10). */
static bool will_come(struct state *st, const struct mailfs_id *dir, const struct index *ix,
                      const Mfp__BaseMsg *m) {
    struct base_dir rec;

    if (m->unread)
        return false;
    return !m->borrowed || index_find(ix, m->bname) || base_dir_get(st, dir, &rec) < 0 ||
           !rec.merged;
}

static int lacks_msg(struct state *st, struct store_dir *d, const struct index *ix,
                     const Mfp__Listing *l, const Mfp__BaseMsg *m, struct content_wants *out) {
    const struct mailfs_id *dir = &d->id;
    char key[STAGE_NAME_MAX];

    if (!is_there(m) || have_msg(d, ix, m) || !will_come(st, dir, ix, m))
        return 0;
    stage_fetch_name(dir, MFP__SUB__CUR, m->bname, key);
    if (content_fits(st, key, m->meta))
        return is_here(st, key, out);
    if (will_join(st, dir, ix, l, m->prepared))
        return 0;
    if (m->prepared) {
        stage_prep_key(m->prepared->incarnation, m->prepared->seq, key);
        if (content_staged(st, key) && content_fits(st, key, m->meta))
            return is_here(st, key, out);
    }
    int r = content_want_msg(out, dir, m->bname, m->is, m->meta, m->prepared);
    if (r == 0)
        out->v[out->n - 1].mtime = m->meta ? m->meta->mtime_ns : 0;
    return r;
}

static int newest_first(const void *a, const void *b) {
    int64_t x = ((const struct content_want *)a)->mtime,
            y = ((const struct content_want *)b)->mtime;

    return (x < y) - (x > y);
}

static int lacks_file(struct state *st, const struct mailfs_id *dir, const Mfp__BaseFile *f,
                      struct content_wants *out) {
    struct base_file have;
    char key[STAGE_NAME_MAX];
    bool same;

    if (!f->is || !S_ISREG(f->is->type) || f->has_content || f->borrowed || f->unread)
        return 0;
    stage_fetch_name(dir, MFP__SUB__SELF, f->name, key);
    if (content_is(st, key, f->is))
        return is_here(st, key, out);
    same = base_file_get(st, BASE_AGREED, dir, f->name, &have) == 0 && f->is->sha256.len == 32 &&
           memcmp(have.sha256, f->is->sha256.data, 32) == 0;
    base_file_clear(&have);
    if (same)
        return 0;
    return content_want_add(out, dir, MFP__SUB__SELF, f->name, f->is->meta ? f->is->meta->size : 0);
}

static int lacks_all(struct state *st, struct store_dir *d, const struct index *ix,
                     const Mfp__Listing *l, struct content_wants *out) {
    size_t i;
    int r = 0;

    for (i = 0; r == 0 && i < l->n_msgs; i++)
        r = lacks_msg(st, d, ix, l, l->msgs[i], out);
    for (i = 0; r == 0 && i < l->n_files; i++)
        r = lacks_file(st, &d->id, l->files[i], out);
    return r;
}

int content_lacks(struct state *st, const Mfp__Listing *theirs, struct content_wants *out) {
    struct store_dir d = {.fd = {-1, -1, -1, -1}};
    struct index ix = {NULL};
    struct mailfs_id id;
    int r = wire_id(&theirs->dir, &id);

    memset(out, 0, sizeof(*out));
    if (r < 0)
        return r;
    d.id = id;
    if (lists_any(theirs))
        r = store_dir_open(st, &id, &d);
    if (r == 0 && d.fd[0] >= 0)
        r = index_read(st, &d, &ix);
    else if (r == -ENOENT)
        r = 0;
    if (r == 0)
        r = lacks_all(st, &d, &ix, theirs, out);
    if (r == 0 && out->n > 1)
        qsort(out->v, out->n, sizeof(*out->v), newest_first);
    index_free(&ix);
    store_dir_close(&d);
    if (r < 0) {
        content_wants_free(out);
        return state_fail(st, r, &id, "cannot compare with the peer's listing");
    }
    return 0;
}
