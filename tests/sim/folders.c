/*
 * Folders: directories in the mailboxes, of which no listing tells.
 *
 * Each is made and removed by one node alone, so that it is known how it has to be in the end. How
 * trees are merged that both have changed is tree.c's; here it is as its own node has it. A folder
 * is on the disk at once.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

enum { FOLDERS = 4 }; /* of each node, in each mailbox */

static uint32_t own(const struct node *n) {
    return ((UINT32_C(1) << FOLDERS) - 1) << (n->index * FOLDERS);
}

/* A client of its node makes one, or removes it: what is told of that. */
uint32_t folders_change(struct node *n, unsigned box) {
    uint32_t folder = UINT32_C(1) << (n->index * FOLDERS + rnd(FOLDERS));
    node_mark(n, box);
    n->folders[box] ^= folder;
    trace("%s: box %u: folder %x %s", n->name, box, folder,
          n->folders[box] & folder ? "made" : "removed");
    return folder;
}

void folders_apply(struct node *n, struct journaled *j) {
    const struct txn *t = j->payload->data;
    if (t->folder == 0 || j->folder_done)
        return;
    if (t->folder & own(n))
        fail("C9: %s: box %u: told of its own folder", n->name, t->box);
    j->folder_done = true;
    if (t->removed)
        n->folders[t->box] &= ~t->folder;
    else
        n->folders[t->box] |= t->folder;
    trace("   apply folder %x %s", t->folder, t->removed ? "removed" : "made");
}

/* ---- trees ---- */

/* A contact begins: what only makes one needs no L, and is done before they are listed. */
void folders_before_trees(struct node *n) {
    struct journaled *j;
    DL_FOREACH(n->journal, j) {
        const struct txn *t = j->payload->data;
        if (t->folder == 0 || j->folder_done || j->life != n->life)
            continue;
        if (t->removed)
            break;
        folders_apply(n, j);
    }
}

static void tree_free(struct replica_payload *p) {
    free(p->data);
}

struct replica_payload *folders_tree(const struct node *n) {
    uint32_t *tree = malloc(sizeof n->folders);
    if (tree == NULL)
        abort();
    memcpy(tree, n->folders, sizeof n->folders);
    return replica_payload_new(tree, sizeof n->folders, tree_free);
}

void folders_merge(struct node *n, const struct event *e) {
    const uint32_t *tree = e->payload->data;
    for (unsigned b = 0; b < BOXES; b++)
        n->folders[b] = (n->folders[b] & own(n)) | (tree[b] & ~own(n));
}

void folders_check(void) {
    for (unsigned b = 0; b < BOXES; b++)
        if (nodes[0].folders[b] != nodes[1].folders[b])
            fail("C6: box %u: folders %x, and %x", b, nodes[0].folders[b], nodes[1].folders[b]);
}
