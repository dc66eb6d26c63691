/*
 * values - what each option and block is checked for while libconfuse parses it
 *
 * Only then libconfuse knows the line. What a value must be stands in check.c.
 *
 * Diagnostics: by cfg_error(): what is wrong, and what to do.
 */
#include "conf/values.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "conf/internal.h"

static int refuse(cfg_t *cfg, cfg_opt_t *opt, const char *value, const char *why) {
    cfg_error(cfg, "%s = \"%s\": %s %s", opt->name, value, opt->name, why);
    return -1;
}

static const char *last_str(cfg_opt_t *opt) {
    const char *s = cfg_opt_getnstr(opt, cfg_opt_size(opt) - 1);
    return s != NULL ? s : "";
}

static int on_node(cfg_t *cfg, cfg_opt_t *opt) {
    const char *why;
    return conf_check_name(last_str(opt), &why) == 0 ? 0 : refuse(cfg, opt, last_str(opt), why);
}

static int on_path(cfg_t *cfg, cfg_opt_t *opt) {
    const char *why;
    return conf_check_path(last_str(opt), &why) == 0 ? 0 : refuse(cfg, opt, last_str(opt), why);
}

static int on_listen(cfg_t *cfg, cfg_opt_t *opt) {
    struct conf_addr addr;
    const char *why;
    int r = conf_addr_parse(last_str(opt), &addr, &why);
    return r == 0 ? 0 : refuse(cfg, opt, last_str(opt), why);
}

static int on_address(cfg_t *cfg, cfg_opt_t *opt) {
    struct conf_addr addr;
    const char *why;
    int r = conf_addr_parse(last_str(opt), &addr, &why);
    if (r == 0 && strcmp(addr.host, "*") == 0) {
        why = "must name the peer's address; '*' is only for 'listen'";
        r = -EINVAL;
    }
    return r == 0 ? 0 : refuse(cfg, opt, last_str(opt), why);
}

static int on_commit(cfg_t *cfg, cfg_opt_t *opt) {
    enum conf_commit commit;
    int r = conf_commit_parse(last_str(opt), &commit);
    return r == 0 ? 0 : refuse(cfg, opt, last_str(opt), "must be disk, memory or async");
}

static int on_standby_commit(cfg_t *cfg, cfg_opt_t *opt) {
    enum conf_commit commit;
    int r = conf_commit_parse(last_str(opt), &commit);
    return r == 0 && commit != CONF_COMMIT_MEMORY
               ? 0
               : refuse(cfg, opt, last_str(opt), "must be disk or async");
}

static int on_mode(cfg_t *cfg, cfg_opt_t *opt) {
    enum conf_mode mode;
    int r = conf_mode_parse(last_str(opt), &mode);
    return r == 0 ? 0 : refuse(cfg, opt, last_str(opt), "must be active, standby or watch");
}

static int on_access(cfg_t *cfg, cfg_opt_t *opt) {
    enum conf_access access;
    int r = conf_access_parse(last_str(opt), &access);
    return r == 0 ? 0 : refuse(cfg, opt, last_str(opt), "must be checked or private");
}

static int on_watches(cfg_t *cfg, cfg_opt_t *opt) {
    long n = cfg_opt_getnint(opt, cfg_opt_size(opt) - 1);
    if (n == 0 || (n >= 16 && n <= INT_MAX))
        return 0;
    cfg_error(cfg, "watches = %ld: watches must be 0 (as many as there are) or at least 16", n);
    return -1;
}

static int on_keep(cfg_t *cfg, cfg_opt_t *opt) {
    uint64_t s;
    if (conf_duration_parse(last_str(opt), &s) == 0)
        return 0;
    return refuse(
        cfg, opt, last_str(opt),
        "must be a time of at most 1000 days, as in \"7d\", \"12h\", \"30m\", \"90s\"; \"0\": "
        "nothing is kept");
}

static int on_verify(cfg_t *cfg, cfg_opt_t *opt) {
    uint64_t s;
    if (conf_duration_parse(last_str(opt), &s) == 0)
        return 0;
    return refuse(cfg, opt, last_str(opt),
                  "must be a time of at most 1000 days, as in \"7d\", \"12h\"; \"0\": only when "
                  "it is asked for");
}

static int on_brake(cfg_t *cfg, cfg_opt_t *opt) {
    unsigned n;
    if (conf_percent_parse(last_str(opt), &n) == 0)
        return 0;
    return refuse(cfg, opt, last_str(opt),
                  "must be a share from \"1%\" to \"99%\", or \"0\": nobody is asked");
}

static int on_fingerprint(cfg_t *cfg, cfg_opt_t *opt) {
    uint8_t fp[CONF_FINGERPRINT_BYTES];
    if (conf_fingerprint_parse(last_str(opt), fp) == 0)
        return 0;
    return refuse(cfg, opt, last_str(opt),
                  "must be \"SHA256:\" and 43 characters, as 'mailfsctl fingerprint' prints it on "
                  "the peer");
}

static int on_timeout(cfg_t *cfg, cfg_opt_t *opt) {
    double s = cfg_opt_getnfloat(opt, cfg_opt_size(opt) - 1);
    if (s >= 1 && s <= 300) /* so that a NaN is refused */
        return 0;
    cfg_error(cfg, "timeout = %g: timeout must be from 1 to 300 seconds", s);
    return -1;
}

