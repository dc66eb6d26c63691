/*
 * bench_relay - a wire of a given length: TCP to another address, each byte some time later
 *
 *	bench_relay LISTEN-PORT ADDRESS PORT DELAY-MICROSECONDS
 *
 * Listens on 127.0.0.1. Each direction is delayed by so much: the round trip grows by twice that.
 * Nothing else is limited: what is read within the delay is held in memory, up to 64 MiB.
 */
#include "measure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 65536, HELD_MAX = 1024 };

struct piece {
    uint64_t due;
    size_t len;
    char data[PIECE];
};

/* One direction: a thread that reads and one that writes when it is time. */
struct way {
    int from, to;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct piece *ring[HELD_MAX];
    size_t head, n;
    int ended;
};

static uint64_t delay;
static struct sockaddr_in target;

static void *reader(void *arg) {
    struct way *w = arg;
    for (;;) {
        struct piece *p = malloc(sizeof *p);
        ssize_t n = p == NULL ? -1 : read(w->from, p->data, sizeof p->data);
        pthread_mutex_lock(&w->lock);
        while (n > 0 && w->n == HELD_MAX)
            pthread_cond_wait(&w->changed, &w->lock);
        if (n > 0) {
            p->due = clock_now() + delay;
            p->len = (size_t)n;
            w->ring[(w->head + w->n++) % HELD_MAX] = p;
        } else {
            w->ended = 1;
            free(p);
        }
        pthread_cond_broadcast(&w->changed);
        pthread_mutex_unlock(&w->lock);
        if (n <= 0)
            return NULL;
    }
}

static struct piece *next_piece(struct way *w) {
    struct piece *p = NULL;
    pthread_mutex_lock(&w->lock);
    while (w->n == 0 && !w->ended)
        pthread_cond_wait(&w->changed, &w->lock);
    if (w->n > 0) {
        p = w->ring[w->head];
        w->head = (w->head + 1) % HELD_MAX;
        w->n--;
        pthread_cond_broadcast(&w->changed);
    }
    pthread_mutex_unlock(&w->lock);
    return p;
}

static void wait_until(uint64_t t) {
    struct timespec ts = {(time_t)(t / 1000000000), (long)(t % 1000000000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
        ;
}

static void *writer(void *arg) {
    struct way *w = arg;
    struct piece *p;
    while ((p = next_piece(w)) != NULL) {
        wait_until(p->due);
        for (size_t done = 0; done < p->len;) {
            ssize_t n = send(w->to, p->data + done, p->len - done, MSG_NOSIGNAL);
            if (n <= 0)
                break;
            done += (size_t)n;
        }
        free(p);
    }
    shutdown(w->to, SHUT_WR);
    return NULL;
}

static void start(int from, int to) {
    struct way *w = calloc(1, sizeof *w);
    pthread_t t;
    if (w == NULL)
        die("memory", "of a connection");
    w->from = from;
    w->to = to;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    if (pthread_create(&t, NULL, reader, w) != 0 || pthread_create(&t, NULL, writer, w) != 0)
        die("thread", "of a connection");
}

/* A connection's memory is not given back: there is one, or a few. */
static void join(int in) {
    int one = 1, out = socket(AF_INET, SOCK_STREAM, 0);
    if (out < 0 || connect(out, (struct sockaddr *)&target, sizeof target) != 0) {
        close(in);
        close(out);
        return;
    }
    setsockopt(in, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(out, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    start(in, out);
    start(out, in);
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: bench_relay LISTEN-PORT ADDRESS PORT DELAY-MICROSECONDS\n");
        return 2;
    }
    struct sockaddr_in here = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)number(argv[1], 1)),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    target = (struct sockaddr_in){.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)number(argv[3], 1))};
    delay = number(argv[4], 0) * 1000;
    int one = 1, s = socket(AF_INET, SOCK_STREAM, 0);
    if (inet_pton(AF_INET, argv[2], &target.sin_addr) != 1)
        die("address", argv[2]);
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(s, (struct sockaddr *)&here, sizeof here) != 0 || listen(s, 16) != 0)
        die("listen on port", argv[1]);
    for (;;) {
        int in = accept(s, NULL, NULL);
        if (in < 0)
            die("accept on port", argv[1]);
        join(in);
    }
}
