/* Files that are no messages: what is written here at the moment when the peer's comes. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#include "io/io.h"
#include "syncd/base.h"
#include "syncd/journal.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "mailbox_pair.h"
#include "syncd_contact.h"

#define SCRIPT "u/one.sieve"

/* The renames that give or take the script's name at b: those from that one on fail, and before the
 * first ones a client writes this. */
static struct {
    unsigned n, fails_from;
    const char *write[3]; /* before the first, the second, ... */
} renames;

static int setup(void **state) {
    memset(&renames, 0, sizeof(renames));
    mailbox_setup(state);
    stores_checkpoint(&p);
    return 0;
}

/* Some time ago: two that are written one after the other can have one time. */
static void write_before(struct node *n, time_t seconds, const char *text) {
    struct timespec ts[2] = {{.tv_sec = time(NULL) - seconds}};
    char path[256];

    fs_write(n, SCRIPT, text);
    ts[1] = ts[0];
    snprintf(path, sizeof(path), "%s/%s", n->store, SCRIPT);
    assert_int_equal(utimensat(AT_FDCWD, path, ts, 0), 0);
}

static void script_is(struct node *n, const char *text) {
    char *have = fs_read(n, SCRIPT);

    assert_non_null(have);
    assert_string_equal(have, text);
    free(have);
}

/* a's script as it is now; in b's journal, and not applied. */
static void a_tells(void) {
    struct acts a = {.n = 0};
    Mfp__Txn *txn, *got;

    act_file(&a, "one.sieve");
    txn = node_collect(&p.a, &inbox, &a, false);
    node_receive(&p.a, &p.b, txn, &got);
    assert_int_equal(base_acked(p.a.st, txn), 0);
    mfp__txn__free_unpacked(txn, NULL);
    mfp__txn__free_unpacked(got, NULL);
}

/* Written at a some time ago, and told. */
static void both_have(time_t seconds, const char *text) {
    struct acts a = {.n = 0};

    write_before(&p.a, seconds, text);
    act_file(&a, "one.sieve");
    assert_false(stores_send(&p.a, &p.b, &inbox, &a, false));
}

/* With both in contact again, both have this. */
static void in_the_end(const char *text) {
    contact_mark(&p.b, &inbox);
    contact_all(&p);
    script_is(&p.a, text);
    script_is(&p.b, text);
}

static void lives_when_written_after_a_kill(void) {
    node_killed(&p.b);
    fs_write(&p.b, SCRIPT, "stop;\n");
    node_replay(&p.b);
    script_is(&p.b, "stop;\n");
    in_the_end("stop;\n");
}

/* b's syncd was killed with a's script in its journal; a client wrote one at b before the start. */
static void test_newer_than_the_journal(void **state) {
    write_before(&p.a, 20, "keep;\n");
    a_tells();
    lives_when_written_after_a_kill();
}

/* The power went: what is older than the journal's comes from before it. */
static void test_older_than_the_journal(void **state) {
    write_before(&p.b, 30, "lost its way;\n");
    write_before(&p.a, 20, "keep;\n");
    a_tells();
    write_before(&p.a, 10, "stop;\n");
    a_tells();
    node_reopen(&p.b);
    node_replay(&p.b);
    script_is(&p.b, "stop;\n");
    in_the_end("stop;\n");
}

/* Written anew after a removal that is still in the journal: it lives. */
static void test_removed_in_the_journal(void **state) {
    both_have(20, "keep;\n");
    fs_unlink(&p.a, SCRIPT);
    a_tells();
    lives_when_written_after_a_kill();
}

