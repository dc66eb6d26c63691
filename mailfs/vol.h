#ifndef MAILFS_VOL_H
#define MAILFS_VOL_H

/* What every part of this program may look at: set before the first request, constant afterwards.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "conf/conf.h"

#define FUSE_USE_VERSION 312

struct fuse_session;

struct vol {
    const struct conf *conf;
    const struct conf_volume *conf_volume;
    int store_fd;         /* the store's root, O_RDONLY */
    int internal_fd;      /* STORE/.mailfs, hidden in the mount */
    int undo_fd;          /* .mailfs/undo; -1: expunged messages are not kept */
    uint64_t incarnation; /* random, of this process */
    bool has_peer;        /* another active node: who may give UIDs too */
    bool has_syncd;       /* somebody has to be told what changes: a peer, or one-way links */
    unsigned timeout_ms;  /* how long syncd or another worker may take: nobody waits longer */
    bool clean;           /* the mailfs before this one stopped cleanly */
    bool is_private;      /* the kernel checks no permissions in this mount: access.h does */
    uid_t private_uid;    /* then: who alone gets there, beside root */
    struct fuse_session *se;
};

extern struct vol vol;

#endif
