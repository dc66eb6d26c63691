/* test_wire_codec - the two protocols: round trips, refusals, other versions, printing */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/link.h"
#include "net/local.h"
#include "util/id.h"
#include "wire/check.h"
#include "wire/codec.h"

static struct mailfs_id dir_id = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
static char why[256];

#define DIR wire_bytes_of(&dir_id)
/* protobuf-c's strings are not const, though packing changes nothing. */
#define S(literal) ((char *)(uintptr_t)(literal))

/* ---- helpers ----------------------------------------------------------------------------------
 */

/* Pack, unpack, and see that the same comes out. */
static void round_trip(const Mfp__Frame *f) {
    char sent[2048], got[2048];
    uint8_t *bytes = NULL;
    size_t len = 0;
    Mfp__Frame *back = NULL;

    assert_int_equal(wire_frame_pack(f, &bytes, &len), 0);
    assert_int_equal(wire_frame_unpack(bytes, len, &back, why, sizeof(why)), 0);
    assert_string_equal(wire_print(&f->base, sent, sizeof(sent)),
                        wire_print(&back->base, got, sizeof(got)));
    assert_int_equal(back->m_case, f->m_case);
    wire_frame_free(back);
    free(bytes);
}

/* Pack without the check, as a hostile or broken peer would. */
static uint8_t *raw(const Mfp__Frame *f, size_t *len) {
    uint8_t *bytes = malloc(mfp__frame__get_packed_size(f) + 1);

    *len = mfp__frame__pack(f, bytes);
    return bytes;
}

static void refused(const Mfp__Frame *f, const char *word) {
    Mfp__Frame *back = NULL;
    uint8_t *packed = NULL, *bytes;
    size_t len;

    assert_int_equal(wire_frame_pack(f, &packed, &len), -EPROTO);
    bytes = raw(f, &len);
    why[0] = '\0';
    assert_int_equal(wire_frame_unpack(bytes, len, &back, why, sizeof(why)), -EPROTO);
    if (!strstr(why, word))
        fail_msg("\"%s\" does not say \"%s\"", why, word);
    free(bytes);
}

#define FRAME(kind, KIND, p)                                                                       \
    Mfp__Frame frame = MFP__FRAME__INIT;                                                           \
    frame.m_case = MFP__FRAME__M_##KIND;                                                           \
    frame.kind = (p)

/* ---- the peer's protocol ------------------------------------------------------------------------
 */

static void test_limits_agree(void **state) {
    assert_int_equal(WIRE_FRAME_MAX, LINK_FRAME_MAX);
    assert_int_equal(WIRE_LOCAL_MAX, LOCAL_PACKET_MAX);
}

static void test_hello(void **state) {
    Mfp__Hello m = MFP__HELLO__INIT;
    FRAME(hello, HELLO, &m);

    m.version_min = m.version = 1;
    m.node = S("mx-a");
    m.volume = S("mail");
    m.incarnation = UINT64_MAX;
    m.store_id = DIR;
    round_trip(&frame);
    m.store_id.len = 15;
    refused(&frame, "16 bytes");
    m.store_id.len = 16;
    m.node = S("");
    refused(&frame, "name");
}

