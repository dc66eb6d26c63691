/* handle_err - see handle_err.h */
#include "handle_err.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>

int handle_err;
unsigned handle_fails;

int open_by_handle_at(int mount_fd, struct file_handle *h, int flags) {
    static int (*real)(int, struct file_handle *, int);

    if (!real)
        real = (int (*)(int, struct file_handle *, int))dlsym(RTLD_NEXT, "open_by_handle_at");
    if (handle_err) {
        errno = handle_err;
        if (handle_fails > 0 && --handle_fails == 0)
            handle_err = 0;
        return -1;
    }
    return real(mount_fd, h, flags);
}
