/*
 * cmd_confirm - mailfsctl confirm: what was removed, and is held by the brake, was meant to go; or,
 * with --undo, was not, and comes back
 *
 * Diagnostics: why it could not be done; exit code 1, also when nothing was held.
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "human.h"
#include "mailbox_path.h"
#include "query.h"
#include "util/str.h"

#define UNDO_TIMEOUT_MS (3600 * 1000) /* it is as long as it takes */

static long long number(json_object *answer, const char *name) {
    json_object *n = NULL;

    return json_object_object_get_ex(answer, name, &n) ? json_object_get_int64(n) : 0;
}

static void say_back(unsigned long long messages) {
    char count[HUMAN_MAX];

    printf("%s back; the other nodes had not been told of most of it\n",
           human_count(messages, "message is", "messages are", count));
}

static void say_confirmed(unsigned long long trees) {
    char count[HUMAN_MAX];

    printf("%s confirmed: what was removed there is removed on the other nodes, too, and goes for "
           "good when its time is over\n",
           human_count(trees, "removal", "removals", count));
}

static int confirm(const struct conf_volume *v, const char *request, bool undo) {
    char why[QUERY_ERROR_MAX];
    json_object *answer = query_ask(v, request, undo ? UNDO_TIMEOUT_MS : QUERY_TIMEOUT_MS, why);
    const char *error = answer ? query_string(answer, "error") : why;
    long long trees = 0, messages = 0;

    if (error) {
        fprintf(stderr, "mailfsctl: volume %s: %s\n", v->name, error);
        json_object_put(answer);
        return CTL_FAILED;
    }
    trees = number(answer, undo ? "trees" : "confirmed");
    messages = number(answer, "messages");
    json_object_put(answer);
    if (trees == 0) {
        fprintf(stderr,
                "mailfsctl: volume %s: nothing of that is held here (mailfsctl "
                "status; each node holds what was removed on it)\n",
                v->name);
        return CTL_FAILED;
    }
    if (undo)
        say_back((unsigned long long)messages);
    else
        say_confirmed((unsigned long long)trees);
    return CTL_DONE;
}

int command_confirm(const struct ctl_args *args) {
    char path[PATH_MAX], request[PATH_MAX + 16];
    const char *what = args->undo ? "confirm undo" : "confirm";
    const struct conf_volume *v = command_volume(args);
    int r;

    if (!v)
        return CTL_USAGE;
    r = args->n_operands > 0 ? mailbox_path(v, args->operands[0], path) : 0;
    if (r == 0 && args->n_operands > 0)
        r = str_printf(request, sizeof(request), "%s\n%s", what, *path ? path : ".");
    else if (r == 0)
        r = str_copy(request, sizeof(request), what);
    if (r != 0) {
        fprintf(stderr, "mailfsctl: confirm: MAILBOX is a path below the mount\n");
        return CTL_USAGE;
    }
    return confirm(v, request, args->undo);
}
