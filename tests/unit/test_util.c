/*
 * test_util - ids, buffers, arrays, strings, byte order, log lines, worker threads, clocks
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "util/array.h"
#include "util/buf.h"
#include "util/bytes.h"
#include "util/clock.h"
#include "util/id.h"
#include "util/log.h"
#include "util/str.h"
#include "util/workq.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

/* --- ids, buffers, strings, bytes ------------------------------------------------------------ */

static void test_id_text(void **state) {
    struct mailfs_id a, b;
    char hex[MAILFS_ID_HEX];
    for (int i = 0; i < 100; i++) {
        assert_int_equal(mailfs_id_new(&a), 0);
        assert_false(mailfs_id_is_root(&a));
        assert_int_equal(mailfs_id_parse(mailfs_id_format(&a, hex), &b), 0);
        assert_true(mailfs_id_equal(&a, &b));
        assert_int_equal(strlen(hex), 32);
    }
    assert_int_equal(mailfs_id_parse("000102030405060708090A0b0c0D0e0f", &a), 0);
    for (unsigned i = 0; i < MAILFS_ID_BYTES; i++)
        assert_int_equal(a.b[i], i);
    assert_string_equal(mailfs_id_format(&a, hex), "000102030405060708090a0b0c0d0e0f");
    assert_true(mailfs_id_cmp(&mailfs_id_root, &a) < 0);
    assert_true(mailfs_id_is_root(&mailfs_id_root));
}

static void test_id_refuses(void **state) {
    static const char *const bad[] = {
        "",
        "0",
        "000102030405060708090a0b0c0d0e0",
        "000102030405060708090a0b0c0d0e0f0",
        "000102030405060708090a0b0c0d0e0g",
        " 00102030405060708090a0b0c0d0e0f",
        "00:0102030405060708090a0b0c0d0e0",
    };
    struct mailfs_id id;
    for (size_t i = 0; i < LEN(bad); i++) {
        id = mailfs_id_root;
        assert_int_equal(mailfs_id_parse(bad[i], &id), -EINVAL);
        assert_true(mailfs_id_is_root(&id));
    }
}

static void test_array(void **state) {
    size_t *v = NULL;

    for (size_t n = 0; n < 1000; n++) {
        v = array_room(v, n, sizeof *v);
        assert_non_null(v);
        v[n] = n;
    }
    for (size_t n = 0; n < 1000; n++)
        assert_int_equal(v[n], n);
    assert_ptr_equal(array_room(v, 1000, sizeof *v), v); /* room for 1024 */
    free(v);
}

static void test_buf_grows_to_its_bound(void **state) {
    struct buf b;
    buf_init(&b, 1000);
    assert_string_equal(buf_str(&b), "");
    for (int i = 0; i < 100; i++)
        assert_int_equal(buf_printf(&b, "%09d,", i), 0);
    assert_int_equal(b.len, 1000);
    assert_int_equal(strlen(b.p), 1000);
    assert_memory_equal(b.p + 990, "000000099,", 10);
    assert_int_equal(buf_add_char(&b, 'x'), -EMSGSIZE);
    buf_free(&b);
    assert_int_equal(buf_error(&b), 0);
}

static void test_buf_error_sticks(void **state) {
    struct buf b;
    buf_init(&b, 4);
    assert_int_equal(buf_add_str(&b, "abc"), 0);
    assert_int_equal(buf_add_str(&b, "de"), -EMSGSIZE);
    assert_int_equal(buf_add_str(&b, "d"), -EMSGSIZE); /* it would fit */
    assert_null(buf_reserve(&b, 1));
    assert_int_equal(buf_printf(&b, "%d", 1), -EMSGSIZE);
    assert_int_equal(b.len, 3);
    assert_int_equal(buf_error(&b), -EMSGSIZE);
    buf_reset(&b);
    assert_int_equal(buf_append(&b, "1234", 4), 0);
    size_t n;
    char *p = buf_steal(&b, &n);
    assert_string_equal(p, "1234");
    assert_int_equal(n, 4);
    free(p);
    p = buf_steal(&b, &n); /* nothing, but a string all the same */
    assert_string_equal(p, "");
    assert_int_equal(n, 0);
    free(p);
}

