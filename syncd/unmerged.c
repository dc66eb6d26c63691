/*
 * unmerged - mailboxes whose merge fails again and again
 *
 * Any round may fail once: the mailbox is in use, a directory is on its way. One that never ends
 * keeps the volume, or a link, catching up, and its count says "1 to merge" for ever.
 *
 * No diagnostics: whoever asks writes them.
 */
#include "unmerged.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "mem.h"

#define IN_A_ROW 3

/* Nothing failed here. */
#define ELSEWHERE "the other node did not end it, and may say why, or somebody holds its lock"

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
