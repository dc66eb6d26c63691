#ifndef SYNCD_SCAN_INT_H
#define SYNCD_SCAN_INT_H

/* Shared by the parts of scan_mailbox(): each fills its part of the listing. */

#include "base.h"
#include "index.h"
#include "maildir/uidlist.h"
#include "scan.h"
#include "stage.h"
#include "store.h"

struct scan {
    struct state *st;
    const struct mailfs_id *dir;
    bool full;
    bool held;   /* what is missing counts as there (hold.h), */
    int kept_fd; /* and is kept in this directory; -1 */
    struct index kept;
    bool follows; /* what is missing is lost, see scan_mailbox_following(); so many */
    size_t n_lost;
    bool some_unread; /* unread.h */
    struct store_dir d;
    struct index ix;
    struct maildir_uidlist *list; /* NULL: there is none */
    struct stage_pub *pubs;       /* messages published here when their origin was gone */
    size_t n_pubs;
    struct state *const *lenders;
    size_t n_lenders;
    Mfp__Listing *out;
};

/* scan.c */
/* Does that node have this container, with all that is said of it? */
bool scan_knows_dir(struct state *lender, const struct mailfs_id *dir);

/* scan_msgs.c: s->ix, s->pubs and s->list have been read */
int scan_msgs(struct scan *s);
/* What is gone again of what was prepared or published here. */
int scan_removed(struct scan *s);

/* scan_files.c */
int scan_files(struct scan *s);

/* scan_control.c */
int scan_uidlist(struct scan *s); /* reads s->list */
int scan_keywords(struct scan *s);
int scan_subs(struct scan *s);
/* Which of the differences that scan_subs() listed are a lender's. */
int scan_borrow_subs(struct scan *s);

#endif
