/*
 * fuzz_peer_frame - frames of a hostile peer
 *
 * What is accepted must print, and come out of packing and unpacking as itself: otherwise the two
 * nodes could take one frame for two things.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char first[65536], second[65536];
    Mfp__Frame *frame = NULL, *again = NULL;
    uint8_t *bytes = NULL;
    size_t len = 0;
    char why[256];

    if (wire_frame_unpack(data, size, &frame, why, sizeof(why)) != 0)
        return 0;
    if (wire_frame_pack(frame, &bytes, &len) != 0 ||
        wire_frame_unpack(bytes, len, &again, why, sizeof(why)) != 0)
        abort();
    if (strcmp(wire_print(&frame->base, first, sizeof(first)),
               wire_print(&again->base, second, sizeof(second))) != 0)
        abort();
    wire_frame_free(frame);
    wire_frame_free(again);
    free(bytes);
    return 0;
}
