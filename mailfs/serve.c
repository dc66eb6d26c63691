/*
 * serve - one mount from its beginning to its end
 *
 * Diagnostics: error: what kept it from being mounted. info: mounted; stopped.
 */
#include "serve.h"

#include "vol.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "change.h"
#include "cred.h"
#include "inode.h"
#include "mount.h"
#include "notify.h"
#include "ops.h"
#include "poke.h"
#include "role.h"
#include "upcall.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/workq.h"
#include "watch.h"

/* Workers: each may be in an fsync; what waits for the peer takes none. */
#define WORKERS 128

struct vol vol = {.store_fd = -1, .internal_fd = -1};
static void (*call_when_ready)(void);

static void init(void *userdata, struct fuse_conn_info *conn) {
    /* The kernel clears set-id bits itself then, by SETATTR: our capabilities would keep them. */
    conn->want &= ~(unsigned)FUSE_CAP_HANDLE_KILLPRIV;
    /* Every request fits a buffer we have anyway. */
    conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
    conn->want &= ~(unsigned)(FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_IOCTL_DIR | FUSE_CAP_POSIX_LOCKS |
                              FUSE_CAP_FLOCK_LOCKS);
    /* Else one mutex per directory serialises lookups and listings. */
    conn->want |= conn->capable & FUSE_CAP_PARALLEL_DIROPS;
    conn->max_background = WORKERS / 2;
    conn->congestion_threshold = WORKERS / 2;
    conn->time_gran = 1;
    log_info("volume %s mounted at %s", vol.conf_volume->name, vol.conf_volume->mount);
    call_when_ready();
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

/* How long syncd is waited for where no peer says it. */
enum { SYNCD_MS = 3000 };

static int prepare_volume(void) {
    const struct conf_volume *v = vol.conf_volume;
    vol.has_peer = v->peer != NULL;
    vol.has_syncd = v->peer != NULL || v->n_links > 0;
    vol.timeout_ms = v->peer != NULL ? v->peer->timeout_ms : SYNCD_MS;
    int role = role_init();
    if (role != 0)
        return role;
    if (getrandom(&vol.incarnation, sizeof vol.incarnation, 0) != sizeof vol.incarnation)
        return -errno;
    int r = cred_init();
    if (r != 0) {
        log_error("mailfs must be run by root: %s", log_strerror(r));
        return r;
    }
    r = mount_open_store();
    if (r == 0)
        r = mount_take_state();
    if (r == 0)
        r = mount_check_point();
    if (r != 0)
        return r;
    r = change_init(v->state);
    if (r != 0) {
        log_error("marks in %s: %s", v->state, log_strerror(r));
        return r;
    }
    r = inode_init(vol.store_fd);
    if (r != 0)
        log_error("store %s: %s%s", v->store, log_strerror(r),
                  r == -EOPNOTSUPP ? "; its file system must have file handles" : "");
    return r;
}

/* All signals but the ones about errors are the main thread's; SIGUSR1 is watch.c's. */
static void signals_block(sigset_t *old) {
    sigset_t all;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &all, old);
}

static void signals_main(const sigset_t *old) {
    sigset_t mine = *old;
    sigaddset(&mine, SIGUSR1);
    sigdelset(&mine, SIGTERM);
    sigdelset(&mine, SIGINT);
    pthread_sigmask(SIG_SETMASK, &mine, NULL);
}

static int start_threads(void) {
    sigset_t old;
    signals_block(&old);
    int r = watch_init();
    if (r == 0)
        r = notify_init();
    if (r == 0)
        r = poke_init(vol.conf_volume->mount);
    if (r == 0)
        r = upcall_init(vol.conf_volume->state);
    signals_main(&old);
    if (r != 0)
        log_error("threads: %s", log_strerror(r));
    return r;
}

static struct fuse_session *session_new(void) {
    static char prog[] = "mailfs", opt[] = "-o";
    static char opts[] =
        "allow_other,default_permissions,nosuid,nodev,fsname=mailfs,subtype=mailfs";
    char *argv[] = {prog, opt, opts, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(3, argv);
    struct fuse_lowlevel_ops ops = ops_table;
    ops.init = init;
    struct fuse_session *se = fuse_session_new(&args, &ops, sizeof ops, NULL);
    fuse_opt_free_args(&args);
    return se;
}

static int loop(void) {
    struct fuse_loop_config *cfg = fuse_loop_cfg_create();
    if (cfg == NULL)
        return -ENOMEM;
    fuse_loop_cfg_set_max_threads(cfg, WORKERS);
    fuse_loop_cfg_set_clone_fd(cfg, 0);
    int r = fuse_session_loop_mt(vol.se, cfg);
    fuse_loop_cfg_destroy(cfg);
    return r < 0 ? r : 0; /* a signal's number is no error */
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

static int run_session(void) {
    vol.se = session_new();
    if (vol.se == NULL) {
        log_error("FUSE refuses the session");
        return -EIO;
    }
    if (fuse_set_signal_handlers(vol.se) != 0 ||
        fuse_session_mount(vol.se, vol.conf_volume->mount) != 0) {
        log_error("cannot mount at %s", vol.conf_volume->mount);
        fuse_session_destroy(vol.se);
        return -EIO;
    }
    int r = start_threads();
    if (r == 0) {
        r = loop();
        settle();
    }
    /* Aborts the connection: what still waits in the kernel must not keep us, or the mount. */
    umount2(vol.conf_volume->mount, MNT_FORCE | MNT_DETACH);
    fuse_session_unmount(vol.se);
    log_info("volume %s stopped", vol.conf_volume->name);
    return r;
}

int serve(void (*ready)(void)) {
    call_when_ready = ready;
    umask(0);
    raise_descriptors();
    int r = prepare_volume();
    if (r == 0)
        r = run_session();
    if (r == 0)
        mount_leave_state();
    return r;
}
