/*
 * test_maildir_name - names of message files, flag sets, path classes
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "maildir/class.h"
#include "maildir/name.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static struct maildir_set flags_of(const char *text) {
    struct maildir_set s;

    assert_int_equal(maildir_flags_parse(text, strlen(text), &s), 0);
    return s;
}

static const struct {
    const char *name, *base, *flags, *info; /* info: expected if not standard */
    uint32_t keywords;
    int64_t size, vsize;
    int err;
} parsed[] = {
    {"1700.M1P2.host,S=12,W=13:2,FS", "1700.M1P2.host,S=12,W=13", "FS", NULL, 0, 12, 13, 0},
    {"1700.M1P2.host", "1700.M1P2.host", "", NULL, 0, -1, -1, 0},
    {"x:2,", "x", "", NULL, 0, -1, -1, 0},
    {"x:2,Sab", "x", "S", NULL, 3, -1, -1, 0},
    {"x:2,baSFz", "x", "FS", NULL, 3 | 1u << 25, -1, -1, 0},
    {"x:2,SS", "x", "S", NULL, 0, -1, -1, 0},
    {"x:2,PX", "x", "PX", NULL, 0, -1, -1, 0},
    {"x:1,foo", "x", "", "1,foo", 0, -1, -1, 0},
    {"x:2,FS,more", "x", "", "2,FS,more", 0, -1, -1, 0},
    {"x:2,F:3", "x", "", "2,F:3", 0, -1, -1, 0},
    {"x:2", "x", "", "2", 0, -1, -1, 0},
    {"x:", "x", "", "", 0, -1, -1, 0},
    {"x:2,\xc3\xa4", "x", "", "2,\xc3\xa4", 0, -1, -1, 0},
    {"x,S=5x:2,S", "x,S=5x", "S", NULL, 0, -1, -1, 0},
    {"x,S=:2,S", "x,S=", "S", NULL, 0, -1, -1, 0},
    {"x,W=7,S=9", "x,W=7,S=9", "", NULL, 0, 9, 7, 0},
    {"x,S=99999999999999999999", "x,S=99999999999999999999", "", NULL, 0, -1, -1, 0},
    {"x,S", "x,S", "", NULL, 0, -1, -1, 0},
    {"", NULL, NULL, NULL, 0, 0, 0, -EINVAL},
    {".", NULL, NULL, NULL, 0, 0, 0, -EINVAL},
    {"..", NULL, NULL, NULL, 0, 0, 0, -EINVAL},
    {".hidden", NULL, NULL, NULL, 0, 0, 0, -EINVAL},
    {":2,S", NULL, NULL, NULL, 0, 0, 0, -EINVAL},
    {"a/b", NULL, NULL, NULL, 0, 0, 0, -EINVAL},
    {"a\nb", NULL, NULL, NULL, 0, 0, 0, -EINVAL},
    {"a\r", NULL, NULL, NULL, 0, 0, 0, -EINVAL},
};

static void test_parse(void **state) {
    size_t i;

    for (i = 0; i < LEN(parsed); i++) {
        struct maildir_name n;
        int err = maildir_name_parse(parsed[i].name, strlen(parsed[i].name), &n);

        assert_int_equal(err, parsed[i].err);
        if (err)
            continue;
        assert_int_equal(n.base_len, strlen(parsed[i].base));
        assert_memory_equal(n.name, parsed[i].base, n.base_len);
        assert_true(maildir_set_equal(n.flags, flags_of(parsed[i].flags)));
        assert_int_equal(n.keywords, parsed[i].keywords);
        assert_int_equal(n.size, parsed[i].size);
        assert_int_equal(n.vsize, parsed[i].vsize);
        assert_int_equal(n.standard, parsed[i].info == NULL);
        if (parsed[i].info) {
            assert_int_equal(n.info_len, strlen(parsed[i].info));
            assert_memory_equal(n.info, parsed[i].info, n.info_len);
        }
    }
}

static void test_check_lengths(void **state) {
    char name[300];

    memset(name, 'x', sizeof name);
    assert_int_equal(maildir_name_check(name, 255, MAILDIR_NAME_COMPONENT), 0);
    assert_int_equal(maildir_name_check(name, 256, MAILDIR_NAME_COMPONENT), -ENAMETOOLONG);
    assert_int_equal(maildir_name_check(name, 256, MAILDIR_NAME_BASE), -ENAMETOOLONG);
    assert_int_equal(maildir_name_check("a\0b", 3, MAILDIR_NAME_COMPONENT), -EINVAL);
    assert_int_equal(maildir_name_check("a:2,S", 5, MAILDIR_NAME_BASE), -EINVAL);
    assert_int_equal(maildir_name_check("a:2,S", 5, MAILDIR_NAME_MESSAGE), 0);
    assert_int_equal(maildir_name_check(".Sent", 5, MAILDIR_NAME_COMPONENT), 0);
    assert_int_equal(maildir_name_check("...", 3, MAILDIR_NAME_COMPONENT), 0);
    assert_int_equal(maildir_name_check("a\nb", 3, MAILDIR_NAME_COMPONENT), 0);
}

