#ifndef SYNCD_BRAKE_INT_H
#define SYNCD_BRAKE_INT_H

/* Shared by brake.c and brake_end.c. */

#include "brake.h"

struct event;
struct brake_count;

/* Removals up to then were meant. */
struct meant {
    char *path;
    struct mailfs_id id;
    bool id_known;
    int64_t until;
};

struct brake {
    struct volume *v;
    struct event *timer, *dirs;
    bool quiet, busy;
    bool counts;    /* the look under way */
    bool unwritten; /* the record is not what is held: written at the next look */
    struct brake_held *held;
    size_t n_held;
    struct meant *meant;
    size_t n_meant;
    uint64_t present;          /* messages of the volume when they were last counted */
    struct brake_count *count; /* the worker's */
};

struct brake_held *brake_find(const struct brake *b, const char *path);
/* It is held no longer. */
void brake_drop(struct brake *b, struct brake_held *h);
/* What h was about was meant, up to then. */
void brake_meant(struct brake *b, const char *path, const struct brake_held *h, int64_t until);
/* The record. */
int brake_write(struct brake *b);
/* A mailbox is compared with the other nodes'. */
void brake_compare(struct volume *v, const struct mailfs_id *dir);

#endif
