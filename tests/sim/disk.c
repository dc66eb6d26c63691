/*
 * What of a node's store is on its disk.
 *
 * Every change goes to the page cache (struct node's store) and is noted as a write that is not
 * synced. A message's name is one object, the uidlist of a mailbox another: what is synced of an
 * object is always a beginning of its writes. A power cut keeps what was synced, and of the rest
 * either a beginning of all of it (a file system that orders its journal) or of each object (one
 * that does not). Contents need no place here: their fsync comes before their name. Nor has a
 * uidlist that takes the place of another a beginning: it is synced before it is renamed.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

static void log_write(struct disk *d, struct write w) {
    if (d->n == d->room) {
        d->room = d->room ? 2 * d->room : 64;
        d->w = realloc(d->w, d->room * sizeof *d->w);
        if (d->w == NULL)
            abort();
    }
    d->w[d->n++] = w;
}

static bool same_file(struct state x, struct state y) {
    x.uid = y.uid = 0;
    return state_equal(x, y);
}

static int by_uid(const void *x, const void *y) {
    const struct write *a = x, *b = y;
    return a->uid < b->uid ? -1 : a->uid > b->uid;
}

/* Records are appended in the order of their UIDs; the header says the same as the last one. What
 * cannot be appended, as it has another V or a UID from below, is a list in the place of this one.
 */
static void order_records(struct disk *d, size_t first, const struct box *from,
                          const struct box *to) {
    if (d->n == first)
        return;
    qsort(d->w + first, d->n - first, sizeof *d->w, by_uid);
    bool anew = from->v != to->v || d->w[first].uid < from->next;
    for (size_t i = first; i + 1 < d->n; i++) {
        d->w[i].next = d->w[i].uid + 1;
        d->w[i + 1].joined = anew;
    }
    d->w[d->n - 1].next = to->next;
}

/* As the daemons do it: files that come or change, then the list, then files that go. */
static void note_files(struct disk *d, unsigned box, const struct box *from, const struct box *to,
                       bool going) {
    size_t i = 0, j = 0;
    while (i < from->msgs.n || j < to->msgs.n) {
        bool in_f =
            i < from->msgs.n && (j == to->msgs.n || from->msgs.e[i].name <= to->msgs.e[j].name);
        bool in_t =
            j < to->msgs.n && (i == from->msgs.n || to->msgs.e[j].name <= from->msgs.e[i].name);
        uint32_t name = in_f ? from->msgs.e[i].name : to->msgs.e[j].name;
        struct state a = in_f ? from->msgs.e[i].s : (struct state){0};
        struct state b = in_t ? to->msgs.e[j].s : (struct state){0};
        if (!same_file(a, b) && b.is != going)
            log_write(d, (struct write){.box = box, .name = name, .s = b});
        i += in_f;
        j += in_t;
    }
}

static void note_list(struct disk *d, unsigned box, const struct box *from, const struct box *to) {
    size_t first = d->n;
    bool anew = from->v != to->v;
    for (size_t j = 0; j < to->msgs.n; j++) {
        const struct entry *e = &to->msgs.e[j];
        if (e->s.uid != 0 && (anew || list_get(&from->msgs, e->name).uid != e->s.uid))
            log_write(d,
                      (struct write){
                          .box = box, .list = true, .name = e->name, .uid = e->s.uid, .v = to->v});
    }
    if (d->n == first && (from->v != to->v || from->next != to->next))
        log_write(d, (struct write){.box = box, .list = true, .v = to->v});
    order_records(d, first, from, to);
}

static void note_box(struct node *n, unsigned b) {
    struct disk *d = &n->disk;
    const struct box *from = &d->noted[b], *to = &n->store[b];
    note_files(d, b, from, to, false);
    note_list(d, b, from, to);
    note_files(d, b, from, to, true);
    box_copy(&d->noted[b], to);
    d->changed[b] = false;
}

void disk_note(struct node *n) {
    for (unsigned b = 0; b < BOXES; b++)
        if (n->disk.changed[b])
            note_box(n, b);
}

/* ---- what reaches the disk ---- */