/* Written at b after both have listed the mailbox: no listing has it. */
static void test_newer_than_the_listing(void **state) {
    uint8_t digest[STATE_DIGEST];
    Mfp__Listing *a, *b;

    write_before(&p.a, 20, "keep;\n");
    contact_mark(&p.a, &inbox);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, false, &a), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, false, &b), 0);
    stores_stage(&p.a, &p.b, a);
    fs_write(&p.b, SCRIPT, "stop;\n");
    assert_int_equal(merge_mailbox_run(p.b.st, &inbox, b, a, digest, NULL), -ESTALE);
    script_is(&p.b, "stop;\n");
    assert_int_equal(merge_mailbox_run(p.a.st, &inbox, a, b, digest, NULL), 0);
    merge_mailbox_forget(p.a.st, &inbox);
    merge_mailbox_forget(p.b.st, &inbox);
    mfp__listing__free_unpacked(a, NULL);
    mfp__listing__free_unpacked(b, NULL);
    in_the_end("stop;\n");
}

/* b has an older one when a's comes, which a takes for agreed on: it is in b's journal. */
static void test_newer_than_what_it_meets(void **state) {
    struct acts a = {.n = 0};

    write_before(&p.b, 20, "keep;\n");
    write_before(&p.a, 10, "stop;\n");
    act_file(&a, "one.sieve");
    assert_true(stores_send(&p.a, &p.b, &inbox, &a, false));
    script_is(&p.b, "keep;\n");
    in_the_end("stop;\n");
}

/* The same, and it was removed at b. */
static void test_removed_where_it_comes(void **state) {
    struct acts a = {.n = 0};

    both_have(20, "keep;\n");
    fs_unlink(&p.b, SCRIPT);
    write_before(&p.a, 10, "stop;\n");
    act_file(&a, "one.sieve");
    assert_true(stores_send(&p.a, &p.b, &inbox, &a, false));
    in_the_end("stop;\n");
}

/* A client writes while the new file is made durable, so many times. */
static unsigned writes_left;

static int fsync_and_write(int fd) {
    if (writes_left > 0) {
        writes_left--;
        fs_write(&p.b, SCRIPT, "stop;\n");
    }
    return io_ops_real.fsync(fd);
}

static void test_written_meanwhile(void **state) {
    struct io_ops ops = io_ops_real;
    struct acts a = {.n = 0};
    bool suspect;

    ops.fsync = fsync_and_write;
    write_before(&p.a, 20, "keep;\n");
    act_file(&a, "one.sieve");
    writes_left = 1;
    io_ops_set(&ops);
    suspect = stores_send(&p.a, &p.b, &inbox, &a, false);
    io_ops_set(&io_ops_real);
    assert_int_equal(writes_left, 0);
    assert_true(suspect);
    script_is(&p.b, "stop;\n");
    in_the_end("stop;\n");
}

/* A client writes, or removes, at the moment when the new file takes the name. */
static const char *last_word;

static int write_and_rename(int fromdir, const char *from, int todir, const char *to,
                            unsigned flags) {
    if (writes_left > 0 && (strcmp(to, "one.sieve") == 0 || strcmp(from, "one.sieve") == 0)) {
        writes_left--;
        if (last_word)
            fs_write(&p.b, SCRIPT, last_word);
        else
            fs_unlink(&p.b, SCRIPT);
    }
    return io_ops_real.rename(fromdir, from, todir, to, flags);
}

static void meet(const char *word) {
    struct io_ops ops = io_ops_real;
    struct acts a = {.n = 0};
    bool suspect;

    act_file(&a, "one.sieve");
    ops.rename = write_and_rename;
    last_word = word;
    writes_left = 1;
    io_ops_set(&ops);
    suspect = stores_send(&p.a, &p.b, &inbox, &a, false);
    io_ops_set(&io_ops_real);
    assert_int_equal(writes_left, 0);
    assert_true(suspect);
    if (word)
        script_is(&p.b, word);
}

/* b has none, then one; then it has one, and another. */
static void test_written_in_that_moment(void **state) {
    write_before(&p.a, 20, "keep;\n");
    meet("stop;\n");
    in_the_end("stop;\n");
    write_before(&p.a, 10, "fileinto;\n");
    meet("discard;\n");
    in_the_end("discard;\n");
}

