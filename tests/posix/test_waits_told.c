/* waits: what is told of folders and files that are no mail, and what is not, and is refused. */
#include "waits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Folders: made, renamed, moved, deleted as Dovecot does it. */
static void case_folders(void) {
    make_box("a", 0);
    CHECK(rename(in_mount("a"), in_mount("b")) == 0);
    const Mfl__Act *a = expect_act(MFL__ACT__WHAT_DIR_MOVE);
    CHECK(memcmp(a->dir_move->id.data, dir_bytes[0], 16) == 0);
    CHECK(strcmp(a->dir_move->old_name, "a") == 0 && strcmp(a->dir_move->name, "b") == 0);
    deliver("b", "1.x");
    CHECK(rename(in_mount("b"), in_mount("..DOVECOT-TRASHED")) == 0);
    a = expect_act(MFL__ACT__WHAT_DIR_REMOVE);
    CHECK(a->dir_remove->trashed && a->dir_remove->n_bases == 1);
    CHECK(strcmp(a->dir_remove->bases[0], "1.x") == 0);
    CHECK(unlink(in_mount("..DOVECOT-TRASHED/new/1.x")) == 0);
    CHECK(rmdir(in_mount("..DOVECOT-TRASHED/new")) == 0);
    CHECK(rmdir(in_mount("..DOVECOT-TRASHED/cur")) == 0);
    CHECK(rmdir(in_mount("..DOVECOT-TRASHED/tmp")) == 0);
    CHECK(rmdir(in_mount("..DOVECOT-TRASHED")) == 0);
    nothing_comes();
}

/* Files that are not mail; what is local is not told. */
static void case_files(void) {
    make_box("a", 0);
    put_file(in_mount("a/sieve"), "keep;");
    const Mfl__Act *a = expect_act(MFL__ACT__WHAT_FILE);
    CHECK(strcmp(a->file->name, "sieve") == 0 && !a->file->removed && !a->in_txn);
    CHECK(chmod(in_mount("a/sieve"), 0640) == 0);
    expect_act(MFL__ACT__WHAT_FILE);
    CHECK(symlink("sieve", in_mount("a/active")) == 0);
    expect_act(MFL__ACT__WHAT_FILE);
    CHECK(rename(in_mount("a/sieve"), in_mount("a/sieve2")) == 0);
    CHECK(!expect_act(MFL__ACT__WHAT_FILE)->file->removed);
    a = expect_act(MFL__ACT__WHAT_FILE);
    CHECK(a->file->removed && strcmp(a->file->name, "sieve") == 0);
    put_file(in_mount("a/subscriptions.lock"), "x\n");
    put_file(in_mount("a/maildirsize"), "x\n");
    put_file(in_mount("a/dovecot.index.log"), "x\n");
    put_file(in_mount("a/tmp/z"), "x\n");
    CHECK(unlink(in_mount("a/tmp/z")) == 0);
    nothing_comes();
    CHECK(rename(in_mount("a/subscriptions.lock"), in_mount("a/subscriptions")) == 0);
    a = expect_act(MFL__ACT__WHAT_FILE);
    CHECK(strcmp(a->file->name, "subscriptions") == 0);
    CHECK(open(in_mount(".mailfs"), O_RDONLY) < 0 && errno == ENOENT);
    CHECK(mkdir(in_mount(".mailfs"), 0700) < 0 && errno == EPERM);
    nothing_comes();
}

/* What would be in them would never be sent: a user "new", a folder "a.lock". */
static void case_no_such_folder(void) {
    static const char *const names[] = {"a/new/Maildir", "a/tmp/x", "a/cur/x", "a/.b.lock",
                                        "temp.x"};
    make_box("a", 0);
    CHECK(mkdir(in_mount("a/.b"), 0700) == 0);
    expect_act(MFL__ACT__WHAT_DIR_MAKE);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        CHECK(mkdir(in_mount(names[i]), 0700) < 0 && errno == EPERM);
        CHECK(rename(in_mount("a/.b"), in_mount(names[i])) < 0 && errno == EPERM);
    }
    nothing_comes();
    /* deleting it, and emptying the trash */
    CHECK(rename(in_mount("a/.b"), in_mount("a/..DOVECOT-TRASHED")) == 0);
    expect_act(MFL__ACT__WHAT_DIR_REMOVE);
    CHECK(mkdir(in_mount("a/..DOVECOT-TRASHED/new"), 0700) == 0);
    nothing_comes();
}

/* What the store has of them is not seen, and none can be made that the peer would not get. */
static void case_no_xattrs(void) {
    char value[8];
    make_box("a", 0);
    CHECK(setxattr(in_store("a"), "user.test", "x", 1, 0) == 0);
    CHECK(getxattr(in_mount("a"), "user.test", value, sizeof value) < 0 && errno == EOPNOTSUPP);
    CHECK(listxattr(in_mount("a"), NULL, 0) < 0 && errno == EOPNOTSUPP);
    CHECK(setxattr(in_mount("a"), "user.test", "y", 1, 0) < 0 && errno == EOPNOTSUPP);
    CHECK(removexattr(in_mount("a"), "user.test") < 0 && errno == EOPNOTSUPP);
    CHECK(getxattr(in_store("a"), "user.test", value, sizeof value) == 1 && value[0] == 'x');
    nothing_comes();
}

static const struct wait_case cases[] = {
    {"folders", case_folders, NULL, NULL},
    {"files", case_files, NULL, NULL},
    {"no_such_folder", case_no_such_folder, NULL, NULL},
    {"no_xattrs", case_no_xattrs, NULL, NULL},
    {NULL, NULL, NULL, NULL},
};

int main(int argc, char **argv) {
    return waits_main(argc, argv, cases);
}
