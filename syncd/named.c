/*
 * named - what was prepared, and which name it got, by mailfs's Hello
 *
 * Diagnostics: none but of collect.
 */
#include "named.h"

#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "checkpoint.h"
#include "collect.h"
#include "jobs.h"
#include "maildir/name.h"
#include "mem.h"
#include "util/str.h"
#include "volume.h"
#include "wire/check.h"

struct naming {
    struct volume *v;
    struct mailfs_id dir;
    struct base_prep prep;
    char base[MAILDIR_NAME_MAX + 1];
};

static void learn_run(void *arg) {
    struct naming *n = arg;
    collect_named(n->v->state, &n->dir, n->base, &n->prep); /* logged there */
}

/* The peer may have published it under another name, and nothing but the base says that the two are
 * one message. */
static void learn_done(void *arg) {
    struct naming *n = arg;
    n->v->changes++;
    checkpoint_soon(n->v->checkpoint);
    free(n);
}

void named_learn(struct volume *v, const Mfl__Hello *h) {
    for (size_t i = 0; i < h->n_named; i++) {
        const Mfl__Named *from = h->named[i];
        struct naming *n = mem_new(sizeof *n);
        n->v = v;
        n->prep = (struct base_prep){from->id->incarnation, from->id->seq};
        if (wire_id(&from->dir, &n->dir) != 0 ||
            maildir_name_check(from->bname, strlen(from->bname), MAILDIR_NAME_BASE) != 0 ||
            str_copy(n->base, sizeof n->base, from->bname) != 0)
            free(n);
        else
            jobs_run(v->jobs, &n->dir, learn_run, learn_done, n);
    }
}
