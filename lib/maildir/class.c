/*
 * class.c: what a path is
 *
 * One table of names for containers; new/, cur/ and tmp/ have rules of their own. Decisions that
 * are not obvious:
 *
 * - Names that begin with '.' in new/ and cur/ are seen by no Maildir reader (maildir-sync.c skips
 *   them): node-local, the poke among them.
 * - dovecot-acl is replicated; dovecot-acl-list is a cache of where ACLs are and is rebuilt by each
 *   node.
 * - .dovecot.lda-dupes is replicated, so that a vacation reply is not sent twice.
 * - maildirfolder, sieve scripts and their binaries are OTHER: plain files.
 * - Dovecot makes temporary files as NAME + "host.pid.hex" (safe-mkstemp.c) and renames them over
 *   NAME: hence prefixes for what has such a partner.
 *
 * Diagnostics: none.
 */
#include "maildir/class.h"

#include "maildir/name.h"

#include <string.h>

struct rule {
    const char *text;
    bool prefix;
    enum maildir_class class;
};

/* First match decides. *.lock is looked at before. */
static const struct rule rules[] = {
    {"new", false, MAILDIR_SUBDIR_NEW},
    {"cur", false, MAILDIR_SUBDIR_CUR},
    {"tmp", false, MAILDIR_SUBDIR_TMP},
    {"dovecot-uidlist", false, MAILDIR_UIDLIST},
    {"dovecot-uidlist.tmp", false, MAILDIR_UIDLIST_TMP},
    {"dovecot-keywords", false, MAILDIR_KEYWORDS},
    {"dovecot-uidvalidity", false, MAILDIR_UIDVALIDITY},
    {"dovecot-uidvalidity.", true, MAILDIR_VALIDITY_MARK},
    {"subscriptions", false, MAILDIR_SUBSCRIPTIONS},
    {"maildirsize", false, MAILDIR_SIZE},
    {"maildirsize", true, MAILDIR_NODE_LOCAL}, /* its temporary files */
    {"dovecot.index", true, MAILDIR_NODE_LOCAL},
    {"dovecot.map.index", true, MAILDIR_NODE_LOCAL},
    {"dovecot.list.index", true, MAILDIR_NODE_LOCAL},
    {"dovecot.mailbox.log", true, MAILDIR_NODE_LOCAL},
    {"dovecot-acl-list", true, MAILDIR_NODE_LOCAL},
    {"mailboxes.lock", true, MAILDIR_NODE_LOCAL},
    {".temp.", true, MAILDIR_NODE_LOCAL}, /* dotlocks without O_EXCL */
    {"temp.", true, MAILDIR_NODE_LOCAL},
    {".nfs", true, MAILDIR_NODE_LOCAL},
    {".fuse_hidden", true, MAILDIR_NODE_LOCAL},
    {"..DOVECOT-TRASHED", false, MAILDIR_TRASH},
    {"..DOVECOT-TrasH", false, MAILDIR_TRASH}, /* LAYOUT=fs */
    {".mailfs", false, MAILDIR_INTERNAL},
    {".mailfs-", true, MAILDIR_INTERNAL},
};

static bool is(const char *name, size_t len, const char *text) {
    return len == strlen(text) && memcmp(name, text, len) == 0;
}

static bool begins(const char *name, size_t len, const char *text) {
    return len >= strlen(text) && memcmp(name, text, strlen(text)) == 0;
}

static bool ends(const char *name, size_t len, const char *text) {
    size_t n = strlen(text);

    return len >= n && memcmp(name + len - n, text, n) == 0;
}

static enum maildir_class class_in_container(const char *name, size_t len) {
    size_t i;

