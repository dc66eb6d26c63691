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
