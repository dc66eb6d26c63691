/*
 * The machine under test, compiled here with its deliberate faults available (--mutant), which
 * the library that the programs link does not contain. With no mutant chosen it is the same code.
 */
#define REPLICA_MUTANTS 1
#include "lib/replica/replica.c"
#include "lib/replica/replica_contact.c"
#include "lib/replica/replica_dir.c"
#include "lib/replica/replica_link.c"
#include "lib/replica/replica_prep.c"
#include "lib/replica/replica_queue.c"
#include "lib/replica/replica_round.c"
#include "lib/replica/replica_token.c"
#include "lib/replica/replica_txn.c"