static const struct {
    const char *base;
    bool cur;
    const char *flags;
    uint32_t keywords;
    const char *name;
} formatted[] = {
    {"x", true, "", 0, "x:2,"},
    {"x", false, "", 0, "x"},
    {"x", false, "S", 0, "x:2,S"},
    {"x", true, "TSRFD", 0, "x:2,DFRST"},
    {"x", true, "SF", 1u << 25 | 1, "x:2,FSaz"},
    {"x", true, "P~", 2, "x:2,Pb~"},
};

static void test_format(void **state) {
    char buf[MAILDIR_NAME_MAX + 1], longest[MAILDIR_NAME_MAX];
    struct maildir_set none = {{0, 0}};
    size_t i;

    for (i = 0; i < LEN(formatted); i++) {
        int n = maildir_name_format(buf, sizeof buf, formatted[i].base, strlen(formatted[i].base),
                                    formatted[i].cur, flags_of(formatted[i].flags),
                                    formatted[i].keywords);

        assert_string_equal(buf, formatted[i].name);
        assert_int_equal(n, strlen(buf));
    }
    memset(longest, 'y', sizeof longest);
    assert_int_equal(maildir_name_format(buf, sizeof buf, longest, 252, true, none, 0), 255);
    assert_int_equal(maildir_name_format(buf, sizeof buf, longest, 253, true, none, 0),
                     -ENAMETOOLONG);
    assert_int_equal(maildir_name_format(buf, 4, "x", 1, true, none, 0), -ENAMETOOLONG);
    assert_int_equal(maildir_name_format(buf, 5, "x", 1, true, none, 0), 4);
    assert_int_equal(maildir_name_format_info(buf, sizeof buf, "x", 1, "1,z", 3), 5);
    assert_string_equal(buf, "x:1,z");
}

/* What cannot stand in a name is left out, not written. */
static void test_format_is_safe(void **state) {
    struct maildir_set all = {{UINT64_MAX, UINT64_MAX}};
    struct maildir_name n;
    char buf[MAILDIR_NAME_MAX + 1];
    int len = maildir_name_format(buf, sizeof buf, "x", 1, true, all, UINT32_MAX);

    assert_true(len > 0);
    assert_int_equal(maildir_name_parse(buf, (size_t)len, &n), 0);
    assert_true(n.standard);
    assert_int_equal(n.keywords, (1u << 26) - 1);
    assert_null(strpbrk(n.info + 2, ",:/"));
}

static void test_flags_text(void **state) {
    char buf[8];
    struct maildir_set s;

    assert_int_equal(maildir_flags_format(buf, sizeof buf, flags_of("SF")), 2);
    assert_string_equal(buf, "FS");
    assert_int_equal(maildir_flags_format(buf, 2, flags_of("SF")), -ENOSPC);
    assert_int_equal(maildir_flags_format(buf, 3, flags_of("SF")), 2);
    assert_int_equal(maildir_flags_parse("Sa", 2, &s), -EINVAL);
    assert_int_equal(maildir_flags_parse("S,", 2, &s), -EINVAL);
    assert_int_equal(maildir_flags_parse("S/", 2, &s), -EINVAL);
    assert_int_equal(maildir_flags_parse("\xff", 1, &s), -EINVAL);
}

static void test_same_base(void **state) {
    assert_true(maildir_name_same_base("x:2,S", "x"));
    assert_true(maildir_name_same_base("x:2,S", "x:2,"));
    assert_false(maildir_name_same_base("x:2,S", "xy"));
    assert_false(maildir_name_same_base("xy", "x:2,y"));
}

