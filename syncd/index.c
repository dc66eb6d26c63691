/*
 * index: the messages of a container by base name. No diagnostics.
 */
#include "index.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct read {
    struct index *ix;
    int sub;
};

struct index_msg *index_find(const struct index *ix, const char *base) {
    struct index_msg *m;

    HASH_FIND(hh, ix->msgs, base, strlen(base), m);
    return m;
}

const char *index_info(const struct index_msg *m) {
    return m->name[m->base_len] ? m->name + m->base_len + 1 : "";
}

void index_remove(struct index *ix, const char *base) {
    struct index_msg *m = index_find(ix, base);

    if (!m)
        return;
    HASH_DEL(ix->msgs, m);
    free(m);
}

static int add(struct index *ix, const char *name, size_t base_len, int sub) {
    struct index_msg *m = calloc(1, sizeof(*m) + strlen(name) + 1);

    if (!m)
        return -ENOMEM;
    m->sub = (uint8_t)sub;
    m->base_len = (uint32_t)base_len;
    strcpy(m->name, name);
    HASH_ADD_KEYPTR(hh, ix->msgs, m->name, base_len, m);
    return 0;
}

int index_set(struct index *ix, const char *name, int sub) {
    size_t n = maildir_name_base_len(name, strlen(name));
    struct index_msg *m;

    HASH_FIND(hh, ix->msgs, name, n, m);
    if (m) {
        HASH_DEL(ix->msgs, m);
        free(m);
    }
    return add(ix, name, n, sub);
}

static int read_name(void *arg, const char *name, unsigned char type) {
    struct read *rd = arg;
    size_t len = strlen(name), n = maildir_name_base_len(name, len);
    struct index_msg *m;

    if (type != DT_REG || maildir_name_check(name, len, MAILDIR_NAME_MESSAGE) < 0)
        return 0;
    HASH_FIND(hh, rd->ix->msgs, name, n, m);
    if (!m)
        return add(rd->ix, name, n, rd->sub);
    /* The one in cur counts, of two there the first by name: on both nodes alike. */
    if (m->sub == MFP__SUB__NEW || strcmp(name, m->name) < 0) {
        HASH_DEL(rd->ix->msgs, m);
        free(m);
        if (add(rd->ix, name, n, rd->sub) < 0)
            return -ENOMEM;
        HASH_FIND(hh, rd->ix->msgs, name, n, m);
    }
    if (m)
        m->twice = true;
    return 0;
}

int index_read(struct state *st, struct store_dir *d, struct index *ix) {
    struct read rd = {.ix = ix};
    int r = 0, fd;

    ix->msgs = NULL;
    for (rd.sub = MFP__SUB__NEW; r == 0 && rd.sub <= MFP__SUB__CUR; rd.sub++) {
        fd = store_sub_open(st, d, rd.sub, false);
        if (fd >= 0)
            r = store_each_name(fd, read_name, &rd);
        else if (fd != -ENOENT)
            r = fd;
    }
    if (r < 0)
        index_free(ix);
    return r;
}

void index_free(struct index *ix) {
    struct index_msg *m, *tmp;

    HASH_ITER(hh, ix->msgs, m, tmp) {
        HASH_DEL(ix->msgs, m);
        free(m);
    }
}
