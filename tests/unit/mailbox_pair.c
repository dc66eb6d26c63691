/* mailbox_pair - see mailbox_pair.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "mailbox_pair.h"

struct pair p;
struct mailfs_id inbox;
char grave[300];

int mailbox_setup(void **state) {
    stores_open(&p);
    inbox = stores_mailbox(&p.a, &p.b, "", "u");
    return 0;
}

int mailbox_setup_grave(void **state) {
    mailbox_setup(state);
    snprintf(grave, sizeof(grave), "%s/grave", p.b.root);
    assert_int_equal(mkdir(grave, 0700), 0);
    return 0;
}

int mailbox_teardown(void **state) {
    stores_close(&p);
    return 0;
}
