/* Do two stores hold the same? See syncd_pair.h. */
#include "syncd_pair_int.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "maildir/uidlist.h"

static void compare(struct pair *p, const char *rel);

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t names(struct node *n, const char *rel, char **v, size_t max) {
    char x[512];
    DIR *d = opendir(fs_path(n, rel, x));
    struct dirent *de;
    size_t k = 0;

    assert_non_null(d);
    while ((de = readdir(d))) {
        if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0 ||
            strcmp(de->d_name, ".mailfs") == 0 || strcmp(de->d_name, "..DOVECOT-TRASHED") == 0 ||
            strcmp(de->d_name, "maildirsize") == 0 ||
            strncmp(de->d_name, "dovecot-uidvalidity.", 20) == 0) /* each node's own */
            continue;
        assert_true(k < max);
        v[k++] = strdup(de->d_name);
    }
    closedir(d);
    qsort(v, k, sizeof(*v), by_name);
    return k;
}

static bool msg_in(struct node *n, const char *dir, const char *sub, const char *base) {
    char x[900];
    size_t len = strlen(base);
    struct dirent *de;
    bool found = false;
    DIR *d;

    snprintf(x, sizeof(x), "%s/%s/%s", n->store, dir, sub);
    d = opendir(x);
    while (d && !found && (de = readdir(d)))
        found = strncmp(de->d_name, base, len) == 0 &&
                (de->d_name[len] == ':' || de->d_name[len] == '\0');
    if (d)
        closedir(d);
    return found;
}

/* Each record of a message that is there is in the other list under the same UID. (Of one that came
 * and went a record can be left on one node.) */
static void records_in(struct node *n, const char *dir, struct maildir_uidlist *a,
                       struct maildir_uidlist *b) {
    size_t i;

    for (i = 0; i < maildir_uidlist_count(a); i++) {
        const struct maildir_uidrec *r = maildir_uidlist_at(a, i), *o;
        o = maildir_uidlist_find(b, r->base, strlen(r->base));
        if (o && o->uid != r->uid)
            fail_msg("%s: %s has UID %u and UID %u", dir, r->base, r->uid, o->uid);
        if (!o && (msg_in(n, dir, "cur", r->base) || msg_in(n, dir, "new", r->base)))
            fail_msg("%s: %s has UID %u on %s only", dir, r->base, r->uid, n->name);
    }
}

/* Two texts can say the same: N is stale after appended records. */
static void compare_uidlists(struct pair *p, const char *rel, const char *ta, const char *tb) {
    struct maildir_uidlist *a, *b;
    char dir[800];

    snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(rel, '/') - rel), rel);
    assert_int_equal(maildir_uidlist_parse(ta, strlen(ta), &a, NULL), 0);
    assert_int_equal(maildir_uidlist_parse(tb, strlen(tb), &b, NULL), 0);
    assert_int_equal(maildir_uidlist_validity(a), maildir_uidlist_validity(b));
    assert_int_equal(maildir_uidlist_next(a), maildir_uidlist_next(b));
    records_in(&p->a, dir, a, b);
    records_in(&p->b, dir, b, a);
    maildir_uidlist_free(a);
    maildir_uidlist_free(b);
}

static void compare_file(struct pair *p, const char *rel, const struct stat *sa,
                         const struct stat *sb) {
    char *ta = fs_read(&p->a, rel), *tb = fs_read(&p->b, rel);
    const char *slash = strrchr(rel, '/');
    bool control = slash && strncmp(slash, "/dovecot-", 9) == 0;

    if (slash && strcmp(slash, "/subscriptions") == 0)
        control = true;
    if (slash && strcmp(slash, "/dovecot-uidlist") == 0)
        compare_uidlists(p, rel, ta, tb);
    else
        assert_string_equal(ta, tb);
    if (!control && sa->st_mtim.tv_nsec != sb->st_mtim.tv_nsec)
        fail_msg("%s: mtimes differ", rel);
    free(ta);
    free(tb);
}

static void compare_dir(struct pair *p, const char *rel) {
    static char *va[20000], *vb[20000];
    char **ka, **kb;
    size_t na = names(&p->a, rel, va, 20000), nb = names(&p->b, rel, vb, 20000), i;

    for (i = 0; i < na || i < nb; i++) {
        if (i >= na || i >= nb || strcmp(va[i], vb[i]) != 0)
            fail_msg("%s: a has %s, b has %s", rel, i < na ? va[i] : "(end)",
                     i < nb ? vb[i] : "(end)");
    }
    ka = malloc((na + 1) * sizeof(*ka));
    kb = malloc((na + 1) * sizeof(*kb));
    memcpy(ka, va, na * sizeof(*ka));
    memcpy(kb, vb, na * sizeof(*kb));
    for (i = 0; i < na; i++) {
        char sub[800];
        snprintf(sub, sizeof(sub), "%s%s%s", rel, *rel ? "/" : "", ka[i]);
        compare(p, sub);
        free(ka[i]);
        free(kb[i]);
    }
    free(ka);
    free(kb);
}

static void compare(struct pair *p, const char *rel) {
    char x[900], y[900];
    struct stat sa, sb;

    snprintf(x, sizeof(x), "%s/%s", p->a.store, rel);
    snprintf(y, sizeof(y), "%s/%s", p->b.store, rel);
    assert_int_equal(lstat(x, &sa), 0);
    assert_int_equal(lstat(y, &sb), 0);
    if (sa.st_mode != sb.st_mode)
        fail_msg("%s: modes %o and %o", rel, sa.st_mode, sb.st_mode);
    if (S_ISREG(sa.st_mode))
        compare_file(p, rel, &sa, &sb);
    if (S_ISDIR(sa.st_mode)) {
        const char *base = strrchr(rel, '/');
        base = base ? base + 1 : rel;
        if (strcmp(base, "cur") && strcmp(base, "new") && strcmp(base, "tmp")) {
            struct mailfs_id ia = fs_id(&p->a, rel), ib = fs_id(&p->b, rel);
            if (!mailfs_id_equal(&ia, &ib))
                fail_msg("%s: ids differ", rel);
        }
        if (strcmp(base, "tmp"))
            compare_dir(p, rel);
    }
    if (S_ISLNK(sa.st_mode)) {
        char la[256] = "", lb[256] = "";
        assert_true(readlink(x, la, sizeof(la) - 1) > 0);
        assert_true(readlink(y, lb, sizeof(lb) - 1) > 0);
        assert_string_equal(la, lb);
    }
}

void stores_assert_equal(struct pair *p) {
    compare_dir(p, "");
}
