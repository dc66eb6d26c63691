/*
 * owner - what /proc says of a thread or a process
 *
 * Diagnostics: none.
 */
#include "owner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

pid_t owner_process(pid_t tid) {
    char line[256];
    pid_t tgid = 0;
    if (tid <= 0)
        return 0;
    snprintf(line, sizeof line, "/proc/%d/status", (int)tid);
    FILE *f = fopen(line, "re");
    if (f == NULL)
        return 0;
    while (tgid == 0 && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "Tgid:", 5) == 0)
            tgid = (pid_t)strtol(line + 5, NULL, 10);
    fclose(f);
    return tgid;
}

const char *owner_stat(pid_t pid, char *line, size_t n) {
    char path[40];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return NULL;
    const char *end = fgets(line, (int)n, f) != NULL ? strrchr(line, ')') : NULL;
    fclose(f);
    return end == NULL || end[1] == '\0' ? NULL : end + 1;
}
