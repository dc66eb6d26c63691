/*
 * volume - the life of one volume: opened in this order, closed in the other
 *
 *   lock file, state on disk, machine, connections, replay of the journal
 *
 * Diagnostics: what is wrong at the start goes to the caller in a sentence. volume_error() logs
 * what `status` shows as the last error.
 */
#include "volume.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>

#include "asks.h"
#include "await.h"
#include "brake.h"
#include "checkpoint.h"
#include "contact.h"
#include "ctl.h"
#include "driver.h"
#include "driver_journal.h"
#include "driver_merge.h"
#include "front.h"
#include "io/file.h"
#include "link_peer.h"
#include "mem.h"
#include "merge_run.h"
#include "oneway.h"
#include "oneway_lock.h"
#include "reread.h"
#include "role.h"
#include "said.h"
#include "stage.h"
#include "txn.h"
#include "undo.h"
#include "verify.h"
#include "watch.h"
#include "util/bytes.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/str.h"
#include "xfer.h"

/* As the machine wants them, see lib/replica/replica.h. */
#define LOCK_WAIT_MS   200
#define MERGE_WAIT_MS  1000
#define FREEZE_MS      5000
#define MERGE_PARALLEL 8
#define MERGE_BYTES    (3u << 20) /* both listings of 20,000 messages */
#define MAX_UNACKED    65536

const char *volume_state_word(enum replica_state s) {
    static const char *const words[] = {"no-peer", "alone", "catching-up", "in-sync"};
    return words[s];
}

uint64_t volume_now(void) {
    return clock_ms();
}

void volume_remember(struct volume *v, const char *text) {
    snprintf(v->last_error, sizeof v->last_error, "%s", text);
    v->last_error_wall_ns = clock_wall_ns();
}

