/* What bench_empty's parts share: nodes and the answers to requests. */
#ifndef BENCH_EMPTY_H
#define BENCH_EMPTY_H

#include <linux/fuse.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

enum { EMPTY_WRITE_MAX = 1 << 17, EMPTY_BUFFER = EMPTY_WRITE_MAX + 4096 };

/* Where an O_PATH descriptor of the node can be opened from, or changed by a path: /proc/self/fd/N.
 */
struct empty_path {
    char text[32];
};

/* --- nodes: any thread --- */

/* The root; 0, or -1 with errno. */
int empty_node_root(const char *path);
int empty_node_fd(uint64_t node);
struct empty_path empty_node_path(uint64_t node);
/* The name's node, with one look-up more, and what it is; 0 or -errno. */
int empty_node_look_up(uint64_t parent, const char *name, uint64_t *node, struct stat *st);
void empty_node_forget(uint64_t node, uint64_t n);

/* --- a second disk (empty_second.c) --- */

/* Starts the process that writes below path; n threads will each use one of the descriptors. Exits
 * on errors. */
int *empty_second_start(const char *path, int n);
/* The calling thread has this one of them. */
void empty_second_use(int fd);
/* fsync(2), and the same content on the second disk, if there is one; 0 or -errno. */
long empty_sync(int fd);

/* --- requests --- */

/* One request: what came, and room for the body of the answer. */
struct empty_request {
    const struct fuse_in_header *head;
    const void *body;
    char *out; /* EMPTY_WRITE_MAX */
};

/* Bytes of the answer's body, or -errno; EMPTY_SILENT: none is given. */
#define EMPTY_SILENT (-100000L)
long empty_answer(const struct empty_request *r);

#endif
