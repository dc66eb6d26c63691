/*
 * status - what `mailfsctl status` is told
 *
 * Diagnostics: none.
 */
#include "status.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "brake.h"
#include "ctl_verify.h"
#include "json_put.h"

#define HELD_NOTES_MAX 10          /* the others are in the list, */
#define HELD_ENTRY     160         /* bytes in the list, beside the path */
#define HELD_BYTES_MAX (48u << 10) /* of which the answer has room for so much */

/* Seconds with three digits: a person reads them, a script compares them. */
static void put_seconds(struct json_object *o, const char *key, double s) {
    char text[48];
    snprintf(text, sizeof text, "%.3f", s);
    json_put(o, key, json_object_new_double_s(s, text));
}

double status_age(uint64_t now_ns, uint64_t then_ns) {
    return then_ns == 0 || then_ns >= now_ns ? 0 : (double)(now_ns - then_ns) / 1e9;
}

static const char *held_path(const struct brake_held *h) {
    return *h->path != '\0' ? h->path : ".";
}

static void put_held(struct json_object *o, const struct status *s) {
    struct json_object *list = json_object_new_array();
    size_t bytes = 0;
    for (size_t i = 0; i < s->n_held; i++) {
        struct json_object *h;
        bytes += HELD_ENTRY + strlen(s->held[i].path);
        if (bytes > HELD_BYTES_MAX)
            break;
        h = json_object_new_object();
        json_put_text(h, "mailbox", held_path(&s->held[i]));
        json_put_int(h, "removed", s->held[i].removed);
        json_put_int(h, "present", s->held[i].present);
        json_put_int(h, "since", (uint64_t)s->held[i].since);
        json_put(h, "kept_back", json_object_new_boolean(s->held[i].id_known));
        json_object_array_add(list, h);
    }
    json_put(o, "held", list);
    json_put_int(o, "held_count", s->n_held);
}

static void note_held(struct json_object *notes, const struct status *s) {
    char text[1024];
    for (size_t i = 0; i < s->n_held && i < HELD_NOTES_MAX; i++) {
        const struct brake_held *h = &s->held[i];
        snprintf(text, sizeof text,
                 "brake: %.700s: %" PRIu64 " of %" PRIu64 " messages were removed here within an "
                 "hour; %s. It was meant: mailfsctl confirm; it was not: mailfsctl %s",
                 held_path(h), h->removed, h->removed + h->present,
                 h->id_known ? "the other nodes keep theirs" : "they are kept",
                 h->id_known ? "confirm --undo" : "undelete --recursive --all");
        json_object_array_add(notes, json_object_new_string(text));
    }
}

static void note_more_held(struct json_object *notes, const struct status *s) {
    char text[160];
    if (s->n_held <= HELD_NOTES_MAX)
        return;
    snprintf(text, sizeof text,
             "brake: %zu more are held (--json); mailfsctl confirm and confirm --undo without a "
             "name are about all of them",
             s->n_held - HELD_NOTES_MAX);
    json_object_array_add(notes, json_object_new_string(text));
}

static void put_unread(struct json_object *o, const struct status *s) {
    struct json_object *list = json_object_new_array();
    for (size_t i = 0; i < s->n_unread; i++) {
        struct json_object *u = json_object_new_object();
        json_put_text(u, "mailbox", s->unread[i].path);
        json_put_text(u, s->unread[i].is_file ? "file" : "message", s->unread[i].base);
        json_put_text(u, "error", s->unread[i].error);
        json_put_text(u, "node", s->unread[i].peer);
        json_object_array_add(list, u);
    }
    json_put(o, "unread", list);
    json_put_int(o, "unread_count", s->unread_count);
}

static void note_unread(struct json_object *notes, const struct status *s) {
    char text[1024];
    for (size_t i = 0; i < s->n_unread; i++) {
        const struct status_unread *u = &s->unread[i];
        snprintf(text, sizeof text,
                 "%s: %s %s cannot be read here (%s), and %s has not got it: restore it from "
                 "a backup under this name, or remove it; it is tried again now and then",
                 u->path, u->is_file ? "file" : "message", u->base, u->error, u->peer);
        json_object_array_add(notes, json_object_new_string(text));
    }
    if (s->unread_count == s->n_unread)
        return;
    snprintf(text, sizeof text, "%zu more messages or files that only this node has cannot be read",
             s->unread_count - s->n_unread);
    json_object_array_add(notes, json_object_new_string(text));
}

