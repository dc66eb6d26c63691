/*
 * human - figures as a person says them
 *
 * Diagnostics: none.
 */
#include "human.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MINUTE 60u
#define HOUR   (60u * MINUTE)
#define DAY    (24u * HOUR)

char *human_duration(double seconds, char buf[HUMAN_MAX]) {
    uint64_t s;

    if (!(seconds > 0))
        seconds = 0;
    s = seconds < 1e15 ? (uint64_t)seconds : (uint64_t)1e15;
    if (seconds < 0.05)
        snprintf(buf, HUMAN_MAX, "0 s");
    else if (seconds < 9.95)
        snprintf(buf, HUMAN_MAX, "%.1f s", seconds);
    else if (s < 2 * MINUTE)
        snprintf(buf, HUMAN_MAX, "%" PRIu64 " s", s);
    else if (s < HOUR)
        snprintf(buf, HUMAN_MAX, "%" PRIu64 " min", s / MINUTE);
    else if (s < DAY)
        snprintf(buf, HUMAN_MAX, "%" PRIu64 " h %" PRIu64 " min", s / HOUR, s % HOUR / MINUTE);
    else
        snprintf(buf, HUMAN_MAX, "%" PRIu64 " d %" PRIu64 " h", s / DAY, s % DAY / HOUR);
    return buf;
}

char *human_bytes(uint64_t bytes, char buf[HUMAN_MAX]) {
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes / 1024;
    size_t unit = 0;

    if (bytes < 1024) {
        snprintf(buf, HUMAN_MAX, "%" PRIu64 " byte%s", bytes, bytes == 1 ? "" : "s");
        return buf;
    }
    for (; value >= 1023.95 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
        value /= 1024;
    snprintf(buf, HUMAN_MAX, "%.1f %s", value, units[unit]);
    return buf;
}

char *human_count(uint64_t n, const char *one, const char *many, char buf[HUMAN_MAX]) {
    char digits[24], grouped[32];
    int len = snprintf(digits, sizeof(digits), "%" PRIu64, n);
    size_t out = 0;

    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            grouped[out++] = ',';
        grouped[out++] = digits[i];
    }
    grouped[out] = '\0';
    snprintf(buf, HUMAN_MAX, "%s %s", grouped, n == 1 ? one : many);
    return buf;
}

char *human_text(const char *s, char *buf, size_t size) {
    size_t n = 0;

    for (; s && *s && n + 1 < size; s++)
        buf[n++] = ((unsigned char)*s >= ' ' && *s != 127) ? *s : '?';
    buf[n] = '\0';
    return buf;
}
