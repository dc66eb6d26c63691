/*
 * screen - the status, for a person
 *
 *	node mx-a
 *
 *	volume mail: in-sync with mx-b for 2 h 13 min
 *	  mount           /srv/mail
 *	  link            10.77.0.2:7400, round trip 0.4 ms
 *	  not on mx-b     nothing
 *	  tokens here     12 mailboxes
 *	  last error      3 h 2 min ago: 10.77.0.2:7400: nothing heard from the peer for 3.0 s
 *
 * Diagnostics: none.
 */
#include "screen.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "human.h"
#include "query.h"

#define TEXT_MAX    1024
#define LABEL_WIDTH 16
#define BAR_WIDTH   30

/* A member of that name, whatever it is; NULL when there is none. */
static json_object *get(const json_object *o, const char *key) {
    json_object *v = NULL;

    if (json_object_is_type(o, json_type_object))
        json_object_object_get_ex(o, key, &v);
    return v;
}

/* A member that is a number; false when it is not there. */
static bool get_number(const json_object *o, const char *key, double *out) {
    json_object *v = get(o, key);

    if (!json_object_is_type(v, json_type_int) && !json_object_is_type(v, json_type_double))
        return false;
    *out = json_object_get_double(v);
    return true;
}

static uint64_t get_count(const json_object *o, const char *key) {
    double d = 0;

    return get_number(o, key, &d) && d > 0 ? (uint64_t)d : 0;
}

static void print_label(FILE *out, const char *label) {
    fprintf(out, "  %-*s", LABEL_WIDTH, label);
}

static void print_row(FILE *out, const char *label, const char *value) {
    char text[TEXT_MAX];

    print_label(out, label);
    fprintf(out, "%s\n", human_text(value, text, sizeof(text)));
}

/* syncd could not be asked; its place is taken by the reason (query.h). */
static bool is_unknown(const json_object *v) {
    const char *state = query_string(v, "state");

    return !state || strcmp(state, "unknown") == 0;
}

/* "volume mail: in-sync with mx-b for 2 h 13 min" */
static void print_headline(FILE *out, const json_object *v, time_t now) {
    const char *state = query_string(v, "state");
    char name[TEXT_MAX], peer[TEXT_MAX], word[TEXT_MAX], duration[HUMAN_MAX];
    double since;

    human_text(query_string(v, "name"), name, sizeof(name));
    human_text(query_string(v, "peer"), peer, sizeof(peer));
    human_text(state ? state : "unknown", word, sizeof(word));
    if (strcmp(word, "alone") == 0)
        fprintf(out, "volume %s: ALONE, without %s", name, peer);
    else if (peer[0] && !is_unknown(v))
        fprintf(out, "volume %s: %s with %s", name, word, peer);
    else
        fprintf(out, "volume %s: %s", name, word);
    if (get_number(v, "since", &since))
        fprintf(out, " for %s", human_duration((double)now - since, duration));
    fprintf(out, "\n");
}

/* "not on mx-b     12 messages, 34.5 KiB, the oldest change for 4 min" */
static void print_pending(FILE *out, const json_object *v, const char *peer) {
    uint64_t messages = get_count(v, "pending_messages"), bytes = get_count(v, "pending_bytes");
    char label[TEXT_MAX], count[HUMAN_MAX], size[HUMAN_MAX], age[HUMAN_MAX];
    double lag = 0;
    bool lags = get_number(v, "lag_seconds", &lag) && lag > 0;

    snprintf(label, sizeof(label), "not on %.900s", peer);
    print_label(out, strlen(label) < LABEL_WIDTH ? label : "not on peer");
    if (!lags && messages == 0 && bytes == 0) {
        fprintf(out, "nothing\n");
        return;
    }
    fprintf(out, "%s, %s", human_count(messages, "message", "messages", count),
            human_bytes(bytes, size));
    if (lags)
        fprintf(out, ", the oldest change for %s", human_duration(lag, age));
    fprintf(out, "\n");
}

