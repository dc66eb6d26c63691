#ifndef MAILFS_CONF_ROLE_H
#define MAILFS_CONF_ROLE_H

/*
 * Who may write: what the configuration's `mode` says, until a promotion has decided otherwise.
 * That is kept in STATE/role, one line: "active" or "standby", a space, the term. A term counts the
 * promotions; of two nodes that are both active the one with the lower term is the one that was
 * replaced. Any thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"

struct conf_role {
    bool standby;
    uint64_t term; /* 0: nobody was ever promoted */
};

/* 0, or -errno; -EUCLEAN: the file is not of this form. */
int conf_role_read(const struct conf_volume *v, struct conf_role *role);

/* Durable when 0 is returned. */
int conf_role_write(const struct conf_volume *v, const struct conf_role *role);

#endif