/* It goes at a, and is written anew at b; the other way round. */
static void test_removed_in_that_moment(void **state) {
    both_have(30, "keep;\n");
    fs_unlink(&p.a, SCRIPT);
    meet("stop;\n");
    in_the_end("stop;\n");
    write_before(&p.a, 10, "fileinto;\n");
    meet(NULL);
    in_the_end("fileinto;\n");
}

/* How many of what is in b's kept/ have this text? */
static unsigned kept(const char *text) {
    char rel[300], dir[200];
    unsigned n = 0;
    struct dirent *e;
    DIR *d;

    snprintf(dir, sizeof(dir), "%s/.mailfs/kept", p.b.store);
    d = opendir(dir);
    assert_non_null(d);
    while ((e = readdir(d))) {
        snprintf(rel, sizeof(rel), ".mailfs/kept/%.255s", e->d_name);
        char *have = e->d_type == DT_REG ? fs_read(&p.b, rel) : NULL;
        n += have && strcmp(have, text) == 0;
        free(have);
    }
    closedir(d);
    return n;
}

static int rename_or_fail(int fromdir, const char *from, int todir, const char *to,
                          unsigned flags) {
    if (strcmp(to, "one.sieve") == 0 || strcmp(from, "one.sieve") == 0) {
        unsigned k = renames.n++;
        if (k < 3 && renames.write[k])
            fs_write(&p.b, SCRIPT, renames.write[k]);
        if (k >= renames.fails_from)
            return -EIO;
    }
    return io_ops_real.rename(fromdir, from, todir, to, flags);
}

/* Does what is told at a to b, with these failing. */
static int told_with_failures(unsigned fails_from) {
    struct io_ops ops = io_ops_real;
    struct apply_result res;
    struct acts a = {.n = 0};
    Mfp__Txn *txn, *got;
    uint64_t id;
    int r;

    act_file(&a, "one.sieve");
    txn = node_collect(&p.a, &inbox, &a, false);
    id = node_receive(&p.a, &p.b, txn, &got);
    ops.rename = rename_or_fail;
    renames.n = 0;
    renames.fails_from = fails_from;
    io_ops_set(&ops);
    r = apply_txn(p.b.st, got, id, NULL, &res);
    io_ops_set(&io_ops_real);
    apply_result_free(&res);
    mfp__txn__free_unpacked(txn, NULL);
    mfp__txn__free_unpacked(got, NULL);
    return r;
}

/* What a client wrote in that moment cannot have its name back: it is kept, and said. */
static void test_cannot_be_put_back(void **state) {
    both_have(30, "keep;\n");
    write_before(&p.a, 20, "fileinto;\n");
    renames.write[0] = "stop;\n";
    assert_int_equal(told_with_failures(1), -EIO);
    assert_int_equal(kept("stop;\n"), 1);
    assert_int_equal(merge_kept(p.b.st), 1);
    mailbox_teardown(state);
    setup(state);
    both_have(30, "keep;\n");
    fs_unlink(&p.a, SCRIPT);
    renames.write[0] = "stop;\n";
    assert_int_equal(told_with_failures(1), 0);
    assert_int_equal(kept("stop;\n"), 1);
    assert_int_equal(merge_kept(p.b.st), 1);
}

/* ... and the power goes, or syncd is killed, before it has. */
static void test_killed_in_that_moment(void **state) {
    both_have(30, "keep;\n");
    write_before(&p.a, 20, "fileinto;\n");
    renames.write[0] = "stop;\n";
    told_with_failures(1);
    node_reopen(&p.b);
    assert_int_equal(kept("stop;\n"), 1);
}

