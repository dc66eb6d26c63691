/*
 * hash: SHA-256.
 *
 * A file is read in pieces of 64 KiB. Diagnostics: none; errors are returned.
 */
#include "io/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/evp.h>

#define CHUNK (64u << 10)

int io_hash(const void *p, size_t n, uint8_t out[IO_HASH_BYTES]) {
    return EVP_Digest(p, n, out, NULL, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
}

static int hash_all(EVP_MD_CTX *ctx, int fd, char *chunk) {
    off_t off = 0;

    for (;;) {
        ssize_t n = pread(fd, chunk, CHUNK, off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return 0;
        if (EVP_DigestUpdate(ctx, chunk, (size_t)n) != 1)
            return -ENOMEM;
        off += n;
    }
}

int io_hash_fd(int fd, uint8_t out[IO_HASH_BYTES]) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    char *chunk = malloc(CHUNK);
    int r = -ENOMEM;

    if (ctx && chunk && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1) {
        r = hash_all(ctx, fd, chunk);
        if (r == 0 && EVP_DigestFinal_ex(ctx, out, NULL) != 1)
            r = -ENOMEM;
    }
    free(chunk);
    EVP_MD_CTX_free(ctx);
    return r;
}
