/*
 * uidlist_parse.c: reading dovecot-uidlist
 *
 * Refuses what Dovecot would call corrupted, since Dovecot deletes such a file and numbers the
 * mailbox anew: better to stop here and say in which line. A line without its '\n' is one that is
 * being appended at this moment.
 *
 * Diagnostics, in report->what: "bad header", "header without V or N", "no whole header",
 * "unsupported version", "bad UID", "UIDs do not ascend", "UID beyond N" (version 1), "bad
 * extension field", "bad file name", "NUL in the file".
 */
#include "maildir/uidlist.h"

#include "maildir/name.h"
#include "maildir/uidlist_priv.h"

#include <errno.h>
#include <string.h>

struct reader {
    const char *p, *end; /* what is left */
    const char *start;
    struct maildir_uidlist_report *rep;
    bool cut; /* the file goes on behind end, with what a power cut has left of it */
};

/* The next whole line without its end; false at the end of all whole lines. */
static bool next_line(struct reader *r, const char **line, size_t *len) {
    const char *eol = memchr(r->p, '\n', (size_t)(r->end - r->p));

    if (!eol) {
        r->rep->torn = r->cut || r->p < r->end;
        return false;
    }
    *line = r->p;
    *len = (size_t)(eol - r->p);
    if (*len > 0 && eol[-1] == '\r') /* as Dovecot's line reader does */
        --*len;
    r->p = eol + 1;
    r->rep->line++;
    return true;
}

static int refuse(struct reader *r, int err, const char *what) {
    r->rep->what = what;
    return err;
}

/* Digits at *p up to the end or a space; 0 if there are none or it is too big. */
static uint32_t take_u32(const char **p, const char *end) {
    uint64_t v = 0;

    while (*p < end && **p >= '0' && **p <= '9') {
        v = v * 10 + (uint64_t)(*(*p)++ - '0');
        if (v > UINT32_MAX)
            return 0;
    }
    return *p == end || **p == ' ' ? (uint32_t)v : 0;
}

static void skip_spaces(const char **p, const char *end) {
    while (*p < end && **p == ' ')
        ++*p;
}

/* "V1 N2 G.. ..." after the version. Fields but V and N are kept as they are. */
static int parse_v3_header(struct reader *r, struct maildir_uidlist *l, const char *p,
                           const char *end) {
    char rest[UIDLIST_REST_MAX + 1];
    size_t n = 0;

    while (p < end) {
        const char *field = p, *value = p + 1;

        while (p < end && *p != ' ')
            p++;
        if (*field == 'V' && p > value) {
            l->validity = take_u32(&value, p);
        } else if (*field == 'N' && p > value) {
            l->header_next = take_u32(&value, p);
        } else {
            size_t len = (size_t)(p - field);

            if (len == 0 || n + len + 1 > UIDLIST_REST_MAX ||
                (*field == 'G' && !uidlist_guid_ok(value, len - 1)))
                return refuse(r, -EBADMSG, "bad header");
            if (n > 0)
                rest[n++] = ' ';
            memcpy(rest + n, field, len);
            n += len;
        }
        skip_spaces(&p, end);
    }
    rest[n] = '\0';
    if (n == 0)
        return 0;
    switch (maildir_uidlist_set_header_rest(l, rest)) {
    case 0:
        return 0;
    case -ENOMEM:
        return -ENOMEM;
    default:
        return refuse(r, -EBADMSG, "bad header");
    }
}

static int parse_header(struct reader *r, struct maildir_uidlist *l) {
    const char *p, *end;
    size_t len;
    int err = 0;

    if (!next_line(r, &p, &len))
        return refuse(r, -ENODATA, "no whole header");
    end = p + len;
    if (len < 2 || p[0] < '0' || p[0] > '9' || p[1] != ' ')
        return refuse(r, -EBADMSG, "bad header");
    r->rep->version = (unsigned)(p[0] - '0');
    p += 2;
    if (r->rep->version == 3) {
        err = parse_v3_header(r, l, p, end);
    } else if (r->rep->version == 1) {
        l->validity = take_u32(&p, end);
        skip_spaces(&p, end);
        l->header_next = take_u32(&p, end);
    } else {
        return refuse(r, -EPROTONOSUPPORT, "unsupported version");
    }
    if (!err && (l->validity == 0 || l->header_next == 0))
        return refuse(r, -EBADMSG, "header without V or N");
    return err;
}

/* The fields before " :name" in a version 3 record; *p is left behind the ':'. */
static bool take_ext(const char **p, const char *end, const char **ext, size_t *ext_len) {
    const char *last = *p;

    *ext = *p;
    while (*p < end && **p != ':') {
        while (*p < end && **p != ' ')
            ++*p;
        last = *p;
        skip_spaces(p, end);
    }
    *ext_len = (size_t)(last - *ext);
    if (*p == end)
        return false;
    ++*p;
    return uidlist_ext_ok(*ext, *ext_len);
}

