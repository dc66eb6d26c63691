/*
 * conf - the configuration file, by libconfuse
 *
 * Values are checked while libconfuse parses (values.c), since only then it knows the line; what
 * concerns a whole volume is checked at its end, what concerns several when all are read.
 * libconfuse's scanner and our error text are global: one file at a time, under parse_lock.
 *
 * Diagnostics: the first error, as "FILE:LINE: what is wrong, and what to do".
 */
#include "conf/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/internal.h"
#include "conf/values.h"
#include "io/file.h"
#include "util/log.h"
#include "util/str.h"

enum { CONF_FILE_MAX = 1 << 20 };

static pthread_mutex_t parse_lock = PTHREAD_MUTEX_INITIALIZER;
static char *parse_err; /* CONF_ERR_MAX bytes of the caller */

/* --- while libconfuse parses ------------------------------------------------------------------ */

/* What to do about those of libconfuse's own errors that do not say it. */
static const char *error_hint(const char *fmt) {
    if (str_starts(fmt, "no such option"))
        return "; see mailfs.conf(5) for the options there are";
    if (str_starts(fmt, "found duplicate title"))
        return "; two blocks have this name: give one of them another, or remove it";
    return "";
}

__attribute__((format(printf, 2, 0))) static void on_error(cfg_t *cfg, const char *fmt,
                                                           va_list ap) {
    if (parse_err[0] != '\0') /* those that follow are consequences */
        return;
    char text[CONF_ERR_MAX];
    vsnprintf(text, sizeof text, fmt, ap);
    int n = snprintf(parse_err, CONF_ERR_MAX, "%s:%d: %s%s", cfg->filename, cfg->line, text,
                     error_hint(fmt));
    if (n >= CONF_ERR_MAX) /* a value may be as long as the file */
        memcpy(parse_err + CONF_ERR_MAX - 4, "...", 4);
    for (char *c = parse_err; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    }
}

/* --- from libconfuse's tree to ours --------------------------------------------------------- */

static int set_string(char **to, const char *s) {
    *to = strdup(s);
    return *to != NULL ? 0 : -ENOMEM;
}

static int set_path(char **to, const char *s) {
    *to = conf_path_copy(s);
    return *to != NULL ? 0 : -ENOMEM;
}

static int fill_peer(cfg_t *cfg, struct conf_peer *p) {
    const char *why;
    p->timeout_ms = (unsigned)(cfg_getfloat(cfg, "timeout") * 1000);
    int r = set_string(&p->name, cfg_title(cfg));
    if (r == 0)
        r = conf_addr_parse(cfg_getstr(cfg, "address"), &p->address, &why);
    if (r == 0)
        r = conf_fingerprint_parse(cfg_getstr(cfg, "fingerprint"), p->fingerprint);
    if (r == 0)
        r = conf_size_parse(cfg_getstr(cfg, "bandwidth"), &p->bandwidth);
    if (r == 0)
        r = conf_compress_parse(cfg_getstr(cfg, "compress"), &p->compress);
    p->commit = CONF_COMMIT_ASYNC;
    return r;
}

static int fill_standby(cfg_t *cfg, struct conf_peer *p) {
    int r = fill_peer(cfg, p);
    return r == 0 ? conf_commit_parse(cfg_getstr(cfg, "commit"), &p->commit) : r;
}

static int build_peer(cfg_t *cfg, struct conf_peer **out) {
    *out = calloc(1, sizeof **out); /* conf_free()'s from here on */
    return *out != NULL ? fill_peer(cfg, *out) : -ENOMEM;
}

static int build_links(cfg_t *cfg, struct conf_volume *v) {
    static const char *const kinds[] = {"standby", "source"};
    static int (*const fill[])(cfg_t *, struct conf_peer *) = {fill_standby, fill_peer};
    int r = 0;
    v->links = calloc(cfg_size(cfg, kinds[0]) + cfg_size(cfg, kinds[1]) + 1, sizeof *v->links);
    if (v->links == NULL)
        return -ENOMEM;
    for (size_t k = 0; k < 2; k++) {
        for (unsigned i = 0; r == 0 && i < cfg_size(cfg, kinds[k]); i++) {
            struct conf_peer *to = &v->links[v->n_links++];
            r = fill[k](cfg_getnsec(cfg, kinds[k], i), to);
            to->source = k == 1;
        }
    }
    return r;
}

