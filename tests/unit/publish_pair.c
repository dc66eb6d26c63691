/* publish_pair - see publish_pair.h */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "io/io.h"
#include "publish_pair.h"
#include "syncd/stage.h"
#include "syncd/state_int.h"

bool publish_is_left(struct node *n) {
    struct stage_prep *left;
    size_t k;

    assert_int_equal(stage_leftovers(n->st, &left, &k), 0);
    free(left);
    return k > 0;
}

static int no_room_for_name(int fd, const char *name, int to, const char *as, int flags) {
    return -ENOSPC;
}

void publish_stopped(int (*link)(int, const char *, int, const char *, int), int err) {
    struct stage_prep prep = {77, 9};
    struct io_ops ops = io_ops_real;
    struct stage_pub pub;

    common();
    fs_write(&p.a, "u/tmp/9.tmp", "nine\n");
    stores_prepare(&p.a, &p.b, "u", "9.tmp", "u/tmp/9.tmp", 9);
    ops.link = link;
    io_ops_set(&ops);
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), err);
    io_ops_set(&io_ops_real);
    assert_int_equal(stage_published(p.b.st, 77, 9, &pub), 0);
    assert_false(pub.done);
}

void publish_no_room(void) {
    publish_stopped(no_room_for_name, -ENOSPC);
    assert_false(fs_there(&p.b, "u/new/9.tmp"));
}

int publish_again(void) {
    return stage_publish(p.b.st, &(struct stage_prep){77, 9}, 1, NULL);
}
