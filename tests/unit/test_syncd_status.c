/* status: the document that mailfsctl and monitoring rely on, field by field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "syncd/status.h"

#define SECOND UINT64_C(1000000000)

static struct status example(void) {
    return (struct status){.node = "mx-a",
                           .version = "1",
                           .name = "mail",
                           .state = "alone",
                           .mount = "/srv/mail",
                           .commit = "disk",
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
    s.oldest_wall_ns = 0;
    struct json_object *doc = parse(&s), *v = volume(doc);
    assert_null(field(v, "peer"));
    assert_null(field(v, "last_error"));
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
        cmocka_unit_test(a_clock_that_jumps_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
