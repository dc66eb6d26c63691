/*
 * fuzz_pack - a part of a body as a peer sends it compressed
 *
 * The first three bytes are the length it is said to have. What is taken has exactly that, and
 * compressed and unpacked once more it is the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t packed[WIRE_PACK_MAX];
    uint8_t *out, *again;
    size_t want, n;

    if (size < 3)
        return 0;
    want = (size_t)data[0] << 16 | (size_t)data[1] << 8 | data[2];
    if (wire_unpack(data + 3, size - 3, want, &out) != 0)
        return 0;
    if (want > WIRE_PACK_MAX)
        abort();
    n = wire_pack(out, want, packed);
    if (n > 0) {
        if (wire_unpack(packed, n, want, &again) != 0 || memcmp(out, again, want) != 0)
            abort();
        free(again);
    }
    free(out);
    return 0;
}
