/*
 * poke - wakes inotify's watchers through the mount
 *
 * Diagnostics: debug: a poke that failed. Dovecot then sees the change at its next look (30 s).
 */
#include "poke.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>

#include "dir.h"
#include "util/log.h"
#include "util/str.h"
#include "util/workq.h"
#include "watch.h"

enum { THREADS = 8, JOBS = 65536 };

/* A directory whose poke has not begun. */
struct pending {
    struct inode *dir; /* a reference */
    UT_hash_handle hh;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pending *pending;
static pid_t pokers[THREADS];
static struct workq *queue;
static const char *mount;

bool poke_is_mine(pid_t tid) {
    bool mine = false;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < THREADS; i++)
        mine |= tid > 0 && pokers[i] == tid;
    pthread_mutex_unlock(&lock);
    return mine;
}

/* Enters the calling thread as a poking one. Under the lock. */
static void poker_enter(void) {
    static __thread bool entered;
    if (entered)
        return;
    for (int i = 0; i < THREADS && !entered; i++) {
        if (pokers[i] == 0) {
            pokers[i] = gettid();
            entered = true;
        }
    }
}

static int poke_path(struct inode *dir, char *path, size_t size) {
    char below[PATH_MAX];
    int r = dir_path(dir, below, sizeof below);
    return r != 0 ? r : str_printf(path, size, "%s/%s/" MAILDIR_POKE_NAME, mount, below);
}

static void run_poke(void *arg) {
    struct pending *p = arg;
    char path[PATH_MAX];
    pthread_mutex_lock(&lock);
    poker_enter();
    HASH_DEL(pending, p); /* a change from here on needs another poke */
    pthread_mutex_unlock(&lock);
    if (poke_path(p->dir, path, sizeof path) == 0) {
        if (mknod(path, S_IFREG | 0600, 0) != 0)
            log_debug("poke %s: %s", path, log_strerror(-errno));
        else if (unlink(path) != 0)
            log_debug("poke %s: unlink: %s", path, log_strerror(-errno));
    }
    inode_unref(p->dir, 1);
    free(p);
}

void poke(struct inode *dir) {
    struct pending *p;
    pthread_mutex_lock(&lock);
    HASH_FIND_PTR(pending, &dir, p);
    if (p == NULL && (p = calloc(1, sizeof *p)) != NULL) {
        p->dir = dir;
        if (workq_submit(queue, (uint64_t)(uintptr_t)dir, run_poke, NULL, p) == 0) {
            inode_ref(dir);
            HASH_ADD_PTR(pending, dir, p);
        } else {
            free(p);
        }
    }
    pthread_mutex_unlock(&lock);
}

int poke_init(const char *mount_path) {
    mount = mount_path;
    int r = workq_new(THREADS, JOBS, &queue);
    return r != 0 ? r : watch_queue(queue);
}