void volume_error(struct volume *v, const char *fmt, ...) {
    char text[VOLUME_ERROR_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    enum said_what said = said_look(&v->said, text, 0, clock_ms());
    if (said != SAID_BEFORE || strcmp(text, v->last_error) != 0)
        volume_remember(v, text);
    log_msg(said == SAID_BEFORE ? LOG_LVL_DEBUG : LOG_LVL_WARN, "volume %s: %s%s", v->cv->name,
            text, said == SAID_TOO_MANY ? SAID_MORE : "");
}

/* ---- opening ----------------------------------------------------------------------- */

/* Held until the process ends, whatever ends it. */
static int lock_take(struct volume *v, char *err, size_t errsize) {
    char path[4096], pid[32];
    int r = str_printf(path, sizeof path, "%s/syncd.pid", v->cv->state);
    if (r != 0)
        return r;
    v->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (v->lock_fd < 0 || flock(v->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        r = -errno;
        if (r == -EWOULDBLOCK)
            snprintf(err, errsize, "%s: another mailfs-syncd serves volume %s", path, v->cv->name);
        else
            snprintf(err, errsize, "volume %s: %s: %s", v->cv->name, path, log_strerror(r));
        return r == -EWOULDBLOCK ? -EADDRINUSE : r;
    }
    int n = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    if (ftruncate(v->lock_fd, 0) != 0 || write(v->lock_fd, pid, (size_t)n) != n)
        log_warn("%s: %s", path, log_strerror(errno)); /* for people only */
    return 0;
}

bool volume_is_watched(const struct volume *v) {
    return (v->main != NULL ? v->main->cv : v->cv)->mode == CONF_MODE_WATCH;
}

static int dir_check(const struct conf_volume *cv, bool state, char *err, size_t errsize) {
    const char *path = state ? cv->state : cv->store;
    struct stat sb;
    int r = stat(path, &sb) != 0 ? -errno : S_ISDIR(sb.st_mode) ? 0 : -ENOTDIR;
    if (r != 0)
        snprintf(err, errsize, "volume %s: %s %s: %s; %s", cv->name, state ? "state" : "store",
                 path, log_strerror(r),
                 state ? "mailfsctl init makes it" : "create it, owned by the user of the mail");
    return r;
}

static int state_begin(struct volume *v, char *err, size_t errsize) {
    struct state_config sc = {.store = v->cv->store,
                              .dir = v->cv->state,
                              .node = v->conf->node,
                              .peer = v->cv->peer != NULL ? v->cv->peer->name : NULL,
                              .main = v->main != NULL ? v->main->state : NULL,
                              .read_only = volume_is_watched(v),
                              .undo = v->cv->keep_s > 0 && !volume_is_watched(v)};
    int r = state_open(&sc, &v->state, &v->start);
    if (r != 0) {
        snprintf(err, errsize, "volume %s: cannot open store %s with state %s: %s", v->cv->name,
                 v->cv->store, v->cv->state, log_strerror(r));
        return r;
    }
    v->had_contact = v->start.had_contact;
    v->blank = !v->start.met;
    return 0;
}

static enum replica_commit commit_of(enum conf_commit c) {
    return c == CONF_COMMIT_DISK     ? REPLICA_COMMIT_DISK
           : c == CONF_COMMIT_MEMORY ? REPLICA_COMMIT_MEMORY
                                     : REPLICA_COMMIT_ASYNC;
}

static int machine_begin(struct volume *v) {
    struct replica_config rc = {.node = v->conf->node,
                                .commit = commit_of(v->cv->commit),
                                .had_contact = v->start.met,
                                .caught_up = v->start.had_contact,
                                .timeout_ms = 3000,
                                .lock_wait_ms = LOCK_WAIT_MS,
                                .merge_wait_ms = MERGE_WAIT_MS,
                                .freeze_ms = FREEZE_MS,
                                .merge_parallel = MERGE_PARALLEL,
                                .merge_bytes = MERGE_BYTES,
                                .oneway = v->main != NULL,
                                .max_unacked = MAX_UNACKED};
    if (v->cv->peer != NULL) {
        rc.peer = v->cv->peer->name;
        rc.timeout_ms = v->cv->peer->timeout_ms;
    }
    rc.first_wait_ms = rc.timeout_ms * 3 / 4;
    if (rc.first_wait_ms < rc.merge_wait_ms)
        rc.first_wait_ms = rc.merge_wait_ms;
    v->machine = replica_new(&rc, volume_now());
    return v->machine == NULL ? -ENOMEM : 0;
}

static void modules_begin(struct volume *v) {
    struct mailfs_id salt = {{0}};
    if (mailfs_id_new(&salt) != 0)
        mem_out("random numbers");
    v->incarnation = bytes_get_u64(salt.b);
    v->jobs =
        v->main != NULL ? v->main->jobs : jobs_new(v->engine->disk, bytes_get_u64(salt.b + 8));
    if (v->main == NULL) {
        v->asks = asks_new(front_mailfs_runs, v);
        jobs_ask(v->jobs, v->asks);
    }
    v->peer = peer_new(v);
    v->txns = txns_new(v);
    v->xfers = xfers_new(v);
    v->journaler = journaler_new(v);
    v->merges = merges_new(v);
}

/* A link's mailfs is its volume's, and status is asked there. */
static int sockets_begin(struct volume *v, char *err, size_t errsize) {
    int r = driver_open(v);
    if (r == 0)
        r = contact_open(v, err, errsize);
    if (v->main != NULL) {
        v->front = v->main->front;
        return r;
    }
    if (r == 0)
        r = front_open(v, err, errsize);
    if (r == 0)
        r = ctl_open(v, err, errsize);
    return r;
}

static struct volume *volume_new(struct engine *engine, const struct conf_volume *cv) {
    struct volume *v = mem_new(sizeof *v);
    v->engine = engine;
    v->conf = engine->conf;
    v->cv = cv;
    v->lock_fd = -1;
    engine->volumes[engine->n_volumes++] = v;
    return v;
}

static int disk_begin(struct volume *v, char *err, size_t errsize) {
    int r = lock_take(v, err, errsize);
    if (r == 0)
        r = state_begin(v, err, errsize);
    if (r == 0 && v->main == NULL)
        r = role_open(v, err, errsize);
    if (r == 0)
        r = machine_begin(v);
    if (r == 0)
        modules_begin(v);
    return r;
}

static int serve_begin(struct volume *v, char *err, size_t errsize) {
    int r = sockets_begin(v, err, errsize);
    if (r == 0)
        r = driver_replay(v);
    if (r != 0)
        return r;
    v->checkpoint = checkpoint_new(v);
    v->brake = v->main == NULL ? brake_new(v) : NULL;
    v->undo = v->main == NULL ? undo_new(v) : NULL; /* it knows what the links need */
    v->verify = verify_new(v);
    v->reread = reread_new(v);
    driver_pump(v);
    return 0;
}

/* ---- one-way links ------------------------------------------------------------------ */

/* What a link is configured as: a volume without listener, front and promise. */
static int link_conf(struct volume *link, size_t i, char *err, size_t errsize) {
    const struct conf_volume *cv = link->main->cv;
    char path[4096];
    link->link_cv = (struct conf_volume){.name = cv->name,
                                         .store = cv->store,
                                         .mount = cv->mount,
                                         .commit = CONF_COMMIT_ASYNC,
                                         .keep_s = cv->keep_s,
                                         .peer = &cv->links[i]};
    link->cv = &link->link_cv;
    int r = str_printf(path, sizeof path, "%s/links/%s", cv->state, cv->links[i].name);
    if (r == 0)
        r = io_mkdirs(path, 0700);
    if (r == 0 && (link->link_cv.state = strdup(path)) == NULL)
        r = -ENOMEM;
    if (r != 0)
        snprintf(err, errsize, "state: %s: %s", path, log_strerror(r));
    return r;
}

static int link_begin(struct volume *v, size_t i, char *err, size_t errsize) {
    struct volume *link = volume_new(v->engine, NULL);
    link->main = v;
    link->link_index = i;
    int r = link_conf(link, i, err, errsize);
    if (r == 0)
        r = disk_begin(link, err, errsize);
    if (r != 0)
        return r;
    merge_broken_off(link->state, role_of(link).standby);
    link->oneway = oneway_new(link);
    v->links[v->n_links++] = link;
    return oneway_take_marks(link);
}

size_t volume_places(const struct conf_volume *cv) {
    return 1 + cv->n_links;
}

int volume_open(struct engine *engine, const struct conf_volume *cv, char *err, size_t errsize) {
    struct volume *v = volume_new(engine, cv);
    snprintf(err, errsize, "volume %s: cannot be opened", cv->name);
    const char *lacks = conf_volume_lacks(cv);
    int r = lacks != NULL ? -EINVAL : dir_check(cv, true, err, errsize);
    if (lacks != NULL)
        snprintf(err, errsize, "volume %s: %s", cv->name, lacks);
    if (r == 0)
        r = dir_check(cv, false, err, errsize);
    if (r == 0)
        r = disk_begin(v, err, errsize);
    v->links = mem_new((cv->n_links + 1) * sizeof *v->links);
    for (size_t i = 0; r == 0 && i < cv->n_links; i++)
        r = link_begin(v, i, err, errsize);
    v->await = r == 0 && v->n_links > 0 ? await_new(v) : NULL;
    if (r == 0)
        r = serve_begin(v, err, errsize);
    for (size_t i = 0; r == 0 && i < v->n_links; i++)
        r = serve_begin(v->links[i], err, errsize);
    if (r == 0 && volume_is_watched(v))
        r = watch_open(v, err, errsize);
    return r;
}

/* ---- closing ----------------------------------------------------------------------- */

void volume_stop(struct volume *v) {
    if (v->stopping)
        return;
    v->stopping = true;
    v->engine->closing++;
    verify_stop(v->verify);
    checkpoint_stop(v->checkpoint);
}

void volume_stopped(struct volume *v) {
    contact_stop(v, "it was stopped");
    driver_pump(v);
}

void volume_disconnected(struct volume *v) {
    if (--v->engine->closing == 0)
        event_base_loopbreak(v->engine->evb);
}

void volume_quiet(struct volume *v) {
    if (v == NULL || v->jobs == NULL)
        return;
    v->stopping = true;
    watch_stop(v->watch);
    driver_close(v); /* from here on the machine is no longer asked what to do */
    if (v->main == NULL)
        ctl_close(v);
    verify_stop(v->verify);
    undo_quiet(v->undo);
    brake_quiet(v->brake);
    reread_quiet(v->reread);
    if (v->checkpoint != NULL)
        checkpoint_free(v->checkpoint);
    v->checkpoint = NULL;
}

void volume_close(struct volume *v) {
    if (v == NULL)
        return;
    undo_free(v->undo);
    brake_free(v->brake);
    verify_free(v->verify);
    reread_free(v->reread);
    if (v->jobs != NULL) {
        contact_close(v);
        if (v->main == NULL)
            front_close(v);
        merges_free(v->merges);
        journaler_free(v->journaler);
        xfers_free(v->xfers);
        txns_free(v->txns);
        peer_free(v->peer);
        oneway_free(v->oneway);
        oneway_locks_free(v);
        await_free(v->await);
        if (v->main == NULL)
            jobs_free(v->jobs);
        asks_free(v->asks);
    }
    if (v->machine != NULL)
        replica_free(v->machine);
    if (v->state != NULL)
        stage_keep_fetched(v->state); /* else it is fetched again */
    state_close(v->state);
    if (v->lock_fd >= 0)
        close(v->lock_fd);
    role_close(v->role);
    watch_free(v->watch);
    said_free(&v->said);
    free(v->links);
    free(v->link_cv.state);
    free(v);
}