/* A transaction with operations of several kinds, each then spoilt in turn. */
static void test_txn(void **state) {
    Mfp__MsgState was = MFP__MSG_STATE__INIT, now = MFP__MSG_STATE__INIT;
    Mfp__OpMsg msg = MFP__OP_MSG__INIT;
    Mfp__UidRec rec = MFP__UID_REC__INIT, *recs[] = {&rec};
    Mfp__OpUidlist uidlist = MFP__OP_UIDLIST__INIT;
    Mfp__FileState file_now = MFP__FILE_STATE__INIT;
    Mfp__OpFile file = MFP__OP_FILE__INIT;
    Mfp__OpDirMove move = MFP__OP_DIR_MOVE__INIT;
    Mfp__OpDirRemove gone = MFP__OP_DIR_REMOVE__INIT;
    Mfp__Op op[5] = {MFP__OP__INIT, MFP__OP__INIT, MFP__OP__INIT, MFP__OP__INIT, MFP__OP__INIT};
    Mfp__Op *ops[] = {&op[0], &op[1], &op[2], &op[3], &op[4]};
    Mfp__Txn txn = MFP__TXN__INIT;
    char *bases[] = {S("1.M1.h"), S("2.M2.h")};
    FRAME(txn, TXN, &txn);

    was.sub = MFP__SUB__NEW;
    now.sub = MFP__SUB__CUR;
    now.info = S("2,FS");
    now.uid = 17;
    msg.bname = S("1700000000.M1P2.host,S=10");
    msg.old = &was;
    msg.now = &now;
    rec.uid = 17;
    rec.bname = msg.bname;
    rec.ext = S("W10");
    uidlist.v = 5;
    uidlist.n = 18;
    uidlist.recs = recs;
    uidlist.n_recs = 1;
    file.name = S(".dovecot.sieve");
    file.now = &file_now;
    file_now.type = 0120000;
    file_now.symlink = S("sieve/main.sieve");
    move.id = DIR;
    move.new_parent = DIR;
    move.old_name = S(".Old");
    move.name = S(".New");
    gone.id = DIR;
    gone.name = S(".Gone");
    gone.bases = bases;
    gone.n_bases = 2;
    op[0].op_case = MFP__OP__OP_MSG;
    op[0].msg = &msg;
    op[1].op_case = MFP__OP__OP_UIDLIST;
    op[1].uidlist = &uidlist;
    op[2].op_case = MFP__OP__OP_FILE;
    op[2].file = &file;
    op[3].op_case = MFP__OP__OP_DIR_MOVE;
    op[3].dir_move = &move;
    op[4].op_case = MFP__OP__OP_DIR_REMOVE;
    op[4].dir_remove = &gone;
    txn.seq = 5;
    txn.dir = DIR;
    txn.ops = ops;
    txn.n_ops = 5;
    txn.end = true;
    round_trip(&frame);

    msg.bname = S("../../etc/passwd");
    refused(&frame, "base name");
    msg.bname = S("a:2,S"); /* a name, but no base name */
    refused(&frame, "base name");
    msg.bname = S("1.M1.h");
    now.info = S("2,S/../x");
    refused(&frame, "flags");
    now.info = S("2,S");
    now.sub = MFP__SUB__TMP;
    refused(&frame, "new nor in cur");
    now.sub = MFP__SUB__CUR;
    rec.uid = 0;
    refused(&frame, "without UID");
    rec.uid = 17;
    rec.ext = S("W1\n18 :forged");
    refused(&frame, "line");
    rec.ext = S("");
    file.name = S("a/b");
    refused(&frame, "name");
    file.name = S(".mailfs");
    refused(&frame, "ours");
    file.name = S("..");
    refused(&frame, "name");
    file.name = S("x");
    file.now = NULL; /* removed */
    round_trip(&frame);
    file.now = &file_now;
    move.new_parent.len = 4;
    refused(&frame, "16 bytes");
    move.new_parent.len = 16;
    bases[1] = S("");
    refused(&frame, "base name");
    bases[1] = S("x");
    op[4].op_case = MFP__OP__OP__NOT_SET;
    refused(&frame, "operation");
    op[4].op_case = MFP__OP__OP_DIR_REMOVE;
    txn.dir.len = 0;
    refused(&frame, "16 bytes");
    txn.dir.len = 16;
    round_trip(&frame);
}

