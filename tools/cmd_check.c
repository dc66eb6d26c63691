/*
 * cmd_check - mailfsctl check-config: what the configuration says, and whether this machine fits
 *
 * The file itself has been read by then: whoever comes here has no error with a line number.
 *
 * Diagnostics: notes to stdout about what is missing here; exit code 2 when the configuration
 * contradicts the certificate.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "commands.h"
#include "io/private.h"
#include "net/cert.h"

#define ERR_MAX 4608

static void note_missing_dir(const struct conf_volume *v, const char *what, const char *path) {
    struct stat st;

    if (stat(path, &st) != 0)
        printf("volume %s: note: %s %s: %s\n", v->name, what, path, strerror(errno));
    else if (!S_ISDIR(st.st_mode))
        printf("volume %s: note: %s %s is no directory\n", v->name, what, path);
}

/* The commonest mistake with fingerprints is to paste one's own. */
static int check_fingerprint(const struct conf *conf, const struct conf_volume *v,
                             const struct conf_peer *p, const struct cert_fingerprint *own) {
    struct cert_fingerprint theirs;

    memcpy(theirs.sha256, p->fingerprint, sizeof(theirs.sha256));
    if (!cert_fingerprint_equal(own, &theirs))
        return CTL_DONE;
    fprintf(stderr,
            "%s: volume \"%s\": the fingerprint of \"%s\" is this node's own; "
            "run 'mailfsctl fingerprint' on %s and take that one\n",
            conf->path, v->name, p->name, p->name);
    return CTL_USAGE;
}

static int check_fingerprints(const struct conf *conf, const struct conf_volume *v) {
    struct cert_fingerprint own;
    char err[ERR_MAX];
    int rc = CTL_DONE;

    if (cert_fingerprint_load(v->state, &own, err, sizeof(err)) != 0) {
        printf("volume %s: note: %s (mailfsctl init makes it)\n", v->name, err);
        return CTL_DONE;
    }
    if (v->peer)
        rc = check_fingerprint(conf, v, v->peer, &own);
    for (size_t i = 0; rc == CTL_DONE && i < v->n_links; i++)
        rc = check_fingerprint(conf, v, &v->links[i], &own);
    return rc;
}

/* "peer mx-b (timeout 3 s), one-way links with mx-c, mx-d" */
static void print_others(const struct conf_volume *v) {
    if (v->peer)
        printf("peer %s (timeout %g s)", v->peer->name, v->peer->timeout_ms / 1000.0);
    else
        printf("no peer");
    for (size_t i = 0; i < v->n_links; i++)
        printf("%s %s", i == 0 ? ", one-way links with" : ",", v->links[i].name);
    printf("\n");
}

/* What mailfs would refuse to mount. */
static int check_access(const struct conf *conf, const struct conf_volume *v) {
    char why[ERR_MAX];
    uid_t uid;

    if (v->access != CONF_ACCESS_PRIVATE)
        return CTL_DONE;
    if (io_private_check(v->mount, v->store, &uid, why, sizeof(why)) == 0) {
        printf("volume %s: access = private, for uid %u and root\n", v->name, (unsigned)uid);
        return CTL_DONE;
    }
    fprintf(stderr, "%s: volume \"%s\": access = \"private\": %s\n", conf->path, v->name, why);
    return CTL_USAGE;
}

static int check_volume(const struct conf *conf, const struct conf_volume *v) {
    const char *lacks = conf_volume_lacks(v);

    printf("volume %s: mode = %s, store %s, ", v->name, conf_mode_name(v->mode), v->store);
    if (v->mode != CONF_MODE_WATCH)
        printf("mount %s, commit = %s, ", v->mount, conf_commit_name(v->commit));
    print_others(v);
    note_missing_dir(v, "store", v->store);
    if (v->mode != CONF_MODE_WATCH)
        note_missing_dir(v, "mount point", v->mount);
    if (lacks) {
        fprintf(stderr, "%s: volume \"%s\": %s\n", conf->path, v->name, lacks);
        return CTL_USAGE;
    }
    if (check_access(conf, v) != CTL_DONE)
        return CTL_USAGE;
    return check_fingerprints(conf, v);
}

int command_check_config(const struct ctl_args *args) {
    int rc = CTL_DONE;

    printf("%s: node %s\n", args->conf->path, args->conf->node);
    for (size_t i = 0; i < args->conf->n_volumes; i++) {
        const struct conf_volume *v = &args->conf->volumes[i];

        if ((!args->only || args->only == v) && check_volume(args->conf, v) != CTL_DONE)
            rc = CTL_USAGE;
    }
    if (rc == CTL_DONE)
        printf("%s: ok\n", args->conf->path);
    return rc;
}
