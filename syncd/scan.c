/*
 * scan: what a mailbox holds now against the agreed base, as a listing for the peer.
 *
 * Names and the uidlist are read once; a message is looked at (lstat) only when it is listed. A
 * file is read only when its size or time is not the base's. Here is what is said of the mailbox as
 * a whole, and the order of the rest: scan_msgs.c, scan_files.c, scan_control.c.
 *
 * Diagnostics: what could not be read, with the container.
 */
#include "scan_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "build.h"
#include "half.h"
#include "hold.h"
#include "state_int.h"
#include "util/log.h"

bool scan_knows_dir(struct state *lender, const struct mailfs_id *dir) {
    struct base_dir rec;

    return base_dir_get_in(lender, BASE_PROPOSED, dir, &rec) == 0 && rec.merged;
}

static int scan_subdirs(struct scan *s) {
    int sub, fd, r = 0;

    for (sub = MFP__SUB__NEW; r == 0 && sub <= MFP__SUB__TMP; sub++) {
        Mfp__OpSubDir *o;
        struct stat sb;
        fd = store_sub_open(s->st, &s->d, sub, false);
        if (fd == -ENOENT)
            continue;
        if (fd < 0)
            return fd;
        o = malloc(sizeof(*o));
        if (!o || fstat(fd, &sb) < 0) {
            free(o);
            return -ENOMEM;
        }
        mfp__op_sub_dir__init(o);
        o->sub = (Mfp__Sub)sub;
        o->meta = store_meta_new(&sb);
        r = build_push(&s->out->subdirs, &s->out->n_subdirs, o);
        if (r < 0)
            mfp__op_sub_dir__free_unpacked(o, NULL);
    }
    return r;
}

/* Which base it is. Where something is lost it counts as another than the other end's: then both
 * list everything, and what is to come again is among that. */
static int scan_base(struct scan *s) {
    uint8_t digest[STATE_DIGEST];
    char path[256];
    int r = base_digest(s->st, s->dir, digest);

    if (s->n_lost) {
        log_warn("%s: %zu messages or files are not in the store, and are from now on as the other "
                 "end has them",
                 state_path(s->st, s->dir, path, sizeof(path)), s->n_lost);
        memset(digest, 0, sizeof(digest));
    }
    if (r == 0)
        r = build_bytes(&s->out->base_digest, digest, sizeof(digest));
    return r == 0 ? base_version_list(s->st, BASE_OF_MAILBOX, s->dir, &s->out->base_version) : r;
}

static int scan_head(struct scan *s) {
    struct base_uidlist ul;
    struct base_dir rec;
    int r = build_id(&s->out->dir, s->dir);

    if (r == 0 && base_uidlist_get(s->st, BASE_AGREED, s->dir, &ul) == 0) {
        s->out->base_v = ul.v;
        s->out->base_n = ul.n;
        free(ul.header_ext);
    }
    s->out->half_age = half_age(s->st, s->dir, &s->out->half_with);
    s->out->life = s->st->life;
    s->out->held = s->held;
    s->out->full = s->full;
    s->out->base_valid =
        (base_dir_get(s->st, s->dir, &rec) == 0 && rec.merged) || base_was_cut(s->st, s->dir);
    s->out->cut = base_lost_uids(s->st, s->dir);
    return r;
}

/* The comparison of the trees looks for it then. */
static int mark_lost(struct scan *s) {
    struct base_dir rec;
    uint64_t gen;
    int r = base_dir_get(s->st, s->dir, &rec);

    if (r < 0 || !rec.agreed)
        return r == -ENOENT ? 0 : r;
    r = state_mark_gen(s->st, &gen);
    return r == 0 ? state_mark(s->st, s->dir, gen) : r;
}

static int scan_all(struct scan *s) {
    struct stat sb;
    int r = scan_head(s);

    if (r < 0)
        return r;
    r = store_dir_open(s->st, s->dir, &s->d);
    if (r == -ENOENT) {
        s->out->gone = true;
        r = s->follows ? mark_lost(s) : 0;
        return r == 0 ? scan_base(s) : r;
    }
    if (r == 0 && fstat(s->d.fd[0], &sb) == 0)
        s->out->meta = store_meta_new(&sb);
    if (r == 0)
        r = index_read(s->st, &s->d, &s->ix);
    if (r == 0)
        r = stage_published_in(s->st, s->dir, &s->pubs, &s->n_pubs);
    if (r == 0)
        r = scan_uidlist(s);
    if (r == 0)
        r = scan_msgs(s);
    if (r == 0)
        r = scan_removed(s);
    if (r == 0)
        r = scan_files(s);
    if (r == 0)
        r = scan_keywords(s);
    if (r == 0)
        r = scan_subs(s);
    if (r == 0)
        r = scan_borrow_subs(s);
    if (r == 0)
        r = scan_subdirs(s);
    return r == 0 ? scan_base(s) : r;
}

int scan_mailbox(struct state *st, const struct mailfs_id *dir, bool full, Mfp__Listing **out) {
    return scan_mailbox_for(st, dir, full, NULL, 0, out);
}

static int scan_run(struct scan *s, Mfp__Listing **out) {
    struct base_dir rec;
    int r = -ENOMEM;

    s->held = hold_covers(s->st, s->dir);
    /* Without a base there is nothing to differ from. */
    if (base_dir_get(s->st, s->dir, &rec) < 0 || !rec.merged)
        s->full = true;
    s->d = (struct store_dir){.fd = {-1, -1, -1, -1}};
    s->kept_fd = -1;
    s->out = malloc(sizeof(*s->out));
    if (s->out) {
        mfp__listing__init(s->out);
        r = scan_all(s);
    }
    index_free(&s->ix);
    index_free(&s->kept);
    if (s->kept_fd >= 0)
        close(s->kept_fd);
    maildir_uidlist_free(s->list);
    free(s->pubs);
    store_dir_close(&s->d);
    if (r < 0) {
        if (s->out)
            mfp__listing__free_unpacked(s->out, NULL);
        return state_fail(s->st, r, s->dir, "cannot list");
    }
    *out = s->out;
    return 0;
}

int scan_mailbox_for(struct state *st, const struct mailfs_id *dir, bool full,
                     struct state *const *lenders, size_t n_lenders, Mfp__Listing **out) {
    struct scan s = {
        .st = st, .dir = dir, .full = full, .lenders = lenders, .n_lenders = n_lenders};

    return scan_run(&s, out);
}

int scan_mailbox_following(struct state *st, const struct mailfs_id *dir, bool full,
                           struct state *const *lenders, size_t n_lenders, Mfp__Listing **out) {
    struct scan s = {.st = st,
                     .dir = dir,
                     .full = full,
                     .follows = true,
                     .lenders = lenders,
                     .n_lenders = n_lenders};

    return scan_run(&s, out);
}
