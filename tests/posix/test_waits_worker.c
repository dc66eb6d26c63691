/* waits: the worker dies, at a certain place, and the next one goes on. */
#include "waits.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Says when it is durable, and goes on living. */
static int do_fsync_and_stay(const char *path) {
    int r = do_fsync(path);
    if (r != 0)
        return r;
    close_saying_pipe();
    for (;;)
        pause();
}

static int do_trash(const char *box) {
    return rename(box, in_mount("..DOVECOT-TRASHED")) == 0 ? 0 : errno;
}

static int do_rmdir(const char *path) {
    return rmdir(path) == 0 ? 0 : errno;
}

static int do_pick_up(const char *box) {
    char from[600], to[600];
    snprintf(from, sizeof from, "%s/new/1.x", box);
    snprintf(to, sizeof to, "%s/cur/1.x:2,", box);
    return rename(from, to) == 0 ? 0 : errno;
}

/* Killed when it was about to tell of U, or just had: the next one says that it does not know. */
static void case_dies_going(void) {
    make_box("a", 0);
    struct doing owner = hold("a");
    struct doing u = doing_start(do_unlock, in_mount("a"));
    const Mfl__Hello *h = fake_welcome();
    CHECK(h->n_locked == 0 && h->n_going == 1);
    CHECK(memcmp(h->going[0].data, dir_bytes[0], 16) == 0);
    const Mfl__Unlock *again = fake_expect(MFL__TO_SYNCD__M_UNLOCK)->unlock;
    CHECK(again->again && !again->owner_died);
    CHECK(!doing_ends_within(&u, A_WHILE_MS));
    fake_release(again->req, 0);
    CHECK(doing_finish(&u) == 0);
    CHECK(!exists(in_store("a/dovecot-uidlist.lock")));
    doing_kill(&owner);
}

/* DELETE is a rename: of which mailbox is still told by the id. */
static void case_dies_trashing(void) {
    make_box("a", 0);
    deliver("a", "1.x");
    struct doing d = doing_start(do_trash, in_mount("a"));
    fake_welcome();
    const Mfl__Act *a = expect_act(MFL__ACT__WHAT_DIR_REMOVE);
    CHECK(memcmp(a->dir_remove->id.data, dir_bytes[0], 16) == 0 && a->dir_remove->trashed);
    CHECK(a->dir_remove->n_bases == 1);
    CHECK(doing_finish(&d) == 0);
}

/* Of a directory that is gone nobody knows the id. */
static void case_dies_rmdir(void) {
    CHECK(mkdir(in_mount("d"), 0700) == 0);
    expect_act(MFL__ACT__WHAT_DIR_MAKE);
    struct doing d = doing_start(do_rmdir, in_mount("d"));
    fake_welcome();
    fake_expect(MFL__TO_SYNCD__M_LOST);
    CHECK(doing_finish(&d) == 0);
}

/* A file that was written under L and is still open is told by the next worker, before U. */
static void case_dies_telling(void) {
    make_box("a", 0);
    struct doing owner = hold("a");
    int fd = open(in_mount("a/dovecot-keywords"), O_WRONLY | O_CREAT, 0600);
    CHECK(fd >= 0 && write(fd, "0 k\n", 4) == 4);
    struct doing u = doing_start(do_unlock, in_mount("a"));
    const Mfl__Hello *h = fake_welcome();
    CHECK(h->n_locked == 1 && h->n_going == 0);
    const Mfl__Act *a = expect_act(MFL__ACT__WHAT_FILE);
    CHECK(a->in_txn && strcmp(a->file->name, "dovecot-keywords") == 0);
    fake_release(fake_expect(MFL__TO_SYNCD__M_UNLOCK)->unlock->req, 0);
    CHECK(doing_finish(&u) == 0 && close(fd) == 0);
    doing_kill(&owner);
}

static pid_t child_of(pid_t pid) {
    char path[64], line[64] = "";
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *f = fopen(path, "r");
    pid_t child = f != NULL && fgets(line, sizeof line, f) != NULL ? (pid_t)atoi(line) : 0;
    if (f != NULL)
        fclose(f);
    return child;
}

static char state_of(pid_t pid) {
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    const char *end = f != NULL && fgets(line, sizeof line, f) != NULL ? strrchr(line, ')') : NULL;
    if (f != NULL)
        fclose(f);
    return end != NULL ? end[2] : '?';
}

/* The next worker, which MAILFS_STOP has stopped. */
static pid_t stopped_worker(void) {
    pid_t worker = 0;
    for (int ms = 0; ms < AT_ONCE_MS && (worker == 0 || state_of(worker) != 'T'); ms += 5) {
        poll(NULL, 0, 5);
        worker = child_of(daemon_pid);
    }
    CHECK(state_of(worker) == 'T');
    return worker;
}

/* Carried out, not told; and whoever asked is killed before the next worker is asked again. */
static void case_dies_with_client(void) {
    make_box("a", 0);
    deliver("a", "1.x");
    struct doing d = doing_start(do_pick_up, in_mount("a"));
    pid_t worker = stopped_worker();
    CHECK(exists(in_store("a/cur/1.x:2,")));
    doing_kill(&d);
    CHECK(kill(worker, SIGCONT) == 0);
    fake_welcome();
    fake_expect(MFL__TO_SYNCD__M_LOST);
}

