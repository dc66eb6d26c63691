#ifndef SYNCD_ONEWAY_H
#define SYNCD_ONEWAY_H

/*
 * One-way links: from the volume that is written to, to its standbys.
 *
 * Each is a struct volume of its own (v->main is the one it belongs to), with a machine, a state
 * and a connection of its own, on the same store and with the same mailfs and job lanes. No tokens
 * and no transactions travel on it: what changes in the store makes its container `changed`, and
 * the two ends merge it, as they do after a partition. The standby's side brings nothing, so the
 * merge changes nothing here; when it does (an old source that comes back with mail of its own), it
 * is made under L, which is taken from the volume's own machine.
 *
 * What a link has not got is remembered durably by the volume's marks, and, before those are
 * cleared, by the link's own. Loop thread, but for oneway_mark().
 */

#include <stdbool.h>
#include <stddef.h>

#include "util/id.h"

struct state;
struct volume;
struct oneway;

struct oneway *oneway_new(struct volume *link);
void oneway_free(struct oneway *o); /* NULL is allowed */

/* Something in dir has changed through v, a volume or one of its links: all (other) links bring it
 * to their ends soon. tree: a directory in it was made, moved or removed. */
void oneway_changed(struct volume *v, const struct mailfs_id *dir, bool tree);

/* Somebody waits for what has changed. */
void oneway_hurry(struct volume *link);
/* The directories differ, and a new connection will compare them: the other end is of a version
 * that does not do it otherwise. */
bool oneway_reconnects(const struct volume *link);
/* Both ends have the same directories, as of the comparison that has ended: another one may be due.
 * The connection has ended. */
void oneway_trees_compared(struct volume *link);
void oneway_disconnected(struct volume *link);

/* Before v changes dir in the store without a mark of mailfs's. Durable. Any thread. 0 or -errno.
 */
int oneway_mark(struct volume *v, const struct mailfs_id *dir);

/* The marks of these containers are about to be cleared: links that lack something keep them. Any
 * thread; dirs is sorted. */
int oneway_keep_marks(struct volume *v, struct mailfs_id *dirs, size_t n);

/* At a contact of a link: the marks there are. Any thread. */
int oneway_take_marks(struct volume *link);

/* Nothing of dir is waiting for this link to take it. */
bool oneway_is_clean(const struct volume *link, const struct mailfs_id *dir);
void oneway_caught_up(struct volume *link);

/* dir has been merged, and some of what differs here was listed as borrowed. */
void oneway_left(struct volume *link, const struct mailfs_id *dir, bool some);
/* The base of no link says that it is there: where it was left, it is looked at once more. */
void oneway_left_by_none(struct volume *link, const struct mailfs_id *dir);
/* Its mark may not be cleared: something waits for the link, or is borrowed. */
bool oneway_keeps_mark(const struct volume *link, const struct mailfs_id *dir);

/*
 * This node follows the other end of link, and these are the states of the links with other active
 * nodes: what their bases say is known there, and not this node's to bring (scan.h). At most
 * CONF_LINKS_MAX; 0: whatever differs here is its own, or the other end does not know the word.
 */
size_t oneway_lenders(const struct volume *link, struct state **out);

/*
 * This node has followed the other end of link since that one had all that this one alone had. What
 * the base has and the store has not, and is not borrowed, has been lost here, and was not removed.
 * Of the trees: neither by any other link.
 */
bool oneway_only_follows(const struct volume *link);
bool oneway_trees_only_follow(const struct volume *link);

#endif
