/* A peer that asks for more contents than it should: so many are open for it, and no more. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>
#include <event2/event.h>

#include "syncd/jobs.h"
#include "syncd/volume.h"
#include "syncd/xfer.h"
#include "syncd_pair.h"

static char volume_name[] = "mail", message[] = "1.M1.a";
static const struct conf_volume cv = {.name = volume_name};

static void test_too_many_at_a_time(void **state) {
    struct pair p;
    struct engine engine = {.evb = event_base_new()};
    struct volume v = {.cv = &cv, .engine = &engine};
    struct mailfs_id root = mailfs_id_root;
    Mfp__Fetch fetch = MFP__FETCH__INIT;

    stores_open(&p);
    assert_int_equal(workq_new(2, 1000, &engine.disk), 0);
    v.state = p.a.st;
    v.jobs = jobs_new(engine.disk, 1);
    v.xfers = xfers_new(&v);
    fetch.dir = (ProtobufCBinaryData){sizeof root.b, root.b};
    fetch.name = message;
    fetch.by_base = true;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < XFER_SERVED_MAX; i++) {
            fetch.xfer = i;
            assert_int_equal(xfer_receive_fetch(v.xfers, &fetch), 0);
        }
        assert_int_equal(xfer_receive_fetch(v.xfers, &fetch), -EPROTO);
        xfer_disconnected(v.xfers); /* another connection may ask again */
    }
    while (jobs_pending(v.jobs) > 0)
        workq_drain(engine.disk);
    assert_int_equal(xfer_receive_fetch(v.xfers, &fetch), 0);
    xfer_disconnected(v.xfers);
    while (jobs_pending(v.jobs) > 0)
        workq_drain(engine.disk);
    xfers_free(v.xfers);
    jobs_free(v.jobs);
    workq_free(engine.disk);
    event_base_free(engine.evb);
    stores_close(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_too_many_at_a_time)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