static void test_buf_reserve(void **state) {
    struct buf b;
    buf_init(&b, SIZE_MAX - 1);
    assert_null(buf_reserve(&b, SIZE_MAX)); /* no overflow */
    assert_int_equal(buf_error(&b), -EMSGSIZE);
    buf_reset(&b);
    char *to = buf_reserve(&b, 3);
    assert_non_null(to);
    memcpy(to, "xyz", 3);
    b.len += 3;
    assert_string_equal(buf_str(&b), "xyz");
    assert_int_equal(buf_append(&b, NULL, 0), 0);
    buf_free(&b);
}

static void test_str_never_cuts(void **state) {
    char s[4];
    assert_int_equal(str_copy(s, sizeof s, "abc"), 0);
    assert_string_equal(s, "abc");
    assert_int_equal(str_copy(s, sizeof s, "abcd"), -ENAMETOOLONG);
    assert_string_equal(s, "");
    assert_int_equal(str_copyn(s, sizeof s, "abcd", 3), 0);
    assert_string_equal(s, "abc");
    assert_int_equal(str_printf(s, sizeof s, "%d", 999), 0);
    assert_int_equal(str_printf(s, sizeof s, "%d", 1000), -ENAMETOOLONG);
    assert_string_equal(s, "");
    assert_true(str_starts("tmp/x", "tmp/"));
    assert_false(str_starts("tm", "tmp/"));
    assert_true(str_ends("dovecot-uidlist.lock", ".lock"));
    assert_false(str_ends("lock", ".lock"));
}

static void test_str_to_u64(void **state) {
    static const struct {
        const char *s;
        uint64_t max, value;
        int r;
    } cases[] = {
        {"0", 10, 0, 0},
        {"10", 10, 10, 0},
        {"11", 10, 0, -EINVAL},
        {"18446744073709551615", UINT64_MAX, UINT64_MAX, 0},
        {"18446744073709551616", UINT64_MAX, 0, -EINVAL},
        {"99999999999999999999", UINT64_MAX, 0, -EINVAL},
        {"", 10, 0, -EINVAL},
        {"-1", 10, 0, -EINVAL},
        {" 1", 10, 0, -EINVAL},
        {"1 ", 10, 0, -EINVAL},
        {"0x1", 10, 0, -EINVAL},
    };
    for (size_t i = 0; i < LEN(cases); i++) {
        uint64_t v = 0;
        assert_int_equal(str_to_u64(cases[i].s, cases[i].max, &v), cases[i].r);
        assert_true(v == cases[i].value);
    }
}

static void test_bytes_sort_as_numbers(void **state) {
    uint8_t a[8], b[8];
    bytes_put_u64(a, 0x0102030405060708u);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(a[i], i + 1);
    assert_true(bytes_get_u64(a) == 0x0102030405060708u);
    assert_int_equal(bytes_get_u32(a), 0x01020304);
    assert_int_equal(bytes_get_u16(a), 0x0102);
    bytes_put_u64(a, 255);
    bytes_put_u64(b, 256);
    assert_true(memcmp(a, b, 8) < 0);
    bytes_put_u64(a, UINT64_MAX);
    assert_true(bytes_get_u64(a) == UINT64_MAX);
}

/* --- logs ------------------------------------------------------------------------------------ */

/* What fn writes to stderr; a pipe's 64 KiB are enough for all of it. */
static void capture(void (*fn)(void), char *out, size_t size) {
    int pipefd[2];
    assert_int_equal(pipe(pipefd), 0);
    fflush(stderr);
    int saved = dup(STDERR_FILENO);
    dup2(pipefd[1], STDERR_FILENO);
    close(pipefd[1]);
    fn();
    dup2(saved, STDERR_FILENO);
    close(saved);
    ssize_t n = read(pipefd[0], out, size - 1);
    out[n > 0 ? n : 0] = '\0';
    close(pipefd[0]);
}

