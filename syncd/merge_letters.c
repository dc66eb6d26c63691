/*
 * merge_letters: what the merged table of keywords calls by another letter is renamed before the
 * table is written.
 *
 * A table and the names of the messages are different files, so a kill or a power cut can come
 * between any two of them. So that no message says at any instant that it has a keyword that it has
 * not, no letter gets another meaning while a message has it: a table is written first in which the
 * keyword has the letter it goes to as well (maildir_keywords_move()), then the messages are
 * renamed, then the merged table is written; each is on the disk before the next (a control file
 * is when it is written, see io_file_replace_at()). Whoever comes in between finds a table that
 * says both.
 *
 * Where no letter is free for that the messages are renamed after the table, with the others.
 *
 * No diagnostics but of merge_run.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "io/io.h"
#include "merge_int.h"
#include "util/str.h"

/* Those of a message that have another letter in the merged table, or none. */
static uint32_t moving(const struct merge_run *m, uint32_t letters) {
    uint32_t out = 0;
    int i;

    for (i = 0; i < MAILDIR_LETTERS; i++)
        if (((letters >> i) & 1) && m->rm.to[i] >= 0 && m->rm.to[i] != i)
            out |= UINT32_C(1) << i;
    return out;
}

static uint32_t letters_of(const char *name) {
    struct maildir_name n;

    return maildir_name_parse(name, strlen(name), &n) == 0 && n.standard ? n.keywords : 0;
}

static uint32_t used(const struct merge_run *m) {
    struct index_msg *have, *tmp;
    uint32_t all = 0;

    HASH_ITER(hh, m->a.ix.msgs, have, tmp) {
        all |= letters_of(have->name);
    }
    return all;
}

/* The table that says both. 0: there is no room for one. */
static int between(const struct merge_run *m, uint32_t letters, char **text, size_t *n) {
    struct maildir_keywords *kw;
    int r = maildir_keywords_parse((const char *)m->mine->keywords.data, m->mine->keywords.len, &kw,
                                   NULL);
    int i;

    if (r == 0)
        r = maildir_keywords_name_unknown(kw, letters);
    for (i = 0; r == 0 && i < MAILDIR_LETTERS; i++)
        if ((letters >> i) & 1)
            r = maildir_keywords_move(kw, (unsigned)i, (unsigned)m->rm.to[i]);
    if (r == 0)
        r = maildir_keywords_format(kw, text, n);
    maildir_keywords_free(kw);
    if (r == -ENOMEM)
        return r;
    return r == 0 ? 1 : 0;
}

/* The name with the letters of the merged table. */
static int renamed(const struct merge_run *m, const char *name, char out[MAILDIR_NAME_MAX + 1]) {
    struct maildir_name n;
    uint32_t letters;
    int r = maildir_name_parse(name, strlen(name), &n);

    if (r < 0)
        return r;
    letters = maildir_keywords_to_letters(maildir_keywords_to_set(&m->rm, n.keywords));
    r = maildir_name_format(out, MAILDIR_NAME_MAX + 1, name, n.base_len, true, n.flags, letters);
    return r < 0 ? r : 0;
}

static int rename_one(struct merge_run *m, const struct index_msg *have) {
    char old[MAILDIR_NAME_MAX + 1], name[MAILDIR_NAME_MAX + 1];
    int sub = have->sub, r = renamed(m, have->name, name);

    if (r == 0)
        r = str_copy(old, sizeof(old), have->name);
    if (r == 0)
        r = apply_rename(&m->a, sub, old, sub, name);
    if (r != 0)
        return r > 0 ? -ESTALE : r == -ENOENT ? 0 : r;
    inval_add(&m->res.inval, &m->a.dir, sub, old, name, false);
    inval_poke(&m->res.inval, &m->a.dir, sub);
    return index_set(&m->a.ix, name, sub);
}

/* index_set() changes what is being gone through. */
static int rename_all(struct merge_run *m) {
    size_t n = HASH_COUNT(m->a.ix.msgs), k = 0, i;
    const struct index_msg **v = malloc((n + 1) * sizeof(struct index_msg *));
    struct index_msg *have, *tmp;
    int r = v ? 0 : -ENOMEM;

    HASH_ITER(hh, m->a.ix.msgs, have, tmp) {
        if (v && moving(m, letters_of(have->name)))
            v[k++] = have;
    }
    for (i = 0; r == 0 && i < k; i++)
        r = rename_one(m, v[i]);
    free(v);
    return r;
}

int merge_letters_move(struct merge_run *m) {
    uint32_t letters = moving(m, used(m));
    char *text = NULL;
    size_t n = 0;
    int sub, fd, r;

    if (letters == 0)
        return 0;
    r = between(m, letters, &text, &n);
    if (r <= 0)
        return r;
    m->letters_moved = true;
    r = apply_write_control(&m->a, "dovecot-keywords", text, n);
    free(text);
    if (r == 0)
        r = rename_all(m);
    for (sub = MFP__SUB__NEW; r == 0 && sub <= MFP__SUB__CUR; sub++) {
        fd = store_sub_open(m->a.st, &m->a.d, sub, false);
        r = fd >= 0 ? io_fsync(fd) : fd == -ENOENT ? 0 : fd;
    }
    return r;
}

bool merge_letters_same(const struct merge_run *m, const char *listed, const char *now) {
    char name[MAILDIR_NAME_MAX + 1], as[MAILDIR_NAME_MAX + 1];

    if (strcmp(listed, now) == 0)
        return true;
    return m->letters_moved && str_printf(name, sizeof(name), "x:%s", listed) == 0 &&
           moving(m, letters_of(name)) && renamed(m, name, as) == 0 && strcmp(as + 2, now) == 0;
}
