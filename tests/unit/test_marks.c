/* Marks: what is put is there after a reopen, generations decide, clearing spares newer ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/marks.h"
#include "tests/unit/scratch.h"

static struct mailfs_id id_of(unsigned n) {
    struct mailfs_id id = {{0}};
    id.b[0] = (uint8_t)(n >> 8);
    id.b[15] = (uint8_t)n;
    return id;
}

static struct mark mark_of(unsigned n, uint64_t gen, const char *path) {
    struct mark m = {.dir = id_of(n), .gen = gen, .path = path};
    m.handle.len = 8;
    m.handle.type = 1;
    memset(m.handle.b, (int)n, 8);
    return m;
}

struct seen {
    size_t n;
    uint64_t gens[16];
    char paths[16][MARKS_PATH_MAX + 1];
    struct io_handle handles[16];
    int stop_with;
};

static int see(const struct mark *m, void *arg) {
    struct seen *s = arg;
    s->gens[s->n] = m->gen;
    s->handles[s->n] = m->handle;
    strcpy(s->paths[s->n], m->path);
    s->n++;
    return s->stop_with;
}

static void test_put_and_reopen(void **state) {
    struct marks *m;
    struct seen s = {0};
    struct mark batch[] = {mark_of(2, 1, "user/.Sent"), mark_of(1, 1, ""), mark_of(0, 1, NULL)};
    assert_int_equal(marks_open(*state, &m), 0);
    assert_int_equal(marks_put(m, batch, 3), 0);
    marks_close(m);
    assert_int_equal(marks_open(*state, &m), 0);
    assert_int_equal(marks_each(m, see, &s), 0);
    assert_int_equal(s.n, 3);
    assert_string_equal(s.paths[0], "");
    assert_string_equal(s.paths[2], "user/.Sent");
    assert_memory_equal(&s.handles[2], &batch[0].handle, sizeof s.handles[2]);
    marks_close(m);
}

static void test_higher_generation_wins(void **state) {
    struct marks *m;
    struct seen s = {0};
    struct mark new = mark_of(1, 5, "x"), old = mark_of(1, 4, "y");
    assert_int_equal(marks_open(*state, &m), 0);
    assert_int_equal(marks_put(m, &new, 1), 0);
    assert_int_equal(marks_put(m, &old, 1), 0);
    assert_int_equal(marks_each(m, see, &s), 0);
    assert_int_equal(s.n, 1);
    assert_int_equal(s.gens[0], 5);
    assert_string_equal(s.paths[0], "x");
    marks_close(m);
}

static void test_clear_spares_newer(void **state) {
    struct marks *m;
    uint64_t n;
    struct mark batch[] = {mark_of(1, 1, ""), mark_of(2, 2, ""), mark_of(3, 3, "")};
    struct mailfs_id ids[] = {id_of(1), id_of(2), id_of(3), id_of(9)};
    assert_int_equal(marks_open(*state, &m), 0);
    assert_int_equal(marks_put(m, batch, 3), 0);
    assert_int_equal(marks_clear(m, ids, 4, 2), 0);
    assert_int_equal(marks_count(m, &n), 0);
    assert_int_equal(n, 1);
    struct seen s = {0};
    assert_int_equal(marks_each(m, see, &s), 0);
    assert_int_equal(s.gens[0], 3);
    assert_int_equal(marks_clear(m, NULL, 0, 9), 0);
    marks_close(m);
}

static void test_each_stops(void **state) {
    struct marks *m;
    struct mark batch[] = {mark_of(1, 1, ""), mark_of(2, 1, "")};
    struct seen s = {.stop_with = -2}; /* -ENOENT, which the end of the table gives, too */
    assert_int_equal(marks_open(*state, &m), 0);
    assert_int_equal(marks_put(m, batch, 2), 0);
    assert_int_equal(marks_each(m, see, &s), -2);
    assert_int_equal(s.n, 1);
    marks_close(m);
}

static void test_long_path_keeps_its_end(void **state) {
    struct marks *m;
    char path[MARKS_PATH_MAX + 100];
    struct seen s = {0};
    memset(path, 'a', sizeof path);
    strcpy(path + sizeof path - 4, "end");
    struct mark mark = mark_of(1, 1, path);
    assert_int_equal(marks_open(*state, &m), 0);
    assert_int_equal(marks_put(m, &mark, 1), 0);
    assert_int_equal(marks_each(m, see, &s), 0);
    assert_int_equal(strlen(s.paths[0]), MARKS_PATH_MAX);
    assert_string_equal(s.paths[0] + MARKS_PATH_MAX - 3, "end");
    marks_close(m);
}

static void test_generation(void **state) {
    struct marks *m;
    uint64_t gen;
    assert_int_equal(marks_open(*state, &m), 0);
    assert_int_equal(marks_generation(m, &gen), 0);
    assert_int_equal(gen, 1);
    assert_int_equal(marks_generation_raise(m, 7), 0);
    assert_int_equal(marks_generation_raise(m, 3), 0);
    marks_close(m);
    assert_int_equal(marks_open(*state, &m), 0);
    assert_int_equal(marks_generation(m, &gen), 0);
    assert_int_equal(gen, 7);
    marks_close(m);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static int scratch_fd;

static int setup(void **state) {
    *state = malloc(SCRATCH_PATH);
    if (*state == NULL)
        return 1;
    scratch_fd = scratch_make(*state);
    return 0;
}

static int teardown(void **state) {
    scratch_remove(*state, scratch_fd);
    free(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_put_and_reopen), T(test_higher_generation_wins),  T(test_clear_spares_newer),
        T(test_each_stops),     T(test_long_path_keeps_its_end), T(test_generation),
    };
    return cmocka_run_group_tests_name("marks", tests, NULL, NULL);
}
