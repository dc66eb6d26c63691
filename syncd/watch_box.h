#ifndef SYNCD_WATCH_BOX_H
#define SYNCD_WATCH_BOX_H

/*
 * The containers of a watched store, as the watching thread knows them: path, id, the times they
 * were last seen with, and their watches. About 300 bytes a container. That thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <uthash.h>

#include "io/handle.h"
#include "util/id.h"

enum { BOX_SELF, BOX_NEW, BOX_CUR, BOX_PARTS };

struct box {
    struct mailfs_id id;
    struct io_handle handle;
    int64_t seen_ns[BOX_PARTS]; /* mtime; 0: not there */
    int wd[BOX_PARTS];          /* inotify's; -1: none */
    uint64_t changed_ms;        /* when it last changed, wall clock */
    bool watched;
    bool dirty; /* to be told, and */
    bool tree;  /* that directories in it have come or gone */
    UT_hash_handle hh;
    char path[]; /* below the store, no slash at the ends; "": the root */
};

struct box_wd {
    int wd;
    struct box *box;
    int part;
    UT_hash_handle hh;
};

struct boxes {
    const char *store;
    int root;
    struct box *all;
    struct box_wd *wds;
    size_t n, n_watched, limit; /* limit: of watches */
};

/* Looks at the container: 1: it has changed since the last time, or is another; 0: not; -ENOENT:
 * gone. */
int box_look(struct boxes *bs, struct box *b);
/* The container of a path that is not known yet, dirty; NULL: it is gone. */
struct box *box_get(struct boxes *bs, const char *path);
void box_forget(struct boxes *bs, struct box *b);
/* Directories below b: those that are gone are forgotten, those not known yet are added. */
void box_look_below(struct boxes *bs, struct box *b);

/* Watches it, in place of the one that changed longest ago if need be. */
void box_watch(struct boxes *bs, struct box *b);
struct box_wd *box_of_wd(struct boxes *bs, int wd);
void boxes_free(struct boxes *bs);

#endif
