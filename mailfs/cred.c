/*
 * cred - the caller's uid and gid for the file about to be made
 *
 * setfsuid(2) of a thread from 0 to a user normally drops the capabilities that override
 * permissions; SECBIT_NO_SETUID_FIXUP (capabilities(7)) keeps them. It is inherited by the threads
 * made later.
 *
 * Diagnostics: none; errors are returned.
 */
#include "cred.h"

#include <errno.h>
#include <linux/securebits.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>

int cred_init(void) {
    int bits = prctl(PR_GET_SECUREBITS);
    if (bits < 0 || prctl(PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP) != 0)
        return -errno;
    return 0;
}

void cred_take(uid_t uid, gid_t gid) {
    if (gid != 0)
        setfsgid(gid);
    if (uid != 0)
        setfsuid(uid);
}

void cred_back(void) {
    setfsuid(0);
    setfsgid(0);
}
