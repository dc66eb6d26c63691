/* status: the document that mailfsctl and monitoring rely on, field by field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "net/local.h"
#include "syncd/brake.h"
#include "syncd/pace.h"
#include "syncd/trip.h"
#include "syncd/status.h"

#define SECOND UINT64_C(1000000000)

static struct status example(void) {
    return (struct status){.node = "mx-a",
                           .version = "1",
                           .name = "mail",
                           .state = "alone",
                           .mount = "/srv/mail",
                           .commit = "disk",
                           .access = "private",
                           .peer = "mx-b",
                           .peer_address = "10.77.0.2:7400",
                           .now_wall_ns = 1700000100 * SECOND,
                           .since_wall_ns = 1700000000 * SECOND,
                           .oldest_wall_ns = 1700000097 * SECOND + SECOND / 2,
                           .pending_messages = 3,
                           .pending_bytes = 4096,
                           .mailfs_connected = true,
                           .last_error = "peer mx-b: \"refused\"\n",
                           .last_error_wall_ns = 1700000090 * SECOND,
                           .store_error = ""};
}

static struct json_object *parse(const struct status *s) {
    char *text = status_format(s);
    assert_non_null(text);
    struct json_object *doc = json_tokener_parse(text);
    assert_non_null(doc);
    free(text);
    return doc;
}

static struct json_object *volume(struct json_object *doc) {
    struct json_object *list;
    assert_true(json_object_object_get_ex(doc, "volumes", &list));
    assert_int_equal(json_object_array_length(list), 1);
    return json_object_array_get_idx(list, 0);
}

static struct json_object *field(struct json_object *o, const char *key) {
    struct json_object *value;
    if (!json_object_object_get_ex(o, key, &value))
        fail_msg("no field %s", key);
    return value;
}

static void fixed_fields(void **state) {
    struct status s = example();
    struct json_object *doc = parse(&s), *v = volume(doc);
    assert_string_equal(json_object_get_string(field(doc, "node")), "mx-a");
    assert_string_equal(json_object_get_string(field(v, "name")), "mail");
    assert_string_equal(json_object_get_string(field(v, "state")), "alone");
    assert_string_equal(json_object_get_string(field(v, "peer")), "mx-b");
    assert_string_equal(json_object_get_string(field(v, "access")), "private");
    assert_int_equal(json_object_get_int64(field(v, "pending_messages")), 3);
    assert_int_equal(json_object_get_int64(field(v, "pending_bytes")), 4096);
    assert_string_equal(json_object_get_string(field(v, "last_error")), s.last_error);
    assert_true(json_object_get_double(field(v, "lag_seconds")) == 2.5);
    assert_int_equal(json_object_get_int64(field(v, "since")), 1700000000);
    json_object_put(doc);
}

static void nothing_is_null(void **state) {
    struct status s = example();
    s.peer = NULL;
    s.last_error = "";
    s.last_error_wall_ns = 0;
    s.access = NULL;
    s.oldest_wall_ns = 0;
    struct json_object *doc = parse(&s), *v = volume(doc);
    assert_null(field(v, "peer"));
    assert_null(field(v, "last_error"));
    assert_null(field(v, "access"));
    assert_null(field(v, "last_error_at"));
    assert_null(field(v, "round_trip_ms"));
    assert_true(json_object_get_double(field(v, "lag_seconds")) == 0);
    json_object_put(doc);
}

static void notes_tell_of_merges(void **state) {
    struct status s = example();
    struct json_object *doc = parse(&s);
    assert_int_equal(json_object_array_length(field(volume(doc), "notes")), 0);
    json_object_put(doc);
    s.conflicts = 2;
    s.to_merge = 7;
    s.mailfs_connected = false;
    s.store_error = "disk full";
    doc = parse(&s);
    assert_int_equal(json_object_array_length(field(volume(doc), "notes")), 4);
    json_object_put(doc);
}

/* An rm -rf of all users: status answers in one packet, and says how many are held. */
static void much_is_held(void **state) {
    static struct brake_held held[1000];
    struct status s = example();
    char path[300] = "", *text;

    memset(path, 'u', sizeof path - 1);
    for (size_t i = 0; i < 1000; i++)
        held[i] =
            (struct brake_held){.path = path, .removed = 100, .present = 50, .id_known = true};
    s.held = held;
    s.n_held = 1000;
    text = status_format(&s);
    assert_non_null(text);
    assert_true(strlen(text) < LOCAL_PACKET_MAX);
    free(text);
    struct json_object *doc = parse(&s), *v = volume(doc);
    assert_int_equal(json_object_get_int(field(v, "held_count")), 1000);
    assert_in_range(json_object_array_length(field(v, "held")), 50, 999);
    assert_int_equal(json_object_array_length(field(v, "notes")), 11);
    json_object_put(doc);
}

