/*
 * scan_files: the files of a container that are no mail, and are not as the base has them.
 *
 * Those that are replicated whole: dovecot-uidvalidity, and what Maildir has no name for. One whose
 * size, time, mode and owner are the base's is not read, unless all is to be listed.
 *
 * Diagnostics: none here, errors are returned; what cannot be read is noted (unread.h), and listed
 * as such.
 */
#include "scan_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "build.h"
#include "files.h"
#include "maildir/class.h"
#include "unread.h"

struct file_was {
    UT_hash_handle hh;
    struct base_file file;
    char name[];
};

struct file_scan {
    struct scan *s;
    struct file_was *was;
};

static int was_add(void *arg, const char *name, const struct base_file *file) {
    struct file_scan *fs = arg;
    struct file_was *w = calloc(1, sizeof(*w) + strlen(name) + 1);

    if (!w)
        return -ENOMEM;
    strcpy(w->name, name);
    w->file = *file;
    w->file.link = file->link ? strdup(file->link) : NULL;
    HASH_ADD_STR(fs->was, name, w);
    return 0;
}

static void was_drop(struct file_scan *fs, struct file_was *w) {
    HASH_DEL(fs->was, w);
    base_file_clear(&w->file);
    free(w);
}

/* Of two dovecot-uidvalidity the higher counts, wherever it is from. */
static bool file_is_borrowed(const struct scan *s, const char *name, const struct base_file *was,
                             const struct base_file *is) {
    struct base_file there;
    bool borrowed = false;
    size_t i;
    int r;

    if (maildir_class_of(MAILDIR_DIR_CONTAINER, name, strlen(name)) == MAILDIR_UIDVALIDITY)
        return false;
    for (i = 0; !borrowed && i < s->n_lenders; i++) {
        r = base_file_get(s->lenders[i], BASE_PROPOSED, s->dir, name, &there);
        borrowed = is ? r == 0 && (!was || files_same(&there, is))
                      : r == -ENOENT && scan_knows_dir(s->lenders[i], s->dir);
        base_file_clear(&there);
    }
    return borrowed;
}

static int list_file(struct scan *s, const char *name, const struct base_file *was,
                     const struct base_file *is, const char *content, size_t n) {
    Mfp__BaseFile *f = malloc(sizeof(*f));
    int r1 = 0, r2 = 0, r = 0;

    if (!f)
        return -ENOMEM;
    mfp__base_file__init(f);
    f->name = build_str(name);
    f->borrowed = !(was && is && files_same(was, is)) && file_is_borrowed(s, name, was, is);
    if (was)
        f->was = build_file_state(was, &r1);
    if (is)
        f->is = build_file_state(is, &r2);
    if (!f->name || r1 < 0 || r2 < 0)
        r = -ENOMEM;
    if (r == 0 && content && is && S_ISREG(is->type)) {
        f->has_content = true;
        r = build_bytes(&f->is_content, content, n);
    }
    if (r == 0)
        r = build_push(&s->out->files, &s->out->n_files, f);
    if (r < 0)
        mfp__base_file__free_unpacked(f, NULL);
    return r;
}

static bool is_whole_file(const char *name, unsigned char type) {
    size_t n = strlen(name);
    enum maildir_class cl = maildir_class_of(MAILDIR_DIR_CONTAINER, name, n);

    if ((type != DT_REG && type != DT_LNK) ||
        maildir_name_check(name, n, MAILDIR_NAME_COMPONENT) < 0)
        return false;
    return cl == MAILDIR_OTHER || cl == MAILDIR_UIDVALIDITY;
}

/* What it is; *unread: that is not known, since it cannot be read. What is known to be so is not
 * read once more: a bad disk takes long to say it. */
static int read_file(struct scan *s, const char *name, struct base_file *is, char **content,
                     size_t *n, bool *unread) {
    struct stat sb, *known = &sb;
    int r = -EIO;

    if (fstatat(s->d.fd[0], name, &sb, AT_SYMLINK_NOFOLLOW) < 0)
        known = NULL;
    *unread = unread_is(s->st, s->dir, UNREAD_FILE, name, known) == UNREAD_STILL;
    if (!*unread)
        r = files_read_agreed(s->st, s->dir, s->d.fd[0], name, is, content, n);
    if (!unread_is_error(r))
        return r;
    if (!*unread)
        unread_note(s->st, s->dir, UNREAD_FILE, name, r, known);
    *unread = true;
    files_from_stat(known, is);
    return 0;
}

static int file_name(void *arg, const char *name, unsigned char type) {
    struct file_scan *fs = arg;
    struct scan *s = fs->s;
    struct base_file is;
    struct file_was *w;
    char *content = NULL;
    bool unread;
    size_t n = 0;
    int r = 0;

    if (!is_whole_file(name, type))
        return 0;
    HASH_FIND_STR(fs->was, name, w);
    if (w && !s->full && files_untouched(s->d.fd[0], name, &w->file)) {
        was_drop(fs, w);
        return 0;
    }
    r = read_file(s, name, &is, &content, &n, &unread);
    if (r == 0 && is.type && (s->full || unread || !w || !files_same(&w->file, &is))) {
        r = list_file(s, name, w ? &w->file : NULL, &is, content, n);
        if (r == 0)
            s->out->files[s->out->n_files - 1]->unread = unread;
    }
    if (r == 0 && w && is.type)
        was_drop(fs, w);
    base_file_clear(&is);
    free(content);
    return r;
}

/* As one that never was there: where it is now, it is the other's. */
static int list_lost(struct scan *s, const char *name) {
    s->n_lost++;
    return list_file(s, name, NULL, NULL, NULL, 0);
}

int scan_files(struct scan *s) {
    struct file_scan fs = {s, NULL};
    struct file_was *w, *tmp;
    int r = base_each_file(s->st, s->dir, was_add, &fs);

    if (r == 0)
        r = store_each_name(s->d.fd[0], file_name, &fs);
    HASH_ITER(hh, fs.was, w, tmp) { /* those that are not there any more */
        if (r == 0 && s->follows && !file_is_borrowed(s, w->name, &w->file, NULL))
            r = list_lost(s, w->name);
        else if (r == 0)
            r = list_file(s, w->name, &w->file, NULL, NULL, 0);
        was_drop(&fs, w);
    }
    return r;
}
