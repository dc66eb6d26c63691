/*
 * role - who may write to the mount
 *
 * Diagnostics: info: each change of the role. error: STATE/role cannot be read.
 */
#include "role.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "conf/role.h"
#include "lock.h"
#include "poke.h"
#include "util/log.h"
#include "vol.h"

enum { ACTIVE, CLOSING, STANDBY };

static atomic_int role = ACTIVE;

void role_set(bool standby) {
    int was = atomic_load(&role);
    if (standby == (was != ACTIVE))
        return;
    atomic_store(&role, standby ? CLOSING : ACTIVE);
    log_info("volume %s is %s", vol.conf_volume->name,
             standby ? "a standby: the mount is read-only" : "active");
}

int role_init(void) {
    struct conf_role r;
    int err = conf_role_read(vol.conf_volume, &r);
    if (err != 0)
        log_error("%s/role: %s", vol.conf_volume->state, log_strerror(err));
    else if (r.standby)
        role_set(true);
    return err;
}

/* No new one comes: once none is held, none ever will be. */
static void close_if_free(void) {
    int closing = CLOSING;
    size_t n = 0;
    struct mailfs_id *held = lock_ids(false, &n);
    free(held);
    if (n == 0)
        atomic_compare_exchange_strong(&role, &closing, STANDBY);
}

bool role_refuses(pid_t tid) {
    if (atomic_load_explicit(&role, memory_order_acquire) == ACTIVE)
        return false;
    if (atomic_load(&role) == CLOSING)
        close_if_free();
    return atomic_load(&role) == STANDBY && !poke_is_mine(tid);
}

bool role_refuses_lock(void) {
    return atomic_load(&role) != ACTIVE;
}
