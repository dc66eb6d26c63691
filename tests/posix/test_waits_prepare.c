/* waits: the fsync of a message, whose content is prepared. */
#include "waits.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void *fsync_it(void *path) {
    return (void *)(intptr_t)do_fsync(path);
}

static struct timespec in_ms(long ms) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += ms % 1000 * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_nsec -= 1000000000;
        t.tv_sec++;
    }
    return t;
}

/* The fsync of a message waits for its content to be prepared; its names then refer to that. (It is
 * made by a thread: what a process prepared that has ended is aborted.) */
static void case_prepare(void) {
    char text[16];
    int fd = -1;
    pthread_t d;
    void *err;
    make_box("a", 0);
    make_box("b", 1);
    put_file(in_mount("a/tmp/1.x"), "the content");
    CHECK(pthread_create(&d, NULL, fsync_it, strdup(in_mount("a/tmp/1.x"))) == 0);
    const Mfl__ToSyncd *m = fake_next(AT_ONCE_MS, &fd);
    CHECK(m != NULL && m->m_case == MFL__TO_SYNCD__M_PREPARE && fd >= 0);
    CHECK(strcmp(m->prepare->tmp_name, "1.x") == 0 && m->prepare->meta->size == 11);
    CHECK(pread(fd, text, sizeof text, 0) == 11 && memcmp(text, "the content", 11) == 0);
    close(fd);
    uint64_t req = m->prepare->req, seq = m->prepare->id->seq, inc = m->prepare->id->incarnation;
    struct timespec until = in_ms(A_WHILE_MS);
    CHECK(pthread_timedjoin_np(d, NULL, &until) == ETIMEDOUT);
    fake_release(req, 0);
    until = in_ms(AT_ONCE_MS);
    CHECK(pthread_timedjoin_np(d, &err, &until) == 0 && err == NULL);
    CHECK(do_fsync(in_mount("a/tmp/1.x")) == 0); /* nothing new: nothing waits */
    CHECK(link(in_mount("a/tmp/1.x"), in_mount("a/new/1.x")) == 0);
    const Mfl__Act *a = expect_act(MFL__ACT__WHAT_ADD);
    CHECK(a->add->source != NULL && a->add->source->prepared != NULL);
    CHECK(a->add->source->prepared->seq == seq && a->add->source->prepared->incarnation == inc);
    CHECK(unlink(in_mount("a/tmp/1.x")) == 0);
    nothing_comes();
    /* Another recipient, and a copy, by links of the message. */
    CHECK(link(in_mount("a/new/1.x"), in_mount("b/tmp/y")) == 0);
    CHECK(rename(in_mount("b/tmp/y"), in_mount("b/new/y")) == 0);
    a = expect_act(MFL__ACT__WHAT_ADD);
    CHECK(a->add->source->prepared != NULL && a->add->source->prepared->seq == seq);
    CHECK(strcmp(a->add->source->link_name, "1.x") == 0);
    CHECK(memcmp(a->add->source->link_dir.data, dir_bytes[0], 16) == 0);
    CHECK(memcmp(a->dir.data, dir_bytes[1], 16) == 0);
}

/* Prepared under the name of a copy that was begun in an earlier life of mailfs: the first name
 * that it gets since then uses it up, though the message itself is known again by then. */
static void case_copy_prepared(void) {
    pthread_t d;
    void *err;
    make_box("a", 0);
    make_box("b", 1);
    put_file(in_store("a/new/1.x"), "one");
    char *message = strdup(in_store("a/new/1.x"));
    CHECK(link(message, in_store("b/tmp/y")) == 0);
    free(message);
    CHECK(pthread_create(&d, NULL, fsync_it, strdup(in_mount("b/tmp/y"))) == 0);
    const Mfl__ToSyncd *m = fake_expect(MFL__TO_SYNCD__M_PREPARE);
    uint64_t seq = m->prepare->id->seq;
    fake_release(m->prepare->req, 0);
    CHECK(pthread_join(d, &err) == 0 && err == NULL);
    CHECK(exists(in_mount("a/new/1.x")));
    CHECK(rename(in_mount("b/tmp/y"), in_mount("b/new/y")) == 0);
    const Mfl__Source *s = expect_act(MFL__ACT__WHAT_ADD)->add->source;
    CHECK(s != NULL && s->prepared != NULL && s->prepared->seq == seq && s->link_dir.len == 0);
    nothing_comes();
}

