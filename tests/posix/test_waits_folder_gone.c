/* waits: a folder that the peer has removed or moved, and what is being done in it. */
#include "waits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* So that no other end of a pipe is held. */
static void closefrom_stdio(void) {
    for (int fd = STDERR_FILENO + 1; fd < 64; fd++)
        close(fd);
}

static int do_make_in_cwd(const char *dir) {
    char unused;
    closefrom_stdio();
    if (chdir(dir) != 0)
        return errno;
    /* Told by the parent to go on, when the directory is away. */
    if (read(STDIN_FILENO, &unused, 1) != 0)
        return EPROTO;
    int fd = open("late", O_WRONLY | O_CREAT | O_EXCL, 0600);
    return fd < 0 ? errno : 0;
}

static void await_cwd(pid_t pid, const char *want) {
    char link[40], at[600] = "";
    snprintf(link, sizeof link, "/proc/%d/cwd", (int)pid);
    for (long until = now_ms() + AT_ONCE_MS; strcmp(at, want) != 0;) {
        ssize_t n = readlink(link, at, sizeof at - 1);
        at[n > 0 ? n : 0] = '\0';
        CHECK(now_ms() < until);
    }
}

/* A folder that the peer removed takes nothing more, also from those who are in it. */
static void case_taken_away(void) {
    ProtobufCBinaryData root = {16, (uint8_t[16]){0}};
    char from[600];
    int fds[2], saved = dup(STDIN_FILENO);
    make_box("a", 0);
    CHECK(saved >= 0 && pipe(fds) == 0 && dup2(fds[0], STDIN_FILENO) >= 0);
    struct doing d = doing_start(do_make_in_cwd, in_mount("a/new"));
    dup2(saved, STDIN_FILENO);
    await_cwd(d.pid, in_mount("a/new"));
    snprintf(from, sizeof from, "%s", in_store("a"));
    CHECK(rename(from, in_store(".mailfs/gone-a")) == 0);
    fake_moved(7, root, (ProtobufCBinaryData){16, dir_bytes[0]}, "a", NULL);
    CHECK(fake_expect(MFL__TO_SYNCD__M_INVALIDATED)->invalidated->seq == 7);
    CHECK(!exists(in_mount("a")));
    close(fds[1]);
    close(fds[0]);
    CHECK(doing_finish(&d) == ENOENT);
    CHECK(!exists(in_store(".mailfs/gone-a/new/late")));
    nothing_comes();
}

/* What was being delivered into it is given up: the peer must not think it was accepted. */
static void case_taken_away_delivery(void) {
    ProtobufCBinaryData root = {16, (uint8_t[16]){0}};
    char from[600];
    make_box("a", 0);
    put_file(in_mount("a/tmp/1.x"), "one");
    struct doing d = doing_start(do_fsync, in_mount("a/tmp/1.x"));
    const Mfl__ToSyncd *m = fake_expect(MFL__TO_SYNCD__M_PREPARE);
    uint64_t seq = m->prepare->id->seq;
    fake_release(m->prepare->req, 0);
    CHECK(doing_finish(&d) == 0);
    snprintf(from, sizeof from, "%s", in_store("a"));
    CHECK(rename(from, in_store(".mailfs/gone-b")) == 0);
    fake_moved(8, root, (ProtobufCBinaryData){16, dir_bytes[0]}, "a", NULL);
    CHECK(fake_expect(MFL__TO_SYNCD__M_ABORT)->abort->id->seq == seq);
    CHECK(fake_expect(MFL__TO_SYNCD__M_INVALIDATED)->invalidated->seq == 8);
    nothing_comes();
}

/* Of a/b and a, which is now b/a, the peer's syncd tells the last first: each below the other. */
static void case_circle(void) {
    ProtobufCBinaryData root = {16, (uint8_t[16]){0}};
    char from[600];
    make_box("a", 0);
    make_box("b", 1);
    snprintf(from, sizeof from, "%s", in_mount("b"));
    CHECK(rename(from, in_mount("a/b")) == 0);
    expect_act(MFL__ACT__WHAT_DIR_MOVE);
    snprintf(from, sizeof from, "%s", in_store("a/b"));
    CHECK(rename(from, in_store("b")) == 0);
    snprintf(from, sizeof from, "%s", in_store("a"));
    CHECK(rename(from, in_store("b/a")) == 0);
    fake_moved(7, (ProtobufCBinaryData){16, dir_bytes[1]}, (ProtobufCBinaryData){16, dir_bytes[0]},
               NULL, "a");
    CHECK(fake_expect(MFL__TO_SYNCD__M_INVALIDATED)->invalidated->seq == 7);
    fake_moved(8, root, (ProtobufCBinaryData){16, dir_bytes[1]}, "a", "b");
    CHECK(fake_expect(MFL__TO_SYNCD__M_INVALIDATED)->invalidated->seq == 8);
    CHECK(exists(in_mount("b/a/new")));
    deliver("b/a", "1.x");
}

static const struct wait_case cases[] = {
    {"taken_away", case_taken_away, NULL, NULL},
    {"taken_away_delivery", case_taken_away_delivery, NULL, NULL},
    {"circle", case_circle, NULL, NULL},
    {NULL, NULL, NULL, NULL},
};

int main(int argc, char **argv) {
    return waits_main(argc, argv, cases);
}
