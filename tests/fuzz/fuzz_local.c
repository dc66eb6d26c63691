/*
 * fuzz_local - packets between mailfs and syncd, both directions; the first byte chooses
 */
#include <stdint.h>
#include <stdlib.h>

#include "wire/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t buf[WIRE_LOCAL_MAX];
static char line[4096], why[256];

static void to_syncd(const uint8_t *data, size_t size) {
    Mfl__ToSyncd *m = NULL;

    if (wire_to_syncd_unpack(data, size, &m, why, sizeof(why)) != 0)
        return;
    wire_print(&m->base, line, sizeof(line));
    if (wire_to_syncd_pack(m, buf, sizeof(buf)) <= 0)
        abort();
    wire_to_syncd_free(m);
}

static void to_mailfs(const uint8_t *data, size_t size) {
    Mfl__ToMailfs *m = NULL;

    if (wire_to_mailfs_unpack(data, size, &m, why, sizeof(why)) != 0)
        return;
    wire_print(&m->base, line, sizeof(line));
    if (wire_to_mailfs_pack(m, buf, sizeof(buf)) <= 0)
        abort();
    wire_to_mailfs_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    if (data[0] & 1)
        to_syncd(data + 1, size - 1);
    else
        to_mailfs(data + 1, size - 1);
    return 0;
}
