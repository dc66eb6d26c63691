/*
 * report - what a check found, for a person and for scripts
 *
 *	error: two messages of one base name (2)
 *	  user/Maildir/cur/1700000000.M1.host:2,S: also as 1700000000.M1.host:2,
 *	  ...
 *	  Open the mailbox once in Dovecot ...
 *
 * Diagnostics: none.
 */
#include "report.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "human.h"

#define TEXT_MAX  512
#define PATH_SHOW 1024

struct found {
    char *path; /* may be NULL */
    char *text;
};

struct group {
    const struct report_kind *kind;
    struct found *found;
    size_t n, count; /* kept; all */
    struct group *next;
};

struct report {
    struct group *first, **end;
};

static const char *const levels[] = {"note", "warning", "error"};

struct report *report_new(void) {
    struct report *r = calloc(1, sizeof(*r));

    if (r)
        r->end = &r->first;
    return r;
}

void report_free(struct report *r) {
    struct group *g, *next;

    for (g = r ? r->first : NULL; g; g = next) {
        next = g->next;
        for (size_t i = 0; i < g->n; i++) {
            free(g->found[i].path);
            free(g->found[i].text);
        }
        free(g->found);
        free(g);
    }
    free(r);
}

static struct group *group_of(struct report *r, const struct report_kind *kind) {
    struct group *g = r->first;

    while (g && g->kind != kind)
        g = g->next;
    if (g)
        return g;
    g = calloc(1, sizeof(*g));
    if (!g)
        return NULL;
    g->kind = kind;
    *r->end = g;
    r->end = &g->next;
    return g;
}

static void keep(struct group *g, const char *path, const char *text) {
    struct found *v;

    if (g->n == REPORT_KEEP)
        return;
    v = realloc(g->found, (g->n + 1) * sizeof(*v));
    if (!v)
        return;
    g->found = v;
    v[g->n].path = path ? strdup(path) : NULL;
    v[g->n].text = strdup(text);
    g->n++;
}

void report_add(struct report *r, const struct report_kind *kind, const char *path, const char *fmt,
                ...) {
    struct group *g = group_of(r, kind);
    char text[TEXT_MAX];
    va_list ap;

    if (!g)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    g->count++;
    keep(g, path, text);
}

size_t report_count(const struct report *r, enum report_level level) {
    size_t n = 0;

    for (const struct group *g = r->first; g; g = g->next)
        if (g->kind->level == level)
            n += g->count;
    return n;
}

size_t report_count_kind(const struct report *r, const struct report_kind *kind) {
    for (const struct group *g = r->first; g; g = g->next)
        if (g->kind == kind)
            return g->count;
    return 0;
}

static void print_group(FILE *out, const struct group *g) {
    char path[PATH_SHOW], text[TEXT_MAX];

    fprintf(out, "%s: %s", levels[g->kind->level], g->kind->title);
    fprintf(out, g->count > 1 ? " (%zu)\n" : "\n", g->count);
    for (size_t i = 0; i < g->n && i < REPORT_SHOWN; i++) {
        human_text(g->found[i].path, path, sizeof(path));
        human_text(g->found[i].text, text, sizeof(text));
        fprintf(out, "  %s%s%s\n", path, path[0] && text[0] ? ": " : "", text);
    }
    if (g->count > REPORT_SHOWN)
        fprintf(out, "  and %zu more (--json lists %s)\n", g->count - REPORT_SHOWN,
                g->count > REPORT_KEEP ? "the first thousand" : "them all");
    if (g->kind->advice)
        fprintf(out, "  -> %s\n", g->kind->advice);
}

void report_print(FILE *out, const struct report *r) {
    for (int level = REPORT_ERROR; level >= REPORT_NOTE; level--)
        for (const struct group *g = r->first; g; g = g->next)
            if ((int)g->kind->level == level)
                print_group(out, g);
}

/* File names need not be UTF-8, which JSON is. */
static json_object *text_json(const char *s) {
    char text[PATH_SHOW];

    return s ? json_object_new_string(human_text(s, text, sizeof(text))) : NULL;
}

static json_object *group_json(const struct group *g) {
    json_object *o = json_object_new_object(), *list = json_object_new_array();

    for (size_t i = 0; i < g->n; i++) {
        json_object *f = json_object_new_object();

        json_object_object_add(f, "path", text_json(g->found[i].path));
        json_object_object_add(f, "text", text_json(g->found[i].text));
        json_object_array_add(list, f);
    }
    json_object_object_add(o, "kind", json_object_new_string(g->kind->name));
    json_object_object_add(o, "level", json_object_new_string(levels[g->kind->level]));
    json_object_object_add(o, "count", json_object_new_int64((int64_t)g->count));
    json_object_object_add(o, "advice", text_json(g->kind->advice));
    json_object_object_add(o, "found", list);
    return o;
}

json_object *report_json(const struct report *r) {
    json_object *list = json_object_new_array();

    for (const struct group *g = r->first; g; g = g->next)
        json_object_array_add(list, group_json(g));
    return list;
}
