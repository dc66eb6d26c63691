/*
 * case_mail.c: the sequences of the mail daemons, as traced, in every class of path.
 */
#include "posix.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static void deliver_lmtp(void) {
    int fd, dir;

    make_mailbox("u1");
    fd = must_open("u1/tmp/1.M1P1.h", O_WRONLY | O_CREAT | O_EXCL, 0600);
    must_write(fd, "Subject: x\n\nbody\n", 17);
    did("fsync", fsync(fd));
    close(fd);
    fd = must_open("u1/dovecot-uidlist.lock", O_RDWR | O_CREAT | O_EXCL, 0600);
    must_write(fd, "1:h", 3);
    did("to new", rename("u1/tmp/1.M1P1.h", "u1/new/1.M1P1.h,S=17,W=18"));
    dir = must_open("u1/new", O_RDONLY, 0);
    did("fdatasync of new", fdatasync(dir));
    make_file("u1/dovecot-uidlist", "3 V1 N2 Gabc\n1 :1.M1P1.h,S=17,W=18\n");
    fd = must_open("u1/dovecot-uidlist", O_RDWR | O_APPEND, 0);
    must_write(fd, "2 :second\n", 10);
    did("fdatasync of the uidlist", fdatasync(fd));
    did("unlock", unlink("u1/dovecot-uidlist.lock"));
    note_content("u1/dovecot-uidlist");
    note_dir("u1");
    note_dir("u1/tmp");
}

static void deliver_to_several(void) {
    make_mailbox("u1");
    make_mailbox("u2");
    make_file("u1/new/1.M1P1.h,S=17,W=18", "Subject: x\n\nbody\n");
    did("link for the second", link("u1/new/1.M1P1.h,S=17,W=18", "u2/tmp/1.M2P1.h"));
    did("to its new", rename("u2/tmp/1.M2P1.h", "u2/new/1.M2P1.h,S=17,W=18"));
    note_stat("u2/new/1.M2P1.h,S=17,W=18", false);
    did("pick up", rename("u2/new/1.M2P1.h,S=17,W=18", "u2/cur/1.M2P1.h,S=17,W=18:2,"));
    did("flag", rename("u2/cur/1.M2P1.h,S=17,W=18:2,", "u2/cur/1.M2P1.h,S=17,W=18:2,S"));
    note_content("u2/cur/1.M2P1.h,S=17,W=18:2,S");
    did("expunge", unlink("u1/new/1.M1P1.h,S=17,W=18"));
    note_stat("u2/cur/1.M2P1.h,S=17,W=18:2,S", false);
    note_dir("u2/cur");
}

static void deliver_postfix(void) {
    struct stat st;
    int fd;

    make_mailbox("box");
    fd = must_open("box/tmp/1.P2.h", O_WRONLY | O_CREAT | O_EXCL, 0600);
    did("fstat", fstat(fd, &st));
    must_write(fd, "Subject: y\n\n", 12);
    did("fsync", fsync(fd));
    did("link", link("box/tmp/1.P2.h", "box/new/1.V1I2M3.h"));
    did("unlink", unlink("box/tmp/1.P2.h"));
    close(fd);
    note_stat("box/new/1.V1I2M3.h", false);
    note_content("box/new/1.V1I2M3.h");
    did("link to one that exists", link("box/new/1.V1I2M3.h", "box/new/1.V1I2M3.h"));
}

static void mailbox_control_files(void) {
    int fd;

    make_mailbox("box");
    make_file("box/dovecot-uidlist.tmp", "3 V1 N5 Gabc\n");
    did("over the uidlist", rename("box/dovecot-uidlist.tmp", "box/dovecot-uidlist"));
    note_content("box/dovecot-uidlist");
    fd = must_open("box/dovecot-keywords.lock", O_WRONLY | O_CREAT | O_EXCL, 0600);
    must_write(fd, "0 $Forwarded\n", 13);
    did("fsync", fsync(fd));
    did("over the keywords", rename("box/dovecot-keywords.lock", "box/dovecot-keywords"));
    note_content("box/dovecot-keywords");
    make_file("box/dovecot.index.log", "x");
    note_dir("box");
}

