/*
 * log - messages for the administrator
 *
 * One write(2) per line to stderr, so that lines of several threads and processes do not mix; or
 * syslog(3), which is thread-safe and timestamps by itself.
 *
 * Diagnostics: none; a line that cannot be written is lost.
 */
#include "util/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "util/clock.h"

static const char *log_ident = "mailfs";
static bool log_stderr = true;
static enum log_level log_max = LOG_LVL_INFO;
static pthread_mutex_t log_limit_lock = PTHREAD_MUTEX_INITIALIZER;

static const struct {
    const char *name;
    int priority;
} log_levels[] = {
    [LOG_LVL_ERROR] = {"error", LOG_ERR},
    [LOG_LVL_WARN] = {"warning", LOG_WARNING},
    [LOG_LVL_INFO] = {"info", LOG_INFO},
    [LOG_LVL_DEBUG] = {"debug", LOG_DEBUG},
};

void log_open(const char *ident, bool to_stderr) {
    log_ident = ident;
    log_stderr = to_stderr;
    if (!to_stderr)
        openlog(ident, LOG_PID | LOG_NDELAY, LOG_MAIL);
}

void log_set_level(enum log_level max) {
    log_max = max;
}

static void log_make_printable(char *s) {
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (c < ' ' || c == 0x7f)
            *s = '?';
    }
}

static void log_write(enum log_level level, char *text) {
    log_make_printable(text);
    if (!log_stderr) {
        syslog(log_levels[level].priority, "%s", text);
        return;
    }
    char line[LOG_LINE_MAX + 64];
    int n = snprintf(line, sizeof line, "%s: %s: %s\n", log_ident, log_levels[level].name, text);
    if (n >= (int)sizeof line) { /* an ident of unreasonable length */
        n = (int)sizeof line - 1;
        line[n - 1] = '\n';
    }
    ssize_t r = write(STDERR_FILENO, line, (size_t)n);
    (void)r; /* there is nowhere to complain */
}

/* hidden: how many before it were not shown. */
__attribute__((format(printf, 3, 0))) static void log_format(enum log_level level, unsigned hidden,
                                                             const char *fmt, va_list ap) {
    int saved = errno;
    char text[LOG_LINE_MAX];
    vsnprintf(text, sizeof text, fmt, ap);
    if (hidden > 0) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, " (%u more like this)", hidden);
    }
    log_write(level, text);
    errno = saved;
}

void log_msg(enum log_level level, const char *fmt, ...) {
    if (level > log_max)
        return;
    va_list ap;
    va_start(ap, fmt);
    log_format(level, 0, fmt, ap);
    va_end(ap);
}

/*
 * May this line be shown? Then *hidden is how many before it were not, since the last that said so.
 */
static bool log_limit_pass(struct log_limit *limit, unsigned *hidden) {
    uint64_t now = clock_ms();
    bool pass;
    pthread_mutex_lock(&log_limit_lock);
    if (limit->shown == 0 || now - limit->since_ms >= LOG_LIMIT_MS) {
        limit->since_ms = now;
        limit->shown = 0;
    }
    pass = limit->shown < LOG_LIMIT_BURST;
    if (pass) {
        *hidden = limit->hidden;
        limit->hidden = 0;
        limit->shown++;
    } else {
        limit->hidden++;
    }
    pthread_mutex_unlock(&log_limit_lock);
    return pass;
}

void log_msg_limited(struct log_limit *limit, enum log_level level, const char *fmt, ...) {
    unsigned hidden;
    if (level > log_max || !log_limit_pass(limit, &hidden))
        return;
    va_list ap;
    va_start(ap, fmt);
    log_format(level, hidden, fmt, ap);
    va_end(ap);
}

const char *log_strerror(int err) {
    static __thread char text[128];
    return strerror_r(abs(err), text, sizeof text);
}
