#ifndef MAILFS_OPS_H
#define MAILFS_OPS_H

#include "vol.h"

#include <fuse_lowlevel.h>

/* The callbacks, counted. init is not among them (serve.c). */
extern const struct fuse_lowlevel_ops ops_table;

#endif
