/*
 * scratch - temporary directories of tests
 *
 * Diagnostics: perror(3), and abort(3) when one cannot be made.
 */
#include "tests/unit/scratch.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int scratch_open(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        perror(path);
        abort();
    }
    return fd;
}

int scratch_make(char path[SCRATCH_PATH]) {
    const char *tmp = getenv("TMPDIR");
    snprintf(path, SCRATCH_PATH, "%s/mailfs-test.XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(path) == NULL) {
        perror(path);
        abort();
    }
    return scratch_open(path);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    return remove(path);
}

void scratch_remove(const char *path, int fd) {
    close(fd);
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0)
        perror(path);
}

int scratch_sub(const char *path, const char *name, char sub[SCRATCH_PATH]) {
    snprintf(sub, SCRATCH_PATH, "%s/%s", path, name);
    if (mkdir(sub, 0700) != 0) {
        perror(sub);
        abort();
    }
    return scratch_open(sub);
}