static void put_notes(struct json_object *o, const struct status *s) {
    struct json_object *notes = json_object_new_array();
    char text[160];
    note_held(notes, s);
    note_more_held(notes, s);
    note_unread(notes, s);
    if (s->to_merge > 0) {
        snprintf(text, sizeof text, "%" PRIu64 " mailboxes are still to be compared", s->to_merge);
        json_object_array_add(notes, json_object_new_string(text));
    }
    if (s->conflicts > 0) {
        snprintf(text, sizeof text,
                 "%" PRIu64 " mailboxes had been changed on both sides and were merged",
                 s->conflicts);
        json_object_array_add(notes, json_object_new_string(text));
    }
    if (s->kept > 0) {
        snprintf(
            text, sizeof text,
            "of files changed on both nodes the older versions are kept in STORE/.mailfs/kept/, "
            "until you remove them: %" PRIu64,
            s->kept);
        json_object_array_add(notes, json_object_new_string(text));
    }
    if (s->state_lost)
        json_object_array_add(
            notes,
            json_object_new_string("when it was started the state was lost, or not of this "
                                   "store's time: everything is compared, nothing is removed"));
    if (s->is_watched && s->watched < s->containers) {
        snprintf(text, sizeof text,
                 "%zu of %zu mailboxes are watched, the others looked at now and then", s->watched,
                 s->containers);
        json_object_array_add(notes, json_object_new_string(text));
    }
    if (!s->mailfs_connected && !s->is_watched)
        json_object_array_add(notes, json_object_new_string("mailfs is not running"));
    if (s->store_error != NULL && *s->store_error != '\0')
        json_object_array_add(notes, json_object_new_string(s->store_error));
    json_put(o, "notes", notes);
}

static void put_pending(struct json_object *o, const struct status *s) {
    put_seconds(o, "lag_seconds", status_age(s->now_wall_ns, s->oldest_wall_ns));
    json_put_int(o, "pending_messages", s->pending_messages);
    json_put_int(o, "pending_bytes", s->pending_bytes);
    json_put_int(o, "pending_transactions", s->pending_transactions);
    json_put_int(o, "oldest_pending_at", s->oldest_wall_ns / 1000000000);
    json_put_int(o, "mailboxes_to_merge", s->to_merge);
    json_put_int(o, "mailboxes_merged", s->merged);
    json_put_int(o, "conflicts", s->conflicts);
    json_put_int(o, "kept_files", s->kept);
    json_put_int(o, "unapplied", s->unapplied);
    json_put_int(o, "journal", s->journal);
}

double status_seconds_left(const struct status *s, uint64_t groups) {
    double all = (double)(s->done + s->to_merge), left = (double)s->to_merge, share;
    if (s->seconds <= 0 || all <= 0)
        return -1;
    share = (double)s->done / all;
    if (s->known_bytes > 0 && groups > 0) {
        double unknown = left > (double)groups ? left - (double)groups : 0;
        double whole = (double)s->known_bytes * (1 + unknown / (double)groups);
        share = (double)s->received_bytes / whole;
    }
    if (share <= 0)
        return -1;
    return share >= 1 ? 0 : s->seconds * (1 - share) / share;
}

static void put_error(struct json_object *o, const char *text, uint64_t wall_ns) {
    json_put_text(o, "last_error", text);
    json_put(o, "last_error_at",
             wall_ns == 0 ? NULL : json_object_new_int64((int64_t)(wall_ns / 1000000000)));
}

static struct json_object *progress_object(const struct status *s) {
    struct json_object *o = json_object_new_object();
    json_put_int(o, "mailboxes_done", s->done);
    json_put_int(o, "mailboxes_left", s->to_merge);
    json_put_int(o, "received_messages", s->received);
    json_put_int(o, "received_bytes", s->received_bytes);
    json_put_int(o, "missing_messages", s->known - s->received);
    json_put_int(o, "missing_bytes", s->known_bytes - s->received_bytes);
    json_put_int(o, "sent_messages", s->sent);
    json_put_int(o, "sent_bytes", s->sent_bytes);
    put_seconds(o, "seconds", s->seconds);
    if (s->seconds_left >= 0)
        put_seconds(o, "seconds_left", s->seconds_left);
    else
        json_put(o, "seconds_left", NULL);
    return o;
}

