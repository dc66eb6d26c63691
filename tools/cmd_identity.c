/*
 * cmd_identity - mailfsctl init, fingerprint: this node's identity
 *
 * Diagnostics: "mailfsctl: …" to stderr; exit code 1 when a file cannot be made or read.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "commands.h"
#include "net/addr.h"
#include "net/cert.h"
#include "util/str.h"

#define ERR_MAX    4608
#define USUAL_PORT 7400

static bool is_meant(const struct ctl_args *a, const struct conf_volume *v) {
    return !a->only || a->only == v;
}

/* ---- init ----------------------------------------------------------------------------------- */

/* All directories above `path` that are missing, 0755 as mkdir -p makes them. */
static int make_parents(const char *path) {
    char part[4096];
    int rc = str_copy(part, sizeof(part), path);
    char *slash = rc == 0 ? strchr(part + 1, '/') : NULL;

    for (; slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return -errno;
        *slash = '/';
    }
    return rc;
}

/* The state directory, ours alone. */
static int make_state_dir(const char *path) {
    struct stat st;
    int rc = make_parents(path);

    if (rc == 0 && mkdir(path, 0700) != 0 && errno != EEXIST)
        rc = -errno;
    if (rc == 0 && stat(path, &st) != 0)
        rc = -errno;
    if (rc == 0 && !S_ISDIR(st.st_mode))
        rc = -ENOTDIR;
    if (rc == 0 && (st.st_mode & 07777) != 0700 && chmod(path, 0700) != 0)
        rc = -errno;
    if (rc != 0)
        fprintf(stderr, "mailfsctl: %s: %s\n", path, strerror(-rc));
    return rc;
}

/* What this node is to the other. */
static const char *block_kind(enum conf_mode mode) {
    return mode == CONF_MODE_STANDBY ? "standby" : mode == CONF_MODE_WATCH ? "source" : "peer";
}

/* How the other node reaches this one, as far as the configuration tells. */
static void print_peer_block(const struct conf *conf, const struct conf_volume *v,
                             const char *fingerprint) {
    struct addr at = {.port = v->has_listen ? v->listen.port : USUAL_PORT};
    bool guess = !v->has_listen || strcmp(v->listen.host, "*") == 0 ||
                 strcmp(v->listen.host, "::") == 0 || strcmp(v->listen.host, "0.0.0.0") == 0;
    char text[ADDR_TEXT_MAX];

    snprintf(at.host, sizeof(at.host), "%s", guess ? conf->node : v->listen.host);
    addr_format(&at, text);
    printf("For the volume \"%s\" in the other node's configuration%s:\n\n"
           "    %s \"%s\" {\n"
           "        address     = \"%s\"%s\n"
           "        fingerprint = \"%s\"\n"
           "    }\n",
           v->name,
           v->mode == CONF_MODE_ACTIVE ? " (\"source\" instead of \"peer\" if that is a standby)"
                                       : "",
           block_kind(v->mode), conf->node, text, guess ? "    # where it reaches this node" : "",
           fingerprint);
}

static int init_volume(const struct conf *conf, const struct conf_volume *v) {
    struct cert_fingerprint fp;
    char text[CERT_FINGERPRINT_TEXT], err[ERR_MAX];
    int rc = make_state_dir(v->state);
    bool there;

    if (rc != 0)
        return CTL_FAILED;
    rc = cert_create(v->state, conf->node, err, sizeof(err));
    there = rc == -EEXIST;
    if (rc == 0 || there)
        rc = cert_fingerprint_load(v->state, &fp, err, sizeof(err));
    if (rc != 0) {
        fprintf(stderr, "mailfsctl: %s\n", err);
        return CTL_FAILED;
    }
    cert_fingerprint_format(&fp, text);
    printf("volume %s: %s in %s\n", v->name,
           there ? "key and certificate were there already and are kept"
                 : "new key and certificate",
           v->state);
    printf("fingerprint %s\n\n", text);
    print_peer_block(conf, v, text);
    return CTL_DONE;
}

int command_init(const struct ctl_args *args) {
    int rc = CTL_DONE;

    for (size_t i = 0; i < args->conf->n_volumes && rc == CTL_DONE; i++)
        if (is_meant(args, &args->conf->volumes[i]))
            rc = init_volume(args->conf, &args->conf->volumes[i]);
    return rc;
}

/* ---- fingerprint ------------------------------------------------------------------------------
 */

int command_fingerprint(const struct ctl_args *args) {
    bool named = !args->only && args->conf->n_volumes > 1;
    int rc = CTL_DONE;

    for (size_t i = 0; i < args->conf->n_volumes; i++) {
        const struct conf_volume *v = &args->conf->volumes[i];
        struct cert_fingerprint fp;
        char text[CERT_FINGERPRINT_TEXT], err[ERR_MAX];

        if (!is_meant(args, v))
            continue;
        if (cert_fingerprint_load(v->state, &fp, err, sizeof(err)) != 0) {
            fprintf(stderr, "mailfsctl: %s (mailfsctl init makes it)\n", err);
            rc = CTL_FAILED;
            continue;
        }
        cert_fingerprint_format(&fp, text);
        printf("%s%s%s\n", named ? v->name : "", named ? " " : "", text);
    }
    return rc;
}
