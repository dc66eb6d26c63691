#ifndef SYNCD_PROCESS_H
#define SYNCD_PROCESS_H

/*
 * What makes a process a daemon: detached, with few rights, and with room for many descriptors.
 */

#include <stdbool.h>

/*
 * Goes into the background by two forks. The first process waits until process_ready() is called in
 * the last one, and ends with its status; when that one dies before, with status 1. Returns in the
 * last one only. 0 or -errno.
 */
int process_detach(void);
/* status: the exit status of the command that was typed. Does nothing in the foreground. */
void process_ready(int status);
/* Tells who typed the command, when the log goes elsewhere: before process_ready(). */
void process_complain(const char *what);

/* Descriptors up to the hard limit (the store's files are held open while they are sent). */
void process_limits(void);

/*
 * Keeps the capabilities to read and write any file of the store with its owner (CHOWN,
 * DAC_OVERRIDE, DAC_READ_SEARCH for handles, FOWNER, FSETID) and gives up all others, for good.
 * Before any thread is started. Without privileges to begin with, nothing happens. 0 or -errno.
 */
int process_drop(void);

/* Of the thread it is called in: what it does with CPU and disk comes after all others' work. arg
 * is not used: a job of a work queue. */
void process_behind_others(void *arg);

#endif