static void user_control_files(void) {
    int fd;

    make_file("subscriptions.lock", "V\t2\n\nSent\n");
    did("over subscriptions", rename("subscriptions.lock", "subscriptions"));
    make_file("dovecot-uidvalidity", "00000005");
    make_file("dovecot-uidvalidity.5", "");
    did("next validity", rename("dovecot-uidvalidity.5", "dovecot-uidvalidity.6"));
    fd = must_open("dovecot-uidvalidity", O_RDWR, 0);
    note("pwrite %zd", pwrite(fd, "00000006", 8, 0));
    note_content("dovecot-uidvalidity");
    make_file("maildirsize", "1000S\n5 1\n");
    fd = must_open("maildirsize", O_WRONLY | O_APPEND, 0);
    must_write(fd, "-5 -1\n", 6);
    note_content("maildirsize");
    make_file("dovecot.list.index", "x");
    note_dir(".");
}

static void folder_life(void) {
    make_mailbox("user");
    make_mailbox("user/.Work");
    make_file("user/.Work/maildirfolder", "");
    make_file("user/.Work/new/1.h", "m");
    did("rename the folder", rename("user/.Work", "user/.Work.Old"));
    note_content("user/.Work.Old/new/1.h");
    did("to the trash", rename("user/.Work.Old", "user/..DOVECOT-TRASHED"));
    note_dir("user/..DOVECOT-TRASHED/new");
    did("unlink", unlink("user/..DOVECOT-TRASHED/new/1.h"));
    did("unlink", unlink("user/..DOVECOT-TRASHED/maildirfolder"));
    did("rmdir", rmdir("user/..DOVECOT-TRASHED/new"));
    did("rmdir", rmdir("user/..DOVECOT-TRASHED/cur"));
    did("rmdir", rmdir("user/..DOVECOT-TRASHED/tmp"));
    did("rmdir", rmdir("user/..DOVECOT-TRASHED"));
    note_dir("user");
}

static void append_with_date(void) {
    struct timespec t[2] = {{1000000000, 0}, {1000000000, 0}};
    int fd;

    make_mailbox("box");
    fd = must_open("box/tmp/x", O_RDWR | O_CREAT | O_EXCL, 0600);
    must_write(fd, "old mail", 8);
    did("utimes", futimens(fd, t));
    did("fsync", fsync(fd));
    close(fd);
    did("to cur", rename("box/tmp/x", "box/cur/x,S=8:2,FS"));
    note_stat("box/cur/x,S=8:2,FS", true);
    did("flags", rename("box/cur/x,S=8:2,FS", "box/cur/x,S=8:2,FRSa"));
    note_stat("box/cur/x,S=8:2,FRSa", true);
    did("copy", link("box/cur/x,S=8:2,FRSa", "box/tmp/y"));
    note_stat("box/tmp/y", true);
}

static void written_messages(void) {
    int fd;

    make_mailbox("box");
    make_file("box/cur/x:2,", "first");
    fd = must_open("box/cur/x:2,", O_RDWR, 0);
    must_write(fd, "other", 5);
    note_content("box/cur/x:2,");
    did("truncate", ftruncate(fd, 2));
    note_content("box/cur/x:2,");
    did("chmod", chmod("box/cur/x:2,", 0400));
    note_stat("box/cur/x:2,", false);
}

/* A name gone and back is a new file: the page cache must not serve the old one. */
static void name_comes_back(void) {
    char text[32];

    make_mailbox("box");
    for (int i = 0; i < 50; i++) {
        snprintf(text, sizeof text, "body number %d", i);
        make_file("box/tmp/x", text);
        did("to cur", rename("box/tmp/x", "box/cur/x:2,S"));
        note_content("box/cur/x:2,S");
        did("expunge", unlink("box/cur/x:2,S"));
    }
}

static void script_by_symlink(void) {
    did("mkdir", mkdir("sieve", 0700));
    make_file("sieve/main.sieve", "keep;\n");
    did("symlink", symlink("sieve/main.sieve", ".dovecot.sieve"));
    note_content(".dovecot.sieve");
    make_file("sieve/other.sieve", "discard;\n");
    did("next script", symlink("sieve/other.sieve", ".new"));
    did("switch", rename(".new", ".dovecot.sieve"));
    note_content(".dovecot.sieve");
    note_dir(".");
}

const struct posix_case posix_mail[] = {
    {"deliver_lmtp", deliver_lmtp},
    {"deliver_to_several", deliver_to_several},
    {"deliver_postfix", deliver_postfix},
    {"mailbox_control_files", mailbox_control_files},
    {"user_control_files", user_control_files},
    {"folder_life", folder_life},
    {"append_with_date", append_with_date},
    {"written_messages", written_messages},
    {"name_comes_back", name_comes_back},
    {"script_by_symlink", script_by_symlink},
    {NULL, NULL},
};
