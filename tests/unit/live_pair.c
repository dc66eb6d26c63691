/* live_pair - see live_pair.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "syncd/base.h"
#include "live_pair.h"

bool send_a(struct acts *a, bool locked) {
    return stores_send(&p.a, &p.b, &inbox, a, locked);
}

void deliver_a(const char *base, const char *text, uint64_t prep) {
    stores_deliver(&p, &inbox, base, text, prep);
}

bool pick_up(const char *base, unsigned uid) {
    struct acts a = {.n = 0};
    char from[300], to[320], name[300], line[300];

    snprintf(from, sizeof(from), "u/new/%s", base);
    snprintf(name, sizeof(name), "%s:2,", base);
    snprintf(to, sizeof(to), "u/cur/%s", name);
    if (!fs_there(&p.a, "u/dovecot-uidlist"))
        fs_write(&p.a, "u/dovecot-uidlist", "3 V1700000000 N1 G0123456789abcdef0123456789abcdef\n");
    fs_rename(&p.a, from, to);
    act_move(&a, MFL__SUB__NEW, base, MFL__SUB__CUR, name);
    snprintf(line, sizeof(line), "%u :%s\n", uid, base);
    fs_append(&p.a, "u/dovecot-uidlist", line);
    return send_a(&a, true);
}

void flag(const char *old_name, const char *name) {
    struct acts a = {.n = 0};
    char from[300], to[300];

    snprintf(from, sizeof(from), "u/cur/%s", old_name);
    snprintf(to, sizeof(to), "u/cur/%s", name);
    fs_rename(&p.a, from, to);
    act_move(&a, MFL__SUB__CUR, old_name, MFL__SUB__CUR, name);
    assert_false(send_a(&a, true));
}

void digests_equal(const struct mailfs_id *dir) {
    static const uint8_t zero[STATE_DIGEST];
    uint8_t da[STATE_DIGEST], db[STATE_DIGEST];

    assert_int_equal(base_digest(p.a.st, dir, da), 0);
    assert_int_equal(base_digest(p.b.st, dir, db), 0);
    assert_memory_equal(da, db, STATE_DIGEST);
    assert_true(memcmp(da, zero, STATE_DIGEST) != 0);
}
