#ifndef MAILFS_WIRE_CODEC_H
#define MAILFS_WIRE_CODEC_H

/*
 * Messages to bytes and back. What these functions return has been checked in full (check.h); what
 * they refuse is explained in words. Pure; any thread.
 *
 * Unpacking takes at most WIRE_UNPACK_FIXED + WIRE_UNPACK_FACTOR * len bytes of memory, whatever
 * the sender made of its len bytes (an empty element of a list costs it 2 bytes and us some 100).
 * It is plain malloc'ed memory: protobuf-c's functions may be used on it with its own allocator.
 *
 * Versions: fields that are not known here are dropped, so that a newer peer may send more. A whole
 * message kind that is not known is -ENOTSUP: the receiver cannot know what it leaves out.
 */

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire/local.pb-c.h"
#include "wire/peer.pb-c.h"

#define WIRE_FRAME_MAX (1024u * 1024u) /* as LINK_FRAME_MAX; tests/unit compares the two */
#define WIRE_LOCAL_MAX (128u * 1024u)  /* as LOCAL_PACKET_MAX */

#define WIRE_UNPACK_FIXED  (64u * 1024u)
#define WIRE_UNPACK_FACTOR 32u

/*
 * To a malloc'ed buffer. 0; -EMSGSIZE when above WIRE_FRAME_MAX (see parts.h); -EPROTO when our own
 * message would not pass the peer's check; -ENOMEM.
 */
int wire_frame_pack(const Mfp__Frame *frame, uint8_t **out, size_t *len);

/*
 * 0 and a frame to be freed with wire_frame_free(); or with a sentence in why: -EPROTO malformed or
 * refused by the check, -ENOTSUP unknown kind, -EMSGSIZE above WIRE_FRAME_MAX, -ENOMEM out of
 * memory or over the budget.
 */
int wire_frame_unpack(const uint8_t *data, size_t len, Mfp__Frame **out, char *why, size_t size);
void wire_frame_free(Mfp__Frame *frame); /* NULL is allowed */

/* "txn", "hello", …; "nothing" for a frame without content. */
const char *wire_frame_kind(const Mfp__Frame *frame);

/* The local protocol, into a buffer of the caller's. Length, or -EMSGSIZE or -EPROTO as above. */
ssize_t wire_to_syncd_pack(const Mfl__ToSyncd *m, uint8_t *buf, size_t size);
ssize_t wire_to_mailfs_pack(const Mfl__ToMailfs *m, uint8_t *buf, size_t size);

/* As wire_frame_unpack. */
int wire_to_syncd_unpack(const uint8_t *data, size_t len, Mfl__ToSyncd **out, char *why,
                         size_t size);
int wire_to_mailfs_unpack(const uint8_t *data, size_t len, Mfl__ToMailfs **out, char *why,
                          size_t size);
void wire_to_syncd_free(Mfl__ToSyncd *m);
void wire_to_mailfs_free(Mfl__ToMailfs *m);
const char *wire_to_syncd_kind(const Mfl__ToSyncd *m);
const char *wire_to_mailfs_kind(const Mfl__ToMailfs *m);

/*
 * Any message on one line of printable ASCII, for logs and failing tests:
 *
 *	Frame{txn{seq=5 dir=00…00 ops=[{msg{bname="1.M2.h" now{sub=CUR info="2,S" uid=7}}}] end}}
 *
 * Fields at their default are left out, of long lists the first few shown. buf is always
 * NUL-terminated; a line that does not fit ends in "...". Returns buf.
 */
char *wire_print(const ProtobufCMessage *m, char *buf, size_t size);

#endif
