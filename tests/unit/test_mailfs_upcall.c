/*
 * test_mailfs_upcall - the end of the connection to syncd, which is this test
 *
 * Who waited for a grant of L is answered as alone then, and leaves no gap where the token was here
 * last. Only of a syncd that has ended is that known: one that goes on can give it away at once.
 */
#include <poll.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "mailfs/change.h"
#include "mailfs/keep.h"
#include "mailfs/lock.h"
#include "mailfs/named.h"
#include "mailfs/note.h"
#include "mailfs/notify.h"
#include "mailfs/role.h"
#include "mailfs/upcall.h"
#include "mailfs/vol.h"
#include "mailfs/watch.h"
#include "net/local.h"

struct vol vol;

static char dir[] = "/tmp/mailfs-upcall-XXXXXX", path[64];
static struct conf_volume cv = {.name = (char[]){"mail"}, .state = dir};
static struct keep_head head;
static int listener, syncd, doubt = -1;
static sem_t answered;
static _Atomic unsigned forgot;
static unsigned forgot_then; /* by the answer */
static sem_t hinted, in_role, role_done;
static _Atomic unsigned hints;
static _Atomic bool slow; /* to take a role */

/* ---- stubs ------------------------------------------------------------------------- */

void lock_forget_hints(void) {
    forgot++;
}

void lock_forget_shown(void) {
}

void lock_token_here(const struct mailfs_id *id) {
}

void lock_token_hint(const struct mailfs_id *id, bool held) {
    hints++;
    sem_post(&hinted);
}

struct mailfs_id *lock_ids(bool going, size_t *n) {
    *n = 0;
    return malloc(1);
}

void *named_hello(Mfl__Hello *hello) {
    return NULL;
}

uint64_t note_since_resent_ms(void) {
    return 0;
}

unsigned note_unclaimed(void) {
    return 0;
}

unsigned note_give_up_unclaimed(void) {
    return 0;
}

void notify_everything(void) {
}

void notify_invalidate(Mfl__ToMailfs *m) {
}

uint64_t change_generation(void) {
    return 1;
}

int change_new_generation(uint64_t gen) {
    return 0;
}

static void wait_for(sem_t *sem) {
    while (sem_wait(sem) != 0) {
    }
}

void role_set(bool standby) {
    if (!slow)
        return;
    sem_post(&in_role);
    wait_for(&role_done);
}

int watch_queue(struct workq *queue) {
    return 0;
}

/* ---- a connection ------------------------------------------------------------------ */

static int setup(void **state) {
    head.lives = 1;
    keep.head = &head;
    vol.conf_volume = &cv;
    vol.has_syncd = vol.has_peer = true;
    vol.timeout_ms = 60000;
    sem_init(&answered, 0, 0);
    sem_init(&hinted, 0, 0);
    sem_init(&in_role, 0, 0);
    sem_init(&role_done, 0, 0);
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/syncd.sock", dir);
    listener = local_listen(path);
    if (listener < 0 || upcall_init(dir) != 0)
        return -1;
    return 0;
}

static int teardown(void **state) {
    upcall_stop();
    close(listener);
    unlink(path);
    return rmdir(dir);
}

/* It has said Hello, so what is asked now is asked on this connection. */
static void connected(void) {
    static uint8_t buf[LOCAL_PACKET_MAX];
    struct pollfd p = {.fd = listener, .events = POLLIN};

    assert_int_equal(poll(&p, 1, 60000), 1);
    syncd = local_accept(listener, NULL);
    assert_true(syncd >= 0);
    p.fd = syncd;
    assert_int_equal(poll(&p, 1, 60000), 1);
    if (doubt >= 0)
        close(doubt);
    assert_true(local_recv(syncd, buf, sizeof buf, &doubt) > 0);
    assert_true(doubt >= 0);
}

static void on_answer(void *arg, const struct upcall_answer *a, bool now) {
    assert_true(a->alone);
    forgot_then = forgot;
    sem_post(&answered);
}

#define NO_SUCH_FD 99999

static void ask(void) {
    Mfl__ToSyncd m = MFL__TO_SYNCD__INIT;
    Mfl__LockOpen open = MFL__LOCK_OPEN__INIT;
    uint8_t id[16] = {1};

    open.dir = (ProtobufCBinaryData){sizeof id, id};
    open.req = upcall_number();
    m.m_case = MFL__TO_SYNCD__M_LOCK_OPEN;
    m.lock_open = &open;
    assert_true(upcall_ask(&m, open.req, -1, on_answer, NULL));
}

/* How often the hints were forgotten between the question and the answer. */
static unsigned forgotten_by_answer(unsigned before) {
    wait_for(&answered);
    close(syncd);
    return forgot_then - before;
}

/* ---- tests ------------------------------------------------------------------------- */

static void test_it_has_ended(void **state) {
    connected();
    unsigned before = forgot;
    ask();
    shutdown(syncd, SHUT_RDWR);
    assert_int_equal(forgotten_by_answer(before), 0);
}

