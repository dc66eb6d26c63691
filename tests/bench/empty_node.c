/* empty_node - what the kernel knows: an O_PATH descriptor for each inode, by its number */
#include "empty.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uthash.h>

struct node {
    ino_t ino;
    int fd;
    uint64_t lookups;
    UT_hash_handle hh;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct node *nodes;
static struct node root;

/* The kernel's number of a node is its address. */
static struct node *node_of(uint64_t id) {
    return id == FUSE_ROOT_ID ? &root : (struct node *)(uintptr_t)id;
}

int empty_node_root(const char *path) {
    root.fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return root.fd < 0 ? -1 : 0;
}

int empty_node_fd(uint64_t node) {
    return node_of(node)->fd;
}

struct empty_path empty_node_path(uint64_t node) {
    struct empty_path p;
    snprintf(p.text, sizeof p.text, "/proc/self/fd/%d", node_of(node)->fd);
    return p;
}

/* Takes the descriptor. NULL: no memory. */
static struct node *known_as(int fd, ino_t ino) {
    struct node *n;
    HASH_FIND(hh, nodes, &ino, sizeof ino, n);
    if (n != NULL) {
        close(fd);
        n->lookups++;
        return n;
    }
    n = calloc(1, sizeof *n);
    if (n == NULL) {
        close(fd);
        return NULL;
    }
    n->ino = ino;
    n->fd = fd;
    n->lookups = 1;
    HASH_ADD(hh, nodes, ino, sizeof n->ino, n);
    return n;
}

int empty_node_look_up(uint64_t parent, const char *name, uint64_t *node, struct stat *st) {
    int fd = openat(empty_node_fd(parent), name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fstat(fd, st) != 0) {
        int err = errno;
        close(fd);
        return -err;
    }
    pthread_mutex_lock(&lock);
    struct node *n = known_as(fd, st->st_ino);
    pthread_mutex_unlock(&lock);
    *node = (uint64_t)(uintptr_t)n;
    return n == NULL ? -ENOMEM : 0;
}

void empty_node_forget(uint64_t node, uint64_t n) {
    struct node *at = node_of(node);
    if (at == &root)
        return;
    pthread_mutex_lock(&lock);
    at->lookups -= n < at->lookups ? n : at->lookups;
    if (at->lookups == 0) {
        HASH_DEL(nodes, at);
        close(at->fd);
        free(at);
    }
    pthread_mutex_unlock(&lock);
}
