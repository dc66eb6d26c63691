/*
 * The deliberate faults, with the rule that each takes out. The numbers are those of the executions
 * in docs/RELIABILITY.md.
 */
#include "sim.h"

#include <string.h>

const struct mutant mutants[MUTANT_COUNT] = {
    [MUTANT_KEEP_TOKEN] = {"keep-token", "2", "C1", "the token is at one node at most"},
    [MUTANT_NO_RAISE] = {"no-raise", "2", "C3",
                         "alone without the token: a gap before the first L"},
    [MUTANT_EQUAL_RAISE] = {"equal-raise", "2", "C3", "two gaps never meet"},
    [MUTANT_GRANT_UNAPPLIED] = {"grant-unapplied", "4", "C3",
                                "what was received is applied before L"},
    [MUTANT_FORGET_DIRTY] = {"forget-dirty", "10", "I13",
                             "locked while lists are exchanged: announced"},
    [MUTANT_LOST_WAITER] = {"lost-waiter", "14", "I5", "the end of the link releases who waits"},
    [MUTANT_NO_REQUEST] = {"no-request", "13", "C6", "who polls for L gets the token at last"},
    [MUTANT_TOKEN_OVER_MERGE] = {"token-over-merge", "2", "C1", "a frozen listing ends the token"},
    [MUTANT_NO_DEADLINE] = {"no-deadline", "14", "C5", "an overdue acknowledgement ends the link"},
    [MUTANT_NO_SILENCE] = {"no-silence", "14", "C5", "and so does silence, whatever is on its way"},
    [MUTANT_NO_ACK_WAIT] = {"no-ack-wait", "2", "C4", "U returns when the other node has it"},
    [MUTANT_ACK_EARLY] = {"ack-early", "12", "C4", "acknowledged when it is durable"},
    [MUTANT_LATE_ACK] = {"late-ack", "3", "C9",
                         "a new connection ends the old one's acknowledgements"},
    [MUTANT_BASE_ON_SEND] = {"base-on-send", "3", "C6", "the base moves on acknowledgement"},
    [MUTANT_BASE_ON_RECEIVED] = {"base-on-received", "3", "C6",
                                 "and not when it is only in memory"},
    [MUTANT_APPLY_UNDER_LOCK] = {"apply-under-lock", "4", "I3", "nothing is applied under L"},
    [MUTANT_NO_SUSPECT] = {"no-suspect", "7", "C6", "what does not fit makes the mailbox merge"},
    [MUTANT_NO_PUBLISH] = {"no-publish", "6", "C4", "what a dead origin had prepared is published"},
    [MUTANT_NOT_CONSUMED] = {"not-consumed", "6", "C7", "the first commit consumes a prepared id"},
    [MUTANT_ABORT_ONCE] = {"abort-once", "6", "C7",
                           "that it is aborted is said until it is confirmed"},
    [MUTANT_ABORT_KNOWN] = {"abort-known", "6", "C7", "and ends what is still to be published"},
    [MUTANT_NO_FREEZE] = {"no-freeze", "10", "I4", "no L while the merge is made"},
    [MUTANT_DROP_HELD] = {"drop-held", "10", "C6", "what is done meanwhile counts as later"},
    [MUTANT_LIST_FOLDERS] = {"list-folders", "10", "C6", "and no listing tells of folders"},
    [MUTANT_CAUGHT_UP_EARLY] = {"caught-up-early", "5", "C8", "removals wait for all additions"},
    [MUTANT_FORGET_REMOVAL] = {"forget-removal", "8", "C6", "removed on either side is removed"},
    [MUTANT_ABSENT_REMOVED] = {"absent-removed", "8", "C4", "absence is a removal only by a base"},
    [MUTANT_LACKING_BASE] = {"lacking-base", "8", "C4", "nor by a base that may lack something"},
    [MUTANT_REBIND] = {"rebind", "2", "C3", "a UID names one message"},
    [MUTANT_LOWER_NEXT] = {"lower-next", "2", "C3", "N never goes down"},
    [MUTANT_LOWER_VALIDITY] = {"lower-validity", "15", "C3", "the higher UIDVALIDITY wins"},
    [MUTANT_ONE_SIDES_FLAGS] = {"one-sides-flags", "7", "C6", "flags are merged by name"},
    [MUTANT_FORGET_HALF] = {"forget-half", "3", "C6", "half of a merge is no doing of that side"},
    [MUTANT_STALE_HALF] = {"stale-half", "3", "C6", "nor does it outlive a transaction"},
    [MUTANT_TREE_REMOVE_CHANGED] = {"tree-remove-changed", "11", "T3",
                                    "a mailbox with new mail lives"},
    [MUTANT_TREE_ORPHANS] = {"tree-orphans", "11", "T2", "and so do those above it"},
    [MUTANT_TREE_CIRCLES] = {"tree-circles", "7", "T2", "no directory below itself"},
    [MUTANT_TREE_TWO_IN_PLACE] = {"tree-two-in-place", "7", "T2", "made twice under one name: one"},
    [MUTANT_TREE_ASYMMETRIC] = {"tree-asymmetric", "7", "T1", "both nodes compute the same"},
    [MUTANT_TREE_SAME_VALIDITY] = {"tree-same-validity", "2", "T6",
                                   "removed and alive: another UIDVALIDITY"},
    [MUTANT_BASE_BEFORE_STORE] = {"base-before-store", "8", "C4",
                                  "the base is never ahead of the store"},
    [MUTANT_JOURNAL_EARLY] = {"journal-early", "4", "C4", "the journal outlives the application"},
    [MUTANT_CLEAR_UNSETTLED] = {"clear-unsettled", "9", "C6",
                                "a mark goes when all of it is there"},
    [MUTANT_CLEAR_NEWER] = {"clear-newer", "9", "C6", "and stays for what came since"},
    [MUTANT_PUBLISH_TWICE] = {"publish-twice", "6", "C7", "published once"},
    [MUTANT_BASE_ON_MERGE] = {"base-on-merge", "3", "C6",
                              "the base moves when both have the result"},
    [MUTANT_UNSEEN] = {"unseen", "9", "C6", "what a dead mailfs did not tell is looked for"},
    [MUTANT_UNSYNCED_LIST] = {"unsynced-list", "2", "C3", "UIDs given alone are durable before U"},
    [MUTANT_FORGET_RECENT] = {"forget-recent", "8", "C6", "what syncd knew outlives its death"},
    [MUTANT_EQUAL_VALIDITY] = {"equal-validity", "15", "C3",
                               "each node hands out its own UIDVALIDITYs"},
    [MUTANT_SHOWN_AGAIN] = {"shown-again", "2", "C3",
                            "a power cut retires UIDs that an index may have"},
    [MUTANT_UNTIMELY_MET] = {"untimely-met", "2", "C3",
                             "the first merge is noted before it is made"},
};

enum replica_mutant mutant_named(const char *name) {
    for (enum replica_mutant m = MUTANT_NONE + 1; m < MUTANT_COUNT; m++)
        if (strcmp(mutants[m].name, name) == 0)
            return m;
    return MUTANT_NONE;
}
