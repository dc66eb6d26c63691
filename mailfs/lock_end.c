/*
 * lock_end - ends those who hold an L, before their mount goes
 *
 * A process that waits for an answer of the mount dies when it gets one, which is the error: it
 * never sees it.
 *
 * Diagnostics: warning: each process that is ended.
 */
#include "lock_end.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "keep.h"
#include "owner.h"
#include "util/log.h"

/* clock_boot_ms() at which a process started (proc(5), stat, field 22); UINT64_MAX: it is gone. */
static uint64_t started(pid_t pid) {
    enum { AFTER_STATE = 19 };
    char line[1024];
    const char *at = owner_stat(pid, line, sizeof line);
    for (int i = 0; i < AFTER_STATE && at != NULL; i++)
        at = strchr(at + 1, ' ');
    return at == NULL ? UINT64_MAX
                      : strtoull(at, NULL, 10) * 1000u / (uint64_t)sysconf(_SC_CLK_TCK);
}

void lock_end_owners(uint64_t before) {
    uint32_t n = atomic_load(&keep.head->inodes);
    for (uint32_t i = 0; i < n && i < KEEP_INODES_MAX; i++) {
        struct keep_inode *k = &keep.inodes[i];
        uint64_t aux = atomic_load(&k->aux);
        pid_t owner = (pid_t)(aux >> KEEP_L_OWNER_SHIFT);
        if (atomic_load(&k->state) != KEEP_USED || (aux & KEEP_L_HELD) == 0 || owner <= 1 ||
            (atomic_load(&k->kind) & KEEP_TYPE) != S_IFDIR >> 12 || started(owner) > before)
            continue;
        log_warn("the mount goes: process %d, which holds a mailbox's lock, is ended", (int)owner);
        kill(owner, SIGKILL);
    }
}
