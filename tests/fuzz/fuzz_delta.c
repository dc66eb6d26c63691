/*
 * fuzz_delta - a signature, or a difference, as a peer sends it
 *
 * The first byte says which, and whether the rest is all of it or changes a good one: offset 2,
 * value 1. A signature that is taken gives a difference that is as short as it must be; a
 * difference makes no more than it may.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "syncd/delta.h"

#define SIZE 70000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t text[SIZE];

static int file_of(const void *p, size_t n) {
    int fd = memfd_create("delta", 0);

    if (fd < 0 || pwrite(fd, p, n, 0) != (ssize_t)n)
        abort();
    return fd;
}

static int sink(void *arg, uint64_t offset, const void *p, size_t n) {
    if (offset + n > SIZE)
        abort();
    return 0;
}

static void take_signature(const uint8_t *data, size_t size, int file) {
    uint8_t sha256[IO_HASH_BYTES];
    int out = file_of("", 0);
    uint64_t n;

    if (delta_make(data, size, file, out, SIZE / 2, &n, sha256) == 0 && n > SIZE / 2)
        abort();
    close(out);
}

static void take_delta(const uint8_t *data, size_t size, int file) {
    uint8_t sha256[IO_HASH_BYTES] = {0};
    int delta = file_of(data, size);

    if (delta_apply(delta, file, SIZE, sha256, sink, NULL) == 0)
        abort(); /* nothing has this hash */
    close(delta);
}

static uint8_t *good_sig, good_delta[SIZE];
static size_t good_sig_len, good_delta_len;

static void make_good(void) {
    uint8_t sha256[IO_HASH_BYTES];
    uint64_t n = 0;
    int old, new, delta = file_of("", 0);

    for (size_t i = 0; i < SIZE; i++)
        text[i] = (uint8_t)(i * i >> 7);
    old = file_of(text, SIZE);
    memcpy(text + SIZE / 2, "changed", 7);
    new = file_of(text, SIZE);
    if (delta_signature(old, SIZE, &good_sig, &good_sig_len) != 0 ||
        delta_make(good_sig, good_sig_len, new, delta, SIZE, &n, sha256) != 0 ||
        pread(delta, good_delta, n, 0) != (ssize_t)n)
        abort();
    good_delta_len = (size_t)n;
    close(old);
    close(new);
    close(delta);
}

/* good, changed; malloc'ed */
static uint8_t *changed(const uint8_t *good, size_t n, const uint8_t *data, size_t size) {
    uint8_t *p = malloc(n);

    if (p == NULL)
        abort();
    memcpy(p, good, n);
    for (; size >= 3; data += 3, size -= 3)
        p[((size_t)data[0] << 8 | data[1]) % n] = data[2];
    return p;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *p = NULL;
    int file;

    if (size == 0)
        return 0;
    if (good_sig == NULL)
        make_good();
    file = file_of(text, SIZE);
    if (data[0] & 2)
        p = data[0] & 1 ? changed(good_sig, good_sig_len, data + 1, size - 1)
                        : changed(good_delta, good_delta_len, data + 1, size - 1);
    if (data[0] & 1)
        take_signature(p ? p : data + 1, p ? good_sig_len : size - 1, file);
    else
        take_delta(p ? p : data + 1, p ? good_delta_len : size - 1, file);
    free(p);
    close(file);
    return 0;
}
