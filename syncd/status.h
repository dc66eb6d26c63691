#ifndef SYNCD_STATUS_H
#define SYNCD_STATUS_H

/*
 * The status document, for mailfsctl and for monitoring: numbers first, then text from them. Pure,
 * so that a test can look at each field. See docs/INTERFACES.md.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "maildir/name.h"
#include "undo.h"
#include "verify.h"

/* A one-way link: to a standby, or, on a standby, to its source. */
struct status_link {
    const char *node, *address, *state, *commit;
    const char *other_role; /* what the node there is; NULL: never met */
    bool link_up;
    uint64_t since_wall_ns, oldest_wall_ns, to_merge;
    const char *last_error; /* "": none */
    uint64_t last_error_wall_ns;
    char address_text[300];
};

/* A message that only this node has, and that cannot be read. */
struct status_unread {
    const char *peer;  /* who has not got it */
    const char *error; /* what reading it said */
    char path[256];    /* its mailbox */
    bool is_file;      /* not a message */
    char base[MAILDIR_NAME_MAX + 1];
};

struct brake_held;

struct status {
    const char *node, *version, *name, *state, *mount, *commit;
    const char *access; /* as mailfs has mounted it: "checked", "private"; NULL: not mounted */
    const char *peer, *peer_address, *listen; /* NULL: none */
    uint64_t now_wall_ns, since_wall_ns;
    uint64_t oldest_wall_ns; /* of what the peer has not acknowledged; 0: nothing */
    uint64_t pending_messages, pending_bytes, pending_transactions;
    uint64_t to_merge, merged, conflicts, tokens_here, tokens_there, waiting, unapplied, journal;
    uint64_t kept;   /* older versions of files changed on both nodes, for the administrator */
    uint64_t rtt_us; /* 0: not known */
    /* while catching up; how it goes on */
    bool progress;
    double seconds, seconds_left; /* since it began; below 0: cannot be told yet */
    uint64_t done, received, received_bytes, known, known_bytes, sent, sent_bytes;
    uint64_t keep_s;
    struct undo_counts undo;       /* expunged messages that are kept */
    const struct brake_held *held; /* by the brake; see brake.h */
    size_t n_held;
    const struct status_unread *unread;
    size_t n_unread, unread_count; /* of all of them */
    struct verify_result verified; /* the last pass over everything */
    bool verify_running;
    uint64_t verify_done, verify_all; /* of one under way */
    bool mailfs_connected, link_up;
    bool state_lost;        /* at the start the state was not that of the store */
    const char *last_error; /* "": none */
    uint64_t last_error_wall_ns;
    const char *store_error;    /* "": none */
    size_t containers, watched; /* of a store that is watched */
    uint64_t overflows;
    bool is_watched;
    const char *role; /* "active", "standby" */
    uint64_t term;    /* of the role: how many promotions there were */
    const struct status_link *links;
    size_t n_links;
};

/* The document, malloc'ed; NULL without memory. */
char *status_format(const struct status *s);

/* What is left of a catching-up, in seconds, or -1: of the bytes known to be missing, and of the
 * mailboxes not looked at yet, taken to be as large as those that were (groups of them). */
double status_seconds_left(const struct status *s, uint64_t groups);

/* (now - then) in seconds, 0 when then is 0 or later. */
double status_age(uint64_t now_ns, uint64_t then_ns);

struct volume;
/* Room for what the status points to. */
#define STATUS_TEXT_MAX   512
#define STATUS_LINKS_MAX  8
#define STATUS_UNREAD_MAX 10
struct status_room {
    char peer_address[STATUS_TEXT_MAX], listen[STATUS_TEXT_MAX], error[STATUS_TEXT_MAX];
    struct status_link links[STATUS_LINKS_MAX];
    struct status_unread unread[STATUS_UNREAD_MAX];
};
/* Fills what is known of a volume. */
void status_collect(struct volume *v, struct status *out, struct status_room *room);

#endif
