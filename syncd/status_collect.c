/*
 * status_collect - the figures of a volume, from where they are kept
 *
 * Diagnostics: none.
 */
#include <stdio.h>
#include <string.h>

#include "contact.h"
#include "front.h"
#include "journal.h"
#include "link_peer.h"
#include "merge_run.h"
#include "pending.h"
#include "status.h"
#include "util/clock.h"
#include "util/version.h"
#include "volume.h"
#include "xfer.h"

static const char *const words[] = {"no-peer", "alone", "catching-up", "in-sync"};

static void address(const struct conf_addr *a, char text[STATUS_TEXT_MAX]) {
    bool v6 = strchr(a->host, ':') != NULL;
    snprintf(text, STATUS_TEXT_MAX, v6 ? "[%s]:%u" : "%s:%u", a->host[0] != '\0' ? a->host : "*",
             (unsigned)a->port);
}

static void who(struct volume *v, struct status *s, char *peer_address, char *listen) {
    s->node = v->conf->node;
    s->version = MAILFS_VERSION;
    s->name = v->cv->name;
    s->state = words[replica_state(v->machine)];
    s->mount = v->cv->mount;
    s->commit = conf_commit_name(v->cv->commit);
    if (v->cv->peer != NULL) {
        s->peer = v->cv->peer->name;
        address(&v->cv->peer->address, peer_address);
        s->peer_address = peer_address;
    }
    if (v->cv->has_listen) {
        address(&v->cv->listen, listen);
        s->listen = listen;
    }
}

static uint64_t older(uint64_t a, uint64_t b) {
    return a == 0 ? b : b == 0 ? a : a < b ? a : b;
}

static void pending(struct volume *v, struct status *s) {
    struct pending_totals p;
    struct replica_counts n;
    pending_totals(v->state, &p);
    replica_count(v->machine, &n);
    s->pending_messages = p.messages;
    s->pending_bytes = p.bytes;
    s->pending_transactions = n.unacked;
    s->oldest_wall_ns = older(p.oldest_wall_ns, v->untold_since_wall_ns);
    if (n.oldest_unacked_at != 0) {
        uint64_t age_ns = (volume_now() - n.oldest_unacked_at) * 1000000;
        s->oldest_wall_ns = older(s->oldest_wall_ns, s->now_wall_ns - age_ns);
    }
    s->to_merge = n.to_merge;
    s->tokens_here = n.tokens_here;
    s->tokens_there = n.tokens_there;
    s->waiting = n.waiting;
    s->unapplied = n.unapplied;
    s->journal = journal_waiting(v->state);
    if (replica_state(v->machine) == REPLICA_NO_PEER)
        s->oldest_wall_ns = s->pending_messages = s->pending_bytes = 0;
}

static void progress(struct volume *v, struct status *s) {
    struct xfer_counts n;
    s->progress = replica_state(v->machine) == REPLICA_CATCHING_UP;
    if (!s->progress)
        return;
    xfer_counts(v->xfers, &n);
    s->seconds = status_age(s->now_wall_ns, s->since_wall_ns);
    s->done = v->merged - v->merged_before;
    s->received = n.fetched;
    s->received_bytes = n.fetched_bytes;
    s->known = n.wanted;
    s->known_bytes = n.wanted_bytes;
    s->sent = n.served;
    s->sent_bytes = n.served_bytes;
    s->seconds_left = status_seconds_left(s, n.groups);
}

void status_collect(struct volume *v, struct status *out, char peer_address[STATUS_TEXT_MAX],
                    char listen[STATUS_TEXT_MAX], char error[STATUS_TEXT_MAX]) {
    *out = (struct status){.now_wall_ns = clock_wall_ns(), .since_wall_ns = v->since_wall_ns};
    who(v, out, peer_address, listen);
    pending(v, out);
    progress(v, out);
    out->merged = v->merged;
    out->conflicts = v->conflicts;
    out->state_lost = v->start.lost;
    out->kept = merge_kept(v->state);
    out->rtt_us = peer_rtt_us(v->peer);
    out->mailfs_connected = front_is_connected(v->front);
    out->link_up = contact_is_up(v);
    out->last_error = v->last_error;
    out->last_error_wall_ns = v->last_error_wall_ns;
    state_last_error(v->state, error);
    out->store_error = error;
}
