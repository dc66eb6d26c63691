/*
 * NAME
 *	local - packets between the programs on this machine
 *
 * DESCRIPTION
 *	Thin functions over unix(7) sequenced-packet sockets. A path too long for
 *	sun_path (108 bytes) is reached through /proc/self/fd of its directory.
 *
 * DIAGNOSTICS
 *	Negative errno; nothing is logged.
 */
#include "net/local.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 16
/* Room for one packet of the largest size and its overhead, and then some. */
#define SOCKET_BUFFER (4 * (int)LOCAL_PACKET_MAX)
/* Descriptors accepted in one packet only to be able to close them. */
#define SURPLUS_FDS 8

/* An address for `path`. *dirfd is -1, or a descriptor to close after use. */
static int make_address(const char *path, struct sockaddr_un *sun, int *dirfd) {
    const char *slash = strrchr(path, '/');
    char dir[4096];

    *dirfd = -1;
    memset(sun, 0, sizeof(*sun));
    sun->sun_family = AF_UNIX;
    if (strlen(path) < sizeof(sun->sun_path)) {
        memcpy(sun->sun_path, path, strlen(path) + 1);
        return path[0] ? 0 : -EINVAL;
    }
    if (!slash || slash == path || (size_t)(slash - path) >= sizeof(dir) || strlen(slash) > 64)
        return -ENAMETOOLONG;
    memcpy(dir, path, (size_t)(slash - path));
    dir[slash - path] = '\0';
    *dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*dirfd < 0)
        return -errno;
    snprintf(sun->sun_path, sizeof(sun->sun_path), "/proc/self/fd/%d%.64s", *dirfd, slash);
    return 0;
}

static int new_socket(void) {
    int size = SOCKET_BUFFER;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    /* The kernel caps this by wmem_max, whose default is enough for a packet. */
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    return fd;
}

static int connect_to(const struct sockaddr_un *sun) {
    int rc, fd = new_socket();

    if (fd < 0)
        return fd;
    /* A listener that is stopped, its backlog full, must not stop us: -EAGAIN. */
    rc = local_set_nonblocking(fd, true);
    if (rc == 0) {
        do
            rc = connect(fd, (const struct sockaddr *)sun, sizeof(*sun));
        while (rc != 0 && errno == EINTR);
        rc = rc != 0 ? -errno : local_set_nonblocking(fd, false);
    }
    if (rc != 0) {
        close(fd);
        return rc;
    }
    return fd;
}

/* Make way for a bind: nothing there, or a socket that nobody serves any more. */
static int clear_stale(const struct sockaddr_un *sun) {
    struct stat st;
    int fd;

    if (lstat(sun->sun_path, &st) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode))
        return -EEXIST;
    fd = connect_to(sun);
    if (fd >= 0) {
        close(fd);
        return -EADDRINUSE;
    }
    if (fd != -ECONNREFUSED)
        return fd == -EPROTOTYPE || fd == -EAGAIN ? -EADDRINUSE : fd;
    return unlink(sun->sun_path) == 0 || errno == ENOENT ? 0 : -errno;
}

int local_listen(const char *path) {
    struct sockaddr_un sun;
    int dirfd, rc, fd = -1;

    rc = make_address(path, &sun, &dirfd);
    if (rc == 0)
        rc = clear_stale(&sun);
    if (rc == 0)
        rc = fd = new_socket();
    /* Nobody can connect between bind and listen, so the mode is never too wide. */
    if (rc >= 0 && (bind(fd, (struct sockaddr *)&sun, sizeof(sun)) != 0 ||
                    chmod(sun.sun_path, 0600) != 0 || listen(fd, BACKLOG) != 0))
        rc = -errno;
    if (rc >= 0)
        rc = local_set_nonblocking(fd, true);
    if (rc < 0 && fd >= 0) {
        close(fd);
        fd = -1;
    }
    if (dirfd >= 0)
        close(dirfd);
    return rc < 0 ? rc : fd;
}

int local_accept(int listener, pid_t *pid) {
    struct ucred peer;
    socklen_t len = sizeof(peer);
    int rc, size = SOCKET_BUFFER;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        rc = -errno;
    else
        rc = peer.uid == 0 || peer.uid == geteuid() ? 0 : -EACCES;
    if (rc != 0) {
        close(fd);
        return rc;
    }
    if (pid)
        *pid = peer.pid;
    return fd;
}

int local_connect(const char *path) {
    struct sockaddr_un sun;
    int dirfd, rc = make_address(path, &sun, &dirfd);

    if (rc == 0)
        rc = connect_to(&sun);
    if (dirfd >= 0)
        close(dirfd);
    return rc;
}

int local_set_nonblocking(int fd, bool on) {
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) != 0)
        return -errno;
    return 0;
}

static int send_packet(int fd, const void *data, size_t len, int passfd, int flags) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    if (len == 0 || len > LOCAL_PACKET_MAX)
        return -EMSGSIZE;
    if (passfd >= 0) {
        struct cmsghdr *c;

        memset(&control, 0, sizeof(control));
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof(control.bytes);
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &passfd, sizeof(int));
    }
    do
        n = sendmsg(fd, &msg, MSG_NOSIGNAL | flags);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    return (size_t)n == len ? 0 : -EIO;
}

int local_send(int fd, const void *data, size_t len, int passfd) {
    return send_packet(fd, data, len, passfd, 0);
}

int local_try_send(int fd, const void *data, size_t len, int passfd) {
    return send_packet(fd, data, len, passfd, MSG_DONTWAIT);
}

/* Take the descriptors of a packet: the first into *first, the rest closed. How many there were. */
static int collect_fds(struct msghdr *msg, int *first) {
    int count = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t off = 0; CMSG_LEN(off + sizeof(int)) <= c->cmsg_len; off += sizeof(int)) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + off, sizeof(fd));
            if (count++ == 0)
                *first = fd;
            else
                close(fd);
        }
    }
    return count;
}

ssize_t local_recv(int fd, void *buf, size_t size, int *passfd) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(SURPLUS_FDS * sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = buf, .iov_len = size};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    int first = -1, count;
    ssize_t n;

    if (passfd)
        *passfd = -1;
    /* ECONNRESET, said once: it ended with something of ours unread. What it had said before is
     * still there. */
    do
        n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && (errno == EINTR || errno == ECONNRESET));
    if (n < 0)
        return -errno;
    count = collect_fds(&msg, &first);
    if (msg.msg_flags & MSG_TRUNC)
        n = -EMSGSIZE;
    else if (count > 1 || (msg.msg_flags & MSG_CTRUNC))
        n = -EPROTO;
    if (n > 0 && passfd)
        *passfd = first;
    else if (first >= 0)
        close(first);
    return n;
}
