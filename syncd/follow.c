/*
 * follow: a standby's mailbox as it is to be listed, see follow.h.
 *
 * Diagnostics: that something was put back, with the mailbox.
 */
#include "follow.h"

#include <errno.h>

#include "replica/base_age.h"
#include "restore.h"
#include "state_int.h"
#include "util/log.h"

static bool is_damaged(const Mfp__Listing *l) {
    return !l->gone && l->base_valid && !base_age_lacks(l->base_version) && restore_is_wanted(l);
}

int follow_list(struct state *st, const struct mailfs_id *dir, bool full, Mfp__Listing **out,
                struct invals *inval) {
    int r = scan_mailbox_alone(st, dir, full, out);
    char path[256];

    if (r < 0 || !is_damaged(*out))
        return r;
    mfp__listing__free_unpacked(*out, NULL);
    *out = NULL;
    r = restore_mailbox(st, dir, NULL, 0, inval);
    if (r < 0 && r != -ENOENT)
        return state_fail(st, r, dir, "cannot put back what was agreed on");
    if (r == 0)
        log_warn("%s: flags, UIDs, keywords or subscriptions were not as agreed on with %s: they "
                 "are again",
                 state_path(st, dir, path, sizeof(path)), st->peer);
    return scan_mailbox_alone(st, dir, full, out);
}
