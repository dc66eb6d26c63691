/*
 * NAME
 *	framing - length-prefixed frames in a libevent buffer
 *
 * DIAGNOSTICS
 *	Negative errno; nothing is logged.
 */
#include "net/framing.h"

#include <errno.h>

#include <event2/buffer.h>

int framing_next(struct evbuffer *in, size_t max, const uint8_t **data, size_t *len) {
    size_t have = evbuffer_get_length(in);
    const uint8_t *p;

    if (have < FRAMING_HEADER)
        return 0;
    p = evbuffer_pullup(in, FRAMING_HEADER);
    if (!p)
        return -ENOMEM;
    *len = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    if (*len > max)
        return -EMSGSIZE;
    if (have - FRAMING_HEADER < *len)
        return 0;
    p = evbuffer_pullup(in, (ev_ssize_t)(FRAMING_HEADER + *len));
    if (!p)
        return -ENOMEM;
    *data = p + FRAMING_HEADER;
    return 1;
}

void framing_drop(struct evbuffer *in, size_t len) {
    evbuffer_drain(in, FRAMING_HEADER + len);
}

int framing_add(struct evbuffer *out, const void *data, size_t len) {
    const uint8_t header[FRAMING_HEADER] = {(uint8_t)(len >> 24), (uint8_t)(len >> 16),
                                            (uint8_t)(len >> 8), (uint8_t)len};

    /* Room first, so that the header never stands there without its frame. */
    if (evbuffer_expand(out, FRAMING_HEADER + len) != 0)
        return -ENOMEM;
    evbuffer_add(out, header, sizeof(header));
    evbuffer_add(out, data, len);
    return 0;
}
