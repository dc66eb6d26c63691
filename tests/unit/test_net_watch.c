/* A link comes up, in a network of this process's own: it is told, and nothing is when nothing is.
 */
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "net/netwatch.h"

static void told(void *arg) {
    ++*(int *)arg;
}

static void set_loopback(bool up) {
    struct ifreq ifr = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &ifr), 0);
    ifr.ifr_flags = (short)(up ? ifr.ifr_flags | IFF_UP : ifr.ifr_flags & ~IFF_UP);
    assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &ifr), 0);
    close(fd);
}

static void test_link_comes_up(void **state) {
    struct event_base *base;
    struct netwatch *w;
    int n = 0, before;

    if (unshare(CLONE_NEWNET) != 0)
        skip(); /* not root */
    base = event_base_new();
    assert_int_equal(netwatch_open(base, told, &n, &w), 0);
    event_base_loop(base, EVLOOP_NONBLOCK);
    assert_int_equal(n, 0);
    for (int i = 0; i < 2; i++) {
        before = n;
        set_loopback(i == 0);
        event_base_loop(base, EVLOOP_NONBLOCK);
        assert_true(n > before);
        before = n;
        event_base_loop(base, EVLOOP_NONBLOCK);
        assert_int_equal(n, before);
    }
    netwatch_close(w);
    netwatch_close(NULL);
    event_base_free(base);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_link_comes_up)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
