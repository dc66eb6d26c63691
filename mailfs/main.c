/*
 * mailfs - the FUSE side: mail daemons work on its mount, the files lie in the store
 *
 * mailfs [-f] [-c FILE] [VOLUME]
 *
 * Returns 0 once the volume is mounted; with -f it stays in the foreground and logs to stderr, else
 * it goes on as a daemon and logs to syslog. SIGTERM unmounts and stops it; so does an unmount.
 * SIGUSR1 logs how many requests there were. SIGHUP: the program as it lies on disk now takes over,
 * the mount stays.
 *
 * What is started holds the mount (hold.c) and starts itself once more, with -W, to serve it
 * (serve.c).
 *
 * Exit codes: 0 done, 1 failed, 2 usage or configuration.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hold.h"
#include "serve.h"
#include "util/log.h"
#include "util/version.h"
#include "vol.h"

/* vol.timeout_ms where no peer says it. */
enum { TIMEOUT_MS = 3000 };

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static int ready_fd = -1;

static int usage(FILE *to, int code) {
    fprintf(to, "usage: mailfs [-f] [-c FILE] [VOLUME]\n"
                "  -f       stay in the foreground, log to stderr\n"
                "  -c FILE  configuration (default " CONF_DEFAULT_PATH ")\n"
                "  -V       print the version\n"
                "VOLUME may be left out when there is only one.\n");
    return code;
}

/* The process that was called waits for one byte: the exit code. */
static void tell_code(int code) {
    char byte = (char)code;
    if (ready_fd < 0)
        return;
    ssize_t ignored = write(ready_fd, &byte, 1);
    (void)ignored;
    close(ready_fd);
    ready_fd = -1;
}

static void to_background(void) {
    int null = open("/dev/null", O_RDWR);
    log_open("mailfs", false);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        if (null > STDERR_FILENO)
            close(null);
    }
}

static void ready_in_background(void) {
    to_background();
    tell_code(EXIT_OK);
}

static void ready_in_foreground(void) {
}

static int wait_for_code(int fd, pid_t child) {
    char byte;
    ssize_t n;
    waitpid(child, NULL, 0);
    do
        n = read(fd, &byte, 1);
    while (n < 0 && errno == EINTR);
    return n == 1 ? byte : EXIT_FAILED; /* it died before it could say anything */
}

/* Returns in the daemon; the process that was called exits in here, with the daemon's code. */
static int become_daemon(void) {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
        return -errno;
    pid_t child = fork();
    if (child < 0)
        return -errno;
    if (child > 0) {
        close(fds[1]);
        _exit(wait_for_code(fds[0], child));
    }
    close(fds[0]);
    ready_fd = fds[1];
    if (setsid() < 0 || chdir("/") != 0)
        return -errno;
    child = fork(); /* no session leader: it can get no terminal */
    if (child < 0)
        return -errno;
    if (child > 0)
        _exit(0);
    return 0;
}

struct options {
    struct hold_args hold;
    bool is_worker;
    struct serve_fds fds;
};

/* A worker reads it again, whatever the working directory is then. */
static int run_holder(struct hold_args *args) {
    static char conf_path[PATH_MAX];
    if (args->conf_path != NULL && realpath(args->conf_path, conf_path) != NULL)
        args->conf_path = conf_path;
    int r = args->foreground ? 0 : become_daemon();
    if (r != 0) {
        log_error("cannot become a daemon: %s", log_strerror(r));
        return EXIT_FAILED;
    }
    args->ready = args->foreground ? ready_in_foreground : ready_in_background;
    int code = hold(args);
    tell_code(code);
    return code;
}

static int run(struct options *o) {
    struct conf *conf;
    char err[CONF_ERR_MAX];
    int r = conf_load(o->hold.conf_path, &conf, err);
    if (r != 0) {
        log_error("%s", err);
        return EXIT_USAGE;
    }
    vol.conf = conf;
    vol.conf_volume = conf_volume_find(conf, o->hold.volume, err);
    if (vol.conf_volume == NULL) {
        log_error("%s", err);
        conf_free(conf);
        return EXIT_USAGE;
    }
    const struct conf_peer *peer = vol.conf_volume->peer;
    vol.timeout_ms = peer != NULL ? peer->timeout_ms : TIMEOUT_MS;
    if (!o->is_worker)
        return run_holder(&o->hold);
    r = serve(&o->fds, o->hold.foreground ? ready_in_foreground : to_background);
    return r == 0 ? EXIT_OK : EXIT_FAILED;
}

int main(int argc, char **argv) {
    static const struct option longs[] = {
        {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {NULL, 0, NULL, 0}};
    struct options o = {.fds = {-1, -1, -1}};
    int opt;
    log_open("mailfs", true);
    while ((opt = getopt_long(argc, argv, "c:fhVW:", longs, NULL)) != -1) {
        switch (opt) {
        case 'c':
            o.hold.conf_path = optarg;
            break;
        case 'f':
            o.hold.foreground = true;
            break;
        case 'h':
            return usage(stdout, EXIT_OK);
        case 'V':
            printf("mailfs %s\n", MAILFS_VERSION);
            return EXIT_OK;
        case 'W': /* not for people */
            o.is_worker = sscanf(optarg, "%d,%d,%d", &o.fds.ctl, &o.fds.fuse, &o.fds.mem) == 3;
            break;
        default:
            return usage(stderr, EXIT_USAGE);
        }
    }
    if (argc - optind > 1)
        return usage(stderr, EXIT_USAGE);
    o.hold.volume = argv[optind];
    /* Not exit(3): threads are in their loops. */
    int code = run(&o);
    fflush(NULL);
    _exit(code);
}
