#ifndef MAILFS_NUMBERS_H
#define MAILFS_NUMBERS_H

/*
 * The UIDs given under L, on this disk.
 *
 * A UID that was shown must never name another message. As a rule the other node has the numbers
 * durably before U returns. Where it has not (it is away, the link ended meanwhile, the owner
 * died), they are synced here: Dovecot does not always do that, and after a power cut this node
 * would give them once more.
 */

#include <stdbool.h>
#include <sys/stat.h>

/* dovecot-uidlist as it was; all zero: there was none, or it is not known. */
struct numbers {
    ino_t ino;
    off_t size;
    struct timespec mtime;
};

void numbers_look(int container, struct numbers *out);
/* Syncs the uidlist if it is not what it was. 0 or -errno. */
int numbers_sync(int container, const struct numbers *was);
/*
 * Changes its time if it is not what it was. Dovecot writes into its index what the uidlist looks
 * like, and after that the last UIDs (2.3.19, maildir-save.c:
 * maildir_transaction_save_commit_pre()): where the second step finds no room (the index on the
 * same disk, seen), or its process is killed before it (seen), the next session trusts the index
 * and gives these UIDs again. With another time it reads the list. 0 or -errno.
 */
int numbers_distrust(int container, const struct numbers *was);

#endif
