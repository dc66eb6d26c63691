#ifndef SYNCD_STATUS_H
#define SYNCD_STATUS_H

/*
 * The status document, for mailfsctl and for monitoring: numbers first, then text from them. Pure,
 * so that a test can look at each field. See docs/INTERFACES.md.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct status {
    const char *node, *version, *name, *state, *mount, *commit;
    const char *peer, *peer_address, *listen; /* NULL: none */
    uint64_t now_wall_ns, since_wall_ns;
    uint64_t oldest_wall_ns; /* of what the peer has not acknowledged; 0: nothing */
    uint64_t pending_messages, pending_bytes, pending_transactions;
    uint64_t to_merge, merged, conflicts, tokens_here, tokens_there, waiting, unapplied, journal;
    uint64_t kept;   /* older versions of files changed on both nodes, for the administrator */
    uint64_t rtt_us; /* 0: not known */
    bool mailfs_connected, link_up;
    const char *last_error; /* "": none */
    uint64_t last_error_wall_ns;
    const char *store_error; /* "": none */
};

/* The document, malloc'ed; NULL without memory. */
char *status_format(const struct status *s);

/* (now - then) in seconds, 0 when then is 0 or later. */
double status_age(uint64_t now_ns, uint64_t then_ns);

struct volume;
/* Fills what is known of a volume. addresses has room for two, error for STATE_ERROR_MAX. */
#define STATUS_TEXT_MAX 512
void status_collect(struct volume *v, struct status *out, char peer_address[STATUS_TEXT_MAX],
                    char listen[STATUS_TEXT_MAX], char error[STATUS_TEXT_MAX]);

#endif
