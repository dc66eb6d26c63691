/*
 * NAME
 *	cert - this node's key and certificate, and fingerprints
 *
 * DESCRIPTION
 *	cert_create() writes both files under temporary names and then gives them
 *	their names by link(2), which never replaces anything. The certificate
 *	is valid from 1970 to 9999 (RFC 5280, 4.1.2.5): the pin decides, and a
 *	pair must not stop one night because a date has passed.
 *
 * DIAGNOSTICS
 *	Nothing is logged; every failure is returned with a sentence.
 */
#include "net/cert.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>

#define PREFIX     "SHA256:"
#define PREFIX_LEN 7
#define BASE64_LEN 43 /* of 32 bytes, without the '=' */

_Static_assert(CERT_FINGERPRINT_TEXT == PREFIX_LEN + BASE64_LEN + 1, "text form");

/* ---- fingerprints ----------------------------------------------------------- */

int cert_fingerprint_of(const struct x509_st *cert, struct cert_fingerprint *out) {
    unsigned len = 0;

    if (X509_digest(cert, EVP_sha256(), out->sha256, &len) != 1 || len != sizeof(out->sha256))
        return -EIO;
    return 0;
}

void cert_fingerprint_format(const struct cert_fingerprint *fp, char out[CERT_FINGERPRINT_TEXT]) {
    unsigned char base64[48]; /* 44 and a NUL */

    EVP_EncodeBlock(base64, fp->sha256, sizeof(fp->sha256));
    memcpy(out, PREFIX, PREFIX_LEN);
    memcpy(out + PREFIX_LEN, base64, BASE64_LEN);
    out[PREFIX_LEN + BASE64_LEN] = '\0';
}

bool cert_fingerprint_equal(const struct cert_fingerprint *a, const struct cert_fingerprint *b) {
    return CRYPTO_memcmp(a->sha256, b->sha256, sizeof(a->sha256)) == 0;
}

/* ---- files ------------------------------------------------------------------ */

static int fail(int code, char *err, size_t errsize, const char *what, const char *dir,
                const char *name) {
    snprintf(err, errsize, "%s %s/%s: %s", what, dir, name, strerror(-code));
    return code;
}

/* Open dir/name to read; NULL with -errno in *code. */
static FILE *open_read(int dirfd, const char *name, int *code) {
    int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "r");

    *code = f ? 0 : -errno;
    if (!f && fd >= 0)
        close(fd);
    return f;
}

/* Let `write_pem` fill a new file and make it durable under `name`, which must be free. */
static int publish(int dirfd, const char *name, int (*write_pem)(FILE *, void *), void *what) {
    char tmp[64];
    unsigned nonce;
    FILE *f;
    int fd, rc = 0;

    if (RAND_bytes((unsigned char *)&nonce, sizeof(nonce)) != 1)
        return -EIO;
    snprintf(tmp, sizeof(tmp), "%s.%08x.new", name, nonce);
    fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    f = fdopen(fd, "w");
    if (!f) {
        rc = -errno;
        close(fd);
    } else {
        if (!write_pem(f, what) || fflush(f) != 0)
            rc = -EIO;
        else if (fchmod(fd, 0600) != 0 || fsync(fd) != 0)
            rc = -errno;
        if (fclose(f) != 0 && rc == 0)
            rc = -errno;
    }
    if (rc == 0 && linkat(dirfd, tmp, dirfd, name, 0) != 0)
        rc = -errno;
    unlinkat(dirfd, tmp, 0);
    if (rc == 0 && fsync(dirfd) != 0)
        rc = -errno;
    return rc;
}

static int write_key(FILE *f, void *key) {
    return PEM_write_PKCS8PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
}

static int write_cert(FILE *f, void *cert) {
    return PEM_write_X509(f, cert);
}

/* ---- making them ------------------------------------------------------------ */

static int set_names(X509 *cert, const char *node) {
    X509_NAME *name = X509_get_subject_name(cert);
    char cn[64];

    /* A common name holds 64 characters (ub-common-name); it is a label only. */
    snprintf(cn, sizeof(cn), "%s", node[0] ? node : "mailfs");
    return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (unsigned char *)cn, -1, -1, 0) &&
           X509_set_issuer_name(cert, name);
}

static int set_serial(X509 *cert) {
    uint64_t serial;

    if (RAND_bytes((unsigned char *)&serial, sizeof(serial)) != 1)
        return 0;
    /* Positive and not zero, RFC 5280, 4.1.2.2. */
    return ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), (serial >> 1) | 1);
}

static X509 *self_signed(EVP_PKEY *key, const char *node) {
    X509 *cert = X509_new();

    if (!cert)
        return NULL;
    if (X509_set_version(cert, X509_VERSION_3) && set_serial(cert) &&
        ASN1_TIME_set_string_X509(X509_getm_notBefore(cert), "19700101000000Z") &&
        ASN1_TIME_set_string_X509(X509_getm_notAfter(cert), "99991231235959Z") &&
        X509_set_pubkey(cert, key) && set_names(cert, node) && X509_sign(cert, key, NULL))
        return cert;
    X509_free(cert);
    return NULL;
}

/* The key in the directory, or a new one that is put there. */
static int obtain_key(int dirfd, EVP_PKEY **out) {
    int rc;
    FILE *f = open_read(dirfd, CERT_KEY_FILE, &rc);

    if (f) {
        *out = PEM_read_PrivateKey(f, NULL, NULL, NULL);
        fclose(f);
        return *out ? 0 : -EBADMSG;
    }
    if (rc != -ENOENT)
        return rc;
    *out = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    if (!*out)
        return -EIO;
    rc = publish(dirfd, CERT_KEY_FILE, write_key, *out);
    if (rc != 0) {
        EVP_PKEY_free(*out);
        *out = NULL;
    }
    return rc;
}

int cert_create(const char *dir, const char *node, char *err, size_t errsize) {
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    int rc, dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (dirfd < 0)
        return fail(-errno, err, errsize, "open", dir, "");
    if (faccessat(dirfd, CERT_CERT_FILE, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        rc = fail(-EEXIST, err, errsize, "create", dir, CERT_CERT_FILE);
        goto out;
    }
    rc = obtain_key(dirfd, &key);
    if (rc != 0) {
        fail(rc, err, errsize, "create", dir, CERT_KEY_FILE);
        goto out;
    }
    cert = self_signed(key, node);
    rc = cert ? publish(dirfd, CERT_CERT_FILE, write_cert, cert) : -EIO;
    if (rc != 0)
        fail(rc, err, errsize, "create", dir, CERT_CERT_FILE);
out:
    X509_free(cert);
    EVP_PKEY_free(key);
    close(dirfd);
    return rc;
}

int cert_fingerprint_load(const char *dir, struct cert_fingerprint *out, char *err,
                          size_t errsize) {
    X509 *cert = NULL;
    FILE *f = NULL;
    int rc, dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (dirfd < 0)
        return fail(-errno, err, errsize, "open", dir, "");
    f = open_read(dirfd, CERT_CERT_FILE, &rc);
    close(dirfd);
    if (!f)
        return fail(rc, err, errsize, "open", dir, CERT_CERT_FILE);
    cert = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    rc = cert ? cert_fingerprint_of(cert, out) : -EBADMSG;
    X509_free(cert);
    return rc == 0 ? 0 : fail(rc, err, errsize, "read certificate", dir, CERT_CERT_FILE);
}
