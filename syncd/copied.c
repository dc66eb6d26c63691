/*
 * copied - copies of a delivery, in a mailbox that is left to a merge
 *
 * Diagnostics: one that cannot be opened or noted, with the container.
 */
#include "copied.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base.h"
#include "content.h"
#include "load.h"
#include "state_int.h"
#include "wire/check.h"

/* Of what was prepared under another number; of another one the peer has the source. */
static bool is_copy(const Mfp__Op *op) {
    return op->op_case == MFP__OP__OP_MSG && content_op_adds(op->msg) && op->msg->source &&
           op->msg->source->prepared && op->msg->source->dir.len > 0;
}

/* As mailfs would have asked, by the name that the message has. */
static Mfl__ToSyncd *prepare_of(const struct mailfs_id *dir, const Mfp__OpMsg *op) {
    Mfl__ToSyncd m = MFL__TO_SYNCD__INIT, *made;
    Mfl__Prepare prepare = MFL__PREPARE__INIT;
    Mfl__Meta meta = MFL__META__INIT;
    uint8_t *buf;

    meta.mode = op->meta->mode;
    meta.uid = op->meta->uid;
    meta.gid = op->meta->gid;
    meta.mtime_ns = op->meta->mtime_ns;
    prepare.dir = wire_bytes_of(dir);
    prepare.tmp_name = op->bname;
    prepare.meta = &meta;
    m.m_case = MFL__TO_SYNCD__M_PREPARE;
    m.prepare = &prepare;
    buf = malloc(mfl__to_syncd__get_packed_size(&m));
    made = buf ? mfl__to_syncd__unpack(NULL, mfl__to_syncd__pack(&m, buf), buf) : NULL;
    free(buf);
    return made;
}

static int open_one(struct copied *c, struct state *st, const struct mailfs_id *dir,
                    const Mfp__OpMsg *op) {
    struct base_prep number = {c->first.incarnation, c->first.seq + c->n};
    struct content_want want = {.dir = *dir,
                                .sub = MFP__SUB__CUR,
                                .name = op->bname,
                                .by_base = true,
                                .info = op->now->info};
    Mfl__ToSyncd *prepare = op->meta ? prepare_of(dir, op) : NULL;
    struct stat sb;
    char *link = NULL;
    int fd = -1, r = prepare ? content_open(st, &want, &fd, &sb, &link) : -ENOMEM;

    if (r == 0)
        r = fd < 0 ? -ENOENT : base_prep_put(st, BASE_AGREED, dir, op->bname, &number);
    free(link); /* a message is none */
    if (r < 0) {
        if (fd >= 0)
            close(fd);
        mfl__to_syncd__free_unpacked(prepare, NULL);
        return r;
    }
    c->v[c->n].fd = fd;
    c->v[c->n].size = (uint64_t)sb.st_size;
    c->v[c->n++].prepare = prepare;
    return 0;
}

void copied_open(struct copied *c, struct state *st, const struct mailfs_id *dir,
                 const Mfp__Txn *txn) {
    size_t i;
    int r;

    for (i = 0; i < txn->n_ops && c->n < COPIED_MAX; i++) {
        r = is_copy(txn->ops[i]) ? open_one(c, st, dir, txn->ops[i]->msg) : 0;
        if (r < 0 && r != -ENOENT) /* removed meanwhile */
            state_fail(st, r, dir, "a copy of a delivery cannot be sent before the merge");
    }
}

void copied_prepare(struct copied *c, struct replica *machine, uint64_t now, uint64_t req) {
    struct replica_copy v[COPIED_MAX] = {{.payload = NULL}};
    size_t i, n = c->n;

    c->n = 0; /* the payloads have what it had */
    for (i = 0; i < n; i++) {
        v[i].prep = (struct replica_prep){c->first.incarnation, c->first.seq + i};
        v[i].payload = load_file(c->v[i].fd, c->v[i].size, c->v[i].prepare);
    }
    replica_prepare_copies(machine, now, req, v, n);
    for (i = 0; i < n; i++)
        replica_payload_unref(v[i].payload);
}

void copied_free(struct copied *c) {
    size_t i;

    for (i = 0; c && i < c->n; i++) {
        close(c->v[i].fd);
        mfl__to_syncd__free_unpacked(c->v[i].prepare, NULL);
    }
    free(c);
}
