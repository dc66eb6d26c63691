#ifndef SYNCD_CTL_VERIFY_H
#define SYNCD_CTL_VERIFY_H

/*
 * The request "verify" of the control socket: a line with its words, then a line for each mailbox's
 * path below the store. Loop thread.
 */

#include "verify.h"

#define CTL_VERIFY_BYTES (100u << 10) /* of problems in the answer: it is one packet */

/* The words and paths of a request, which is cut up. n_paths of paths (room for max) are used. 0,
 * or -EINVAL: a word that is not known, or too many paths. */
int ctl_verify_parse(char *request, struct look_order *order, char **paths, size_t max, size_t *n);

/* The answer, malloc'ed: a JSON document. */
char *ctl_verify_format(const struct verify_result *r);

/* How much was looked at, and what was found: as in the answer, in another object. */
struct json_object;
void ctl_verify_put(struct json_object *o, const struct verify_result *r);

#endif
