/*
 * apply_file: whole files that are no messages: sieve scripts, symbolic links, ACLs.
 *
 * A file is replaced by a new inode, so that whoever has it open keeps what it opened. No
 * diagnostics but of apply.
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
#include "util/str.h"

static struct timespec ns_to_ts(int64_t ns) {
    struct timespec ts = {ns / 1000000000, ns % 1000000000};

    if (ts.tv_nsec < 0) {
        ts.tv_nsec += 1000000000;
        ts.tv_sec--;
    }
    return ts;
}

/* temp in the stage has the right kind and content: attributes, then the name. It is gone after. */
static int finish(struct apply *a, const char *temp, const char *name,
                  const struct base_file *now) {
    struct timespec ts[2];
    int stage = a->st->stage, r = 0, fd;

    ts[0] = ts[1] = ns_to_ts(now->mtime_ns);
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
        r = io_rename(stage, temp, a->d.fd[0], name, 0);
    if (r < 0)
        io_unlink(stage, temp);
    return r;
}

static int put_inline(struct apply *a, const char *name, const struct base_file *now,
                      const char *content, size_t n) {
    struct io_file_attr attr = {.mode = now->mode & 0777,
                                .uid = now->owner,
                                .gid = now->group,
                                .set_owner = geteuid() == 0,
                                .set_mtime = 1,
                                .mtime = ns_to_ts(now->mtime_ns),
                                .has_tmpdir = 1,
                                .tmpdir = a->st->stage};

    return io_file_replace_at(a->d.fd[0], name, content, n, &attr);
}

static int put_staged(struct apply *a, const char *name, const struct base_file *now) {
    char key[STAGE_NAME_MAX], file[STAGE_NAME_MAX], temp[STAGE_TEMP_MAX];
    uint8_t sha256[sizeof(now->sha256)];
    Mfp__FileState s = MFP__FILE_STATE__INIT;
    int r;

    stage_fetch_name(&a->dir, MFP__SUB__SELF, name, key);
    r = stage_lookup(a->st, key, file);
    if (r == -ESTALE)
        return APPLY_NOT_DONE; /* the peer has it no more */
    if (r < 0)
        return r;
    memcpy(sha256, now->sha256, sizeof(sha256));
    s.sha256.data = sha256;
    s.sha256.len = sizeof(sha256);
    if (!content_is(a->st, key, &s)) {
        apply_suspect(a, "another version of a file has come", name);
        return APPLY_NOT_DONE;
    }
    stage_temp_name(a->st, temp);
    r = io_link(a->st->stage, file, a->st->stage, temp);
    return r < 0 ? r : finish(a, temp, name, now);
}

/* ---- dovecot-uidvalidity ------------------------------------------------------------ */

/* The names dovecot-uidvalidity.XXXXXXXX of a container. */
struct counted {
    struct apply *a;
    uint32_t top; /* the highest of them; 0: there is none */
    char name[MAILDIR_UIDVALIDITY_NAME_MAX];
};

static int find_top(void *arg, const char *name, unsigned char type) {
    struct counted *c = arg;
    uint32_t v;

    if (maildir_uidvalidity_from_name(name, strlen(name), &v) == 0 && v > c->top &&
        str_copy(c->name, sizeof(c->name), name) == 0)
        c->top = v;
    return 0;
}

static int remove_lower(void *arg, const char *name, unsigned char type) {
    struct counted *c = arg;
    uint32_t v;
    int r;

    if (maildir_uidvalidity_from_name(name, strlen(name), &v) < 0 || v >= c->top)
        return 0;
    r = io_unlink(c->a->d.fd[0], name);
    if (r == 0)
        inval_add(&c->a->out->inval, &c->a->dir, MFL__SUB__SELF, name, NULL, true);
    return r == -ENOENT ? 0 : r;
}

