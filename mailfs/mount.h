#ifndef MAILFS_MOUNT_H
#define MAILFS_MOUNT_H

/*
 * What must hold before the volume can be mounted. Each says what is wrong, and what to do, in the
 * log; 0 or -errno.
 */

/* Opens and checks the store, and makes its hidden directory: fills vol. */
int mount_open_store(void);

/* Removes what a worker was replacing when it was killed (raise.c); when no other one is at it. */
void mount_sweep(void);

/* STATE exists, is ours alone, and no other mailfs serves this volume. Sets vol.clean. */
int mount_take_state(void);

/* What locks it: a worker keeps it open, so that no other mailfs starts beside one. */
int mount_lock_fd(void);

/* The last thing of a clean stop. */
void mount_leave_state(void);

/* Ends all requests of the volume's mount, which answers ENOTCONN from then on, and stays. */
void mount_abort(void);
/* Unmounts it, whoever uses it. */
void mount_take_away(void);

/* The mount point is an empty directory; what a crash left mounted there is taken away. */
int mount_check_point(void);

/* access = "private": only one user gets to the mount point, and the store is his. Sets
 * vol.is_private and vol.private_uid. */
int mount_check_private(void);

/* Mounted: nowhere else, too (a bind mount of the mount point, with the directory above it not on
 * the way). -EACCES: it is. */
int mount_check_alone(void);

#endif
