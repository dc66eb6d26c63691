/*
 * base_digest: digests of a container's base, and of the tree's.
 *
 * Diagnostics: none here, errors are returned.
 */
#include "base.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/hash.h"
#include "maildir/subs.h"
#include "state_int.h"
#include "util/bytes.h"

void base_sum_add(uint8_t a[STATE_DIGEST], const uint8_t b[STATE_DIGEST], bool minus) {
    int carry = minus ? 1 : 0, i;

    for (i = STATE_DIGEST - 1; i >= 0; i--) {
        carry += a[i] + (minus ? 255 - b[i] : b[i]);
        a[i] = (uint8_t)carry;
        carry >>= 8;
    }
}

/* Lines of the subscriptions: their order means nothing. */
static int subs_sum(const char *text, size_t n, uint8_t sum[STATE_DIGEST]) {
    struct maildir_subs *s;
    uint8_t h[STATE_DIGEST];
    size_t i;
    int r = maildir_subs_parse(text, n, &s);

    if (r < 0)
        return io_hash(text, n, sum);
    for (i = 0; r == 0 && i < maildir_subs_count(s); i++) {
        const char *line = maildir_subs_at(s, i);
        r = io_hash(line, strlen(line), h);
        if (r == 0)
            base_sum_add(sum, h, false);
    }
    maildir_subs_free(s);
    return r;
}

static int digest_texts(struct state *st, enum base_view view, const struct mailfs_id *dir,
                        struct buf *b) {
    uint8_t h[STATE_DIGEST];
    char *text;
    size_t n;
    int r = base_text_get(st, view, dir, BASE_KEYWORDS, &text, &n);

    memset(h, 0, sizeof(h));
    if (r == 0 && n)
        r = io_hash(text, n, h);
    free(text);
    if (r < 0 && r != -ENOENT)
        return r;
    buf_append(b, h, sizeof(h));
    memset(h, 0, sizeof(h));
    r = base_text_get(st, view, dir, BASE_SUBS, &text, &n);
    if (r == 0 && n)
        r = subs_sum(text, n, h);
    free(text);
    if (r < 0 && r != -ENOENT)
        return r;
    return buf_append(b, h, sizeof(h));
}

static int digest_sum(struct state *st, enum base_view view, const struct mailfs_id *dir,
                      struct buf *b) {
    uint8_t sum[STATE_DIGEST];
    int r = base_sum_get(st, view, dir, sum);

    return r == 0 ? buf_append(b, sum, sizeof(sum)) : r;
}

static int digest_uidlist(struct state *st, enum base_view view, const struct mailfs_id *dir,
                          struct buf *b) {
    struct base_uidlist ul;
    uint8_t head[8];
    int r = base_uidlist_get(st, view, dir, &ul);

    if (r < 0 && r != -ENOENT)
        return r;
    bytes_put_u32(head, ul.v);
    bytes_put_u32(head + 4, ul.n);
    free(ul.header_ext);
    return buf_append(b, head, sizeof(head));
}

int base_digest_in(struct state *st, enum base_view view, const struct mailfs_id *dir,
                   uint8_t digest[STATE_DIGEST]) {
    struct base_dir rec;
    struct buf b;
    int r = base_dir_get_in(st, view, dir, &rec);

    memset(digest, 0, STATE_DIGEST);
    if (r == -ENOENT || (r == 0 && !rec.merged))
        return 0;
    buf_init(&b, 1024);
    if (r == 0)
        r = digest_sum(st, view, dir, &b);
    if (r == 0)
        r = digest_uidlist(st, view, dir, &b);
    if (r == 0)
        r = digest_texts(st, view, dir, &b);
    if (r == 0)
        r = io_hash(b.p, b.len, digest);
    buf_free(&b);
    return r;
}

int base_digest(struct state *st, const struct mailfs_id *dir, uint8_t digest[STATE_DIGEST]) {
    return base_digest_in(st, BASE_AGREED, dir, digest);
}

struct tree_sum {
    const struct state *st;
    uint8_t *digest;
};

static int tree_sum(void *arg, const struct mailfs_id *id, const struct base_dir *rec) {
    const struct tree_sum *sum = arg;
    uint8_t h[STATE_DIGEST], text[2 * MAILFS_ID_BYTES + MAILDIR_NAME_MAX];
    size_t n = strlen(rec->name);
    int r;

    if (!rec->agreed || base_gone(sum->st, id))
        return 0;
    memcpy(text, id->b, MAILFS_ID_BYTES);
    memcpy(text + MAILFS_ID_BYTES, rec->parent.b, MAILFS_ID_BYTES);
    memcpy(text + 2 * (size_t)MAILFS_ID_BYTES, rec->name, n);
    r = io_hash(text, 2 * (size_t)MAILFS_ID_BYTES + n, h);
    if (r == 0)
        base_sum_add(sum->digest, h, false);
    return r;
}

int base_tree_digest_now(struct state *st, uint8_t digest[STATE_DIGEST]) {
    static const uint8_t one[STATE_DIGEST] = {[STATE_DIGEST - 1] = 1};
    struct tree_sum sum = {st, digest};

    memset(digest, 0, STATE_DIGEST);
    base_sum_add(digest, one, false); /* an agreed empty tree is not "none" */
    return base_each_dir(st, tree_sum, &sum);
}

int base_tree_digest(struct state *st, uint8_t digest[STATE_DIGEST]) {
    memset(digest, 0, STATE_DIGEST);
    return st->had_contact ? base_tree_digest_now(st, digest) : 0;
}
