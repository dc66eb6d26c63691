/*
 * xfer_here - what is here already of a content that is asked of the peer
 *
 * Its beginning, when the link was cut in the midst of it; or an older version, of a file that is
 * no message. The peer gets the hash of the one, or the signature of the other, with the question.
 *
 * All of this is for workers: it reads as much as there is.
 *
 * Diagnostics: none; what cannot be read is sent whole.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "delta.h"
#include "io/io.h"
#include "volume.h"
#include "xfer_private.h"

bool fetch_may_be_here(const struct fetch *f) {
    return f->want.size >= (f->want.sub == MFP__SUB__SELF ? DELTA_FILE_MIN : STAGE_PART_MIN);
}

static void look_for_older(struct state *st, struct fetch *f) {
    const struct content_want *w = &f->want;
    struct stat sb;
    char *link;
    int r = content_open(st, w, &f->older, &sb, &link);
    if (r == 0 && f->older >= 0 && sb.st_size >= DELTA_FILE_MIN)
        (void)delta_signature(f->older, (uint64_t)sb.st_size, &f->sig, &f->sig_len);
    free(link);
    if (f->sig == NULL && f->older >= 0) {
        close(f->older);
        f->older = -1;
    }
}

void fetch_look_run(void *arg) {
    struct fetch *f = arg;
    struct state *st = f->group->x->v->state;
    const struct content_want *w = &f->want;
    int r =
        stage_resume(st, &w->dir, w->sub, w->name, &w->prep, &f->part, &f->have, f->have_sha256);
    if (r < 0 && w->sub == MFP__SUB__SELF)
        look_for_older(st, f);
}

void fetch_forget_here(struct fetch *f) {
    stage_keep_part(f->part);
    f->part = NULL;
    f->have = 0;
    if (f->older >= 0)
        close(f->older);
    f->older = -1;
    free(f->sig);
    f->sig = NULL;
    f->sig_len = 0;
}

/* ---- a difference comes ------------------------------------------------------------ */

int xfer_delta_write(struct xfer_in *in, const struct xfer_chunk *c) {
    if (c->offset != in->scratched || in->meta == NULL || c->len > in->meta->size ||
        in->scratched > in->meta->size - c->len)
        return -EBADMSG; /* longer than what it makes */
    in->scratched += c->len;
    return io_pwrite_all(in->scratch, c->data, c->len, (off_t)c->offset);
}

static int sink(void *arg, uint64_t offset, const void *p, size_t n) {
    return stage_write(arg, offset, p, n);
}

int xfer_delta_end(struct xfer_in *in) {
    struct state *st = in->x->v->state;
    int r;
    if (in->meta == NULL)
        return -EBADMSG;
    r = stage_begin_fetch(st, &in->dir, in->sub, in->name, in->meta, NULL, &in->file);
    if (r != 0) {
        in->file = NULL;
        return r;
    }
    return delta_apply(in->scratch, in->older, in->meta->size, in->sha256, sink, in->file);
}
