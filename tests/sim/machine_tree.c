/*
 * The merge of the directory tree under test, compiled as machine.c is.
 */
#define REPLICA_MUTANTS 1
#include "lib/replica/tree_decide.c"
#include "lib/replica/tree_merge.c"
#include "lib/replica/tree_shape.c"
