/*
 * status_collect - the figures of a volume, from where they are kept
 *
 * Diagnostics: none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contact.h"
#include "front.h"
#include "journal.h"
#include "brake.h"
#include "link_peer.h"
#include "merge_run.h"
#include "pending.h"
#include "role.h"
#include "status.h"
#include "unread.h"
#include "util/clock.h"
#include "util/version.h"
#include "volume.h"
#include "watch.h"
#include "xfer.h"

static void address(const struct conf_addr *a, char *text, size_t size) {
    bool v6 = strchr(a->host, ':') != NULL;
    snprintf(text, size, v6 ? "[%s]:%u" : "%s:%u", a->host[0] != '\0' ? a->host : "*",
             (unsigned)a->port);
}

static void who(struct volume *v, struct status *s, char *peer_address, char *listen) {
    s->node = v->conf->node;
    s->version = MAILFS_VERSION;
    s->name = v->cv->name;
    s->state = volume_state_word(replica_state(v->machine));
    s->mount = v->cv->mount;
    s->commit = conf_commit_name(v->cv->commit);
    if (v->cv->peer != NULL) {
        s->peer = v->cv->peer->name;
        address(&v->cv->peer->address, peer_address, STATUS_TEXT_MAX);
        s->peer_address = peer_address;
    }
    if (v->cv->has_listen) {
        address(&v->cv->listen, listen, STATUS_TEXT_MAX);
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

/* A link that has something to look at is not in sync, whatever its machine knows. */
static void link_status(struct volume *link, struct status_link *s) {
    struct replica_counts n;
    enum replica_state state = replica_state(link->machine);
    replica_count(link->machine, &n);
    if (state == REPLICA_IN_SYNC && link->untold_since_wall_ns != 0)
        state = REPLICA_CATCHING_UP;
    *s = (struct status_link){.node = link->cv->peer->name,
                              .state = volume_state_word(state),
                              .commit = conf_commit_name(link->cv->peer->commit),
                              .link_up = contact_is_up(link),
                              .since_wall_ns = link->since_wall_ns,
                              .oldest_wall_ns = link->untold_since_wall_ns,
                              .to_merge = n.to_merge,
                              .last_error = link->last_error,
                              .last_error_wall_ns = link->last_error_wall_ns};
    if (link->met)
        s->other_role = link->other_standby ? "standby" : "active";
    address(&link->cv->peer->address, s->address_text, sizeof s->address_text);
    s->address = s->address_text;
}

static void unread(const struct volume *v, struct status *s, struct status_room *room) {
    struct unread_msg *msgs;
    size_t n;
    if (unread_list(v->state, &msgs, &n) != 0)
        return;
    for (size_t i = 0; i < n && s->n_unread < STATUS_UNREAD_MAX; i++) {
        struct status_unread *u = &room->unread[s->n_unread++];
        u->peer = v->cv->peer->name;
        u->error = unread_words(msgs[i].err);
        u->is_file = msgs[i].what == UNREAD_FILE;
        memcpy(u->base, msgs[i].base, sizeof u->base);
        state_path(v->state, &msgs[i].dir, u->path, sizeof u->path);
    }
    s->unread_count += n;
    free(msgs);
}

static void expunged(struct volume *v, struct status *s) {
    s->keep_s = v->cv->keep_s;
    undo_counts(v->undo, &s->undo);
}

static void verified(struct volume *v, struct status *s) {
    verify_last(v->verify, &s->verified);
    s->verify_running = verify_running(v->verify, &s->verify_done, &s->verify_all);
}

void status_collect(struct volume *v, struct status *out, struct status_room *room) {
    *out = (struct status){.now_wall_ns = clock_wall_ns(), .since_wall_ns = v->since_wall_ns};
    who(v, out, room->peer_address, room->listen);
    struct watch_counts w;
    if (watch_count(v->watch, &w) == 0) {
        out->is_watched = true;
        out->containers = w.containers;
        out->watched = w.watched;
        out->overflows = w.overflows;
    }
    out->role = role_of(v).standby ? "standby" : "active";
    out->term = role_of(v).term;
    out->links = room->links;
    for (size_t i = 0; i < v->n_links && i < STATUS_LINKS_MAX; i++)
        link_status(v->links[i], &room->links[out->n_links++]);
    pending(v, out);
    progress(v, out);
    expunged(v, out);
    out->unread = room->unread;
    unread(v, out, room);
    for (size_t i = 0; i < v->n_links; i++)
        unread(v->links[i], out, room);
    verified(v, out);
    out->held = brake_list(v->brake, &out->n_held);
    out->merged = v->merged;
    out->conflicts = v->conflicts;
    out->state_lost = v->start.lost;
    out->kept = merge_kept(v->state);
    out->rtt_us = peer_rtt_us(v->peer);
    out->mailfs_connected = front_is_connected(v->front);
    out->access = front_access(v->front);
    out->link_up = contact_is_up(v);
    out->last_error = v->last_error;
    out->last_error_wall_ns = v->last_error_wall_ns;
    state_last_error(v->state, room->error);
    out->store_error = room->error;
}
