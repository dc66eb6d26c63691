/* What had come of a content when the link was cut: kept over a restart, found for what it is part
 * of, and gone when it is old, too short or in the way. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/hash.h"
#include "io_fault.h"
#include "syncd/stage_private.h"
#include "mailbox_pair.h"

#define LONG (2u << 20)

static const char base[] = "1.M1.a";
static const struct stage_prep none = {0, 0}, prep = {77, 5};
static uint8_t text[LONG];

static int setup(void **state) {
    mailbox_setup(state);
    memset(text, 'x', sizeof(text));
    memcpy(text, "From: me\n", 9);
    return 0;
}

static struct stage_file *fetched(size_t n) {
    struct stage_file *f;

    assert_int_equal(stage_begin_fetch(p.b.st, &inbox, MFP__SUB__CUR, base, NULL, NULL, &f), 0);
    assert_int_equal(stage_write(f, 0, text, n), 0);
    return f;
}

/* With this one under way. What a kernel does then is done here. */
static void killed_with(struct stage_file *f) {
    node_killed(&p.b);
    close(f->fd);
    io_hasher_free(f->hash);
    free(f);
}

static int resume(const struct stage_prep *of, struct stage_file **f) {
    uint8_t is[IO_HASH_BYTES], sha256[IO_HASH_BYTES];
    uint64_t have = 0;
    int r = stage_resume(p.b.st, &inbox, MFP__SUB__CUR, base, of, f, &have, sha256);

    if (r == 0) {
        assert_int_equal(have, LONG);
        assert_int_equal(io_hash(text, LONG, is), 0);
        assert_memory_equal(is, sha256, sizeof(is));
    }
    return r;
}

static unsigned in_stage(void) {
    char command[512];
    unsigned n = 0;
    FILE *f;

    snprintf(command, sizeof(command), "ls %s/.mailfs/stage | wc -l", p.b.store);
    f = popen(command, "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%u", &n), 1);
    pclose(f);
    return n;
}

static void goes_on(struct stage_file *f) {
    char key[STAGE_NAME_MAX], file[STAGE_NAME_MAX], rel[512];
    struct stat sb;

    assert_int_equal(stage_write(f, 0, "more", 4), -EINVAL);
    assert_int_equal(stage_write(f, LONG, "more", 4), 0);
    assert_int_equal(stage_commit(f, STAGE_DURABLE), 0);
    stage_fetch_name(&inbox, MFP__SUB__CUR, base, key);
    assert_int_equal(stage_lookup(p.b.st, key, file), 0);
    snprintf(rel, sizeof(rel), "%s/.mailfs/stage/%s", p.b.store, file);
    assert_int_equal(stat(rel, &sb), 0);
    assert_int_equal(sb.st_size, LONG + 4);
}

static void test_resumed(void **state) {
    struct stage_file *f;

    stage_keep_part(fetched(LONG));
    assert_int_equal(resume(&none, &f), 0);
    assert_int_equal(resume(&none, &f), -ENOENT); /* one has it */
    stage_abandon(f);
    stage_keep_part(fetched(LONG));
    assert_int_equal(resume(&none, &f), 0);
    goes_on(f);
}

static void test_after_a_stop(void **state) {
    struct stage_file *f;

    stage_keep_part(fetched(LONG));
    node_reopen(&p.b);
    assert_int_equal(resume(&none, &f), 0);
    goes_on(f);
}

/* Killed in the midst of it: nobody has kept it, and nothing else is called so afterwards. */
static void test_after_a_kill(void **state) {
    struct stage_file *f, *other;

    killed_with(fetched(LONG));
    other = fetched(1);
    stage_abandon(other);
    assert_int_equal(resume(&none, &f), 0);
    goes_on(f);
}

static struct stage_file *delivered(uint64_t size) {
    Mfp__Meta meta = MFP__META__INIT;
    struct stage_file *f;

