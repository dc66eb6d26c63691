/*
 * The merge of a mailbox under test, compiled as machine.c is.
 */
#define REPLICA_MUTANTS 1
#include "lib/replica/base_age.c"
#include "lib/replica/merge.c"
#include "lib/replica/merge_decide.c"
#include "lib/replica/merge_number.c"