static void write_out(struct disk *d, const struct write *w) {
    struct box *b = &d->box[w->box];
    if (w->list) {
        if (w->v != b->v) /* another file: no record of the old one is in it */
            list_free(&d->records[w->box]);
        if (w->name != 0)
            list_set(&d->records[w->box], w->name, (struct state){.is = true, .uid = w->uid});
        b->v = w->v;
        b->next = w->next;
    } else {
        list_set(&b->msgs, w->name, w->s);
        if (!w->s.is) /* what gets this name anew has no UID by that */
            list_set(&d->records[w->box], w->name, (struct state){0});
    }
}

/* Names and records are read together again. */
static void read_back(struct disk *d, unsigned b) {
    for (size_t i = 0; i < d->box[b].msgs.n; i++) {
        struct entry *e = &d->box[b].msgs.e[i];
        e->s.uid = list_get(&d->records[b], e->name).uid;
    }
}

/* Those of one mailbox, and of one kind, in their order; the others stay. */
static void sync_some(struct node *n, unsigned box, bool list) {
    struct disk *d = &n->disk;
    size_t k = 0;
    disk_note(n);
    for (size_t i = 0; i < d->n; i++) {
        if (d->w[i].box == box && d->w[i].list == list)
            write_out(d, &d->w[i]);
        else
            d->w[k++] = d->w[i];
    }
    d->n = k;
}

void disk_sync_names(struct node *n, unsigned box) {
    sync_some(n, box, false);
}

void disk_sync_list(struct node *n, unsigned box) {
    sync_some(n, box, true);
}

void disk_sync_all(struct node *n) {
    struct disk *d = &n->disk;
    disk_note(n);
    for (size_t i = 0; i < d->n; i++)
        write_out(d, &d->w[i]);
    d->n = 0;
    check_synced(n);
}

/* ---- the power is cut ---- */

static void cut_ordered(struct disk *d) {
    size_t kept = chance(30) ? 0 : (size_t)rnd(d->n + 1);
    while (kept < d->n && d->w[kept].joined)
        kept++;
    for (size_t i = 0; i < kept; i++)
        write_out(d, &d->w[i]);
}

/* From its first write that was lost, all of an object are. */
static void cut_unordered(struct disk *d) {
    static bool lost[BOXES][NAMES_MAX];
    bool list_lost[BOXES] = {false};
    unsigned share = (unsigned)rnd(101);
    for (size_t i = 0; i < d->n; i++) {
        const struct write *w = &d->w[i];
        bool *gone = w->list ? &list_lost[w->box] : &lost[w->box][w->name];
        *gone = *gone || (!w->joined && !chance(share));
        if (!*gone)
            write_out(d, w);
    }
    for (size_t i = 0; i < d->n; i++)
        lost[d->w[i].box][d->w[i].name] = false;
}

/* A message that has lost its number will get another, and be taken for another. */
static void lost_numbers(const struct node *n, unsigned b) {
    const struct list *now = &n->disk.box[b].msgs;
    for (size_t i = 0; i < now->n; i++)
        if (now->e[i].s.uid != list_get(&n->store[b].msgs, now->e[i].name).uid)
            check_number_lost(b, now->e[i].name);
}

void disk_power_cut(struct node *n) {
    struct disk *d = &n->disk;
    disk_note(n);
    trace("%s: POWER CUT, %zu writes not synced", n->name, d->n);
    /* (scripted: nothing that was not synced) */
    if (!world.scripted && chance(50))
        cut_ordered(d);
    else if (!world.scripted)
        cut_unordered(d);
    d->n = 0;
    for (unsigned b = 0; b < BOXES; b++) {
        read_back(d, b);
        lost_numbers(n, b);
        box_copy(&n->store[b], &d->box[b]);
        box_copy(&d->noted[b], &d->box[b]);
        n->dirty[b] = true;
        d->changed[b] = false;
    }
}

void disk_free(struct node *n) {
    for (unsigned b = 0; b < BOXES; b++) {
        list_free(&n->disk.box[b].msgs);
        list_free(&n->disk.noted[b].msgs);
        list_free(&n->disk.records[b]);
    }
    free(n->disk.w);
    memset(&n->disk, 0, sizeof n->disk);
}