/* It does not take what it is told: until the question is answered. */
static void fill(void) {
    Mfl__ToSyncd m = MFL__TO_SYNCD__INIT;
    Mfl__GenReached reached = MFL__GEN_REACHED__INIT;
    int is = 0;

    m.m_case = MFL__TO_SYNCD__M_GEN_REACHED;
    m.gen_reached = &reached;
    for (unsigned i = 0; is == 0 && i < 2 * UPCALL_QUEUE_PACKETS; i++) {
        upcall_tell(&m);
        sem_getvalue(&answered, &is);
    }
    assert_int_equal(is, 1);
}

static void test_it_is_behind(void **state) {
    connected();
    unsigned before = forgot;
    ask();
    fill();
    assert_true(forgotten_by_answer(before) > 0);
}

static void say(Mfl__ToMailfs *m) {
    uint8_t packed[64];

    assert_true(mfl__to_mailfs__get_packed_size(m) <= sizeof packed);
    assert_int_equal(local_send(syncd, packed, mfl__to_mailfs__pack(m, packed), -1), 0);
}

static void say_role(void) {
    Mfl__ToMailfs m = MFL__TO_MAILFS__INIT;
    Mfl__Role role = MFL__ROLE__INIT;

    m.m_case = MFL__TO_MAILFS__M_ROLE;
    m.role = &role;
    say(&m);
}

static void say_token(void) {
    Mfl__ToMailfs m = MFL__TO_MAILFS__INIT;
    Mfl__Token token = MFL__TOKEN__INIT;
    uint8_t id[16] = {1};

    token.dir = (ProtobufCBinaryData){sizeof id, id};
    token.held = true;
    m.m_case = MFL__TO_MAILFS__M_TOKEN;
    m.token = &token;
    say(&m);
}

/* What it had said of a token is in the socket still when it is given up. */
static void test_what_it_said_before(void **state) {
    connected();
    int was = syncd;
    say_token();
    wait_for(&hinted);
    unsigned before = forgot, had = hints;
    slow = true;
    say_role();
    say_token();
    wait_for(&in_role);
    ask();
    fill();
    slow = false;
    sem_post(&role_done);
    wait_for(&answered);
    assert_true(forgot_then > before);
    connected(); /* all that came has been looked at */
    close(was);
    assert_int_equal(hints, had);
    before = forgot;
    ask();
    shutdown(syncd, SHUT_RDWR);
    assert_int_equal(forgotten_by_answer(before), 0);
}

/* It is killed with something of ours unread: what it had said of tokens counts, the last word,
 * too. */
static void test_what_it_said_last(void **state) {
    connected();
    unsigned before = forgot, had = hints;
    slow = true;
    say_role();
    wait_for(&in_role);
    say_token();
    ask();
    close(syncd);
    slow = false;
    sem_post(&role_done);
    wait_for(&answered);
    assert_int_equal(forgot, before);
    assert_int_equal(hints, had + 1);
    wait_for(&hinted);
}

/* It could not be told. */
static void test_it_cannot_be_told(void **state) {
    Mfl__ToSyncd m = MFL__TO_SYNCD__INIT;
    Mfl__GenReached reached = MFL__GEN_REACHED__INIT;

    connected();
    unsigned before = forgot;
    ask();
    m.m_case = MFL__TO_SYNCD__M_GEN_REACHED;
    m.gen_reached = &reached;
    assert_true(upcall_ask(&m, upcall_number(), NO_SUCH_FD, on_answer, NULL));
    wait_for(&answered);
    assert_true(forgotten_by_answer(before) > 0);
}

static void test_it_says_too_much(void **state) {
    static const uint8_t large[LOCAL_PACKET_MAX + 1];

    connected();
    unsigned before = forgot;
    ask();
    assert_int_equal(send(syncd, large, sizeof large, 0), sizeof large);
    assert_true(forgotten_by_answer(before) > 0);
}

/* It gives us up, or is killed with what it had to say of a token. */
static void test_it_is_in_doubt(void **state) {
    uint64_t one = 1;

    connected();
    unsigned before = forgot;
    ask();
    assert_int_equal(write(doubt, &one, sizeof one), sizeof one);
    shutdown(syncd, SHUT_RDWR);
    assert_true(forgotten_by_answer(before) > 0);
}

static void test_it_makes_no_sense(void **state) {
    connected();
    unsigned before = forgot;
    ask();
    assert_int_equal(local_send(syncd, "\xff\xff\xff", 3, -1), 0);
    assert_true(forgotten_by_answer(before) > 0);
}

static void test_it_does_not_answer(void **state) {
    connected();
    unsigned before = forgot;
    vol.timeout_ms = 1;
    ask();
    assert_true(forgotten_by_answer(before) > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_has_ended),        cmocka_unit_test(test_it_is_behind),
        cmocka_unit_test(test_what_it_said_before), cmocka_unit_test(test_what_it_said_last),
        cmocka_unit_test(test_it_cannot_be_told),   cmocka_unit_test(test_it_says_too_much),
        cmocka_unit_test(test_it_is_in_doubt),      cmocka_unit_test(test_it_makes_no_sense),
        cmocka_unit_test(test_it_does_not_answer),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