/* "[######..............] 31 %, about 12 min left" */
static void print_bar(FILE *out, double seconds, const json_object *p) {
    char bar[BAR_WIDTH + 1], left[HUMAN_MAX];
    double more;
    uint64_t done = get_count(p, "mailboxes_done"), todo = get_count(p, "mailboxes_left");
    double share = done + todo > 0 ? (double)done / (double)(done + todo) : 0;
    bool known = get_number(p, "seconds_left", &more);
    size_t full;

    if (known)
        share = seconds + more > 0 ? seconds / (seconds + more) : 1;
    full = (size_t)(share * BAR_WIDTH);
    for (size_t i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < full ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
    print_label(out, "progress");
    fprintf(out, "[%s] %d %%", bar, (int)(share * 100));
    if (known)
        fprintf(out, ", about %s left", human_duration(more, left));
    fprintf(out, "\n");
}

static void print_expunged(FILE *out, const json_object *v) {
    json_object *o = get(v, "expunged");
    char count[HUMAN_MAX], size[HUMAN_MAX], keep[HUMAN_MAX];
    double seconds = 0;

    if (!o)
        return;
    get_number(o, "keep_seconds", &seconds);
    print_label(out, "expunged");
    fprintf(out, "%s kept, %s, each for %s\n",
            human_count(get_count(o, "messages"), "message", "messages", count),
            human_bytes(get_count(o, "bytes"), size), human_duration(seconds, keep));
}

static void print_verified(FILE *out, const json_object *v, time_t now) {
    json_object *o = get(v, "verified");
    char ago[HUMAN_MAX], count[HUMAN_MAX];
    double at = 0;

    if (!o)
        return;
    print_label(out, "verified");
    if (json_object_get_boolean(get(o, "running")))
        fprintf(out, "under way: %" PRIu64 " of %" PRIu64 " directories%s", get_count(o, "done"),
                get_count(o, "all"), get_number(o, "at", &at) ? "; the last " : "");
    if (get_number(o, "at", &at)) {
        fprintf(out, "%s ago, %s%s: ", human_duration((double)now - at, ago),
                human_count(get_count(o, "messages"), "message", "messages", count),
                json_object_get_boolean(get(o, "content")) ? " read" : "");
        if (get_count(o, "problems") == 0)
            fprintf(out, "no difference");
        else
            fprintf(out, "%" PRIu64 " problems, %" PRIu64 " repaired", get_count(o, "problems"),
                    get_count(o, "repaired"));
    }
    fprintf(out, "\n");
}

static void print_moved(FILE *out, const char *label, const json_object *p, const char *messages,
                        const char *bytes) {
    char count[HUMAN_MAX], size[HUMAN_MAX];

    if (get_count(p, messages) == 0)
        return;
    print_label(out, label);
    fprintf(out, "%s, %s\n", human_count(get_count(p, messages), "message", "messages", count),
            human_bytes(get_count(p, bytes), size));
}

static void print_progress(FILE *out, const json_object *v) {
    json_object *p = get(v, "progress");
    char done[HUMAN_MAX], left[HUMAN_MAX];
    double seconds = 0;

    if (!p)
        return;
    get_number(p, "seconds", &seconds);
    print_bar(out, seconds, p);
    print_label(out, "");
    fprintf(out, "%s done, %s left\n",
            human_count(get_count(p, "mailboxes_done"), "mailbox", "mailboxes", done),
            human_count(get_count(p, "mailboxes_left"), "mailbox", "mailboxes", left));
    print_moved(out, "received", p, "received_messages", "received_bytes");
    print_moved(out, "known to come", p, "missing_messages", "missing_bytes");
    print_moved(out, "sent", p, "sent_messages", "sent_bytes");
}

static void print_link(FILE *out, const json_object *v) {
    const char *address = query_string(v, "peer_address");
    char text[TEXT_MAX];
    double ms;

    if (!address || !json_object_get_boolean(get(v, "link_up")))
        return;
    print_label(out, "link");
    fprintf(out, "%s", human_text(address, text, sizeof(text)));
    if (get_number(v, "round_trip_ms", &ms))
        fprintf(out, ", round trip %.1f ms", ms);
    fprintf(out, "\n");
}

static void print_error(FILE *out, const json_object *v, const char *label, time_t now) {
    const char *error = query_string(v, "last_error");
    char text[TEXT_MAX], age[HUMAN_MAX];
    double at;

    if (!error || !error[0])
        return;
    print_label(out, label);
    if (get_number(v, "last_error_at", &at))
        fprintf(out, "%s ago: ", human_duration((double)now - at, age));
    fprintf(out, "%s\n", human_text(error, text, sizeof(text)));
}

static void print_notes(FILE *out, const json_object *v) {
    json_object *notes = get(v, "notes");

    if (!json_object_is_type(notes, json_type_array))
        return;
    for (size_t i = 0; i < json_object_array_length(notes); i++) {
        json_object *note = json_object_array_get_idx(notes, i);

        if (json_object_is_type(note, json_type_string))
            print_row(out, "note", json_object_get_string(note));
    }
}

/* "standby mx-c    in-sync, 0.4 s behind". Of one that is not connected the role is what it said
 * when it was. */
static void print_one_way(FILE *out, const json_object *l, const char *role, time_t now) {
    const char *state = query_string(l, "state"), *there = query_string(l, "role");
    bool away = state && strcmp(state, "alone") == 0;
    char label[TEXT_MAX], node[TEXT_MAX], text[TEXT_MAX], age[HUMAN_MAX];
    double lag = 0;

    human_text(query_string(l, "node"), node, sizeof(node));
    snprintf(label, sizeof(label), "%s %.900s",
             role && strcmp(role, "standby") == 0 ? "source" : "standby", node);
    print_label(out, label);
    fprintf(out, " %s", away ? "not connected" : human_text(state, text, sizeof(text)));
    if (get_number(l, "lag_seconds", &lag) && lag > 0)
        fprintf(out, ", %s behind", human_duration(lag, age));
    if (there && role && strcmp(there, role) == 0)
        fprintf(out, away ? "; was %s, too, when it last was" : "; is %s, too", there);
    fprintf(out, "\n");
    print_error(out, l, "  last error", now);
}

static void print_links(FILE *out, const json_object *v, time_t now) {
    json_object *links = get(v, "links");
    const char *role = query_string(v, "role");

    if (!json_object_is_type(links, json_type_array))
        return;
    if (role && strcmp(role, "standby") == 0)
        print_row(out, "role", "standby: the mount is read-only");
    for (size_t i = 0; i < json_object_array_length(links); i++)
        print_one_way(out, json_object_array_get_idx(links, i), role, now);
}

static void print_volume(FILE *out, const json_object *v, time_t now) {
    const char *peer = query_string(v, "peer"), *mount = query_string(v, "mount");
    const char *access = query_string(v, "access");
    char name[TEXT_MAX], count[HUMAN_MAX];
    double n;

    print_headline(out, v, now);
    if (mount)
        print_row(out, "mount", mount);
    if (access && strcmp(access, "private") == 0)
        print_row(out, "access", "private: for one user and root, no permissions are checked");
    if (peer && !is_unknown(v)) {
        print_link(out, v);
        print_progress(out, v);
        print_pending(out, v, human_text(peer, name, sizeof(name)));
        if (get_number(v, "tokens_held", &n) && n >= 0)
            print_row(out, "tokens here", human_count((uint64_t)n, "mailbox", "mailboxes", count));
    }
    print_links(out, v, now);
    if (!is_unknown(v))
        print_expunged(out, v);
    if (!is_unknown(v))
        print_verified(out, v, now);
    print_notes(out, v);
    print_error(out, v, is_unknown(v) ? "because" : "last error", now);
}

void screen_print(FILE *out, const json_object *doc, time_t now) {
    json_object *list = get(doc, "volumes");
    char text[TEXT_MAX];

    fprintf(out, "node %s\n", human_text(query_string(doc, "node"), text, sizeof(text)));
    if (!json_object_is_type(list, json_type_array))
        return;
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        fprintf(out, "\n");
        print_volume(out, json_object_array_get_idx(list, i), now);
    }
}
