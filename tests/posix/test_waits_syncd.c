/* waits: syncd dies, is stuck, or begins a generation. */
#include "waits.h"

#include <stdio.h>
#include <string.h>

/* syncd dies: all that waits goes on at once; when it is back it hears what is held and what it
 * missed. */
static void case_syncd_dies(void) {
    make_box("a", 0);
    make_box("b", 1);
    put_file(in_mount("a/tmp/1.x"), "x");
    struct doing owner = hold("b");
    struct doing f = doing_start(do_fsync, in_mount("a/tmp/1.x"));
    fake_expect(MFL__TO_SYNCD__M_PREPARE);
    struct doing l = doing_start(do_lock_and_stay, in_mount("a"));
    fake_expect(MFL__TO_SYNCD__M_LOCK_OPEN);
    long before = now_ms();
    fake_stop();
    CHECK(doing_finish(&f) == 0);
    while (!exists(in_store("a/dovecot-uidlist.lock")))
        CHECK(now_ms() < before + AT_ONCE_MS);
    CHECK(rename(in_mount("a/tmp/1.x"), in_mount("a/new/1.x")) == 0); /* nobody hears it */
    CHECK(do_unlock(in_mount("b")) == 0);
    fake_listen(in_top("state"));
    const Mfl__Hello *h = fake_welcome();
    CHECK(h->n_locked == 1 && memcmp(h->locked[0].data, dir_bytes[0], 16) == 0);
    CHECK(fake_expect(MFL__TO_SYNCD__M_LOST)->lost->dropped > 0);
    doing_kill(&owner);
    doing_kill(&l);
    CHECK(fake_expect(MFL__TO_SYNCD__M_UNLOCK)->unlock->owner_died);
}

/* A syncd that accepts and then says nothing does not stop the mail. */
static void case_syncd_stuck(void) {
    make_box("a", 0);
    put_file(in_mount("a/tmp/1.x"), "x");
    fake_stop();
    fake_listen(in_top("state"));
    fake_accept();
    fake_expect(MFL__TO_SYNCD__M_HELLO); /* before that mailfs does not know that it is there */
    struct doing f = doing_start(do_fsync, in_mount("a/tmp/1.x"));
    CHECK(!doing_ends_within(&f, A_WHILE_MS));
    CHECK(doing_ends_within(&f, 1000 * PEER_TIMEOUT_S + AT_ONCE_MS));
    CHECK(doing_finish(&f) == 0);
}

static void case_new_generation(void) {
    fake_new_gen(9);
    CHECK(fake_expect(MFL__TO_SYNCD__M_GEN_REACHED)->gen_reached->gen == 9);
    make_box("a", 0);
}

static const struct wait_case cases[] = {
    {"syncd_dies", case_syncd_dies, NULL, NULL},
    {"syncd_stuck", case_syncd_stuck, NULL, NULL},
    {"new_generation", case_new_generation, NULL, NULL},
    {NULL, NULL, NULL, NULL},
};

int main(int argc, char **argv) {
    return waits_main(argc, argv, cases);
}
