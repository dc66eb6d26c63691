#ifndef SYNCD_TIMER_H
#define SYNCD_TIMER_H

/* Timers of libevent's, which the driver cannot do without: see mem.h. */

#include <event2/event.h>

/* Not yet set; never NULL. */
struct event *timer_new(struct event_base *evb, event_callback_fn fn, void *arg);

#endif