/* In an operation; a listing has them in the order of its messages. */
static void test_uids_ascend(void **state) {
    Mfp__UidRec a = MFP__UID_REC__INIT, b = MFP__UID_REC__INIT, *recs[] = {&a, &b};
    Mfp__OpUidlist list = MFP__OP_UIDLIST__INIT;
    Mfp__Op op = MFP__OP__INIT, *ops[] = {&op};
    Mfp__Txn txn = MFP__TXN__INIT;
    Mfp__Listing l = MFP__LISTING__INIT;

    a.uid = 8;
    b.uid = 7;
    a.bname = S("1.a");
    b.bname = S("1.b");
    l.dir = DIR;
    l.recs = recs;
    l.n_recs = 2;
    {
        FRAME(listing, LISTING, &l);
        round_trip(&frame);
    }
    list.recs = recs;
    list.n_recs = 2;
    op.op_case = MFP__OP__OP_UIDLIST;
    op.uidlist = &list;
    txn.dir = DIR;
    txn.ops = ops;
    txn.n_ops = 1;
    {
        FRAME(txn, TXN, &txn);
        refused(&frame, "ascend");
        a.uid = 6;
        round_trip(&frame);
    }
}

static void test_body(void **state) {
    static uint8_t bytes[65536];
    Mfp__Body m = MFP__BODY__INIT;
    FRAME(body, BODY, &m);

    m.kind = MFP__BODY__KIND__FETCH;
    m.id = 9;
    m.offset = 1u << 30;
    m.data = (ProtobufCBinaryData){sizeof(bytes), bytes};
    m.end = true;
    round_trip(&frame);
    m.kind = (Mfp__Body__Kind)7;
    refused(&frame, "kind");
}

static void test_too_large(void **state) {
    Mfp__Body m = MFP__BODY__INIT;
    Mfp__Frame *back = NULL;
    uint8_t *bytes = NULL, *big = calloc(1, WIRE_FRAME_MAX + 1);
    size_t len = 0;
    FRAME(body, BODY, &m);

    m.data = (ProtobufCBinaryData){WIRE_FRAME_MAX - 64, big};
    assert_int_equal(wire_frame_pack(&frame, &bytes, &len), 0);
    free(bytes);
    m.data.len = WIRE_FRAME_MAX;
    assert_int_equal(wire_frame_pack(&frame, &bytes, &len), -EMSGSIZE);
    assert_int_equal(wire_frame_unpack(big, WIRE_FRAME_MAX + 1, &back, why, sizeof(why)),
                     -EMSGSIZE);
    free(big);
}

/* Two bytes of wire for each structure of a hundred: refused by the budget, not by the machine. */
static void test_memory_is_bounded(void **state) {
    const size_t n = 500000, inner = 2 * n;
    uint8_t *bytes = malloc(inner + 16), *p = bytes;
    Mfp__Frame *back = NULL;

    *p++ = 0x82; /* field 16 (listing), a two-byte tag */
    *p++ = 1;
    for (size_t v = inner; v; v >>= 7) /* its length */
        *p++ = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
    for (size_t i = 0; i < n; i++) {
        *p++ = 12 << 3 | 2; /* msgs: an empty one */
        *p++ = 0;
    }
    assert_int_equal(wire_frame_unpack(bytes, (size_t)(p - bytes), &back, why, sizeof(why)),
                     -ENOMEM);
    assert_non_null(strstr(why, "memory"));
    free(bytes);
}

/* ---- other versions, and garbage
 * ------------------------------------------------------------------ */

static void test_unknown_field_is_dropped(void **state) {
    Mfp__TokenReq m = MFP__TOKEN_REQ__INIT;
    Mfp__Frame *back = NULL;
    uint8_t *bytes;
    size_t len;
    FRAME(token_req, TOKEN_REQ, &m);

    m.dir = DIR;
    bytes = raw(&frame, &len);
    bytes = realloc(bytes, len + 3);
    /* what a newer peer adds to the frame: field 100, a varint */
    memcpy(bytes + len, "\xa0\x06\x2a", 3);
    assert_int_equal(wire_frame_unpack(bytes, len + 3, &back, why, sizeof(why)), 0);
    assert_int_equal(back->m_case, MFP__FRAME__M_TOKEN_REQ);
    assert_int_equal(back->base.n_unknown_fields, 0); /* and not passed on */
    wire_frame_free(back);
    free(bytes);
}

