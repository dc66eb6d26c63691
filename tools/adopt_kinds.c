/*
 * adopt_kinds - what can be wrong with a tree, and what to do about it
 *
 * Diagnostics: these are them.
 */
#include "adopt_kinds.h"

#define KIND(id, level, name, title, advice)                                                       \
    const struct report_kind kind_##id = {name, REPORT_##level, title, advice}

/* ---- who uses it -------------------------------------------------------------------- */

KIND(running, ERROR, "running", "mailfs is running on this volume",
     "stop the mail daemons, then mailfs and mailfs-syncd (systemctl stop mailfs@VOLUME "
     "mailfs-syncd; after an umount alone systemd mounts it again)");
KIND(open_file, ERROR, "in-use", "processes have files or directories open in the tree",
     "stop the mail daemons (systemctl stop postfix dovecot) and whatever else this is");

/* ---- places ------------------------------------------------------------------------- */

KIND(mount, ERROR, "mount-point", "the directory cannot be moved",
     "mount that file system at the place of the store, and name that directory here");
KIND(taken, ERROR, "taken", "the place it is to be moved to is taken",
     "only a directory that does not exist or is empty is used: name another one (for adopt: "
     "`store` in the configuration)");
KIND(immutable, ERROR, "immutable", "the place it is to be moved to cannot be changed",
     "chattr -i DIRECTORY: it was guarded as a mount point");
KIND(paths, ERROR, "paths", "the directory and the configuration do not go together",
     "change `store`, `mount` or `state` in the configuration (mailfs.conf(5))");
KIND(filesystem, ERROR, "file-system", "the file system cannot hold a store",
     "a local ext4, XFS or Btrfs does; the store must be on the same one as the directory");
KIND(room, ERROR, "no-room", "there is not enough room", "make room first");
KIND(inodes, WARNING, "few-inodes", "few inodes are left",
     "each message is a file; a full inode table defers mail as a full disk does");

/* ---- the tree ----------------------------------------------------------------------- */

KIND(not_maildir, ERROR, "no-maildir", "no Maildir is in it",
     "name the directory below which the users' Maildirs are (those with cur, new and tmp)");
KIND(other_fs, ERROR, "other-file-system", "another file system is mounted below it",
     "a store is one file system: move its contents here, or make it a volume of its own");
KIND(unreadable, ERROR, "unreadable", "cannot be read",
     "an I/O error is the disk's: copy what can be read elsewhere, then repair the file system");
KIND(link_dir, ERROR, "link-to-directory", "symbolic links to directories",
     "what is behind them would be on this node only: move it here in place of the link");
KIND(link_outside, WARNING, "link-outside", "symbolic links with an absolute target",
     "the link is replicated, not what it points to: see that the target is there on both nodes");
KIND(link_message, ERROR, "link-message", "messages that are symbolic links",
     "replace each with the file it points to");
KIND(special, WARNING, "special-file", "sockets, pipes and devices",
     "they stay on this node; remove them if nobody needs them");
KIND(local_dir, ERROR, "local-name", "directories whose name mailfs takes for a node's own",
     "mail in them would not be replicated: rename the mailbox over IMAP");
KIND(nested, ERROR, "nested-store", "a store inside the tree",
     "run mailfsctl leave for it, or move it elsewhere");
KIND(trash, NOTE, "trash", "mailboxes whose deletion was cut short",
     "they are not replicated; Dovecot removes them, or you do");
KIND(was_store, NOTE, "was-store", "it has been a store before: the ids it has are kept", NULL);
KIND(copied_id, NOTE, "copied-id", "directories that bear the id of another one (cp -a)",
     "they get new ones");
KIND(deep, ERROR, "too-deep", "directories nested too deep", "move them up");

/* ---- mailboxes ---------------------------------------------------------------------- */

KIND(message_name, ERROR, "message-name", "files in new or cur whose name no Maildir has",
     "Dovecot cannot number them, and they would be on this node only: rename or move them");
KIND(hidden_name, NOTE, "hidden-name", "hidden files in new or cur: no mail reader sees them",
     "they stay on this node");
KIND(not_message, WARNING, "not-a-message", "sockets, pipes and devices in new or cur",
     "they are no messages and stay on this node: move them away");
