#ifndef SYNCD_VERIFY_PLAN_H
#define SYNCD_VERIFY_PLAN_H

/*
 * When a pass over everything, with contents, begins by itself (`verify` in the configuration), and
 * what the last one found, which is remembered in STATE/verified. Loop thread only.
 */

#include "verify.h"

struct verify_plan;

struct verify_plan *verify_plan_new(struct volume *v);
void verify_plan_free(struct verify_plan *p); /* nothing is begun any more; NULL is allowed */

/* at 0: there is none. */
void verify_record_read(const struct volume *v, struct verify_result *out);
int verify_record_write(const struct volume *v, const struct verify_result *r);

/*
 * Is a pass due? All in seconds of the wall clock: every: the configured distance (0: never); last:
 * when the last one ended (0: never); first_seen: when this syncd began; tried: when one was begun
 * that did not get through (0: none).
 */
bool verify_is_due(int64_t now, uint64_t every, int64_t last, int64_t first_seen, int64_t tried);

#endif
