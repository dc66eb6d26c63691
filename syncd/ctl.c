/*
 * ctl - answers mailfsctl
 *
 * A client may ask several times on one connection; one that is idle, and does not wait for an
 * answer, is closed after a minute.
 *
 * Diagnostics: an unknown request is answered with {"error": …}.
 */
#include "ctl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <utlist.h>

#include "brake.h"
#include "ctl_verify.h"
#include "json_put.h"
#include "mem.h"
#include "net/local.h"
#include "role.h"
#include "status.h"
#include "util/log.h"
#include "util/str.h"
#include "volume.h"

#define IDLE_S      60
#define REQUEST_MAX 65536
#define PATHS_MAX   1000

struct client {
    struct ctl *ctl;
    uint64_t number;
    int fd;
    bool waits; /* for an answer that takes its time: it is not idle */
    struct event *ev;
    struct client *next, *prev;
};

struct ctl {
    struct volume *v;
    int fd;
    struct event *ev;
    struct client *clients;
    unsigned n;
    uint64_t last_number;
};

static void client_free(struct client *c) {
    DL_DELETE(c->ctl->clients, c);
    c->ctl->n--;
    event_free(c->ev);
    close(c->fd);
    free(c);
}

/* Takes text over. */
static int say(struct client *c, char *text) {
    static const char too_long[] = "{\"error\":\"the answer is too long for one packet\"}";
    int r = text == NULL ? -ENOMEM : local_send(c->fd, text, strlen(text), -1);
    free(text);
    return r == -EMSGSIZE ? local_send(c->fd, too_long, strlen(too_long), -1) : r;
}

static void say_late(struct client *c, char *text) {
    c->waits = false;
    say(c, text);
}

static char *status_text(struct volume *v) {
    static struct status_room room; /* loop thread */
    struct status s;
    status_collect(v, &s, &room);
    return status_format(&s);
}

/* One that waits may have gone meanwhile. */
struct waiting {
    struct volume *v; /* which may have no ctl any more */
    uint64_t client;
};

static struct client *who_waited(const struct waiting *w) {
    struct client *c = NULL;
    if (w->v->ctl != NULL)
        DL_SEARCH_SCALAR(w->v->ctl->clients, c, number, w->client);
    return c;
}

static void promoted(void *arg, int err, size_t raised, const char *why) {
    struct waiting *w = arg;
    struct client *c = who_waited(w);
    struct json_object *o = json_object_new_object();
    if (err == 0)
        json_put_int(o, "raised", raised);
    else
        json_put_text(o, "error", why); /* it can name a path, with anything in it */
    if (c != NULL)
        say_late(c, strdup(json_line(o)));
    json_object_put(o);
    free(w);
}

static void wait_for_it(struct client *c, struct waiting **w) {
    *w = mem_new(sizeof **w);
    **w = (struct waiting){c->ctl->v, c->number};
    c->waits = true;
}

static int promote(struct client *c, bool force) {
    struct waiting *w;
    wait_for_it(c, &w);
    role_promote(c->ctl->v, force, promoted, w);
    return 0;
}

static void verified(void *arg, const struct verify_result *result) {
    struct waiting *w = arg;
    struct client *c = who_waited(w);
    if (c != NULL)
        say_late(c, ctl_verify_format(result));
    free(w);
}

static int verify(struct client *c, char *request) {
    static char *paths[PATHS_MAX]; /* loop thread */
    struct look_order order;
    struct waiting *w;
    size_t n;
    if (ctl_verify_parse(request, &order, paths, PATHS_MAX, &n) != 0)
        return say(c,
                   strdup("{\"error\":\"not understood, or more than 1000 mailboxes at a time\"}"));
    wait_for_it(c, &w);
    verify_begin(c->ctl->v->verify, order, paths, n, verified, w);
    return 0;
}

static void put_back(void *arg, const struct brake_back *back) {
    struct waiting *w = arg;
    char text[256];
    struct client *c = who_waited(w);
    if (back->err == 0)
        snprintf(text, sizeof text, "{\"trees\":%zu,\"messages\":%" PRIu64 "}", back->trees,
                 back->messages);
    else
        snprintf(text, sizeof text,
                 "{\"error\":\"%" PRIu64
                 " messages are back, others cannot be put back: %s; the log of "
                 "mailfs-syncd names the mailbox\"}",
                 back->messages, log_strerror(back->err));
    if (c != NULL)
        say_late(c, strdup(text));
    free(w);
}

