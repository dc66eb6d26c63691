/*
 * front_give_up - syncd ends the connection with a mailfs that goes on
 *
 * mailfs takes the end of the connection for syncd's, after which the token of a mailbox is where
 * it was heard to be. Here it may have been given away without that having been read, or is now. So
 * this end stays until mailfs has ended its own, which tells the two apart (mailfs/upcall_recv.c).
 *
 * Diagnostics: none.
 */
#include "front.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "front_private.h"
#include "mem.h"
#include "net/local.h"
#include "volume.h"

void front_left_close(struct front *f) {
    if (f->left == NULL)
        return;
    event_free(f->left);
    close(f->left_fd);
    f->left = NULL;
}

/* Its next Hello makes for a look at what it has changed: it takes this for told (`missed`). */
static void left_readable(evutil_socket_t fd, short what, void *arg) {
    static uint8_t buf[LOCAL_PACKET_MAX];
    ssize_t n = local_recv(fd, buf, sizeof buf, NULL);
    if (n <= 0 && n != -EAGAIN)
        front_left_close(arg);
}

void front_give_up(struct front *f) {
    int fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 0);
    f->missed = true;
    front_left_close(f);
    if (fd >= 0 && shutdown(fd, SHUT_WR) == 0) {
        f->left_fd = fd;
        f->left = event_new(f->v->engine->evb, fd, EV_READ | EV_PERSIST, left_readable, f);
        if (f->left == NULL)
            mem_out("an event");
        event_add(f->left, NULL);
    } else if (fd >= 0) {
        close(fd);
    }
    front_disconnect(f);
}
