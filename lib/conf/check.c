/*
 * check - what names, paths, addresses, fingerprints and volumes must be
 *
 * Diagnostics: none; the reason is returned as text for the message that names file and line.
 */
#include "conf/internal.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/str.h"

/* --- values ---------------------------------------------------------------------------------- */

int conf_check_name(const char *s, const char **why) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t n = strlen(s);
    *why = NULL;
    if (n < 1 || n >= CONF_NAME_MAX)
        *why = "must have 1 to 63 characters";
    else if (strspn(s, allowed) != n)
        *why = "may hold only letters, digits, '-', '_' and '.'";
    else if (*s == '-' || *s == '.')
        *why = "must begin with a letter or a digit";
    return *why != NULL ? -EINVAL : 0;
}

int conf_check_path(const char *s, const char **why) {
    *why = NULL;
    if (*s != '/')
        *why = "must be an absolute path (begin with '/')";
    else if (strlen(s) >= PATH_MAX)
        *why = "is longer than a path may be";
    for (const char *p = s; *why == NULL && *p != '\0';) {
        p += strspn(p, "/");
        size_t n = strcspn(p, "/");
        if ((n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
            *why = "must not hold '.' or '..'; write the path out";
        p += n;
    }
    if (*why == NULL && strspn(s, "/") == strlen(s))
        *why = "must not be the root directory; name a directory below it";
    return *why != NULL ? -EINVAL : 0;
}

char *conf_path_copy(const char *s) {
    char *out = malloc(strlen(s) + 1);
    if (out == NULL)
        return NULL;
    char *to = out;
    for (; *s != '\0'; s++) {
        if (*s == '/' && (s[1] == '/' || s[1] == '\0'))
            continue;
        *to++ = *s;
    }
    *to = '\0';
    return out;
}

bool conf_path_within(const char *outer, const char *inner) {
    size_t n = strlen(outer);
    return strncmp(outer, inner, n) == 0 && (inner[n] == '\0' || inner[n] == '/');
}

int conf_size_parse(const char *s, uint64_t *bytes) {
    static const char units[] = "KMG";
    char digits[24];
    size_t n = strlen(s);
    const char *unit = n > 0 ? strchr(units, s[n - 1]) : NULL;
    unsigned shift = unit != NULL ? 10 * (unsigned)(unit - units + 1) : 0;
    if (str_copyn(digits, sizeof digits, s, n - (unit != NULL ? 1 : 0)) != 0 ||
        str_to_u64(digits, UINT64_MAX >> 34, bytes) != 0)
        return -EINVAL;
    *bytes <<= shift;
    return 0;
}

int conf_percent_parse(const char *s, unsigned *percent) {
    char digits[8];
    uint64_t n;
    size_t len = strlen(s);
    if (strcmp(s, "0") == 0) {
        *percent = 0;
        return 0;
    }
    if (len < 2 || s[len - 1] != '%' || str_copyn(digits, sizeof digits, s, len - 1) != 0 ||
        str_to_u64(digits, 99, &n) != 0 || n == 0)
        return -EINVAL;
    *percent = (unsigned)n;
    return 0;
}

int conf_duration_parse(const char *s, uint64_t *seconds) {
    static const struct {
        char letter;
        unsigned seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    enum { MOST = 1000 * 86400 };
    char digits[24];
    uint64_t n;
    size_t len = strlen(s);
    if (strcmp(s, "0") == 0) {
        *seconds = 0;
        return 0;
    }
    for (size_t i = 0; len > 1 && i < sizeof units / sizeof units[0]; i++) {
        if (s[len - 1] != units[i].letter || str_copyn(digits, sizeof digits, s, len - 1) != 0 ||
            str_to_u64(digits, MOST / units[i].seconds, &n) != 0)
            continue;
        *seconds = n * units[i].seconds;
        return 0;
    }
    return -EINVAL;
}

int conf_commit_parse(const char *s, enum conf_commit *commit) {
    for (enum conf_commit c = CONF_COMMIT_DISK; c <= CONF_COMMIT_ASYNC; c++) {
        if (strcmp(s, conf_commit_name(c)) == 0) {
            *commit = c;
            return 0;
        }
    }
    return -EINVAL;
}

const char *conf_commit_name(enum conf_commit commit) {
    switch (commit) {
    case CONF_COMMIT_DISK:
        return "disk";
    case CONF_COMMIT_MEMORY:
        return "memory";
    case CONF_COMMIT_ASYNC:
        return "async";
    }
    return "?";
}

int conf_mode_parse(const char *s, enum conf_mode *mode) {
    for (enum conf_mode m = CONF_MODE_ACTIVE; m <= CONF_MODE_WATCH; m++) {
        if (strcmp(s, conf_mode_name(m)) == 0) {
            *mode = m;
            return 0;
        }
    }
    return -EINVAL;
}

const char *conf_mode_name(enum conf_mode mode) {
    return mode == CONF_MODE_STANDBY ? "standby" : mode == CONF_MODE_WATCH ? "watch" : "active";
}

int conf_access_parse(const char *s, enum conf_access *access) {
    for (enum conf_access a = CONF_ACCESS_CHECKED; a <= CONF_ACCESS_PRIVATE; a++) {
        if (strcmp(s, conf_access_name(a)) == 0) {
            *access = a;
            return 0;
        }
    }
    return -EINVAL;
}

int conf_compress_parse(const char *s, enum conf_compress *compress) {
    static const char *const words[] = {"auto", "on", "off"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(s, words[i]) == 0) {
            *compress = (enum conf_compress)i;
            return 0;
        }
    }
    return -EINVAL;
}

const char *conf_access_name(enum conf_access access) {
    return access == CONF_ACCESS_PRIVATE ? "private" : "checked";
}

/* Into host, and *colon at the one before the port. */
static int addr_split(const char *s, struct conf_addr *out, const char **colon) {
    const char *host = s, *end;
    if (*s == '[') {
        host = s + 1;
        end = strchr(host, ']');
        if (end == NULL || end[1] != ':')
            return -EINVAL;
        *colon = end + 1;
    } else {
        end = *colon = strrchr(s, ':');
        /* A bare IPv6 address would lose its last group to the port. */
        if (end == NULL || memchr(s, ':', (size_t)(end - s)) != NULL)
            return -EINVAL;
    }
    return str_copyn(out->host, sizeof out->host, host, (size_t)(end - host));
}

int conf_addr_parse(const char *s, struct conf_addr *addr, const char **why) {
    struct conf_addr out = {.port = 0};
    const char *colon;
    uint64_t port;
    if (addr_split(s, &out, &colon) != 0) {
        *why = "must be ADDRESS:PORT, an IPv6 address in brackets, as in \"10.77.0.1:7400\" or "
               "\"[2001:db8::1]:7400\"";
        return -EINVAL;
    }
    if (str_to_u64(colon + 1, UINT16_MAX, &port) != 0 || port == 0) {
        *why = "must end in a port from 1 to 65535, as in \"10.77.0.1:7400\"";
        return -EINVAL;
    }
    if (out.host[0] == '\0' || strpbrk(out.host, " \t/\"") != NULL) {
        *why = "must begin with a host name or an address; to listen on all, write \"*:PORT\"";
        return -EINVAL;
    }
    out.port = (uint16_t)port;
    *addr = out;
    return 0;
}

static int base64_digit(char c) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *p = strchr(digits, c);
    return p != NULL && c != '\0' ? (int)(p - digits) : -1;
}

int conf_fingerprint_parse(const char *s, uint8_t fp[CONF_FINGERPRINT_BYTES]) {
    static const char prefix[] = "SHA256:";
    uint8_t out[CONF_FINGERPRINT_BYTES];
    uint32_t bits = 0;
    unsigned n_bits = 0, n = 0;
    if (!str_starts(s, prefix) || strlen(s) != strlen(prefix) + 43)
        return -EINVAL;
    for (s += strlen(prefix); *s != '\0'; s++) {
        int digit = base64_digit(*s);
        if (digit < 0)
            return -EINVAL;
        bits = bits << 6 | (uint32_t)digit;
        n_bits += 6;
        if (n_bits >= 8) { /* 43 digits: 32 times, and 2 bits left */
            n_bits -= 8;
            out[n++] = (uint8_t)(bits >> n_bits);
        }
    }
    /* The bits left over must be 0: one certificate has one text. */
    if (n != sizeof out || (bits & 3) != 0)
        return -EINVAL;
    memcpy(fp, out, sizeof out);
    return 0;
}

/* --- volumes --------------------------------------------------------------------------------- */

static int check_paths(const struct conf_volume *v, char *why, size_t n) {
    const char *what = NULL;
    if (v->mount[0] == '\0')
        what = conf_path_within(v->store, v->state) || conf_path_within(v->state, v->store)
                   ? "state and store lie one in the other; put the state elsewhere"
                   : NULL;
    else if (strcmp(v->store, v->mount) == 0)
        what = "store and mount are the same directory; move the mail to a directory of its own, "
               "make that the store, and mount on the old place";
    else if (conf_path_within(v->mount, v->store))
        what = "the store lies inside the mount, which would hide it; put the store elsewhere";
    else if (conf_path_within(v->store, v->mount))
        what = "the mount lies inside the store, so mailfs would contain itself; put it elsewhere";
    else if (conf_path_within(v->mount, v->state))
        what = "state lies inside the mount, which would hide it; put it elsewhere";
    else if (conf_path_within(v->store, v->state))
        what = "state lies inside the store, so keys would be shown as mail; put it elsewhere";
    else if (conf_path_within(v->state, v->mount) || conf_path_within(v->state, v->store))
        what = "store or mount lies inside state, which only root may enter; put it elsewhere";
    if (what == NULL)
        return 0;
    snprintf(why, n, "volume \"%s\": %s", v->name, what);
    return -EINVAL;
}

static int check_watch(const struct conf_volume *v, char *why, size_t n) {
    if (v->peer != NULL)
        snprintf(
            why, n,
            "volume \"%s\": a store that is only watched has no peer; let another node follow it: "
            "standby \"%s\" { ... }",
            v->name, v->peer->name);
    else if (v->mount[0] != '\0')
        snprintf(why, n,
                 "volume \"%s\": mode = \"watch\" has no mount: the mail daemons work in the store "
                 "itself; remove 'mount'",
                 v->name);
    else if (v->access != CONF_ACCESS_CHECKED)
        snprintf(why, n,
                 "volume \"%s\": mode = \"watch\" has no mount that could be private; remove "
                 "'access'",
                 v->name);
    else
        return 0;
    return -EINVAL;
}

static int check_mode(const struct conf_volume *v, char *why, size_t n) {
    if (v->mode == CONF_MODE_WATCH)
        return check_watch(v, why, n);
    if (v->mount[0] == '\0') {
        snprintf(why, n, "volume \"%s\" has no 'mount'; add it", v->name);
        return -EINVAL;
    }
    if (v->mode != CONF_MODE_STANDBY)
        return 0;
    if (v->peer == NULL)
        return 0;
    snprintf(why, n,
             "volume \"%s\": a standby has no peer; name the node it copies in a block "
             "source \"%s\" { ... }",
             v->name, v->peer->name);
    return -EINVAL;
}

const char *conf_volume_lacks(const struct conf_volume *v) {
    if (v->n_links > 0 || v->mode == CONF_MODE_ACTIVE)
        return NULL;
    return v->mode == CONF_MODE_WATCH ? "mode = \"watch\" needs a block standby \"NODE\" { ... }"
                                      : "mode = \"standby\" needs a block source \"NODE\" { ... }";
}

/* Everybody this volume knows is somebody else. */
static int check_names(const struct conf *conf, const struct conf_volume *v, char *why, size_t n) {
    for (size_t i = 0; i < v->n_links + 1; i++) {
        const char *name = i < v->n_links    ? v->links[i].name
                           : v->peer != NULL ? v->peer->name
                                             : NULL;
        if (name != NULL && strcmp(name, conf->node) == 0) {
            snprintf(why, n,
                     "volume \"%s\": \"%s\" is the name of this node; a peer, standby or source is "
                     "another one: give its name, or set 'node'",
                     v->name, name);
            return -EINVAL;
        }
        for (size_t k = 0; name != NULL && k < i; k++) {
            if (v->links[k].name == NULL || strcmp(name, v->links[k].name) != 0)
                continue;
            snprintf(why, n, "volume \"%s\": two blocks are about node \"%s\"; remove one", v->name,
                     name);
            return -EINVAL;
        }
    }
    return 0;
}

/* Who writes to a store that is only watched waits for nobody. */
static int check_commit(const struct conf_volume *v, char *why, size_t n) {
    for (size_t i = 0; v->mode == CONF_MODE_WATCH && i < v->n_links; i++) {
        if (v->links[i].commit != CONF_COMMIT_DISK)
            continue;
        snprintf(why, n,
                 "volume \"%s\": standby \"%s\" has commit = \"disk\", but with mode = \"watch\" "
                 "nobody can be made to wait; remove it",
                 v->name, v->links[i].name);
        return -EINVAL;
    }
    return 0;
}

int conf_check_volume(const struct conf *conf, const struct conf_volume *v, char *why, size_t n) {
    int r = check_paths(v, why, n);
    if (r == 0 && v->n_links > CONF_LINKS_MAX) {
        snprintf(why, n, "volume \"%s\": more than %d standbys and sources", v->name,
                 CONF_LINKS_MAX);
        return -EINVAL;
    }
    if (r == 0)
        r = check_mode(v, why, n);
    if (r == 0)
        r = check_commit(v, why, n);
    if (r == 0)
        r = check_names(conf, v, why, n);
    if (r == 0 && (v->peer != NULL || v->n_links > 0) && !v->has_listen) {
        snprintf(why, n,
                 "volume \"%s\" has a peer, standby or source but no 'listen'; add listen = "
                 "\"ADDRESS:PORT\"",
                 v->name);
        return -EINVAL;
    }
    return r;
}

static bool paths_overlap(const char *a, const char *b) {
    return conf_path_within(a, b) || conf_path_within(b, a);
}

int conf_check_pair(const struct conf_volume *a, const struct conf_volume *b, char *why, size_t n) {
    if (a->mode == CONF_MODE_WATCH && b->mode == CONF_MODE_WATCH) {
        snprintf(why, n, "volumes \"%s\" and \"%s\" are both to be watched; one can be", a->name,
                 b->name);
        return -EINVAL;
    }
    const char *of_a[] = {a->store, a->mount, a->state};
    const char *of_b[] = {b->store, b->mount, b->state};
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < 3; j++) {
            if (of_a[i][0] == '\0' || of_b[j][0] == '\0' || !paths_overlap(of_a[i], of_b[j]))
                continue;
            snprintf(why, n,
                     "volumes \"%s\" and \"%s\" share %s and %s; give each directories of its own",
                     a->name, b->name, of_a[i], of_b[j]);
            return -EINVAL;
        }
    }
    if (a->has_listen && b->has_listen && a->listen.port == b->listen.port &&
        strcmp(a->listen.host, b->listen.host) == 0) {
        snprintf(why, n, "volumes \"%s\" and \"%s\" listen on the same address; change one port",
                 a->name, b->name);
        return -EINVAL;
    }
    return 0;
}
