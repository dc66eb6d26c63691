/*
 * uidlist.c: the list of UIDs of a mailbox
 *
 * Keeps the records sorted by UID and indexed by base name. Reading is in uidlist_parse.c, taking
 * over what the peer sent in uidlist_merge.c.
 *
 * Diagnostics: none are logged. -EEXIST from put and merge means that a UID would have come to name
 * another message; the caller must treat that as a serious disagreement, since clients would be
 * shown wrong bodies.
 */
#include "maildir/uidlist.h"

#include "maildir/name.h"
#include "maildir/uidlist_priv.h"
#include "util/array.h"
#include "util/buf.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct maildir_uidlist *uidlist_alloc(void) {
    struct maildir_uidlist *l = calloc(1, sizeof *l);

    if (l)
        l->rest = "";
    return l;
}

bool uidlist_guid_ok(const char *guid, size_t len) {
    size_t i;

    for (i = 0; i < len; i++)
        if (!strchr("0123456789abcdefABCDEF", guid[i]) || !guid[i])
            return false;
    return len == 32;
}

int maildir_uidlist_new(uint32_t validity, uint32_t next, const char *guid,
                        struct maildir_uidlist **out) {
    struct maildir_uidlist *l;
    char rest[34] = "G";

    *out = NULL;
    if (guid && !uidlist_guid_ok(guid, strlen(guid)))
        return -EINVAL;
    l = uidlist_alloc();
    if (!l)
        return -ENOMEM;
    l->validity = validity;
    l->header_next = next ? next : 1;
    if (guid) {
        memcpy(rest + 1, guid, 33);
        if (maildir_uidlist_set_header_rest(l, rest) != 0) {
            maildir_uidlist_free(l);
            return -ENOMEM;
        }
    }
    *out = l;
    return 0;
}

void maildir_uidlist_free(struct maildir_uidlist *list) {
    if (!list)
        return;
    HASH_CLEAR(hh, list->index);
    free(list->recs);
    maildir_pool_free(&list->pool);
    free(list);
}

void uidlist_swap(struct maildir_uidlist *a, struct maildir_uidlist *b) {
    struct maildir_uidlist t = *a;

    *a = *b;
    *b = t;
}

uint32_t maildir_uidlist_validity(const struct maildir_uidlist *list) {
    return list->validity;
}

void maildir_uidlist_set_validity(struct maildir_uidlist *list, uint32_t v) {
    list->validity = v;
}

uint32_t maildir_uidlist_next(const struct maildir_uidlist *list) {
    uint32_t after = list->count ? list->recs[list->count - 1]->pub.uid + 1 : 1;

    return list->header_next > after ? list->header_next : after;
}

size_t maildir_uidlist_count(const struct maildir_uidlist *list) {
    return list->count;
}

const char *maildir_uidlist_header_rest(const struct maildir_uidlist *list) {
    return list->rest;
}

const struct maildir_uidrec *maildir_uidlist_at(const struct maildir_uidlist *list, size_t i) {
    return &list->recs[i]->pub;
}

struct uidrec *uidlist_lookup(const struct maildir_uidlist *list, const char *base, size_t len) {
    struct uidrec *r = NULL;

    HASH_FIND(hh, list->index, base, len, r);
    return r;
}

const struct maildir_uidrec *maildir_uidlist_find(const struct maildir_uidlist *list,
                                                  const char *base, size_t len) {
    struct uidrec *r = uidlist_lookup(list, base, len);

    return r ? &r->pub : NULL;
}

