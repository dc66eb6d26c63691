/*
 * case_files.c: opening, reading, writing, and what stays when a name goes.
 */
#include "posix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

static void open_flags(void) {
    did("open missing", open("a", O_RDONLY));
    did("create excl", open("a", O_RDWR | O_CREAT | O_EXCL, 0640));
    did("create excl again", open("a", O_RDWR | O_CREAT | O_EXCL, 0640));
    did("open dir for writing", open(".", O_WRONLY));
    did("open as directory", open("a", O_RDONLY | O_DIRECTORY));
    did("symlink", symlink("a", "l"));
    did("open nofollow", open("l", O_RDONLY | O_NOFOLLOW));
    did("create excl over a symlink", open("l", O_WRONLY | O_CREAT | O_EXCL, 0600));
    did("open through a file", open("a/b", O_RDONLY));
    did("open with a slash at the end", open("a/", O_RDONLY));
    make_file("a", "hello");
    did("open trunc", open("a", O_WRONLY | O_TRUNC));
    note_stat("a", false);
    did("dangling", symlink("nowhere", "d"));
    did("open dangling", open("d", O_RDONLY));
    did("create through dangling", open("d", O_WRONLY | O_CREAT, 0600));
    note_dir(".");
}

static void modes_at_creation(void) {
    umask(027);
    did("0666", open("a", O_WRONLY | O_CREAT, 0666));
    umask(0);
    did("0666", open("b", O_WRONLY | O_CREAT, 0666));
    did("04755", open("c", O_WRONLY | O_CREAT, 04755));
    did("0000", open("d", O_WRONLY | O_CREAT, 0));
    did("mkdir 01777", mkdir("e", 01777));
    umask(077);
    did("mkdir", mkdir("f", 0777));
    for (const char *p = "abcdef"; *p != '\0'; p++)
        note_stat((char[]){*p, '\0'}, false);
}

static void write_and_read(void) {
    char buf[100000];
    int fd = must_open("a", O_RDWR | O_CREAT, 0600);

    for (size_t i = 0; i < sizeof buf; i++)
        buf[i] = (char)(i * 7 + i / 251);
    must_write(fd, buf, sizeof buf);
    note("pwrite beyond the end: %zd", pwrite(fd, "x", 1, 300000));
    note("pread in the hole: %zd", pread(fd, buf, 10, 200000));
    note("pread at the end: %zd", pread(fd, buf, 10, 300000));
    note("pread past it: %zd", pread(fd, buf, 10, 400000));
    note_fstat("a", fd);
    did("ftruncate", ftruncate(fd, 1234));
    note_content("a");
    did("truncate up", truncate("a", 5000));
    note_content("a");
    did("truncate negative", truncate("a", -1));
    did("write on a reading descriptor", write(open("a", O_RDONLY), "x", 1));
    did("read on a writing descriptor", read(open("a", O_WRONLY), buf, 1));
    did("lseek before 0", lseek(fd, -1, SEEK_SET));
    note("SEEK_END %lld", (long long)lseek(fd, 0, SEEK_END));
    note("writev-like: %d", dprintf(fd, "%s-%d", "line", 5));
    note_content("a");
}

static void append(void) {
    int one = must_open("a", O_WRONLY | O_CREAT | O_APPEND, 0600);
    int two = must_open("a", O_WRONLY | O_APPEND, 0);

    for (int i = 0; i < 50; i++)
        dprintf(i % 2 ? one : two, "line %d\n", i);
    note_content("a");
    did("truncate", truncate("a", 10));
    dprintf(one, "after\n");
    note_content("a");
    note("pwrite on an append descriptor: %zd", pwrite(one, "P", 1, 0));
    note_content("a");
}

/* Dovecot keeps reading an expunged message; Postfix's inode numbers must not come back meanwhile.
 */
static void open_unlinked(void) {
    struct stat was, now;
    char buf[20];
    int fd = must_open("a", O_RDWR | O_CREAT, 0600), other;

    must_write(fd, "still here", 10);
    fstat(fd, &was);
    did("unlink", unlink("a"));
    note_dir(".");
    note_fstat("unlinked", fd);
    note("read: %zd", pread(fd, buf, sizeof buf, 0));
    note("write: %zd", pwrite(fd, "more", 4, 10));
    did("fchmod", fchmod(fd, 0444));
    did("fsync", fsync(fd));
    note_fstat("unlinked", fd);
    for (int i = 0; i < 50; i++) {
        char name[20];

        snprintf(name, sizeof name, "n%d", i);
        other = must_open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
        fstat(other, &now);
        if (now.st_ino == was.st_ino && now.st_dev == was.st_dev)
            note("the number of an open file came back");
        close(other);
    }
    did("mkdir", mkdir("dir", 0700));
    other = must_open("dir/x", O_RDWR | O_CREAT, 0600);
    did("unlink", unlink("dir/x"));
    did("rmdir while the file is open", rmdir("dir"));
    note("write: %zd", write(other, "x", 1));
    note_fstat("in no directory", other);
}

static void many_links(const char *of) {
    char name[20];

    for (int i = 0; i < 60; i++) {
        snprintf(name, sizeof name, "d/l%d", i);
        if (link(of, name) != 0)
            did("link many", -1);
    }
    note_stat("d/l59", false);
}