/* All sixteen cases of one flag: base a, a, base b, b -> result. */
static const struct {
    int oa, a, ob, b, want;
} merges[] = {
    {0, 0, 0, 0, 0}, {0, 1, 0, 0, 1}, {0, 0, 0, 1, 1}, {0, 1, 0, 1, 1},
    {1, 1, 1, 1, 1}, {1, 0, 1, 1, 0}, {1, 1, 1, 0, 0}, {1, 0, 1, 0, 0},
    {0, 0, 1, 0, 0}, {0, 1, 1, 1, 1}, {0, 0, 1, 1, 1}, {0, 1, 1, 0, 1},
    {1, 0, 0, 0, 0}, {1, 1, 0, 1, 1}, {1, 1, 0, 0, 1}, {1, 0, 0, 1, 1},
};

static void test_set_merge(void **state) {
    unsigned bit[] = {0, 'S', 63, 64, 127};
    size_t i, j;

    for (j = 0; j < LEN(bit); j++)
        for (i = 0; i < LEN(merges); i++) {
            struct maildir_set s[4] = {{{0, 0}}}, r;
            int v[4] = {merges[i].oa, merges[i].a, merges[i].ob, merges[i].b}, k;

            for (k = 0; k < 4; k++)
                if (v[k])
                    maildir_set_add(&s[k], bit[j]);
            r = maildir_set_merge(s[0], s[1], s[2], s[3]);
            assert_int_equal(maildir_set_has(r, bit[j]), merges[i].want);
            assert_true(maildir_set_equal(r, maildir_set_merge(s[2], s[3], s[0], s[1])));
            maildir_set_del(&r, bit[j]);
            assert_true(maildir_set_empty(r));
        }
}

static const struct {
    enum maildir_dir dir;
    const char *name;
    enum maildir_class class;
} classes[] = {
    {MAILDIR_DIR_CONTAINER, "new", MAILDIR_SUBDIR_NEW},
    {MAILDIR_DIR_CONTAINER, "cur", MAILDIR_SUBDIR_CUR},
    {MAILDIR_DIR_CONTAINER, "tmp", MAILDIR_SUBDIR_TMP},
    {MAILDIR_DIR_CONTAINER, "news", MAILDIR_OTHER},
    {MAILDIR_DIR_CONTAINER, "dovecot-uidlist", MAILDIR_UIDLIST},
    {MAILDIR_DIR_CONTAINER, "dovecot-uidlist.lock", MAILDIR_LOCK_L},
    {MAILDIR_DIR_CONTAINER, "dovecot-uidlist.tmp", MAILDIR_UIDLIST_TMP},
    {MAILDIR_DIR_CONTAINER, "dovecot-uidlist.bak", MAILDIR_OTHER},
    {MAILDIR_DIR_CONTAINER, "dovecot-keywords", MAILDIR_KEYWORDS},
    {MAILDIR_DIR_CONTAINER, "dovecot-keywords.lock", MAILDIR_LOCK_OTHER},
    {MAILDIR_DIR_CONTAINER, "dovecot-uidvalidity", MAILDIR_UIDVALIDITY},
    {MAILDIR_DIR_CONTAINER, "dovecot-uidvalidity.5ef00001", MAILDIR_VALIDITY_MARK},
    {MAILDIR_DIR_CONTAINER, "subscriptions", MAILDIR_SUBSCRIPTIONS},
    {MAILDIR_DIR_CONTAINER, "subscriptions.lock", MAILDIR_LOCK_OTHER},
    {MAILDIR_DIR_CONTAINER, "maildirsize", MAILDIR_SIZE},
    {MAILDIR_DIR_CONTAINER, "maildirsizemx-a.12.0123456789abcdef", MAILDIR_NODE_LOCAL},
    {MAILDIR_DIR_CONTAINER, "maildirfolder", MAILDIR_OTHER},
    {MAILDIR_DIR_CONTAINER, "dovecot.index", MAILDIR_NODE_LOCAL},
    {MAILDIR_DIR_CONTAINER, "dovecot.index.log.2", MAILDIR_NODE_LOCAL},
    {MAILDIR_DIR_CONTAINER, "dovecot.index.cache", MAILDIR_NODE_LOCAL},
    {MAILDIR_DIR_CONTAINER, "dovecot.index.cache.lock", MAILDIR_LOCK_OTHER},
    {MAILDIR_DIR_CONTAINER, "dovecot.list.index.log", MAILDIR_NODE_LOCAL},
    {MAILDIR_DIR_CONTAINER, "dovecot.mailbox.log", MAILDIR_NODE_LOCAL},
    {MAILDIR_DIR_CONTAINER, "dovecot.mailbox.log.2", MAILDIR_NODE_LOCAL},
    {MAILDIR_DIR_CONTAINER, "mailboxes.lock", MAILDIR_NODE_LOCAL},
    {MAILDIR_DIR_CONTAINER, "mailboxes.lock0123456789abcdef", MAILDIR_NODE_LOCAL},
    {MAILDIR_DIR_CONTAINER, "dovecot-acl", MAILDIR_OTHER},
    {MAILDIR_DIR_CONTAINER, "dovecot-acl-list", MAILDIR_NODE_LOCAL},
    {MAILDIR_DIR_CONTAINER, ".dovecot.sieve", MAILDIR_OTHER},
    {MAILDIR_DIR_CONTAINER, ".dovecot.svbin", MAILDIR_OTHER},
    {MAILDIR_DIR_CONTAINER, ".dovecot.lda-dupes", MAILDIR_OTHER},
    {MAILDIR_DIR_CONTAINER, ".dovecot.lda-dupes.lock", MAILDIR_LOCK_OTHER},
    {MAILDIR_DIR_CONTAINER, ".nfs0001", MAILDIR_NODE_LOCAL},
    {MAILDIR_DIR_CONTAINER, ".temp.mx-a.1.ff", MAILDIR_NODE_LOCAL},
    {MAILDIR_DIR_CONTAINER, "..DOVECOT-TRASHED", MAILDIR_TRASH},
    {MAILDIR_DIR_CONTAINER, ".Sent", MAILDIR_OTHER},
    {MAILDIR_DIR_CONTAINER, ".mailfs", MAILDIR_INTERNAL},
    {MAILDIR_DIR_CONTAINER, ".mailfs-lost", MAILDIR_INTERNAL},
    {MAILDIR_DIR_CONTAINER, ".mailfsx", MAILDIR_OTHER},
    {MAILDIR_DIR_NEW, "1700.M1P2.host", MAILDIR_MESSAGE},
    {MAILDIR_DIR_CUR, "1700.M1P2.host:2,S", MAILDIR_MESSAGE},
    {MAILDIR_DIR_CUR, "dovecot-uidlist", MAILDIR_MESSAGE},
    {MAILDIR_DIR_CUR, "x.lock", MAILDIR_MESSAGE},
    {MAILDIR_DIR_NEW, MAILDIR_POKE_NAME, MAILDIR_POKE},
    {MAILDIR_DIR_NEW, ".other", MAILDIR_NODE_LOCAL},
    {MAILDIR_DIR_CUR, "line\nend", MAILDIR_NODE_LOCAL},
    {MAILDIR_DIR_TMP, "1700.M1P2.host", MAILDIR_TMP_LOCAL},
    {MAILDIR_DIR_TMP, "dovecot-uidlist", MAILDIR_TMP_LOCAL},
};