static int build_volume(cfg_t *cfg, struct conf_volume *v) {
    const char *why, *listen = cfg_getstr(cfg, "listen");
    int r = set_string(&v->name, cfg_title(cfg));
    if (r == 0)
        r = set_path(&v->store, cfg_getstr(cfg, "store"));
    if (r == 0)
        r = set_path(&v->mount, cfg_getstr(cfg, "mount") != NULL ? cfg_getstr(cfg, "mount") : "");
    if (r == 0)
        r = set_path(&v->state, cfg_getstr(cfg, "state"));
    if (r == 0)
        r = conf_commit_parse(cfg_getstr(cfg, "commit"), &v->commit);
    if (r == 0)
        r = conf_access_parse(cfg_getstr(cfg, "access"), &v->access);
    if (r == 0)
        r = conf_duration_parse(cfg_getstr(cfg, "keep"), &v->keep_s);
    if (r == 0)
        r = conf_duration_parse(cfg_getstr(cfg, "verify"), &v->verify_s);
    if (r == 0)
        r = conf_percent_parse(cfg_getstr(cfg, "brake"), &v->brake);
    v->has_listen = listen != NULL;
    if (r == 0 && listen != NULL)
        r = conf_addr_parse(listen, &v->listen, &why);
    if (r == 0 && cfg_size(cfg, "peer") > 0)
        r = build_peer(cfg_getsec(cfg, "peer"), &v->peer);
    if (r == 0)
        r = conf_mode_parse(cfg_getstr(cfg, "mode"), &v->mode);
    v->watches = (unsigned)cfg_getint(cfg, "watches");
    if (r == 0)
        r = build_links(cfg, v);
    return r;
}

static int build_node(cfg_t *cfg, struct conf *conf) {
    const char *node = cfg_getstr(cfg, "node"), *why;
    char host[CONF_NAME_MAX + 1];
    if (node != NULL)
        return set_string(&conf->node, node);
    if (gethostname(host, sizeof host) != 0 || memchr(host, '\0', sizeof host) == NULL ||
        conf_check_name(host, &why) != 0) {
        cfg_error(cfg, "the host name is no node name; add node = \"NAME\"");
        return -EINVAL;
    }
    return set_string(&conf->node, host);
}

/* The i-th, with itself and with those before it. */
static int check_volume(cfg_t *cfg, const struct conf *conf, size_t i) {
    char why[CONF_ERR_MAX] = "";
    const struct conf_volume *v = &conf->volumes[i];
    int r = conf_check_volume(conf, v, why, sizeof why);
    for (size_t j = 0; r == 0 && j < i; j++)
        r = conf_check_pair(&conf->volumes[j], v, why, sizeof why);
    if (r != 0)
        cfg_error(cfg, "%s", why);
    return r;
}

static int build(cfg_t *cfg, struct conf *conf) {
    size_t n = cfg_size(cfg, "volume");
    if (n == 0) {
        cfg_error(cfg, "no volume; add a block: volume \"NAME\" { store = ... }");
        return -EINVAL;
    }
    int r = build_node(cfg, conf);
    if (r != 0)
        return r;
    conf->volumes = calloc(n, sizeof *conf->volumes);
    if (conf->volumes == NULL)
        return -ENOMEM;
    for (size_t i = 0; r == 0 && i < n; i++) {
        cfg_t *volume = cfg_getnsec(cfg, "volume", (unsigned)i);
        conf->n_volumes = i + 1;
        r = build_volume(volume, &conf->volumes[i]);
        if (r == 0)
            r = check_volume(volume, conf, i);
    }
    return r;
}

