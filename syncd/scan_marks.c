/*
 * scan_marks: which containers a contact has to merge, and what they were when last agreed
 *
 * Diagnostics: they could not be listed.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base.h"
#include "journal.h"
#include "scan.h"
#include "state_int.h"
#include "store.h"
#include "util/array.h"

struct mark_set {
    struct state *st;
    struct state *const *lenders;
    size_t n_lenders;
    struct scan_mark *v;
    size_t n;
    bool full;
};

static int set_add(struct mark_set *s, const struct mailfs_id *dir, bool left) {
    struct scan_mark *v = array_room(s->v, s->n, sizeof(*v));

    if (!v)
        return -ENOMEM;
    s->v = v;
    s->v[s->n] = (struct scan_mark){.dir = *dir, .left = left};
    return base_digest(s->st, dir, s->v[s->n++].digest);
}

static int unmerged(void *arg, const struct mailfs_id *id, const struct base_dir *rec) {
    struct mark_set *s = arg;

    if (scan_is_left(s->st, id, s->lenders, s->n_lenders))
        return 0; /* its mark says so */
    return s->full || (rec->agreed && !rec->merged) ? set_add(s, id, false) : 0;
}

static int mark_cmp(const void *a, const void *b) {
    return mailfs_id_cmp(&((const struct scan_mark *)a)->dir, &((const struct scan_mark *)b)->dir);
}

static void set_unique(struct mark_set *s) {
    size_t i, k = 0;

    if (s->n)
        qsort(s->v, s->n, sizeof(*s->v), mark_cmp);
    for (i = 0; i < s->n; i++) {
        if (k == 0 || !mailfs_id_equal(&s->v[i].dir, &s->v[k - 1].dir))
            s->v[k++] = s->v[i];
    }
    s->n = k;
}

bool scan_is_left(struct state *st, const struct mailfs_id *dir, struct state *const *lenders,
                  size_t n_lenders) {
    struct base_dir rec;
    size_t i;

    if (n_lenders == 0 || mailfs_id_is_root(dir) ||
        (base_dir_get(st, dir, &rec) == 0 && rec.agreed))
        return false;
    for (i = 0; i < n_lenders; i++)
        if (base_dir_get(lenders[i], dir, &rec) == 0 && rec.agreed)
            return true;
    return false;
}

/* A record alone says nothing: a scan of the tree makes one of what it has found. */
bool scan_is_nowhere(struct state *st, const struct mailfs_id *dir) {
    struct base_dir rec;
    struct store_dir d;
    int r;

    if (mailfs_id_is_root(dir) || (base_dir_get(st, dir, &rec) == 0 && rec.agreed))
        return false;
    r = store_dir_open(st, dir, &d);
    store_dir_close(&d);
    return r == -ENOENT && !journal_waits_for(st, dir);
}

/* A mark of a container that is nowhere any more says nothing: its parent's does. */
static int add_marked(struct mark_set *s, const struct mailfs_id *dir) {
    if (scan_is_left(s->st, dir, s->lenders, s->n_lenders))
        return set_add(s, dir, true);
    return scan_is_nowhere(s->st, dir) ? 0 : set_add(s, dir, false);
}

static int any_name(void *arg, const char *name, unsigned char type) {
    return 1;
}

/* A directory that the tree's merge has just made says nothing: it is empty. */
static uint32_t last_used(struct state *st, const struct mailfs_id *dir) {
    uint32_t used = 0;
    struct store_dir d;
    struct stat sb;
    int sub, fd;

    if (store_dir_open(st, dir, &d) < 0)
        return 0;
    for (sub = MFP__SUB__NEW; sub <= MFP__SUB__CUR; sub++) {
        fd = store_sub_open(st, &d, sub, false);
        if (fd >= 0 && fstat(fd, &sb) == 0 && (uint32_t)sb.st_mtim.tv_sec > used &&
            store_each_name(fd, any_name, NULL) == 1)
            used = (uint32_t)sb.st_mtim.tv_sec;
    }
    store_dir_close(&d);
    return used;
}

int scan_marks(struct state *st, bool full, struct scan_mark **marks, size_t *n) {
    return scan_marks_for(st, full, NULL, 0, marks, n);
}

int scan_marks_for(struct state *st, bool full, struct state *const *lenders, size_t n_lenders,
                   struct scan_mark **marks, size_t *n) {
    struct mark_set s = {
        .st = st, .lenders = lenders, .n_lenders = n_lenders, .full = full || !st->had_contact};
    struct state_mark *m = NULL;
    struct base_dir root;
    size_t n_marks = 0, i;
    int r = state_marks(st, UINT64_MAX, &m, &n_marks);

    for (i = 0; r == 0 && i < n_marks; i++)
        r = add_marked(&s, &m[i].dir);
    free(m);
    if (r == 0)
        r = base_each_dir(st, unmerged, &s);
    if (r == 0 && base_dir_get(st, &mailfs_id_root, &root) == 0 && (s.full || !root.merged))
        r = set_add(&s, &mailfs_id_root, false);
    if (r < 0) {
        free(s.v);
        return state_fail(st, r, NULL, "cannot list what has to be merged");
    }
    set_unique(&s);
    for (i = 0; i < s.n; i++)
        s.v[i].used = last_used(st, &s.v[i].dir);
    *marks = s.v;
    *n = s.n;
    return 0;
}
