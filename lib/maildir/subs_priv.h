/* subs_priv.h: what the files of the subscriptions module share. Nobody else's. */
#ifndef MAILDIR_SUBS_PRIV_H
#define MAILDIR_SUBS_PRIV_H

#include "maildir/subs.h"

#include "maildir/pool.h"

#define HASH_NONFATAL_OOM 1 /* an element that was not added has hh.tbl NULL */
#include <uthash.h>

struct subs_line {
    char *text;
    UT_hash_handle hh;
};

struct maildir_subs {
    struct maildir_pool pool;
    unsigned int version;
    struct subs_line **lines; /* in the file's order */
    size_t count;
    struct subs_line *index;
};

struct subs_line *subs_find(const struct maildir_subs *s, const char *line, size_t len);
int subs_add_n(struct maildir_subs *s, const char *line, size_t len); /* as maildir_subs_add */

#endif