static struct json_object *link_object(const struct status *s, const struct status_link *l) {
    struct json_object *o = json_object_new_object();
    json_put_text(o, "node", l->node);
    json_put_text(o, "address", l->address);
    json_put_text(o, "state", l->state);
    json_put_text(o, "commit", l->commit);
    json_put_text(o, "role", l->other_role);
    json_put(o, "link_up", json_object_new_boolean(l->link_up));
    json_put_int(o, "since", l->since_wall_ns / 1000000000);
    put_seconds(o, "lag_seconds", status_age(s->now_wall_ns, l->oldest_wall_ns));
    json_put_int(o, "mailboxes_to_merge", l->to_merge);
    put_error(o, l->last_error, l->last_error_wall_ns);
    return o;
}

static void put_links(struct json_object *o, const struct status *s) {
    struct json_object *links = json_object_new_array();
    for (size_t i = 0; i < s->n_links; i++)
        json_object_array_add(links, link_object(s, &s->links[i]));
    json_put(o, "links", links);
}

static struct json_object *undo_object(const struct status *s) {
    struct json_object *o = json_object_new_object();
    json_put_int(o, "keep_seconds", s->keep_s);
    json_put_int(o, "messages", s->undo.messages);
    json_put_int(o, "bytes", s->undo.bytes);
    json_put_int(o, "counted_at", (uint64_t)s->undo.at);
    return o;
}

static struct json_object *verified_object(const struct status *s) {
    struct json_object *o = json_object_new_object();
    if (s->verified.at != 0) {
        json_put_int(o, "at", (uint64_t)s->verified.at);
        put_seconds(o, "seconds", s->verified.seconds);
        json_put(o, "content", json_object_new_boolean(s->verified.content));
        ctl_verify_put(o, &s->verified);
    } else {
        json_put(o, "at", NULL);
    }
    json_put(o, "running", json_object_new_boolean(s->verify_running));
    if (s->verify_running) {
        json_put_int(o, "done", s->verify_done);
        json_put_int(o, "all", s->verify_all);
    }
    return o;
}

static struct json_object *volume_object(const struct status *s) {
    struct json_object *o = json_object_new_object();
    json_put_text(o, "name", s->name);
    json_put_text(o, "state", s->state);
    json_put_text(o, "peer", s->peer);
    json_put_text(o, "peer_address", s->peer_address);
    json_put_text(o, "listen", s->listen);
    json_put_text(o, "mount", s->mount);
    json_put_text(o, "commit", s->commit);
    json_put_text(o, "access", s->access);
    json_put_int(o, "since", s->since_wall_ns / 1000000000);
    put_pending(o, s);
    json_put(o, "expunged", s->undo.at != 0 ? undo_object(s) : NULL);
    json_put(o, "verified", s->verified.at != 0 || s->verify_running ? verified_object(s) : NULL);
    json_put(o, "progress", s->progress ? progress_object(s) : NULL);
    json_put_int(o, "tokens_held", s->tokens_here);
    json_put_int(o, "tokens_total", s->tokens_here + s->tokens_there);
    json_put_int(o, "waiting", s->waiting);
    json_put(o, "mailfs_connected", json_object_new_boolean(s->mailfs_connected));
    json_put(o, "link_up", json_object_new_boolean(s->link_up));
    if (s->rtt_us > 0)
        put_seconds(o, "round_trip_ms", (double)s->rtt_us / 1000);
    else
        json_put(o, "round_trip_ms", NULL);
    put_error(o, s->last_error, s->last_error_wall_ns);
    json_put_text(o, "role", s->role);
    json_put_int(o, "term", s->term);
    put_links(o, s);
    put_held(o, s);
    put_unread(o, s);
    put_notes(o, s);
    return o;
}

char *status_format(const struct status *s) {
    struct json_object *doc = json_object_new_object();
    struct json_object *volumes = json_object_new_array();
    if (doc == NULL || volumes == NULL)
        return NULL;
    json_put_text(doc, "node", s->node);
    json_put_text(doc, "version", s->version);
    json_object_array_add(volumes, volume_object(s));
    json_put(doc, "volumes", volumes);
    const char *text = json_line(doc);
    char *copy = text == NULL ? NULL : strdup(text);
    json_object_put(doc);
    return copy;
}