static int on_bandwidth(cfg_t *cfg, cfg_opt_t *opt) {
    uint64_t n;
    if (conf_size_parse(last_str(opt), &n) == 0 && (n == 0 || n >= 1024))
        return 0;
    return refuse(
        cfg, opt, last_str(opt),
        "must be bytes a second, at least 1K, as in \"500K\" or \"10M\"; \"0\": no limit");
}

static int on_compress(cfg_t *cfg, cfg_opt_t *opt) {
    enum conf_compress ignored;
    return conf_compress_parse(last_str(opt), &ignored) == 0
               ? 0
               : refuse(cfg, opt, last_str(opt), "must be auto, on or off");
}

static int need(cfg_t *cfg, const char *block, const char *option) {
    if (cfg_size(cfg, option) > 0 && cfg_getstr(cfg, option) != NULL)
        return 0;
    cfg_error(cfg, "%s \"%s\" has no '%s'; add it", block, cfg_title(cfg), option);
    return -1;
}

/* At the end of a block: opt's last section is the new one. */
static int check_other_node(cfg_t *cfg, cfg_opt_t *opt) {
    cfg_t *other = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
    const char *why;
    if (conf_check_name(cfg_title(other), &why) != 0) {
        cfg_error(cfg, "%s \"%s\": the name %s", opt->name, cfg_title(other), why);
        return -1;
    }
    return need(other, opt->name, "address") != 0 ? -1 : need(other, opt->name, "fingerprint");
}

static int on_link(cfg_t *cfg, cfg_opt_t *opt) {
    if (cfg_opt_size(opt) > CONF_LINKS_MAX) {
        cfg_error(cfg, "more than %d blocks '%s'", CONF_LINKS_MAX, opt->name);
        return -1;
    }
    return check_other_node(cfg, opt);
}

static int on_peer(cfg_t *cfg, cfg_opt_t *opt) {
    cfg_t *peer = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
    if (cfg_opt_size(opt) > 1) {
        cfg_error(cfg,
                  "peer \"%s\" is a second peer; a volume has one peer, others are its standbys "
                  "(standby \"%s\" { ... })",
                  cfg_title(peer), cfg_title(peer));
        return -1;
    }
    return check_other_node(cfg, opt);
}

static int on_volume(cfg_t *cfg, cfg_opt_t *opt) {
    cfg_t *volume = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
    const char *why;
    if (conf_check_name(cfg_title(volume), &why) != 0) {
        cfg_error(cfg, "volume \"%s\": the name %s", cfg_title(volume), why);
        return -1;
    }
    if (cfg_opt_size(opt) > CONF_VOLUMES_MAX) {
        cfg_error(cfg, "more than %d volumes", CONF_VOLUMES_MAX);
        return -1;
    }
    static const char *const needed[] = {"store", "state"}; /* and mount: conf_check_volume() */
    for (size_t i = 0; i < 2; i++) {
        if (need(volume, "volume", needed[i]) != 0)
            return -1;
    }
    return 0;
}

void conf_set_validators(cfg_t *cfg) {
    cfg_set_validate_func(cfg, "node", on_node);
    cfg_set_validate_func(cfg, "volume", on_volume);
    cfg_set_validate_func(cfg, "volume|store", on_path);
    cfg_set_validate_func(cfg, "volume|mount", on_path);
    cfg_set_validate_func(cfg, "volume|state", on_path);
    cfg_set_validate_func(cfg, "volume|listen", on_listen);
    cfg_set_validate_func(cfg, "volume|commit", on_commit);
    cfg_set_validate_func(cfg, "volume|access", on_access);
    cfg_set_validate_func(cfg, "volume|keep", on_keep);
    cfg_set_validate_func(cfg, "volume|verify", on_verify);
    cfg_set_validate_func(cfg, "volume|brake", on_brake);
    cfg_set_validate_func(cfg, "volume|peer", on_peer);
    cfg_set_validate_func(cfg, "volume|peer|address", on_address);
    cfg_set_validate_func(cfg, "volume|peer|fingerprint", on_fingerprint);
    cfg_set_validate_func(cfg, "volume|peer|timeout", on_timeout);
    cfg_set_validate_func(cfg, "volume|peer|bandwidth", on_bandwidth);
    cfg_set_validate_func(cfg, "volume|watches", on_watches);
    cfg_set_validate_func(cfg, "volume|mode", on_mode);
    cfg_set_validate_func(cfg, "volume|standby", on_link);
    cfg_set_validate_func(cfg, "volume|standby|address", on_address);
    cfg_set_validate_func(cfg, "volume|standby|fingerprint", on_fingerprint);
    cfg_set_validate_func(cfg, "volume|standby|timeout", on_timeout);
    cfg_set_validate_func(cfg, "volume|source", on_link);
    cfg_set_validate_func(cfg, "volume|source|address", on_address);
    cfg_set_validate_func(cfg, "volume|source|fingerprint", on_fingerprint);
    cfg_set_validate_func(cfg, "volume|source|timeout", on_timeout);
    cfg_set_validate_func(cfg, "volume|standby|bandwidth", on_bandwidth);
    cfg_set_validate_func(cfg, "volume|source|bandwidth", on_bandwidth);
    cfg_set_validate_func(cfg, "volume|peer|compress", on_compress);
    cfg_set_validate_func(cfg, "volume|standby|compress", on_compress);
    cfg_set_validate_func(cfg, "volume|source|compress", on_compress);
    cfg_set_validate_func(cfg, "volume|standby|commit", on_standby_commit);
}
