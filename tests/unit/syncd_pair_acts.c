/* What mailfs would have told; see syncd_pair.h. */
#include "syncd_pair_int.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/dirid.h"
#include "io/handle.h"

static Mfl__Act *act_new(struct acts *a, Mfl__Act__WhatCase what) {
    NEW(Mfl__Act, mfl__act__init, act);
    act->what_case = what;
    assert_true(a->n < sizeof(a->v) / sizeof(*a->v));
    return a->v[a->n++] = act;
}

static ProtobufCBinaryData bytes(const void *p, size_t n) {
    ProtobufCBinaryData b = {n, malloc(n)};
    assert_non_null(b.data);
    memcpy(b.data, p, n);
    return b;
}

Mfl__Meta *act_meta(struct node *n, const char *rel) {
    char x[512];
    struct stat sb;
    NEW(Mfl__Meta, mfl__meta__init, m);
    assert_int_equal(lstat(fs_path(n, rel, x), &sb), 0);
    m->mode = sb.st_mode & 07777;
    m->uid = sb.st_uid;
    m->gid = sb.st_gid;
    m->mtime_ns = (int64_t)sb.st_mtim.tv_sec * 1000000000 + sb.st_mtim.tv_nsec;
    m->size = (uint64_t)sb.st_size;
    return m;
}

static Mfl__Add *add_new(struct node *n, struct acts *a, const char *mbox, int sub,
                         const char *name) {
    char rel[400];
    NEW(Mfl__Add, mfl__add__init, add);
    snprintf(rel, sizeof(rel), "%s/%s/%s", mbox, sub == MFL__SUB__NEW ? "new" : "cur", name);
    add->sub = (Mfl__Sub)sub;
    add->name = strdup(name);
    add->meta = act_meta(n, rel);
    act_new(a, MFL__ACT__WHAT_ADD)->add = add;
    return add;
}

void acts_prepared(struct acts *a, uint64_t prep) {
    NEW(Mfl__Prepared, mfl__prepared__init, p);
    p->incarnation = 77;
    p->seq = prep;
    a->v[a->n - 1]->add->source->prepared = p;
}

void act_add(struct node *n, struct acts *a, const char *mbox, int sub, const char *name,
             uint64_t prep) {
    Mfl__Add *add = add_new(n, a, mbox, sub, name);

    if (!prep)
        return;
    NEW(Mfl__Source, mfl__source__init, src);
    add->source = src;
    acts_prepared(a, prep);
}

void act_add_link(struct node *n, struct acts *a, const char *mbox, int sub, const char *name,
                  const struct mailfs_id *from, int from_sub, const char *from_name) {
    Mfl__Add *add = add_new(n, a, mbox, sub, name);
    NEW(Mfl__Source, mfl__source__init, src);

    src->link_dir = bytes(from->b, sizeof(from->b));
    src->link_sub = (Mfl__Sub)from_sub;
    src->link_name = strdup(from_name);
    add->source = src;
}

void act_move(struct acts *a, int old_sub, const char *old_name, int sub, const char *name) {
    NEW(Mfl__Move, mfl__move__init, m);
    m->old_sub = (Mfl__Sub)old_sub;
    m->sub = (Mfl__Sub)sub;
    m->old_name = strdup(old_name);
    m->name = strdup(name);
    act_new(a, MFL__ACT__WHAT_MOVE)->move = m;
}

void act_remove(struct acts *a, int sub, const char *name) {
    NEW(Mfl__Remove, mfl__remove__init, m);
    m->sub = (Mfl__Sub)sub;
    m->name = strdup(name);
    act_new(a, MFL__ACT__WHAT_REMOVE)->remove = m;
}

void act_file(struct acts *a, const char *name) {
    NEW(Mfl__File, mfl__file__init, m);
    m->name = strdup(name);
    act_new(a, MFL__ACT__WHAT_FILE)->file = m;
}

void act_dir_make(struct node *n, struct acts *a, const char *parent, const char *name) {
    char rel[400], x[512];
    struct mailfs_id id;
    struct io_handle h;
    int fd;
    NEW(Mfl__DirMake, mfl__dir_make__init, m);

    snprintf(rel, sizeof(rel), "%s%s%s", parent, *parent ? "/" : "", name);
    id = fs_id(n, rel);
    fd = open(fs_path(n, rel, x), O_RDONLY | O_DIRECTORY);
    assert_int_equal(io_handle_get_fd(fd, &h), 0);
    close(fd);
    m->id = bytes(id.b, sizeof(id.b));
    m->name = strdup(name);
    m->meta = act_meta(n, rel);
    m->handle = bytes(&h, sizeof(h));
    act_new(a, MFL__ACT__WHAT_DIR_MAKE)->dir_make = m;
}

void act_dir_move(struct acts *a, const struct mailfs_id *id, const char *old_name,
                  const struct mailfs_id *parent, const char *name) {
    NEW(Mfl__DirMove, mfl__dir_move__init, m);
    m->id = bytes(id->b, sizeof(id->b));
    m->new_parent = bytes(parent->b, sizeof(parent->b));
    m->old_name = strdup(old_name);
    m->name = strdup(name);
    act_new(a, MFL__ACT__WHAT_DIR_MOVE)->dir_move = m;
}

void act_dir_remove(struct acts *a, const struct mailfs_id *id, const char *name,
                    const char *const *bases, size_t n) {
    size_t i;
    NEW(Mfl__DirRemove, mfl__dir_remove__init, m);
    m->id = bytes(id->b, sizeof(id->b));
    m->name = strdup(name);
    m->bases = calloc(n + 1, sizeof(*m->bases));
    for (i = 0; i < n; i++)
        m->bases[m->n_bases++] = strdup(bases[i]);
    m->trashed = true;
    act_new(a, MFL__ACT__WHAT_DIR_REMOVE)->dir_remove = m;
}

void act_subdir(struct acts *a, int sub) {
    NEW(Mfl__SubDir, mfl__sub_dir__init, m);
    m->sub = (Mfl__Sub)sub;
    act_new(a, MFL__ACT__WHAT_SUBDIR)->subdir = m;
}

void acts_free(struct acts *a) {
    size_t i;

    for (i = 0; i < a->n; i++)
        mfl__act__free_unpacked(a->v[i], NULL);
    a->n = 0;
}
