#ifndef MAILFS_CONF_VALUES_H
#define MAILFS_CONF_VALUES_H

/* Between the files of lib/conf that know libconfuse. */

#include <confuse.h>

/* Each option and block is checked when it has been read: the parsing fails at the first error. */
void conf_set_validators(cfg_t *cfg);

#endif
