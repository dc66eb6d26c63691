/*
 * upcall_hung - when to speak again to a syncd that did not answer
 *
 * Who connects to it has all that ask wait for its answer once more, and as long as mailfs stays
 * away from a syncd that has come to, this node does not meet its peer (syncd/contact.c). So it is
 * asked on its other socket, where nobody waits; but not for longer than DIAL_HUNG_MS.
 *
 * Diagnostics: none.
 */
#include "upcall_int.h"

#include <poll.h>
#include <unistd.h>

#include "net/local.h"
#include "util/clock.h"
#include "util/str.h"
#include "vol.h"

enum { DIAL_HUNG_MS = 10000, ASK_MS = 500, ANSWER_MS = 200 };

/* syncd/ctl.h. Its end is an answer, too: another one comes. */
static bool has_come_to(void) {
    static const char question[] = "status";
    char path[4096];
    if (str_printf(path, sizeof path, "%s/ctl.sock", vol.conf_volume->state) != 0)
        return false;
    int fd = local_connect(path);
    if (fd < 0)
        return false;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    bool answered =
        local_try_send(fd, question, sizeof question - 1, -1) == 0 && poll(&p, 1, ANSWER_MS) == 1;
    close(fd);
    return answered;
}

bool upcall_wait_hung(int stop_fd) {
    struct pollfd stop = {.fd = stop_fd, .events = POLLIN};
    uint64_t until = clock_ms() + DIAL_HUNG_MS;
    do {
        if (poll(&stop, 1, ASK_MS) != 0)
            return false;
    } while (clock_ms() < until && !has_come_to());
    return true;
}
