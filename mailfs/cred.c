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
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int drop_effective(unsigned cap) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    if (syscall(SYS_capget, &head, data) != 0)
        return -errno;
    data[CAP_TO_INDEX(cap)].effective &= ~CAP_TO_MASK(cap);
    return syscall(SYS_capset, &head, data) == 0 ? 0 : -errno;
}

int cred_init(void) {
    int bits = prctl(PR_GET_SECUREBITS);
    if (bits < 0 || prctl(PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP) != 0)
        return -errno;
    /* With it, the users' disk quotas would not hold for what they write through us. */
    return drop_effective(CAP_SYS_RESOURCE);
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
