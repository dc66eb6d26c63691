#ifndef SYNCD_FRONT_PRIVATE_H
#define SYNCD_FRONT_PRIVATE_H

/* What front.c, front_recv.c and front_send.c share. Nobody else includes this. */

#include <sys/types.h>
#include <uthash.h>

#include "front.h"
#include "wire/local.pb-c.h"

struct event;

struct front_packet {
    struct front_packet *next, *prev;
    size_t len;
    uint8_t data[];
};

/* A container whose caches are stale while no mailfs is there to be told. */
struct front_stale {
    struct mailfs_id dir;
    uint64_t seq; /* of recent ones: of the last that was told, */
    uint64_t at;  /* and when that was done; 0: not yet */
    UT_hash_handle hh;
};

struct front {
    struct volume *v;
    int listen_fd, fd;
    struct event *accept, *read, *write;
    pid_t pid;
    uint16_t conn_no; /* upper bits of the machine's request numbers */
    bool hello;       /* has been said on this connection */
    bool paused, write_armed;
    uint64_t gen;
    front_gen_fn *gen_done;
    struct front_packet *queue;
    size_t queued;
    uint64_t inval_seq;
    struct front_stale *stale;
    uint64_t lost_stale;        /* how often more was stale than is remembered */
    struct front_stale *recent; /* told not long ago, and perhaps not done yet */
    /* Of the mailfs that is connected, or was: its mount, and whether that outlives it. */
    uint64_t mount;
    bool is_private;     /* the kernel checks no permissions in it */
    bool no_peer;        /* it was started without one: see front_asks_nobody() */
    bool missed;         /* not all that it said was read */
    unsigned looks;      /* for what it changed and did not tell, under way */
    bool keeps, away;    /* away: another one is waited for, as long as the holder lives */
    struct event *apart; /* a look at whether it serves on without us */
    int holder_fd;       /* its pidfd, or -1 */
    struct event *holder;
    int doubt_fd; /* its eventfd, of this connection, or -1 */
    bool doubted;
};

/* One packet from mailfs; m may be taken (then *m is NULL). 0, or -EPROTO: close. */
int front_receive(struct front *f, Mfl__ToSyncd **m, int *passed_fd);
void front_send(struct front *f, const Mfl__ToMailfs *m);
void front_flush(struct front *f);
void front_tell_stale(struct front *f);
void front_disconnect(struct front *f);
/* The same, of one that has not ended. */
void front_give_up(struct front *f);
/* Not all that it has to know of tokens has reached it: it relies on none, if the connection ends
 * before that is over. */
void front_doubt(struct front *f, bool is);
/* The mount is gone. */
void front_is_lost(struct front *f);
/* Who keeps the mount of the mailfs that has come; 0: nobody. */
void front_held_by(struct front *f, pid_t holder);
/* It has been done. */
void front_invalidated(struct front *f, const struct mailfs_id *dir, uint64_t seq);
/* What was told not long ago is to be told again. */
void front_recent_to_stale(struct front *f);
/* The machine's number of a request of this connection. */
uint64_t front_req(const struct front *f, uint64_t req);

#endif
