/*
 * workq - worker threads with ordered lanes, finished jobs handed to an event loop
 *
 * A lane that has a job running or queued is in the hash `lanes`; its first job is the only one of
 * it that the ready list or a worker may hold, the others wait in the lane. A finished job goes to
 * `finished` *before* the next of its lane becomes ready, which keeps the order of deliveries.
 *
 * Who is woken is woken after the lock was given up: otherwise a thread that wakes at once goes
 * back to sleep on the lock. A worker that makes a job ready wakes nobody: it takes one itself
 * next. (With sixteen deliveries at once 11.1 context switches of the receiving syncd for each,
 * not 12.6; 4.7 of the sending one, not 5.5.) A job without done() is over when it has run: nobody
 * is told. (With one delivery after the other 2.0 context switches of the receiving mailfs for
 * each, not 3.0.)
 *
 * Diagnostics: none; errors are returned.
 */
#include "util/workq.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <uthash.h>
#include <utlist.h>

struct job {
    workq_fn *run;
    workq_fn *done;
    void *arg;
    struct lane *lane; /* NULL: WORKQ_NO_LANE */
    struct job *next;
    struct job *prev; /* utlist's doubly-linked list: constant-time append */
};

struct lane {
    uint64_t key;
    struct job *waiting; /* behind the one that is ready or running */
    UT_hash_handle hh;
};

struct workq {
    pthread_mutex_t lock;
    pthread_cond_t ready_cond;    /* ready != NULL or stop */
    pthread_cond_t finished_cond; /* finished != NULL */
    struct job *ready;
    struct job *finished;
    struct lane *lanes;
    size_t pending; /* submitted, not delivered */
    size_t max_jobs;
    bool stop;
    int fd;
    unsigned n_threads;
    pthread_t threads[];
};

/* Under the lock. 1: a job of a free lane, or of none, is ready; 0: it waits in its lane. */
static int workq_place(struct workq *wq, uint64_t key, struct job *job) {
    struct lane *lane = NULL;
    if (key != WORKQ_NO_LANE) {
        HASH_FIND(hh, wq->lanes, &key, sizeof key, lane);
        if (lane != NULL) {
            job->lane = lane;
            DL_APPEND(lane->waiting, job);
            return 0;
        }
        lane = calloc(1, sizeof *lane);
        if (lane == NULL)
            return -ENOMEM;
        lane->key = key;
        HASH_ADD(hh, wq->lanes, key, sizeof lane->key, lane);
    }
    job->lane = lane;
    DL_APPEND(wq->ready, job);
    return 1;
}

int workq_submit(struct workq *wq, uint64_t lane, workq_fn *run, workq_fn *done, void *arg) {
    struct job *job = calloc(1, sizeof *job);
    if (job == NULL)
        return -ENOMEM;
    *job = (struct job){.run = run, .done = done, .arg = arg};
    pthread_mutex_lock(&wq->lock);
    int r = wq->pending >= wq->max_jobs ? -EAGAIN : workq_place(wq, lane, job);
    if (r >= 0)
        wq->pending++;
    pthread_mutex_unlock(&wq->lock);
    if (r < 0)
        free(job);
    if (r > 0)
        pthread_cond_signal(&wq->ready_cond);
    return r < 0 ? r : 0;
}

/* Under the lock: the next job of a lane whose first has run, or the end of the lane. */
static void workq_lane_next(struct workq *wq, struct lane *lane) {
    struct job *next = lane->waiting;
    if (next == NULL) {
        HASH_DELETE(hh, wq->lanes, lane);
        free(lane);
        return;
    }
    DL_DELETE(lane->waiting, next);
    DL_APPEND(wq->ready, next);
}

/* Under the lock: true if whoever delivers is to be told. */
static bool workq_job_finished(struct workq *wq, struct job *job) {
    bool first = wq->finished == NULL && job->done != NULL;
    struct lane *lane = job->lane;
    if (job->done != NULL) {
        DL_APPEND(wq->finished, job);
    } else {
        free(job);
        wq->pending--;
    }
    if (lane != NULL)
        workq_lane_next(wq, lane);
    pthread_cond_signal(&wq->finished_cond); /* in workq_drain(), if anywhere */
    return first;
}

