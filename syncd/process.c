/*
 * process - detach, limits, privileges
 *
 * Diagnostics: none; errors are returned.
 */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILES_MAX 65536

static int ready_fd = -1;

/* In the process that was started: its child's word becomes our exit status. */
static void wait_until_ready(int fd) {
    unsigned char status = 1;
    ssize_t n;
    do
        n = read(fd, &status, 1);
    while (n < 0 && errno == EINTR);
    _exit(n == 1 ? status : 1);
}

static int to_null(void) {
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    for (int i = 0; i <= 2; i++)
        dup2(fd, i);
    if (fd > 2)
        close(fd);
    return 0;
}

int process_detach(void) {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
        return -errno;
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid > 0) {
        close(fds[1]);
        wait_until_ready(fds[0]);
    }
    close(fds[0]);
    setsid();
    pid = fork();
    if (pid != 0)
        _exit(pid < 0 ? 1 : 0);
    ready_fd = fds[1];
    if (chdir("/") != 0)
        return -errno;
    return 0;
}

void process_ready(int status) {
    unsigned char byte = (unsigned char)status;
    if (ready_fd < 0)
        return;
    if (status == 0)
        to_null(); /* until now a terminal could show what went wrong */
    ssize_t n = write(ready_fd, &byte, 1);
    (void)n; /* nobody waits any more, then */
    close(ready_fd);
    ready_fd = -1;
}

void process_complain(const char *what) {
    if (ready_fd >= 0)
        fprintf(stderr, "mailfs-syncd: %s\n", what);
}

void process_limits(void) {
    struct rlimit rl;
    if (getrlimit(RLIMIT_NOFILE, &rl) != 0)
        return;
    if (rl.rlim_max < FILES_MAX) {
        struct rlimit more = {FILES_MAX, FILES_MAX};
        if (setrlimit(RLIMIT_NOFILE, &more) == 0)
            return;
    }
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);
}

static const int kept[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER,
                           CAP_FSETID};

static uint64_t kept_mask(void) {
    uint64_t mask = 0;
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        mask |= UINT64_C(1) << kept[i];
    return mask;
}

int process_drop(void) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[2];
    uint64_t mask = kept_mask();
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || syscall(SYS_capget, &head, caps) != 0)
        return -errno;
    for (int cap = 0; cap <= 63; cap++) {
        if (!(mask >> cap & 1))
            prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); /* EINVAL: beyond the last; EPERM: has none */
    }
    for (int i = 0; i < 2; i++) {
        uint32_t part = (uint32_t)(mask >> (32 * i));
        caps[i].permitted &= part;
        caps[i].effective = caps[i].permitted;
        caps[i].inheritable = 0;
    }
    return syscall(SYS_capset, &head, caps) != 0 ? -errno : 0;
}

/* A disk scheduler that knows no priorities ignores it: hence the rests in check_content.c, too. */
void process_behind_others(void *arg) {
    pid_t tid = (pid_t)syscall(SYS_gettid);
    (void)setpriority(PRIO_PROCESS, (id_t)tid, 10);
    (void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, tid, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0));
}
