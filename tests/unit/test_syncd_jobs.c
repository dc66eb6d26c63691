/* jobs: order within a container, barriers between all of them. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "syncd/jobs.h"

#define DIRS   5
#define ROUNDS 2000

struct shared {
    pthread_mutex_t lock;
    unsigned running[DIRS];
    bool barrier;
    unsigned ran[DIRS]; /* the number of the last job of each container */
    unsigned ran_barriers, errors;
    unsigned done[DIRS];
};

struct one {
    struct shared *s;
    unsigned dir, number;
    bool barrier;
};

static struct mailfs_id id_of(unsigned dir) {
    struct mailfs_id id = {{0}};
    id.b[0] = (uint8_t)dir;
    return id;
}

static void begin(struct one *o) {
    struct shared *s = o->s;
    pthread_mutex_lock(&s->lock);
    s->errors += s->barrier;
    if (o->barrier) {
        for (unsigned d = 0; d < DIRS; d++)
            s->errors += s->running[d] > 0;
        s->barrier = true;
    } else {
        s->errors += s->running[o->dir]++ > 0;
        s->errors += o->number != s->ran[o->dir] + 1;
        s->ran[o->dir] = o->number;
    }
    pthread_mutex_unlock(&s->lock);
}

static void run(void *arg) {
    struct one *o = arg;
    struct shared *s = o->s;
    begin(o);
    for (volatile int i = 0; i < 500; i++)
        ;
    pthread_mutex_lock(&s->lock);
    if (o->barrier) {
        s->barrier = false;
        s->ran_barriers++;
    } else {
        s->running[o->dir]--;
    }
    pthread_mutex_unlock(&s->lock);
}

static void done(void *arg) {
    struct one *o = arg;
    if (!o->barrier) {
        o->s->errors += o->number != o->s->done[o->dir] + 1;
        o->s->done[o->dir] = o->number;
    }
    free(o);
}

static struct one *one_new(struct shared *s, unsigned dir, unsigned number, bool barrier) {
    struct one *o = malloc(sizeof *o);
    *o = (struct one){s, dir, number, barrier};
    return o;
}

static void lanes_and_barriers(void **state) {
    struct shared s = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct workq *wq;
    unsigned submitted[DIRS] = {0}, barriers = 0, seed = 1;
    assert_int_equal(workq_new(4, 1u << 20, &wq), 0);
    struct jobs *jobs = jobs_new(wq, 12345);
    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned dir = (unsigned)rand_r(&seed) % DIRS;
        struct mailfs_id id = id_of(dir);
        if (rand_r(&seed) % 50 == 0) {
            jobs_barrier(jobs, run, done, one_new(&s, 0, 0, true));
            barriers++;
        } else {
            jobs_run(jobs, &id, run, done, one_new(&s, dir, ++submitted[dir], false));
        }
        if (i % 7 == 0)
            workq_poll(wq);
    }
    while (jobs_pending(jobs) > 0)
        workq_drain(wq);
    for (unsigned d = 0; d < DIRS; d++) {
        struct mailfs_id id = id_of(d);
        assert_int_equal(s.done[d], submitted[d]);
        assert_int_equal(jobs_of(jobs, &id), 0);
    }
    assert_int_equal(s.ran_barriers, barriers);
    assert_int_equal(s.errors, 0);
    jobs_free(jobs);
    workq_free(wq);
}

static void note(void *arg) {
    ++*(unsigned *)arg;
}

/* Without run(): done() still comes in its turn, and counts as a job of the container until then.
 */
static void an_empty_job_keeps_its_place(void **state) {
    struct workq *wq;
    unsigned n = 0;
    struct mailfs_id id = id_of(1);
    assert_int_equal(workq_new(2, 100, &wq), 0);
    struct jobs *jobs = jobs_new(wq, 1);
    jobs_run(jobs, &id, NULL, note, &n);
    jobs_barrier(jobs, NULL, NULL, NULL);
    jobs_run(jobs, &id, NULL, note, &n);
    assert_int_equal(jobs_of(jobs, &id), 2);
    assert_int_equal(n, 0);
    while (jobs_pending(jobs) > 0)
        workq_drain(wq);
    assert_int_equal(n, 2);
    jobs_free(jobs);
    workq_free(wq);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lanes_and_barriers),
        cmocka_unit_test(an_empty_job_keeps_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