static void hard_links(void) {
    struct stat a, b;

    did("mkdir", mkdir("d", 0700));
    make_file("a", "linked");
    did("link", link("a", "d/b"));
    did("link again", link("a", "d/b"));
    did("link missing", link("zz", "y"));
    did("link a directory", link("d", "e"));
    note_stat("a", false);
    note_stat("d/b", false);
    lstat("a", &a);
    lstat("d/b", &b);
    note("same inode: %d", a.st_ino == b.st_ino && a.st_dev == b.st_dev);
    did("chmod one", chmod("a", 0600));
    make_file("d/b", "changed by the other name");
    note_stat("a", false);
    note_content("a");
    did("unlink one", unlink("a"));
    note_stat("d/b", false);
    did("rename", rename("d/b", "d/c"));
    did("link for a rename", link("d/c", "d/same"));
    did("rename onto a link of the same file", rename("d/c", "d/same"));
    note_dir("d");
    many_links("d/c");
}

static void links_by_descriptor(void) {
    char path[64];
    int fd = must_open("a", O_RDWR | O_CREAT, 0600);

    must_write(fd, "x", 1);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    did("linkat follow", linkat(AT_FDCWD, path, AT_FDCWD, "b", AT_SYMLINK_FOLLOW));
    did("symlink", symlink("a", "s"));
    did("link of the symlink itself", link("s", "t"));
    note_stat("t", false);
    note_stat("a", false);
}

static void mapped(void) {
    int fd = must_open("a", O_RDWR | O_CREAT, 0600);
    char *shared, *private;

    did("ftruncate", ftruncate(fd, 8192));
    shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    private = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (shared == MAP_FAILED || private == MAP_FAILED) {
        did("mmap", -1);
        return;
    }
    memcpy(shared + 4096, "through the map", 15);
    did("msync", msync(shared, 8192, MS_SYNC));
    note_content("a");
    note("written after: %zd", pwrite(fd, "by write", 8, 0));
    note("seen in the map: %.8s", shared);
    private[0] = 'P';
    note_content("a");
    munmap(shared, 8192);
    close(fd);
    note_content("a");
}

static void space(void) {
    int fd = must_open("a", O_RDWR | O_CREAT, 0600);

    did("fallocate", fallocate(fd, 0, 0, 65536));
    note_fstat("a", fd);
    did("keep size", fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1 << 20));
    note_fstat("a", fd);
    must_write(fd, "0123456789", 10);
    did("punch", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
    note_content("a");
    did("posix_fallocate", posix_fallocate(fd, 0, 100000) == 0 ? 0 : -1);
    note_fstat("a", fd);
    did("nonsense", fallocate(fd, 0, -1, 5));
}

static void copy_range(void) {
    int in, out;
    loff_t from = 2, to = 0;

    make_file("a", "0123456789");
    in = must_open("a", O_RDONLY, 0);
    out = must_open("b", O_WRONLY | O_CREAT, 0600);
    note("copy_file_range: %zd", copy_file_range(in, &from, out, &to, 5, 0));
    note_content("b");
}

static void sync_calls(void) {
    int fd = must_open("a", O_RDWR | O_CREAT, 0600),
        dir = must_open(".", O_RDONLY | O_DIRECTORY, 0);

    must_write(fd, "x", 1);
    did("fsync", fsync(fd));
    did("fdatasync", fdatasync(fd));
    did("fsync of a directory", fsync(dir));
    did("fdatasync of a directory", fdatasync(dir));
    did("syncfs", syncfs(fd));
    did("open O_SYNC", open("b", O_WRONLY | O_CREAT | O_SYNC, 0600));
}

static void lock_kinds(void) {
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
    int fd = must_open("a", O_RDWR | O_CREAT, 0600);

    did("fcntl lock", fcntl(fd, F_SETLK, &l));
    did("flock", flock(fd, LOCK_EX | LOCK_NB));
    did("flock by another descriptor", flock(open("a", O_RDONLY), LOCK_SH | LOCK_NB));
    l.l_type = F_UNLCK;
    did("unlock", fcntl(fd, F_SETLK, &l));
    did("ofd lock", (l.l_type = F_RDLCK, fcntl(fd, F_OFD_SETLK, &l)));
}

static void big_file(void) {
    static char block[1 << 20];
    int fd = must_open("a", O_RDWR | O_CREAT, 0600);

    for (int i = 0; i < 25; i++) {
        memset(block, 'a' + i, sizeof block);
        must_write(fd, block, sizeof block);
    }
    did("fsync", fsync(fd));
    note_content("a");
    note("far: %zd", pwrite(fd, "end", 3, (off_t)5 << 30));
    note_fstat("a", fd);
    note("SEEK_DATA %d", lseek(fd, 30 << 20, SEEK_DATA) > 0);
    did("ftruncate", ftruncate(fd, 0));
    note_fstat("a", fd);
}

const struct posix_case posix_files[] = {
    {"open_flags", open_flags},
    {"modes_at_creation", modes_at_creation},
    {"write_and_read", write_and_read},
    {"append", append},
    {"open_unlinked", open_unlinked},
    {"hard_links", hard_links},
    {"links_by_descriptor", links_by_descriptor},
    {"mapped", mapped},
    {"space", space},
    {"copy_range", copy_range},
    {"sync_calls", sync_calls},
    {"lock_kinds", lock_kinds},
    {"big_file", big_file},
    {NULL, NULL},
};
