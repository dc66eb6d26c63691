#ifndef MAILFS_TESTS_IO_FAULT_H
#define MAILFS_TESTS_IO_FAULT_H

/*
 * A table of lib/io's operations (io/io.h) that does the real thing and counts, until step `at`
 * (from 0), where it fails, or where the machine dies. The usual loop runs an operation with at =
 * 0, 1, 2, ... until it gets through, and once more with the power cut right after it, when it has
 * promised that all is durable:
 *
 *     do {
 *         prepare();
 *         fault_start(grave, FAULT_CUT, at++, 0);
 *         r = operation();
 *         io_barrier("the end");          -- the step at which to cut when r is 0
 *         fault_power_on();
 *         examine(r);
 *     } while (r != 0);
 *
 * A step is anything that changes a disk: opening counts only when it creates or truncates. fsync
 * and the like are steps, too, and so is LMDB's commit (barrier), whose effect is not undone.
 *
 * After a cut, fault_power_on() takes back what was not synced: content (fsync of the file), names
 * (fsync of their directory), extended attributes (fsync of the file or directory). That is the
 * worst a POSIX file system may do; ext4 rarely does. Not taken back: modes, owners and times. Not
 * supported, and asserted: renaming directories and RENAME_EXCHANGE while FAULT_CUT.
 *
 * One thread; the process's table is io_ops_real again after fault_power_on().
 */

#include <stdbool.h>

enum fault_kind {
    FAULT_NONE,    /* only count the steps */
    FAULT_FAIL,    /* the step fails, those after it work again */
    FAULT_FAIL_ON, /* the step and all after it fail: a full disk */
    FAULT_CUT,     /* the power is cut: no step works, and what was not synced is lost */
    FAULT_KILL,    /* the process dies: no step works any more, but nothing is lost */
};

/*
 * grave: a directory on the file system under test where removed files are kept meanwhile.
 * error: the negative errno of FAULT_FAIL*; the dead kinds answer -ENODEV.
 */
void fault_start(const char *grave, enum fault_kind kind, unsigned at, int error);

bool fault_happened(void); /* did it come to step `at`? */
unsigned fault_steps(void);

/* Ends it, whatever the kind; fault_happened() and fault_steps() keep their values. */
void fault_power_on(void);

#endif
