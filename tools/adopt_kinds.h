#ifndef TOOLS_ADOPT_KINDS_H
#define TOOLS_ADOPT_KINDS_H

/* The kinds of problems that `mailfsctl adopt` and `leave` know. */

#include "report.h"

extern const struct report_kind kind_running, kind_open_file, kind_mount, kind_taken,
    kind_immutable, kind_paths, kind_filesystem, kind_room, kind_inodes, kind_not_maildir,
    kind_other_fs, kind_unreadable, kind_link_dir, kind_link_outside, kind_link_message,
    kind_special, kind_local_dir, kind_nested, kind_trash, kind_was_store, kind_copied_id,
    kind_deep, kind_message_name, kind_hidden_name, kind_not_message, kind_part_dir, kind_duplicate,
    kind_size, kind_owner, kind_uidlist, kind_no_uidlist, kind_control_elsewhere, kind_lock_fresh,
    kind_lock, kind_tmp_fresh, kind_dovecot, kind_dovecot_control, kind_dovecot_setting,
    kind_dovecot_path, kind_index, kind_staged, kind_undo, kind_snapshot, kind_journal, kind_kept,
    kind_trash_move, kind_not_store, kind_peer_lacks;

#endif