static int move_top(struct counted *c, uint32_t to, const struct base_file *like) {
    struct io_file_attr attr = {.mode = 0444,
                                .uid = like->owner,
                                .gid = like->group,
                                .set_owner = geteuid() == 0,
                                .has_tmpdir = 1,
                                .tmpdir = c->a->st->stage};
    char name[MAILDIR_UIDVALIDITY_NAME_MAX];
    int fd = c->a->d.fd[0], r = maildir_uidvalidity_format_name(name, sizeof(name), to);

    if (r < 0)
        return r;
    r = c->top ? io_rename(fd, c->name, fd, name, 0) : -ENOENT;
    if (r == -ENOENT) /* none, or Dovecot was faster */
        r = io_file_replace_at(fd, name, "", 0, &attr);
    if (r == 0)
        inval_add(&c->a->out->inval, &c->a->dir, MFL__SUB__SELF, c->name, name, true);
    c->top = to;
    return r;
}

/*
 * Dovecot takes the next value by renaming the file whose name has the current one, and writes it
 * into dovecot-uidvalidity then. So the name goes up before the file does: who finds the name gone
 * looks for the highest, and nobody counts on from a lower one.
 */
static int count_on(struct apply *a, uint32_t v, const struct base_file *like) {
    struct counted c = {.a = a};
    int r = store_each_name(a->d.fd[0], find_top, &c);

    if (r == 0 && c.top < v)
        r = move_top(&c, v, like);
    return r == 0 ? store_each_name(a->d.fd[0], remove_lower, &c) : r;
}

/* ---- put ---------------------------------------------------------------------------- */

int apply_put_file(struct apply *a, const char *name, const struct base_file *now,
                   const char *content, size_t n, bool has_content) {
    char temp[STAGE_TEMP_MAX];
    uint32_t v;
    int r = 0;

    if (a->st->read_only)
        return -EROFS;
    if (strcmp(name, MAILDIR_UIDVALIDITY_NAME) == 0 && S_ISREG(now->type) && has_content &&
        maildir_uidvalidity_parse(content, n, &v) == 0)
        r = count_on(a, v, now);
    if (r < 0)
        return r;
    if (now->type == 0) {
        r = io_unlink(a->d.fd[0], name);
        r = r == -ENOENT ? 0 : r;
    } else if (S_ISLNK(now->type)) {
        stage_temp_name(a->st, temp);
        r = now->link ? io_symlink(now->link, a->st->stage, temp) : -EINVAL;
        if (r == 0)
            r = finish(a, temp, name, now);
    } else if (S_ISREG(now->type)) {
        r = has_content ? put_inline(a, name, now, content, n) : put_staged(a, name, now);
    } else {
        r = -EINVAL;
    }
    if (r == 0)
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

int apply_file(struct apply *a, const Mfp__OpFile *op) {
    struct base_file now, old, cur;
    enum maildir_class cl;
    bool done, clean;
    int r;

    cl = maildir_class_of(MAILDIR_DIR_CONTAINER, op->name, strlen(op->name));
    if (maildir_name_check(op->name, strlen(op->name), MAILDIR_NAME_COMPONENT) < 0 ||
        (cl != MAILDIR_OTHER && cl != MAILDIR_UIDVALIDITY))
        return -EPERM;
    files_from_state(op->now, &now);
    files_from_state(op->old, &old);
    r = files_read(a->d.fd[0], op->name, &cur, NULL, NULL);
    if (r < 0)
        return r;
    done = files_same(&cur, &now) && cur.mtime_ns == now.mtime_ns;
    clean = files_same(&cur, &now) || files_same(&cur, &old) || a->replay;
    base_file_clear(&cur);
    if (done || validity_is_lower(a, op->name, op))
        return 0;
    if (!clean && cl != MAILDIR_UIDVALIDITY) {
        apply_suspect(a, "a file was changed on both sides", op->name);
        return APPLY_NOT_DONE;
    }
    return apply_put_file(a, op->name, &now, (const char *)op->content.data, op->content.len,
                          op->has_content);
}
