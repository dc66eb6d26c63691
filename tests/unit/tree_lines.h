#ifndef TESTS_TREE_LINES_H
#define TESTS_TREE_LINES_H

/* For the tests of the merge of the directory tree: its sides and its result as text. An error
 * fails the test. */

#include <stdbool.h>
#include <stdint.h>

#include "replica/tree_merge.h"

/* One directory as text: "id parent name mode", e.g. "1 0 Sent"; "" is not there. */
struct tree_line {
    int id;
    const char *was, *is;
    bool inside;
    uint64_t version;
};

/* 0 is the root */
struct mailfs_id tree_id(int n);
/* lines: ended by id 0; entries: room for them. valid: this side has a base. */
void tree_side_of(const struct tree_line *lines, bool valid, struct tree_entry *entries,
                  struct tree_side *side);
/* "id:parent/name" of what is there, "id=id" of aliases, by id; each with a space behind it. */
void tree_describe(const struct tree_result *r, char *out);
/* Merged, they are as wanted; why: says what failed. */
void tree_check(const struct tree_side *a, const struct tree_side *b, const char *want,
                const char *why);

#endif
