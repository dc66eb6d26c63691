/* waits: what was changed below the mount is seen, and wakes who watches. */
#include "waits.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

/* Invalidations of a mailbox whose L is waited for do not hold up another's, and come in the end.
 */
static void case_invalidate(void) {
    ProtobufCBinaryData a = make_box("a", 0), b = make_box("b", 1);
    deliver("a", "1.x");
    deliver("b", "1.x");
    CHECK(exists(in_mount("a/new/1.x")) && exists(in_mount("b/new/1.x")));
    struct doing l = doing_start(do_lock, in_mount("a"));
    uint64_t req = fake_expect(MFL__TO_SYNCD__M_LOCK_OPEN)->lock_open->req;
    put_file(in_store("a/subscriptions"), "x\n");
    fake_invalidate(1, a, MFL__SUB__SELF, "", "subscriptions", true);
    fake_invalidate(2, b, MFL__SUB__NEW, "1.x", "", true);
    CHECK(unlink(in_store("b/new/1.x")) == 0);
    CHECK(fake_expect(MFL__TO_SYNCD__M_INVALIDATED)->invalidated->seq == 2);
    CHECK(!exists(in_mount("b/new/1.x")));
    nothing_comes();
    fake_grant(req, 0, 0, "");
    CHECK(doing_finish(&l) == 0);
    bool opened = false, invalidated = false, died = false;
    while (!opened || !invalidated || !died) {
        const Mfl__ToSyncd *m = fake_next(AT_ONCE_MS, NULL);
        CHECK(m != NULL);
        opened |= m->m_case == MFL__TO_SYNCD__M_LOCK_OPENED;
        died |= m->m_case == MFL__TO_SYNCD__M_UNLOCK && m->unlock->owner_died;
        invalidated |= m->m_case == MFL__TO_SYNCD__M_INVALIDATED && m->invalidated->seq == 1;
    }
    CHECK(exists(in_mount("a/subscriptions")));
}

/* A rename below the mount is seen under both names, and wakes who watches. */
static void case_poke(void) {
    char events[4096];
    ProtobufCBinaryData a = make_box("a", 0);
    struct pollfd p = {.fd = inotify_init1(IN_CLOEXEC), .events = POLLIN};
    deliver("a", "1.x");
    CHECK(rename(in_mount("a/new/1.x"), in_mount("a/cur/1.x:2,")) == 0);
    expect_act(MFL__ACT__WHAT_MOVE);
    CHECK(exists(in_mount("a/cur/1.x:2,")));
    CHECK(inotify_add_watch(p.fd, in_mount("a/cur"), IN_CREATE | IN_DELETE) >= 0);
    char from[600];
    snprintf(from, sizeof from, "%s", in_store("a/cur/1.x:2,"));
    CHECK(rename(from, in_store("a/cur/1.x:2,S")) == 0);
    fake_invalidate(5, a, MFL__SUB__CUR, "1.x:2,", "1.x:2,S", true);
    CHECK(fake_expect(MFL__TO_SYNCD__M_INVALIDATED)->invalidated->seq == 5);
    CHECK(poll(&p, 1, AT_ONCE_MS) == 1);
    CHECK(read(p.fd, events, sizeof events) > 0);
    CHECK(!exists(in_mount("a/cur/1.x:2,")));
    CHECK(exists(in_mount("a/cur/1.x:2,S")));
    close(p.fd);
    nothing_comes();
    CHECK(open(in_mount("a/cur/.mailfs-poke"), O_CREAT | O_WRONLY, 0600) < 0 && errno == EPERM);
}

static bool times_are_fresh(const char *dir) {
    struct stat seen, is;
    CHECK(stat(in_mount(dir), &seen) == 0 && stat(in_store(dir), &is) == 0);
    return seen.st_mtim.tv_sec == is.st_mtim.tv_sec && seen.st_mtim.tv_nsec == is.st_mtim.tv_nsec;
}

static int do_stat_for_ever(const char *dir) {
    struct stat st;
    while (stat(dir, &st) == 0)
        ;
    return errno;
}

enum { LOOKERS = 3 };

/* A look at the very moment in which the kernel takes in another's answer can see what was there
 * before: as many as there are others can. */
static bool times_are_stale(const char *dir) {
    int looks = 0;
    while (looks <= LOOKERS && !times_are_fresh(dir))
        looks++;
    return looks > LOOKERS;
}

/* Attributes that somebody asked for before a rename are not believed after it. */
static void case_times(void) {
    enum { RENAMES = 3000 };
    struct doing lookers[LOOKERS];
    char one[600], two[600];
    make_box("a", 0);
    deliver("a", "1.x");
    snprintf(one, sizeof one, "%s", in_mount("a/new/1.x"));
    snprintf(two, sizeof two, "%s", in_mount("a/new/1.x:2,S"));
    for (int i = 0; i < LOOKERS; i++)
        lookers[i] = doing_start(do_stat_for_ever, in_mount("a/new"));
    int stale = 0;
    for (int i = 0; i < RENAMES; i++) {
        CHECK(rename(i % 2 == 0 ? one : two, i % 2 == 0 ? two : one) == 0);
        stale += times_are_stale("a/new");
        expect_act(MFL__ACT__WHAT_MOVE);
    }
    for (int i = 0; i < LOOKERS; i++)
        doing_kill(&lookers[i]);
    if (stale > 0)
        printf("# %d of %d times the time was that from before the rename\n", stale, RENAMES);
    CHECK(stale == 0);
}

/* Who is granted L sees the times of what was changed below the mount before. */
static void case_times_at_grant(void) {
    ProtobufCBinaryData a = make_box("a", 0);
    for (int i = 0; i < 50; i++) {
        CHECK(times_are_fresh("a/cur"));
        struct doing l = doing_start(do_lock, in_mount("a"));
        uint64_t req = fake_expect(MFL__TO_SYNCD__M_LOCK_OPEN)->lock_open->req;
        put_file(in_store("a/cur/1.x:2,"), "text");
        fake_invalidate(1, a, MFL__SUB__CUR, "", "1.x:2,", true);
        fake_grant(req, 0, 0, "");
        CHECK(doing_finish(&l) == 0);
        CHECK(times_are_fresh("a/cur"));
        bool died = false, invalidated = false;
        while (!died || !invalidated) {
            const Mfl__ToSyncd *m = fake_next(AT_ONCE_MS, NULL);
            CHECK(m != NULL);
            died |= m->m_case == MFL__TO_SYNCD__M_UNLOCK && m->unlock->owner_died;
            invalidated |= m->m_case == MFL__TO_SYNCD__M_INVALIDATED;
        }
        for (long until = now_ms() + AT_ONCE_MS; exists(in_store("a/dovecot-uidlist.lock"));)
            CHECK(now_ms() < until);
        CHECK(unlink(in_mount("a/cur/1.x:2,")) == 0);
        expect_act(MFL__ACT__WHAT_REMOVE);
    }
}

static const struct wait_case cases[] = {
    {"invalidate", case_invalidate, NULL, NULL},
    {"poke", case_poke, NULL, NULL},
    {"times", case_times, NULL, NULL},
    {"times_at_grant", case_times_at_grant, NULL, NULL},
    {NULL, NULL, NULL, NULL},
};

int main(int argc, char **argv) {
    return waits_main(argc, argv, cases);
}
