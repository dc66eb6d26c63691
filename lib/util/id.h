#ifndef MAILFS_UTIL_ID_H
#define MAILFS_UTIL_ID_H

/*
 * 128-bit identifiers of containers (directories), nodes' incarnations and the like. Random, so
 * that two nodes can make them without asking each other. The all-zero one is the store's root.
 * A plain value: copy it, compare it, use it as a uthash key (HASH_FIND(hh, h, &id, sizeof id, p)).
 */

#include <stdbool.h>
#include <stdint.h>

#define MAILFS_ID_BYTES 16
#define MAILFS_ID_HEX   33 /* 32 lower-case digits and the final NUL */

struct mailfs_id {
    uint8_t b[MAILFS_ID_BYTES];
};

extern const struct mailfs_id mailfs_id_root;

/* A new random id, never the root's. 0, or -errno of getrandom(2) (in practice never). */
int mailfs_id_new(struct mailfs_id *id);

/* hex must hold MAILFS_ID_HEX bytes; returned for use in a printf argument. */
const char *mailfs_id_format(const struct mailfs_id *id, char hex[MAILFS_ID_HEX]);

/* Exactly 32 hexadecimal digits of either case. 0, or -EINVAL and *id untouched. */
int mailfs_id_parse(const char *hex, struct mailfs_id *id);

int mailfs_id_cmp(const struct mailfs_id *a, const struct mailfs_id *b); /* as memcmp(3) */
bool mailfs_id_equal(const struct mailfs_id *a, const struct mailfs_id *b);
bool mailfs_id_is_root(const struct mailfs_id *id);

#endif
