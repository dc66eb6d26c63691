#ifndef TESTS_SYNCD_PAIR_INT_H
#define TESTS_SYNCD_PAIR_INT_H

/* What the parts of syncd_pair share. */

#include "syncd_pair.h"

const char *fs_path(struct node *n, const char *rel, char buf[512]);
Mfl__Meta *act_meta(struct node *n, const char *rel); /* of what is there now */

#define NEW(type, init, var)                                                                       \
    type *var = malloc(sizeof(type));                                                              \
    assert_non_null(var);                                                                          \
    init(var)

#endif
