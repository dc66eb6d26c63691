#ifndef SYNCD_BUILD_H
#define SYNCD_BUILD_H

/*
 * Making messages of peer.proto out of malloc'ed memory, to be freed with *__free_unpacked().
 * All: NULL or -ENOMEM without memory; what was made so far stays valid and can be freed.
 */

#include <stddef.h>

#include "base.h"
#include "maildir/subs.h"
#include "util/id.h"
#include "wire/peer.pb-c.h"

/* A copy; "" (never freed by protobuf-c) for NULL or an empty string. */
char *build_str(const char *s);
int build_bytes(ProtobufCBinaryData *out, const void *p, size_t n);
int build_id(ProtobufCBinaryData *out, const struct mailfs_id *id);

Mfp__Txn *build_txn(const struct mailfs_id *dir, bool locked);
/* Appends an operation with its message of this case made. */
Mfp__Op *build_op(Mfp__Txn *txn, Mfp__Op__OpCase what);

/* NULL for "not there" too: *err then says which (0 or -ENOMEM). */
Mfp__MsgState *build_msg_state(const struct base_msg *m, int *err);
Mfp__FileState *build_file_state(const struct base_file *f, int *err);
Mfp__Meta *build_msg_meta(const struct base_msg *m);
Mfp__Meta *build_dir_meta(const struct base_dir *d);
Mfp__UidRec *build_rec(uint32_t uid, const char *ext, const char *base);
Mfp__PrepId *build_prep(uint64_t incarnation, uint64_t seq);

/* Appends to an array of pointers (array: its address) that has room for powers of two; a NULL
 * element is -ENOMEM. On error the element stays the caller's. */
int build_push(void *array, size_t *n, void *element);
int build_push_lines(char ***v, size_t *n, const struct maildir_subs *s); /* all of them */

#endif