static void log_some(void) {
    log_open("test", true);
    log_debug("not shown");
    log_warn("name \"a\nb\x7f\" %d", 7);
}

static void log_utf8(void) {
    errno = ENOENT;
    log_error("M\xc3\xbcll: %s", log_strerror(-ENOENT));
    assert_int_equal(errno, ENOENT);
}

static void log_many(void) {
    for (int i = 0; i < 100; i++)
        log_warn_limited("again");
}

static struct log_limit limit;

static void log_after_many(void) {
    log_msg_limited(&limit, LOG_LVL_INFO, "again");
}

static void log_long(void) {
    char text[3072];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    log_info("%s", text);
}

static void test_log_lines(void **state) {
    char out[8192];
    capture(log_some, out, sizeof out);
    assert_string_equal(out, "test: warning: name \"a?b?\" 7\n");
    capture(log_utf8, out, sizeof out);
    assert_string_equal(out, "test: error: M\xc3\xbcll: No such file or directory\n");
    capture(log_many, out, sizeof out);
    unsigned lines = 0;
    for (const char *p = out; (p = strchr(p, '\n')) != NULL; p++)
        lines++;
    assert_int_equal(lines, LOG_LIMIT_BURST);
    limit = (struct log_limit){.since_ms = clock_ms() - LOG_LIMIT_MS, .shown = 5, .hidden = 95};
    capture(log_after_many, out, sizeof out);
    assert_string_equal(out, "test: info: again (95 more like this)\n");
    capture(log_long, out, sizeof out);
    assert_true(strlen(out) < LOG_LINE_MAX + 64 && str_ends(out, "x\n"));
}

/* --- workers --------------------------------------------------------------------------------- */

#define LANES 7
#define WORKS 2100

struct work {
    unsigned lane, number; /* its place in the lane */
    atomic_int *running;   /* in this lane */
    unsigned *ran, *delivered;
    int *bad;
    const pthread_t *loop;
};

static void work_run(void *arg) {
    struct work *w = arg;
    if (atomic_fetch_add(w->running, 1) != 0 || *w->ran != w->number)
        *w->bad = 1;
    ++*w->ran;
    if (w->number % 16 == 0)
        sched_yield();
    atomic_fetch_sub(w->running, 1);
}

static void work_done(void *arg) {
    struct work *w = arg;
    if (*w->delivered != w->number || !pthread_equal(pthread_self(), *w->loop))
        *w->bad = 1;
    ++*w->delivered;
}

static void test_workq_lanes_keep_order(void **state) {
    static struct work works[WORKS];
    static atomic_int running[LANES];
    unsigned ran[LANES] = {0}, delivered[LANES] = {0};
    int bad = 0;
    pthread_t self = pthread_self();
    struct workq *wq;
    assert_int_equal(workq_new(4, WORKS, &wq), 0);
    for (unsigned i = 0; i < WORKS; i++) {
        unsigned lane = i % LANES;
        works[i] = (struct work){lane, i / LANES, &running[lane], &ran[lane], &delivered[lane],
                                 &bad, &self};
        assert_int_equal(workq_submit(wq, lane, work_run, work_done, &works[i]), 0);
        if (i % 97 == 0)
            workq_poll(wq);
    }
    workq_drain(wq);
    assert_int_equal(workq_pending(wq), 0);
    for (unsigned lane = 0; lane < LANES; lane++) {
        assert_int_equal(ran[lane], WORKS / LANES);
        assert_int_equal(delivered[lane], WORKS / LANES);
    }
    assert_int_equal(bad, 0);
    workq_free(wq);
}

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int open, arrived;
};

#define GATE                                                                                       \
    { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0 }

