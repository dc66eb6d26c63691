/*
 * test_maildir_small - maildirsize, dovecot-uidvalidity
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "maildir/size.h"
#include "maildir/uidvalidity.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
    const char *text;
    int err;
    uint64_t limit_bytes, limit_count;
    int64_t bytes, count;
    size_t lines;
} sizes[] = {
    {"0S\n0 0\n", 0, 0, 0, 0, 0, 1},
    {"1000S,20C\n100 3\n-30 -1\n+5 1\n", 0, 1000, 20, 75, 3, 3},
    {"20C\n", 0, 0, 20, 0, 0, 0},
    {"1000S\n           100            2\n", 0, 1000, 0, 100, 2, 1},
    {"what is this\n1 1\n", 0, 0, 0, 1, 1, 1},
    {"12X,5C,7\n1 1\n", 0, 0, 5, 1, 1, 1},
    {"0S\n1 1", 0, 0, 0, 1, 1, 1},
    {"", -ENODATA, 0, 0, 0, 0, 0},
    {"0S\n1\n", -EBADMSG, 0, 0, 0, 0, 0},
    {"0S\nx 1\n", -EBADMSG, 0, 0, 0, 0, 0},
    {"0S\n1 1 1\n", -EBADMSG, 0, 0, 0, 0, 0},
    {"0S\n\n", -EBADMSG, 0, 0, 0, 0, 0},
    {"0S\n9223372036854775808 1\n", -EBADMSG, 0, 0, 0, 0, 0},
    {"0S\n9223372036854775807 1\n1 1\n", -EOVERFLOW, 0, 0, 0, 0, 0},
};

static void test_size_parse(void **state) {
    size_t i;

    for (i = 0; i < LEN(sizes); i++) {
        struct maildir_size s;

        assert_int_equal(maildir_size_parse(sizes[i].text, strlen(sizes[i].text), &s),
                         sizes[i].err);
        if (sizes[i].err)
            continue;
        assert_int_equal(s.limit_bytes, sizes[i].limit_bytes);
        assert_int_equal(s.limit_count, sizes[i].limit_count);
        assert_int_equal(s.bytes, sizes[i].bytes);
        assert_int_equal(s.count, sizes[i].count);
        assert_int_equal(s.lines, sizes[i].lines);
    }
}

static void test_size_format(void **state) {
    char buf[MAILDIR_SIZE_LINE_MAX];

    assert_int_equal(maildir_size_format(buf, sizeof buf, -30, -1), 7);
    assert_string_equal(buf, "-30 -1\n");
    assert_int_equal(maildir_size_format(buf, sizeof buf, INT64_MIN, INT64_MIN), 42);
    assert_int_equal(maildir_size_format(buf, 7, -30, -1), -ENOSPC);
}

static const struct {
    const char *name;
    uint32_t value; /* 0: -EINVAL */
} names[] = {
    {"dovecot-uidvalidity.5ef00001", 0x5ef00001},
    {"dovecot-uidvalidity.5EF00001", 0x5ef00001},
    {"dovecot-uidvalidity.1", 1},
    {"dovecot-uidvalidity.ffffffff", 0xffffffff},
    {"dovecot-uidvalidity.00000000", 0},
    {"dovecot-uidvalidity.", 0},
    {"dovecot-uidvalidity", 0},
    {"dovecot-uidvalidity.5ef000011", 0},
    {"dovecot-uidvalidity.5ef0000x", 0},
    {"dovecot-uidlist.5ef00001", 0},
};

static void test_uidvalidity_names(void **state) {
    char buf[MAILDIR_UIDVALIDITY_NAME_MAX];
    size_t i;
    uint32_t v;

    for (i = 0; i < LEN(names); i++) {
        v = 0;
        assert_int_equal(maildir_uidvalidity_from_name(names[i].name, strlen(names[i].name), &v),
                         names[i].value ? 0 : -EINVAL);
        assert_int_equal(v, names[i].value);
    }
    assert_int_equal(maildir_uidvalidity_format_name(buf, sizeof buf, 0x5ef00001), 28);
    assert_string_equal(buf, "dovecot-uidvalidity.5ef00001");
    assert_int_equal(maildir_uidvalidity_format_name(buf, 28, 1), -ENOSPC);
    assert_int_equal(maildir_uidvalidity_format(buf, sizeof buf, 0xab), 8);
    assert_string_equal(buf, "000000ab");
}

static void test_uidvalidity_values(void **state) {
    uint32_t v;

    assert_int_equal(maildir_uidvalidity_parse("5ef00001", 8, &v), 0);
    assert_int_equal(v, 0x5ef00001);
    assert_int_equal(maildir_uidvalidity_parse("5ef00001junk", 12, &v), 0);
    assert_int_equal(maildir_uidvalidity_parse("", 0, &v), -EINVAL);
    assert_int_equal(maildir_uidvalidity_parse("5ef0\n", 5, &v), -EINVAL);
    assert_int_equal(maildir_uidvalidity_join(3, 5), 5);
    assert_int_equal(maildir_uidvalidity_join(5, 3), 5);
    assert_int_equal(maildir_uidvalidity_own(5, true), 5);
    assert_int_equal(maildir_uidvalidity_own(5, false), 6);
    assert_int_equal(maildir_uidvalidity_own(6, true), 7);
    assert_int_equal(maildir_uidvalidity_own(6, false), 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_size_parse),
        cmocka_unit_test(test_size_format),
        cmocka_unit_test(test_uidvalidity_names),
        cmocka_unit_test(test_uidvalidity_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