    meta.size = size;
    meta.mode = 0600;
    meta.uid = geteuid();
    meta.gid = getegid();
    assert_int_equal(stage_begin_prep(p.b.st, &prep, &inbox, "1.tmp", &meta, &f), 0);
    assert_int_equal(stage_write(f, 0, text, LONG), 0);
    return f;
}

static void test_of_a_delivery(void **state) {
    struct stage_file *f;

    stage_keep_part(delivered(0));
    node_reopen(&p.b);
    assert_int_equal(resume(&none, &f), -ENOENT);
    assert_int_equal(resume(&prep, &f), 0);
    goes_on(f);
}

/* It had its name, which tells its size, from the beginning; and comes once more. */
static void test_of_a_delivery_with_its_name(void **state) {
    struct stage_file *f;

    stage_keep_part(delivered(LONG + 4));
    f = delivered(LONG + 4);
    assert_int_equal(stage_write(f, LONG, "more", 4), 0);
    assert_int_equal(stage_commit(f, STAGE_DURABLE), 0);
    assert_true(stage_has_prep(p.b.st, &prep));
    assert_int_equal(stage_parts_drop(p.b.st), 1);
    assert_int_equal(in_stage(), 1);
}

static void test_of_a_delivery_killed(void **state) {
    struct stage_file *f;

    killed_with(delivered(LONG + 4));
    assert_false(stage_has_prep(p.b.st, &prep));
    assert_int_equal(in_stage(), 1);
    assert_int_equal(resume(&prep, &f), 0);
    goes_on(f);
}

static void test_not_worth_it(void **state) {
    struct stage_file *f;

    stage_keep_part(fetched(1000));
    assert_int_equal(in_stage(), 0);
    assert_int_equal(resume(&none, &f), -ENOENT);
    killed_with(fetched(1000));
    assert_int_equal(in_stage(), 0);
}

static void test_old(void **state) {
    struct timespec ts[2] = {{time(NULL) - 90000, 0}, {time(NULL) - 90000, 0}};
    struct stage_file *f;
    char command[512];

    stage_keep_part(fetched(LONG));
    snprintf(command, sizeof(command), "touch -d @%ld %s/.mailfs/stage/h-*", (long)ts[0].tv_sec,
             p.b.store);
    assert_int_equal(system(command), 0);
    node_reopen(&p.b);
    assert_int_equal(resume(&none, &f), -ENOENT);
    assert_int_equal(in_stage(), 0);
}

static void test_bounded(void **state) {
    char name[32];
    struct stage_file *f;

    for (unsigned i = 0; i < 70; i++) {
        snprintf(name, sizeof(name), "%u.M1.a", i);
        assert_int_equal(stage_begin_fetch(p.b.st, &inbox, MFP__SUB__CUR, name, NULL, NULL, &f), 0);
        assert_int_equal(stage_write(f, 0, text, LONG), 0);
        stage_keep_part(f);
    }
    assert_int_equal(in_stage(), 64);
    assert_int_equal(stage_parts_drop(p.b.st), 64);
    assert_int_equal(in_stage(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_resumed, setup, mailbox_teardown),
        cmocka_unit_test_setup_teardown(test_after_a_stop, setup, mailbox_teardown),
        cmocka_unit_test_setup_teardown(test_after_a_kill, setup, mailbox_teardown),
        cmocka_unit_test_setup_teardown(test_of_a_delivery, setup, mailbox_teardown),
        cmocka_unit_test_setup_teardown(test_of_a_delivery_with_its_name, setup, mailbox_teardown),
        cmocka_unit_test_setup_teardown(test_of_a_delivery_killed, setup, mailbox_teardown),
        cmocka_unit_test_setup_teardown(test_not_worth_it, setup, mailbox_teardown),
        cmocka_unit_test_setup_teardown(test_old, setup, mailbox_teardown),
        cmocka_unit_test_setup_teardown(test_bounded, setup, mailbox_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