/* Asked again before the next worker has a syncd: its Hello names the L, which is not gone. */
static void case_dies_unheard(void) {
    char path[300], away[310];
    make_box("a", 0);
    struct doing owner = hold("a");
    snprintf(path, sizeof path, "%s", in_top("state/syncd.sock"));
    snprintf(away, sizeof away, "%s.away", path);
    CHECK(rename(path, away) == 0);
    struct doing u = doing_start(do_unlock, in_mount("a"));
    pid_t worker = stopped_worker();
    CHECK(rename(away, path) == 0 && kill(worker, SIGCONT) == 0);
    const Mfl__Hello *h = fake_welcome();
    CHECK(h->n_locked == 0 && h->n_going == 1);
    const Mfl__Unlock *again = fake_expect(MFL__TO_SYNCD__M_UNLOCK)->unlock;
    CHECK(again->again && !again->owner_died);
    fake_release(again->req, 0);
    CHECK(doing_finish(&u) == 0);
    doing_kill(&owner);
}

/* The next worker watches who is to name a message, too. */
static void case_dies_author(void) {
    make_box("a", 0);
    put_file(in_mount("a/tmp/1.x"), "one");
    struct doing d = doing_start(do_fsync_and_stay, in_mount("a/tmp/1.x"));
    const Mfl__ToSyncd *m = fake_expect(MFL__TO_SYNCD__M_PREPARE);
    uint64_t seq = m->prepare->id->seq;
    fake_release(m->prepare->req, 0);
    CHECK(doing_ends_within(&d, AT_ONCE_MS));
    CHECK(kill(child_of(daemon_pid), SIGKILL) == 0);
    fake_welcome();
    doing_kill(&d);
    CHECK(fake_expect(MFL__TO_SYNCD__M_ABORT)->abort->id->seq == seq);
}

/* While a message's fsync waits: the next worker asks for the same content, so that it is named by
 * the number under which the peer may have it. */
static void case_dies_preparing(void) {
    make_box("a", 0);
    put_file(in_mount("a/tmp/1.x"), "one");
    struct doing d = doing_start(do_fsync_and_stay, in_mount("a/tmp/1.x"));
    const Mfl__Prepare *p = fake_expect(MFL__TO_SYNCD__M_PREPARE)->prepare;
    uint64_t seq = p->id->seq;
    CHECK(!p->again);
    CHECK(kill(child_of(daemon_pid), SIGKILL) == 0);
    fake_welcome();
    p = fake_expect(MFL__TO_SYNCD__M_PREPARE)->prepare;
    CHECK(p->again && p->id->seq == seq);
    CHECK(!doing_ends_within(&d, A_WHILE_MS));
    fake_release(p->req, 0);
    CHECK(doing_ends_within(&d, AT_ONCE_MS));
    CHECK(link(in_mount("a/tmp/1.x"), in_mount("a/new/1.x")) == 0);
    const Mfl__Act *add = expect_act(MFL__ACT__WHAT_ADD);
    CHECK(add->add->source->prepared->seq == seq);
    doing_kill(&d);
}

/* A lock that stood for the peer's was nobody's here: no UID can have been given under it. */
static void case_dies_showing(void) {
    make_box("a", 0);
    put_file(in_mount("a/dovecot-uidlist"), "3 V1700000000 N5 G0123456789abcdef0123456789abcdef\n");
    expect_act(MFL__ACT__WHAT_FILE);
    struct doing l = doing_start(do_lock, in_mount("a"));
    fake_grant(fake_expect(MFL__TO_SYNCD__M_LOCK_OPEN)->lock_open->req, EEXIST, 0, "1:mx-b");
    CHECK(doing_finish(&l) == EEXIST && exists(in_store("a/dovecot-uidlist.lock")));
    CHECK(kill(child_of(daemon_pid), SIGKILL) == 0);
    CHECK(fake_welcome()->n_locked == 0 && !exists(in_store("a/dovecot-uidlist.lock")));
    l = hold("a");
    nothing_comes();
    doing_kill(&l);
}

static const struct wait_case cases[] = {
    {"dies_going", case_dies_going, "going", NULL},
    {"dies_unheard", case_dies_unheard, "going", "claimed"},
    {"dies_trashing", case_dies_trashing, "rename:2", NULL},
    {"dies_rmdir", case_dies_rmdir, "rmdir", NULL},
    {"dies_with_client", case_dies_with_client, "rename:2", "resent"},
    {"dies_author", case_dies_author, NULL, NULL},
    {"dies_preparing", case_dies_preparing, NULL, NULL},
    {"dies_telling", case_dies_telling, "tell", NULL},
    {"dies_showing", case_dies_showing, NULL, NULL},
    {NULL, NULL, NULL, NULL},
};

int main(int argc, char **argv) {
    return waits_main(argc, argv, cases);
}
