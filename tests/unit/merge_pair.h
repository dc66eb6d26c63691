#ifndef TESTS_MERGE_PAIR_H
#define TESTS_MERGE_PAIR_H

/* For the tests of a mailbox's merge over two stores: "u" on both, and a client alone on one of
 * them. */

#include "mailbox_pair.h"
#include "syncd_contact.h"

int merge_setup_empty(void **state); /* without "u"; ends with mailbox_teardown(), too */
int merge_setup(void **state);
void merge(const struct mailfs_id *dir);
void contact(void);
void mark(struct node *n, const struct mailfs_id *dir);
void add_new(struct node *n, const char *mbox, const char *base, const char *text);
void add_seen(struct node *n, const char *mbox, const char *base, const char *info, unsigned uid,
              const char *text);
unsigned uid_of(struct node *n, const char *mbox, const char *base);
unsigned next_in(struct node *n); /* the next UID of "u" */
void common(void);
int try_at(struct node *here, struct node *other);
void merge_at(struct node *here, struct node *other);
void keyword(struct node *n, const char *word);
void make_box(struct node *n, const char *rel);

#endif
