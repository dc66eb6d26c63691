/*
 * serve - the worker: serves one mount, from the beginning or from where another one died
 *
 * Diagnostics: error: what keeps it from serving. info: mounted; taken over.
 */
#include "serve.h"

#include "vol.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "change.h"
#include "cred.h"
#include "file.h"
#include "hold.h"
#include "inode.h"
#include "keep.h"
#include "lock.h"
#include "lock_end.h"
#include "loop.h"
#include "mount.h"
#include "note.h"
#include "notify.h"
#include "poke.h"
#include "prepare.h"
#include "reserve.h"
#include "role.h"
#include "upcall.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/workq.h"
#include "watch.h"

struct vol vol = {.store_fd = -1, .internal_fd = -1, .undo_fd = -1};

static void init(void *userdata, struct fuse_conn_info *conn) {
    /* The kernel clears set-id bits itself then, by SETATTR: our capabilities would keep them. */
    conn->want &= ~(unsigned)FUSE_CAP_HANDLE_KILLPRIV;
    /* Every request fits a buffer we have anyway. */
    conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
    conn->want &= ~(unsigned)(FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_IOCTL_DIR | FUSE_CAP_POSIX_LOCKS |
                              FUSE_CAP_FLOCK_LOCKS);
#ifdef FUSE_CAP_OVER_IO_URING /* libfuse 3.18, which its environment can tell to use it */
    /* What a ring was given does not come again when a worker dies (docs/SCALING.md). */
    conn->want &= ~(unsigned)FUSE_CAP_OVER_IO_URING;
#endif
    /* Else one mutex per directory serialises lookups and listings. */
    conn->want |= conn->capable & FUSE_CAP_PARALLEL_DIROPS;
    conn->max_write = LOOP_WRITE_MAX;
    conn->max_background = LOOP_THREADS / 2;
    conn->congestion_threshold = LOOP_THREADS / 2;
    conn->time_gran = 1;
}

/* Directories, open files and requests each take one. */
static void raise_descriptors(void) {
    struct rlimit l;
    FILE *f = fopen("/proc/sys/fs/nr_open", "re");
    unsigned long most = 0;
    if (f != NULL && fscanf(f, "%lu", &most) != 1)
        most = 0;
    if (f != NULL)
        fclose(f);
    if (getrlimit(RLIMIT_NOFILE, &l) != 0)
        return;
    if (most > l.rlim_max)
        l.rlim_max = most;
    l.rlim_cur = l.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &l) != 0) {
        getrlimit(RLIMIT_NOFILE, &l);
        l.rlim_cur = l.rlim_max;
        setrlimit(RLIMIT_NOFILE, &l);
    }
}

static int prepare_volume(void) {
    const struct conf_volume *v = vol.conf_volume;
    if (v->mode == CONF_MODE_WATCH) {
        log_error("volume %s has mode = \"watch\": it has no mount, and needs no mailfs", v->name);
        return -EINVAL;
    }
    vol.has_peer = v->peer != NULL;
    vol.has_syncd = v->peer != NULL || v->n_links > 0;
    vol.incarnation = keep.head->incarnation;
    vol.clean = keep.head->clean != 0;
    vol.is_private = keep.head->is_private != 0;
    vol.private_uid = keep.head->private_uid;
    int r = role_init();
    if (r != 0)
        return r;
    r = cred_init();
    if (r != 0) {
        log_error("mailfs must be run by root: %s", log_strerror(r));
        return r;
    }
    r = mount_open_store();
    if (r != 0)
        return r;
    r = change_init(v->state);
    if (r != 0)
        log_error("marks in %s: %s", v->state, log_strerror(r));
    return r;
}

/* Not while another worker may still be at it. */
static int prepare_inodes(void) {
    mount_sweep();
    reserve_init();
    keep_take_over();
    note_init();
    int r = change_take_generation();
    if (r != 0) {
        log_error("marks in %s: %s", vol.conf_volume->state, log_strerror(r));
        return r;
    }
    r = inode_init(vol.store_fd);
    if (r != 0)
        log_error("store %s: %s%s", vol.conf_volume->store, log_strerror(r),
                  r == -EOPNOTSUPP ? "; its file system must have file handles" : "");
    return r;
}

