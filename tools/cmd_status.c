/*
 * cmd_status - mailfsctl status, wait
 *
 * Diagnostics: exit code 1 when a mailfs-syncd does not answer; 3 when the state waited for has not
 * come in time, with the state there is.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"
#include "query.h"
#include "screen.h"
#include "util/clock.h"

#define POLL_MS      100
#define CLEAR_SCREEN "\033[H\033[J"

static int status_once(const struct ctl_args *args, bool on_terminal) {
    const int style =
        JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE;
    bool answered;
    json_object *doc = query_status(args->conf, args->only, &answered);

    if (!doc) {
        fprintf(stderr, "mailfsctl: out of memory\n");
        return CTL_FAILED;
    }
    if (on_terminal)
        printf(CLEAR_SCREEN);
    if (args->json)
        printf("%s\n", json_object_to_json_string_ext(doc, style));
    else
        screen_print(stdout, doc, time(NULL));
    json_object_put(doc);
    return answered ? CTL_DONE : CTL_FAILED;
}

/* Until it is interrupted, or nobody reads it any more. */
int command_status(const struct ctl_args *args) {
    const struct timespec pause = {.tv_sec = 1};
    bool on_terminal = args->watch && isatty(STDOUT_FILENO);
    int rc = status_once(args, on_terminal);

    while (args->watch && fflush(stdout) == 0) {
        nanosleep(&pause, NULL);
        rc = status_once(args, on_terminal);
    }
    return rc;
}

/* The first one-way link in another state; NULL: none. *n: how many there are. */
static json_object *other_link(json_object *v, const char *state, size_t *n) {
    json_object *links = NULL;

    *n = 0;
    json_object_object_get_ex(v, "links", &links);
    if (!json_object_is_type(links, json_type_array))
        return NULL;
    *n = json_object_array_length(links);
    for (size_t i = 0; i < *n; i++) {
        json_object *l = json_object_array_get_idx(links, i);
        const char *has = query_string(l, "state");

        if (!has || strcmp(has, state) != 0)
            return l;
    }
    return NULL;
}

/* The first volume that is in another state, described in text; false: all are in this one. Without
 * a peer a volume is as its one-way links are. */
static bool find_other(const json_object *doc, const char *state, char *text, size_t size) {
    json_object *list = NULL;

    json_object_object_get_ex(doc, "volumes", &list);
    for (size_t i = 0; list && i < json_object_array_length(list); i++) {
        json_object *v = json_object_array_get_idx(list, i);
        const char *has = query_string(v, "state"), *name = query_string(v, "name");
        const char *error = query_string(v, "last_error");
        size_t n;
        json_object *l = other_link(v, state, &n);

        if (has && (strcmp(has, state) == 0 || (n > 0 && strcmp(has, "no-peer") == 0)) && !l)
            continue;
        if (l && has && (strcmp(has, state) == 0 || strcmp(has, "no-peer") == 0)) {
            snprintf(text, size, "the link of volume %s with %s is %s", name ? name : "?",
                     query_string(l, "node"), query_string(l, "state"));
            return true;
        }
        snprintf(text, size, "volume %s is %s%s%s", name ? name : "?", has ? has : "unknown",
                 error ? "; last error: " : "", error ? error : "");
        return true;
    }
    return false;
}

static bool is_state(const char *s) {
    static const char *const states[] = {"in-sync", "alone", "catching-up", "no-peer"};

    for (size_t i = 0; s && i < sizeof(states) / sizeof(states[0]); i++)
        if (strcmp(s, states[i]) == 0)
            return true;
    return false;
}

/* syncd is asked again and again: it may not even run yet. */
int command_wait(const struct ctl_args *args) {
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
    uint64_t begin = clock_ms();
    char text[1024] = "";

    if (!is_state(args->operands[0])) {
        fprintf(stderr, "mailfsctl: wait: STATE is in-sync, alone, catching-up or no-peer\n");
        return CTL_USAGE;
    }
    for (;;) {
        bool answered, other = true;
        json_object *doc = query_status(args->conf, args->only, &answered);

        if (doc)
            other = find_other(doc, args->operands[0], text, sizeof(text));
        json_object_put(doc);
        if (!other)
            return CTL_DONE;
        if (args->timeout >= 0 && (double)(clock_ms() - begin) >= args->timeout * 1000) {
            fprintf(stderr, "mailfsctl: not %s within %g s: %s\n", args->operands[0], args->timeout,
                    text);
            return CTL_TIMED_OUT;
        }
        nanosleep(&pause, NULL);
    }
}
