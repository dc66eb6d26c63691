#ifndef TESTS_SIM_NODE_INT_H
#define TESTS_SIM_NODE_INT_H

/* node_int.h: what node.c has for node_event.c and node_act.c alone. */

#include "sim.h"

bool node_prep_equal(struct replica_prep a, struct replica_prep b);
struct prepared *node_prepared_find(const struct node *n, struct replica_prep prep);
void node_publish_again(struct node *n, struct replica_prep prep);
/* What is in the mailbox is not what its base says: it is to be compared. */
void node_suspect(struct node *n, unsigned box);
/* The machine has asked for its application. */
void node_apply_begins(struct node *n, uint64_t seq);

#endif
