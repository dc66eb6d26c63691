#ifndef MAILFS_EVENT_INT_H
#define MAILFS_EVENT_INT_H

/* What event.c and event_dir.c share. */

#include "change.h"
#include "wire/local.pb-c.h"

Mfl__Sub event_sub(enum maildir_dir kind);
void event_meta(Mfl__Meta *meta, const struct stat *st);

/* protobuf-c's strings are not const; nothing writes to them. */
char *event_text(const char *s);

/* Sends it as an act in w's container by that thread. */
void event_tell(Mfl__Act *act, const struct where *w, pid_t pid);

/* Pipes, sockets and devices stay where they are made. */
bool event_travels(mode_t mode);

/* Is it the name of the new, cur or tmp of a container? */
bool event_is_part(const struct spot *at);

#endif
