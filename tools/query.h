#ifndef TOOLS_QUERY_H
#define TOOLS_QUERY_H

/*
 * What mailfs-syncd says of its volumes. Documents are json-c objects; the caller puts them
 * (json_object_put). The fields are those of `mailfsctl status --json`, see mailfsctl(8).
 */

#include <json-c/json.h>
#include <stdbool.h>

#include "conf/conf.h"

#define QUERY_SOCKET     "ctl.sock" /* in the volume's state directory */
#define QUERY_TIMEOUT_MS 5000
#define QUERY_ERROR_MAX  4608

/*
 * The status of one volume, or of all when `only` is NULL, as one document {"node", "volumes"}.
 * A volume whose syncd does not answer is in it with the state "unknown" and a last_error that says
 * why; *answered is false then. NULL when out of memory.
 */
json_object *query_status(const struct conf *conf, const struct conf_volume *only, bool *answered);

/*
 * Sends one request to the volume's syncd and waits for its answer, without end where timeout_ms is
 * below 0. NULL: none came; why then says so.
 */
json_object *query_ask(const struct conf_volume *v, const char *request, int timeout_ms,
                       char why[QUERY_ERROR_MAX]);

/* The text in a member of an object; NULL when it is not there or no string. */
const char *query_string(const json_object *o, const char *key);

#endif
