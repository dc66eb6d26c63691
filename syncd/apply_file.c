/*
 * apply_file: whole files that are no messages: sieve scripts, symbolic links, ACLs.
 *
 * A file is replaced by a new inode, so that whoever has it open keeps what it opened. It is looked
 * at once more right before that: making the new one durable takes as long as writing another one
 * here. And once more when it has lost its name, since one can be written in that moment, too. At
 * that time it is in .mailfs/kept/, where no start clears it away.
 *
 * Diagnostics: one that could not have its name back; else none but of apply.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apply_int.h"
#include "files.h"
#include "io/file.h"
#include "io/io.h"
#include "maildir/class.h"
#include "maildir/uidvalidity.h"
#include "merge_int.h"
#include "unread.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/str.h"
#include "validity.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

/* A file that is being replaced. */
struct replaced {
    struct apply *a;
    const char *name;
    const struct base_file *was; /* NULL: does not matter */
    char keep[MERGE_KEPT_MAX];   /* where it is while it is looked at */
};

static int may_replace(void *arg, int dirfd, const char *name) {
    const struct replaced *f = arg;

    return files_still(dirfd, name, f->was) ? 0 : -ESTALE;
}

static struct io_file_attr attr_of(struct replaced *f) {
    return (struct io_file_attr){.may_replace = f->was ? may_replace : NULL,
                                 .arg = f,
                                 .keepdir = f->a->st->kept,
                                 .keep = f->keep};
}

/* temp in the stage has the right kind and content: attributes, then the name. It is gone after. */
static int finish(struct replaced *f, const char *temp, const struct base_file *now) {
    struct apply *a = f->a;
    struct io_file_attr attr = attr_of(f);
    struct timespec ts[2];
    int stage = a->st->stage, r = 0, fd;

    ts[0] = ts[1] = clock_timespec(now->mtime_ns);
    if (geteuid() == 0)
        r = io_chown(stage, temp, now->owner, now->group);
    if (r == 0 && S_ISREG(now->type)) {
        fd = io_open_beneath(stage, temp, O_RDONLY, 0);
        r = fd < 0 ? fd : io_fchmod(fd, now->mode & 0777);
        if (fd >= 0)
            close(fd);
    }
    if (r == 0)
        r = io_utimens(stage, temp, ts);
    if (r == 0)
        return io_file_take_name(stage, temp, a->d.fd[0], f->name, &attr);
    io_unlink(stage, temp);
    return r;
}

static int put_inline(struct replaced *f, const struct base_file *now, const char *content,
                      size_t n) {
    struct io_file_attr attr = attr_of(f);

    attr.mode = now->mode & 0777;
    attr.uid = now->owner;
    attr.gid = now->group;
    attr.set_owner = geteuid() == 0;
    attr.set_mtime = 1;
    attr.mtime = clock_timespec(now->mtime_ns);
    attr.has_tmpdir = 1;
    attr.tmpdir = f->a->st->stage;
    return io_file_replace_at(f->a->d.fd[0], f->name, content, n, &attr);
}

static int put_staged(struct replaced *f, const struct base_file *now) {
    struct apply *a = f->a;
    char key[STAGE_NAME_MAX], file[STAGE_NAME_MAX], temp[STAGE_TEMP_MAX];
    uint8_t sha256[sizeof(now->sha256)];
    Mfp__FileState s = MFP__FILE_STATE__INIT;
    int r;

    stage_fetch_name(&a->dir, MFP__SUB__SELF, f->name, key);
    r = stage_lookup(a->st, key, file);
    if (r == -ESTALE)
        return APPLY_NOT_DONE; /* the peer has it no more */
    if (r < 0)
        return r;
    memcpy(sha256, now->sha256, sizeof(sha256));
    s.sha256.data = sha256;
    s.sha256.len = sizeof(sha256);
    if (!content_is(a->st, key, &s)) {
        apply_suspect(a, "another version of a file has come", f->name);
        return APPLY_NOT_DONE;
    }
    stage_temp_name(a->st, temp);
    r = io_link(a->st->stage, file, a->st->stage, temp);
    return r < 0 ? r : finish(f, temp, now);
}

/* ---- put ---------------------------------------------------------------------------- */

static int put_link(struct replaced *f, const struct base_file *now) {
    struct state *st = f->a->st;
    char temp[STAGE_TEMP_MAX];
    int r;

    if (!now->link)
        return -EINVAL;
    stage_temp_name(st, temp);
    r = io_symlink(now->link, st->stage, temp);
    return r < 0 ? r : finish(f, temp, now);
}

/* Taken away first, and looked at then. One that is not to go is put back; if it cannot be, as a
 * newer one has come, say, it is kept. */
static int remove_if_still(struct replaced *f) {
    int kept = f->a->st->kept, dir = f->a->d.fd[0], r = may_replace(f, dir, f->name);

    if (r == 0)
        r = io_rename(dir, f->name, kept, f->keep, RENAME_NOREPLACE);
    if (r < 0)
        return r;
    r = may_replace(f, kept, f->keep);
    if (r == 0)
        io_unlink(kept, f->keep);
    else
        io_rename(kept, f->keep, dir, f->name, RENAME_NOREPLACE);
    return r;
}

