/*
 * id - random 128-bit identifiers and their text form
 *
 * Diagnostics: none; errors are returned.
 */
#include "util/id.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "util/str.h"

const struct mailfs_id mailfs_id_root;

int mailfs_id_new(struct mailfs_id *id) {
    do {
        ssize_t n = getrandom(id->b, sizeof id->b, 0);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n != (ssize_t)sizeof id->b) /* only before the kernel's pool is ready */
            memset(id->b, 0, sizeof id->b);
    } while (mailfs_id_is_root(id));
    return 0;
}

const char *mailfs_id_format(const struct mailfs_id *id, char hex[MAILFS_ID_HEX]) {
    static const char digits[] = "0123456789abcdef";
    for (unsigned i = 0; i < MAILFS_ID_BYTES; i++) {
        hex[2 * i] = digits[id->b[i] >> 4];
        hex[2 * i + 1] = digits[id->b[i] & 15];
    }
    hex[MAILFS_ID_HEX - 1] = '\0';
    return hex;
}

int mailfs_id_parse(const char *hex, struct mailfs_id *id) {
    struct mailfs_id out;
    for (unsigned i = 0; i < MAILFS_ID_BYTES; i++) {
        int high = str_hex_digit(hex[2 * i]);
        int low = high < 0 ? -1 : str_hex_digit(hex[2 * i + 1]);
        if (low < 0)
            return -EINVAL;
        out.b[i] = (uint8_t)(high << 4 | low);
    }
    if (hex[MAILFS_ID_HEX - 1] != '\0')
        return -EINVAL;
    *id = out;
    return 0;
}

int mailfs_id_cmp(const struct mailfs_id *a, const struct mailfs_id *b) {
    return memcmp(a->b, b->b, sizeof a->b);
}

bool mailfs_id_equal(const struct mailfs_id *a, const struct mailfs_id *b) {
    return mailfs_id_cmp(a, b) == 0;
}

bool mailfs_id_is_root(const struct mailfs_id *id) {
    return mailfs_id_equal(id, &mailfs_id_root);
}
