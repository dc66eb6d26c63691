/*
 * bench_empty - the least that a FUSE server can be, to be measured beside mailfs
 *
 *	bench_empty SOURCE MOUNT UID GID THREADS [SECOND]
 *
 * Shows SOURCE at MOUNT, and serves as that user, to whom all of it must belong: one or two system
 *calls for a request, no rights, no locks, nothing told to anybody; attributes and names live for
 *an hour, as if nobody changed SOURCE otherwise. It gets the requests that a mount with access =
 *"private" gets. What is slower here than below is the kernel's FUSE and two processes instead of
 *one: no server on /dev/fuse is without it.
 *
 * SECOND, a directory of another disk: what is synced is there as well when fsync(2) returns
 *(empty_second.c).
 *
 * Runs until MOUNT is unmounted. linux/fuse.h; kernel: fs/fuse/dev.c.
 */
#include "empty.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

static int device;

static void reply(uint64_t unique, const char *body, long n) {
    struct fuse_out_header head = {.unique = unique};
    size_t size = n > 0 ? (size_t)n : 0;
    head.error = n < 0 ? (int32_t)n : 0;
    head.len = (uint32_t)(sizeof head + size);
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)(uintptr_t)body, size}};
    /* ENOENT: who asked has given up */
    if (writev(device, parts, size > 0 ? 2 : 1) < 0 && errno != ENOENT)
        err(1, "/dev/fuse");
}

static void *serve(void *link) {
    if (link != NULL)
        empty_second_use(*(int *)link);
    char *in = malloc(EMPTY_BUFFER), *out = malloc(EMPTY_BUFFER);
    if (in == NULL || out == NULL)
        err(1, "buffers");
    for (;;) {
        ssize_t n = read(device, in, EMPTY_BUFFER);
        if (n < 0 && errno == ENODEV)
            break;
        if (n < 0 && (errno == ENOENT || errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            err(1, "/dev/fuse");
        struct empty_request r = {.head = (const void *)in, .out = out};
        r.body = r.head + 1;
        long done = empty_answer(&r);
        if (done != EMPTY_SILENT)
            reply(r.head->unique, out, done);
    }
    free(in);
    free(out);
    return NULL;
}

static void mount_at(const char *point) {
    char options[128];
    device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (device < 0)
        err(1, "/dev/fuse");
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other",
             device);
    if (mount("bench_empty", point, "fuse.bench_empty", MS_NOSUID | MS_NODEV, options) != 0)
        err(1, "mount at %s", point);
}

/* A descriptor for each inode that the kernel has in its cache. */
static void many_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        err(1, "open files");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        err(1, "open files");
}

static void become(uid_t uid, gid_t gid) {
    if (setgroups(0, NULL) != 0 || setgid(gid) != 0 || setuid(uid) != 0)
        err(1, "user %u", (unsigned)uid);
}

int main(int argc, char **argv) {
    if (argc != 6 && argc != 7)
        errx(2, "usage: bench_empty SOURCE MOUNT UID GID THREADS [SECOND]");
    umask(0);
    if (empty_node_root(argv[1]) != 0)
        err(1, "%s", argv[1]);
    mount_at(argv[2]);
    many_files();
    become((uid_t)strtoul(argv[3], NULL, 10), (gid_t)strtoul(argv[4], NULL, 10));
    int threads = (int)strtol(argv[5], NULL, 10);
    int *links = argc > 6 ? empty_second_start(argv[6], threads) : NULL;
    for (int i = 1; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve, links == NULL ? NULL : links + i) != 0)
            errx(1, "no thread");
    }
    serve(links);
    return 0;
}