static void test_unknown_kind_is_reported(void **state) {
    Mfp__Frame *back = NULL;

    /* field 100, empty message: a kind that a newer peer has */
    assert_int_equal(wire_frame_unpack((const uint8_t *)"\xa2\x06\x00", 3, &back, why, sizeof(why)),
                     -ENOTSUP);
    assert_non_null(strstr(why, "100"));
    assert_int_equal(wire_frame_unpack((const uint8_t *)"", 0, &back, why, sizeof(why)), -EPROTO);
    assert_non_null(strstr(why, "without content"));
}

static void test_garbage(void **state) {
    static const char *const samples[] = {"\xff\xff\xff\xff\xff", "\x0a\xff\x01", "hello",
                                          "\x0a\x02\x08", "\x8a\x80\x80\x80\x80\x80\x80"};
    Mfp__Frame *back = NULL;

    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        const uint8_t *bytes = (const uint8_t *)samples[i];
        int rc = wire_frame_unpack(bytes, strlen(samples[i]), &back, why, sizeof(why));

        if (rc != -EPROTO && rc != -ENOTSUP)
            fail_msg("sample %zu: %d", i, rc);
    }
}

/* A whole frame cut at every length: never accepted as something with its pieces missing. */
static void test_cut_frame(void **state) {
    Mfp__Prepare m = MFP__PREPARE__INIT;
    Mfp__PrepId id = MFP__PREP_ID__INIT;
    uint8_t *bytes;
    size_t len;
    FRAME(prepare, PREPARE, &m);

    id.incarnation = id.seq = 1;
    m.id = &id;
    m.dir = DIR;
    m.tmp_name = S("1.M1P1.host");
    bytes = raw(&frame, &len);
    for (size_t n = 0; n < len; n++) {
        Mfp__Frame *back = NULL;
        uint8_t *exact = malloc(n ? n : 1); /* so that a sanitizer sees a step too far */

        memcpy(exact, bytes, n);
        assert_int_equal(wire_frame_unpack(exact, n, &back, why, sizeof(why)), -EPROTO);
        free(exact);
    }
    free(bytes);
}

/* ---- mailfs and syncd
 * ------------------------------------------------------------------------------ */

static void test_local_round_trip(void **state) {
    uint8_t buf[1024];
    Mfl__Add add = MFL__ADD__INIT;
    Mfl__Act act = MFL__ACT__INIT;
    Mfl__ToSyncd m = MFL__TO_SYNCD__INIT, *back = NULL;
    char sent[1024], got[1024];
    ssize_t n;

    add.sub = MFL__SUB__NEW;
    add.name = S("1.M1P1.host,S=3");
    act.dir = DIR;
    act.what_case = MFL__ACT__WHAT_ADD;
    act.add = &add;
    m.seq = 3;
    m.m_case = MFL__TO_SYNCD__M_ACT;
    m.act = &act;
    n = wire_to_syncd_pack(&m, buf, sizeof(buf));
    assert_true(n > 0);
    assert_int_equal(wire_to_syncd_unpack(buf, (size_t)n, &back, why, sizeof(why)), 0);
    assert_string_equal(wire_print(&m.base, sent, sizeof(sent)),
                        wire_print(&back->base, got, sizeof(got)));
    assert_string_equal(wire_to_syncd_kind(back), "act");
    wire_to_syncd_free(back);
    assert_int_equal(wire_to_syncd_pack(&m, buf, 10), -EMSGSIZE);
    add.name = S("x/y");
    assert_int_equal(wire_to_syncd_pack(&m, buf, sizeof(buf)), -EPROTO);
    add.name = S("x");
    add.sub = MFL__SUB__TMP;
    assert_int_equal(wire_to_syncd_pack(&m, buf, sizeof(buf)), -EPROTO);
    add.sub = MFL__SUB__CUR;
    act.what_case = MFL__ACT__WHAT__NOT_SET;
    assert_int_equal(wire_to_syncd_pack(&m, buf, sizeof(buf)), -EPROTO);
}

