/* waits: L is asked for and held, and what is done under it is a transaction, until U. */
#include "waits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A held L keeps nobody else waiting, in its own mailbox or another. */
static void case_held_lock(void) {
    make_box("a", 0);
    make_box("b", 1);
    deliver("a", "1.x");
    struct doing l = doing_start(do_lock, in_mount("a"));
    uint64_t req = fake_expect(MFL__TO_SYNCD__M_LOCK_OPEN)->lock_open->req;
    CHECK(!doing_ends_within(&l, A_WHILE_MS));
    CHECK(rename(in_mount("a/new/1.x"), in_mount("a/cur/1.x:2,")) == 0);
    expect_act(MFL__ACT__WHAT_MOVE);
    deliver("b", "2.x");
    CHECK(rename(in_mount("b/new/2.x"), in_mount("b/cur/2.x:2,S")) == 0);
    expect_act(MFL__ACT__WHAT_MOVE);
    CHECK(!exists(in_store("a/dovecot-uidlist.lock")));
    fake_grant(req, 0, 0, "");
    CHECK(doing_finish(&l) == 0);
    CHECK(fake_expect(MFL__TO_SYNCD__M_LOCK_OPENED)->lock_opened->ok);
}

/* U waits; what is told before it is what the owner wrote. Meanwhile a pick-up and a rename
 * elsewhere. */
static void case_unlock(void) {
    make_box("a", 0);
    make_box("b", 1);
    deliver("a", "1.x");
    CHECK(do_touch(in_mount("a/dovecot-uidlist")) == 0);
    expect_act(MFL__ACT__WHAT_FILE);
    struct doing owner = hold("a");
    int list = open(in_mount("a/dovecot-uidlist"), O_WRONLY | O_APPEND);
    CHECK(list >= 0 && write(list, "1 :1.x\n", 7) == 7);
    nothing_comes();
    struct doing u = doing_start(do_unlock, in_mount("a"));
    const Mfl__Act *a = expect_act(MFL__ACT__WHAT_FILE);
    CHECK(a->in_txn && strcmp(a->file->name, "dovecot-uidlist") == 0);
    const Mfl__ToSyncd *m = fake_expect(MFL__TO_SYNCD__M_UNLOCK);
    uint64_t req = m->unlock->req;
    CHECK(!m->unlock->owner_died);
    CHECK(!doing_ends_within(&u, A_WHILE_MS));
    CHECK(exists(in_store("a/dovecot-uidlist.lock")));
    CHECK(rename(in_mount("a/new/1.x"), in_mount("a/cur/1.x:2,")) == 0);
    CHECK(!expect_act(MFL__ACT__WHAT_MOVE)->in_txn);
    deliver("b", "2.x");
    fake_release(req, 0);
    CHECK(doing_finish(&u) == 0);
    CHECK(!exists(in_store("a/dovecot-uidlist.lock")));
    close(list);
    doing_kill(&owner);
    nothing_comes();
}

/* What the owner does is part of the transaction, what others do is not. */
static int do_owner_acts(const char *box) {
    char from[600], to[600];
    int r = do_lock(box);
    snprintf(from, sizeof from, "%s/new/1.x", box);
    snprintf(to, sizeof to, "%s/cur/1.x:2,S", box);
    if (r == 0 && rename(from, to) != 0)
        r = errno;
    if (r == 0 && unlink(to) != 0)
        r = errno;
    return r != 0 ? r : do_unlock(box);
}

static void case_in_txn(void) {
    make_box("a", 0);
    deliver("a", "1.x");
    struct doing d = doing_start(do_owner_acts, in_mount("a"));
    fake_grant(fake_expect(MFL__TO_SYNCD__M_LOCK_OPEN)->lock_open->req, 0, 0, "");
    fake_expect(MFL__TO_SYNCD__M_LOCK_OPENED);
    const Mfl__Act *a = expect_act(MFL__ACT__WHAT_MOVE);
    CHECK(a->in_txn && a->move->old_sub == MFL__SUB__NEW && a->move->sub == MFL__SUB__CUR);
    CHECK(strcmp(a->move->name, "1.x:2,S") == 0);
    a = expect_act(MFL__ACT__WHAT_REMOVE);
    CHECK(a->in_txn && strcmp(a->remove->name, "1.x:2,S") == 0);
    fake_release(fake_expect(MFL__TO_SYNCD__M_UNLOCK)->unlock->req, 0);
    CHECK(doing_finish(&d) == 0);
}

