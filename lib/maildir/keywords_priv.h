/* keywords_priv.h: what the files of the keywords module share. Nobody else's. */
#ifndef MAILDIR_KEYWORDS_PRIV_H
#define MAILDIR_KEYWORDS_PRIV_H

#include "maildir/keywords.h"

#include "maildir/pool.h"

struct maildir_keywords {
    struct maildir_pool pool;
    char *names[MAILDIR_KEYWORDS_MAX]; /* NULL: free */
    unsigned int end;                  /* all from here on are free */
    size_t count;
};

int keywords_casecmp(const char *a, const char *b); /* ASCII letters alike */

#endif
