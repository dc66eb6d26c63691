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
#include "maildir/uidlist.h"
#include "volume.h"

struct raise {
    struct volume *v;
    struct state *st; /* of the link that knows the mailboxes */
    enum replica_raise how;
    struct apply_result *out;
    size_t raised;
    int err; /* the first */
};

static int raise_list(struct apply *a, enum replica_raise how) {
    struct maildir_uidlist *list = NULL;
    char *text = NULL;
    size_t n;
    int r =
        io_file_read_at(a->d.fd[0], "dovecot-uidlist", MAILDIR_UIDLIST_TEXT_MAX, &text, &n, NULL);
    if (r == 0)
        r = maildir_uidlist_parse(text, n, &list, NULL);
    if (r == 0) {
        maildir_uidlist_raise_next_to(list, replica_raised_uid(maildir_uidlist_next(list), how));
        r = apply_write_uidlist(a, list);
    }
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
        err = raise_list(&a, r->how);
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

static int raise_times(struct state *st, const struct mailfs_id *dir, enum replica_raise how,
                       unsigned times, struct invals *inval) {
    struct apply_result out = {0};
    struct raise r = {.st = st, .how = how, .out = &out};
    for (unsigned i = 0; r.err == 0 && i < times; i++)
        raise_mailbox(&r, dir);
    *inval = out.inval;
    return r.err;
}

int promote_raise_one(struct state *st, const struct mailfs_id *dir, enum replica_raise how,
                      struct invals *inval) {
    return raise_times(st, dir, how, 1, inval);
}

int promote_raise_lost(struct state *st, const struct mailfs_id *dir, enum replica_raise how,
                       struct invals *inval) {
    return raise_times(st, dir, how, 2, inval);
}
