/* verification's small parts: checksums of messages, what is kept of damaged ones, lists, digests,
 * the request of mailfsctl */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "io/sum.h"
#include "io/undo.h"
#include "net/local.h"
#include "scratch.h"
#include "syncd/check.h"
#include "syncd/ctl_verify.h"
#include "syncd/state_int.h"
#include "syncd/verify_plan.h"
#include "syncd/volume.h"

static const struct mailfs_id box = {{1, 2, 3}};
static char top[SCRATCH_PATH];
static int dir;

static int setup(void **state) {
    dir = scratch_make(top);
    return 0;
}

static int teardown(void **state) {
    scratch_remove(top, dir);
    return 0;
}

static int put(const char *name, const char *text) {
    int fd = openat(dir, name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    return fd;
}

static void checksum(void **state) {
    struct io_sum sum = {.from = IO_SUM_PASSED, .sha256 = {7, 8}}, got;
    int fd = put("m", "text");
    assert_int_equal(io_sum_get(fd, &got), -ENODATA);
    assert_int_equal(io_sum_drop(fd), 0);
    assert_int_equal(io_sum_set(fd, &sum), 0);
    assert_int_equal(io_sum_get(fd, &got), 0);
    assert_int_equal(got.from, IO_SUM_PASSED);
    assert_memory_equal(got.sha256, sum.sha256, sizeof sum.sha256);
    sum.from = IO_SUM_FOUND;
    sum.sha256[0] = 9;
    assert_int_equal(io_sum_set(fd, &sum), 0);
    assert_int_equal(io_sum_get(fd, &got), 0);
    assert_int_equal(got.from, IO_SUM_FOUND);
    assert_int_equal(got.sha256[0], 9);
    assert_int_equal(io_sum_drop(fd), 0);
    assert_int_equal(io_sum_get(fd, &got), -ENODATA);
    /* of another length, or origin: not understood, so as if there were none */
    assert_int_equal(fsetxattr(fd, IO_SUM_XATTR, "12", 2, 0), 0);
    assert_int_equal(io_sum_get(fd, &got), -ENODATA);
    sum.from = (enum io_sum_from)3;
    assert_int_equal(io_sum_set(fd, &sum), 0);
    assert_int_equal(io_sum_get(fd, &got), -ENODATA);
    close(fd);
}

static void hash_in_pieces(void **state) {
    uint8_t whole[IO_HASH_BYTES], pieces[IO_HASH_BYTES], of_file[IO_HASH_BYTES];
    struct io_hasher *h = io_hasher_new();
    int fd = put("m", "one and two");
    assert_int_equal(io_hash("one and two", 11, whole), 0);
    io_hasher_add(h, "one", 3);
    io_hasher_add(h, "", 0);
    io_hasher_add(h, " and two", 8);
    assert_int_equal(io_hasher_end(h, pieces), 0);
    assert_memory_equal(whole, pieces, sizeof whole);
    assert_int_equal(io_hash_fd(fd, of_file), 0);
    assert_memory_equal(whole, of_file, sizeof whole);
    assert_int_equal(io_hasher_end(NULL, pieces), -ENOMEM);
    close(fd);
}

static void damaged_is_kept(void **state) {
    char hex[MAILFS_ID_HEX], path[MAILFS_ID_HEX + 300], name[256];
    int undo = io_undo_open(dir);
    struct stat st;
    close(put("m:2,S", "bad"));
    assert_int_equal(io_undo_keep_damaged(undo, &box, "a/Maildir", dir, "m:2,S"), 0);
    assert_int_equal(io_undo_keep_damaged(undo, &box, "a/Maildir", dir, "m:2,S"), 0); /* again */
    assert_int_equal(io_undo_keep_damaged(undo, &box, "a/Maildir", dir, "no"), -ENOENT);
    assert_int_equal(fstatat(dir, "m:2,S", &st, 0), 0);
    assert_int_equal(st.st_nlink, 2);
    snprintf(path, sizeof path, "%s/.damaged-m:2,S", mailfs_id_format(&box, hex));
    assert_int_equal(faccessat(undo, path, F_OK, 0), 0);
    memset(name, 'x', 255);
    name[255] = '\0';
    close(put(name, "longest"));
    assert_int_equal(io_undo_keep_damaged(undo, &box, "a/Maildir", dir, name), 0);
    close(undo);
}

static void problems_are_bounded(void **state) {
    struct check_problems p = {0};
    for (unsigned i = 0; i < CHECK_PROBLEMS_MAX + 3; i++) {
        struct check_problem *one = check_problem_add(&p, &box, CHECK_DAMAGED, i % 2 ? "m" : NULL);
        assert_true((one != NULL) == (i < CHECK_PROBLEMS_MAX));
    }
    assert_int_equal(p.n, CHECK_PROBLEMS_MAX);
    assert_int_equal(p.more, 3);
    assert_null(p.v[0].name);
    assert_string_equal(p.v[1].name, "m");
    check_problems_free(&p);
    assert_int_equal(p.n, 0);
    for (unsigned i = 0; i <= CHECK_KINDS; i++)
        assert_non_null(check_kind_text(i));
    for (unsigned i = 0; i <= CHECK_FATES; i++)
        assert_non_null(check_fate_text(i));
}

/* What was not compared is no problem, nor does it take a problem's place. */
static void parted_is_counted_apart(void **state) {
    struct check_problems p = {0};
    struct check_problem *one;

    for (unsigned i = 0; i < CHECK_PROBLEMS_MAX + 3; i++)
        assert_null(check_problem_take(&p, &box, CHECK_PARTED, NULL));
    one = check_problem_take(&p, &box, CHECK_DAMAGED, "m");
    assert_non_null(one);
    assert_int_equal(one->kind, CHECK_DAMAGED);
    assert_int_equal(p.parted, CHECK_PROBLEMS_MAX + 3);
    assert_int_equal(p.n, 1);
    assert_int_equal(p.more, 0);
    check_problems_free(&p);
}

static void order_does_not_matter(void **state) {
    struct check_digest v[3] = {{.dir = {{1}}, .base = {5}},
                                {.dir = {{2}}, .base = {0xff}},
                                {.dir = {{3}}, .sums = {1}}},
                        w[3] = {v[2], v[0], v[1]};
    uint8_t a[STATE_DIGEST], b[STATE_DIGEST];
    check_digest_roll(v, 3, a);
    check_digest_roll(w, 3, b);
    assert_memory_equal(a, b, sizeof a);
    w[1].sums[31] ^= 1;
    check_digest_roll(w, 3, b);
    assert_memory_not_equal(a, b, sizeof a);
    check_digest_roll(v, 2, b);
    assert_memory_not_equal(a, b, sizeof a);
}

static void request(void **state) {
    char all[] = "verify", some[] = "verify content repair\na b/Maildir\n.\n",
         bad[] = "verify quickly", many[] = "verify\n1\n2\n3", accept[] = "verify accept";
    struct look_order o;
    char *paths[2];
    size_t n;
    assert_int_equal(ctl_verify_parse(all, &o, paths, 2, &n), 0);
    assert_true(n == 0 && !o.content && !o.repair && !o.accept && !o.gentle);
    assert_int_equal(ctl_verify_parse(some, &o, paths, 2, &n), 0);
    assert_true(n == 2 && o.content && o.repair && !o.accept);
    assert_string_equal(paths[0], "a b/Maildir");
    assert_string_equal(paths[1], ".");
    assert_int_equal(ctl_verify_parse(bad, &o, paths, 2, &n), -EINVAL);
    assert_int_equal(ctl_verify_parse(many, &o, paths, 2, &n), -EINVAL);
    assert_int_equal(ctl_verify_parse(accept, &o, paths, 2, &n), 0);
    assert_true(o.accept && o.content);
}

static void when_it_is_due(void **state) {
    int64_t t = 1000000;
    uint64_t week = 7 * 86400;
    assert_false(verify_is_due(t, 0, 0, 0, 0));
    assert_true(verify_is_due(t, week, 0, t - 3600, 0));
    assert_false(verify_is_due(t, week, 0, t - 3599, 0)); /* just started */
    assert_true(verify_is_due(t, week, t - (int64_t)week, 0, 0));
    assert_false(verify_is_due(t, week, t - (int64_t)week + 1, 0, 0));
    assert_false(verify_is_due(t, week, 0, 0, t - 3599)); /* broken off */
    assert_true(verify_is_due(t, week, 0, 0, t - 3600));
    assert_true(verify_is_due(t, week, t + 5, 0, 0)); /* the clock was set back */
    assert_true(verify_is_due(t, 2, t - 2, t - 2, 0));
    assert_false(verify_is_due(t, 2, 0, t - 1, 0));
}

/* A disk that is breaking: the answer fits into a packet, and says how many there are. */
static void answer_fits(void **state) {
    struct verify_result r = {0};
    struct check_problems all = {0};
    struct json_object *doc, *list, *n;
    char name[256] = "", *text;

    memset(name, 1, sizeof name - 1); /* six bytes each in JSON */
    while (all.n < CHECK_PROBLEMS_MAX)
        assert_non_null(check_problem_add(&all, &mailfs_id_root, CHECK_DAMAGED, name));
    for (size_t i = 0; i < all.n; i++) {
        all.v[i].node = "mx-a";
        all.v[i].path = strdup("/anna/Maildir");
    }
    r.list = all.v;
    r.n = r.problems = all.n;
    text = ctl_verify_format(&r);
    assert_non_null(text);
    assert_true(strlen(text) < LOCAL_PACKET_MAX);
    doc = json_tokener_parse(text);
    assert_true(json_object_object_get_ex(doc, "list", &list));
    assert_in_range(json_object_array_length(list), 50, CHECK_PROBLEMS_MAX - 1);
    assert_true(json_object_object_get_ex(doc, "problems", &n));
    assert_int_equal(json_object_get_int(n), CHECK_PROBLEMS_MAX);
    json_object_put(doc);
    free(text);
    check_problems_free(&all);
}

/* What a verification does not look into is not passed over in silence. */
static void what_is_too_deep(void **state) {
    static _Atomic bool stop;
    struct check_how how = {.content = true, .stop = &stop};
    struct check_problems found = {0};
    struct check_counts counts = {0};
    struct state st = {.root = dir};
    char path[300] = "u";

    for (int i = 0; i < 70; i++) {
        assert_int_equal(mkdirat(dir, path, 0700), 0);
        strcat(path, "/d");
    }
    assert_int_equal(mkdirat(dir, "u/cur", 0700), 0);
    assert_int_equal(check_tree(&st, ".", &how, &found, &counts), 0);
    assert_int_equal(counts.mailboxes, 1);
    assert_int_equal(found.n, 1);
    assert_int_equal(found.v[0].kind, CHECK_UNREADABLE);
    assert_memory_equal(found.v[0].path, "/u/d/d", 6);
    check_problems_free(&found);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(checksum),
        T(hash_in_pieces),
        T(damaged_is_kept),
        T(what_is_too_deep),
        cmocka_unit_test(problems_are_bounded),
        cmocka_unit_test(parted_is_counted_apart),
        cmocka_unit_test(order_does_not_matter),
        cmocka_unit_test(request),
        cmocka_unit_test(answer_fits),
        cmocka_unit_test(when_it_is_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
