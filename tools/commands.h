#ifndef TOOLS_COMMANDS_H
#define TOOLS_COMMANDS_H

/* The commands of mailfsctl(8). Each prints its result and returns the program's exit code. */

#include <stdbool.h>

#include "conf/conf.h"

enum exit_code {
    CTL_DONE = 0,
    CTL_FAILED = 1,
    CTL_USAGE = 2, /* usage or configuration */
    CTL_TIMED_OUT = 3,
};

struct ctl_args {
    const struct conf *conf;
    const struct conf_volume *only; /* by -V; NULL: all */
    char *const *operands;          /* what follows the command */
    int n_operands;
    bool json, dry_run, watch, force, list, all, recursive, content, repair, accept, undo;
    const char *since;          /* as it was given */
    const char *dovecot_config; /* NULL: Dovecot's default */
    double timeout;             /* seconds; below 0: without end */
};

/* The volume that a command for one is about. NULL: it is not clear which, and that has been said.
 */
const struct conf_volume *command_volume(const struct ctl_args *args);

int command_init(const struct ctl_args *args);
int command_fingerprint(const struct ctl_args *args);
int command_status(const struct ctl_args *args);
int command_wait(const struct ctl_args *args);
int command_promote(const struct ctl_args *args);
int command_check_config(const struct ctl_args *args);
int command_adopt(const struct ctl_args *args);
int command_undelete(const struct ctl_args *args);
int command_snapshot(const struct ctl_args *args);
int command_verify(const struct ctl_args *args);
int command_confirm(const struct ctl_args *args);
int command_leave(const struct ctl_args *args);

#endif
