/*
 * hash: SHA-256.
 *
 * A file is read in pieces of 64 KiB. Diagnostics: none; errors are returned.
 */
#include "io/hash.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/evp.h>

#define CHUNK (64u << 10)

/* EVP_sha256() has OpenSSL 3 look for an implementation each time: the hash of a short text took
 * 0.5 us, now 0.23. */
static const EVP_MD *md;

static void md_fetch(void) {
    md = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (!md)
        md = EVP_sha256();
}

static const EVP_MD *sha256(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, md_fetch);
    return md;
}

int io_hash(const void *p, size_t n, uint8_t out[IO_HASH_BYTES]) {
    return EVP_Digest(p, n, out, NULL, sha256(), NULL) == 1 ? 0 : -ENOMEM;
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

    if (ctx && chunk && EVP_DigestInit_ex(ctx, sha256(), NULL) == 1) {
        r = hash_all(ctx, fd, chunk);
        if (r == 0 && EVP_DigestFinal_ex(ctx, out, NULL) != 1)
            r = -ENOMEM;
    }
    free(chunk);
    EVP_MD_CTX_free(ctx);
    return r;
}

/* ---- piece by piece ---------------------------------------------------------------- */

struct io_hasher {
    EVP_MD_CTX *ctx;
    int err;
};

struct io_hasher *io_hasher_new(void) {
    struct io_hasher *h = calloc(1, sizeof(*h));

    if (!h)
        return NULL;
    h->ctx = EVP_MD_CTX_new();
    if (!h->ctx || EVP_DigestInit_ex(h->ctx, sha256(), NULL) != 1)
        h->err = -ENOMEM;
    return h;
}

void io_hasher_add(struct io_hasher *h, const void *p, size_t n) {
    if (h && h->err == 0 && EVP_DigestUpdate(h->ctx, p, n) != 1)
        h->err = -ENOMEM;
}

int io_hasher_so_far(const struct io_hasher *h, uint8_t out[IO_HASH_BYTES]) {
    EVP_MD_CTX *copy = h && h->err == 0 ? EVP_MD_CTX_new() : NULL;
    int r = -ENOMEM;

    if (copy && EVP_MD_CTX_copy_ex(copy, h->ctx) == 1 && EVP_DigestFinal_ex(copy, out, NULL) == 1)
        r = 0;
    EVP_MD_CTX_free(copy);
    return r;
}

int io_hasher_end(struct io_hasher *h, uint8_t out[IO_HASH_BYTES]) {
    int r = h ? h->err : -ENOMEM;

    if (r == 0 && EVP_DigestFinal_ex(h->ctx, out, NULL) != 1)
        r = -ENOMEM;
    io_hasher_free(h);
    return r;
}

void io_hasher_free(struct io_hasher *h) {
    if (!h)
        return;
    EVP_MD_CTX_free(h->ctx);
    free(h);
}