static void progress_and_estimate(void **state) {
    struct status s = example();
    struct json_object *doc = parse(&s);
    assert_null(field(volume(doc), "progress"));
    json_object_put(doc);
    s.progress = true;
    s.seconds = 10;
    s.done = 2;
    s.to_merge = 8;
    assert_true(status_seconds_left(&s, 0) == 40); /* by mailboxes */
    /* of 5 mailboxes 1000 bytes are known, 3 are as large: 1600 in all */
    s.known_bytes = 1000;
    s.received_bytes = 400;
    s.known = 12;
    s.received = 5;
    s.seconds_left = status_seconds_left(&s, 5);
    assert_true(s.seconds_left > 29.99 && s.seconds_left < 30.01);
    doc = parse(&s);
    struct json_object *p = field(volume(doc), "progress");
    assert_int_equal(json_object_get_int(field(p, "missing_messages")), 7);
    assert_int_equal(json_object_get_int(field(p, "missing_bytes")), 600);
    assert_int_equal((int)json_object_get_double(field(p, "seconds_left")), 30);
    json_object_put(doc);
    s.received_bytes = 0;
    assert_true(status_seconds_left(&s, 5) < 0); /* nothing to go by */
    s.done = s.to_merge = 0;
    assert_true(status_seconds_left(&s, 0) < 0);
}

static void took(struct trip *t, uint64_t us, int times) {
    while (times-- > 0)
        trip_took(t, us);
}

/* What compress = "auto" goes by. */
static void wire_is_measured(void **state) {
    struct trip t = {0};
    assert_false(t.is_long); /* nothing is known */
    took(&t, 300, 1);
    assert_int_equal(t.us, 300);
    took(&t, 30000, 1); /* one that waited */
    assert_false(t.is_long);
    took(&t, 300, 20);
    assert_in_range(t.us, 300, 600);
    for (int i = 0; i < 30; i++) { /* loaded: of sixteen one does not wait for the others */
        took(&t, 12000, TRIP_LAST - 1);
        assert_false(t.is_long);
        took(&t, 400, 1);
        assert_false(t.is_long);
    }
    assert_true(t.us > TRIP_LONG_US);
    took(&t, 8000, TRIP_LAST - 1);
    assert_false(t.is_long);
    took(&t, 8000, 1); /* for good */
    assert_true(t.is_long);
    took(&t, 3500, 30); /* between the two: as it was */
    assert_true(t.is_long);
    took(&t, 300, 1); /* no long wire does that */
    assert_false(t.is_long);
    took(&t, 3500, 30);
    assert_false(t.is_long);
    t = (struct trip){0};
    took(&t, 40000, 1); /* a long wire, from its first ping */
    assert_true(t.is_long);
    took(&t, 300, 1); /* it was none: the first had waited */
    assert_false(t.is_long);
}

