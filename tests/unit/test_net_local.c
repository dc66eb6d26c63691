/* test_net_local - packets and descriptors between processes of this machine */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/local.h"

static char dir[64];
static char sock[128];

static int setup(void **state) {
    strcpy(dir, "/tmp/mailfs-test-local.XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(sock, sizeof(sock), "%s/ctl.sock", dir);
    return 0;
}

static int teardown(void **state) {
    unlink(sock);
    return rmdir(dir);
}

static int open_fds(void) {
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* A connection through the file system. */
static void connect_pair(int *listener, int *client, int *server) {
    pid_t pid = 0;

    *listener = local_listen(sock);
    assert_true(*listener >= 0);
    *client = local_connect(sock);
    assert_true(*client >= 0);
    *server = local_accept(*listener, &pid);
    assert_true(*server >= 0);
    assert_int_equal(pid, getpid());
}

static void test_packets(void **state) {
    static char big[LOCAL_PACKET_MAX + 1], got[LOCAL_PACKET_MAX + 1];
    int listener, client, server;
    struct stat st;

    connect_pair(&listener, &client, &server);
    assert_int_equal(stat(sock, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(local_accept(listener, NULL), -EAGAIN);
    assert_int_equal(local_recv(server, got, sizeof(got), NULL), -EAGAIN);
    assert_int_equal(local_send(client, "one", 3, -1), 0);
    assert_int_equal(local_send(client, "three", 5, -1), 0);
    assert_int_equal(local_recv(server, got, sizeof(got), NULL), 3);
    assert_int_equal(local_recv(server, got, sizeof(got), NULL), 5);
    assert_memory_equal(got, "three", 5);
    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = (char)(i * 7);
    assert_int_equal(local_send(client, big, LOCAL_PACKET_MAX, -1), 0);
    assert_int_equal(local_recv(server, got, LOCAL_PACKET_MAX, NULL), LOCAL_PACKET_MAX);
    assert_memory_equal(got, big, LOCAL_PACKET_MAX);
    assert_int_equal(local_send(client, big, LOCAL_PACKET_MAX + 1, -1), -EMSGSIZE);
    assert_int_equal(local_send(client, big, 0, -1), -EMSGSIZE);
    assert_int_equal(local_send(client, big, 100, -1), 0);
    assert_int_equal(local_recv(server, got, 99, NULL), -EMSGSIZE);
    close(client);
    assert_int_equal(local_recv(server, got, sizeof(got), NULL), 0);
    assert_int_equal(local_send(server, "x", 1, -1), -EPIPE);
    close(server);
    close(listener);
}

/* Killed with something of ours unread: what it had said is read all the same, then its end. */
static void test_end_with_unread(void **state) {
    int listener, client, server;
    char got[16];

    for (int i = 0; i < 2; i++) { /* it may be known from sending already */
        connect_pair(&listener, &client, &server);
        assert_int_equal(local_send(client, "one", 3, -1), 0);
        assert_int_equal(local_send(client, "three", 5, -1), 0);
        assert_int_equal(local_send(server, "unread", 6, -1), 0);
        close(client);
        if (i == 1)
            assert_true(local_send(server, "x", 1, -1) < 0);
        assert_int_equal(local_recv(server, got, sizeof(got), NULL), 3);
        assert_int_equal(local_recv(server, got, sizeof(got), NULL), 5);
        assert_int_equal(local_recv(server, got, sizeof(got), NULL), 0);
        close(server);
        close(listener);
    }
}

static void test_full_socket(void **state) {
    static char packet[LOCAL_PACKET_MAX];
    int listener, client, server, n = 0, rc;

    connect_pair(&listener, &client, &server);
    while ((rc = local_send(server, packet, sizeof(packet), -1)) == 0)
        n++;
    assert_int_equal(rc, -EAGAIN);
    assert_true(n >= 1);
    while (n-- > 0)
        assert_int_equal(local_recv(client, packet, sizeof(packet), NULL), sizeof(packet));
    assert_int_equal(local_send(server, packet, sizeof(packet), -1), 0);
    close(client);
    close(server);
    close(listener);
}

static void test_descriptor_passed(void **state) {
    int listener, client, server, fd, pass = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    char got[16];
    struct stat a, b;
    int before;

    assert_true(pass >= 0);
    connect_pair(&listener, &client, &server);
    before = open_fds();
    assert_int_equal(local_send(client, "fd", 2, pass), 0);
    assert_int_equal(local_recv(server, got, sizeof(got), &fd), 2);
    assert_true(fd >= 0 && fd != pass);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(fstat(pass, &a), 0);
    assert_int_equal(fstat(fd, &b), 0);
    assert_true(a.st_ino == b.st_ino);
    close(fd);
    /* none came: -1 */
    assert_int_equal(local_send(client, "no", 2, -1), 0);
    assert_int_equal(local_recv(server, got, sizeof(got), &fd), 2);
    assert_int_equal(fd, -1);
    /* not asked for, or the packet does not fit: closed */
    assert_int_equal(local_send(client, "fd", 2, pass), 0);
    assert_int_equal(local_recv(server, got, sizeof(got), NULL), 2);
    assert_int_equal(local_send(client, "12345678901234567890", 20, pass), 0);
    assert_int_equal(local_recv(server, got, sizeof(got), &fd), -EMSGSIZE);
    assert_int_equal(fd, -1);
    assert_int_equal(open_fds(), before);
    close(pass);
    close(client);
    close(server);
    close(listener);
}

/* Somebody who sends many descriptors at once, to fill our table. */
static void send_fds(int sockfd, int fd, size_t n) {
    char control[CMSG_SPACE(32 * sizeof(int))] = {0};
    char byte = 'x';
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control,
                         .msg_controllen = CMSG_SPACE(n * sizeof(int))};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(n * sizeof(int));
    for (size_t i = 0; i < n; i++)
        memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof(int));
    assert_int_equal(sendmsg(sockfd, &msg, 0), 1);
}

static void test_too_many_descriptors(void **state) {
    int listener, client, server, fd, before;
    char got[16];

    connect_pair(&listener, &client, &server);
    before = open_fds();
    send_fds(client, client, 2);
    assert_int_equal(local_recv(server, got, sizeof(got), &fd), -EPROTO);
    send_fds(client, client, 32);
    assert_int_equal(local_recv(server, got, sizeof(got), &fd), -EPROTO);
    assert_int_equal(fd, -1);
    assert_int_equal(open_fds(), before);
    close(client);
    close(server);
    close(listener);
}

static void test_stale_and_living_sockets(void **state) {
    int a, b;
    FILE *f;

    assert_int_equal(local_connect(sock), -ENOENT);
    a = local_listen(sock);
    assert_true(a >= 0);
    assert_int_equal(local_listen(sock), -EADDRINUSE);
    close(a); /* as after a crash: the name stays */
    assert_int_equal(local_connect(sock), -ECONNREFUSED);
    b = local_listen(sock);
    assert_true(b >= 0);
    close(b);
    unlink(sock);
    f = fopen(sock, "w");
    assert_non_null(f);
    fclose(f);
    assert_int_equal(local_listen(sock), -EEXIST);
}

static void test_long_path(void **state) {
    char deep[256], path[300];
    int listener, client;

    snprintf(deep, sizeof(deep), "%s/%0150d", dir, 1);
    assert_int_equal(mkdir(deep, 0700), 0);
    snprintf(path, sizeof(path), "%s/syncd.sock", deep);
    listener = local_listen(path);
    assert_true(listener >= 0);
    client = local_connect(path);
    assert_true(client >= 0);
    close(client);
    close(listener);
    assert_int_equal(unlink(path), 0);
    rmdir(deep);
}

/* Another user who got at the socket in spite of its mode is turned away. */
static void test_foreign_uid(void **state) {
    int listener, status;
    struct pollfd p = {.events = POLLIN};
    pid_t pid;

    if (geteuid() != 0)
        fail_msg("has to run as root");
    listener = local_listen(sock);
    assert_int_equal(chmod(sock, 0666), 0);
    assert_int_equal(chmod(dir, 0755), 0);
    pid = fork();
    if (pid == 0) {
        char c;
        int fd;

        if (setuid(65534) != 0)
            _exit(2);
        fd = local_connect(sock);
        _exit(fd >= 0 && local_recv(fd, &c, 1, NULL) == 0 ? 0 : 1);
    }
    p.fd = listener;
    assert_int_equal(poll(&p, 1, 10000), 1);
    assert_int_equal(local_accept(listener, NULL), -EACCES);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(listener);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_packets),           T(test_end_with_unread),      T(test_full_socket),
        T(test_descriptor_passed), T(test_too_many_descriptors), T(test_stale_and_living_sockets),
        T(test_long_path),         T(test_foreign_uid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
