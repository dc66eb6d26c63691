/*
 * fuzz_conf - the configuration parser on any bytes: a whole configuration, or one line that says
 * why not
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void demand(int truth) {
    if (!truth)
        abort();
}

/* What conf.h promises of each volume, whatever the text was. */
static void check_volume(const struct conf *conf, const struct conf_volume *v) {
    demand(v->name != NULL && v->name[0] != '\0' && strchr(v->name, '/') == NULL);
    demand(v->store[0] == '/' && v->mount[0] == '/' && v->state[0] == '/');
    demand(!conf_path_within(v->store, v->mount) && !conf_path_within(v->mount, v->store));
    demand(!conf_path_within(v->store, v->state) && !conf_path_within(v->mount, v->state));
    demand(!v->has_listen || v->listen.port != 0);
    demand(v->peer == NULL ||
           (v->has_listen && v->peer->timeout_ms >= 1000 && v->peer->timeout_ms <= 300000 &&
            v->peer->address.port != 0 && strcmp(v->peer->name, conf->node) != 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct conf *conf = NULL;
    char err[CONF_ERR_MAX];
    char *text = malloc(n + 1);
    if (text == NULL)
        return 0;
    memcpy(text, data, n);
    text[n] = '\0';
    err[0] = '\0';
    if (conf_parse("f", text, &conf, err) != 0) {
        demand(strncmp(err, "f:", 2) == 0 && strpbrk(err, "\n\r") == NULL && conf == NULL);
    } else {
        demand(conf->n_volumes >= 1 && conf->n_volumes <= CONF_VOLUMES_MAX);
        for (size_t i = 0; i < conf->n_volumes; i++)
            check_volume(conf, &conf->volumes[i]);
        conf_free(conf);
    }
    free(text);
    return 0;
}
