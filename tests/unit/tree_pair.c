/* tree_pair - see tree_pair.h */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "tree_pair.h"

struct mailfs_id work;

int tree_setup(void **state) {
    contact_with_folder(&p, &inbox, &work);
    return 0;
}

void trees_free(struct trees *t) {
    mfp__tree__free_unpacked(t->a, NULL);
    mfp__tree__free_unpacked(t->b, NULL);
    mfp__tree__free_unpacked(t->wa, NULL);
    mfp__tree__free_unpacked(t->wb, NULL);
}

void name_in(struct node *n, const char *dir, const char *prefix, char out[300]) {
    char path[512];
    struct dirent *de;
    DIR *d;

    *out = '\0';
    snprintf(path, sizeof(path), "%s/.mailfs/%s", n->store, dir);
    d = opendir(path);
    assert_non_null(d);
    while ((de = readdir(d))) {
        if (strncmp(de->d_name, prefix, strlen(prefix)) == 0)
            snprintf(out, 300, ".mailfs/%s/%.250s", dir, de->d_name);
    }
    closedir(d);
}

void scan_both(struct trees *t, bool full) {
    uint8_t d[STATE_DIGEST];

    assert_int_equal(tree_scan(p.a.st, full, &t->a, d, NULL), 0);
    assert_int_equal(tree_scan(p.b.st, full, &t->b, d, NULL), 0);
    t->wa = tree_over_wire(t->a);
    t->wb = tree_over_wire(t->b);
}

int run_both(struct trees *t) {
    uint8_t d[STATE_DIGEST];
    int r;

    assert_int_equal(tree_merge_run(p.a.st, t->a, t->wb, false, d, NULL), 0);
    r = tree_merge_run(p.b.st, t->b, t->wa, false, d, NULL);
    trees_free(t);
    return r;
}

void move_aside(struct node *n, const char *rel, const struct mailfs_id *id) {
    char to[100], hex[MAILFS_ID_HEX];

    snprintf(to, sizeof(to), ".mailfs/trash/move-%s", mailfs_id_format(id, hex));
    fs_rename(n, rel, to);
}

void merge_at_a_only(void) {
    uint8_t d[STATE_DIGEST];
    struct trees t;

    scan_both(&t, false);
    assert_int_equal(tree_merge_run(p.a.st, t.a, t.wb, false, d, NULL), 0);
    trees_free(&t);
}

void assert_list_begins(struct node *n, const char *folder, const char *with) {
    char rel[100], *text;

    snprintf(rel, sizeof(rel), "%s/dovecot-uidlist", folder);
    text = fs_read(n, rel);
    assert_non_null(text);
    assert_memory_equal(text, with, strlen(with));
    free(text);
}
