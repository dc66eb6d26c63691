/*
 * replica_room - how many mailboxes are merged at once
 *
 * Limited are the rounds that are open, and what the listings take that they hold: both nodes',
 * until it is known what is to be fetched, and again from the freeze on. While contents come, which
 * may take hours, none is held, and nobody waits for that mailbox. Differences are short lists, and
 * most of such a round is waiting for the other node and for disks; of full lists half as many are
 * held. The two kinds have limits of their own, so that what has changed since does not wait for
 * what has to be listed whole.
 *
 * The coordinator decides alone: the other node begins, and freezes, what it is told.
 */
#include "replica/replica_int.h"

void replica_room_contact(struct replica *r) {
    r->room[false].expected = 0;
    r->room[true].expected = r->config.merge_bytes / 2;
}

void replica_room_hold(struct replica *r, struct dir *d, bool holds) {
    struct round *n = &d->round;
    struct room *m = &r->room[n->full];
    if (n->holds == holds)
        return;
    n->holds = holds;
    m->holding += holds ? 1 : -1U;
    m->bytes += holds ? n->bytes : -n->bytes;
}

void replica_room_begin(struct replica *r, struct dir *d) {
    struct room *m = &r->room[d->round.full];
    m->rounds++;
    d->round.bytes = m->expected;
    replica_room_hold(r, d, true);
}

void replica_room_end(struct replica *r, struct dir *d) {
    replica_room_hold(r, d, false);
    r->room[d->round.full].rounds--;
}

/* How large the next one is nobody knows before it is listed; most are like the one before. */
void replica_room_listed(struct replica *r, struct dir *d) {
    struct round *n = &d->round;
    struct room *m = &r->room[n->full];
    if (n->own_bytes == 0 || n->peer_bytes == 0)
        return;
    m->expected = n->own_bytes + n->peer_bytes;
    replica_room_hold(r, d, false);
    n->bytes = m->expected;
    replica_room_hold(r, d, true);
}

/* One always has it, or what is larger than the limit would never be merged. */
static bool has_room(const struct replica *r, bool full, size_t bytes) {
    const struct room *m = &r->room[full];
    size_t most = r->config.merge_bytes;
    return most == 0 || m->holding == 0 || m->bytes + bytes <= most;
}

/* One whose contents are here: freeze_more() has found no room for it. */
static bool one_waits(const struct replica *r, bool full) {
    const struct dir *d;
    DL_FOREACH2(r->open, d, merge_next) {
        if (d->round.full == full && d->stage == STAGE_STAGING && d->round.staged &&
            d->round.peer_staged)
            return true;
    }
    return false;
}

/* No other is begun before a large one that waits for its freeze: it would wait for as long as
 * others come. One that somebody waits for does not wait for those under way, however many or long.
 */
bool replica_room_begins(const struct replica *r, const struct dir *d) {
    unsigned most = r->config.merge_parallel, times = d->urgent ? 2 : 1;
    unsigned kind = d->need_full ? (most + 1) / 2 : most;
    const struct room *m = &r->room[d->need_full];
    if (r->room[false].rounds + r->room[true].rounds >= times * most || m->rounds >= times * kind)
        return false;
    return d->urgent || (!one_waits(r, d->need_full) && has_room(r, d->need_full, m->expected));
}

bool replica_room_freezes(const struct replica *r, const struct dir *d) {
    return d->urgent || has_room(r, d->round.full, d->round.bytes);
}