KIND(part_dir, ERROR, "directory-in-part", "directories in new, cur or tmp",
     "mailfs takes what is called so for parts of a mailbox, and mail in them would be on this "
     "node only: a user or folder of that name must get another one; else move them away");
KIND(duplicate, ERROR, "duplicate-name", "two messages of one base name in a mailbox",
     "the base name (up to the colon) is what tells messages apart: open the mailbox once in "
     "Dovecot as it is now (doveadm force-resync -u USER MAILBOX), which renames one of them");
KIND(size, WARNING, "wrong-size", "messages whose name says another size (,S=) than they have",
     "Dovecot breaks off a FETCH of them: find out what changed or cut the file, or take ,S= and "
     ",W= out of the name");
KIND(owner, WARNING, "owner", "messages that the mailbox's owner may not read",
     "chown and chmod them like the others in that mailbox");
KIND(uidlist, ERROR, "uidlist-broken", "uidlists that Dovecot would call corrupted",
     "every message in it would get a new UID: restore the file from a backup, or let Dovecot "
     "build it anew (doveadm force-resync -u USER MAILBOX)");
KIND(no_uidlist, WARNING, "uidlist-missing", "mailboxes with mail that was seen, and no uidlist",
     "their messages get new UIDs when they are next opened");
KIND(control_elsewhere, ERROR, "uidlists-elsewhere", "no mailbox has a uidlist",
     "the control files are kept elsewhere (CONTROL=, mail_control_path): move each "
     "dovecot-uidlist and dovecot-keywords into its mailbox, subscriptions and "
     "dovecot-uidvalidity* into the Maildir, and take the setting out");
KIND(lock_fresh, ERROR, "lock-fresh", "mailboxes that were locked within the last two minutes",
     "something is using them: stop the mail daemons");
KIND(lock, NOTE, "lock", "mailboxes with a lock that was left behind", "it is taken away");
KIND(tmp_fresh, ERROR, "delivery", "deliveries within the last minute",
     "something is delivering: stop the mail daemons");
KIND(index, NOTE, "index-in-tree", "Dovecot's indexes are among the mail",
     "they stay where they are, and each node's own; INDEX= on local disk is faster (README)");

/* ---- Dovecot's configuration -------------------------------------------------------- */

KIND(dovecot, NOTE, "dovecot-config", "Dovecot's configuration was not looked at",
     "see README, \"The Dovecot settings, and why\"");
KIND(dovecot_control, ERROR, "dovecot-control", "Dovecot keeps its control files elsewhere",
     "uidlists and keywords must be beside the mail, to be the same on both nodes");
KIND(dovecot_setting, WARNING, "dovecot-setting", "Dovecot's settings",
     "see README, \"The Dovecot settings, and why\"");
KIND(dovecot_path, NOTE, "dovecot-path", "Dovecot's mail is to be below the mount", NULL);

/* ---- leaving ------------------------------------------------------------------------ */

KIND(staged, ERROR, "staged", "messages that are complete and not yet in a mailbox",
     "start mailfs-syncd, wait until the volume is in-sync or alone, and stop it; what still "
     "remains is a message each: move it away by hand, or deliver it");
KIND(undo, NOTE, "expunged", "expunged messages that are kept for undelete",
     "they go now: put back what is still wanted before (mailfsctl undelete)");
KIND(snapshot, ERROR, "snapshot", "snapshots",
     "they would go with the rest: copy what is still wanted, then mailfsctl snapshot remove");
KIND(journal, ERROR, "journal", "changes received and not yet carried out",
     "start mailfs-syncd, wait until the volume is in-sync or alone, and stop it");
KIND(kept, ERROR, "kept", "what merges took out of the tree",
     "l-*: for you to look at: move them away, or remove them; r-*: start mailfs-syncd and wait "
     "until the volume is in-sync");
KIND(trash_move, ERROR, "moving", "mailboxes that are being moved",
     "start mailfs-syncd once: it puts them in their place; then stop it");
KIND(not_store, ERROR, "not-a-store", "this is no store", "there is nothing to leave");
KIND(peer_lacks, WARNING, "peer-lacks", "the peer may not have all changes",
     "what is here is complete; if the peer is to be as complete, wait for in-sync first");
