/*
 * unmerged - mailboxes whose merge fails again and again
 *
 * Any round may fail once: the mailbox is in use, a directory is on its way. One that never ends
 * keeps the volume, or a link, catching up, and its count says "1 to merge" for ever.
 *
 * No diagnostics: whoever asks writes them.
 */
#include "unmerged.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "mem.h"
#include "util/log.h"

#define IN_A_ROW 3

/* Nothing failed here. */
#define ELSEWHERE "the other node did not end it, and may say why, or somebody holds its lock"

/* ---- words ------------------------------------------------------------------------- */

enum {
    LISTED = 1u << UNMERGED_LIST,
    FETCHED = 1u << UNMERGED_FETCH,
    MERGED = 1u << UNMERGED_MERGE
};
#define ANY (LISTED | FETCHED | MERGED)

static const struct {
    int err;
    unsigned at;
    const char *words;
} words[] = {
    {ESTALE, ANY, "it was changed meanwhile, or the nodes' bases differ; it is tried again"},
    {EAGAIN, ANY,
     "it is in use: its list is locked, or it was changed meanwhile; end the session that has it"},
    {ENODATA, ANY,
     "a message or file that the other node has listed did not come: it is gone or changed there, "
     "or cannot be read; see the log there"},
    {ENOENT, FETCHED,
     "a message or file that the other node has listed is not there any more, or has another name; "
     "see the log there"},
    {ENOENT, ANY, "its directory, or something in it, went meanwhile; it is tried again"},
    {EEXIST, MERGED,
     "a UID that the other node has given is another message's in dovecot-uidlist here, the log "
     "has both; if that stays so, remove that file through the mount: it is numbered anew then"},
    {EBADMSG, FETCHED, "what the other node sends cannot be used; are both of one version?"},
    {EBADMSG, ANY,
     "its UID list, keywords or subscriptions cannot be used as they are here or on the other "
     "node; see the log"},
    {EPROTO, ANY, "what the other node sends cannot be used; are both of one version?"},
    {EUCLEAN, FETCHED,
     "a content does not fit its checksum on the other node: mailfsctl verify --content --repair"},
    {EUCLEAN, ANY,
     "the file system, or the base in the state directory here, is damaged: see the kernel's log; "
     "without STATE/base everything is compared anew, and nothing removed"},
    {EIO, FETCHED,
     "a content cannot be read on the other node, or not be written here; see both logs"},
    {EIO, ANY, "the disk here, of the store or the state, fails; see the kernel's log"},
    {ENOSPC, ANY, "no space is left here, on the disk of the store or of the state"},
    {EDQUOT, ANY, "the disk quota of its owner is used up here"},
    {EROFS, ANY,
     "nothing may be written to the store here (mode = \"watch\", or a read-only file system), and "
     "the other node has something for it"},
    {ENOTDIR, ANY,
     "a file is in the place of one of its directories (new, cur, tmp) in the store here"},
    {EISDIR, ANY, "a directory is in the place of one of its files in the store here"},
    {ELOOP, ANY, "a symbolic link is in the place of one of its directories or files here"},
    {EACCES, ANY, "mailfs-syncd is not allowed to here: look at its owner, mode and lsattr"},
    {EPERM, ANY, "mailfs-syncd is not allowed to here: look at its owner, mode and lsattr"},
    {ENOTCONN, ANY, "the link ended meanwhile; it is tried again"},
    {EOWNERDEAD, ANY, "mailfs gave mailfs-syncd up meanwhile, or was started; it is tried again"},
};

void unmerged_words(enum unmerged_at at, int err, char why[UNMERGED_WHY]) {
    static const char *const doing[] = {"it cannot be listed here", "what is lacking does not come",
                                        "its result cannot be put into the store here"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (words[i].err != abs(err) || !(words[i].at & (1u << at)))
            continue;
        snprintf(why, UNMERGED_WHY, "%s", words[i].words);
        return;
    }
    snprintf(why, UNMERGED_WHY, "%s: %s; see the log", doing[at], log_strerror(err));
}

/* ---- which, and how often ---------------------------------------------------------- */

struct unmerged {
    struct mailfs_id dir;
    unsigned times;
    char why[UNMERGED_WHY]; /* of the round under way; empty: none known */
    char told[UNMERGED_WHY];
    UT_hash_handle hh;
};

static struct unmerged *find(struct unmerged *all, const struct mailfs_id *dir) {
    struct unmerged *u;
    HASH_FIND(hh, all, dir, sizeof *dir, u);
    return u;
}

static struct unmerged *get(struct unmerged **all, const struct mailfs_id *dir) {
    struct unmerged *u = find(*all, dir);
    if (u != NULL)
        return u;
    u = mem_new(sizeof *u);
    u->dir = *dir;
    HASH_ADD(hh, *all, dir, sizeof u->dir, u);
    return u;
}

void unmerged_failed(struct unmerged **all, const struct mailfs_id *dir, const char *why) {
    struct unmerged *u = get(all, dir);
    snprintf(u->why, sizeof u->why, "%s", why);
}

bool unmerged_put_off(struct unmerged **all, const struct mailfs_id *dir, char why[UNMERGED_WHY]) {
    struct unmerged *u = get(all, dir);
    snprintf(why, UNMERGED_WHY, "%s", *u->why != '\0' ? u->why : ELSEWHERE);
    *u->why = '\0';
    if (++u->times < IN_A_ROW || strcmp(u->told, why) == 0)
        return false;
    memcpy(u->told, why, sizeof u->told);
    return true;
}

bool unmerged_over(struct unmerged **all, const struct mailfs_id *dir) {
    struct unmerged *u = find(*all, dir);
    bool told = u != NULL && *u->told != '\0';
    if (u != NULL) {
        HASH_DEL(*all, u);
        free(u);
    }
    return told;
}

void unmerged_free(struct unmerged **all) {
    struct unmerged *u, *tmp;
    HASH_ITER(hh, *all, u, tmp) {
        HASH_DEL(*all, u);
        free(u);
    }
}
