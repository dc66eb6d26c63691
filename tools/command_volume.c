/*
 * command_volume - which volume a command is about
 *
 * Diagnostics: there are several, and none was named.
 */
#include <stdio.h>

#include "commands.h"

const struct conf_volume *command_volume(const struct ctl_args *args) {
    char err[CONF_ERR_MAX];
    const struct conf_volume *v = args->only ? args->only : conf_volume_find(args->conf, NULL, err);

    if (!v)
        fprintf(stderr, "%s (-V)\n", err);
    return v;
}
