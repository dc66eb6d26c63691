/*
 * query - ask mailfs-syncd over its control socket
 *
 * One packet "status", one packet back: a JSON document with the volume of that state directory.
 *
 * Diagnostics: none; what goes wrong becomes the last_error of a volume whose state is "unknown",
 * since "alone" would be a claim that nobody made.
 */
#include "query.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/local.h"
#include "util/str.h"

const char *query_string(const json_object *o, const char *key) {
    json_object *v = NULL;

    if (!json_object_is_type(o, json_type_object) || !json_object_object_get_ex(o, key, &v) ||
        !json_object_is_type(v, json_type_string))
        return NULL;
    return json_object_get_string(v);
}

/* Ask, and receive the answer into buf with a NUL behind it. Its length or a negative errno. */
static ssize_t ask(const char *path, const char *request, int timeout_ms, char *buf, size_t size) {
    struct pollfd p = {.events = POLLIN};
    ssize_t n;
    int rc, fd = local_connect(path);

    if (fd < 0)
        return fd;
    p.fd = fd;
    n = local_send(fd, request, strlen(request), -1);
    if (n == 0) {
        rc = poll(&p, 1, timeout_ms);
        n = rc < 0 ? -errno : rc == 0 ? -ETIMEDOUT : local_recv(fd, buf, size - 1, NULL);
        if (n == 0)
            n = -ECONNRESET;
    }
    close(fd);
    if (n > 0)
        buf[n] = '\0';
    return n;
}

/* The volume of that name out of syncd's answer, or NULL. */
static json_object *pick_volume(json_object *answer, const char *name) {
    json_object *list = NULL;

    if (!json_object_is_type(answer, json_type_object) ||
        !json_object_object_get_ex(answer, "volumes", &list) ||
        !json_object_is_type(list, json_type_array))
        return NULL;
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        json_object *v = json_object_array_get_idx(list, i);
        const char *have = query_string(v, "name");

        if (have && strcmp(have, name) == 0)
            return json_object_get(v);
    }
    return NULL;
}

/* A volume of which nothing is known but why. */
static json_object *unknown_volume(const struct conf_volume *v, const char *error) {
    static const char *const nulls[] = {"since",         "lag_seconds",       "pending_messages",
                                        "pending_bytes", "oldest_pending_at", "tokens_held"};
    json_object *o = json_object_new_object();

    if (!o)
        return NULL;
    json_object_object_add(o, "name", json_object_new_string(v->name));
    json_object_object_add(o, "state", json_object_new_string("unknown"));
    json_object_object_add(o, "peer", v->peer ? json_object_new_string(v->peer->name) : NULL);
    json_object_object_add(o, "mount", json_object_new_string(v->mount));
    for (size_t i = 0; i < sizeof(nulls) / sizeof(nulls[0]); i++)
        json_object_object_add(o, nulls[i], NULL);
    json_object_object_add(o, "last_error", json_object_new_string(error));
    return o;
}

static void explain(ssize_t code, const char *path, char *error, size_t size) {
    const char *words = strerror((int)-code);

    if (code == -ENOENT || code == -ECONNREFUSED)
        snprintf(error, size, "mailfs-syncd is not running (%s: %s)", path, words);
    else if (code == -ETIMEDOUT || code == -EAGAIN)
        snprintf(error, size, "mailfs-syncd does not answer (%s)", path);
    else if (code == -EACCES || code == -EPERM)
        snprintf(error, size, "%s: %s; run mailfsctl as root", path, words);
    else
        snprintf(error, size, "%s: %s", path, words);
}

static void not_understood(const struct conf_volume *v, char why[QUERY_ERROR_MAX]) {
    snprintf(
        why, QUERY_ERROR_MAX,
        "%.4000s/" QUERY_SOCKET
        ": an answer that is not understood; are mailfsctl and mailfs-syncd of the same version?",
        v->state);
}

json_object *query_ask(const struct conf_volume *v, const char *request, int timeout_ms,
                       char why[QUERY_ERROR_MAX]) {
    char path[4352];
    char *buf = malloc(LOCAL_PACKET_MAX + 1);
    json_object *answer = NULL;
    ssize_t n = buf ? str_printf(path, sizeof(path), "%s/" QUERY_SOCKET, v->state) : -ENOMEM;

    if (n == 0)
        n = ask(path, request, timeout_ms, buf, LOCAL_PACKET_MAX + 1);
    if (n > 0) {
        answer = json_tokener_parse(buf);
        if (!answer)
            not_understood(v, why);
    } else {
        explain(n, path, why, QUERY_ERROR_MAX);
    }
    free(buf);
    return answer;
}

static json_object *query_volume(const struct conf_volume *v, bool *answered) {
    char why[QUERY_ERROR_MAX];
    json_object *answer = query_ask(v, "status", QUERY_TIMEOUT_MS, why);
    json_object *found = answer ? pick_volume(answer, v->name) : NULL;

    if (answer && !found)
        not_understood(v, why);
    json_object_put(answer);
    if (found)
        return found;
    *answered = false;
    return unknown_volume(v, why);
}

json_object *query_status(const struct conf *conf, const struct conf_volume *only, bool *answered) {
    json_object *doc = json_object_new_object(), *list = json_object_new_array();

    *answered = true;
    if (!doc || !list) {
        json_object_put(doc);
        json_object_put(list);
        return NULL;
    }
    json_object_object_add(doc, "node", json_object_new_string(conf->node));
    json_object_object_add(doc, "volumes", list);
    for (size_t i = 0; i < conf->n_volumes; i++) {
        const struct conf_volume *v = &conf->volumes[i];

        if (!only || only == v)
            json_object_array_add(list, query_volume(v, answered));
    }
    return doc;
}
