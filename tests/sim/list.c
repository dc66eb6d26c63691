/*
 * Lists of messages by name, and mailboxes: what stores and bases are made of.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

bool state_equal(struct state a, struct state b) {
    if (!a.is || !b.is)
        return a.is == b.is;
    return a.cur == b.cur && a.flags == b.flags && a.uid == b.uid;
}

static size_t list_place(const struct list *l, uint32_t name) {
    size_t low = 0, high = l->n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (l->e[mid].name < name)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct state list_get(const struct list *l, uint32_t name) {
    size_t i = list_place(l, name);
    return i < l->n && l->e[i].name == name ? l->e[i].s : (struct state){0};
}

void list_set(struct list *l, uint32_t name, struct state s) {
    size_t i = list_place(l, name);
    bool there = i < l->n && l->e[i].name == name;
    if (!s.is) {
        if (there)
            memmove(&l->e[i], &l->e[i + 1], (--l->n - i) * sizeof *l->e);
        return;
    }
    if (!there) {
        if (l->n == l->room) {
            l->room = l->room ? 2 * l->room : 16;
            l->e = realloc(l->e, l->room * sizeof *l->e);
            if (l->e == NULL)
                abort();
        }
        memmove(&l->e[i + 1], &l->e[i], (l->n++ - i) * sizeof *l->e);
    }
    l->e[i] = (struct entry){name, s};
}

void list_free(struct list *l) {
    free(l->e);
    memset(l, 0, sizeof *l);
}

uint64_t mix(uint64_t h, uint64_t v) {
    h = (h ^ v) * 0x100000001b3u;
    return h ^ (h >> 29);
}

uint64_t digest_entry(uint64_t h, uint32_t name, struct state s) {
    h = mix(h, name);
    h = mix(h, s.is + 2u * s.cur);
    h = mix(h, s.flags);
    return mix(h, s.uid);
}

uint64_t box_digest(const struct box *b) {
    uint64_t h = mix(mix(7, b->v), b->next);
    if (!b->valid)
        return 0;
    for (size_t i = 0; i < b->msgs.n; i++)
        h = digest_entry(h, b->msgs.e[i].name, b->msgs.e[i].s);
    return h | 1;
}

void box_copy(struct box *to, const struct box *from) {
    list_free(&to->msgs);
    *to = *from;
    to->msgs.e = calloc(from->msgs.n + 1, sizeof *to->msgs.e);
    if (to->msgs.e == NULL)
        abort();
    if (from->msgs.n > 0)
        memcpy(to->msgs.e, from->msgs.e, from->msgs.n * sizeof *to->msgs.e);
    to->msgs.room = from->msgs.n + 1;
}
