#ifndef MAILFS_UTIL_ARRAY_H
#define MAILFS_UTIL_ARRAY_H

/* Arrays that grow by one element at a time; no capacity is kept beside the count. Any thread. */

#include <stddef.h>

/*
 * v has n elements of `size` bytes; what is returned has them, and room for one more. NULL: there
 * is no memory, and v is as before. An array is full at each power of two, so nothing else may have
 * made it smaller than that. It is freed with free().
 */
void *array_room(void *v, size_t n, size_t size);

#endif
