/* The difference of two versions of a file: small when little has changed, and refused when the
 * peer's part of it is not what it should be. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "syncd/delta.h"
#include "util/bytes.h"
#include "wire/check.h"

#define SIZE (3u << 20)

static uint8_t old[SIZE], new[SIZE], made[SIZE + 16];

static int file_of(const void *p, size_t n) {
    int fd = memfd_create("delta", 0);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, p, n, 0), n);
    return fd;
}

static int setup(void **state) {
    unsigned x = 7;

    for (size_t i = 0; i < SIZE; i++)
        old[i] = (uint8_t)((x = x * 1103515245 + 12345) >> 16);
    memcpy(new, old + 5, SIZE - 5); /* moved */
    memcpy(new + SIZE / 2, "something else", 14);
    return 0;
}

static int sink(void *arg, uint64_t offset, const void *p, size_t n) {
    assert_true(offset + n <= sizeof(made));
    memcpy(made + offset, p, n);
    *(uint64_t *)arg = offset + n;
    return 0;
}

struct difference {
    int old, new, delta;
    uint64_t size;
    uint8_t *sig, sha256[IO_HASH_BYTES];
    size_t sig_len;
};

static void make(struct difference *d) {
    d->old = file_of(old, SIZE);
    d->new = file_of(new, SIZE);
    d->delta = file_of("", 0);
    assert_int_equal(delta_signature(d->old, SIZE, &d->sig, &d->sig_len), 0);
    assert_int_equal(delta_make(d->sig, d->sig_len, d->new, d->delta, SIZE, &d->size, d->sha256),
                     0);
}

static void drop(struct difference *d) {
    close(d->old);
    close(d->new);
    close(d->delta);
    free(d->sig);
}

static void test_there_and_back(void **state) {
    struct difference d;
    uint64_t n = 0;

    make(&d);
    assert_true(d.sig_len < 64u << 10);
    assert_true(d.size < 8u << 10);
    assert_int_equal(delta_apply(d.delta, d.old, SIZE, d.sha256, sink, &n), 0);
    assert_int_equal(n, SIZE);
    assert_memory_equal(made, new, SIZE);
    drop(&d);
}

static void test_wrong_result(void **state) {
    struct difference d;
    uint64_t n = 0;

    make(&d);
    assert_int_equal(pwrite(d.old, "spoilt", 6, SIZE / 4), 6); /* since the signature was taken */
    assert_int_equal(delta_apply(d.delta, d.old, SIZE, d.sha256, sink, &n), -EBADMSG);
    drop(&d);
}

static void test_bounds(void **state) {
    struct difference d;
    uint64_t n = 0;
    uint8_t *sig = NULL;

    make(&d);
    assert_int_equal(delta_apply(d.delta, d.old, SIZE - 1, d.sha256, sink, &n), -EFBIG);
    assert_int_equal(delta_make(d.sig, d.sig_len, d.new, d.delta, d.size - 1, &d.size, d.sha256),
                     -EFBIG);
    assert_int_equal(ftruncate(d.delta, (off_t)d.size / 2), 0);
    assert_int_equal(delta_apply(d.delta, d.old, SIZE, d.sha256, sink, &n), -EBADMSG);
    assert_int_equal(delta_signature(d.old, UINT64_C(1) << 40, &sig, &d.sig_len), -EFBIG);
    assert_null(sig);
    drop(&d);
}

static void refused(struct difference *d, size_t at, uint32_t value) {
    uint8_t was[4];
    uint64_t size;

    memcpy(was, d->sig + at, 4);
    bytes_put_u32(d->sig + at, value);
    assert_int_equal(delta_make(d->sig, d->sig_len, d->new, d->delta, SIZE, &size, d->sha256),
                     -EBADMSG);
    memcpy(d->sig + at, was, 4);
}

static void test_bad_signature(void **state) {
    struct difference d;
    uint64_t size;

    make(&d);
    refused(&d, 0, 0x72730136);  /* MD4, and a rolling sum that can be forged */
    refused(&d, 4, 0);           /* blocks of nothing, */
    refused(&d, 4, 0x7fffffffu); /* or for which there is no memory */
    refused(&d, 8, 8);
    assert_int_equal(delta_make(d.sig, d.sig_len - 1, d.new, d.delta, SIZE, &size, d.sha256),
                     -EBADMSG);
    assert_int_equal(delta_make(d.sig, 0, d.new, d.delta, SIZE, &size, d.sha256), -EBADMSG);
    drop(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_wrong_result),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_bad_signature),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
