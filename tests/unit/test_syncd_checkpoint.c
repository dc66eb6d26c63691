/* Checkpoints of a standby's link: which marks go, and that nothing is written for those that stay.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <event2/event.h>

#include "io/io.h"
#include "replica_link.h"
#include "syncd/base.h"
#include "syncd/checkpoint.h"
#include "syncd/jobs.h"
#include "syncd/oneway.h"
#include "syncd/role.h"
#include "syncd/scan.h"
#include "syncd/volume.h"
#include "syncd_pair.h"

static struct pair p; /* p.a: the standby; "x" and "y": the nodes that it follows */
static struct engine engine;
static struct conf_peer peers[2] = {{.name = (char *)"x", .source = true},
                                    {.name = (char *)"y", .source = true}};
static struct conf_volume main_conf, link_conf[2];
static struct volume standby, link[2], *links[2] = {&link[0], &link[1]};
static struct mailfs_id inbox; /* "u", agreed on with both */
static struct io_ops ops;
static atomic_uint written;

static int count_syncfs(int fd) {
    atomic_fetch_add(&written, 1);
    return io_ops_real.syncfs(fd);
}

static int count_commit(const char *what) {
    atomic_fetch_add(&written, 1);
    return io_ops_real.barrier(what);
}

static void link_open(size_t i) {
    char dir[256];
    struct state_config conf = {
        .store = p.a.store, .dir = dir, .node = "a", .peer = peers[i].name, .main = p.a.st};

    snprintf(dir, sizeof(dir), "%s/%s", p.a.root, peers[i].name);
    assert_int_equal(mkdir(dir, 0700), 0);
    link_conf[i] = (struct conf_volume){.name = (char *)"mail", .peer = &peers[i]};
    link[i] = (struct volume){.main = &standby,
                              .engine = &engine,
                              .cv = &link_conf[i],
                              .jobs = standby.jobs,
                              .peer_knows_borrowed = true};
    assert_int_equal(state_open(&conf, &link[i].state, &link[i].start), 0);
    assert_int_equal(state_set_contact(link[i].state, true), 0);
}

static void agree_on(struct state *st, const struct mailfs_id *id, const char *name) {
    struct base_dir rec;

    if (base_dir_get(p.a.st, id, &rec) != 0)
        rec = (struct base_dir){.parent = inbox};
    snprintf(rec.name, sizeof(rec.name), "%s", name);
    rec.agreed = rec.merged = true;
    assert_int_equal(base_dir_put(st, id, &rec), 0);
}

static int setup(void **state) {
    char err[256];

    stores_open(&p);
    inbox = stores_mailbox(&p.a, &p.b, "", "u");
    ops = io_ops_real;
    ops.syncfs = count_syncfs;
    ops.barrier = count_commit;
    io_ops_set(&ops);
    engine.evb = event_base_new();
    assert_int_equal(workq_new(2, 1000, &engine.disk), 0);
    main_conf =
        (struct conf_volume){.name = (char *)"mail", .state = p.a.root, .mode = CONF_MODE_STANDBY};
    standby = (struct volume){.engine = &engine,
                              .cv = &main_conf,
                              .state = p.a.st,
                              .jobs = jobs_new(engine.disk, 1),
                              .links = links,
                              .n_links = 2};
    assert_int_equal(role_open(&standby, err, sizeof(err)), 0);
    for (size_t i = 0; i < 2; i++) {
        link_open(i);
        agree_on(link[i].state, &inbox, "u");
    }
    link[0].machine = replica_link_begin();
    link[0].oneway = oneway_new(&link[0]);
    link[0].checkpoint = checkpoint_new(&link[0]);
    return 0;
}

static int teardown(void **state) {
    io_ops_set(&io_ops_real);
    checkpoint_free(link[0].checkpoint);
    oneway_free(link[0].oneway);
    replica_link_end();
    state_close(link[0].state);
    state_close(link[1].state);
    role_close(standby.role);
    jobs_free(standby.jobs);
    workq_free(engine.disk);
    event_base_free(engine.evb);
    stores_close(&p);
    return 0;
}

