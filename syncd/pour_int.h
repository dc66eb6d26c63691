#ifndef SYNCD_POUR_INT_H
#define SYNCD_POUR_INT_H

/* Shared by the parts of pour. */

#include "apply_int.h"
#include "pour.h"

/* `to`, for what apply_int.h has. */
struct pour_apply {
    struct apply a;
    struct apply_result res;
};
void pour_apply_begin(struct pour_apply *p, struct state *st, const struct store_dir *to);
/* A control file becomes this text. */
int pour_apply_write(struct pour_apply *p, const char *name, const char *text, size_t n,
                     struct invals *inval);

/* pour_msgs.c: new/ and cur/ */
int pour_msgs(struct state *st, struct store_dir *from, struct store_dir *to, struct invals *inval);

#endif
