/*
 * NAME
 *      mailfs-syncd - keeps the same mail on two nodes
 *
 * SYNOPSIS
 *      mailfs-syncd [-f] [-d] [-c FILE]
 *
 * DESCRIPTION
 *      Serves all volumes of the configuration file. Returns 0 once all of them are listening; -f
 *      stays in the foreground and logs to stderr. SIGTERM and SIGINT: a clean stop.
 *
 * DIAGNOSTICS
 *      Exit status 1: something failed; 2: usage, or the configuration (with file and line).
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "mem.h"
#include "process.h"
#include "util/log.h"
#include "util/version.h"
#include "util/workq.h"
#include "volume.h"

#define DISK_THREADS 6
#define IO_THREADS   8
#define JOBS_MAX     (1u << 20)

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct options {
    const char *file;
    bool foreground, debug;
};

static int usage(FILE *to) {
    fputs("usage: mailfs-syncd [-f] [-d] [-c FILE]\n"
          "  -f       stay in the foreground, log to stderr\n"
          "  -d       log more\n"
          "  -c FILE  configuration (" CONF_DEFAULT_PATH ")\n"
          "  -V       print the version\n",
          to);
    return to == stdout ? EXIT_DONE : EXIT_USAGE;
}

/* -1: go on; else the exit status. */
static int options_parse(int argc, char **argv, struct options *o) {
    static const struct option longs[] = {
        {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {NULL, 0, NULL, 0}};
    int c;
    while ((c = getopt_long(argc, argv, "fdc:hV", longs, NULL)) != -1) {
        switch (c) {
        case 'f':
            o->foreground = true;
            break;
        case 'd':
            o->debug = true;
            break;
        case 'c':
            o->file = optarg;
            break;
        case 'h':
            return usage(stdout);
        case 'V':
            puts("mailfs-syncd " MAILFS_VERSION);
            return EXIT_DONE;
        default:
            return usage(stderr);
        }
    }
    return optind == argc ? -1 : usage(stderr);
}

/* ---- the loop ---------------------------------------------------------------------- */

static void jobs_finished(evutil_socket_t fd, short what, void *arg) {
    struct workq *wq = arg;
    workq_poll(wq);
}

static void stop(evutil_socket_t sig, short what, void *arg) {
    struct engine *e = arg;
    log_info("signal %d: stopping", (int)sig);
    for (size_t i = 0; i < e->n_volumes; i++)
        volume_stop(e->volumes[i]);
}

static struct event *watch(struct engine *e, evutil_socket_t fd, short what, event_callback_fn fn,
                           void *arg) {
    struct event *ev = event_new(e->evb, fd, what | EV_PERSIST, fn, arg);
    if (ev == NULL || event_add(ev, NULL) != 0)
        mem_out("an event");
    return ev;
}

static int volumes_open(struct engine *e, char *err, size_t errsize) {
    size_t n = 0;
    int r = 0;
    for (size_t i = 0; i < e->conf->n_volumes; i++)
        n += volume_places(&e->conf->volumes[i]);
    e->volumes = mem_new(n * sizeof *e->volumes);
    for (size_t i = 0; r == 0 && i < e->conf->n_volumes; i++)
        r = volume_open(e, &e->conf->volumes[i], err, errsize);
    return r;
}

static void volumes_close(struct engine *e) {
    for (size_t i = 0; i < e->n_volumes; i++)
        volume_quiet(e->volumes[i]);
    for (int i = 0; i < 3; i++) { /* each may give the others more to do */
        workq_drain(e->slow);
        workq_drain(e->disk);
        workq_drain(e->io);
    }
    for (size_t i = e->n_volumes; i > 0; i--) /* links before what they belong to */
        volume_close(e->volumes[i - 1]);
    free(e->volumes);
}

static int serve(struct engine *e) {
    char err[VOLUME_ERROR_MAX] = "";
    struct event *ev[5] = {watch(e, workq_fd(e->disk), EV_READ, jobs_finished, e->disk),
                           watch(e, workq_fd(e->io), EV_READ, jobs_finished, e->io),
                           watch(e, workq_fd(e->slow), EV_READ, jobs_finished, e->slow),
                           watch(e, SIGTERM, EV_SIGNAL, stop, e),
                           watch(e, SIGINT, EV_SIGNAL, stop, e)};
    int r = volumes_open(e, err, sizeof err);
    if (r != 0) {
        log_error("%s", err);
        process_complain(err);
        process_ready(EXIT_FAILED);
    } else {
        log_info("mailfs-syncd " MAILFS_VERSION ", node %s, %zu volume%s", e->conf->node,
                 e->conf->n_volumes, e->conf->n_volumes == 1 ? "" : "s");
        process_ready(EXIT_DONE);
        event_base_dispatch(e->evb);
    }
    volumes_close(e);
    for (size_t i = 0; i < sizeof ev / sizeof ev[0]; i++)
        event_free(ev[i]);
    log_info("stopped");
    return r == 0 ? EXIT_DONE : EXIT_FAILED;
}

static int run(const struct conf *conf) {
    struct engine e = {.conf = conf};
    process_limits();
    int r = process_drop();
    if (r != 0)
        log_warn("privileges could not be given up: %s", log_strerror(r));
    e.evb = event_base_new();
    if (e.evb == NULL || workq_new(DISK_THREADS, JOBS_MAX, &e.disk) != 0 ||
        workq_new(IO_THREADS, JOBS_MAX, &e.io) != 0 || workq_new(1, JOBS_MAX, &e.slow) != 0 ||
        workq_submit(e.slow, WORKQ_NO_LANE, process_behind_others, NULL, NULL) != 0) {
        log_error("cannot start threads");
        process_ready(EXIT_FAILED);
        return EXIT_FAILED;
    }
    int status = serve(&e);
    workq_free(e.slow);
    workq_free(e.io);
    workq_free(e.disk);
    event_base_free(e.evb);
    return status;
}

int main(int argc, char **argv) {
    struct options o = {0};
    struct conf *conf;
    char err[CONF_ERR_MAX];
    int status = options_parse(argc, argv, &o);
    if (status >= 0)
        return status;
    if (conf_load(o.file, &conf, err) != 0) {
        fprintf(stderr, "mailfs-syncd: %s\n", err);
        return EXIT_USAGE;
    }
    if (!o.foreground && process_detach() != 0) {
        fprintf(stderr, "mailfs-syncd: cannot go into the background: %s\n", strerror(errno));
        return EXIT_FAILED;
    }
    log_open("mailfs-syncd", o.foreground);
    if (o.debug)
        log_set_level(LOG_LVL_DEBUG);
    signal(SIGPIPE, SIG_IGN);
    mem_sparingly();
    status = run(conf);
    conf_free(conf);
    return status;
}
