#ifndef SYNCD_MISFIT_H
#define SYNCD_MISFIT_H

/*
 * Mailboxes whose last merge of a one-way link did not fit what had been done there between its
 * listing and L for its result (merge_fits.c). Loop thread. A table is NULL when it is empty.
 */

#include <stdbool.h>

#include "util/id.h"

struct misfit;

void misfit_note(struct misfit **all, const struct mailfs_id *dir, bool is);
bool misfit_is(struct misfit *all, const struct mailfs_id *dir);
void misfit_free(struct misfit **all);

#endif
