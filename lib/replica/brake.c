/*
 * brake - is too much being removed? See brake.h
 */
#include "replica/brake.h"

#include <string.h>

bool brake_trips(unsigned percent, uint64_t removed, uint64_t present) {
    if (percent == 0 || removed < BRAKE_FLOOR)
        return false;
    return removed * 100 > percent * (removed + present);
}

/* Up to the minute of `now`: what is older than the window is forgotten. */
static void window_go_on(struct brake_window *w, int64_t now) {
    int64_t minute = now / 60;

    if (minute - w->minute >= BRAKE_MINUTES)
        memset(w->n, 0, sizeof w->n);
    else
        for (int64_t m = w->minute + 1; m <= minute; m++)
            w->n[m % BRAKE_MINUTES] = 0;
    if (minute > w->minute)
        w->minute = minute;
}

void brake_window_add(struct brake_window *w, int64_t at, uint32_t n) {
    uint32_t *slot;

    window_go_on(w, at);
    slot = &w->n[w->minute % BRAKE_MINUTES];
    *slot = *slot > UINT32_MAX - n ? UINT32_MAX : *slot + n;
}

void brake_window_take(struct brake_window *w, struct brake_window *part, int64_t now) {
    window_go_on(w, now);
    window_go_on(part, now);
    for (int m = 0; m < BRAKE_MINUTES; m++)
        w->n[m] -= part->n[m] < w->n[m] ? part->n[m] : w->n[m];
}

uint64_t brake_window_sum(struct brake_window *w, int64_t now, int64_t *since) {
    uint64_t sum = 0;

    window_go_on(w, now);
    for (int64_t m = w->minute - BRAKE_MINUTES + 1; m <= w->minute; m++) {
        uint32_t n = m >= 0 ? w->n[m % BRAKE_MINUTES] : 0;
        if (sum == 0 && n > 0)
            *since = m * 60;
        sum += n;
    }
    return sum;
}

size_t brake_most_at_once(const int64_t *times, size_t n, int64_t *since) {
    size_t most = 0, first = 0;

    for (size_t i = 0; i < n; i++) {
        while (times[i] - times[first] >= BRAKE_WINDOW_S)
            first++;
        if (i + 1 - first > most) {
            most = i + 1 - first;
            *since = times[first];
        }
    }
    return most;
}

static bool is_among(const char *path, size_t len, const char *const *paths, size_t n) {
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strncmp(paths[mid], path, len);
        if (order == 0)
            order = paths[mid][len] != '\0';
        if (order == 0)
            return true;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return false;
}

size_t brake_tree_of(const char *path, const char *const *paths, size_t n,
                     brake_is_mailbox_fn *is_mailbox, void *arg) {
    for (const char *at = strchr(path, '/'); at != NULL; at = strchr(at + 1, '/')) {
        size_t len = (size_t)(at - path);
        if (is_among(path, len, paths, n) || is_mailbox(arg, path, len))
            return len;
    }
    return strlen(path);
}
