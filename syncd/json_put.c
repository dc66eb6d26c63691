/*
 * json_put - what the control socket's answers are made with
 *
 * Diagnostics: none.
 */
#include "json_put.h"

void json_put(struct json_object *o, const char *key, struct json_object *value) {
    json_object_object_add(o, key, value);
}

void json_put_int(struct json_object *o, const char *key, uint64_t n) {
    json_put(o, key, json_object_new_int64(n > INT64_MAX ? INT64_MAX : (int64_t)n));
}

void json_put_text(struct json_object *o, const char *key, const char *s) {
    json_put(o, key, s == NULL || *s == '\0' ? NULL : json_object_new_string(s));
}

const char *json_line(struct json_object *o) {
    return json_object_to_json_string_ext(o,
                                          JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}