static void bandwidth_is_kept(void **state) {
    struct pace p;
    uint64_t now = 5000, sent = 0, wait;
    pace_init(&p, 1000000);
    while (now < 15000) {
        wait = pace_wait(&p, now);
        if (wait == 0) {
            pace_took(&p, 131072);
            sent += 131072;
        }
        now += wait ? wait : 1;
    }
    assert_in_range(sent, 9900000, 10000000 + 100000 + 131072);
    now += 3600 * 1000; /* a pause earns no more than a burst */
    for (sent = 0; pace_wait(&p, now) == 0; sent += 10000)
        pace_took(&p, 10000);
    assert_int_equal(sent, 100000);
    pace_init(&p, 0);
    pace_took(&p, UINT32_MAX);
    assert_int_equal(pace_wait(&p, 0), 0);
    pace_init(&p, 1024); /* the least: a part is owed for two minutes */
    assert_int_equal(pace_wait(&p, 10), 0);
    pace_took(&p, 131072);
    assert_in_range(pace_wait(&p, 10), 127000, 129000);
}

static void links_are_listed(void **state) {
    struct status_link l = {.node = "mx-c",
                            .address = "10.77.0.3:7400",
                            .state = "catching-up",
                            .other_role = "standby",
                            .link_up = true,
                            .oldest_wall_ns = 1700000096 * SECOND,
                            .last_error = ""};
    struct status s = example();
    s.role = "active";
    s.term = 2;
    s.links = &l;
    s.n_links = 1;
    struct json_object *doc = parse(&s), *v = volume(doc);
    assert_string_equal(json_object_get_string(field(v, "role")), "active");
    assert_int_equal(json_object_get_int64(field(v, "term")), 2);
    assert_int_equal(json_object_array_length(field(v, "links")), 1);
    struct json_object *o = json_object_array_get_idx(field(v, "links"), 0);
    assert_string_equal(json_object_get_string(field(o, "node")), "mx-c");
    assert_string_equal(json_object_get_string(field(o, "role")), "standby");
    assert_true(json_object_get_double(field(o, "lag_seconds")) == 4);
    assert_null(field(o, "last_error"));
    json_object_put(doc);
}

static void what_cannot_be_read(void **state) {
    static const struct status_unread u = {
        .peer = "mx-b", .error = "Input/output error", .path = "/anna/Maildir", .base = "1.M1.x"};
    struct status s = example();
    s.unread = &u;
    s.n_unread = 1;
    s.unread_count = 3;
    struct json_object *doc = parse(&s), *v = volume(doc), *notes = field(v, "notes");
    assert_int_equal(json_object_get_int(field(v, "unread_count")), 3);
    assert_int_equal(json_object_array_length(field(v, "unread")), 1);
    struct json_object *o = json_object_array_get_idx(field(v, "unread"), 0);
    assert_string_equal(json_object_get_string(field(o, "mailbox")), "/anna/Maildir");
    assert_string_equal(json_object_get_string(field(o, "message")), "1.M1.x");
    assert_string_equal(json_object_get_string(field(o, "error")), "Input/output error");
    assert_string_equal(json_object_get_string(field(o, "node")), "mx-b");
    const char *note = json_object_get_string(json_object_array_get_idx(notes, 0));
    assert_non_null(strstr(note, "/anna/Maildir: message 1.M1.x cannot be read here"));
    note = json_object_get_string(json_object_array_get_idx(notes, 1));
    assert_non_null(strstr(note, "2 more messages or files"));
    json_object_put(doc);
}

static void a_clock_that_jumps_back(void **state) {
    assert_true(status_age(5 * SECOND, 6 * SECOND) == 0);
    assert_true(status_age(5 * SECOND, 0) == 0);
    assert_true(status_age(5 * SECOND, 4 * SECOND) == 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixed_fields),
        cmocka_unit_test(nothing_is_null),
        cmocka_unit_test(notes_tell_of_merges),
        cmocka_unit_test(progress_and_estimate),
        cmocka_unit_test(wire_is_measured),
        cmocka_unit_test(bandwidth_is_kept),
        cmocka_unit_test(a_clock_that_jumps_back),
        cmocka_unit_test(links_are_listed),
        cmocka_unit_test(much_is_held),
        cmocka_unit_test(what_cannot_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
