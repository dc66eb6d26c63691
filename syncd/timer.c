/*
 * timer - timers of the driver's
 *
 * Diagnostics: fatal: no memory for one.
 */
#include "timer.h"

#include "mem.h"

struct event *timer_new(struct event_base *evb, event_callback_fn fn, void *arg) {
    struct event *timer = evtimer_new(evb, fn, arg);
    if (timer == NULL)
        mem_out("a timer");
    return timer;
}
