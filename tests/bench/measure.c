/*
 * measure - see measure.h
 */
#include "measure.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct worker {
    size_t n;
    uint64_t end;
};

struct run {
    pthread_barrier_t barrier;
    uint64_t start;
    unsigned n_workers;
    size_t most;
    uint64_t *ns; /* most of each worker, one after the other */
    struct worker worker[];
};

uint64_t clock_now(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

void die(const char *what, const char *name) {
    int err = errno;
    fprintf(stderr, "%s %s: %s\n", what, name, strerror(err));
    exit(1);
}

unsigned long number(const char *word, unsigned long least) {
    char *end;
    unsigned long n = strtoul(word, &end, 10);
    if (*word == '\0' || *end != '\0' || n < least) {
        errno = EINVAL;
        die("not a number that will do:", word);
    }
    return n;
}

static void *shared(size_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        die("mmap", "of the workers' times");
    return p;
}

struct run *run_new(unsigned n_workers, size_t most) {
    struct run *r = shared(sizeof *r + n_workers * sizeof r->worker[0]);
    pthread_barrierattr_t attr;
    r->n_workers = n_workers;
    r->most = most;
    r->ns = shared((n_workers * most + 1) * sizeof *r->ns);
    pthread_barrierattr_init(&attr);
    pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&r->barrier, &attr, n_workers);
    return r;
}

static void child(struct run *r, unsigned i, run_worker *ready, run_worker *work, void *arg) {
    if (ready != NULL)
        ready(r, i, arg);
    if (pthread_barrier_wait(&r->barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
        r->start = clock_now();
    work(r, i, arg);
    r->worker[i].end = clock_now();
    exit(0);
}

void run_all(struct run *r, run_worker *ready, run_worker *work, void *arg) {
    fflush(NULL);
    for (unsigned i = 0; i < r->n_workers; i++) {
        pid_t pid = fork();
        if (pid < 0)
            die("fork", "of a worker");
        if (pid == 0)
            child(r, i, ready, work, arg);
    }
    for (unsigned i = 0; i < r->n_workers; i++) {
        int status;
        if (wait(&status) < 0)
            die("wait", "for a worker");
        if (status != 0) /* the others may wait for it at the barrier */
            kill(0, SIGTERM);
    }
}

void run_note_ns(struct run *r, unsigned worker, uint64_t ns) {
    struct worker *w = &r->worker[worker];
    if (w->n < r->most)
        r->ns[worker * r->most + w->n++] = ns;
}

void run_note(struct run *r, unsigned worker, uint64_t began) {
    run_note_ns(r, worker, clock_now() - began);
}

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Brings all times to the front, in order. */
static size_t gather(struct run *r) {
    size_t n = 0;
    for (unsigned i = 0; i < r->n_workers; i++) {
        memmove(r->ns + n, r->ns + i * r->most, r->worker[i].n * sizeof *r->ns);
        n += r->worker[i].n;
    }
    qsort(r->ns, n, sizeof *r->ns, by_size);
    return n;
}

static double seconds_of(const struct timeval *t) {
    return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

void run_print(struct run *r) {
    struct rusage u;
    uint64_t end = 0;
    for (unsigned i = 0; i < r->n_workers; i++)
        end = r->worker[i].end > end ? r->worker[i].end : end;
    size_t n = gather(r);
    getrusage(RUSAGE_CHILDREN, &u);
    printf("{\"ops\": %zu, \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"cpu\": %.4f}\n",
           n, (double)(end - r->start) / 1e9, n > 0 ? (double)r->ns[n / 2] / 1e3 : 0,
           n > 0 ? (double)r->ns[n * 99 / 100] / 1e3 : 0,
           seconds_of(&u.ru_utime) + seconds_of(&u.ru_stime));
}