/* A pass of the first link; how often it waited for the disk. */
static unsigned pass(void) {
    unsigned before = atomic_load(&written);

    checkpoint_soon(link[0].checkpoint);
    assert_int_equal(event_base_loop(engine.evb, EVLOOP_ONCE), 0);
    assert_int_equal(workq_pending(engine.disk), 1);
    workq_drain(engine.disk);
    return atomic_load(&written) - before;
}

static bool is_marked(const struct mailfs_id *dir) {
    struct state_mark *m;
    bool is = false;
    size_t n;

    assert_int_equal(state_marks(link[0].state, UINT64_MAX, &m, &n), 0);
    for (size_t i = 0; i < n; i++)
        is = is || mailfs_id_equal(&m[i].dir, dir);
    free(m);
    return is;
}

/* Made here, and found when the trees were compared. */
static struct mailfs_id made(const char *rel) {
    uint8_t digest[STATE_DIGEST];
    struct mailfs_id id;
    Mfp__Tree *t;

    fs_mkdir(&p.a, rel);
    id = fs_id(&p.a, rel);
    assert_int_equal(state_mark(link[0].state, &inbox, 1), 0);
    assert_int_equal(state_mark(link[0].state, &id, 1), 0);
    assert_int_equal(tree_scan(link[0].state, false, &t, digest, NULL), 0);
    mfp__tree__free_unpacked(t, NULL);
    oneway_left(&link[0], &inbox, true);
    return id;
}

/* A mailbox in which something is borrowed keeps its mark, maybe for years. */
static void test_kept_mark_is_quiet(void **state) {
    assert_int_equal(state_mark(link[0].state, &inbox, 1), 0);
    oneway_left(&link[0], &inbox, true);
    assert_int_equal(pass(), 0);
    assert_int_equal(pass(), 0);
    assert_true(is_marked(&inbox));
    oneway_left(&link[0], &inbox, false);
    assert_true(pass() > 0);
    assert_false(is_marked(&inbox));
    assert_int_equal(pass(), 0);
}

/* So does a directory that the other end does not have, after a start as well. */
static void test_left_is_quiet(void **state) {
    struct mailfs_id id = made("u/.Lent");

    agree_on(link[1].state, &id, ".Lent");
    assert_int_equal(pass(), 0);
    assert_true(is_marked(&id));
    assert_true(oneway_keeps_mark(&link[0], &id));
}

/* Nothing is merged for one, so no merge says that the link has told what there was to tell. */
static void test_left_is_told(void **state) {
    struct mailfs_id id = made("u/.Lent");

    agree_on(link[1].state, &id, ".Lent");
    oneway_left(&link[0], &id, true);
    link[0].untold_since_wall_ns = 1;
    oneway_left_by_none(&link[0], &id); /* it is looked at */
    assert_int_equal(link[0].untold_since_wall_ns, 1);
    workq_drain(engine.disk);
    assert_int_equal(link[0].untold_since_wall_ns, 0);
    assert_true(oneway_keeps_mark(&link[0], &id));
}

/* With a directory goes what was to be remembered of it. */
static void test_gone_is_forgotten(void **state) {
    struct mailfs_id id = made("u/.Lent");

    agree_on(link[1].state, &id, ".Lent");
    assert_int_equal(pass(), 0);
    assert_true(oneway_keeps_mark(&link[0], &id));
    assert_int_equal(base_dir_del(link[1].state, &id), 0);
    fs_rename(&p.a, "u/.Lent", ".mailfs/trash/lent");
    assert_int_equal(pass(), 0);
    assert_false(oneway_keeps_mark(&link[0], &id));
    assert_true(pass() > 0);
    assert_false(is_marked(&id));
    assert_int_equal(pass(), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_kept_mark_is_quiet),
        T(test_left_is_quiet),
        T(test_left_is_told),
        T(test_gone_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