static int put_nothing(struct replaced *f) {
    int r = f->was ? remove_if_still(f) : io_unlink(f->a->d.fd[0], f->name);

    return r == -ENOENT ? 0 : r;
}

static void report_kept(const struct replaced *f) {
    struct state *st = f->a->st;
    char path[256];

    if (f->was && merge_kept_is(st, f->keep))
        log_warn("%s: %s was changed here while the other node's came; this one is in "
                 ".mailfs/kept/",
                 state_path(st, &f->a->dir, path, sizeof(path)), f->name);
}

int apply_put_file(struct apply *a, const char *name, const struct base_file *was,
                   const struct base_file *now, const char *content, size_t n, bool has_content) {
    struct replaced f = {.a = a, .name = name, .was = was};
    uint32_t v;
    int r = 0;

    if (a->st->read_only)
        return -EROFS;
    if (strcmp(name, MAILDIR_UIDVALIDITY_NAME) == 0 && S_ISREG(now->type) && has_content &&
        maildir_uidvalidity_parse(content, n, &v) == 0)
        r = validity_count_on(a, v, now);
    if (r == 0)
        r = merge_kept_name(name, 'l', f.keep);
    if (r < 0)
        return r;
    if (now->type == 0)
        r = put_nothing(&f);
    else if (S_ISLNK(now->type))
        r = put_link(&f, now);
    else if (S_ISREG(now->type))
        r = has_content ? put_inline(&f, now, content, n) : put_staged(&f, now);
    else
        r = -EINVAL;
    if (r < 0)
        report_kept(&f);
    if (r <= 0) /* it may have been there for a moment */
        inval_add(&a->out->inval, &a->dir, MFL__SUB__SELF, name, name, true);
    return r;
}

/* dovecot-uidvalidity: each side counts on from the highest it has seen. */
static bool validity_is_lower(struct apply *a, const char *name, const Mfp__OpFile *op) {
    uint32_t here, theirs;
    char *text;
    size_t n;
    bool lower;

    if (strcmp(name, MAILDIR_UIDVALIDITY_NAME) != 0 || !op->has_content ||
        maildir_uidvalidity_parse((char *)op->content.data, op->content.len, &theirs) < 0 ||
        io_file_read_at(a->d.fd[0], name, 64, &text, &n, NULL) < 0)
        return false;
    lower = maildir_uidvalidity_parse(text, n, &here) == 0 && theirs < here;
    free(text);
    return lower;
}

/* Nobody here has changed it since the peer did. In a replay (after a start) it may be one of any
 * time since; what is newer was made here, or comes again later in the journal. */
static bool fits(const struct apply *a, const struct base_file *cur, const struct base_file *old,
                 const struct base_file *now) {
    return files_same(cur, now) || files_same(cur, old) ||
           (a->replay && now->type != 0 && cur->mtime_ns < now->mtime_ns);
}

static int file_try(struct apply *a, const Mfp__OpFile *op, enum maildir_class cl) {
    struct base_file now, old, cur;
    int r = files_read_agreed(a->st, &a->dir, a->d.fd[0], op->name, &cur, NULL, NULL);

    if (unread_is_error(r)) {
        apply_suspect(a, "a file cannot be read here", op->name);
        return APPLY_NOT_DONE;
    }
    if (r < 0)
        return r;
    files_from_state(op->now, &now);
    files_from_state(op->old, &old);
    if ((files_same(&cur, &now) && cur.mtime_ns == now.mtime_ns) ||
        validity_is_lower(a, op->name, op)) {
        r = 0;
    } else if (!fits(a, &cur, &old, &now) && cl != MAILDIR_UIDVALIDITY) {
        apply_suspect(a, "a file was changed on both sides", op->name);
        r = APPLY_NOT_DONE;
    } else {
        r = apply_put_file(a, op->name, &cur, &now, (const char *)op->content.data, op->content.len,
                           op->has_content);
    }
    base_file_clear(&cur);
    return r;
}

#define FILE_TRIES 3 /* somebody here replaces it all the while: the merge may decide */

int apply_file(struct apply *a, const Mfp__OpFile *op) {
    enum maildir_class cl = maildir_class_of(MAILDIR_DIR_CONTAINER, op->name, strlen(op->name));
    int r = -ESTALE, i;

    if (maildir_name_check(op->name, strlen(op->name), MAILDIR_NAME_COMPONENT) < 0 ||
        (cl != MAILDIR_OTHER && cl != MAILDIR_UIDVALIDITY))
        return -EPERM;
    for (i = 0; r == -ESTALE && i < FILE_TRIES; i++)
        r = file_try(a, op, cl);
    if (r == -ESTALE) {
        apply_suspect(a, "a file is being changed here", op->name);
        r = APPLY_NOT_DONE;
    }
    return r;
}
