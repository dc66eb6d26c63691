/*
 * replica_one - the merge of a mailbox with one message; see the header
 */
#include "replica_one.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "maildir/name.h"

bool one_state(const char *text, struct merge_state *s) {
    char where[8], flags[32] = "";

    memset(s, 0, sizeof *s);
    if (!*text)
        return false;
    assert_true(sscanf(text, "%u %7s %31s", &s->uid, where, flags) >= 2);
    s->in_cur = strcmp(where, "cur") == 0;
    assert_int_equal(maildir_flags_parse(flags, strlen(flags), &s->flags), 0);
    return true;
}

void one_side(struct one *o, const char *base, const char *now, uint32_t next, uint32_t base_next) {
    memset(o, 0, sizeof *o);
    o->entry.base = "m";
    o->entry.was = one_state(base ? base : "", &o->entry.old);
    o->entry.is = one_state(now, &o->entry.now);
    o->side = (struct merge_side){.base_valid = base != NULL,
                                  .full = true,
                                  .validity = 9,
                                  .next = next,
                                  .base_next = base_next,
                                  .life = 1,
                                  .entries = &o->entry,
                                  .count = o->entry.was || o->entry.is};
}

void one_check(const struct merge_side *a, const struct merge_side *b, const char *want,
               const char *why) {
    struct merge_result *r;
    struct merge_state state, none = {0};
    const struct merge_item *it;
    bool present = one_state(want, &state);

    assert_int_equal(merge_mailbox(a, b, 0, &r), 0);
    it = merge_result_find(r, "m");
    if (it ? it->present != present : present)
        fail_msg("%s: should be %s", why, present ? "there" : "gone");
    if (it && present && !merge_state_equal(&it->state, &state))
        fail_msg("%s: uid %u%s, should be %s", why, it->state.uid, it->state.in_cur ? " cur" : "",
                 want);
    if (it && !present)
        assert_true(merge_state_equal(&it->state, &none));
    assert_true(r->next >= a->next && r->next >= b->next);
    assert_true(!present || r->next > state.uid);
    assert_int_equal(r->validity, 9);
    merge_result_free(r);
}
