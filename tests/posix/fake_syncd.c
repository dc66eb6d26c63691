/*
 * fake_syncd.c: see fake_syncd.h
 */
#include "fake_syncd.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/local.h"
#include "wire/codec.h"

enum { PATIENCE_MS = 5000 };

static char path[4096];
static int listener = -1, conn = -1;
static Mfl__ToSyncd *last;

void fake_fail(const char *file, int line, const char *what) {
    printf("# %s:%d: %s\n", file, line, what);
    fflush(stdout);
    _exit(1);
}

void fake_listen(const char *state_dir) {
    snprintf(path, sizeof path, "%s/syncd.sock", state_dir);
    listener = local_listen(path);
    CHECK(listener >= 0);
}

void fake_stop(void) {
    if (conn >= 0) {
        shutdown(conn, SHUT_RDWR); /* processes of the test hold it, too */
        close(conn);
    }
    if (listener >= 0)
        close(listener);
    conn = listener = -1;
    unlink(path);
}

static bool readable(int fd, int ms) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, ms) == 1;
}

const Mfl__ToSyncd *fake_next(int ms, int *fd) {
    static uint8_t buf[LOCAL_PACKET_MAX];
    char why[256];
    int unused;
    wire_to_syncd_free(last);
    last = NULL;
    if (!readable(conn, ms))
        return NULL;
    ssize_t n = local_recv(conn, buf, sizeof buf, fd != NULL ? fd : &unused);
    if (fd == NULL && n > 0 && unused >= 0)
        close(unused);
    if (n <= 0)
        return NULL;
    if (wire_to_syncd_unpack(buf, (size_t)n, &last, why, sizeof why) != 0)
        fake_fail(__FILE__, __LINE__, why);
    return last;
}

const Mfl__ToSyncd *fake_expect_at(const char *file, int at, Mfl__ToSyncd__MCase kind) {
    char line[512];
    const Mfl__ToSyncd *m = fake_next(PATIENCE_MS, NULL);
    if (m == NULL)
        fake_fail(file, at, "a packet was expected and none came");
    if (m->m_case != kind) {
        printf("# kind %d was expected, not %s\n", (int)kind,
               wire_print(&m->base, line, sizeof line));
        fake_fail(file, at, "the wrong packet");
    }
    return m;
}

static void send_it(const Mfl__ToMailfs *m) {
    uint8_t buf[8192];
    ssize_t n = wire_to_mailfs_pack(m, buf, sizeof buf);
    CHECK(n > 0);
    CHECK(local_send(conn, buf, (size_t)n, -1) == 0);
}

void fake_accept(void) {
    CHECK(readable(listener, PATIENCE_MS));
    conn = local_accept(listener, NULL);
    CHECK(conn >= 0);
    CHECK(local_set_nonblocking(conn, false) == 0);
}

const Mfl__Hello *fake_welcome(void) {
    Mfl__Welcome welcome = MFL__WELCOME__INIT;
    Mfl__ToMailfs m = MFL__TO_MAILFS__INIT;
    fake_accept();
    const Mfl__ToSyncd *hello = fake_expect(MFL__TO_SYNCD__M_HELLO);
    welcome.version = 1;
    welcome.mark_gen = 1;
    welcome.instance = 1; /* the same syncd: a mailfs that begins anew hopes for it */
    m.m_case = MFL__TO_MAILFS__M_WELCOME;
    m.welcome = &welcome;
    send_it(&m);
    return hello->hello;
}

void fake_grant(uint64_t req, int err, uint32_t raise, const char *holder) {
    Mfl__Grant g = MFL__GRANT__INIT;
    Mfl__ToMailfs m = MFL__TO_MAILFS__INIT;
    g.req = req;
    g.err = err;
    g.raise = raise;
    g.holder = (char *)(uintptr_t)holder;
    m.m_case = MFL__TO_MAILFS__M_GRANT;
    m.grant = &g;
    send_it(&m);
}

void fake_release(uint64_t req, int err) {
    Mfl__Release r = MFL__RELEASE__INIT;
    Mfl__ToMailfs m = MFL__TO_MAILFS__INIT;
    r.req = req;
    r.err = err;
    m.m_case = MFL__TO_MAILFS__M_RELEASE;
    m.release = &r;
    send_it(&m);
}

void fake_token_here(ProtobufCBinaryData dir) {
    Mfl__TokenHere t = MFL__TOKEN_HERE__INIT;
    Mfl__ToMailfs m = MFL__TO_MAILFS__INIT;
    t.dir = dir;
    m.m_case = MFL__TO_MAILFS__M_TOKEN_HERE;
    m.token_here = &t;
    send_it(&m);
}

void fake_new_gen(uint64_t gen) {
    Mfl__NewGen n = MFL__NEW_GEN__INIT;
    Mfl__ToMailfs m = MFL__TO_MAILFS__INIT;
    n.gen = gen;
    m.m_case = MFL__TO_MAILFS__M_NEW_GEN;
    m.new_gen = &n;
    send_it(&m);
}

void fake_invalidate(uint64_t seq, ProtobufCBinaryData dir, Mfl__Sub sub, const char *old_name,
                     const char *name, bool poke) {
    Mfl__Invalidate v = MFL__INVALIDATE__INIT;
    Mfl__Changed c = MFL__CHANGED__INIT;
    Mfl__Changed *names[1] = {&c};
    Mfl__ToMailfs m = MFL__TO_MAILFS__INIT;
    c.sub = sub;
    c.old_name = (char *)(uintptr_t)old_name;
    c.name = (char *)(uintptr_t)name;
    v.seq = seq;
    v.dir = dir;
    v.n_names = 1;
    v.names = names;
    v.poke_new = v.poke_cur = poke;
    m.m_case = MFL__TO_MAILFS__M_INVALIDATE;
    m.invalidate = &v;
    send_it(&m);
}

void fake_moved(uint64_t seq, ProtobufCBinaryData dir, ProtobufCBinaryData id, const char *old_name,
                const char *name) {
    Mfl__Invalidate v = MFL__INVALIDATE__INIT;
    Mfl__Changed c = MFL__CHANGED__INIT;
    Mfl__Changed *names[1] = {&c};
    Mfl__ToMailfs m = MFL__TO_MAILFS__INIT;
    if (old_name != NULL)
        c.old_name = (char *)(uintptr_t)old_name;
    if (name != NULL)
        c.name = (char *)(uintptr_t)name;
    v.seq = seq;
    v.dir = dir;
    v.moved_id = id;
    v.n_names = 1;
    v.names = names;
    m.m_case = MFL__TO_MAILFS__M_INVALIDATE;
    m.invalidate = &v;
    send_it(&m);
}
