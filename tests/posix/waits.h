/*
 * waits.h: what mailfs tells syncd, and what waits for it, with a syncd that the test plays.
 *
 * Each program test_waits_* has cases of one subject. A case has a store, a mailfs and a process of
 * its own, and begins with a connected mailfs. What may wait for mailfs is done by further
 * processes, while the case plays syncd (fake_syncd.h).
 */
#ifndef TESTS_POSIX_WAITS_H
#define TESTS_POSIX_WAITS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fake_syncd.h"

enum { A_WHILE_MS = 300, AT_ONCE_MS = 2000, PEER_TIMEOUT_S = 2 };

struct wait_case {
    const char *name;
    void (*run)(void);
    const char *die;  /* where the first worker dies, or NULL */
    const char *stop; /* where the next one stops, or NULL */
};

/* PROGRAM MAILFS [CASE...]: these cases, up to a nameless one. One line a case; 1 if any failed. */
int waits_main(int argc, char **argv, const struct wait_case *cases);

extern pid_t daemon_pid; /* of mailfs */

/* Paths: of the case's directory, which has conf, state, store and mount; two below the mount can
 * be used at once. */
const char *in_top(const char *name);
const char *in_mount(const char *name);
const char *in_store(const char *name);

long now_ms(void);
bool exists(const char *path);
void put_file(const char *path, const char *text);

/* Something that may wait, done by a process of its own. */
struct doing {
    pid_t pid;
    int end; /* readable when it is done */
};

struct doing doing_start(int (*fn)(const char *), const char *arg);
bool doing_ends_within(const struct doing *d, int ms);
int doing_finish(struct doing *d); /* its exit status: an errno */
void doing_kill(struct doing *d);
void close_saying_pipe(void); /* in the process: it is done, and goes on living */

/* What such a process does; 0 or an errno. */
int do_lock(const char *box);
int do_lock_and_stay(const char *box); /* takes L and goes on living, so that it stays */
int do_unlock(const char *box);
int do_fsync(const char *path);
int do_touch(const char *path);

/* The next packet is an act of this kind. */
#define expect_act(kind) expect_act_at(__FILE__, __LINE__, kind)
const Mfl__Act *expect_act_at(const char *file, int line, Mfl__Act__WhatCase kind);
void nothing_comes(void);

/* A mailbox and its id, kept in a numbered slot. */
extern uint8_t dir_bytes[2][16];
ProtobufCBinaryData make_box(const char *name, int slot);

/* A message of the mailbox, prepared and delivered by link, as Postfix does. */
void deliver(const char *box, const char *name);

/* L of the mailbox is taken by a process that lives. */
struct doing hold(const char *box);

#endif
