/*
 * event - the Acts of local.proto, from what was done to names (directories: event_dir.c)
 *
 * Diagnostics: none.
 */
#include "event.h"

#include <stdio.h>
#include <string.h>

#include "dir.h"
#include "event_int.h"
#include "file.h"
#include "lock.h"
#include "maildir/name.h"
#include "named.h"
#include "note.h"
#include "prepare.h"
#include "upcall.h"
#include "vol.h"
#include "wire/check.h"

Mfl__Sub event_sub(enum maildir_dir kind) {
    switch (kind) {
    case MAILDIR_DIR_NEW:
        return MFL__SUB__NEW;
    case MAILDIR_DIR_CUR:
        return MFL__SUB__CUR;
    case MAILDIR_DIR_TMP:
        return MFL__SUB__TMP;
    case MAILDIR_DIR_CONTAINER:
        break;
    }
    return MFL__SUB__SELF;
}

void event_meta(Mfl__Meta *meta, const struct stat *st) {
    mfl__meta__init(meta);
    meta->mode = st->st_mode;
    meta->uid = st->st_uid;
    meta->gid = st->st_gid;
    meta->mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
    meta->size = (uint64_t)st->st_size;
}

char *event_text(const char *s) {
    return (char *)(uintptr_t)s;
}

static void tell(Mfl__Act *act, const struct mailfs_id *id, bool in_txn) {
    Mfl__ToSyncd m = MFL__TO_SYNCD__INIT;
    act->dir = wire_bytes_of(id);
    act->in_txn = in_txn;
    m.m_case = MFL__TO_SYNCD__M_ACT;
    m.act = act;
    upcall_tell(&m);
}

void event_tell(Mfl__Act *act, const struct where *w, pid_t pid) {
    tell(act, &w->id, lock_is_owner(w->cd, pid));
}

bool event_travels(mode_t mode) {
    return S_ISREG(mode) || S_ISLNK(mode) || S_ISDIR(mode);
}

bool event_is_part(const struct spot *at) {
    return at->class == MAILDIR_SUBDIR_NEW || at->class == MAILDIR_SUBDIR_CUR ||
           at->class == MAILDIR_SUBDIR_TMP;
}

/* --- messages
 * ------------------------------------------------------------------------------------------ */

static bool is_message(const struct spot *at) {
    return at->sent && at->class == MAILDIR_MESSAGE;
}

/* from: the message name its content has, or has had, or NULL. */
static void tell_add(const struct spot *at, struct inode *in, const struct stat *st,
                     const struct spot *from, pid_t pid) {
    Mfl__Act act = MFL__ACT__INIT;
    Mfl__Add add = MFL__ADD__INIT;
    Mfl__Source source = MFL__SOURCE__INIT;
    Mfl__Prepared prepared = MFL__PREPARED__INIT;
    Mfl__Meta meta;
    bool named;
    event_meta(&meta, st);
    add.sub = event_sub(at->w.kind);
    add.name = event_text(at->name);
    add.meta = &meta;
    if (prepare_id(in, &prepared.seq, &named)) {
        if (!named) /* its first name since it was prepared: this uses it up, as no copy does */
            from = NULL;
        prepared.incarnation = vol.incarnation;
        source.prepared = &prepared;
        add.source = &source;
        if (from == NULL) /* a copy of it is a message of its own */
            named_note(prepared.seq, &at->w.id, at->name);
    }
    if (from != NULL) {
        source.link_dir = wire_bytes_of(&from->w.id);
        source.link_sub = event_sub(from->w.kind);
        source.link_name = event_text(from->name);
        add.source = &source;
    }
    act.what_case = MFL__ACT__WHAT_ADD;
    act.add = &add;
    event_tell(&act, &at->w, pid);
    prepare_named(in);
}

/* The name by which the peer may know the same content: in's place, if it is another message. */
static void tell_add_by_place(const struct spot *at, struct inode *in, const struct stat *st,
                              pid_t pid) {
    struct place place;
    struct spot from;
    if (!inode_place_get(in, &place)) {
        tell_add(at, in, st, NULL, pid);
        return;
    }
    spot_make(&from, place.parent, place.name);
    bool other =
        is_message(&from) && (place.parent != at->dir || strcmp(place.name, at->name) != 0);
    tell_add(at, in, st, other ? &from : NULL, pid);
    spot_done(&from);
    place_done(&place);
}

static void tell_remove(const struct spot *at, pid_t pid) {
    Mfl__Act act = MFL__ACT__INIT;
    Mfl__Remove remove = MFL__REMOVE__INIT;
    remove.sub = event_sub(at->w.kind);
    remove.name = event_text(at->name);
    act.what_case = MFL__ACT__WHAT_REMOVE;
    act.remove = &remove;
    event_tell(&act, &at->w, pid);
}

