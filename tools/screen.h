#ifndef TOOLS_SCREEN_H
#define TOOLS_SCREEN_H

/*
 * `mailfsctl status`: what query_status() returned, as one screen that a person understands.
 * Members that are missing or of another type are left out. `now` in seconds since the epoch.
 */

#include <json-c/json.h>
#include <stdio.h>
#include <time.h>

void screen_print(FILE *out, const json_object *doc, time_t now);

#endif
