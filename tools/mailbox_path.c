/*
 * mailbox_path - the MAILBOX of a command, as it was given, becomes its path below the store
 *
 * Diagnostics: none; errors are returned.
 */
#include "mailbox_path.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "util/str.h"

int mailbox_path(const struct conf_volume *v, const char *given, char out[PATH_MAX]) {
    const char *path = given;
    size_t n;

    if (path[0] == '/') {
        if (!conf_path_within(v->mount, path))
            return -EINVAL;
        path += strlen(v->mount);
        path += strspn(path, "/");
    }
    if (strchr(path, '\n') || str_copy(out, PATH_MAX, path) != 0)
        return -EINVAL;
    for (n = strlen(out); n > 0 && out[n - 1] == '/'; n--)
        out[n - 1] = '\0';
    if (strcmp(out, ".") == 0)
        out[0] = '\0';
    return 0;
}
