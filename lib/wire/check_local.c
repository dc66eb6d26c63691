/*
 * check_local - what mailfs and syncd say to each other is well-formed
 *
 * Names of messages are held to be path components only: what a user puts into cur/ with a strange
 * name is still to be told, and syncd decides what it is.
 *
 * Diagnostics: none; the reason is returned.
 */
#include "wire/check_local.h"

#include <errno.h>
#include <string.h>

#include "maildir/name.h"
#include "util/id.h"

#define HANDLE_MAX 256
#define HOLDER_MAX 256
#define VOLUME_MAX 256

static int refuse(const char **why, const char *sentence) {
    *why = sentence;
    return -EPROTO;
}

static int check_id(const ProtobufCBinaryData *id, const char **why) {
    return id->len == MAILFS_ID_BYTES ? 0 : refuse(why, "an id that is not 16 bytes");
}

static int check_name(const char *name, const char **why) {
    return maildir_name_check(name, strlen(name), MAILDIR_NAME_COMPONENT) == 0
               ? 0
               : refuse(why, "a bad name");
}

static int check_name_or_none(const char *name, const char **why) {
    return name[0] ? check_name(name, why) : 0;
}

/* A file of the container, or "new/NAME", "cur/NAME" for the attributes of a message. */
static int check_file_name(const char *name, const char **why) {
    if (strncmp(name, "new/", 4) == 0 || strncmp(name, "cur/", 4) == 0)
        name += 4;
    return check_name(name, why);
}

static int check_sub(Mfl__Sub sub, Mfl__Sub least, Mfl__Sub most, const char **why) {
    return (int)sub >= (int)least && (int)sub <= (int)most
               ? 0
               : refuse(why, "a part of a mailbox that cannot be meant");
}

static int check_message(Mfl__Sub sub, const char *name, const char **why) {
    int rc = check_sub(sub, MFL__SUB__NEW, MFL__SUB__CUR, why);

    return rc ? rc : check_name(name, why);
}

static int check_source(const Mfl__Source *s, const char **why) {
    int rc;

    if (!s || (s->link_dir.len == 0 && !s->link_name[0]))
        return 0;
    rc = check_id(&s->link_dir, why);
    if (rc == 0)
        rc = check_sub(s->link_sub, MFL__SUB__SELF, MFL__SUB__TMP, why);
    return rc ? rc : check_name(s->link_name, why);
}

static int check_add(const Mfl__Add *a, const char **why) {
    int rc = check_message(a->sub, a->name, why);

    return rc ? rc : check_source(a->source, why);
}

static int check_move(const Mfl__Move *m, const char **why) {
    int rc = check_message(m->old_sub, m->old_name, why);

    return rc ? rc : check_message(m->sub, m->name, why);
}

static int check_dir(const ProtobufCBinaryData *id, const char *name, const char **why) {
    int rc = check_id(id, why);

    return rc ? rc : check_name(name, why);
}

static int check_dir_make(const Mfl__DirMake *d, const char **why) {
    if (d->handle.len > HANDLE_MAX)
        return refuse(why, "a file handle that is too long");
    return check_dir(&d->id, d->name, why);
}

static int check_dir_move(const Mfl__DirMove *d, const char **why) {
    int rc = check_dir(&d->id, d->name, why);

    if (rc == 0)
        rc = check_id(&d->new_parent, why);
    return rc ? rc : check_name(d->old_name, why);
}

static int check_dir_remove(const Mfl__DirRemove *d, const char **why) {
    int rc = check_dir(&d->id, d->name, why);

    for (size_t i = 0; i < d->n_bases && rc == 0; i++)
        rc = check_name(d->bases[i], why);
    return rc;
}

