#ifndef SYNCD_JSON_PUT_H
#define SYNCD_JSON_PUT_H

/* What the control socket's answers are made with. Pure. */

#include <stdint.h>

#include <json-c/json.h>

/* Takes value over; NULL is null. */
void json_put(struct json_object *o, const char *key, struct json_object *value);
void json_put_int(struct json_object *o, const char *key, uint64_t n);
/* NULL and "" are null. */
void json_put_text(struct json_object *o, const char *key, const char *s);
/* As it is sent, without ends of lines; of o. */
const char *json_line(struct json_object *o);

#endif
