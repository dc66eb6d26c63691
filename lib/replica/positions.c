/*
 * positions.c: entries in order, which stay where they are
 *
 * Diagnostics: -EINVAL for two that are equal.
 */
#include "replica/positions.h"

#include <errno.h>
#include <stdlib.h>

struct order {
    const char *entries;
    size_t size;
    int (*compare)(const void *, const void *);
};

static int compare_positions(const void *x, const void *y, void *arg) {
    const size_t *i = x, *j = y;
    const struct order *o = arg;

    return o->compare(o->entries + *i * o->size, o->entries + *j * o->size);
}

int positions_sort(const void *entries, size_t n, size_t size,
                   int (*compare)(const void *, const void *), size_t **out) {
    struct order o = {entries, size, compare};
    size_t i, *p = calloc(n + 1, sizeof *p);

    *out = p;
    if (!p)
        return -ENOMEM;
    for (i = 0; i < n; i++)
        p[i] = i;
    if (n > 1)
        qsort_r(p, n, sizeof *p, compare_positions, &o);
    for (i = 1; i < n && compare_positions(&p[i - 1], &p[i], &o) != 0; i++)
        ;
    if (i >= n)
        return 0;
    free(p);
    *out = NULL;
    return -EINVAL;
}
