/*
 * parts - cut large messages into frames, and put them together again
 *
 * Works on protobuf-c's own description of a message, so that a new repeated field needs nothing
 * here. A part is a shallow copy whose arrays are sections of the whole's.
 *
 * Diagnostics: none; errors are returned.
 */
#include "wire/parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Tag and length of one element, at most. */
#define ELEMENT_EXTRA 12

static size_t *field_count(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f) {
    return (size_t *)(void *)((char *)(uintptr_t)m + f->quantifier_offset);
}

static void ***field_array(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f) {
    return (void ***)(void *)((char *)(uintptr_t)m + f->offset);
}

static bool field_is_list(const ProtobufCFieldDescriptor *f) {
    return f->label == PROTOBUF_C_LABEL_REPEATED &&
           (f->type == PROTOBUF_C_TYPE_MESSAGE || f->type == PROTOBUF_C_TYPE_STRING);
}

static size_t element_size(const ProtobufCFieldDescriptor *f, const void *element) {
    size_t n = f->type == PROTOBUF_C_TYPE_STRING ? strlen(element)
                                                 : protobuf_c_message_get_packed_size(element);
    return n + ELEMENT_EXTRA;
}

/* Where the next part begins: the field, and the element in it. */
struct position {
    unsigned field;
    size_t element;
};

/* Gives part as many elements from *at on as fit; 1: all that were left. */
static int part_fill(const ProtobufCMessage *whole, ProtobufCMessage *part, size_t max,
                     struct position *at) {
    size_t used = 0;
    for (; at->field < whole->descriptor->n_fields; at->field++, at->element = 0) {
        const ProtobufCFieldDescriptor *f = &whole->descriptor->fields[at->field];
        if (!field_is_list(f))
            continue;
        size_t n = *field_count(whole, f), from = at->element;
        void **all = *field_array(whole, f);
        *field_array(part, f) = all == NULL ? NULL : all + from;
        for (; at->element < n; at->element++) {
            /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): n is not 0 */
            size_t size = element_size(f, all[at->element]);
            if (size > max)
                return -EMSGSIZE;
            if (used + size > max)
                return 0;
            used += size;
            ++*field_count(part, f);
        }
    }
    return 1;
}

static void part_clear(ProtobufCMessage *part) {
    for (unsigned i = 0; i < part->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &part->descriptor->fields[i];
        if (!field_is_list(f))
            continue;
        *field_count(part, f) = 0;
        *field_array(part, f) = NULL;
    }
}

int wire_parts_split(const ProtobufCMessage *whole, size_t max, wire_part_fn *emit, void *arg) {
    size_t size = whole->descriptor->sizeof_message;
    ProtobufCMessage *part = malloc(size);
    if (part == NULL)
        return -ENOMEM;
    struct position at = {0, 0};
    int r;
    do {
        memcpy(part, whole, size);
        part_clear(part);
        r = part_fill(whole, part, max, &at);
        if (r < 0)
            break;
        bool last = r == 1;
        r = emit(part, last, arg);
        if (last)
            break;
    } while (r == 0);
    free(part);
    return r;
}

static int field_join(ProtobufCMessage *whole, ProtobufCMessage *part,
                      const ProtobufCFieldDescriptor *f) {
    size_t *have = field_count(whole, f), *more = field_count(part, f);
    void ***to = field_array(whole, f), ***from = field_array(part, f);
    if (*more == 0)
        return 0;
    void **grown = realloc(*to, (*have + *more) * sizeof *grown);
    if (grown == NULL)
        return -ENOMEM;
    memcpy(grown + *have, *from, *more * sizeof *grown);
    *to = grown;
    *have += *more;
    free(*from);
    *from = NULL;
    *more = 0;
    return 0;
}

int wire_parts_join(ProtobufCMessage *whole, ProtobufCMessage *part) {
    if (whole->descriptor != part->descriptor)
        return -EINVAL;
    for (unsigned i = 0; i < whole->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &whole->descriptor->fields[i];
        int r = field_is_list(f) ? field_join(whole, part, f) : 0;
        if (r != 0)
            return r;
    }
    return 0;
}