/* A mailbox that is deleted while somebody holds its L: U is still told. */
static void case_lock_in_trash(void) {
    make_box("a", 0);
    struct doing owner = hold("a");
    CHECK(rename(in_mount("a"), in_mount("..DOVECOT-TRASHED")) == 0);
    expect_act(MFL__ACT__WHAT_DIR_REMOVE);
    struct doing u = doing_start(do_unlock, in_mount("..DOVECOT-TRASHED"));
    uint64_t req = fake_expect(MFL__TO_SYNCD__M_UNLOCK)->unlock->req;
    CHECK(!doing_ends_within(&u, A_WHILE_MS));
    fake_release(req, 0);
    CHECK(doing_finish(&u) == 0);
    doing_kill(&owner);
    nothing_comes();
}

/* The peer has the token: a lock that bears its name, until the token is here. */
static void case_busy(void) {
    char text[64] = "";
    ProtobufCBinaryData dir = make_box("a", 0);
    struct doing l = doing_start(do_lock, in_mount("a"));
    fake_grant(fake_expect(MFL__TO_SYNCD__M_LOCK_OPEN)->lock_open->req, EEXIST, 0, "77:mx-b");
    CHECK(doing_finish(&l) == EEXIST);
    int fd = open(in_mount("a/dovecot-uidlist.lock"), O_RDONLY);
    CHECK(fd >= 0 && read(fd, text, sizeof text) == 7 && memcmp(text, "77:mx-b", 7) == 0);
    close(fd);
    CHECK(do_lock(in_mount("a")) == EEXIST);
    nothing_comes();
    fake_token_here(dir);
    for (long until = now_ms() + AT_ONCE_MS; exists(in_mount("a/dovecot-uidlist.lock"));)
        CHECK(now_ms() < until);
    l = doing_start(do_lock, in_mount("a"));
    fake_grant(fake_expect(MFL__TO_SYNCD__M_LOCK_OPEN)->lock_open->req, 0, 0, "");
    CHECK(doing_finish(&l) == 0);
    CHECK(fake_expect(MFL__TO_SYNCD__M_LOCK_OPENED)->lock_opened->ok);
    CHECK(fake_expect(MFL__TO_SYNCD__M_UNLOCK)->unlock->owner_died); /* it has ended by now */
}

/* Raised before L is given, and told as part of the transaction. */
static void case_raise(void) {
    char text[256] = "";
    make_box("a", 0);
    put_file(in_mount("a/dovecot-uidlist"), "3 V1700000000 N5 G0123456789abcdef0123456789abcdef\n");
    expect_act(MFL__ACT__WHAT_FILE);
    struct doing l = doing_start(do_lock_and_stay, in_mount("a"));
    fake_grant(fake_expect(MFL__TO_SYNCD__M_LOCK_OPEN)->lock_open->req, 0, 1, "");
    fake_expect(MFL__TO_SYNCD__M_LOCK_OPENED);
    const Mfl__Act *a = expect_act(MFL__ACT__WHAT_FILE);
    CHECK(a->in_txn && strcmp(a->file->name, "dovecot-uidlist") == 0);
    int fd = open(in_mount("a/dovecot-uidlist"), O_RDONLY);
    CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    /* the first block of 2^16 that is 1 modulo 4 and at least 2^16 above 5 */
    CHECK(strstr(text, " N327680 ") != NULL);
    close(fd);
    doing_kill(&l);
    CHECK(fake_expect(MFL__TO_SYNCD__M_UNLOCK)->unlock->owner_died);
}

static const struct wait_case cases[] = {
    {"held_lock", case_held_lock, NULL, NULL},
    {"unlock", case_unlock, NULL, NULL},
    {"in_txn", case_in_txn, NULL, NULL},
    {"lock_in_trash", case_lock_in_trash, NULL, NULL},
    {"busy", case_busy, NULL, NULL},
    {"raise", case_raise, NULL, NULL},
    {NULL, NULL, NULL, NULL},
};

int main(int argc, char **argv) {
    return waits_main(argc, argv, cases);
}
