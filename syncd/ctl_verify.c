/*
 * ctl_verify - mailfsctl verify: the question taken apart, the result as JSON
 *
 * Diagnostics: none.
 */
#include "ctl_verify.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "json_put.h"
#include "state.h"
#include "volume.h"

static int word(struct look_order *o, const char *w) {
    if (strcmp(w, "verify") == 0)
        return 0;
    if (strcmp(w, "content") == 0)
        o->content = true;
    else if (strcmp(w, "repair") == 0)
        o->repair = true;
    else if (strcmp(w, "accept") == 0)
        o->content = o->accept = true;
    else
        return -EINVAL;
    return 0;
}

int ctl_verify_parse(char *request, struct look_order *order, char **paths, size_t max, size_t *n) {
    char *lines = request, *line = strsep(&lines, "\n"), *w;

    *order = (struct look_order){0};
    *n = 0;
    while ((w = strsep(&line, " ")) != NULL)
        if (word(order, w) != 0)
            return -EINVAL;
    while ((line = strsep(&lines, "\n")) != NULL) {
        if (*line == '\0')
            continue;
        if (*n == max)
            return -EINVAL;
        paths[(*n)++] = line;
    }
    return 0;
}

static struct json_object *problem(const struct check_problem *p) {
    struct json_object *o = json_object_new_object();

    json_put(o, "node", json_object_new_string(p->node));
    json_put(o, "mailbox", json_object_new_string(p->path[1] != '\0' ? p->path + 1 : "."));
    json_put(o, "name", p->name != NULL ? json_object_new_string(p->name) : NULL);
    json_put(o, "what", json_object_new_string(check_kind_text(p->kind)));
    json_put(o, "fate", json_object_new_string(check_fate_text(p->fate)));
    return o;
}

/* As many as one packet has room for. */
static struct json_object *problems(const struct verify_result *r) {
    struct json_object *list = json_object_new_array(), *one;
    size_t bytes = 0;

    for (size_t i = 0; i < r->n; i++) {
        one = problem(&r->list[i]);
        bytes += strlen(json_line(one)) + 1;
        if (bytes > CTL_VERIFY_BYTES) {
            json_object_put(one);
            break;
        }
        json_object_array_add(list, one);
    }
    return list;
}

void ctl_verify_put(struct json_object *o, const struct verify_result *r) {
    json_put_int(o, "mailboxes", r->containers);
    json_put_int(o, "messages", r->messages);
    json_put_int(o, "bytes", r->bytes);
    json_put_int(o, "problems", r->problems);
    json_put_int(o, "repaired", r->mended);
}

char *ctl_verify_format(const struct verify_result *r) {
    struct json_object *o = json_object_new_object();
    char *text;

    if (r->error != NULL)
        json_put(o, "error", json_object_new_string(r->error));
    ctl_verify_put(o, r);
    json_put(o, "lone", json_object_new_boolean(r->lone));
    json_put_int(o, "unknown", r->unknown);
    json_put_int(o, "not_compared", r->parted);
    json_put(o, "list", problems(r));
    text = strdup(json_line(o));
    json_object_put(o);
    return text;
}
