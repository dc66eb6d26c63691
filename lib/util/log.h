#ifndef MAILFS_UTIL_LOG_H
#define MAILFS_UTIL_LOG_H

/*
 * Messages for the administrator: one line each, to stderr or to syslog (facility mail).
 *
 * Every function may be called from any thread. None allocates, none fails visibly; a line is cut
 * at LOG_LINE_MAX bytes. Bytes that are not printable ASCII or UTF-8 continuation (a file name may
 * hold a newline) are shown as '?', so that a peer or a mail user cannot forge a line.
 *
 * "Logged once, where it was found, with the path": a caller that passes an error on does not log.
 */

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LVL_ERROR, LOG_LVL_WARN, LOG_LVL_INFO, LOG_LVL_DEBUG };

#define LOG_LINE_MAX 1024

/* Before log_open() everything from LOG_LVL_INFO up goes to stderr. ident is kept, not copied. */
void log_open(const char *ident, bool to_stderr);
void log_set_level(enum log_level max);

void log_msg(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_msg(LOG_LVL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_msg(LOG_LVL_WARN, __VA_ARGS__)
#define log_info(...)  log_msg(LOG_LVL_INFO, __VA_ARGS__)
#define log_debug(...) log_msg(LOG_LVL_DEBUG, __VA_ARGS__)

/*
 * For what can happen ten thousand times a second. One static struct per place; at most
 * LOG_LIMIT_BURST lines per LOG_LIMIT_MS from it, then the next line that is let through says how
 * many were not.
 */
#define LOG_LIMIT_BURST 5
#define LOG_LIMIT_MS    10000

struct log_limit {
    uint64_t since_ms;
    unsigned shown;
    unsigned hidden;
};

void log_msg_limited(struct log_limit *limit, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define log_warn_limited(...)                                                                      \
    do {                                                                                           \
        static struct log_limit log_limit_here;                                                    \
        log_msg_limited(&log_limit_here, LOG_LVL_WARN, __VA_ARGS__);                               \
    } while (0)
#define log_error_limited(...)                                                                     \
    do {                                                                                           \
        static struct log_limit log_limit_here;                                                    \
        log_msg_limited(&log_limit_here, LOG_LVL_ERROR, __VA_ARGS__);                              \
    } while (0)

/* strerror() of a negative (or positive) errno, in a buffer of the calling thread. */
const char *log_strerror(int err);

#endif
