/* jobs: order within containers, barriers between all of them; what a transaction touches. */
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
#include "syncd/touched.h"

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
    struct one *more; /* the same job's, of another container */
};

static struct mailfs_id id_of(unsigned dir) {
    struct mailfs_id id = {{0}};
    id.b[0] = (uint8_t)dir;
    return id;
}

static void begin(struct one *o) {
    struct shared *s = o->s;
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
}

static void end(struct one *o) {
    struct shared *s = o->s;
    if (o->barrier) {
        s->barrier = false;
        s->ran_barriers++;
    } else {
        s->running[o->dir]--;
    }
}

static void run(void *arg) {
    struct one *o = arg;
    pthread_mutex_t *lock = &o->s->lock;
    pthread_mutex_lock(lock);
    for (struct one *m = o; m != NULL; m = m->more)
        begin(m);
    pthread_mutex_unlock(lock);
    for (volatile int i = 0; i < 500; i++)
        ;
    pthread_mutex_lock(lock);
    for (struct one *m = o; m != NULL; m = m->more)
        end(m);
    pthread_mutex_unlock(lock);
}

static void done(void *arg) {
    for (struct one *o = arg, *more; o != NULL; o = more) {
        more = o->more;
        if (!o->barrier) {
            o->s->errors += o->number != o->s->done[o->dir] + 1;
            o->s->done[o->dir] = o->number;
        }
        free(o);
    }
}

static struct one *one_new(struct shared *s, unsigned dir, unsigned number, bool barrier) {
    struct one *o = malloc(sizeof *o);
    *o = (struct one){s, dir, number, barrier, NULL};
    return o;
}

/* A job of two or three containers. */
static void run_on_some(struct jobs *jobs, struct shared *s, unsigned first, unsigned *submitted) {
    struct mailfs_id ids[3];
    struct one *all = NULL;
    unsigned n = 2 + first % 2;
    for (unsigned i = 0; i < n; i++) {
        unsigned dir = (first + i) % DIRS;
        ids[i] = id_of(dir);
        struct one *o = one_new(s, dir, ++submitted[dir], false);
        o->more = all;
        all = o;
    }
    jobs_run_on(jobs, ids, n, run, done, all);
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
        } else if (rand_r(&seed) % 3 == 0) {
            run_on_some(jobs, &s, dir, submitted);
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

/* From its start to its end, and not while it waits for what is at work. */
static void a_barrier_is_known(void **state) {
    struct mailfs_id id = id_of(1);
    struct workq *wq;
    unsigned n = 0;
    assert_int_equal(workq_new(2, 100, &wq), 0);
    struct jobs *jobs = jobs_new(wq, 1);
    jobs_run(jobs, &id, NULL, note, &n);
    jobs_barrier(jobs, NULL, note, &n);
    assert_false(jobs_in_barrier(jobs));
    while (n == 0)
        workq_drain(wq);
    assert_true(n == 2 || jobs_in_barrier(jobs));
    while (jobs_pending(jobs) > 0)
        workq_drain(wq);
    assert_false(jobs_in_barrier(jobs));
    jobs_barrier(jobs, NULL, note, &n);
    assert_true(jobs_in_barrier(jobs));
    while (jobs_pending(jobs) > 0)
        workq_drain(wq);
    jobs_free(jobs);
    workq_free(wq);
}

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t opened;
    bool open;
};

static void wait_at(void *arg) {
    struct gate *g = arg;
    pthread_mutex_lock(&g->lock);
    while (!g->open)
        pthread_cond_wait(&g->opened, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static void open_it(void *arg) {
    struct gate *g = arg;
    pthread_mutex_lock(&g->lock);
    g->open = true;
    pthread_cond_signal(&g->opened);
    pthread_mutex_unlock(&g->lock);
}

/* A folder is made while another mailbox has a long job: it does not wait for that; who did would
 * wait here for ever. */
static void passes_what_it_does_not_meet(void **state) {
    struct gate gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
    struct mailfs_id busy = id_of(1), made[] = {id_of(2), id_of(3)};
    struct workq *wq;
    unsigned n = 0;
    assert_int_equal(workq_new(2, 100, &wq), 0);
    struct jobs *jobs = jobs_new(wq, 1);
    jobs_run(jobs, &busy, wait_at, NULL, &gate);
    jobs_run_on(jobs, made, 2, open_it, NULL, &gate);
    jobs_run(jobs, &made[1], NULL, note, &n);
    while (jobs_pending(jobs) > 0)
        workq_drain(wq);
    assert_int_equal(n, 1);
    jobs_free(jobs);
    workq_free(wq);
}

static ProtobufCBinaryData bytes_of(struct mailfs_id *id) {
    return (ProtobufCBinaryData){sizeof id->b, id->b};
}

/* What a transaction touches: by ids. */
static void touched(void **state) {
    struct mailfs_id parent = id_of(1), made = id_of(2), other = id_of(3), to = id_of(4);
    Mfp__OpDirMake make = MFP__OP_DIR_MAKE__INIT;
    Mfp__OpDirMove move = MFP__OP_DIR_MOVE__INIT;
    Mfp__Op op = MFP__OP__INIT, *ops[] = {&op};
    Mfp__Txn tree = MFP__TXN__INIT, mail = MFP__TXN__INIT;
    struct touched a, b;
    tree.dir = bytes_of(&parent);
    tree.ops = ops;
    tree.n_ops = 1;
    op.op_case = MFP__OP__OP_DIR_MAKE;
    op.dir_make = &make;
    make.id = bytes_of(&made);
    touched_by_txn(&tree, &a);
    assert_true(a.tree && !a.all && a.n == 2);
    mail.dir = bytes_of(&other);
    touched_by_txn(&mail, &b);
    assert_false(b.tree);
    assert_false(touched_meet(&a, &b));
    mail.dir = bytes_of(&made);
    touched_by_txn(&mail, &b);
    assert_true(touched_meet(&a, &b));
    op.op_case = MFP__OP__OP_DIR_MOVE;
    op.dir_move = &move;
    move.id = bytes_of(&made);
    move.new_parent = bytes_of(&to);
    touched_by_txn(&tree, &a);
    mail.dir = bytes_of(&to);
    touched_by_txn(&mail, &b);
    assert_true(a.n == 3 && touched_meet(&a, &b));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lanes_and_barriers),
        cmocka_unit_test(an_empty_job_keeps_its_place),
        cmocka_unit_test(a_barrier_is_known),
        cmocka_unit_test(passes_what_it_does_not_meet),
        cmocka_unit_test(touched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
