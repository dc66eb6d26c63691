/*
 * case_names.c: rename in all its forms, odd names, symbolic links, special files.
 */
#include "posix.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void rename_files(void) {
    did("mkdir", mkdir("d", 0700));
    make_file("a", "a");
    make_file("b", "bb");
    did("missing", rename("zz", "y"));
    did("onto itself", rename("a", "a"));
    did("over a file", rename("a", "b"));
    note_content("b");
    note_stat("a", false);
    did("into a directory", rename("b", "d/b"));
    did("file over directory", (make_file("c", "c"), rename("c", "d")));
    did("directory over file", rename("d", "c"));
    did("below itself", rename("d", "d/e"));
    did("to a missing directory", rename("c", "no/c"));
    did("through a file", rename("c", "d/b/c"));
    note_dir(".");
    note_dir("d");
}

static void rename_directories(void) {
    did("mkdir", mkdir("d", 0700));
    did("mkdir", mkdir("d/sub", 0700));
    make_file("d/sub/f", "deep");
    did("mkdir", mkdir("empty", 0700));
    did("over an empty one", rename("d", "empty"));
    note_content("empty/sub/f");
    did("mkdir", mkdir("x", 0700));
    did("over a full one", rename("x", "empty"));
    did("out of its parent", rename("empty/sub", "up"));
    note_content("up/f");
    note_stat("empty/sub", false);
    note_dir("empty");
    did("chdir", chdir("up"));
    did("rename the current one", rename("../up", "../again"));
    note_content("f");
    note_dir("../again");
}

static void rename_flags(void) {
    make_file("a", "a");
    make_file("b", "b");
    did("noreplace", renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE));
    did("noreplace to new", renameat2(AT_FDCWD, "a", AT_FDCWD, "c", RENAME_NOREPLACE));
    did("exchange", renameat2(AT_FDCWD, "b", AT_FDCWD, "c", RENAME_EXCHANGE));
    note_content("b");
    note_content("c");
    did("exchange with a missing one", renameat2(AT_FDCWD, "b", AT_FDCWD, "zz", RENAME_EXCHANGE));
    did("mkdir", mkdir("d", 0700));
    did("exchange with a directory", renameat2(AT_FDCWD, "b", AT_FDCWD, "d", RENAME_EXCHANGE));
    note_dir(".");
    did("both flags", renameat2(AT_FDCWD, "b", AT_FDCWD, "c", RENAME_EXCHANGE | RENAME_NOREPLACE));
}

static void rename_open(void) {
    int fd = must_open("a", O_RDWR | O_CREAT, 0600), victim;

    must_write(fd, "1", 1);
    did("rename an open file", rename("a", "b"));
    must_write(fd, "2", 1);
    note_content("b");
    make_file("v", "victim");
    victim = must_open("v", O_RDWR, 0);
    did("over an open file", rename("b", "v"));
    note_fstat("the victim", victim);
    note("still writable: %zd", write(victim, "x", 1));
    note_content("v");
}

static void odd_names(void) {
    char longest[NAME_MAX + 2];

    memset(longest, 'x', sizeof longest);
    longest[NAME_MAX + 1] = '\0';
    did("256 bytes", open(longest, O_WRONLY | O_CREAT, 0600));
    longest[NAME_MAX] = '\0';
    did("255 bytes", open(longest, O_WRONLY | O_CREAT, 0600));
    make_file("with space", "");
    make_file("with\nnewline", "");
    make_file("not utf8 \xff\xfe", "");
    make_file(":2,S", "");
    make_file("-rf", "");
    make_file(".hidden", "");
    make_file("..two", "");
    make_file("a\\b", "");
    note_dir(".");
    did("rename to 256", rename("-rf", memset(longest, 'y', NAME_MAX + 1)));
}

static void symlink_content(void) {
    char buf[PATH_MAX], far[3000];
    ssize_t n;

    did("make", symlink("target", "l"));
    did("again", symlink("target", "l"));
    n = readlink("l", buf, sizeof buf);
    note("readlink %.*s", (int)n, buf);
    note("short buffer %zd", readlink("l", buf, 3));
    did("readlink of a file", (make_file("f", ""), readlink("f", buf, sizeof buf)));
    did("empty", symlink("", "e"));
    memset(far, 'p', sizeof far - 1);
    far[sizeof far - 1] = '\0';
    did("long", symlink(far, "far"));
    note_stat("far", false);
    did("lchown", lchown("l", 1000, 1000));
    note_stat("l", false);
}

static void symlink_walks(void) {
    did("absolute", symlink("/dev/null", "abs"));
    did("open absolute", open("abs", O_RDONLY));
    did("loop", symlink("loop", "loop"));
    did("open loop", open("loop", O_RDONLY));
    did("mkdir", mkdir("d", 0700));
    did("link to directory", symlink("d", "ld"));
    make_file("ld/x", "in d");
    note_content("d/x");
    did("rmdir of the link", rmdir("ld"));
    did("unlink of the directory", unlink("d"));
}

static void special_files(void) {
    struct sockaddr_un sun = {.sun_family = AF_UNIX, .sun_path = "sock"};
    int s = socket(AF_UNIX, SOCK_STREAM, 0);

    did("fifo", mkfifo("fifo", 0640));
    did("bind a socket", bind(s, (struct sockaddr *)&sun, sizeof sun));
    did("regular by mknod", mknod("reg", S_IFREG | 0600, 0));
    note_stat("fifo", false);
    note_stat("sock", false);
    note_stat("reg", false);
    did("over one that exists", mkfifo("fifo", 0600));
    note_dir(".");
}

static void unlink_and_rmdir(void) {
    did("unlink missing", unlink("a"));
    did("rmdir missing", rmdir("a"));
    make_file("a", "");
    did("rmdir of a file", rmdir("a"));
    did("mkdir", mkdir("d", 0700));
    did("mkdir again", mkdir("d", 0700));
    did("mkdir over a file", mkdir("a", 0700));
    did("mkdir below nothing", mkdir("x/y", 0700));
    make_file("d/f", "");
    did("rmdir of a full one", rmdir("d"));
    did("rmdir .", rmdir("."));
    did("rmdir d/..", rmdir("d/.."));
    did("unlink", unlink("d/f"));
    did("rmdir", rmdir("d"));
    note_dir(".");
}

const struct posix_case posix_names[] = {
    {"rename_files", rename_files},
    {"rename_directories", rename_directories},
    {"rename_flags", rename_flags},
    {"rename_open", rename_open},
    {"odd_names", odd_names},
    {"symlink_content", symlink_content},
    {"symlink_walks", symlink_walks},
    {"special_files", special_files},
    {"unlink_and_rmdir", unlink_and_rmdir},
    {NULL, NULL},
};