/* Refused, changed, given up. */
static void case_prepare_ends(void) {
    make_box("a", 0);
    put_file(in_mount("a/tmp/1.x"), "one");
    struct doing d = doing_start(do_fsync, in_mount("a/tmp/1.x"));
    const Mfl__ToSyncd *m = fake_expect(MFL__TO_SYNCD__M_PREPARE);
    uint64_t first = m->prepare->id->seq;
    fake_release(m->prepare->req, EIO);
    CHECK(doing_finish(&d) == EAGAIN);
    int fd = open(in_mount("a/tmp/1.x"), O_WRONLY | O_APPEND);
    CHECK(fd >= 0 && write(fd, "two", 3) == 3);
    close(fd);
    d = doing_start(do_fsync, in_mount("a/tmp/1.x"));
    CHECK(fake_expect(MFL__TO_SYNCD__M_ABORT)->abort->id->seq == first);
    m = fake_expect(MFL__TO_SYNCD__M_PREPARE);
    uint64_t second = m->prepare->id->seq;
    CHECK(second != first && m->prepare->meta->size == 6);
    fake_release(m->prepare->req, 0);
    CHECK(doing_finish(&d) == 0);
    CHECK(unlink(in_mount("a/tmp/1.x")) == 0);
    CHECK(fake_expect(MFL__TO_SYNCD__M_ABORT)->abort->id->seq == second);
    nothing_comes();
}

/* The kernel sends one fsync of a file after the other; one after a refusal asks anew. */
static void case_fsync_twice(void) {
    make_box("a", 0);
    put_file(in_mount("a/tmp/1.x"), "one");
    struct doing d = doing_start(do_fsync, in_mount("a/tmp/1.x"));
    uint64_t req = fake_expect(MFL__TO_SYNCD__M_PREPARE)->prepare->req;
    struct doing e = doing_start(do_fsync, in_mount("a/tmp/1.x"));
    CHECK(!doing_ends_within(&e, A_WHILE_MS));
    nothing_comes();
    fake_release(req, EAGAIN);
    CHECK(doing_finish(&d) == EAGAIN);
    for (int i = 0; i < 2; i++) { /* the end of the first and the second are not in any order */
        const Mfl__ToSyncd *m = fake_next(AT_ONCE_MS, NULL);
        CHECK(m != NULL &&
              (m->m_case == MFL__TO_SYNCD__M_ABORT || m->m_case == MFL__TO_SYNCD__M_PREPARE));
        if (m->m_case == MFL__TO_SYNCD__M_PREPARE)
            req = m->prepare->req;
    }
    CHECK(!doing_ends_within(&e, A_WHILE_MS));
    fake_release(req, 0);
    CHECK(doing_finish(&e) == 0);
}

/* A sieve script is no message, though it is written to a tmp/. */
static void case_sieve_tmp(void) {
    CHECK(mkdir(in_mount("sieve"), 0700) == 0);
    expect_act(MFL__ACT__WHAT_DIR_MAKE);
    CHECK(mkdir(in_mount("sieve/tmp"), 0700) == 0);
    expect_act(MFL__ACT__WHAT_SUBDIR);
    put_file(in_mount("sieve/tmp/x"), "keep;");
    CHECK(do_fsync(in_mount("sieve/tmp/x")) == 0);
    nothing_comes();
    CHECK(rename(in_mount("sieve/tmp/x"), in_mount("sieve/x.sieve")) == 0);
    CHECK(strcmp(expect_act(MFL__ACT__WHAT_FILE)->file->name, "x.sieve") == 0);
    nothing_comes();
}

static const struct wait_case cases[] = {
    {"prepare", case_prepare, NULL, NULL},
    {"copy_prepared", case_copy_prepared, NULL, NULL},
    {"prepare_ends", case_prepare_ends, NULL, NULL},
    {"fsync_twice", case_fsync_twice, NULL, NULL},
    {"sieve_tmp", case_sieve_tmp, NULL, NULL},
    {NULL, NULL, NULL, NULL},
};

int main(int argc, char **argv) {
    return waits_main(argc, argv, cases);
}