    if (is(name, len, "dovecot-uidlist.lock"))
        return MAILDIR_LOCK_L;
    if (is(name, len, "mailboxes.lock"))
        return MAILDIR_NODE_LOCAL;
    if (ends(name, len, ".lock"))
        return MAILDIR_LOCK_OTHER;
    for (i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if (rules[i].prefix ? begins(name, len, rules[i].text) : is(name, len, rules[i].text))
            return rules[i].class;
    return MAILDIR_OTHER;
}

static enum maildir_class class_of_message(const char *name, size_t len) {
    if (is(name, len, MAILDIR_POKE_NAME))
        return MAILDIR_POKE;
    /* also what no uidlist could name, such as a file with a line end */
    if (maildir_name_check(name, len, MAILDIR_NAME_MESSAGE) != 0)
        return MAILDIR_NODE_LOCAL;
    return MAILDIR_MESSAGE;
}

enum maildir_class maildir_class_of(enum maildir_dir dir, const char *name, size_t len) {
    switch (dir) {
    case MAILDIR_DIR_TMP:
        return MAILDIR_TMP_LOCAL;
    case MAILDIR_DIR_NEW:
    case MAILDIR_DIR_CUR:
        return class_of_message(name, len);
    case MAILDIR_DIR_CONTAINER:
        break;
    }
    return class_in_container(name, len);
}

enum maildir_dir maildir_dir_of(enum maildir_dir parent, const char *name, size_t len) {
    if (parent == MAILDIR_DIR_TMP)
        return MAILDIR_DIR_TMP;
    if (parent != MAILDIR_DIR_CONTAINER)
        return MAILDIR_DIR_CONTAINER;
    if (is(name, len, "new"))
        return MAILDIR_DIR_NEW;
    if (is(name, len, "cur"))
        return MAILDIR_DIR_CUR;
    if (is(name, len, "tmp"))
        return MAILDIR_DIR_TMP;
    return MAILDIR_DIR_CONTAINER;
}

bool maildir_class_is_local(enum maildir_class c) {
    switch (c) {
    case MAILDIR_TMP_LOCAL:
    case MAILDIR_LOCK_L:
    case MAILDIR_LOCK_OTHER:
    case MAILDIR_UIDLIST_TMP:
    case MAILDIR_VALIDITY_MARK:
    case MAILDIR_SIZE:
    case MAILDIR_NODE_LOCAL:
    case MAILDIR_TRASH:
    case MAILDIR_INTERNAL:
    case MAILDIR_POKE:
        return true;
    default:
        return false;
    }
}

bool maildir_class_is_volatile(enum maildir_class c) {
    switch (c) {
    case MAILDIR_LOCK_L:
    case MAILDIR_LOCK_OTHER:
    case MAILDIR_UIDLIST:
    case MAILDIR_UIDLIST_TMP:
    case MAILDIR_KEYWORDS:
    case MAILDIR_UIDVALIDITY:
    case MAILDIR_VALIDITY_MARK:
    case MAILDIR_SUBSCRIPTIONS:
        return true;
    default:
        return false;
    }
}

const char *maildir_class_name(enum maildir_class c) {
    static const char *const names[] = {
        [MAILDIR_MESSAGE] = "message",
        [MAILDIR_TMP_LOCAL] = "tmp",
        [MAILDIR_LOCK_L] = "uidlist lock",
        [MAILDIR_LOCK_OTHER] = "lock",
        [MAILDIR_UIDLIST] = "uidlist",
        [MAILDIR_UIDLIST_TMP] = "uidlist.tmp",
        [MAILDIR_KEYWORDS] = "keywords",
        [MAILDIR_UIDVALIDITY] = "uidvalidity",
        [MAILDIR_VALIDITY_MARK] = "uidvalidity mark",
        [MAILDIR_SUBSCRIPTIONS] = "subscriptions",
        [MAILDIR_SIZE] = "maildirsize",
        [MAILDIR_NODE_LOCAL] = "node-local",
        [MAILDIR_SUBDIR_NEW] = "new",
        [MAILDIR_SUBDIR_CUR] = "cur",
        [MAILDIR_SUBDIR_TMP] = "tmp directory",
        [MAILDIR_TRASH] = "trash",
        [MAILDIR_INTERNAL] = "internal",
        [MAILDIR_POKE] = "poke",
        [MAILDIR_OTHER] = "other",
    };

    return (size_t)c < sizeof names / sizeof names[0] && names[c] ? names[c] : "?";
}
