/* A mail client on the store of a node; see syncd_pair.h. */
#include "syncd_pair_int.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/dirid.h"
#include "util/buf.h"

const char *fs_path(struct node *n, const char *rel, char buf[512]) {
    snprintf(buf, 512, "%s/%s", n->store, rel);
    return buf;
}

static void put(struct node *n, const char *rel, const char *text, int flags) {
    char buf[512];
    int fd = open(fs_path(n, rel, buf), O_WRONLY | O_CREAT | flags, 0640);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

void fs_write(struct node *n, const char *rel, const char *text) {
    put(n, rel, text, O_TRUNC);
}

void fs_append(struct node *n, const char *rel, const char *text) {
    put(n, rel, text, O_APPEND);
}

void fs_set_mtime(struct node *n, const char *rel, time_t t) {
    char path[512];
    struct timespec ts[2] = {{t, 0}, {t, 0}};

    snprintf(path, sizeof(path), "%s/%s", n->store, rel);
    assert_int_equal(utimensat(AT_FDCWD, path, ts, 0), 0);
}

char *fs_read(struct node *n, const char *rel) {
    char path[512], chunk[4096];
    int fd = open(fs_path(n, rel, path), O_RDONLY);
    struct buf b;
    ssize_t r;

    if (fd < 0)
        return NULL;
    buf_init(&b, 64u << 20);
    while ((r = read(fd, chunk, sizeof(chunk))) > 0)
        buf_append(&b, chunk, (size_t)r);
    close(fd);
    return buf_steal(&b, NULL);
}

bool fs_there(struct node *n, const char *rel) {
    char buf[512];
    struct stat sb;

    return lstat(fs_path(n, rel, buf), &sb) == 0;
}

void fs_rename(struct node *n, const char *from, const char *to) {
    char x[512], y[512];
    assert_int_equal(rename(fs_path(n, from, x), fs_path(n, to, y)), 0);
}

void fs_unlink(struct node *n, const char *rel) {
    char x[512];
    assert_int_equal(unlink(fs_path(n, rel, x)), 0);
}

void fs_symlink(struct node *n, const char *target, const char *rel) {
    char x[512];
    assert_int_equal(symlink(target, fs_path(n, rel, x)), 0);
}

void fs_mkdir(struct node *n, const char *rel) {
    char x[512];
    assert_int_equal(mkdir(fs_path(n, rel, x), 0750), 0);
}

void fs_link(struct node *n, const char *from, const char *to) {
    char x[512], y[512];
    assert_int_equal(link(fs_path(n, from, x), fs_path(n, to, y)), 0);
}

struct mailfs_id fs_id(struct node *n, const char *rel) {
    char x[512];
    struct mailfs_id id = mailfs_id_root;
    int fd;

    if (*rel == '\0')
        return id;
    fd = open(fs_path(n, rel, x), O_RDONLY | O_DIRECTORY);
    assert_true(fd >= 0);
    assert_int_equal(io_dirid_ensure(fd, &id), 0);
    close(fd);
    return id;
}

void fs_copy_id(struct node *n, const char *from, const char *to) {
    struct mailfs_id id = fs_id(n, from);
    char x[512];
    int fd = open(fs_path(n, to, x), O_RDONLY | O_DIRECTORY);

    assert_true(fd >= 0);
    assert_int_equal(io_dirid_set(fd, &id), 0);
    close(fd);
}
