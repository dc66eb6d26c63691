#ifndef TOOLS_MAILBOX_PATH_H
#define TOOLS_MAILBOX_PATH_H

#include <limits.h>

#include "conf/conf.h"

/*
 * A MAILBOX is a path below the mount, or one that begins with it; slashes at its end say nothing.
 * out: below the store, "" for all of it. 0; -EINVAL: it is none.
 */
int mailbox_path(const struct conf_volume *v, const char *given, char out[PATH_MAX]);

#endif
