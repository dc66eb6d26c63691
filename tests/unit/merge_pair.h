#ifndef TESTS_MERGE_PAIR_H
#define TESTS_MERGE_PAIR_H

/* For the tests of a mailbox's merge over two stores: "u" on both, and a client alone on one of
 * them. */

#include "syncd_contact.h"

extern struct pair p;
extern struct mailfs_id inbox; /* container "u", the same on both */

int setup_empty(void **state);
int setup(void **state);
int teardown(void **state);
void merge(const struct mailfs_id *dir);
void contact(void);
void mark(struct node *n, const struct mailfs_id *dir);
void add_new(struct node *n, const char *mbox, const char *base, const char *text);
void add_seen(struct node *n, const char *mbox, const char *base, const char *info, unsigned uid,
              const char *text);
unsigned uid_of(struct node *n, const char *mbox, const char *base);
void common(void);
int try_at(struct node *here, struct node *other);
void merge_at(struct node *here, struct node *other);
void keyword(struct node *n, const char *word);
void make_box(struct node *n, const char *rel);

#endif