/* All signals but the ones about errors are taken by descriptors: here, and SIGUSR1 by watch.c. */
static int signals_open(void) {
    sigset_t all, mine;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    sigemptyset(&mine);
    sigaddset(&mine, SIGTERM);
    sigaddset(&mine, SIGINT);
    return signalfd(-1, &mine, SFD_CLOEXEC);
}

static int start_threads(void) {
    int r = watch_init();
    if (r == 0)
        r = notify_init();
    if (r == 0)
        r = poke_watch();
    if (r == 0) {
        file_take_over();
        r = upcall_init(vol.conf_volume->state);
    }
    if (r == 0) {
        lock_take_over();
        prepare_take_over();
    }
    if (r != 0)
        log_error("threads: %s", log_strerror(r));
    return r;
}

/* What waited for syncd is answered, while it still can be. */
static void settle(void) {
    enum { AT_MOST_MS = 3000 };
    upcall_stop();
    uint64_t until = clock_ms() + AT_MOST_MS;
    while (workq_pending(upcall_queue()) > 0 && clock_ms() < until)
        usleep(1000);
    notify_stop(AT_MOST_MS);
}

static int say(int ctl, char what) {
    return send(ctl, &what, 1, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

static int wait_go(int ctl) {
    char what;
    ssize_t n = recv(ctl, &what, 1, 0);
    return n == 1 && what == HOLD_GO ? 0 : -ECONNRESET;
}

static int open_session(const struct serve_fds *fds) {
    int r = loop_open(fds->fuse, init);
    if (r == 0)
        r = loop_init();
    if (r != 0)
        log_error("FUSE refuses the session: %s", log_strerror(r));
    return r;
}

/* Until the end: of the mount, or of this worker, or of its holder. */
static void wait_end(int ctl, int signals, int ended) {
    struct pollfd p[] = {{.fd = ctl, .events = POLLIN},
                         {.fd = signals, .events = POLLIN},
                         {.fd = ended, .events = POLLIN}};
    while (poll(p, 3, -1) <= 0)
        ;
    if (p[2].revents != 0)
        say(ctl, HOLD_UNMOUNTED);
    if (p[2].revents != 0 || p[0].revents == 0)
        return;
    lock_end_owners(
        clock_boot_ms()); /* nobody is left who could unmount it, or find another worker */
    mount_abort();
}

static int run(const struct serve_fds *fds, int signals, void (*ready)(void)) {
    int ended = eventfd(0, EFD_CLOEXEC);
    bool first = keep_is_first();
    int r = ended < 0 ? -errno : first ? prepare_inodes() : 0;
    if (r == 0)
        r = say(fds->ctl, HOLD_PREPARED);
    if (r == 0)
        r = wait_go(fds->ctl);
    if (r == 0 && !first)
        r = prepare_inodes();
    if (r == 0)
        r = open_session(fds);
    if (r == 0)
        r = start_threads();
    if (r == 0) /* what happens from here on is done by requests */
        r = say(fds->ctl, HOLD_READY);
    if (r == 0 && !first)
        r = loop_resend();
    if (r == 0)
        r = loop_start(ended);
    if (r != 0)
        return r;
    log_info("volume %s %s at %s", vol.conf_volume->name, first ? "mounted" : "taken over",
             vol.conf_volume->mount);
    ready();
    wait_end(fds->ctl, signals, ended);
    settle();
    return 0;
}

int serve(const struct serve_fds *fds, void (*ready)(void)) {
    umask(0);
    prctl(PR_SET_NAME, "mailfs"); /* it was started by a descriptor */
    raise_descriptors();
    int signals = signals_open();
    int r = signals < 0 ? -errno : keep_map(fds->mem);
    if (r != 0) {
        log_error("what the worker before this one left: %s",
                  r == -ESTALE ? "it is of another version: restart mailfs" : log_strerror(r));
        return r;
    }
    r = poke_fork(vol.conf_volume->mount);
    if (r != 0)
        log_error("a process: %s", log_strerror(r));
    if (r == 0)
        r = prepare_volume();
    return r == 0 ? run(fds, signals, ready) : r;
}
