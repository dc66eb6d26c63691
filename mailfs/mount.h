#ifndef MAILFS_MOUNT_H
#define MAILFS_MOUNT_H

/*
 * What must hold before the volume can be mounted. Each says what is wrong, and what to do, in the
 * log; 0 or -errno.
 */

/* Opens and checks the store, and makes its hidden directory: fills vol. */
int mount_open_store(void);

/* STATE exists, is ours alone, and no other mailfs serves this volume. Sets vol.clean. */
int mount_take_state(void);

/* The last thing of a clean stop. */
void mount_leave_state(void);

/* The mount point is an empty directory; what a crash left mounted there is taken away. */
int mount_check_point(void);

#endif
