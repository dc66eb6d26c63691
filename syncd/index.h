#ifndef SYNCD_INDEX_H
#define SYNCD_INDEX_H

/*
 * Which messages are in new/ and cur/ of a container, by base name: one reading of both directories
 * instead of one for each question. About 150 bytes a message. Not shared between threads.
 */

#include <uthash.h>

#include "store.h"

struct index_msg {
    UT_hash_handle hh;
    uint8_t sub;
    bool twice; /* another file has the same base: Dovecot will rename one of them */
    bool seen;  /* the caller's */
    uint32_t base_len;
    char name[]; /* with info */
};

struct index {
    struct index_msg *msgs;
};

/* 0 or an error; a missing new/ or cur/ is empty. */
int index_read(struct state *st, struct store_dir *d, struct index *ix);
void index_free(struct index *ix);
struct index_msg *index_find(const struct index *ix, const char *base);
/* After what the caller did to the store itself. */
int index_set(struct index *ix, const char *name, int sub);
void index_remove(struct index *ix, const char *base);
/* "" or what follows the ':' */
const char *index_info(const struct index_msg *m);

#endif
