/*
 * loop - requests from the kernel to the callbacks
 *
 * A thread that takes a request while no other one is waiting for the next starts another, up to
 * LOOP_THREADS; they stay. Buffers are in memory from the beginning, and stay there: a thread that
 * is killed while the kernel copies a request into memory that is not there makes that request
 * fail.
 *
 * Diagnostics: error: the kernel's device cannot be read.
 */
#include "vol.h"

#include "loop.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "keep.h"
#include "linger.h"
#include "note.h"
#include "ops.h"
#include "util/log.h"

/* The kernel wants room for the headers as well. */
#define BUFFER_SIZE ((size_t)LOOP_WRITE_MAX + 4096)

#define NOTIFY_RESEND 7 /* FUSE_NOTIFY_RESEND, of Linux 6.9 */

static int fd = -1, ended_fd = -1;
static _Atomic int threads, waiting;

/* The size; 0: the file system was unmounted; or -errno. */
static ssize_t request_read(void *buf) {
    for (;;) {
        ssize_t n = read(fd, buf, BUFFER_SIZE);
        if (n >= (ssize_t)sizeof(struct fuse_in_header))
            return n;
        if (n >= 0)
            return -EIO;
        if (errno == ENODEV)
            return 0;
        /* ENOENT: it was interrupted while it was being read */
        if (errno != EINTR && errno != EAGAIN && errno != ENOENT)
            return -errno;
    }
}

static void request_run(void *buf, size_t n) {
    const struct fuse_in_header *h = buf;
    struct fuse_buf b = {.mem = buf, .size = n};
    note_request(h->unique);
    fuse_session_process_buf(vol.se, &b);
    note_done();
}

static int thread_start(void);

static void *serve_requests(void *arg) {
    void *buf = keep_zeroed(BUFFER_SIZE, true);
    ssize_t n = -ENOMEM;
    if (buf != NULL)
        mlock(buf, BUFFER_SIZE); /* where it may not be, it is rarely swapped */
    while (buf != NULL && (n = request_read(buf)) > 0) {
        if (atomic_fetch_sub(&waiting, 1) <= 1)
            thread_start(); /* if it cannot be: it is served by those there are */
        request_run(buf, (size_t)n);
        atomic_fetch_add(&waiting, 1);
        linger(fd);
    }
    atomic_fetch_sub(&waiting, 1);
    atomic_fetch_sub(&threads, 1);
    if (buf != NULL)
        munmap(buf, BUFFER_SIZE);
    if (n < 0)
        log_error("a thread that serves requests ends: %s", log_strerror((int)n));
    if (n == 0 || atomic_load(&threads) == 0) {
        uint64_t one = 1;
        ssize_t ignored = write(ended_fd, &one, sizeof one);
        (void)ignored;
    }
    return NULL;
}

static int thread_start(void) {
    pthread_t thread;
    if (atomic_fetch_add(&threads, 1) >= LOOP_THREADS) {
        atomic_fetch_sub(&threads, 1);
        return -EAGAIN;
    }
    atomic_fetch_add(&waiting, 1);
    int r = pthread_create(&thread, NULL, serve_requests, NULL);
    if (r != 0) {
        atomic_fetch_sub(&waiting, 1);
        atomic_fetch_sub(&threads, 1);
        return -r;
    }
    pthread_detach(thread);
    return 0;
}

int loop_start(int ended) {
    ended_fd = ended;
    linger_init();
    return thread_start();
}

int loop_open(int fuse_fd, void (*init)(void *userdata, struct fuse_conn_info *conn)) {
    static char prog[] = "mailfs";
    char *argv[] = {prog, NULL};
    char path[32];
    struct fuse_args args = FUSE_ARGS_INIT(1, argv);
    struct fuse_lowlevel_ops ops = ops_table;
    ops.init = init;
    vol.se = fuse_session_new(&args, &ops, sizeof ops, NULL);
    fuse_opt_free_args(&args);
    snprintf(path, sizeof path, "/dev/fd/%d", fuse_fd);
    if (vol.se == NULL || fuse_session_mount(vol.se, path) != 0)
        return -EIO;
    fd = fuse_fd;
    return 0;
}

/* The kernel's own, which is the first that it sends. */
static int init_first(void *buf) {
    ssize_t n = request_read(buf);
    const struct fuse_in_header *h = buf;
    if (n <= 0)
        return n == 0 ? -ENODEV : (int)n;
    if (h->opcode != FUSE_INIT || n > (ssize_t)sizeof keep.head->init)
        return -EPROTO;
    memcpy(keep.head->init, buf, (size_t)n);
    request_run(buf, (size_t)n);
    atomic_store(&keep.head->init_size, (uint32_t)n);
    return 0;
}

int loop_init(void) {
    void *buf = keep_zeroed(BUFFER_SIZE, true);
    size_t n = atomic_load(&keep.head->init_size);
    int r = 0;
    if (buf == NULL)
        return -ENOMEM;
    if (n == 0) {
        r = init_first(buf);
    } else {
        memcpy(buf, keep.head->init, n);
        request_run(buf, n); /* nobody waits for this reply: ENOENT, which libfuse ignores */
    }
    munmap(buf, BUFFER_SIZE);
    return r;
}

int loop_resend(void) {
    struct fuse_out_header out = {.len = sizeof out, .error = NOTIFY_RESEND};
    ssize_t n = write(fd, &out, sizeof out);
    int r = n == (ssize_t)sizeof out ? 0 : -errno;
    note_stop_at("resent");
    note_resent();
    return r;
}
