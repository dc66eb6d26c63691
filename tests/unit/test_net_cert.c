/* test_net_cert - key and certificate files, fingerprints, addresses */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf/conf.h"
#include "net/addr.h"
#include "net/cert.h"
#include "net/tls.h"

static char dir[64];
static char path[128];
static char err[512];

static const char *in_dir(const char *name) {
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static int setup(void **state) {
    strcpy(dir, "/tmp/mailfs-test-cert.XXXXXX");
    err[0] = '\0';
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state) {
    unlink(in_dir(CERT_KEY_FILE));
    unlink(in_dir(CERT_CERT_FILE));
    return rmdir(dir); /* fails when something else was left in there */
}

static void test_create(void **state) {
    struct cert_fingerprint a, b;
    struct tls_context *tls = NULL;
    struct stat st;

    assert_int_equal(cert_fingerprint_load(dir, &a, err, sizeof(err)), -ENOENT);
    assert_true(err[0] != '\0');
    assert_int_equal(cert_create(dir, "mx-a", err, sizeof(err)), 0);
    assert_int_equal(stat(in_dir(CERT_KEY_FILE), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(stat(in_dir(CERT_CERT_FILE), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(cert_fingerprint_load(dir, &a, err, sizeof(err)), 0);
    assert_int_equal(tls_open(dir, &tls, err, sizeof(err)), 0);
    b = *tls_fingerprint(tls);
    assert_true(cert_fingerprint_equal(&a, &b));
    tls_close(tls);
}

/* What openssl(1) says about the same file. */
static void test_fingerprint_is_of_the_der_form(void **state) {
    struct cert_fingerprint fp;
    char command[256], text[CERT_FINGERPRINT_TEXT], line[128] = "";
    FILE *f;

    assert_int_equal(cert_create(dir, "mx-a", err, sizeof(err)), 0);
    assert_int_equal(cert_fingerprint_load(dir, &fp, err, sizeof(err)), 0);
    cert_fingerprint_format(&fp, text);
    snprintf(command, sizeof(command),
             "openssl x509 -in %s -outform DER | openssl dgst -sha256 -binary | base64",
             in_dir(CERT_CERT_FILE));
    f = popen(command, "r");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof(line), f));
    assert_int_equal(pclose(f), 0);
    line[strcspn(line, "=\n")] = '\0';
    assert_string_equal(text + strlen("SHA256:"), line);
}

static void test_nothing_is_overwritten(void **state) {
    struct cert_fingerprint a, b;
    struct stat before, after;

    assert_int_equal(cert_create(dir, "mx-a", err, sizeof(err)), 0);
    assert_int_equal(cert_fingerprint_load(dir, &a, err, sizeof(err)), 0);
    assert_int_equal(cert_create(dir, "mx-a", err, sizeof(err)), -EEXIST);
    assert_int_equal(cert_fingerprint_load(dir, &b, err, sizeof(err)), 0);
    assert_true(cert_fingerprint_equal(&a, &b));
    /* a creation cut short between the two files is completed with the same key */
    assert_int_equal(stat(in_dir(CERT_KEY_FILE), &before), 0);
    assert_int_equal(unlink(in_dir(CERT_CERT_FILE)), 0);
    assert_int_equal(cert_create(dir, "mx-a", err, sizeof(err)), 0);
    assert_int_equal(stat(in_dir(CERT_KEY_FILE), &after), 0);
    assert_true(before.st_ino == after.st_ino);
}

static void test_open_refuses(void **state) {
    struct tls_context *tls = NULL;
    char other[64] = "/tmp/mailfs-test-cert.XXXXXX", from[128];

    assert_int_equal(cert_create(dir, "mx-a", err, sizeof(err)), 0);
    assert_int_equal(chmod(in_dir(CERT_KEY_FILE), 0640), 0);
    assert_int_equal(tls_open(dir, &tls, err, sizeof(err)), -EPERM);
    assert_non_null(strstr(err, "0640"));
    /* the key of another certificate */
    assert_non_null(mkdtemp(other));
    assert_int_equal(cert_create(other, "mx-b", err, sizeof(err)), 0);
    snprintf(from, sizeof(from), "%s/%s", other, CERT_KEY_FILE);
    assert_int_equal(rename(from, in_dir(CERT_KEY_FILE)), 0);
    assert_int_equal(tls_open(dir, &tls, err, sizeof(err)), -EBADMSG);
    assert_non_null(strstr(err, dir));
    snprintf(from, sizeof(from), "%s/%s", other, CERT_CERT_FILE);
    unlink(from);
    rmdir(other);
}

static void test_create_fails_in_words(void **state) {
    assert_int_equal(cert_create("/nonexistent/mailfs", "x", err, sizeof(err)), -ENOENT);
    assert_non_null(strstr(err, "/nonexistent/mailfs"));
}

/* What is printed is what the configuration takes. */
static void test_fingerprint_text(void **state) {
    struct cert_fingerprint fp, other;
    char text[CERT_FINGERPRINT_TEXT];

    for (unsigned i = 0; i < 256; i++) {
        for (unsigned j = 0; j < sizeof(fp.sha256); j++)
            fp.sha256[j] = (uint8_t)(i * 7 + j * 31);
        cert_fingerprint_format(&fp, text);
        assert_int_equal(strlen(text), CERT_FINGERPRINT_TEXT - 1);
        assert_int_equal(conf_fingerprint_parse(text, other.sha256), 0);
        assert_true(cert_fingerprint_equal(&fp, &other));
        other.sha256[i % sizeof(other.sha256)] ^= (uint8_t)(1u << i % 8);
        assert_false(cert_fingerprint_equal(&fp, &other));
    }
}

static void test_numeric(void **state) {
    struct addr a = {.host = "fd00::1", .port = 7400};
    struct addr_socket s;
    char text[ADDR_TEXT_MAX];

    addr_format(&a, text);
    assert_string_equal(text, "[fd00::1]:7400");
    assert_int_equal(addr_numeric(&a, &s), 0);
    addr_format_socket((struct sockaddr *)&s.sa, s.len, text);
    assert_string_equal(text, "[fd00::1]:7400");
    strcpy(a.host, "localhost");
    assert_int_equal(addr_numeric(&a, &s), -ENOENT);
    assert_int_equal(addr_lookup(&a, &s), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_create),
        T(test_fingerprint_is_of_the_der_form),
        T(test_nothing_is_overwritten),
        T(test_open_refuses),
        T(test_create_fails_in_words),
        cmocka_unit_test(test_fingerprint_text),
        cmocka_unit_test(test_numeric),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
