/*
 * array - arrays that grow
 *
 * Diagnostics: none.
 */
#include "util/array.h"

#include <stdlib.h>

void *array_room(void *v, size_t n, size_t size) {
    return (n & (n - 1)) != 0 ? v : reallocarray(v, n == 0 ? 1 : 2 * n, size);
}