/* ... and writes once more, before that has its name back. */
static void test_written_twice_in_that_moment(void **state) {
    both_have(30, "keep;\n");
    write_before(&p.a, 20, "fileinto;\n");
    renames.write[0] = "stop;\n";
    renames.write[1] = "discard;\n";
    told_with_failures(99);
    script_is(&p.b, "discard;\n");
}

static int no_link(int fromdir, const char *from, int todir, const char *to, int flags) {
    return -ENOSPC;
}

/* a's is the newer, and at b to be taken. */
static void two_listed(Mfp__Listing **a, Mfp__Listing **b) {
    write_before(&p.a, 20, "keep;\n");
    write_before(&p.b, 30, "stop;\n");
    contact_mark(&p.a, &inbox);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, false, a), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, false, b), 0);
    stores_stage(&p.a, &p.b, *a);
}

/* The one that loses a merge cannot be kept: nothing takes its place. */
static void test_cannot_be_kept(void **state) {
    struct io_ops ops = io_ops_real;
    uint8_t digest[STATE_DIGEST];
    Mfp__Listing *a, *b;
    int r;

    two_listed(&a, &b);
    ops.link = no_link;
    io_ops_set(&ops);
    r = merge_mailbox_run(p.b.st, &inbox, b, a, digest, NULL);
    io_ops_set(&io_ops_real);
    assert_int_equal(r, -ENOSPC);
    script_is(&p.b, "stop;\n");
    merge_mailbox_forget(p.b.st, &inbox);
    mfp__listing__free_unpacked(a, NULL);
    mfp__listing__free_unpacked(b, NULL);
    in_the_end("keep;\n");
    assert_int_equal(kept("stop;\n"), 1);
}

static int no_exchange(int fromdir, const char *from, int todir, const char *to, unsigned flags) {
    return flags == RENAME_EXCHANGE ? -ENOSPC : io_ops_real.rename(fromdir, from, todir, to, flags);
}

/* It is kept, and the other cannot take its place: however often that is tried, it is kept once. */
static void test_tried_again(void **state) {
    struct io_ops ops = io_ops_real;
    uint8_t digest[STATE_DIGEST];
    Mfp__Listing *a, *b;

    two_listed(&a, &b);
    ops.rename = no_exchange;
    io_ops_set(&ops);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(merge_mailbox_run(p.b.st, &inbox, b, a, digest, NULL), -ENOSPC);
        merge_mailbox_forget(p.b.st, &inbox);
    }
    io_ops_set(&io_ops_real);
    script_is(&p.b, "stop;\n");
    assert_int_equal(merge_kept(p.b.st), 0);
    mfp__listing__free_unpacked(a, NULL);
    mfp__listing__free_unpacked(b, NULL);
    in_the_end("keep;\n");
    assert_int_equal(kept("stop;\n"), 1);
    assert_int_equal(merge_kept(p.b.st), 1);
}

/* A client's directory is not put away for a file of its name. */
static void test_onto_a_directory(void **state) {
    struct acts a = {.n = 0};

    write_before(&p.a, 20, "keep;\n");
    fs_mkdir(&p.b, SCRIPT);
    fs_mkdir(&p.b, SCRIPT "/new");
    fs_write(&p.b, SCRIPT "/new/1.M1.b", "one\n");
    act_file(&a, "one.sieve");
    assert_true(stores_send(&p.a, &p.b, &inbox, &a, false));
    assert_true(fs_there(&p.b, SCRIPT "/new/1.M1.b"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_newer_than_the_journal),
        T(test_older_than_the_journal),
        T(test_removed_in_the_journal),
        T(test_newer_than_the_listing),
        T(test_newer_than_what_it_meets),
        T(test_removed_where_it_comes),
        T(test_written_meanwhile),
        T(test_written_in_that_moment),
        T(test_removed_in_that_moment),
        T(test_cannot_be_put_back),
        T(test_killed_in_that_moment),
        T(test_written_twice_in_that_moment),
        T(test_onto_a_directory),
        T(test_cannot_be_kept),
        T(test_tried_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
