#ifndef SYNCD_BASE_CODEC_H
#define SYNCD_BASE_CODEC_H

/*
 * The base's records as bytes, numbers big-endian.
 *
 *   message    sub 1, uid 4, mode 4, owner 4, group 4, mtime 8, size 8, info
 *   file       type 4, mode 4, owner 4, group 4, mtime 8, size 8, sha256 32, target of a link
 *   container  parent 16, flags 1, subdirs 1, mode 4, owner 4, group 4, handle 40, name
 *
 * A decoder gives -EUCLEAN for what it does not understand.
 */

#include "base.h"
#include "util/buf.h"

#define BASE_KEY_MAX (MAILFS_ID_BYTES + MAILDIR_NAME_MAX + 1)

/* The key of a name in a container: how long it is, or -EINVAL. */
int base_name_key(uint8_t key[BASE_KEY_MAX], const struct mailfs_id *dir, const char *name);

int base_msg_encode(const struct base_msg *m, struct buf *b);
int base_msg_decode(const void *val, size_t n, struct base_msg *m);
int base_file_encode(const struct base_file *f, struct buf *b);
int base_file_decode(const void *val, size_t n, struct base_file *f); /* base_file_clear() it */
int base_dir_encode(const struct base_dir *d, struct buf *b);
int base_dir_decode(const void *val, size_t n, struct base_dir *d);

/* Of an encoded record what two nodes must have alike. */
void base_msg_identity(const void *val, size_t n, struct buf *b);
void base_file_identity(const void *val, size_t n, struct buf *b);

#endif
