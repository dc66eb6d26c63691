/*
 * fuzz_names - names of message files, maildirsize and dovecot-uidvalidity from foreign bytes
 *
 * A name that is accepted is one component, and what is put together from its parts reads as the
 * same state. Classes are asked for every kind of directory.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "maildir/class.h"
#include "maildir/name.h"
#include "maildir/size.h"
#include "maildir/uidvalidity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int what) {
    if (!what)
        abort();
}

static void check_format(const struct maildir_name *n) {
    char buf[MAILDIR_NAME_MAX + 1];
    struct maildir_name again;
    int len;

    if (n->standard)
        len =
            maildir_name_format(buf, sizeof buf, n->name, n->base_len, true, n->flags, n->keywords);
    else
        len = maildir_name_format_info(buf, sizeof buf, n->name, n->base_len, n->info, n->info_len);
    if (len < 0) /* ":2," may not fit behind a base of 255 bytes */
        return;
    require((size_t)len == strlen(buf));
    require(maildir_name_parse(buf, (size_t)len, &again) == 0);
    require(again.base_len == n->base_len && memcmp(buf, n->name, n->base_len) == 0);
    require(again.standard == n->standard && again.keywords == n->keywords);
    require(maildir_set_equal(again.flags, n->flags));
    require(again.size == n->size && again.vsize == n->vsize);
}

static void check_name(const char *name, size_t len) {
    struct maildir_name n;
    int dir;

    for (dir = MAILDIR_DIR_CONTAINER; dir <= MAILDIR_DIR_TMP; dir++) {
        enum maildir_class c = maildir_class_of((enum maildir_dir)dir, name, len);

        require(strcmp(maildir_class_name(c), "?") != 0);
        (void)maildir_dir_of((enum maildir_dir)dir, name, len);
    }
    if (maildir_name_parse(name, len, &n) != 0)
        return;
    require(len > 0 && len <= MAILDIR_NAME_MAX && !memchr(name, '/', len) &&
            !memchr(name, 0, len) && name[0] != '.');
    require(maildir_name_check(name, n.base_len, MAILDIR_NAME_BASE) == 0);
    check_format(&n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data;
    struct maildir_size sums;
    struct maildir_set flags;
    uint32_t v;

    check_name(text, size);
    (void)maildir_size_parse(text, size, &sums);
    (void)maildir_flags_parse(text, size, &flags);
    if (maildir_uidvalidity_from_name(text, size, &v) == 0)
        require(v != 0);
    if (maildir_uidvalidity_parse(text, size, &v) == 0)
        require(v != 0);
    return 0;
}
