/*
 * pack - parts of bodies, compressed
 *
 * Diagnostics: none; errors are returned.
 */
#include "wire/pack.h"

#include <errno.h>
#include <stdlib.h>

#include <zstd.h>

#define LEVEL 1   /* the fastest: it must not hold up the link */
#define LEAST 256 /* bytes: less is not tried */
#define WORTH 8   /* a part of it must be saved */

size_t wire_pack(const uint8_t *data, size_t n, uint8_t *out) {
    size_t r;

    if (n < LEAST || n > WIRE_PACK_MAX)
        return 0;
    r = ZSTD_compress(out, n - n / WORTH, data, n, LEVEL);
    return ZSTD_isError(r) ? 0 : r;
}

int wire_unpack(const uint8_t *data, size_t n, size_t want, uint8_t **out) {
    size_t r;

    *out = NULL;
    if (want == 0 || want > WIRE_PACK_MAX || ZSTD_getFrameContentSize(data, n) != want)
        return -EPROTO;
    *out = malloc(want);
    if (!*out)
        return -ENOMEM;
    r = ZSTD_decompress(*out, want, data, n);
    if (!ZSTD_isError(r) && r == want)
        return 0;
    free(*out);
    *out = NULL;
    return -EPROTO;
}
