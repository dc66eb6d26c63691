#ifndef TOOLS_REPORT_H
#define TOOLS_REPORT_H

/*
 * What a check found: problems by kind, each with its path. Memory: the first REPORT_KEEP of a kind
 * are kept, the others counted.
 */

#include <json-c/json.h>
#include <stddef.h>
#include <stdio.h>

#define REPORT_KEEP  1000
#define REPORT_SHOWN 20 /* of a kind on the screen */

enum report_level { REPORT_NOTE, REPORT_WARNING, REPORT_ERROR };

/* Kinds are static; their address is what tells them apart. */
struct report_kind {
    const char *name; /* a word for scripts: "duplicate-name" */
    enum report_level level;
    const char *title;  /* of the group, for a person */
    const char *advice; /* what to do about it */
};

struct report;

struct report *report_new(void); /* NULL: out of memory */
void report_free(struct report *r);

/* path may be NULL. Without memory the problem is counted and not kept. */
void report_add(struct report *r, const struct report_kind *kind, const char *path, const char *fmt,
                ...) __attribute__((format(printf, 4, 5)));

size_t report_count(const struct report *r, enum report_level level);
size_t report_count_kind(const struct report *r, const struct report_kind *kind);

/* Errors first. Bytes that are not printable are shown as '?'. */
void report_print(FILE *out, const struct report *r);

/* [{"kind", "level", "count", "advice", "found": [{"path", "text"}, ...]}, ...] */
json_object *report_json(const struct report *r);

#endif