static void test_classes(void **state) {
    size_t i;

    for (i = 0; i < LEN(classes); i++) {
        enum maildir_class c =
            maildir_class_of(classes[i].dir, classes[i].name, strlen(classes[i].name));

        if (c != classes[i].class)
            fail_msg("%s is %s, should be %s", classes[i].name, maildir_class_name(c),
                     maildir_class_name(classes[i].class));
        assert_string_not_equal(maildir_class_name(c), "?");
    }
}

static void test_class_properties(void **state) {
    assert_true(maildir_class_is_local(MAILDIR_LOCK_L));
    assert_true(maildir_class_is_local(MAILDIR_TMP_LOCAL));
    assert_true(maildir_class_is_local(MAILDIR_SIZE));
    assert_false(maildir_class_is_local(MAILDIR_UIDLIST));
    assert_false(maildir_class_is_local(MAILDIR_MESSAGE));
    assert_false(maildir_class_is_local(MAILDIR_OTHER));
    assert_true(maildir_class_is_volatile(MAILDIR_UIDLIST));
    assert_false(maildir_class_is_volatile(MAILDIR_SIZE));
    assert_false(maildir_class_is_volatile(MAILDIR_MESSAGE));
    assert_int_equal(maildir_dir_of(MAILDIR_DIR_CONTAINER, "cur", 3), MAILDIR_DIR_CUR);
    assert_int_equal(maildir_dir_of(MAILDIR_DIR_CONTAINER, "curl", 4), MAILDIR_DIR_CONTAINER);
    assert_int_equal(maildir_dir_of(MAILDIR_DIR_TMP, "cur", 3), MAILDIR_DIR_TMP);
    assert_int_equal(maildir_dir_of(MAILDIR_DIR_CUR, "new", 3), MAILDIR_DIR_CONTAINER);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_check_lengths),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_format_is_safe),
        cmocka_unit_test(test_flags_text),
        cmocka_unit_test(test_same_base),
        cmocka_unit_test(test_set_merge),
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_class_properties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
