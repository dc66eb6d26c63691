/* later_pair - see later_pair.h */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/io.h"
#include "syncd/base.h"
#include "syncd/content.h"
#include "syncd/journal.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "syncd/stage.h"
#include "syncd/state_int.h"
#include "unsynced.h"
#include "later_pair.h"

static void text_of(const char *base, char text[64]) {
    snprintf(text, 64, "message %.40s\n", base);
}

void fill(unsigned n) {
    char rel[64], base[32], text[64];

    for (unsigned i = 0; i < n; i++) {
        snprintf(base, sizeof(base), "%u.M1.a", i);
        snprintf(rel, sizeof(rel), "u/cur/%s:2,S", base);
        text_of(base, text);
        fs_write(&p.a, rel, text);
    }
}

static Mfp__Meta meta_of(const char *text) {
    Mfp__Meta meta = MFP__META__INIT;

    meta.mode = 0600;
    meta.uid = geteuid();
    meta.gid = getegid();
    meta.size = strlen(text);
    return meta;
}

int fetch(const struct content_want *w) {
    Mfp__Meta meta;
    char text[64];
    struct stage_file *f;
    int r;

    text_of(w->name, text);
    meta = meta_of(text);
    r = stage_begin_fetch(p.b.st, &w->dir, w->sub, w->name, &meta, NULL, &f);
    if (r < 0)
        return r;
    r = stage_write(f, 0, text, strlen(text));
    if (r == 0)
        return stage_commit(f, STAGE_LATER);
    stage_abandon(f);
    return r;
}

int fetch_all(struct content_wants *wants) {
    int r = 0;

    for (size_t i = 0; r == 0 && i < wants->n; i++)
        r = fetch(&wants->v[i]);
    content_wants_free(wants);
    return r;
}

int try_fetch_some(unsigned n) {
    char name[32];
    int r = 0;

    for (unsigned i = 0; r == 0 && i < n; i++) {
        snprintf(name, sizeof(name), "%u.M1.a", i);
        r = fetch(&(struct content_want){.dir = inbox, .sub = MFP__SUB__CUR, .name = name});
    }
    return r;
}

void fetch_some(unsigned n) {
    assert_int_equal(try_fetch_some(n), 0);
}

unsigned whole(const char *dir, const char *begin, bool named_by_base) {
    char path[512], rel[512], expected[64], *text;
    struct dirent *de;
    unsigned n = 0;
    DIR *d;

    snprintf(path, sizeof(path), "%s/%s", p.b.store, dir);
    d = opendir(path);
    assert_non_null(d);
    while ((de = readdir(d))) {
        if (de->d_name[0] == '.' || strncmp(de->d_name, begin, strlen(begin)) != 0)
            continue;
        snprintf(rel, sizeof(rel), "%s/%.300s", dir, de->d_name);
        text = fs_read(&p.b, rel);
        snprintf(path, sizeof(path), "%.*s", (int)strcspn(de->d_name, ":"), de->d_name);
        text_of(path, expected);
        if (named_by_base)
            assert_string_equal(text, expected);
        else
            assert_int_equal(strncmp(text, "message ", 8), 0);
        free(text);
        n++;
    }
    closedir(d);
    return n;
}

int fetch_and_merge(const Mfp__Listing *mine, const Mfp__Listing *theirs) {
    uint8_t digest[STATE_DIGEST];
    struct content_wants wants;
    int r = content_lacks(p.b.st, theirs, &wants);

    if (r == 0)
        r = fetch_all(&wants);
    return r == 0 ? merge_mailbox_run(p.b.st, &inbox, mine, theirs, digest, NULL) : r;
}

void merge_watched(void) {
    Mfp__Listing *mine, *theirs;
    int r;

    assert_int_equal(scan_mailbox(p.a.st, &inbox, true, &theirs), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, true, &mine), 0);
    watch();
    r = fetch_and_merge(mine, theirs);
    io_ops_set(&io_ops_real);
    assert_int_equal(r, 0);
    mfp__listing__free_unpacked(mine, NULL);
    mfp__listing__free_unpacked(theirs, NULL);
}

int append(const Mfp__Txn *txn) {
    struct journal_entry e = {.txn = txn};

    return journal_append(p.b.st, &e, 1);
}

void prepare(const struct mailfs_id *dir, unsigned n) {
    char base[32], tmp[32], text[64];
    Mfp__Meta meta;
    struct stage_file *f;

    n_unsynced = 0;
    watch();
    for (unsigned i = 0; i < n; i++) {
        struct stage_prep id = {77, i + 1};
        snprintf(base, sizeof(base), "%u.M1.a", i);
        snprintf(tmp, sizeof(tmp), "%u.tmp", i);
        text_of(base, text);
        meta = meta_of(text);
        assert_int_equal(stage_begin_prep(p.b.st, &id, dir, tmp, &meta, &f), 0);
        assert_int_equal(stage_write(f, 0, text, strlen(text)), 0);
        assert_int_equal(stage_commit(f, STAGE_LOOSE), 0);
    }
    io_ops_set(&io_ops_real);
    assert_int_equal(n_unsynced, n);
}

Mfp__Txn *name_prepared(unsigned n) {
    struct acts a = {.n = 0};
    char base[32], rel[64], text[64];

    for (unsigned i = 0; i < n; i++) {
        snprintf(base, sizeof(base), "%u.M1.a", i);
        snprintf(rel, sizeof(rel), "u/new/%s", base);
        text_of(base, text);
        fs_write(&p.a, rel, text);
        act_add(&p.a, &a, "u", MFL__SUB__NEW, base, i + 1);
    }
    return node_collect(&p.a, &inbox, &a, false);
}

void name_prepared_untold(unsigned n) {
    mfp__txn__free_unpacked(name_prepared(n), NULL);
    base_forget_sent(p.a.st);
}
