/*
 * base_age - the order of bases, see base_age.h
 */
#include "replica/base_age.h"

#include "replica/mutant.h"

static uint64_t count(uint64_t age) {
    return age & ~BASE_AGE_LACKS;
}

bool base_age_lacks(uint64_t age) {
    return (age & BASE_AGE_LACKS) != 0;
}

uint64_t base_age_higher(uint64_t a, uint64_t b) {
    return count(a) > count(b) ? count(a) : count(b);
}

uint64_t base_age_merged(uint64_t a, uint64_t b) {
    return base_age_higher(a, b) + 1;
}

/* So many transactions between two merges of one mailbox would be needed to reach the next one. */
enum { TXNS_BITS = 24 };

uint64_t base_age_of_merge(uint64_t a, uint64_t b) {
    return ((base_age_higher(a, b) >> TXNS_BITS) + 1) << TXNS_BITS;
}

int base_age_cmp(uint64_t a, uint64_t b) {
    bool careful = !MUTANT(MUTANT_LACKING_BASE);
    if (a == 0 || b == 0 || (base_age_lacks(a) && base_age_lacks(b) && careful))
        return 0;
    if (!careful)
        return count(a) > count(b) ? 1 : count(a) < count(b) ? -1 : 0;
    if (base_age_lacks(a) != base_age_lacks(b))
        return base_age_lacks(b) ? 1 : -1;
    return a > b ? 1 : a < b ? -1 : 0;
}