static int add_record(struct reader *r, struct maildir_uidlist *l, uint32_t uid, const char *ext,
                      size_t ext_len, const char *base, size_t base_len) {
    struct uidrec *old = uidlist_lookup(l, base, base_len);

    if (old) { /* expunged, moved back, appended: the later record is the valid one */
        uidlist_drop(l, old);
        r->rep->duplicates++;
    }
    return uidlist_push(l, uid, ext, ext_len, base, base_len);
}

/* A tail may begin with records that are known; then they must say the same. */
static int take_record(struct reader *r, struct maildir_uidlist *l, uint32_t uid, const char *ext,
                       size_t ext_len, const char *base, size_t base_len) {
    const struct maildir_uidrec *known;

    if (l->count == 0 || uid > l->recs[l->count - 1]->pub.uid)
        return add_record(r, l, uid, ext, ext_len, base, base_len);
    known = maildir_uidlist_find_uid(l, uid);
    if (known && strlen(known->base) == base_len && memcmp(known->base, base, base_len) == 0)
        return 0;
    return refuse(r, -EBADMSG, "UIDs do not ascend");
}

static int parse_record(struct reader *r, struct maildir_uidlist *l, const char *p, size_t len,
                        uint32_t *prev) {
    const char *end = p + len, *ext = "";
    size_t ext_len = 0, base_len;
    uint32_t uid = take_u32(&p, end);

    if (uid == 0 || uid > MAILDIR_UID_MAX || p == end)
        return refuse(r, -EBADMSG, "bad UID");
    if (uid <= *prev)
        return refuse(r, -EBADMSG, "UIDs do not ascend");
    if (r->rep->version == 1 && uid >= l->header_next)
        return refuse(r, -EBADMSG, "UID beyond N");
    skip_spaces(&p, end);
    if (r->rep->version != 1 && !take_ext(&p, end, &ext, &ext_len))
        return refuse(r, -EBADMSG, "bad extension field");
    base_len = maildir_name_base_len(p, (size_t)(end - p));
    if (memchr(p, '/', (size_t)(end - p)) ||
        maildir_name_check(p, base_len, MAILDIR_NAME_BASE) != 0)
        return refuse(r, -EBADMSG, "bad file name");
    *prev = uid;
    return take_record(r, l, uid, ext, ext_len, p, base_len);
}

static int parse_records(struct reader *r, struct maildir_uidlist *l) {
    uint32_t prev = 0;
    const char *line;
    size_t len;

    while (next_line(r, &line, &len)) {
        int err = parse_record(r, l, line, len, &prev);

        if (err)
            return err;
        r->rep->used = (size_t)(r->p - r->start);
    }
    r->rep->line = 0;
    return 0;
}

/* The end of an append that a power cut kept from the disk reads as NULs: the size was there first.
 */
static int check_text(struct reader *r, const char *text, size_t len) {
    const char *nul = len > 0 ? memchr(text, '\0', len) : NULL;

    if (len > MAILDIR_UIDLIST_TEXT_MAX)
        return -EFBIG;
    if (!nul)
        return 0;
    r->cut = true;
    r->end = nul;
    while (nul < text + len && *nul == '\0')
        nul++;
    return nul == text + len ? 0 : refuse(r, -EBADMSG, "NUL in the file");
}

int maildir_uidlist_parse(const char *text, size_t len, struct maildir_uidlist **out,
                          struct maildir_uidlist_report *report) {
    struct maildir_uidlist_report dummy;
    struct reader r = {text, text + len, text, report ? report : &dummy, false};
    struct maildir_uidlist *l;
    int err;

    memset(r.rep, 0, sizeof *r.rep);
    *out = NULL;
    err = check_text(&r, text, len);
    if (err)
        return err;
    if (len == 0)
        return -ENODATA;
    l = uidlist_alloc();
    if (!l)
        return -ENOMEM;
    err = parse_header(&r, l);
    if (!err) {
        r.rep->used = (size_t)(r.p - r.start);
        err = parse_records(&r, l);
    }
    if (err) {
        maildir_uidlist_free(l);
        return err;
    }
    *out = l;
    return 0;
}

int maildir_uidlist_parse_tail(struct maildir_uidlist *list, const char *text, size_t len,
                               struct maildir_uidlist_report *report) {
    struct maildir_uidlist_report dummy;
    struct reader r = {text, text + len, text, report ? report : &dummy, false};
    int err;

    memset(r.rep, 0, sizeof *r.rep);
    r.rep->version = 3;
    err = check_text(&r, text, len);
    return err ? err : parse_records(&r, list);
}
