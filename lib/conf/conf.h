#ifndef MAILFS_CONF_CONF_H
#define MAILFS_CONF_CONF_H

/*
 * The configuration file (mailfs.conf(5)), read by libconfuse and checked whole: what conf_load()
 * returns needs no further check. Read-only afterwards, so any thread may look at it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONF_DEFAULT_PATH      "/etc/mailfs/mailfs.conf"
#define CONF_NAME_MAX          64 /* node, volume and peer names: letters, digits, - _ . */
#define CONF_VOLUMES_MAX       64
#define CONF_LINKS_MAX         8
#define CONF_FINGERPRINT_BYTES 32
#define CONF_ERR_MAX           512

enum conf_commit {
    CONF_COMMIT_DISK,   /* the peer's disk has it before we answer */
    CONF_COMMIT_MEMORY, /* the peer has it */
    CONF_COMMIT_ASYNC,  /* it is on its way */
};

/* Are bodies compressed on their way to a peer? */
enum conf_compress {
    CONF_COMPRESS_AUTO, /* over a long wire */
    CONF_COMPRESS_ON,
    CONF_COMPRESS_OFF, /* nor taken from it */
};

struct conf_addr {
    char host[256]; /* name or numeric address, without brackets; "*": any (only to listen) */
    uint16_t port;
};

struct conf_peer {
    char *name;
    struct conf_addr address;
    uint8_t fingerprint[CONF_FINGERPRINT_BYTES]; /* SHA-256 of the peer's certificate (DER) */
    unsigned timeout_ms;                         /* 1000 .. 300000 */
    uint64_t bandwidth; /* bytes a second of what it fetches; 0: no limit */
    enum conf_compress compress;
    enum conf_commit commit; /* of a standby: DISK: what is acknowledged is there, too, or ASYNC */
    bool source;             /* block `source`: this node was set up to follow that one */
};

/* Who checks permissions in the mount. */
enum conf_access {
    CONF_ACCESS_CHECKED, /* the kernel, at each step of each path */
    CONF_ACCESS_PRIVATE, /* nobody: only one user gets to the mount, and root (io/private.h) */
};

/* Who may write to the mount, unless a promotion has decided otherwise (STATE/role). */
enum conf_mode {
    CONF_MODE_ACTIVE,
    CONF_MODE_STANDBY,
    CONF_MODE_WATCH, /* there is no mount: whoever writes to the store is watched */
};

struct conf_volume {
    char *name;
    char *store; /* absolute, no trailing slash, no "." or ".." in it; the same for mount, state */
    char *mount; /* "" when it is watched */
    char *state;
    bool has_listen; /* false only without a peer */
    struct conf_addr listen;
    enum conf_commit commit;
    enum conf_access access; /* never PRIVATE when it is watched */
    struct conf_peer *peer;  /* NULL: none, the volume serves alone (state no-peer) */
    unsigned watches;        /* watched: at most so many inotify watches; 0: as many as there are */
    enum conf_mode mode;     /* standby: never with a peer, always with a link */
    struct conf_peer *links; /* blocks `standby` and `source`: the other ends of one-way links */
    size_t n_links;          /* at most CONF_LINKS_MAX */
    uint64_t keep_s;         /* expunged messages are kept that long, seconds; 0: not at all */
    unsigned brake;          /* per cent of the messages that may go within an hour; 0: all */
    uint64_t verify_s;       /* all contents are verified that often; 0: not by itself */
};

struct conf {
    char *path;
    char *node;
    struct conf_volume *volumes;
    size_t n_volumes; /* >= 1 */
};

/*
 * 0 and *conf to be freed by conf_free(); or -errno (-ENOENT and the like of the file, -EINVAL for
 * its content) and err = "FILE:LINE: what is wrong, and what to do". path NULL: the default.
 */
int conf_load(const char *path, struct conf **conf, char err[CONF_ERR_MAX]);

/* The same from memory; name stands for the file in messages. */
int conf_parse(const char *name, const char *text, struct conf **conf, char err[CONF_ERR_MAX]);

void conf_free(struct conf *conf); /* NULL is allowed */

/* name NULL: the only volume there is. NULL, and err, when it is unknown or must be named. */
const struct conf_volume *conf_volume_find(const struct conf *conf, const char *name,
                                           char err[CONF_ERR_MAX]);

const char *conf_commit_name(enum conf_commit commit);
const char *conf_mode_name(enum conf_mode mode);
const char *conf_access_name(enum conf_access access);

/* "SHA256:" and 43 characters of base64, as `mailfsctl fingerprint` prints it. 0 or -EINVAL. */
int conf_fingerprint_parse(const char *s, uint8_t fp[CONF_FINGERPRINT_BYTES]);

/* "7d", "12h", "30m", "90s", "0"; at most 1000 days. 0 or -EINVAL. */
int conf_duration_parse(const char *s, uint64_t *seconds);

/* "0", or "1%" to "99%". 0 or -EINVAL. */
int conf_percent_parse(const char *s, unsigned *percent);

/* "host:port", "[v6]:port", "*:port". 0, or -EINVAL and *why = what is wrong (static text). */
int conf_addr_parse(const char *s, struct conf_addr *addr, const char **why);

/* What a volume cannot do without, but mailfsctl init can: the other node's fingerprint is not
 * known yet. NULL: nothing. */
const char *conf_volume_lacks(const struct conf_volume *v);

/*
 * Is inner the same as outer, or below it? Both as conf_load() leaves paths: no "//", "." or "..".
 */
bool conf_path_within(const char *outer, const char *inner);

#endif