static int parse_locked(const char *name, FILE *in, int depth, struct conf *conf) {
    cfg_opt_t peer[] = {
        CFG_STR("address", NULL, CFGF_NONE),    CFG_STR("fingerprint", NULL, CFGF_NONE),
        CFG_FLOAT("timeout", 3.0, CFGF_NONE),   CFG_STR("bandwidth", "0", CFGF_NONE),
        CFG_STR("compress", "auto", CFGF_NONE), CFG_END(),
    };
    cfg_opt_t source[] = {
        CFG_STR("address", NULL, CFGF_NONE),    CFG_STR("fingerprint", NULL, CFGF_NONE),
        CFG_FLOAT("timeout", 10.0, CFGF_NONE),  CFG_STR("bandwidth", "0", CFGF_NONE),
        CFG_STR("compress", "auto", CFGF_NONE), CFG_END(),
    };
    cfg_opt_t standby[] = {
        CFG_STR("address", NULL, CFGF_NONE),
        CFG_STR("fingerprint", NULL, CFGF_NONE),
        CFG_FLOAT("timeout", 10.0, CFGF_NONE),
        CFG_STR("bandwidth", "0", CFGF_NONE),
        CFG_STR("compress", "auto", CFGF_NONE),
        CFG_STR("commit", "async", CFGF_NONE),
        CFG_END(),
    };
    cfg_opt_t volume[] = {
        CFG_STR("store", NULL, CFGF_NONE),
        CFG_STR("mount", NULL, CFGF_NONE),
        CFG_STR("state", NULL, CFGF_NONE),
        CFG_STR("listen", NULL, CFGF_NONE),
        CFG_STR("commit", "disk", CFGF_NONE),
        CFG_STR("access", "checked", CFGF_NONE),
        CFG_STR("mode", "active", CFGF_NONE),
        CFG_INT("watches", 0, CFGF_NONE),
        CFG_STR("keep", "7d", CFGF_NONE),
        CFG_STR("verify", "7d", CFGF_NONE),
        CFG_STR("brake", "30%", CFGF_NONE),
        CFG_SEC("peer", peer, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
        CFG_SEC("standby", standby, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
        CFG_SEC("source", source, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
        CFG_END(),
    };
    cfg_opt_t root[] = {
        CFG_STR("node", NULL, CFGF_NONE),
        CFG_SEC("volume", volume, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
        CFG_END(),
    };
    cfg_t *cfg = cfg_init(root, CFGF_NONE);
    if (cfg == NULL)
        return -ENOMEM;
    cfg_set_error_function(cfg, on_error);
    conf_set_validators(cfg);
    cfg->filename = strdup(name); /* else libconfuse calls a stream "FILE" */
    int r = cfg->filename != NULL ? 0 : -ENOMEM;
    if (r == 0 && cfg_parse_fp(cfg, in) != CFG_SUCCESS)
        r = -EINVAL;
    if (r == 0 && depth > 0) {
        cfg_error(cfg, "the file ends, but a block is not closed; add '}'");
        r = -EINVAL;
    }
    if (r == 0)
        r = build(cfg, conf);
    cfg_free(cfg);
    return r;
}

/* --- the calls ------------------------------------------------------------------------------- */

/* Changes the text. */
static int parse_text(const char *name, char *text, size_t n, struct conf **out, char *err) {
    err[0] = '\0';
    if (memchr(text, '\0', n) != NULL) {
        snprintf(err, CONF_ERR_MAX, "%s:1: holds a zero byte: this is no text file", name);
        return -EINVAL;
    }
    int depth = conf_blank_comments(text);
    struct conf *conf = calloc(1, sizeof *conf);
    FILE *in = conf != NULL ? fmemopen(text, n, "r") : NULL;
    int r = in != NULL ? set_string(&conf->path, name) : -ENOMEM;
    if (r == 0) {
        pthread_mutex_lock(&parse_lock);
        parse_err = err;
        r = parse_locked(name, in, depth, conf);
        parse_err = NULL;
        pthread_mutex_unlock(&parse_lock);
    }
    if (in != NULL)
        fclose(in);
    if (r != 0) {
        if (err[0] == '\0') /* memory; or libconfuse failed and did not say why */
            snprintf(err, CONF_ERR_MAX, "%s: %s", name, log_strerror(r));
        conf_free(conf);
        return r;
    }
    *out = conf;
    return 0;
}

int conf_parse(const char *name, const char *text, struct conf **conf, char err[CONF_ERR_MAX]) {
    char *copy = strdup(text);
    if (copy == NULL) {
        snprintf(err, CONF_ERR_MAX, "%s: %s", name, log_strerror(-ENOMEM));
        return -ENOMEM;
    }
    int r = parse_text(name, copy, strlen(copy), conf, err);
    free(copy);
    return r;
}

int conf_load(const char *path, struct conf **conf, char err[CONF_ERR_MAX]) {
    char *text = NULL;
    size_t n = 0;
    if (path == NULL)
        path = CONF_DEFAULT_PATH;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int r = fd < 0 ? -errno : io_file_read_fd(fd, CONF_FILE_MAX, &text, &n, NULL);
    if (fd >= 0)
        close(fd);
    if (r != 0 || text == NULL) {
        snprintf(err, CONF_ERR_MAX, "%s: cannot be read: %s", path, log_strerror(r));
        return r;
    }
    r = parse_text(path, text, n, conf, err);
    free(text);
    return r;
}

void conf_free(struct conf *conf) {
    if (conf == NULL)
        return;
    for (size_t i = 0; i < conf->n_volumes; i++) {
        struct conf_volume *v = &conf->volumes[i];
        free(v->name);
        free(v->store);
        free(v->mount);
        free(v->state);
        if (v->peer != NULL)
            free(v->peer->name);
        free(v->peer);
        for (size_t k = 0; k < v->n_links; k++)
            free(v->links[k].name);
        free(v->links);
    }
    free(conf->volumes);
    free(conf->node);
    free(conf->path);
    free(conf);
}

const struct conf_volume *conf_volume_find(const struct conf *conf, const char *name,
                                           char err[CONF_ERR_MAX]) {
    if (name == NULL) {
        if (conf->n_volumes == 1)
            return &conf->volumes[0];
        snprintf(err, CONF_ERR_MAX, "%s: has %zu volumes; name the one that is meant", conf->path,
                 conf->n_volumes);
        return NULL;
    }
    for (size_t i = 0; i < conf->n_volumes; i++) {
        if (strcmp(conf->volumes[i].name, name) == 0)
            return &conf->volumes[i];
    }
    snprintf(err, CONF_ERR_MAX, "%s: has no volume \"%s\"", conf->path, name);
    return NULL;
}
