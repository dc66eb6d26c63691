/*
 * print - any message on one line
 *
 * Walks protobuf-c's description of the message, so a new field is printed without a line here.
 *
 * Diagnostics: none; what does not fit is cut and marked.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "util/id.h"
#include "wire/codec.h"

#define LIST_SHOWN 4
#define TEXT_SHOWN 80
#define DOTS       "..."

struct line {
    char *buf;
    size_t size, len;
    bool cut;
};

__attribute__((format(printf, 2, 3))) static void add(struct line *l, const char *fmt, ...) {
    va_list ap;
    int n;

    if (l->cut)
        return;
    va_start(ap, fmt);
    n = vsnprintf(l->buf + l->len, l->size - l->len, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= l->size - l->len)
        l->cut = true;
    else
        l->len += (size_t)n;
}

static void add_text(struct line *l, const char *s) {
    add(l, "\"");
    for (size_t i = 0; i < TEXT_SHOWN && s[i]; i++)
        add(l, "%c", s[i] >= ' ' && s[i] < 127 && s[i] != '"' ? s[i] : '?');
    add(l, "%s", strlen(s) > TEXT_SHOWN ? DOTS "\"" : "\"");
}

static void add_bytes(struct line *l, const ProtobufCBinaryData *b) {
    struct mailfs_id id;
    char hex[MAILFS_ID_HEX];

    if (b->len != MAILFS_ID_BYTES) {
        add(l, "<%zu bytes>", b->len);
        return;
    }
    memcpy(id.b, b->data, sizeof(id.b));
    add(l, "%s", mailfs_id_format(&id, hex));
}

static void add_enum(struct line *l, const ProtobufCEnumDescriptor *e, int value) {
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(e, value);

    if (v)
        add(l, "%s", v->name);
    else
        add(l, "%d", value);
}

static void add_message(struct line *l, const ProtobufCMessage *m);

/* How many bytes one element of this type takes in memory. */
static size_t value_size(const ProtobufCFieldDescriptor *f) {
    switch (f->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
    case PROTOBUF_C_TYPE_STRING:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    default:
        return 4;
    }
}

static void add_value(struct line *l, const ProtobufCFieldDescriptor *f, const void *p) {
    switch (f->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        add_message(l, *(ProtobufCMessage *const *)p);
        break;
    case PROTOBUF_C_TYPE_STRING:
        add_text(l, *(char *const *)p);
        break;
    case PROTOBUF_C_TYPE_BYTES:
        add_bytes(l, p);
        break;
    case PROTOBUF_C_TYPE_ENUM:
        add_enum(l, f->descriptor, *(const int *)p);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        add(l, "%s", *(const protobuf_c_boolean *)p ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        add(l, "%" PRIu64, *(const uint64_t *)p);
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        add(l, "%" PRId64, *(const int64_t *)p);
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        add(l, "%" PRIu32, *(const uint32_t *)p);
        break;
    default:
        add(l, "%" PRId32, *(const int32_t *)p);
        break;
    }
}

/* Is the field as it would be if it had not been sent? */
static bool is_default(const ProtobufCFieldDescriptor *f, const void *p) {
    static const char zero[sizeof(ProtobufCBinaryData)];

    switch (f->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        return *(void *const *)p == NULL;
    case PROTOBUF_C_TYPE_STRING:
        return *(char *const *)p == NULL || **(char *const *)p == '\0';
    case PROTOBUF_C_TYPE_BYTES:
        return ((const ProtobufCBinaryData *)p)->len == 0;
    default:
        return memcmp(p, zero, value_size(f)) == 0;
    }
}

static void add_list(struct line *l, const ProtobufCFieldDescriptor *f, size_t n,
                     const char *elements) {
    add(l, "%s=[", f->name);
    for (size_t i = 0; i < n && i < LIST_SHOWN; i++) {
        if (i > 0)
            add(l, " ");
        add_value(l, f, elements + i * value_size(f));
    }
    if (n > LIST_SHOWN)
        add(l, " +%zu", n - LIST_SHOWN);
    add(l, "]");
}

/* false: nothing to show. */
static bool is_shown(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f) {
    const char *base = (const char *)m;

    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return *(const size_t *)(const void *)(base + f->quantifier_offset) > 0;
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        return *(const uint32_t *)(const void *)(base + f->quantifier_offset) == f->id;
    return !is_default(f, base + f->offset);
}

static void add_field(struct line *l, const ProtobufCMessage *m,
                      const ProtobufCFieldDescriptor *f) {
    const char *base = (const char *)m;
    const void *p = base + f->offset;

    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        add_list(l, f, *(const size_t *)(const void *)(base + f->quantifier_offset),
                 *(const char *const *)p);
    } else if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
        add(l, "%s", f->name);
        add_value(l, f, p);
    } else if (f->type == PROTOBUF_C_TYPE_BOOL) {
        add(l, "%s", f->name);
    } else {
        add(l, "%s=", f->name);
        add_value(l, f, p);
    }
}

static void add_message(struct line *l, const ProtobufCMessage *m) {
    const char *separator = "";

    add(l, "{");
    for (unsigned i = 0; i < m->descriptor->n_fields && !l->cut; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];

        if (!is_shown(m, f))
            continue;
        add(l, "%s", separator);
        add_field(l, m, f);
        separator = " ";
    }
    add(l, "}");
}

char *wire_print(const ProtobufCMessage *m, char *buf, size_t size) {
    struct line l = {.buf = buf, .size = size};

    if (size == 0)
        return buf;
    buf[0] = '\0';
    add(&l, "%s", m->descriptor->short_name);
    add_message(&l, m);
    if (l.cut && size > sizeof(DOTS))
        memcpy(buf + (l.len < size - sizeof(DOTS) ? l.len : size - sizeof(DOTS)), DOTS,
               sizeof(DOTS));
    return buf;
}
