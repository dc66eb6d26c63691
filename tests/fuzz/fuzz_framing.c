/*
 * fuzz_framing - the frame decoder on hostile bytes, in one piece and byte by byte
 *
 * Both ways must find the same frames, and none beyond the limit.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include <event2/buffer.h>

#include "net/framing.h"

#define MAX_FRAME 512u

struct seen {
    uint64_t frames, bytes, hash;
    int end;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take(struct evbuffer *in, struct seen *s) {
    const uint8_t *frame;
    size_t len;

    while ((s->end = framing_next(in, MAX_FRAME, &frame, &len)) == 1) {
        if (len > MAX_FRAME)
            abort();
        s->frames++;
        s->bytes += len;
        for (size_t i = 0; i < len; i++)
            s->hash = s->hash * 31 + frame[i];
        framing_drop(in, len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct evbuffer *whole = evbuffer_new(), *drip = evbuffer_new();
    struct seen a = {0}, b = {0};

    evbuffer_add(whole, data, size);
    take(whole, &a);
    for (size_t i = 0; i < size && b.end != -EMSGSIZE; i++) {
        evbuffer_add(drip, data + i, 1);
        take(drip, &b);
    }
    if (a.frames != b.frames || a.bytes != b.bytes || a.hash != b.hash || a.end != b.end)
        abort();
    evbuffer_free(whole);
    evbuffer_free(drip);
    return 0;
}
