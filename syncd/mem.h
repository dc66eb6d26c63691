#ifndef SYNCD_MEM_H
#define SYNCD_MEM_H

/*
 * Memory of the driver's own small records. Without it the daemon ends: its state on disk is whole
 * at every moment, and the service manager starts it again. What a peer or a mail user can make
 * large is bounded elsewhere and does not come from here.
 */

#include <stddef.h>

void *mem_new(size_t size);              /* zeroed, never NULL */
void *mem_copy(const void *p, size_t n); /* n bytes and a NUL, never NULL */
char *mem_strdup(const char *s);         /* NULL gives "" */
void mem_sparingly(void); /* before there are threads: how malloc(3) deals with large merges */
void mem_out(const char *what) __attribute__((noreturn)); /* says so, and ends the daemon */

#endif
