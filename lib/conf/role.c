/*
 * role - STATE/role
 *
 * Diagnostics: none; errors are returned.
 */
#include "conf/role.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"
#include "io/io.h"

#define ROLE_NAME "role"

static int open_state(const struct conf_volume *v) {
    return io_open(AT_FDCWD, v->state, O_RDONLY | O_DIRECTORY, 0);
}

static int role_parse(const char *text, struct conf_role *role) {
    char word[16];
    uint64_t term;
    if (sscanf(text, "%15s %" SCNu64, word, &term) != 2)
        return -EUCLEAN;
    bool standby = strcmp(word, "standby") == 0;
    if (!standby && strcmp(word, "active") != 0)
        return -EUCLEAN;
    *role = (struct conf_role){standby, term};
    return 0;
}

int conf_role_read(const struct conf_volume *v, struct conf_role *role) {
    char *text = NULL;
    size_t n;
    *role = (struct conf_role){v->mode == CONF_MODE_STANDBY, 0};
    int dir = open_state(v);
    if (dir < 0)
        return dir == -ENOENT ? 0 : dir;
    int r = io_file_read_at(dir, ROLE_NAME, 256, &text, &n, NULL);
    close(dir);
    if (r != 0)
        return r == -ENOENT ? 0 : r;
    r = role_parse(text, role);
    free(text);
    return r;
}

int conf_role_write(const struct conf_volume *v, const struct conf_role *role) {
    char text[64];
    int dir = open_state(v);
    if (dir < 0)
        return dir;
    int n = snprintf(text, sizeof text, "%s %" PRIu64 "\n", role->standby ? "standby" : "active",
                     role->term);
    int r = io_file_replace_at(dir, ROLE_NAME, text, (size_t)n, NULL);
    close(dir);
    return r;
}
