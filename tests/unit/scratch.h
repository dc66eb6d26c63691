#ifndef MAILFS_TESTS_SCRATCH_H
#define MAILFS_TESTS_SCRATCH_H

/*
 * Directories for a test to make a mess in, below $TMPDIR or /tmp. They abort the program when they
 * cannot do it: no test can go on. Paths are written to buffers of SCRATCH_PATH bytes.
 */

#define SCRATCH_PATH 4096

/* A new, empty directory, 0700; returns it open (O_RDONLY | O_DIRECTORY). */
int scratch_make(char path[SCRATCH_PATH]);

/* A new directory in it, likewise. */
int scratch_sub(const char *path, const char *name, char sub[SCRATCH_PATH]);

/* Closes fd and removes path with all there is below it, never following a link or a mount. */
void scratch_remove(const char *path, int fd);

#endif
