#ifndef TESTS_SIM_CLIENT_INT_H
#define TESTS_SIM_CLIENT_INT_H

/* client_int.h: what client.c (Postfix and Dovecot) and client_mailfs.c have of each other. */

#include "sim.h"

/* ---- client.c ---- */

struct node *client_node(const struct client *c);
void client_next(struct client *c, uint64_t delay); /* its next step */
void client_finish(struct client *c);

/* ---- client_mailfs.c: what a client asks of it ends with its next step, at once or later ---- */

void client_prepare(struct client *c);
void client_lock(struct client *c);
void client_unlock(struct client *c);
void client_die_alone(struct client *c); /* it alone */

/* Marked, then made, then told: in the transaction of L's owner, or at once. */
void client_change(struct node *n, struct client *c, unsigned box, uint32_t name, struct state to,
                   const struct replica_prep *prep);
void client_change_folder(struct node *n, unsigned box);

/* E_TELL, E_GRANTED */
void client_tell(struct node *n);
void client_granted(const struct event *e);

#endif