static void test_local_answers(void **state) {
    uint8_t buf[1024];
    Mfl__Changed changed = MFL__CHANGED__INIT, *names[] = {&changed};
    Mfl__Invalidate inval = MFL__INVALIDATE__INIT;
    Mfl__ToMailfs m = MFL__TO_MAILFS__INIT, *back = NULL;
    ssize_t n;

    inval.dir = DIR;
    inval.names = names;
    inval.n_names = 1;
    changed.name = S("dovecot-uidlist");
    changed.content = true;
    m.m_case = MFL__TO_MAILFS__M_INVALIDATE;
    m.invalidate = &inval;
    n = wire_to_mailfs_pack(&m, buf, sizeof(buf));
    assert_true(n > 0);
    assert_int_equal(wire_to_mailfs_unpack(buf, (size_t)n, &back, why, sizeof(why)), 0);
    assert_string_equal(wire_to_mailfs_kind(back), "invalidate");
    assert_string_equal(back->invalidate->names[0]->name, "dovecot-uidlist");
    wire_to_mailfs_free(back);
    inval.moved_id = (ProtobufCBinaryData){3, dir_id.b};
    assert_int_equal(wire_to_mailfs_pack(&m, buf, sizeof(buf)), -EPROTO);
    inval.moved_id.len = 0;
    changed.old_name = S("..");
    assert_int_equal(wire_to_mailfs_pack(&m, buf, sizeof(buf)), -EPROTO);
    assert_int_equal(
        wire_to_mailfs_unpack((const uint8_t *)"\xa2\x06\x00", 3, &back, why, sizeof(why)),
        -ENOTSUP);
}

/* ---- printing ----------------------------------------------------------------------------------
 */

static void test_print(void **state) {
    Mfp__MsgState now = MFP__MSG_STATE__INIT;
    Mfp__OpMsg msg = MFP__OP_MSG__INIT;
    Mfp__Op op = MFP__OP__INIT, *ops[6] = {&op, &op, &op, &op, &op, &op};
    Mfp__Txn txn = MFP__TXN__INIT;
    char line[1024], small[24];
    FRAME(txn, TXN, &txn);

    now.sub = MFP__SUB__CUR;
    now.info = S("2,S");
    now.uid = 7;
    msg.bname = S("1.M2\n.h");
    msg.now = &now;
    op.op_case = MFP__OP__OP_MSG;
    op.msg = &msg;
    txn.seq = 5;
    txn.dir = DIR;
    txn.ops = ops;
    txn.n_ops = 1;
    txn.end = true;
    assert_string_equal(wire_print(&frame.base, line, sizeof(line)),
                        "Frame{txn{seq=5 dir=0102030405060708090a0b0c0d0e0f10 ops=[{msg{"
                        "bname=\"1.M2?.h\" now{sub=CUR info=\"2,S\" uid=7}}}] end}}");
    txn.n_ops = 6;
    assert_non_null(strstr(wire_print(&frame.base, line, sizeof(line)), " +2]"));
    wire_print(&frame.base, small, sizeof(small));
    assert_true(strlen(small) < sizeof(small));
    assert_string_equal(small + strlen(small) - 3, "...");
    assert_string_equal(wire_frame_kind(&frame), "txn");
    frame.m_case = MFP__FRAME__M__NOT_SET;
    assert_string_equal(wire_frame_kind(&frame), "nothing");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits_agree),
        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_txn),
        cmocka_unit_test(test_uids_ascend),
        cmocka_unit_test(test_body),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_unknown_field_is_dropped),
        cmocka_unit_test(test_unknown_kind_is_reported),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_cut_frame),
        cmocka_unit_test(test_local_round_trip),
        cmocka_unit_test(test_local_answers),
        cmocka_unit_test(test_print),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
