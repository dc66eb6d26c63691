#ifndef MAILFS_WIRE_CHECK_H
#define MAILFS_WIRE_CHECK_H

/*
 * What a peer sent, before anything else looks at it: ids of the right size, names that are names,
 * no part missing that others rely on. Pure; any thread.
 *
 * After a frame passed: every `dir`, `id` and `new_parent` is 16 bytes (wire_id() cannot fail),
 * every name is one path component of its kind, every state's info could stand in a file name, and
 * what is NULL is what may be: MsgState old/now/was/is (not there), Source, Meta, FileState
 * old/now/was/is.
 */

#include <protobuf-c/protobuf-c.h>

#include "util/id.h"
#include "wire/peer.pb-c.h"

#define WIRE_SIGNATURE_MAX (512u * 1024u) /* of a file, in a Fetch */

/* 0, or -EPROTO and in *why (static) what is wrong. */
int wire_check_frame(const Mfp__Frame *frame, const char **why);

/* The same of one transaction (a journal's entry). */
int wire_check_txn(const Mfp__Txn *txn, const char **why);

/* The prepared content that the message of this op is made of; NULL: none, or it is no message. */
const Mfp__PrepId *wire_prepared(const Mfp__Op *op);
/* The one that it uses up. A copy of a message that is elsewhere bears the number of that, which
 * may not have come yet: it takes the content, and leaves it. */
const Mfp__PrepId *wire_used_up(const Mfp__Op *op);

/* 0, or -EPROTO when it is not 16 bytes. */
int wire_id(const ProtobufCBinaryData *bytes, struct mailfs_id *id);

/* The other way: points into *id, which must outlive the message. */
ProtobufCBinaryData wire_bytes_of(const struct mailfs_id *id);

#endif