static void gate_run(void *arg) {
    struct gate *g = arg;
    pthread_mutex_lock(&g->lock);
    g->arrived++;
    pthread_cond_broadcast(&g->cond);
    while (!g->open)
        pthread_cond_wait(&g->cond, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

/* As soon as so many stand before it. */
static void gate_open(struct gate *g, int after) {
    pthread_mutex_lock(&g->lock);
    while (g->arrived < after)
        pthread_cond_wait(&g->cond, &g->lock);
    g->open = 1;
    pthread_cond_broadcast(&g->cond);
    pthread_mutex_unlock(&g->lock);
}

/* With fewer than three at once gate_open() would wait for ever. */
static void test_workq_no_lane_is_parallel(void **state) {
    struct gate g = GATE;
    struct workq *wq;
    assert_int_equal(workq_new(3, 3, &wq), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(workq_submit(wq, WORKQ_NO_LANE, gate_run, NULL, &g), 0);
    gate_open(&g, 3);
    workq_free(wq);
}

static void nothing(void *arg) {
}

static void test_workq_is_bounded(void **state) {
    struct gate g = GATE;
    struct workq *wq;
    assert_int_equal(workq_new(1, 2, &wq), 0);
    assert_int_equal(workq_submit(wq, 1, gate_run, nothing, &g), 0);
    assert_int_equal(workq_submit(wq, 1, gate_run, nothing, &g), 0);
    assert_int_equal(workq_submit(wq, 2, gate_run, NULL, &g), -EAGAIN);
    struct pollfd p = {.fd = workq_fd(wq), .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
    gate_open(&g, 1);
    assert_int_equal(poll(&p, 1, 10000), 1);
    assert_true(workq_poll(wq) >= 1);
    assert_int_equal(workq_submit(wq, 2, gate_run, NULL, &g), 0);
    workq_drain(wq);
    workq_free(wq);
    workq_free(NULL);
}

/* It makes room without anybody being told. */
static void test_workq_without_done(void **state) {
    struct gate g = GATE;
    struct workq *wq;
    assert_int_equal(workq_new(1, 1, &wq), 0);
    assert_int_equal(workq_submit(wq, 1, gate_run, NULL, &g), 0);
    assert_int_equal(workq_pending(wq), 1);
    gate_open(&g, 1);
    workq_drain(wq);
    assert_int_equal(workq_pending(wq), 0);
    struct pollfd p = {.fd = workq_fd(wq), .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
    assert_int_equal(workq_submit(wq, 1, gate_run, NULL, &g), 0);
    workq_free(wq);
}

struct again {
    struct workq *wq;
    int left, failed;
};

static void again_run(void *arg) {
}

static void again_done(void *arg) {
    struct again *a = arg;
    if (--a->left > 0 && workq_submit(a->wq, 5, again_run, again_done, a) != 0)
        a->failed = 1;
}

static void test_workq_submit_from_done(void **state) {
    struct again a = {NULL, 50, 0};
    assert_int_equal(workq_new(2, 1, &a.wq), 0);
    assert_int_equal(workq_submit(a.wq, 5, again_run, again_done, &a), 0);
    workq_drain(a.wq);
    assert_int_equal(a.left, 0);
    assert_int_equal(a.failed, 0);
    workq_free(a.wq);
}

static void test_clock_grows(void **state) {
    uint64_t us = clock_us(), ms = clock_ms();
    assert_true(clock_us() >= us && clock_ms() >= ms && us / 1000 <= ms);
    assert_true(clock_wall_ns() > 1600000000u * (uint64_t)1000000000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_id_text),
        cmocka_unit_test(test_id_refuses),
        cmocka_unit_test(test_array),
        cmocka_unit_test(test_buf_grows_to_its_bound),
        cmocka_unit_test(test_buf_error_sticks),
        cmocka_unit_test(test_buf_reserve),
        cmocka_unit_test(test_str_never_cuts),
        cmocka_unit_test(test_str_to_u64),
        cmocka_unit_test(test_bytes_sort_as_numbers),
        cmocka_unit_test(test_log_lines),
        cmocka_unit_test(test_workq_lanes_keep_order),
        cmocka_unit_test(test_workq_no_lane_is_parallel),
        cmocka_unit_test(test_workq_is_bounded),
        cmocka_unit_test(test_workq_without_done),
        cmocka_unit_test(test_workq_submit_from_done),
        cmocka_unit_test(test_clock_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
