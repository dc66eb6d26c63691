/*
 * raise - a gap before the next UID of dovecot-uidlist
 *
 * Diagnostics: info: what was raised; warning: a list that cannot be, with its mailbox.
 */
#include "raise.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "dir.h"
#include "io/file.h"
#include "maildir/uidlist.h"
#include "replica/replica.h"
#include "util/log.h"
#include "vol.h"

#define LIST "dovecot-uidlist"

uint32_t raise_alone(void) {
    return strcmp(vol.conf->node, vol.conf_volume->peer->name) < 0 ? 1 : 2;
}

static int replace(struct inode *container, const struct maildir_uidlist *list,
                   const struct stat *st) {
    struct io_file_attr attr = {
        .mode = st->st_mode & 07777,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .set_owner = 1,
        .has_tmpdir = 1,
        .tmpdir = vol.internal_fd,
    };
    char *text;
    size_t len;
    int r = maildir_uidlist_format(list, &text, &len);
    if (r != 0)
        return r;
    r = io_file_replace_at(container->dir->fd, LIST, text, len, &attr);
    free(text);
    return r;
}

static int try_to(struct inode *container, uint32_t raise, uint32_t *from, uint32_t *to) {
    struct maildir_uidlist *list = NULL;
    struct stat st;
    char *text;
    size_t len;
    int r = io_file_read_at(container->dir->fd, LIST, MAILDIR_UIDLIST_TEXT_MAX, &text, &len, &st);
    if (r == -ENOENT)
        return 0;
    if (r != 0)
        return r;
    r = maildir_uidlist_parse(text, len, &list, NULL);
    free(text);
    if (r == -ENODATA)
        return 0;
    if (r != 0)
        return r;
    *from = maildir_uidlist_next(list);
    *to = replica_raised_uid(*from, raise);
    if (*to > *from) {
        maildir_uidlist_raise_next(list, *to - *from);
        r = replace(container, list, &st);
    }
    maildir_uidlist_free(list);
    return r == 0 ? 1 : r;
}

int raise_next_uid(struct inode *container, uint32_t raise) {
    char path[PATH_MAX];
    uint32_t from = 0, to = 0;
    int r = try_to(container, raise, &from, &to);
    if (r == 1)
        log_info("serving alone: next UID of %s raised from %u to %u",
                 dir_shown(container, path, sizeof path), from, to);
    else if (r < 0)
        log_warn("%s: the next UID in " LIST " cannot be raised, the mailbox's lock is refused "
                 "until it can: %s",
                 dir_shown(container, path, sizeof path),
                 r == -EBADMSG ? "the list is broken" : log_strerror(r));
    return r;
}
