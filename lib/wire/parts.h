#ifndef MAILFS_WIRE_PARTS_H
#define MAILFS_WIRE_PARTS_H

/*
 * Large messages in parts, since a frame has a bound.
 *
 * What makes a message large is its repeated fields (of messages or strings); all other fields go
 * along with every part. No single element is ever divided, so an element must fit. Pure; any
 * thread.
 */

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

/* Bytes of a part's elements; leaves room below LINK_FRAME_MAX for the rest of the frame. */
#define WIRE_PART_MAX (512u * 1024u)

/*
 * One part, valid during the call only; last: no more will come. Its elements are the whole's.
 * Other than 0 ends the splitting and is returned.
 */
typedef int wire_part_fn(ProtobufCMessage *part, bool last, void *arg);

/* At least one part, even of an empty message. 0, -ENOMEM, -EMSGSIZE (an element above max), or
 * emit's. */
int wire_parts_split(const ProtobufCMessage *whole, size_t max, wire_part_fn *emit, void *arg);

/*
 * Moves the elements of part (unpacked by protobuf-c with its own allocator) behind those of whole,
 * of the same type. part stays the caller's, without elements. 0 or -ENOMEM (nothing moved of the
 * field that failed; both can be freed).
 */
int wire_parts_join(ProtobufCMessage *whole, ProtobufCMessage *part);

#endif
