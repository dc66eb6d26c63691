/*
 * fuzz_uidlist - dovecot-uidlist from foreign bytes
 *
 * What is read formats to a text that reads as the same list. Up to the first 0xff byte is the
 * list; what follows is read as an appended tail, and then its records are offered as the peer's
 * update, which must be idempotent, keep the next UID from falling and keep the bases unique.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "maildir/uidlist.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int what) {
    if (!what)
        abort();
}

static void check_list(const struct maildir_uidlist *l) {
    uint32_t prev = 0;
    size_t i;

    for (i = 0; i < maildir_uidlist_count(l); i++) {
        const struct maildir_uidrec *r = maildir_uidlist_at(l, i);

        require(r->uid > prev);
        require(maildir_uidlist_find(l, r->base, strlen(r->base)) == r);
        require(maildir_uidlist_find_uid(l, r->uid) == r);
        prev = r->uid;
    }
    require(maildir_uidlist_next(l) > prev);
}

static void check_round_trip(const struct maildir_uidlist *l) {
    struct maildir_uidlist *again;
    struct maildir_uidlist_report rep;
    char *text, *text2;
    size_t len, len2;

    require(maildir_uidlist_format(l, &text, &len) == 0);
    require(maildir_uidlist_parse(text, len, &again, &rep) == 0);
    require(!rep.torn && rep.duplicates == 0 && rep.used == len);
    require(maildir_uidlist_format(again, &text2, &len2) == 0);
    require(len == len2 && memcmp(text, text2, len) == 0);
    free(text);
    free(text2);
    maildir_uidlist_free(again);
}

static void check_update(struct maildir_uidlist *l, const struct maildir_uidlist *other) {
    size_t n = maildir_uidlist_count(other), i;
    struct maildir_uidrec *recs = calloc(n + 1, sizeof *recs);
    struct maildir_uidlist_update u = {.validity = maildir_uidlist_validity(other),
                                       .next = maildir_uidlist_next(other),
                                       .header_rest = maildir_uidlist_header_rest(other),
                                       .recs = recs,
                                       .count = n};
    struct maildir_uidlist_result res;
    uint32_t next = maildir_uidlist_next(l), validity = maildir_uidlist_validity(l);

    for (i = 0; i < n; i++)
        recs[i] = *maildir_uidlist_at(other, i);
    if (maildir_uidlist_merge(l, &u, &res) == 0) {
        free(res.append);
        require(maildir_uidlist_validity(l) > validity || maildir_uidlist_next(l) >= next);
        check_list(l);
        check_round_trip(l);
        require(maildir_uidlist_merge(l, &u, &res) == 0 && res.change == MAILDIR_UIDLIST_SAME);
    }
    free(recs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *cut = size ? memchr(data, 0xff, size) : NULL;
    size_t first = cut ? (size_t)(cut - data) : size;
    struct maildir_uidlist *l, *other;
    struct maildir_uidlist_report rep;

    if (maildir_uidlist_parse((const char *)data, first, &l, &rep) != 0)
        return 0;
    check_list(l);
    check_round_trip(l);
    if (cut) {
        const char *tail = (const char *)cut + 1;
        size_t len = size - first - 1;

        (void)maildir_uidlist_parse_tail(l, tail, len, &rep);
        require(rep.used <= len);
        check_list(l);
        if (maildir_uidlist_parse(tail, len, &other, NULL) == 0) {
            check_update(l, other);
            maildir_uidlist_free(other);
        }
    }
    maildir_uidlist_free(l);
    return 0;
}
