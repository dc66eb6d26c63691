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
static int check_fingerprints(const struct conf *conf, const struct conf_volume *v) {
    struct cert_fingerprint own, peer;
    char err[ERR_MAX];

    if (cert_fingerprint_load(v->state, &own, err, sizeof(err)) != 0) {
        printf("volume %s: note: %s (mailfsctl init makes it)\n", v->name, err);
        return CTL_DONE;
    }
    if (!v->peer)
        return CTL_DONE;
    memcpy(peer.sha256, v->peer->fingerprint, sizeof(peer.sha256));
    if (!cert_fingerprint_equal(&own, &peer))
        return CTL_DONE;
    fprintf(stderr,
            "%s: volume \"%s\": the fingerprint of peer \"%s\" is this node's own; "
            "run 'mailfsctl fingerprint' on %s and take that one\n",
            conf->path, v->name, v->peer->name, v->peer->name);
    return CTL_USAGE;
}

static int check_volume(const struct conf *conf, const struct conf_volume *v) {
    printf("volume %s: store %s, mount %s, commit = %s, ", v->name, v->store, v->mount,
           conf_commit_name(v->commit));
    if (v->peer)
        printf("peer %s (timeout %g s)\n", v->peer->name, v->peer->timeout_ms / 1000.0);
    else
        printf("no peer\n");
    note_missing_dir(v, "store", v->store);
    note_missing_dir(v, "mount point", v->mount);
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
