/*
 * payload - something the machine of a link carries but does not look into
 *
 * Reference counts; the last one frees the driver's data with the driver's function, then the
 * record. One thread.
 */
#include "replica/replica.h"

#include <stdlib.h>

struct replica_payload *replica_payload_new(void *data, size_t size,
                                            void (*free_data)(struct replica_payload *)) {
    struct replica_payload *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->refs = 1;
    p->size = size;
    p->free = free_data;
    p->data = data;
    return p;
}

struct replica_payload *replica_payload_ref(struct replica_payload *p) {
    if (p != NULL)
        p->refs++;
    return p;
}

void replica_payload_unref(struct replica_payload *p) {
    if (p == NULL || --p->refs > 0)
        return;
    if (p->free != NULL)
        p->free(p);
    free(p);
}
