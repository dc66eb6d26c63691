/* waits: an L that its owner does not end: he dies, or the mailbox has another name. */
#include "waits.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* The owner dies: its transaction ends, its lock goes. */
static void case_owner_dies(void) {
    make_box("a", 0);
    struct doing owner = hold("a");
    CHECK(exists(in_mount("a/dovecot-uidlist.lock")));
    doing_kill(&owner);
    const Mfl__ToSyncd *m = fake_expect(MFL__TO_SYNCD__M_UNLOCK);
    CHECK(m->unlock->owner_died && memcmp(m->unlock->dir.data, dir_bytes[0], 16) == 0);
    for (long until = now_ms() + AT_ONCE_MS; exists(in_mount("a/dovecot-uidlist.lock"));)
        CHECK(now_ms() < until);
}

static void await_signal(int number) {
    sigset_t set;
    int got;
    sigemptyset(&set);
    sigaddset(&set, number);
    CHECK(sigwait(&set, &got) == 0);
}

/* As Dovecot between L and U, whose mailbox is renamed: it looks for its lock (SIGUSR1), does not
 * find it, and closes the UID list (SIGUSR2) without another word. */
static int do_lose_lock(const char *box) {
    char path[600];
    struct stat st;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    snprintf(path, sizeof path, "%s/dovecot-uidlist", box);
    int list = open(path, O_RDWR);
    int r = list < 0 ? errno : do_lock(box);
    if (r != 0)
        return r;
    await_signal(SIGUSR1);
    snprintf(path, sizeof path, "%s/dovecot-uidlist.lock", box);
    if (lstat(path, &st) == 0)
        return EEXIST;
    await_signal(SIGUSR2);
    close(list);
    close_saying_pipe();
    for (;;)
        pause();
}

/* The next one gets L of the mailbox while the former owner lives. */
static void lock_is_free(const char *box, const struct doing *former) {
    for (long until = now_ms() + AT_ONCE_MS; exists(in_store("b/dovecot-uidlist.lock"));) {
        CHECK(now_ms() < until);
        poll(NULL, 0, 5);
    }
    struct doing next = doing_start(do_lock, in_mount(box));
    fake_grant(fake_expect(MFL__TO_SYNCD__M_LOCK_OPEN)->lock_open->req, 0, 0, "");
    CHECK(fake_expect(MFL__TO_SYNCD__M_LOCK_OPENED)->lock_opened->ok);
    CHECK(doing_finish(&next) == 0);
    CHECK(waitpid(former->pid, NULL, WNOHANG) == 0);
}

/* A mailbox is renamed under L: its owner cannot end it. It ends when he can write nothing more. */
static void case_renamed_held(void) {
    make_box("a", 0);
    CHECK(do_touch(in_mount("a/dovecot-uidlist")) == 0);
    expect_act(MFL__ACT__WHAT_FILE);
    struct doing owner = doing_start(do_lose_lock, in_mount("a"));
    fake_grant(fake_expect(MFL__TO_SYNCD__M_LOCK_OPEN)->lock_open->req, 0, 0, "");
    CHECK(fake_expect(MFL__TO_SYNCD__M_LOCK_OPENED)->lock_opened->ok);
    CHECK(rename(in_mount("a"), in_mount("b")) == 0);
    expect_act(MFL__ACT__WHAT_DIR_MOVE);
    nothing_comes();
    kill(owner.pid, SIGUSR1);
    nothing_comes();
    CHECK(exists(in_store("b/dovecot-uidlist.lock")));
    kill(owner.pid, SIGUSR2);
    CHECK(doing_ends_within(&owner, AT_ONCE_MS));
    CHECK(fake_expect(MFL__TO_SYNCD__M_UNLOCK)->unlock->owner_died);
    lock_is_free("b", &owner);
    doing_kill(&owner);
}

/* It looks for it, as Dovecot does before it believes that it has it, and that is all. */
static int do_lock_and_look(const char *box) {
    char path[600];
    struct stat st;
    int r = do_lock(box);
    snprintf(path, sizeof path, "%s/dovecot-uidlist.lock", box);
    if (r != 0 || lstat(path, &st) == 0)
        return r != 0 ? r : EEXIST;
    close_saying_pipe();
    for (;;)
        pause();
}

/* The other node renames it while somebody here waits for L. */
static void case_renamed_waiting(void) {
    ProtobufCBinaryData root = {16, (uint8_t[16]){0}};
    char from[600];
    make_box("a", 0);
    struct doing owner = doing_start(do_lock_and_look, in_mount("a"));
    uint64_t req = fake_expect(MFL__TO_SYNCD__M_LOCK_OPEN)->lock_open->req;
    snprintf(from, sizeof from, "%s", in_store("a"));
    CHECK(rename(from, in_store("b")) == 0);
    fake_moved(7, root, (ProtobufCBinaryData){16, dir_bytes[0]}, "a", "b");
    CHECK(fake_expect(MFL__TO_SYNCD__M_INVALIDATED)->invalidated->seq == 7);
    fake_grant(req, 0, 0, "");
    CHECK(fake_expect(MFL__TO_SYNCD__M_LOCK_OPENED)->lock_opened->ok);
    CHECK(doing_ends_within(&owner, AT_ONCE_MS));
    CHECK(fake_expect(MFL__TO_SYNCD__M_UNLOCK)->unlock->owner_died);
    lock_is_free("b", &owner);
    doing_kill(&owner);
}

static const struct wait_case cases[] = {
    {"owner_dies", case_owner_dies, NULL, NULL},
    {"renamed_held", case_renamed_held, NULL, NULL},
    {"renamed_waiting", case_renamed_waiting, NULL, NULL},
    {NULL, NULL, NULL, NULL},
};

int main(int argc, char **argv) {
    return waits_main(argc, argv, cases);
}
