#ifndef MAILFS_UPCALL_INT_H
#define MAILFS_UPCALL_INT_H

/* What upcall.c and upcall_recv.c share. */

#include "upcall.h"

struct mailfs_id;

/* Dispatches what comes until the connection ends or syncd sends nonsense; true: it hangs. */
bool upcall_receive(int fd);

/* Somebody waits for an answer for longer than syncd can need: logged. */
bool upcall_is_hung(void);

/* syncd has greeted: the one that was there before, or another one. */
void upcall_welcome(uint64_t instance);

/* The connection ends, and syncd does not, as far as is known: no word of its about tokens counts
 * any more. */
void upcall_give_up(void);
/* What it says of a token, until then. */
void upcall_token(const struct mailfs_id *id, bool held);

/* A packet has come on this connection. */
void upcall_heard(void);

/* An answer has come; one that nobody waits for any more is dropped. */
void upcall_answered(uint64_t number, const struct upcall_answer *a);

/* It is going to be: its time begins anew. */
void upcall_working(uint64_t number);

/* After syncd did not answer: until it does on its other socket, or some seconds. false: stop_fd is
 * readable. */
bool upcall_wait_hung(int stop_fd);

#endif
