/*
 * promote - a gap before the next UID of every mailbox, or of one
 *
 * The node that was active may have shown UIDs that never came here. Beyond the gap nothing is
 * given twice; what it gave inside it keeps its UID when it is back (DESIGN, the merge).
 *
 * Diagnostics: a mailbox whose uidlist could not be raised, with its path.
 */
#include "promote.h"

#include <errno.h>
#include <stdlib.h>

#include "apply_int.h"
#include "io/file.h"
#include "io/io.h"
#include "maildir/uidlist.h"
#include "volume.h"

#define UIDLIST "dovecot-uidlist"

struct raise {
    struct volume *v;
    struct state *st; /* of the link that knows the mailboxes */
    enum replica_raise how;
    struct apply_result *out;
    uint32_t *tried; /* or NULL: promote_raise_lost() */
    size_t raised;
    int err; /* the first */
};

/* The list has its name, but that may not be on the disk. Nobody has been told of it, either. */
static int again_to_disk(struct apply *a) {
    inval_add(&a->out->inval, &a->dir, MFL__SUB__SELF, UIDLIST, UIDLIST, true);
    return io_fsync(a->d.fd[0]);
}

static int raise_next(struct apply *a, struct maildir_uidlist *list, struct raise *r) {
    uint32_t next = maildir_uidlist_next(list), to = replica_raised_uid(next, r->how);
    if (r->tried != NULL && *r->tried == next)
        return again_to_disk(a);
    if (r->tried != NULL)
        *r->tried = to = replica_raised_over(next, r->how);
    maildir_uidlist_raise_next_to(list, to);
    return apply_write_uidlist(a, list);
}

static int raise_list(struct apply *a, struct raise *raise) {
    struct maildir_uidlist *list = NULL;
    char *text = NULL;
    size_t n;
    int r = io_file_read_at(a->d.fd[0], UIDLIST, MAILDIR_UIDLIST_TEXT_MAX, &text, &n, NULL);
    if (r == 0)
        r = maildir_uidlist_parse(text, n, &list, NULL);
    if (r == 0)
        r = raise_next(a, list, raise);
    maildir_uidlist_free(list);
    free(text);
    /* Empty or broken: Dovecot makes a new one, with another UIDVALIDITY. */
    return r == -ENODATA || r == -EBADMSG ? -ENOENT : r;
}

static int raise_mailbox(struct raise *r, const struct mailfs_id *dir) {
    struct apply a = {.st = r->st, .dir = *dir, .out = r->out};
    uint64_t gen;
    a.d = (struct store_dir){.fd = {-1, -1, -1, -1}};
    int err = store_dir_open(r->st, dir, &a.d);
    if (err == 0)
        err = state_mark_gen(r->st, &gen);
    if (err == 0)
        err = state_mark(r->st, dir, gen);
    if (err == 0)
        err = raise_list(&a, r);
    if (err == 0)
        r->raised++;
    else if (err != -ENOENT && r->err == 0)
        r->err =
            err == -EOWNERDEAD ? err : state_fail(r->st, err, dir, "cannot raise the next UID");
    store_dir_close(&a.d);
    return 0; /* the others all the same */
}

/* One that a link before this one knows has been raised. */
static int each(void *arg, const struct mailfs_id *dir, const struct base_dir *rec) {
    struct raise *r = arg;
    struct base_dir known;
    for (size_t i = 0; r->v->links[i]->state != r->st; i++) {
        if (base_dir_get(r->v->links[i]->state, dir, &known) == 0)
            return 0;
    }
    return raise_mailbox(r, dir);
}

int promote_raise_all(struct volume *v, enum replica_raise how, size_t *raised,
                      struct invals *inval) {
    struct apply_result out = {0};
    struct raise r = {.v = v, .how = how, .out = &out};
    int err = 0;
    for (size_t i = 0; err == 0 && i < v->n_links; i++) {
        r.st = v->links[i]->state;
        err = base_each_dir(r.st, each, &r);
        if (i == 0)
            raise_mailbox(&r, &mailfs_id_root);
    }
    *raised = r.raised;
    *inval = out.inval;
    return err != 0 ? err : r.err;
}

int promote_raise_one(struct state *st, const struct mailfs_id *dir, enum replica_raise how,
                      struct invals *inval) {
    struct apply_result out = {0};
    struct raise r = {.st = st, .how = how, .out = &out};
    raise_mailbox(&r, dir);
    *inval = out.inval;
    return r.err;
}

int promote_raise_lost(struct state *st, const struct mailfs_id *dir, enum replica_raise how,
                       uint32_t *tried, struct invals *inval) {
    struct apply_result out = {0};
    struct raise r = {.st = st, .how = how, .out = &out, .tried = tried};
    raise_mailbox(&r, dir);
    *inval = out.inval;
    return r.err;
}
