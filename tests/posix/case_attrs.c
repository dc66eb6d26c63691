/*
 * case_attrs.c: modes, owners, times, extended attributes, permissions for several uids.
 */
#include "posix.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

static void exact_times(void) {
    struct timespec t[2] = {{1, 1}, {981173106, 123456789}};
    struct timespec omit[2] = {{0, UTIME_OMIT}, {4102444800, 999999999}};
    struct timespec bad[2] = {{0, 2000000000}, {0, 0}};
    int fd;

    make_file("a", "x");
    did("utimensat", utimensat(AT_FDCWD, "a", t, 0));
    note_stat("a", true);
    did("omit", utimensat(AT_FDCWD, "a", omit, 0));
    note_stat("a", true);
    fd = must_open("a", O_RDWR, 0);
    did("futimens", futimens(fd, t));
    note_stat("a", true);
    did("bad", futimens(fd, bad));
    did("rename keeps it", rename("a", "b"));
    note_stat("b", true);
    did("link keeps it", link("b", "c"));
    note_stat("c", true);
    did("chmod keeps it", chmod("c", 0600));
    note_stat("c", true);
    did("mkdir", mkdir("d", 0700));
    did("of a directory", utimensat(AT_FDCWD, "d", t, 0));
    note_stat("d", true);
    did("symlink", symlink("nowhere", "s"));
    did("of a symlink", utimensat(AT_FDCWD, "s", t, AT_SYMLINK_NOFOLLOW));
    note_stat("s", true);
    did("negative", (t[1].tv_sec = -5, utimensat(AT_FDCWD, "b", t, 0)));
    note_stat("b", true);
}

static void change_directory_d(int how) {
    switch (how) {
    case 0:
        make_file("d/a", "");
        break;
    case 1:
        did("rename within", rename("d/a", "d/b"));
        break;
    case 2:
        did("link", link("d/b", "d/c"));
        break;
    case 3:
        did("rename out", rename("d/c", "e/c"));
        break;
    case 4:
        did("rename in", rename("e/c", "d/c"));
        break;
    default:
        did("unlink", unlink("d/c"));
    }
}

/* Dovecot trusts the mtime of new/ and cur/: every change must move it, and never back. */
static void directory_mtime_moves(void) {
    struct stat was, now;
    struct timespec old[2] = {{1000, 0}, {1000, 0}};

    did("mkdir", mkdir("d", 0700));
    did("mkdir", mkdir("e", 0700));
    for (int i = 0; i < 6; i++) {
        did("back", utimensat(AT_FDCWD, "d", old, 0));
        stat("d", &was);
        change_directory_d(i);
        stat("d", &now);
        note("moved: %d", now.st_mtim.tv_sec > was.st_mtim.tv_sec);
    }
}

static void mtime_of_writes(void) {
    struct timespec old[2] = {{1000, 0}, {1000, 5}};
    struct stat st;
    int fd = must_open("a", O_RDWR | O_CREAT, 0600);

    must_write(fd, "x", 1);
    did("utimens", futimens(fd, old));
    note_stat("a", true);
    must_write(fd, "y", 1);
    fstat(fd, &st);
    note("a write moves it: %d", st.st_mtim.tv_sec > 1000);
    did("utimens", futimens(fd, old));
    close(fd);
    note_stat("a", true);
    did("truncate", truncate("a", 0));
    stat("a", &st);
    note("so does truncate: %d", st.st_mtim.tv_sec > 1000);
}

static void owners(void) {
    make_file("a", "x");
    did("chmod", chmod("a", 06755));
    did("chown", chown("a", 1001, 1002));
    note_stat("a", false);
    did("chown -1", chown("a", (uid_t)-1, 1003));
    note_stat("a", false);
    did("mkdir", mkdir("d", 0700));
    did("chown", chown("d", 1001, 1002));
    did("setgid", chmod("d", 02775));
    make_file("d/f", "");
    did("mkdir below", mkdir("d/g", 0755));
    note_stat("d/f", false);
    note_stat("d/g", false);
    did("chmod of nothing", chmod("zz", 0));
    did("fchmodat", fchmodat(AT_FDCWD, "a", 0600, 0));
    note_stat("a", false);
}

static void try_all(void) {
    did("read 0600", open("private", O_RDONLY));
    did("read 0644", open("public", O_RDONLY));
    did("write 0644", open("public", O_WRONLY));
    did("in a closed directory", open("closed/x", O_RDONLY));
    did("list a closed directory", open("closed", O_RDONLY | O_DIRECTORY));
    did("in one with search only", open("search/x", O_RDONLY));
    did("list one with search only", open("search", O_RDONLY | O_DIRECTORY));
    did("create in one not mine", open("search/new", O_WRONLY | O_CREAT, 0600));
    did("create in one for all", open("all/mine", O_WRONLY | O_CREAT, 0600));
    did("unlink another's in a sticky one", unlink("sticky/x"));
    did("unlink another's in one for all", unlink("all/x"));
    did("chmod another's", chmod("public", 0666));
    did("chown mine away", chown("all/mine", 0, 0));
    did("chmod mine", chmod("all/mine", 0640));
    did("times of another's", utimensat(AT_FDCWD, "public", NULL, 0));
    did("access w", access("public", W_OK));
    did("access r", access("public", R_OK));
    note_stat("all/mine", false);
    did("run it", access("all/mine", X_OK));
    did("link another's", link("private", "all/link"));
    did("rename another's directory", rename("closed", "all/closed"));
}

static void permissions(void) {
    static const struct {
        const char *name;
        mode_t mode;
    } dirs[] = {{"closed", 0700}, {"search", 0711}, {"all", 0777}, {"sticky", 01777}};
    char path[64];

    make_file("private", "p");
    make_file("public", "p");
    did("chmod", chmod("private", 0600));
    for (size_t i = 0; i < 4; i++) {
        did("mkdir", mkdir(dirs[i].name, 0700));
        snprintf(path, sizeof path, "%s/x", dirs[i].name);
        make_file(path, "x");
        did("chmod", chmod(dirs[i].name, dirs[i].mode));
    }
    as_user(1000, 1000, try_all);
    note_stat("all/mine", false);
}

static void set_id_bits(void) {
    int fd;

    make_file("a", "x");
    did("chown", chown("a", 1000, 1000));
    did("chmod", chmod("a", 06777));
    fd = must_open("a", O_WRONLY, 0);
    must_write(fd, "y", 1);
    note_stat("a", false);
    did("chown clears", chown("a", 1001, 1001));
    note_stat("a", false);
}

static void fs_figures(void) {
    struct statvfs v;

    did("statvfs", statvfs(".", &v));
    note("namemax %lu, block %lu, room %d", v.f_namemax, v.f_bsize, v.f_bavail > 0);
}

const struct posix_case posix_attrs[] = {
    {"exact_times", exact_times},         {"directory_mtime_moves", directory_mtime_moves},
    {"mtime_of_writes", mtime_of_writes}, {"owners", owners},
    {"permissions", permissions},         {"set_id_bits", set_id_bits},
    {"fs_figures", fs_figures},           {NULL, NULL},
};