static int confirm(struct client *c, char *request) {
    char text[64];
    const char *path = strchr(request, '\n');
    if (path != NULL)
        path++;
    if (path != NULL && strcmp(path, ".") == 0)
        path = "";
    if (str_starts(request, "confirm undo")) {
        struct waiting *w;
        wait_for_it(c, &w);
        brake_undo(c->ctl->v->brake, path, put_back, w);
        return 0;
    }
    int n = brake_confirm(c->ctl->v->brake, path);
    if (n < 0)
        return say(c, strdup("{\"error\":\"the record cannot be written: see the log\"}"));
    snprintf(text, sizeof text, "{\"confirmed\":%d}", n);
    return say(c, strdup(text));
}

static int answer(struct client *c, char *request) {
    if (strcmp(request, "status") == 0)
        return say(c, status_text(c->ctl->v));
    if (strcmp(request, "promote") == 0 || strcmp(request, "promote force") == 0)
        return promote(c, strcmp(request, "promote") != 0);
    if (str_starts(request, "confirm"))
        return confirm(c, request);
    if (str_starts(request, "verify"))
        return verify(c, request);
    return say(c, strdup("{\"error\":\"unknown request\"}"));
}

static void readable(evutil_socket_t fd, short what, void *arg) {
    struct client *c = arg;
    static char request[REQUEST_MAX]; /* loop thread */
    if ((what & EV_TIMEOUT) && c->waits)
        return;
    ssize_t n = (what & EV_TIMEOUT) ? 0 : local_recv(fd, request, sizeof request - 1, NULL);
    if (n == -EAGAIN || n == -EINTR)
        return;
    if (n > 0) {
        request[n] = '\0';
        while (n > 0 && (request[n - 1] == '\n' || request[n - 1] == '\r'))
            request[--n] = '\0';
        n = answer(c, request) == 0 ? 1 : -EPIPE;
    }
    if (n <= 0)
        client_free(c);
}

static void acceptable(evutil_socket_t fd, short what, void *arg) {
    struct ctl *ctl = arg;
    struct timeval tv = {.tv_sec = IDLE_S};
    int conn = local_accept(ctl->fd, NULL);
    if (conn < 0)
        return;
    if (ctl->n >= CTL_CLIENTS_MAX)
        client_free(ctl->clients);
    struct client *c = mem_new(sizeof *c);
    c->ctl = ctl;
    c->number = ++ctl->last_number;
    c->fd = conn;
    c->ev = event_new(ctl->v->engine->evb, conn, EV_READ | EV_PERSIST, readable, c);
    if (c->ev == NULL)
        mem_out("an event");
    event_add(c->ev, &tv);
    DL_APPEND(ctl->clients, c);
    ctl->n++;
}

static int ctl_path(const struct volume *v, char path[4096]) {
    return str_printf(path, 4096, "%s/ctl.sock", v->cv->state);
}

int ctl_open(struct volume *v, char *err, size_t errsize) {
    char path[4096] = "";
    struct ctl *ctl = mem_new(sizeof *ctl);
    v->ctl = ctl;
    ctl->v = v;
    ctl->fd = -1;
    int r = ctl_path(v, path);
    if (r == 0)
        r = ctl->fd = local_listen(path);
    if (r < 0) {
        snprintf(err, errsize, "%s: %s", path, log_strerror(r));
        return r;
    }
    ctl->ev = event_new(v->engine->evb, ctl->fd, EV_READ | EV_PERSIST, acceptable, ctl);
    if (ctl->ev == NULL)
        return -ENOMEM;
    event_add(ctl->ev, NULL);
    return 0;
}

void ctl_close(struct volume *v) {
    struct ctl *ctl = v->ctl;
    char path[4096];
    if (ctl == NULL)
        return;
    while (ctl->clients != NULL)
        client_free(ctl->clients);
    if (ctl->ev != NULL)
        event_free(ctl->ev);
    if (ctl->fd >= 0) {
        close(ctl->fd);
        if (ctl_path(v, path) == 0)
            unlink(path);
    }
    free(ctl);
    v->ctl = NULL;
}
