/*
 * base_codec: the base's keys and records as bytes. Formats in base_codec.h. No diagnostics.
 */
#include "base_codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/bytes.h"
#include "util/str.h"

#define MSG_HEAD  33
#define FILE_HEAD 64
#define DIR_HEAD  (MAILFS_ID_BYTES + 14 + sizeof(struct io_handle))

#define DIR_AGREED 1
#define DIR_MERGED 2
#define DIR_TOLD   4

static void put32(struct buf *b, uint32_t v) {
    uint8_t p[4];
    bytes_put_u32(p, v);
    buf_append(b, p, sizeof(p));
}

static void put64(struct buf *b, uint64_t v) {
    uint8_t p[8];
    bytes_put_u64(p, v);
    buf_append(b, p, sizeof(p));
}

int base_name_key(uint8_t key[BASE_KEY_MAX], const struct mailfs_id *dir, const char *name) {
    size_t n = strlen(name);

    if (n == 0 || n > MAILDIR_NAME_MAX)
        return -EINVAL;
    memcpy(key, dir->b, MAILFS_ID_BYTES);
    memcpy(key + MAILFS_ID_BYTES, name, n);
    return (int)(MAILFS_ID_BYTES + n);
}

int base_msg_encode(const struct base_msg *m, struct buf *b) {
    buf_add_char(b, (char)m->sub);
    put32(b, m->uid);
    put32(b, m->mode);
    put32(b, m->owner);
    put32(b, m->group);
    put64(b, (uint64_t)m->mtime_ns);
    put64(b, m->size);
    buf_add_str(b, m->info);
    return buf_error(b);
}

int base_msg_decode(const void *val, size_t n, struct base_msg *m) {
    const uint8_t *p = val;

    memset(m, 0, sizeof(*m));
    if (n < MSG_HEAD)
        return -EUCLEAN;
    m->sub = p[0];
    m->uid = bytes_get_u32(p + 1);
    m->mode = bytes_get_u32(p + 5);
    m->owner = bytes_get_u32(p + 9);
    m->group = bytes_get_u32(p + 13);
    m->mtime_ns = (int64_t)bytes_get_u64(p + 17);
    m->size = bytes_get_u64(p + 25);
    if (str_copyn(m->info, sizeof(m->info), (const char *)p + MSG_HEAD, n - MSG_HEAD) < 0)
        return -EUCLEAN;
    return 0;
}

void base_msg_identity(const void *val, size_t n, struct buf *b) {
    const uint8_t *p = val;

    buf_append(b, p, n < 5 ? n : 5); /* sub, uid */
    if (n > MSG_HEAD)
        buf_append(b, p + MSG_HEAD, n - MSG_HEAD);
}

int base_file_encode(const struct base_file *f, struct buf *b) {
    put32(b, f->type);
    put32(b, f->mode);
    put32(b, f->owner);
    put32(b, f->group);
    put64(b, (uint64_t)f->mtime_ns);
    put64(b, f->size);
    buf_append(b, f->sha256, sizeof(f->sha256));
    buf_add_str(b, f->link ? f->link : "");
    return buf_error(b);
}

int base_file_decode(const void *val, size_t n, struct base_file *f) {
    const uint8_t *p = val;

    memset(f, 0, sizeof(*f));
    if (n < FILE_HEAD)
        return -EUCLEAN;
    f->type = bytes_get_u32(p);
    f->mode = bytes_get_u32(p + 4);
    f->owner = bytes_get_u32(p + 8);
    f->group = bytes_get_u32(p + 12);
    f->mtime_ns = (int64_t)bytes_get_u64(p + 16);
    f->size = bytes_get_u64(p + 24);
    memcpy(f->sha256, p + 32, sizeof(f->sha256));
    if (n > FILE_HEAD && !(f->link = strndup((const char *)p + FILE_HEAD, n - FILE_HEAD)))
        return -ENOMEM;
    return 0;
}

void base_file_identity(const void *val, size_t n, struct buf *b) {
    const uint8_t *p = val;

    if (n < FILE_HEAD)
        return;
    buf_append(b, p, 16);
    buf_append(b, p + 32, n - 32);
}

int base_dir_encode(const struct base_dir *d, struct buf *b) {
    buf_append(b, d->parent.b, MAILFS_ID_BYTES);
    buf_add_char(b, (char)((d->agreed ? DIR_AGREED : 0) | (d->merged ? DIR_MERGED : 0) |
                           (d->told ? DIR_TOLD : 0)));
    buf_add_char(b, (char)d->subdirs);
    put32(b, d->mode);
    put32(b, d->owner);
    put32(b, d->group);
    buf_append(b, &d->handle, sizeof(d->handle));
    buf_add_str(b, d->name);
    return buf_error(b);
}

int base_dir_decode(const void *val, size_t n, struct base_dir *d) {
    const uint8_t *p = val;

    memset(d, 0, sizeof(*d));
    if (n < DIR_HEAD)
        return -EUCLEAN;
    memcpy(d->parent.b, p, MAILFS_ID_BYTES);
    p += MAILFS_ID_BYTES;
    d->agreed = p[0] & DIR_AGREED;
    d->merged = p[0] & DIR_MERGED;
    d->told = p[0] & DIR_TOLD;
    d->subdirs = p[1];
    d->mode = bytes_get_u32(p + 2);
    d->owner = bytes_get_u32(p + 6);
    d->group = bytes_get_u32(p + 10);
    memcpy(&d->handle, p + 14, sizeof(d->handle));
    if (d->handle.len > IO_HANDLE_MAX)
        return -EUCLEAN;
    return str_copyn(d->name, sizeof(d->name), (const char *)val + DIR_HEAD, n - DIR_HEAD) < 0
               ? -EUCLEAN
               : 0;
}
