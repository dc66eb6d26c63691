/*
 * codec - messages to bytes and back, checked both ways
 *
 * One body for the three message types, by protobuf-c's description of each. Memory is given out
 * against a budget, since a hostile sender can make small wire elements into large structures.
 *
 * Diagnostics: none; reasons are returned in words.
 */
#include "wire/codec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/check.h"
#include "wire/check_local.h"

/* What malloc spends on a block beside its bytes, about. */
#define BLOCK_EXTRA 16

/* ---- memory ------------------------------------------------------------------------------- */

static void *budget_alloc(void *data, size_t size) {
    size_t *left = data;

    if (size > *left || *left - size < BLOCK_EXTRA) {
        *left = 0;
        return NULL;
    }
    *left -= size + BLOCK_EXTRA;
    return malloc(size);
}

static void budget_free(void *data, void *p) {
    free(p);
}

/* ---- kinds -------------------------------------------------------------------------------- */

/* The message kinds are one oneof: its value is the field number, 0 when there is none. */
static const char *kind_name(const ProtobufCMessage *m, int kind) {
    const ProtobufCFieldDescriptor *f =
        kind > 0 ? protobuf_c_message_descriptor_get_field(m->descriptor, (unsigned)kind) : NULL;

    return f ? f->name : "nothing";
}

const char *wire_frame_kind(const Mfp__Frame *frame) {
    return kind_name(&frame->base, (int)frame->m_case);
}

const char *wire_to_syncd_kind(const Mfl__ToSyncd *m) {
    return kind_name(&m->base, (int)m->m_case);
}

const char *wire_to_mailfs_kind(const Mfl__ToMailfs *m) {
    return kind_name(&m->base, (int)m->m_case);
}

/* ---- the three types ---------------------------------------------------------------------- */

static int check_frame(const ProtobufCMessage *m, const char **why) {
    return wire_check_frame((const Mfp__Frame *)m, why);
}

static int check_to_syncd(const ProtobufCMessage *m, const char **why) {
    return wire_check_to_syncd((const Mfl__ToSyncd *)m, why);
}

static int check_to_mailfs(const ProtobufCMessage *m, const char **why) {
    return wire_check_to_mailfs((const Mfl__ToMailfs *)m, why);
}

static int kind_of_frame(const ProtobufCMessage *m) {
    return (int)((const Mfp__Frame *)m)->m_case;
}

static int kind_of_to_syncd(const ProtobufCMessage *m) {
    return (int)((const Mfl__ToSyncd *)m)->m_case;
}

static int kind_of_to_mailfs(const ProtobufCMessage *m) {
    return (int)((const Mfl__ToMailfs *)m)->m_case;
}

struct type {
    const ProtobufCMessageDescriptor *descriptor;
    size_t max;
    int (*kind)(const ProtobufCMessage *m);
    int (*check)(const ProtobufCMessage *m, const char **why);
};

static const struct type type_frame = {&mfp__frame__descriptor, WIRE_FRAME_MAX, kind_of_frame,
                                       check_frame};
static const struct type type_to_syncd = {&mfl__to_syncd__descriptor, WIRE_LOCAL_MAX,
                                          kind_of_to_syncd, check_to_syncd};
static const struct type type_to_mailfs = {&mfl__to_mailfs__descriptor, WIRE_LOCAL_MAX,
                                           kind_of_to_mailfs, check_to_mailfs};

/* ---- unpacking ---------------------------------------------------------------------------- */

static void drop_unknown(ProtobufCMessage *m);

static void drop_unknown_in(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f) {
    char *base = (char *)m;
    void *quantifier = base + f->quantifier_offset;

    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        ProtobufCMessage **list = *(ProtobufCMessage ***)(void *)(base + f->offset);

        for (size_t i = 0; i < *(size_t *)quantifier; i++)
            drop_unknown(list[i]);
    } else if (!(f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) || *(uint32_t *)quantifier == f->id) {
        ProtobufCMessage *sub = *(ProtobufCMessage **)(void *)(base + f->offset);

        if (sub)
            drop_unknown(sub);
    }
}

/*
 * protobuf-c keeps what it does not know and packs it again. Kept in the journal that would be more
 * than useless: a field number 0, which it lets through, makes an entry that cannot be read back.
 */