static int check_act(const Mfl__Act *a, const char **why) {
    int rc = check_id(&a->dir, why);

    if (rc != 0)
        return rc;
    switch (a->what_case) {
    case MFL__ACT__WHAT_ADD:
        return check_add(a->add, why);
    case MFL__ACT__WHAT_MOVE:
        return check_move(a->move, why);
    case MFL__ACT__WHAT_REMOVE:
        return check_message(a->remove->sub, a->remove->name, why);
    case MFL__ACT__WHAT_FILE:
        return check_file_name(a->file->name, why);
    case MFL__ACT__WHAT_DIR_MAKE:
        return check_dir_make(a->dir_make, why);
    case MFL__ACT__WHAT_DIR_MOVE:
        return check_dir_move(a->dir_move, why);
    case MFL__ACT__WHAT_DIR_REMOVE:
        return check_dir_remove(a->dir_remove, why);
    case MFL__ACT__WHAT_SUBDIR:
        return check_sub(a->subdir->sub, MFL__SUB__NEW, MFL__SUB__TMP, why);
    default:
        return refuse(why, "an act of an unknown kind");
    }
}

static int check_hello(const Mfl__Hello *h, const char **why) {
    int rc = 0;

    if (strlen(h->volume) >= VOLUME_MAX)
        return refuse(why, "a volume's name that is too long");
    for (size_t i = 0; i < h->n_locked && rc == 0; i++)
        rc = check_id(&h->locked[i], why);
    for (size_t i = 0; i < h->n_named && rc == 0; i++)
        rc = h->named[i]->id ? check_dir(&h->named[i]->dir, h->named[i]->bname, why)
                             : refuse(why, "no id");
    return rc;
}

static int check_prepare(const Mfl__Prepare *p, const char **why) {
    if (!p->id || !p->meta)
        return refuse(why, "no id, or no attributes");
    return check_dir(&p->dir, p->tmp_name, why);
}

int wire_check_to_syncd(const Mfl__ToSyncd *m, const char **why) {
    switch (m->m_case) {
    case MFL__TO_SYNCD__M_HELLO:
        return check_hello(m->hello, why);
    case MFL__TO_SYNCD__M_LOCK_OPEN:
        return check_id(&m->lock_open->dir, why);
    case MFL__TO_SYNCD__M_LOCK_OPENED:
        return check_id(&m->lock_opened->dir, why);
    case MFL__TO_SYNCD__M_UNLOCK:
        return check_id(&m->unlock->dir, why);
    case MFL__TO_SYNCD__M_PREPARE:
        return check_prepare(m->prepare, why);
    case MFL__TO_SYNCD__M_ABORT:
        return m->abort->id ? 0 : refuse(why, "no id");
    case MFL__TO_SYNCD__M_ACT:
        return check_act(m->act, why);
    case MFL__TO_SYNCD__M_GEN_REACHED:
    case MFL__TO_SYNCD__M_LOST:
    case MFL__TO_SYNCD__M_INVALIDATED:
        return 0;
    default:
        return refuse(why, "an unknown kind");
    }
}

static int check_invalidate(const Mfl__Invalidate *v, const char **why) {
    int rc = check_id(&v->dir, why);

    if (rc == 0 && v->moved_id.len > 0)
        rc = check_id(&v->moved_id, why);
    if (rc == 0 && v->former_id.len > 0)
        rc = check_id(&v->former_id, why);
    for (size_t i = 0; i < v->n_names && rc == 0; i++) {
        const Mfl__Changed *c = v->names[i];

        rc = check_sub(c->sub, MFL__SUB__SELF, MFL__SUB__TMP, why);
        if (rc == 0)
            rc = check_name_or_none(c->old_name, why);
        if (rc == 0)
            rc = check_name_or_none(c->name, why);
    }
    return rc;
}

int wire_check_to_mailfs(const Mfl__ToMailfs *m, const char **why) {
    switch (m->m_case) {
    case MFL__TO_MAILFS__M_GRANT:
        return strlen(m->grant->holder) < HOLDER_MAX ? 0 : refuse(why, "a holder too long");
    case MFL__TO_MAILFS__M_TOKEN_HERE:
        return check_id(&m->token_here->dir, why);
    case MFL__TO_MAILFS__M_INVALIDATE:
        return check_invalidate(m->invalidate, why);
    case MFL__TO_MAILFS__M_TOKEN:
        return check_id(&m->token->dir, why);
    case MFL__TO_MAILFS__M_WELCOME:
    case MFL__TO_MAILFS__M_RELEASE:
    case MFL__TO_MAILFS__M_NEW_GEN:
    case MFL__TO_MAILFS__M_ROLE:
    case MFL__TO_MAILFS__M_WORKING:
        return 0;
    default:
        return refuse(why, "an unknown kind");
    }
}
