/*
 * test_posix NATIVE MOUNT [CASE…]: runs every case in a directory below NATIVE and in one below
 * MOUNT, and compares what it wrote down. One line a case; ends 1 if any differs.
 */
#include "posix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CASE_SECONDS = 60 };

/* Returns the record; NULL if it could not be had. */
static char *run_in(const char *root, const struct posix_case *c) {
    char dir[4096];
    int record = memfd_create("record", 0), status;
    pid_t pid;
    off_t len;
    char *text;

    snprintf(dir, sizeof dir, "%s/%s", root, c->name);
    if (record < 0 || mkdir(dir, 0755) != 0 || chmod(dir, 0755) != 0) {
        fprintf(stderr, "%s: %s\n", dir, strerror(errno));
        return NULL;
    }
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        if (chdir(dir) != 0 || dup2(record, STDOUT_FILENO) < 0)
            _exit(4);
        umask(022);
        alarm(CASE_SECONDS);
        c->run();
        fflush(stdout);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    dprintf(record, "ended with %d\n", status);
    len = lseek(record, 0, SEEK_END);
    text = calloc(1, (size_t)len + 1);
    if (text == NULL || pread(record, text, (size_t)len, 0) != len)
        return NULL;
    close(record);
    return text;
}

static void show_difference(const char *want, const char *got) {
    while (*want != '\0' && *got != '\0') {
        size_t w = strcspn(want, "\n"), g = strcspn(got, "\n");

        if (w != g || memcmp(want, got, w) != 0)
            break;
        want += w + (want[w] == '\n');
        got += g + (got[g] == '\n');
    }
    printf("  native: %.*s\n  mount:  %.*s\n", (int)strcspn(want, "\n"), want,
           (int)strcspn(got, "\n"), got);
}

static bool wanted(const char *name, char **names) {
    if (*names == NULL)
        return true;
    for (; *names != NULL; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

static int compare(const char *native, const char *mount, const struct posix_case *c) {
    char *want = run_in(native, c), *got = run_in(mount, c);
    bool same = want != NULL && got != NULL && strcmp(want, got) == 0;

    /* A case whose every line fails alike would prove nothing. */
    if (same && (strstr(want, "GIVES UP") != NULL || strstr(want, "ended with 0") == NULL)) {
        printf("FAIL %s: the case itself fails on the native file system\n%s", c->name, want);
        same = false;
    } else {
        printf("%s %s\n", same ? "PASS" : "FAIL", c->name);
        if (!same && want != NULL && got != NULL)
            show_difference(want, got);
    }
    free(want);
    free(got);
    return same ? 0 : 1;
}

int main(int argc, char **argv) {
    const struct posix_case *const all[] = {posix_files, posix_names, posix_attrs,
                                            posix_dirs,  posix_procs, posix_mail};
    int failed = 0, ran = 0;

    if (argc < 3) {
        fprintf(stderr, "usage: test_posix NATIVE MOUNT [CASE...]\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (const struct posix_case *c = all[i]; c->name != NULL; c++)
            if (wanted(c->name, argv + 3)) {
                failed += compare(argv[1], argv[2], c);
                ran++;
            }
    if (ran == 0)
        fprintf(stderr, "test_posix: no such case\n");
    return failed > 0 || ran == 0;
}
