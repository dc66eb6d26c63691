/*
 * cmd_confirm - mailfsctl confirm: what was removed, and is held by the brake, was meant to go
 *
 * Diagnostics: why it could not be done; exit code 1, also when nothing was held.
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "human.h"
#include "query.h"
#include "util/str.h"

static int confirm(const struct conf_volume *v, const char *request) {
    char why[QUERY_ERROR_MAX], count[HUMAN_MAX];
    json_object *answer = query_ask(v, request, QUERY_TIMEOUT_MS, why), *n = NULL;
    const char *error = answer ? query_string(answer, "error") : why;
    long long confirmed = 0;

    if (error) {
        fprintf(stderr, "mailfsctl: volume %s: %s\n", v->name, error);
        json_object_put(answer);
        return CTL_FAILED;
    }
    if (json_object_object_get_ex(answer, "confirmed", &n))
        confirmed = json_object_get_int64(n);
    json_object_put(answer);
    if (confirmed == 0) {
        fprintf(stderr, "mailfsctl: volume %s: nothing of that is held (mailfsctl status)\n",
                v->name);
        return CTL_FAILED;
    }
    printf("%s confirmed: what was removed there goes when its time is over\n",
           human_count((uint64_t)confirmed, "removal", "removals", count));
    return CTL_DONE;
}

int command_confirm(const struct ctl_args *args) {
    char err[CONF_ERR_MAX], request[PATH_MAX + 16] = "confirm";
    const struct conf_volume *v = args->only ? args->only : conf_volume_find(args->conf, NULL, err);
    const char *path = args->n_operands > 0 ? args->operands[0] : NULL;
    int r = 0;

    if (!v) {
        fprintf(stderr, "%s (-V)\n", err);
        return CTL_USAGE;
    }
    if (path && path[0] == '/' && conf_path_within(v->mount, path)) {
        path += strlen(v->mount);
        path += strspn(path, "/");
    }
    if (path)
        r = strchr(path, '\n') ? -1 : str_printf(request, sizeof(request), "confirm\n%s", path);
    if (r != 0) {
        fprintf(stderr, "mailfsctl: confirm: MAILBOX is a path below the mount\n");
        return CTL_USAGE;
    }
    return confirm(v, request);
}
