/*
 * fake_syncd.h: the other end of mailfs' socket, for tests of what mailfs tells and waits for.
 *
 * It answers nothing by itself. The test takes packets one by one, in the order they came, and
 * sends what it likes.
 */
#ifndef TESTS_POSIX_FAKE_SYNCD_H
#define TESTS_POSIX_FAKE_SYNCD_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/local.pb-c.h"

/* Listens at STATE/syncd.sock. */
void fake_listen(const char *state_dir);
/* Stops listening, and ends the connection if there is one. */
void fake_stop(void);

/* Waits for mailfs, and says nothing. */
void fake_accept(void);

/* Waits for mailfs, reads its Hello and welcomes it. The Hello is valid until the next call. */
const Mfl__Hello *fake_welcome(void);

/* The next packet, within `ms`; NULL: none came. Valid until the next call. *fd: the descriptor
 * that came along. */
const Mfl__ToSyncd *fake_next(int ms, int *fd);

/* The same, but it must come and be of this kind, else the test fails. */
#define fake_expect(kind) fake_expect_at(__FILE__, __LINE__, kind)
const Mfl__ToSyncd *fake_expect_at(const char *file, int line, Mfl__ToSyncd__MCase kind);

void fake_grant(uint64_t req, int err, uint32_t raise, const char *holder);
void fake_release(uint64_t req, int err);
void fake_token_here(ProtobufCBinaryData dir);
void fake_new_gen(uint64_t gen);
void fake_invalidate(uint64_t seq, ProtobufCBinaryData dir, Mfl__Sub sub, const char *old_name,
                     const char *name, bool poke);

/* The directory `id` has lost a name in dir, or got one; NULL: not so. */
void fake_moved(uint64_t seq, ProtobufCBinaryData dir, ProtobufCBinaryData id, const char *old_name,
                const char *name);

/* Ends the whole program, saying where and why. */
#define CHECK(cond) ((cond) ? (void)0 : fake_fail(__FILE__, __LINE__, #cond))
void fake_fail(const char *file, int line, const char *what) __attribute__((noreturn));

#endif
