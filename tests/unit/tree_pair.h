#ifndef TESTS_TREE_PAIR_H
#define TESTS_TREE_PAIR_H

/* For the tests of the merge of the directory tree over two stores: the mailbox "u" with a folder
 * .Work on both. Ends with mailbox_teardown(). */

#include "mailbox_pair.h"
#include "syncd_contact.h"

extern struct mailfs_id work; /* container "u/.Work", the same on both */

int tree_setup(void **state);

struct trees {
    Mfp__Tree *a, *b, *wa, *wb;
};

void scan_both(struct trees *t, bool full); /* what both would send each other now */
int run_both(struct trees *t);              /* both carry it out; what b says */
void trees_free(struct trees *t);           /* run_both() has done so */
void merge_at_a_only(void);

void move_aside(struct node *n, const char *rel, const struct mailfs_id *id); /* as a merge does */
/* The name in a directory of .mailfs/ that begins so, or "" */
void name_in(struct node *n, const char *dir, const char *prefix, char out[300]);
void assert_list_begins(struct node *n, const char *folder, const char *with);

#endif
