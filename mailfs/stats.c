/*
 * stats - request counters
 *
 * Diagnostics: info: the counters, when asked for.
 */
#include "stats.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdint.h>

#include "inode.h"
#include "util/buf.h"
#include "util/log.h"

static _Atomic uint64_t counts[STATS_KINDS];

static const char *const names[STATS_KINDS] = {
    [STATS_LOOKUP] = "lookup",
    [STATS_FORGET] = "forget",
    [STATS_GETATTR] = "getattr",
    [STATS_SETATTR] = "setattr",
    [STATS_READLINK] = "readlink",
    [STATS_MKNOD] = "mknod",
    [STATS_MKDIR] = "mkdir",
    [STATS_UNLINK] = "unlink",
    [STATS_RMDIR] = "rmdir",
    [STATS_SYMLINK] = "symlink",
    [STATS_RENAME] = "rename",
    [STATS_LINK] = "link",
    [STATS_OPEN] = "open",
    [STATS_READ] = "read",
    [STATS_WRITE] = "write",
    [STATS_RELEASE] = "release",
    [STATS_FSYNC] = "fsync",
    [STATS_OPENDIR] = "opendir",
    [STATS_READDIR] = "readdir",
    [STATS_RELEASEDIR] = "releasedir",
    [STATS_FSYNCDIR] = "fsyncdir",
    [STATS_STATFS] = "statfs",
    [STATS_CREATE] = "create",
    [STATS_FALLOCATE] = "fallocate",
    [STATS_COPY] = "copy_file_range",
    [STATS_LSEEK] = "lseek",
    [STATS_ACCESS] = "access",
};

void stats_count(enum stats_kind kind) {
    atomic_fetch_add_explicit(&counts[kind], 1, memory_order_relaxed);
}

void stats_log(void) {
    struct buf b;
    buf_init(&b, LOG_LINE_MAX);
    for (int i = 0; i < STATS_KINDS; i++) {
        uint64_t n = atomic_load_explicit(&counts[i], memory_order_relaxed);
        if (n > 0)
            buf_printf(&b, " %s=%" PRIu64, names[i], n);
    }
    log_info("requests:%s inodes=%" PRIu64, buf_str(&b), inode_count());
    buf_free(&b);
}
