/*
 * cmd_promote - mailfsctl promote
 *
 * Diagnostics: why this node cannot be made the active one; exit code 1.
 */
#include <stdio.h>

#include "commands.h"
#include "query.h"

static int promote(const struct conf_volume *v, bool force) {
    char why[QUERY_ERROR_MAX];
    /* Every mailbox is written to: that takes as long as it takes. */
    json_object *answer = query_ask(v, force ? "promote force" : "promote", -1, why);
    const char *error = answer ? query_string(answer, "error") : why;
    json_object *raised = NULL;

    if (error) {
        fprintf(stderr, "mailfsctl: volume %s: %s\n", v->name, error);
        json_object_put(answer);
        return CTL_FAILED;
    }
    json_object_object_get_ex(answer, "raised", &raised);
    printf("volume %s: this node is active; the next UID was raised in %lld mailboxes\n", v->name,
           (long long)json_object_get_int64(raised));
    json_object_put(answer);
    return CTL_DONE;
}

int command_promote(const struct ctl_args *args) {
    const struct conf_volume *v = command_volume(args);

    if (!v)
        return CTL_USAGE;
    return promote(v, args->force);
}