static void tell_move(const struct spot *from, const struct spot *to, pid_t pid) {
    Mfl__Act act = MFL__ACT__INIT;
    Mfl__Move move = MFL__MOVE__INIT;
    move.old_sub = event_sub(from->w.kind);
    move.old_name = event_text(from->name);
    move.sub = event_sub(to->w.kind);
    move.name = event_text(to->name);
    act.what_case = MFL__ACT__WHAT_MOVE;
    act.move = &move;
    event_tell(&act, &to->w, pid);
}

/* --- names
 * -------------------------------------------------------------------------------------------- */

static void tell_file(const struct mailfs_id *id, const char *name, bool removed, bool in_txn) {
    Mfl__Act act = MFL__ACT__INIT;
    Mfl__File file = MFL__FILE__INIT;
    file.name = event_text(name);
    file.removed = removed;
    act.what_case = MFL__ACT__WHAT_FILE;
    act.file = &file;
    tell(&act, id, in_txn);
}

void event_appeared(const struct spot *at, struct inode *in, const struct stat *st, pid_t pid) {
    if (!at->sent || !event_travels(st->st_mode))
        return;
    if (at->class == MAILDIR_MESSAGE)
        tell_add_by_place(at, in, st, pid);
    else
        tell_file(&at->w.id, at->name, false, lock_is_owner(at->w.cd, pid));
}

void event_gone(const struct spot *at, mode_t mode, pid_t pid) {
    if (!at->sent || !event_travels(mode))
        return;
    if (at->class == MAILDIR_MESSAGE)
        tell_remove(at, pid);
    else
        tell_file(&at->w.id, at->name, true, lock_is_owner(at->w.cd, pid));
}

void event_renamed(const struct spot *from, const struct spot *to, struct inode *in,
                   const struct stat *st, pid_t pid) {
    if (!event_travels(st->st_mode))
        return;
    if (!is_message(from) || !is_message(to)) {
        event_appeared(to, in, st, pid);
        event_gone(from, st->st_mode, pid);
    } else if (mailfs_id_equal(&from->w.id, &to->w.id) &&
               maildir_name_same_base(from->name, to->name)) {
        tell_move(from, to, pid);
    } else {
        tell_add(to, in, st, from, pid);
        tell_remove(from, pid);
    }
}

/* --- attributes and contents
 * ------------------------------------------------------------------------- */

static void attr_of_message(const struct spot *at, pid_t pid) {
    char name[NAME_MAX + 5];
    snprintf(name, sizeof name, "%s/%s", at->w.kind == MAILDIR_DIR_NEW ? "new" : "cur", at->name);
    tell_file(&at->w.id, name, false, lock_is_owner(at->w.cd, pid));
}

void event_attr(const struct spot *at, struct inode *in, const struct stat *st, pid_t pid) {
    if (!at->sent || !event_travels(st->st_mode))
        return;
    if (at->class == MAILDIR_MESSAGE && in->dir == NULL)
        attr_of_message(at, pid);
    else if (at->class != MAILDIR_MESSAGE && event_is_part(at) && in->dir != NULL)
        event_dir_made(at, in, st, pid);
    else if (at->class != MAILDIR_MESSAGE)
        tell_file(&at->w.id, at->name, false, lock_is_owner(at->w.cd, pid));
}

/* L guards these two, so whoever writes them does it within the transaction. */
static bool within_l(const struct spot *at, pid_t pid) {
    return at->class == MAILDIR_UIDLIST || at->class == MAILDIR_KEYWORDS
               ? lock_is_held(at->w.cd)
               : lock_is_owner(at->w.cd, pid);
}

static void tell_written(struct file *f) {
    struct place place;
    struct spot at;
    struct stat st;
    if (!inode_place_get(f->in, &place))
        return; /* it has no name any more */
    spot_make(&at, place.parent, place.name);
    change_begin1(&at);
    if (is_message(&at) && fstat(f->fd, &st) == 0)
        tell_add(&at, f->in, &st, NULL, f->pid);
    else if (at.sent && at.class != MAILDIR_MESSAGE)
        tell_file(&at.w.id, at.name, false, within_l(&at, f->pid));
    change_end();
    spot_done(&at);
    place_done(&place);
}

void event_written(struct file *f) {
    /* Told before it is off the list: a U that finds it gone from there must come after. */
    if (!file_is_dirty(f))
        return;
    tell_written(f);
    file_clean(f);
}

void event_written_all(struct dir *container) {
    struct file *f;
    while ((f = file_next_dirty(container)) != NULL) {
        note_die_at("tell");
        tell_written(f);
        file_told(f);
        file_unref(f);
    }
}

void event_uidlist_raised(struct inode *container) {
    change_begin(NULL, 0);
    change_mark(container->dir);
    tell_file(&container->dir->id, "dovecot-uidlist", false, true);
    change_end();
}