static void drop_unknown(ProtobufCMessage *m) {
    for (unsigned i = 0; i < m->n_unknown_fields; i++)
        free(m->unknown_fields[i].data);
    free(m->unknown_fields);
    m->unknown_fields = NULL;
    m->n_unknown_fields = 0;
    for (unsigned i = 0; i < m->descriptor->n_fields; i++)
        if (m->descriptor->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
            drop_unknown_in(m, &m->descriptor->fields[i]);
}

/* Of a message that is no kind we know: new, or nothing at all? */
static int refuse_kind(const ProtobufCMessage *m, char *why, size_t size) {
    if (m->n_unknown_fields == 0) {
        snprintf(why, size, "a message without content");
        return -EPROTO;
    }
    snprintf(why, size, "a message of kind %u, unknown to this version",
             (unsigned)m->unknown_fields[0].tag);
    return -ENOTSUP;
}

static int check(const struct type *t, const ProtobufCMessage *m, char *why, size_t size) {
    const char *reason = "malformed";
    int rc;

    if (t->kind(m) == 0)
        return refuse_kind(m, why, size);
    rc = t->check(m, &reason);
    if (rc != 0)
        snprintf(why, size, "%s: %s", kind_name(m, t->kind(m)), reason);
    return rc;
}

static int unpack(const struct type *t, const uint8_t *data, size_t len, void *out, char *why,
                  size_t size) {
    size_t left = WIRE_UNPACK_FIXED + WIRE_UNPACK_FACTOR * len;
    ProtobufCAllocator budget = {budget_alloc, budget_free, &left};
    ProtobufCMessage *m;
    int rc;

    if (len > t->max) {
        snprintf(why, size, "a message of %zu bytes; the limit is %zu", len, t->max);
        return -EMSGSIZE;
    }
    m = protobuf_c_message_unpack(t->descriptor, &budget, len, data);
    if (!m) {
        snprintf(why, size, "%s",
                 left == 0 ? "a message that needs too much memory" : "not a valid message");
        return left == 0 ? -ENOMEM : -EPROTO;
    }
    rc = check(t, m, why, size);
    if (rc != 0) {
        protobuf_c_message_free_unpacked(m, NULL);
        return rc;
    }
    drop_unknown(m);
    *(ProtobufCMessage **)out = m;
    return 0;
}

int wire_frame_unpack(const uint8_t *data, size_t len, Mfp__Frame **out, char *why, size_t size) {
    return unpack(&type_frame, data, len, out, why, size);
}

int wire_to_syncd_unpack(const uint8_t *data, size_t len, Mfl__ToSyncd **out, char *why,
                         size_t size) {
    return unpack(&type_to_syncd, data, len, out, why, size);
}

int wire_to_mailfs_unpack(const uint8_t *data, size_t len, Mfl__ToMailfs **out, char *why,
                          size_t size) {
    return unpack(&type_to_mailfs, data, len, out, why, size);
}

void wire_frame_free(Mfp__Frame *frame) {
    if (frame)
        mfp__frame__free_unpacked(frame, NULL);
}

void wire_to_syncd_free(Mfl__ToSyncd *m) {
    if (m)
        mfl__to_syncd__free_unpacked(m, NULL);
}

void wire_to_mailfs_free(Mfl__ToMailfs *m) {
    if (m)
        mfl__to_mailfs__free_unpacked(m, NULL);
}

/* ---- packing ------------------------------------------------------------------------------ */

/* Its packed size, or why it may not be sent. */
static ssize_t packable(const struct type *t, const ProtobufCMessage *m, size_t max) {
    const char *why;
    size_t len;

    if (t->kind(m) == 0 || t->check(m, &why) != 0)
        return -EPROTO;
    len = protobuf_c_message_get_packed_size(m);
    return len > max ? -EMSGSIZE : (ssize_t)len;
}

int wire_frame_pack(const Mfp__Frame *frame, uint8_t **out, size_t *len) {
    ssize_t n = packable(&type_frame, &frame->base, WIRE_FRAME_MAX);

    if (n < 0)
        return (int)n;
    *out = malloc((size_t)n);
    if (!*out)
        return -ENOMEM;
    *len = mfp__frame__pack(frame, *out);
    return 0;
}

static ssize_t pack_into(const struct type *t, const ProtobufCMessage *m, uint8_t *buf,
                         size_t size) {
    ssize_t n = packable(t, m, size < t->max ? size : t->max);

    return n < 0 ? n : (ssize_t)protobuf_c_message_pack(m, buf);
}

ssize_t wire_to_syncd_pack(const Mfl__ToSyncd *m, uint8_t *buf, size_t size) {
    return pack_into(&type_to_syncd, &m->base, buf, size);
}

ssize_t wire_to_mailfs_pack(const Mfl__ToMailfs *m, uint8_t *buf, size_t size) {
    return pack_into(&type_to_mailfs, &m->base, buf, size);
}
