/*
 * cmd_verify - mailfsctl verify: have this node and another look at what they hold, and compare
 *
 * Diagnostics: why it could not be done; exit code 1, also when something was found that is not
 * repaired.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "human.h"
#include "mailbox_path.h"
#include "query.h"
#include "util/buf.h"

#define REQUEST_MAX 60000

static uint64_t number(const json_object *o, const char *key) {
    json_object *v = NULL;

    return json_object_object_get_ex(o, key, &v) ? (uint64_t)json_object_get_int64(v) : 0;
}

/* 0; -EINVAL: a path that cannot be meant; -EMSGSIZE and -ENOMEM. */
static int request_of(const struct ctl_args *args, const struct conf_volume *v, struct buf *b) {
    buf_add_str(b, "verify");
    if (args->content || args->accept)
        buf_add_str(b, " content");
    if (args->repair)
        buf_add_str(b, " repair");
    if (args->accept)
        buf_add_str(b, " accept");
    for (int i = 0; i < args->n_operands; i++) {
        char path[PATH_MAX];
        if (mailbox_path(v, args->operands[i], path) != 0)
            return -EINVAL;
        buf_add_char(b, '\n');
        buf_add_str(b, *path ? path : ".");
    }
    return buf_error(b);
}

static void print_one(const json_object *p) {
    char mailbox[1024], name[512];
    const char *message = query_string(p, "name"), *fate = query_string(p, "fate");
    const char *box = query_string(p, "mailbox"), *node = query_string(p, "node");
    const char *what = query_string(p, "what");

    printf("%s: %s: ", node ? node : "?", human_text(box ? box : "?", mailbox, sizeof(mailbox)));
    if (message)
        printf("%s: ", human_text(message, name, sizeof(name)));
    printf("%s%s%s\n", what ? what : "?", fate && strcmp(fate, "found") != 0 ? ": " : "",
           fate && strcmp(fate, "found") != 0 ? fate : "");
}

static bool is_lone(const json_object *answer) {
    json_object *v = NULL;

    return json_object_object_get_ex(answer, "lone", &v) && json_object_get_boolean(v);
}

/* What this cannot have found. */
static void print_lone(uint64_t unknown) {
    char count[HUMAN_MAX];

    if (unknown > 0)
        printf("%s had no checksum, and cannot be judged before the next time\n",
               human_count(unknown, "message", "messages", count));
    printf("There is no other node: what is missing, flags, UIDs and files that are no mail have "
           "nothing to be compared with\n");
}

static void print_parted(uint64_t parted) {
    char count[HUMAN_MAX];

    if (parted > 0)
        printf("%s not compared: the nodes it follows have not merged them; run it again when they "
               "are in sync\n",
               human_count(parted, "mailbox", "mailboxes", count));
}

static void print_all(const json_object *answer, bool content) {
    char boxes[HUMAN_MAX], messages[HUMAN_MAX], size[HUMAN_MAX];
    uint64_t problems = number(answer, "problems"), listed;
    json_object *list = NULL;

    json_object_object_get_ex(answer, "list", &list);
    listed = list ? json_object_array_length(list) : 0;
    for (uint64_t i = 0; i < listed; i++)
        print_one(json_object_array_get_idx(list, i));
    if (problems > listed)
        printf("and %" PRIu64 " more: see the log of mailfs-syncd\n", problems - listed);
    printf("%s, %s", human_count(number(answer, "mailboxes"), "directory", "directories", boxes),
           human_count(number(answer, "messages"), "message", "messages", messages));
    if (content)
        printf(", %s read", human_bytes(number(answer, "bytes"), size));
    if (problems > 0)
        printf(": %" PRIu64 " found, %" PRIu64 " of them repaired\n", problems,
               number(answer, "repaired"));
    else
        printf(": %s%s\n",
               is_lone(answer) ? "each that had a checksum fits it" : "the same on both nodes",
               number(answer, "not_compared") > 0 ? ", as far as they were compared" : "");
    print_parted(number(answer, "not_compared"));
    if (is_lone(answer))
        print_lone(number(answer, "unknown"));
}

static int verify(const struct ctl_args *args, const struct conf_volume *v, const char *request) {
    char why[QUERY_ERROR_MAX];
    json_object *answer = query_ask(v, request, -1, why);
    const char *error = answer ? query_string(answer, "error") : why;
    bool clean;

    if (error) {
        fprintf(stderr, "mailfsctl: volume %s: %s\n", v->name, error);
        json_object_put(answer);
        return CTL_FAILED;
    }
    if (args->json)
        printf("%s\n", json_object_to_json_string_ext(answer, JSON_C_TO_STRING_PRETTY));
    else
        print_all(answer, args->content || args->accept);
    clean = number(answer, "problems") == number(answer, "repaired");
    json_object_put(answer);
    return clean ? CTL_DONE : CTL_FAILED;
}

int command_verify(const struct ctl_args *args) {
    const struct conf_volume *v = command_volume(args);
    struct buf b;
    int r;

    if (!v)
        return CTL_USAGE;
    buf_init(&b, REQUEST_MAX);
    r = request_of(args, v, &b);
    if (r == 0)
        r = verify(args, v, buf_str(&b));
    else
        fprintf(stderr, "mailfsctl: verify: %s\n",
                r == -EINVAL ? "MAILBOX is a path below the mount" : "that is too much at a time");
    if (r < 0)
        r = CTL_USAGE;
    buf_free(&b);
    return r;
}
