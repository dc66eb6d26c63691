#ifndef MAILFS_WIRE_CHECK_LOCAL_H
#define MAILFS_WIRE_CHECK_LOCAL_H

/*
 * The same as check.h for what mailfs and syncd say to each other. They trust each other (same
 * user, same machine); but a check at the border finds a bug of one before it becomes one of the
 * other.
 *
 * After a message passed: every id is 16 bytes, every name is a name of its kind, no sub-message
 * that others rely on is NULL (Add.source and the Metas of Act may be).
 */

#include "wire/local.pb-c.h"

/* 0, or -EPROTO and in *why (static) what is wrong. */
int wire_check_to_syncd(const Mfl__ToSyncd *m, const char **why);
int wire_check_to_mailfs(const Mfl__ToMailfs *m, const char **why);

#endif
