/* uidlist_priv.h: what the files of the uidlist module share. Nobody else's. */
#ifndef MAILDIR_UIDLIST_PRIV_H
#define MAILDIR_UIDLIST_PRIV_H

#include "maildir/uidlist.h"

#include "maildir/pool.h"

/* An element that could not be added keeps hh.tbl NULL: insert_at() looks at that. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct uidrec {
    struct maildir_uidrec pub;
    size_t base_len;
    UT_hash_handle hh; /* by base */
};

/*
 * U1. recs ascend strictly by uid, and none is 0.
 * U2. every record is in the index, and no base is there twice.
 * U3. strings and records live in the pool; what is removed stays there until the list is freed or
 *     rebuilt.
 */
struct maildir_uidlist {
    struct maildir_pool pool;
    uint32_t validity;
    uint32_t header_next; /* N as it stands in the header */
    const char *rest;     /* other header fields */
    struct uidrec **recs;
    size_t count;
    struct uidrec *index;
};

/* Bytes of the header's other fields together; Dovecot writes two, of 33 and a few. */
#define UIDLIST_REST_MAX 1022

/* An empty list without header: 0 everywhere. */
struct maildir_uidlist *uidlist_alloc(void);

/* Add behind the last record. The caller has checked U1 and U2. 0 or -ENOMEM. */
int uidlist_push(struct maildir_uidlist *list, uint32_t uid, const char *ext, size_t ext_len,
                 const char *base, size_t base_len);
void uidlist_pop(struct maildir_uidlist *list); /* the last one */
void uidlist_drop(struct maildir_uidlist *list, struct uidrec *rec);
struct uidrec *uidlist_lookup(const struct maildir_uidlist *list, const char *base, size_t len);

/* Fields "<A-Z>value", single spaces between, printable; "" too. */
bool uidlist_ext_ok(const char *ext, size_t len);
bool uidlist_rest_ok(const char *rest, size_t len);
bool uidlist_guid_ok(const char *guid, size_t len);

void uidlist_swap(struct maildir_uidlist *a, struct maildir_uidlist *b);

#endif
