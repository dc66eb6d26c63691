/*
 * name.c: names of message files
 *
 * Takes names of files in new/ and cur/ apart and puts them together, and says whether a name that
 * came from elsewhere may be used at all.
 *
 * Diagnostics: none are logged; -EINVAL and -ENAMETOOLONG tell the caller. What is odd but legal
 * (flags in another order, flags twice, an info that is not "2,") is not an error: Dovecot and
 * others leave such names alone, too.
 */
#include "maildir/name.h"

#include <errno.h>
#include <string.h>

/* Can c stand among the flags after "2,"? Letters a..z are keywords. */
static bool is_flag_char(unsigned char c) {
    return c > ' ' && c < 0x7f && c != ',' && c != ':' && c != '/' && !(c >= 'a' && c <= 'z');
}

static int check_component(const char *name, size_t len) {
    if (len == 0 || memchr(name, '/', len) || memchr(name, '\0', len))
        return -EINVAL;
    if (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')))
        return -EINVAL;
    return len > MAILDIR_NAME_MAX ? -ENAMETOOLONG : 0;
}

int maildir_name_check(const char *name, size_t len, enum maildir_name_kind kind) {
    int err = check_component(name, len);

    if (err == -EINVAL || kind == MAILDIR_NAME_COMPONENT)
        return err;
    if (name[0] == '.' || name[0] == ':' || memchr(name, '\n', len) || memchr(name, '\r', len))
        return -EINVAL;
    if (kind == MAILDIR_NAME_BASE && memchr(name, ':', len))
        return -EINVAL;
    return err;
}

size_t maildir_name_base_len(const char *name, size_t len) {
    const char *colon = memchr(name, ':', len);

    return colon ? (size_t)(colon - name) : len;
}

bool maildir_name_same_base(const char *a, const char *b) {
    size_t la = strcspn(a, ":"), lb = strcspn(b, ":");

    return la == lb && memcmp(a, b, la) == 0;
}

/* The number after ",<key>=" in the base; -1 when there is none, or it is followed by anything but
 * ',' or the end, or does not fit. */
static int64_t base_number(const char *base, size_t len, char key) {
    size_t i, digits;
    int64_t v = 0;

    for (i = 0; i + 3 <= len; i++)
        if (base[i] == ',' && base[i + 1] == key && base[i + 2] == '=')
            break;
    if (i + 3 > len)
        return -1;
    i += 3;
    for (digits = 0; i < len && base[i] >= '0' && base[i] <= '9'; i++, digits++) {
        if (v > (INT64_MAX - 9) / 10)
            return -1;
        v = v * 10 + (base[i] - '0');
    }
    return digits > 0 && (i == len || base[i] == ',') ? v : -1;
}

static void parse_info(struct maildir_name *n) {
    size_t i;

    n->standard = false;
    if (n->info_len < 2 || n->info[0] != '2' || n->info[1] != ',')
        return;
    for (i = 2; i < n->info_len; i++) {
        unsigned char c = (unsigned char)n->info[i];

        if (c >= 'a' && c <= 'z')
            n->keywords |= UINT32_C(1) << (c - 'a');
        else if (is_flag_char(c))
            maildir_set_add(&n->flags, c);
        else
            goto verbatim; /* a second flag set, or nothing we know */
    }
    n->standard = true;
    return;
verbatim:
    n->keywords = 0;
    n->flags = (struct maildir_set){{0, 0}};
}

int maildir_name_parse(const char *name, size_t len, struct maildir_name *out) {
    int err = maildir_name_check(name, len, MAILDIR_NAME_MESSAGE);

    memset(out, 0, sizeof *out);
    if (err)
        return err;
    out->name = name;
    out->len = len;
    out->base_len = maildir_name_base_len(name, len);
    out->size = base_number(name, out->base_len, 'S');
    out->vsize = base_number(name, out->base_len, 'W');
    out->standard = true;
    if (out->base_len < len) {
        out->info = name + out->base_len + 1;
        out->info_len = len - out->base_len - 1;
        parse_info(out);
    }
    return 0;
}

int maildir_flags_format(char *buf, size_t cap, struct maildir_set flags) {
    size_t n = 0;
    unsigned c;

    for (c = 0; c < MAILDIR_SET_MAX; c++) {
        if (!maildir_set_has(flags, c) || !is_flag_char((unsigned char)c))
            continue;
        if (n + 1 >= cap)
            return -ENOSPC;
        buf[n++] = (char)c;
    }
    if (n >= cap)
        return -ENOSPC;
    buf[n] = '\0';
    return (int)n;
}

int maildir_flags_parse(const char *text, size_t len, struct maildir_set *out) {
    size_t i;

    *out = (struct maildir_set){{0, 0}};
    for (i = 0; i < len; i++) {
        if (!is_flag_char((unsigned char)text[i]))
            return -EINVAL;
        maildir_set_add(out, (unsigned char)text[i]);
    }
    return 0;
}

int maildir_name_format_info(char *buf, size_t cap, const char *base, size_t base_len,
                             const char *info, size_t info_len) {
    size_t len = base_len + 1 + info_len;

    if (len > MAILDIR_NAME_MAX || len >= cap)
        return -ENAMETOOLONG;
    memcpy(buf, base, base_len);
    buf[base_len] = ':';
    if (info_len > 0)
        memcpy(buf + base_len + 1, info, info_len);
    buf[len] = '\0';
    return (int)len;
}

/* "2," and everything in ascending ASCII order. Flags beyond 'z' ('|', '~') exist in no software
 * known, but sorting them right costs nothing. */
static size_t format_standard_info(char info[2 + 128], struct maildir_set flags,
                                   uint32_t keywords) {
    size_t n = 0;
    unsigned c;

    info[n++] = '2';
    info[n++] = ',';
    for (c = 0; c < MAILDIR_SET_MAX; c++) {
        if (c >= 'a' && c <= 'z' ? (keywords >> (c - 'a')) & 1
                                 : maildir_set_has(flags, c) && is_flag_char((unsigned char)c))
            info[n++] = (char)c;
    }
    return n;
}

int maildir_name_format(char *buf, size_t cap, const char *base, size_t base_len, bool in_cur,
                        struct maildir_set flags, uint32_t keywords) {
    char info[2 + 128];
    size_t n = format_standard_info(info, flags, keywords);

    if (in_cur || n > 2)
        return maildir_name_format_info(buf, cap, base, base_len, info, n);
    if (base_len > MAILDIR_NAME_MAX || base_len >= cap)
        return -ENAMETOOLONG;
    memcpy(buf, base, base_len);
    buf[base_len] = '\0';
    return (int)base_len;
}
