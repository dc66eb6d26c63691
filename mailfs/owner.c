/*
 * owner - threads to processes
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
