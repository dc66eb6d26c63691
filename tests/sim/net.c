/*
 * The network between the two nodes, and how they meet.
 *
 * What is sent arrives in order, as on one TLS stream, but for transactions and tokens of
 * different mailboxes, which may overtake each other. A connection can fall silent, or one of its
 * directions be late for longer than anybody waits.
 */
#include "sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void *copy(const void *p, size_t size) {
    if (size == 0)
        return NULL;
    void *c = malloc(size);
    if (c == NULL)
        abort();
    memcpy(c, p, size);
    return c;
}

static bool has_lane(enum replica_msg_kind kind) {
    return kind == RMSG_TXN || kind == RMSG_TOKEN_REQ || kind == RMSG_TOKEN_GIVE;
}

/* When what is sent now arrives. Nothing overtakes within its lane, nothing a control message. */
static uint64_t arrival(unsigned node, const struct replica_msg *m) {
    uint64_t at = world.now + 1 + some_time(world.delay_net);
    uint64_t least = world.sent_control[node];
    if (least < world.ready_at[1 - node])
        least = world.ready_at[1 - node];
    if (has_lane(m->kind)) {
        uint64_t *lane = &world.sent_dir[node][box_index(&m->dir)];
        if (least < *lane)
            least = *lane;
        *lane = at < least ? least : at;
    } else {
        if (least < world.sent_last[node])
            least = world.sent_last[node];
        world.sent_control[node] = at < least ? least : at;
    }
    if (least < world.hold_until[node])
        least = world.hold_until[node];
    if (at < least)
        at = least;
    if (at > world.sent_last[node])
        world.sent_last[node] = at;
    return at;
}

void net_send(unsigned node, const struct replica_msg *m) {
    if (world.conn == 0 || !world.side_up[node] || world.silent)
        return;
    struct event *e = event_add_at(E_DELIVER, 1 - node, arrival(node, m));
    e->msg = copy(m, sizeof *m);
    e->msg->payload = replica_payload_ref(m->payload);
    e->msg->preps = copy(m->preps, m->npreps * sizeof *m->preps);
    e->msg->marks = copy(m->marks, m->nmarks * sizeof *m->marks);
}

static const char *const msg_names[RMSG_KINDS] = {
    "PING",    "PONG",   "PREPARE", "PREPARED_OK", "ABORT",       "ABORTED", "TXN",
    "TXN_ACK", "REQ",    "GIVE",    "TREE",        "TREE_MERGED", "MARKS",   "START",
    "LISTING", "STAGED", "FREEZE",  "MERGED",      "CANCEL",      "IN_SYNC"};

static void deliver(struct event *e) {
    struct node *n = &nodes[e->node];
    if (n->r == NULL || e->conn != world.conn || world.silent || !world.side_up[e->node])
        return;
    const struct replica_msg *m = e->msg;
    if (m->kind != RMSG_PING && m->kind != RMSG_PONG)
        trace("%s: got %s box %u seq %llu round %u%s%s err %d%s%s", n->name, msg_names[m->kind],
              box_index(&m->dir), (unsigned long long)m->seq, m->round, m->frozen ? " frozen" : "",
              m->full ? " full" : "", m->err, m->more ? " more" : "", m->locked ? " locked" : "");
    node_before_receive(n, m);
    int err = replica_receive(n->r, node_now(n), m);
    if (err == -EPROTO)
        fail("C9: %s refuses a %s of an honest peer (box %u)", n->name, msg_names[m->kind],
             box_index(&m->dir));
}

/* This node's syncd closes the connection, or finds it closed; the other will hear of it. */
void link_close(unsigned node) {
    if (world.conn == 0 || world.side_closed[node])
        return;
    world.side_up[node] = false;
    world.side_closed[node] = true;
    if (!world.side_closed[1 - node]) {
        if (!world.silent)
            event_add(E_LINK_NOTICE, 1 - node, 1 + some_time(world.delay_net));
        return;
    }
    world.conn = 0;
    event_add(E_LINK_TRY, 0, 20 + some_time(400));
}

static void notice(struct event *e) {
    struct node *n = &nodes[e->node];
    if (e->conn != world.conn || world.side_closed[e->node])
        return;
    trace("%s: connection ended", n->name);
    bool was = world.side_up[e->node];
    link_close(e->node);
    if (n->r != NULL && was)
        replica_disconnected(n->r, node_now(n));
}

static void try_link(void) {
    if (world.conn != 0)
        return;
    bool up = nodes[0].r != NULL && nodes[1].r != NULL;
    for (unsigned i = 0; i < NODES; i++)
        up = up && world.now >= nodes[i].paused_until;
    if (!up || world.now < world.silent_until) {
        event_add(E_LINK_TRY, 0, 50 + some_time(200));
        return;
    }
    world.silent = false;
    world.conn = ++world.conn_last;
    trace("connection %llu", (unsigned long long)world.conn);
    memset(world.sent_dir, 0, sizeof world.sent_dir);
    for (unsigned i = 0; i < NODES; i++) {
        world.side_up[i] = world.side_closed[i] = false;
        world.sent_last[i] = world.sent_control[i] = world.hold_until[i] = 0;
        uint64_t wait = 1 + some_time(world.delay_net);
        world.ready_at[i] = world.now + wait;
        event_add(E_LINK_READY, i, wait);
    }
}

static void ready(struct event *e) {
    struct node *n = &nodes[e->node];
    if (e->conn != world.conn || world.side_closed[e->node] || n->r == NULL)
        return;
    trace("%s: connected", n->name);
    world.side_up[e->node] = true;
    n->conn_at = world.now;
    folders_before_trees(n);
    replica_connected(n->r, node_now(n));
}

void link_event(struct event *e) {
    switch (e->kind) {
    case E_DELIVER:
        deliver(e);
        break;
    case E_LINK_NOTICE:
        notice(e);
        break;
    case E_LINK_TRY:
        try_link();
        break;
    default:
        ready(e);
        break;
    }
}