size_t maildir_uidlist_lower_bound(const struct maildir_uidlist *list, uint32_t uid) {
    size_t lo = 0, hi = list->count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (list->recs[mid]->pub.uid < uid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const struct maildir_uidrec *maildir_uidlist_find_uid(const struct maildir_uidlist *list,
                                                      uint32_t uid) {
    size_t i = maildir_uidlist_lower_bound(list, uid);

    return i < list->count && list->recs[i]->pub.uid == uid ? &list->recs[i]->pub : NULL;
}

void maildir_uidlist_raise_next_to(struct maildir_uidlist *list, uint32_t n) {
    if (n > list->header_next)
        list->header_next = n;
}

void maildir_uidlist_raise_next(struct maildir_uidlist *list, uint32_t gap) {
    uint32_t next = maildir_uidlist_next(list);

    if (gap <= MAILDIR_UID_MAX && next <= MAILDIR_UID_MAX - gap)
        list->header_next = next + gap;
    else
        list->header_next = next > MAILDIR_UID_MAX ? next : MAILDIR_UID_MAX;
}

/* Fields separated by single spaces, each beginning with a letter of which key_ok approves, no
 * control characters. */
static bool fields_ok(const char *p, size_t len, bool (*key_ok)(char)) {
    bool at_key = true;
    size_t i;

    for (i = 0; i < len; i++) {
        if (p[i] == ' ') {
            if (at_key)
                return false;
            at_key = true;
            continue;
        }
        if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f || (at_key && !key_ok(p[i])))
            return false;
        at_key = false;
    }
    return len == 0 || !at_key;
}

static bool ext_key_ok(char c) {
    return c >= 'A' && c <= 'Z';
}

static bool rest_key_ok(char c) {
    return c != 'V' && c != 'N';
}

bool uidlist_ext_ok(const char *ext, size_t len) {
    return fields_ok(ext, len, ext_key_ok);
}

bool uidlist_rest_ok(const char *rest, size_t len) {
    return fields_ok(rest, len, rest_key_ok);
}

int maildir_uidlist_set_header_rest(struct maildir_uidlist *list, const char *rest) {
    size_t len = strlen(rest);
    char *copy;

    if (len > UIDLIST_REST_MAX || !uidlist_rest_ok(rest, len))
        return -EINVAL;
    copy = maildir_pool_strndup(&list->pool, rest, len);
    if (!copy)
        return -ENOMEM;
    list->rest = copy;
    return 0;
}

static int reserve_one(struct maildir_uidlist *list) {
    struct uidrec **recs = array_room(list->recs, list->count, sizeof *recs);

    if (!recs)
        return -ENOMEM;
    list->recs = recs;
    return 0;
}

static struct uidrec *make_record(struct maildir_uidlist *list, uint32_t uid, const char *ext,
                                  size_t ext_len, const char *base, size_t base_len) {
    struct uidrec *r = maildir_pool_alloc(&list->pool, sizeof *r);

    if (!r)
        return NULL;
    r->pub.uid = uid;
    r->pub.ext = ext_len ? maildir_pool_strndup(&list->pool, ext, ext_len) : "";
    r->pub.base = maildir_pool_strndup(&list->pool, base, base_len);
    r->base_len = base_len;
    return r->pub.ext && r->pub.base ? r : NULL;
}

/* Put a record at position i. */
static int insert_at(struct maildir_uidlist *list, size_t i, struct uidrec *r) {
    if (!r || reserve_one(list) != 0)
        return -ENOMEM;
    HASH_ADD_KEYPTR(hh, list->index, r->pub.base, r->base_len, r);
    if (!r->hh.tbl)
        return -ENOMEM;
    memmove(list->recs + i + 1, list->recs + i, (list->count - i) * sizeof *list->recs);
    list->recs[i] = r;
    list->count++;
    return 0;
}

int uidlist_push(struct maildir_uidlist *list, uint32_t uid, const char *ext, size_t ext_len,
                 const char *base, size_t base_len) {
    return insert_at(list, list->count, make_record(list, uid, ext, ext_len, base, base_len));
}

void uidlist_pop(struct maildir_uidlist *list) {
    struct uidrec *r = list->recs[--list->count];

    HASH_DEL(list->index, r);
}

void uidlist_drop(struct maildir_uidlist *list, struct uidrec *r) {
    size_t i = maildir_uidlist_lower_bound(list, r->pub.uid);

    HASH_DEL(list->index, r);
    memmove(list->recs + i, list->recs + i + 1, (list->count - i - 1) * sizeof *list->recs);
    list->count--;
}

int maildir_uidlist_put(struct maildir_uidlist *list, uint32_t uid, const char *ext,
                        const char *base) {
    size_t base_len = strlen(base), ext_len = ext ? strlen(ext) : 0;
    const struct maildir_uidrec *there = maildir_uidlist_find_uid(list, uid);
    struct uidrec *old, *r;
    uint32_t next = maildir_uidlist_next(list);

    if (uid == 0 || uid > MAILDIR_UID_MAX || !uidlist_ext_ok(ext ? ext : "", ext_len) ||
        maildir_name_check(base, base_len, MAILDIR_NAME_BASE) != 0)
        return -EINVAL;
    if (there && strcmp(there->base, base) != 0)
        return -EEXIST;
    old = uidlist_lookup(list, base, base_len);
    r = make_record(list, uid, ext, ext_len, base, base_len);
    if (!r)
        return -ENOMEM;
    if (old) {
        uidlist_drop(list, old);
        maildir_uidlist_raise_next_to(list, next);
    }
    return insert_at(list, maildir_uidlist_lower_bound(list, uid), r);
}

int maildir_uidlist_remove(struct maildir_uidlist *list, const char *base) {
    struct uidrec *r = uidlist_lookup(list, base, strlen(base));
    uint32_t next = maildir_uidlist_next(list);

    if (!r)
        return -ENOENT;
    uidlist_drop(list, r);
    maildir_uidlist_raise_next_to(list, next); /* the UID is used up all the same */
    return 0;
}

int maildir_uidlist_format(const struct maildir_uidlist *list, char **out, size_t *len) {
    struct buf b;
    size_t i;
    int err;

    buf_init(&b, (size_t)2 * MAILDIR_UIDLIST_TEXT_MAX);
    buf_printf(&b, "3 V%" PRIu32 " N%" PRIu32 "%s%s\n", list->validity, maildir_uidlist_next(list),
               *list->rest ? " " : "", list->rest);
    for (i = 0; i < list->count; i++) {
        const struct maildir_uidrec *r = &list->recs[i]->pub;

        buf_printf(&b, "%" PRIu32 "%s%s :", r->uid, *r->ext ? " " : "", r->ext);
        buf_append(&b, r->base, list->recs[i]->base_len);
        buf_add_char(&b, '\n');
    }
    err = buf_error(&b);
    *out = err ? NULL : buf_steal(&b, len);
    if (!err && !*out)
        err = -ENOMEM;
    buf_free(&b);
    return err;
}
