/* parts: a large message cut into frames is the same message when put together. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/parts.h"
#include "wire/peer.pb-c.h"

/* What a peer gets: each part packed, unpacked there, and joined. */
struct receiver {
    Mfp__Listing *whole;
    unsigned parts;
    size_t largest;
    bool last;
};

static int receive(ProtobufCMessage *part, bool last, void *arg) {
    struct receiver *r = arg;
    size_t n = protobuf_c_message_get_packed_size(part);
    uint8_t *bytes = malloc(n);
    protobuf_c_message_pack(part, bytes);
    Mfp__Listing *copy = mfp__listing__unpack(NULL, n, bytes);
    free(bytes);
    assert_non_null(copy);
    assert_false(r->last);
    r->last = last;
    r->parts++;
    r->largest = n > r->largest ? n : r->largest;
    if (r->whole == NULL) {
        r->whole = copy;
        return 0;
    }
    int e = wire_parts_join(&r->whole->base, &copy->base);
    mfp__listing__free_unpacked(copy, NULL);
    return e;
}

static Mfp__Listing *make(size_t msgs, size_t subs) {
    Mfp__Listing *l = malloc(sizeof *l);
    mfp__listing__init(l);
    l->round = 7;
    l->v = 1700000000;
    l->header_ext = strdup("G0123");
    l->msgs = calloc(msgs + 1, sizeof *l->msgs);
    l->subs = calloc(subs + 1, sizeof *l->subs);
    for (; l->n_msgs < msgs; l->n_msgs++) {
        char name[64];
        Mfp__BaseMsg *m = malloc(sizeof *m);
        mfp__base_msg__init(m);
        snprintf(name, sizeof name, "1700000000.M%zuP1.host", l->n_msgs);
        m->bname = strdup(name);
        l->msgs[l->n_msgs] = m;
    }
    for (; l->n_subs < subs; l->n_subs++) {
        char name[64];
        snprintf(name, sizeof name, "Folder.%zu", l->n_subs);
        l->subs[l->n_subs] = strdup(name);
    }
    return l;
}

static void assert_same(const Mfp__Listing *a, const Mfp__Listing *b) {
    size_t na = mfp__listing__get_packed_size(a), nb = mfp__listing__get_packed_size(b);
    assert_int_equal(na, nb);
    uint8_t *pa = malloc(na), *pb = malloc(nb);
    mfp__listing__pack(a, pa);
    mfp__listing__pack(b, pb);
    assert_memory_equal(pa, pb, na);
    free(pa);
    free(pb);
}

static void round_trip(size_t msgs, size_t subs, size_t max, unsigned least_parts) {
    Mfp__Listing *l = make(msgs, subs);
    struct receiver r = {0};
    assert_int_equal(wire_parts_split(&l->base, max, receive, &r), 0);
    assert_true(r.last);
    assert_true(r.parts >= least_parts);
    assert_true(r.largest <= max + 256);
    assert_same(l, r.whole);
    mfp__listing__free_unpacked(r.whole, NULL);
    mfp__listing__free_unpacked(l, NULL);
}

static void small_ones_are_one_part(void **state) {
    round_trip(0, 0, 4096, 1);
    round_trip(3, 2, 4096, 1);
}

static void large_ones_are_many(void **state) {
    round_trip(20000, 3000, 64 * 1024, 10);
    round_trip(1000, 0, 100, 450);
    round_trip(0, 1000, 100, 100);
}

static void an_element_that_does_not_fit(void **state) {
    Mfp__Listing *l = make(2, 0);
    struct receiver r = {0};
    assert_int_equal(wire_parts_split(&l->base, 16, receive, &r), -EMSGSIZE);
    mfp__listing__free_unpacked(l, NULL);
    if (r.whole != NULL)
        mfp__listing__free_unpacked(r.whole, NULL);
}

static int refuse(ProtobufCMessage *part, bool last, void *arg) {
    ++*(unsigned *)arg;
    return -ENOTCONN;
}

static void the_senders_error_ends_it(void **state) {
    Mfp__Listing *l = make(1000, 0);
    unsigned calls = 0;
    assert_int_equal(wire_parts_split(&l->base, 100, refuse, &calls), -ENOTCONN);
    assert_int_equal(calls, 1);
    mfp__listing__free_unpacked(l, NULL);
}

static void other_types_are_not_joined(void **state) {
    Mfp__Listing *l = make(0, 0);
    Mfp__Tree t = MFP__TREE__INIT;
    assert_int_equal(wire_parts_join(&l->base, &t.base), -EINVAL);
    mfp__listing__free_unpacked(l, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_ones_are_one_part),      cmocka_unit_test(large_ones_are_many),
        cmocka_unit_test(an_element_that_does_not_fit), cmocka_unit_test(the_senders_error_ends_it),
        cmocka_unit_test(other_types_are_not_joined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