static void workq_tell(const struct workq *wq) {
    uint64_t one = 1;
    ssize_t r = write(wq->fd, &one, sizeof one);
    (void)r; /* EAGAIN would mean that it is readable already */
}

static void *workq_thread(void *arg) {
    struct workq *wq = arg;
    pthread_mutex_lock(&wq->lock);
    for (;;) {
        while (wq->ready == NULL && !wq->stop)
            pthread_cond_wait(&wq->ready_cond, &wq->lock);
        if (wq->ready == NULL)
            break;
        struct job *job = wq->ready;
        DL_DELETE(wq->ready, job);
        pthread_mutex_unlock(&wq->lock);
        job->run(job->arg);
        pthread_mutex_lock(&wq->lock);
        if (workq_job_finished(wq, job)) {
            pthread_mutex_unlock(&wq->lock);
            workq_tell(wq);
            pthread_mutex_lock(&wq->lock);
        }
    }
    pthread_mutex_unlock(&wq->lock);
    return NULL;
}

/* Signals are for the owner's thread: a worker is born with all of them blocked. */
static int workq_start_threads(struct workq *wq, unsigned threads) {
    sigset_t all, old;
    int r = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (r == 0 && wq->n_threads < threads) {
        r = -pthread_create(&wq->threads[wq->n_threads], NULL, workq_thread, wq);
        if (r == 0)
            wq->n_threads++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return r;
}

int workq_new(unsigned threads, size_t max_jobs, struct workq **out) {
    struct workq *wq = calloc(1, sizeof *wq + threads * sizeof wq->threads[0]);
    if (wq == NULL)
        return -ENOMEM;
    wq->max_jobs = max_jobs;
    wq->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wq->fd < 0) {
        int r = -errno;
        free(wq);
        return r;
    }
    pthread_mutex_init(&wq->lock, NULL);
    pthread_cond_init(&wq->ready_cond, NULL);
    pthread_cond_init(&wq->finished_cond, NULL);
    int r = workq_start_threads(wq, threads);
    if (r != 0) {
        workq_free(wq);
        return r;
    }
    *out = wq;
    return 0;
}

int workq_fd(const struct workq *wq) {
    return wq->fd;
}

/* Delivers a list that is nobody else's any more; pending sinks one by one, before each done(). */
static size_t workq_deliver(struct workq *wq, struct job *list) {
    size_t n = 0;
    while (list != NULL) {
        struct job *job = list;
        DL_DELETE(list, job);
        pthread_mutex_lock(&wq->lock);
        wq->pending--;
        pthread_mutex_unlock(&wq->lock);
        job->done(job->arg);
        free(job);
        n++;
    }
    return n;
}

size_t workq_poll(struct workq *wq) {
    uint64_t count;
    pthread_mutex_lock(&wq->lock);
    ssize_t r = read(wq->fd, &count, sizeof count);
    (void)r; /* EAGAIN: nobody had written */
    struct job *list = wq->finished;
    wq->finished = NULL;
    pthread_mutex_unlock(&wq->lock);
    return workq_deliver(wq, list);
}

size_t workq_pending(struct workq *wq) {
    pthread_mutex_lock(&wq->lock);
    size_t n = wq->pending;
    pthread_mutex_unlock(&wq->lock);
    return n;
}

void workq_drain(struct workq *wq) {
    for (;;) {
        pthread_mutex_lock(&wq->lock);
        while (wq->pending > 0 && wq->finished == NULL)
            pthread_cond_wait(&wq->finished_cond, &wq->lock);
        bool over = wq->pending == 0;
        pthread_mutex_unlock(&wq->lock);
        if (over)
            return;
        workq_poll(wq);
    }
}

void workq_free(struct workq *wq) {
    if (wq == NULL)
        return;
    workq_drain(wq);
    pthread_mutex_lock(&wq->lock);
    wq->stop = true;
    pthread_cond_broadcast(&wq->ready_cond);
    pthread_mutex_unlock(&wq->lock);
    for (unsigned i = 0; i < wq->n_threads; i++)
        pthread_join(wq->threads[i], NULL);
    pthread_cond_destroy(&wq->finished_cond);
    pthread_cond_destroy(&wq->ready_cond);
    pthread_mutex_destroy(&wq->lock);
    close(wq->fd);
    free(wq);
}
