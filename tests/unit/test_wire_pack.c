/* wire/pack: what is worth compressing comes back as it was; what a peer makes of it is bounded */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zstd.h>

#include "wire/pack.h"

static uint8_t text[WIRE_PACK_MAX], packed[WIRE_PACK_MAX];

static void fill_text(void) {
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)("From: somebody@example.org\n"[i % 27]);
}

static void fill_noise(void) {
    uint32_t x = 1;
    for (size_t i = 0; i < sizeof text; i++) {
        x = x * 1664525 + 1013904223;
        text[i] = (uint8_t)(x >> 24);
    }
}

static void there_and_back(void **state) {
    static const size_t sizes[] = {256, 1000, 65536, WIRE_PACK_MAX};
    fill_text();
    for (size_t i = 0; i < 4; i++) {
        uint8_t *back;
        size_t n = wire_pack(text, sizes[i], packed);
        assert_in_range(n, 1, sizes[i] / 2);
        assert_int_equal(wire_unpack(packed, n, sizes[i], &back), 0);
        assert_memory_equal(back, text, sizes[i]);
        free(back);
    }
}

static void not_worth_it(void **state) {
    fill_text();
    assert_int_equal(wire_pack(text, 0, packed), 0);
    assert_int_equal(wire_pack(text, 100, packed), 0);
    fill_noise();
    assert_int_equal(wire_pack(text, sizeof text, packed), 0);
}

static void refused(const void *data, size_t n, size_t want) {
    uint8_t *back;
    assert_int_equal(wire_unpack(data, n, want, &back), -EPROTO);
    assert_null(back);
}

static void what_is_refused(void **state) {
    size_t n, large = (size_t)64 << 20;
    uint8_t *bomb = calloc(1, large), *small = malloc(65536);
    fill_text();
    n = wire_pack(text, 5000, packed);
    refused(packed, n, 4999);
    refused(packed, n, 5001);
    refused(packed, n, 0);
    refused(packed, n - 1, 5000);
    refused(packed, 0, 5000);
    refused("not zstd at all", 15, 5000);
    packed[n / 2] ^= 0xff; /* its size is as said, its content is not */
    packed[n - 1] ^= 0xff;
    refused(packed, n, 5000);
    /* 64 MiB of zeros in some kilobytes */
    n = ZSTD_compress(small, 65536, bomb, large, 1);
    assert_false(ZSTD_isError(n));
    refused(small, n, large);
    refused(small, n, WIRE_PACK_MAX);
    free(bomb);
    free(small);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(not_worth_it),
        cmocka_unit_test(what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
