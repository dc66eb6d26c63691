/*
 * mutant.h: deliberate faults, so that tests/sim can show that it would find them.
 *
 * Only in a build with -DREPLICA_MUTANTS, which the programs are not; elsewhere the condition is
 * constant. Those of the driver are in tests/sim's model of syncd, and of the order in which that
 * writes. tests/sim/mutants.c says which rule each takes out.
 */
#ifndef MAILFS_REPLICA_MUTANT_H
#define MAILFS_REPLICA_MUTANT_H

enum replica_mutant {
    MUTANT_NONE,
    /* tokens, L */
    MUTANT_KEEP_TOKEN,       /* given, and kept: so it is granted twice */
    MUTANT_NO_RAISE,         /* alone without the token: no gap */
    MUTANT_EQUAL_RAISE,      /* both sides raise by the same */
    MUTANT_GRANT_UNAPPLIED,  /* L before what was received is applied */
    MUTANT_FORGET_DIRTY,     /* locked while the lists are exchanged: not announced */
    MUTANT_LOST_WAITER,      /* who waits is forgotten when the link ends */
    MUTANT_NO_REQUEST,       /* the token is not asked for again */
    MUTANT_TOKEN_OVER_MERGE, /* the token is relied on after a frozen listing */
    MUTANT_NO_DEADLINE,      /* an overdue acknowledgement is waited for */
    MUTANT_NO_SILENCE,       /* and silence, as long as nothing is on its way, is not noticed */
    /* transactions */
    MUTANT_NO_ACK_WAIT,      /* U returns before the peer has the transaction */
    MUTANT_ACK_EARLY,        /* acknowledged before it is durable */
    MUTANT_LATE_ACK,         /* of an earlier connection, sent on this one */
    MUTANT_BASE_ON_SEND,     /* the base moves when a transaction is sent */
    MUTANT_BASE_ON_RECEIVED, /* or when it is in the peer's memory */
    MUTANT_APPLY_UNDER_LOCK, /* applied while L is held */
    MUTANT_NO_SUSPECT,       /* what does not fit is not merged */
    /* prepared contents */
    MUTANT_NO_PUBLISH,   /* what a dead origin had prepared is forgotten */
    MUTANT_NOT_CONSUMED, /* by the transaction that named it */
    MUTANT_ABORT_ONCE,   /* that it is aborted is not said again when the link ends with that */
    MUTANT_ABORT_KNOWN,  /* what could not be published yet is published though it is aborted */
    /* rounds */
    MUTANT_NO_FREEZE,       /* L goes on while the merge is made */
    MUTANT_DROP_HELD,       /* acts made while frozen are not sent */
    MUTANT_LIST_FOLDERS,    /* nor those on directories that were made before the listing */
    MUTANT_CAUGHT_UP_EARLY, /* removals are carried out before all has been merged */
    /* the merge of a mailbox */
    MUTANT_FORGET_REMOVAL, /* what one side removed stays */
    MUTANT_ABSENT_REMOVED, /* what a side lacks was removed, whatever the bases say */
    MUTANT_LACKING_BASE,   /* a base that may lack something counts as any other */
    MUTANT_REBIND,         /* a UID is kept whatever it names on the other side */
    MUTANT_LOWER_NEXT,     /* the lower next UID is taken */
    MUTANT_LOWER_VALIDITY, /* and the lower UIDVALIDITY */
    MUTANT_ONE_SIDES_FLAGS,
    MUTANT_FORGET_HALF, /* what a merge did that one side alone carried out is that side's doing */
    MUTANT_STALE_HALF,  /* also when a transaction has moved the base since */
    /* the merge of the tree */
    MUTANT_TREE_REMOVE_CHANGED, /* a directory with something new in it goes */
    MUTANT_TREE_ORPHANS,        /* removed parents do not come back for their children */
    MUTANT_TREE_CIRCLES,        /* A below B and B below A */
    MUTANT_TREE_TWO_IN_PLACE,   /* two directories keep one name */
    MUTANT_TREE_ASYMMETRIC,     /* of two moves, that of the first side wins */
    MUTANT_TREE_SAME_VALIDITY,  /* what was removed and lives goes on with the other's UIDs */
    /* the driver */
    MUTANT_BASE_BEFORE_STORE, /* the base is written before the store is synced */
    MUTANT_JOURNAL_EARLY,     /* an entry goes when it is applied, not when that is synced */
    MUTANT_CLEAR_UNSETTLED,   /* a mark goes while something is on its way */
    MUTANT_CLEAR_NEWER,       /* or though it was made since the checkpoint began */
    MUTANT_PUBLISH_TWICE,     /* what was published stays to be published */
    MUTANT_BASE_ON_MERGE,     /* the base moves before the other has the result */
    MUTANT_UNSEEN,            /* what a dead mailfs had not told is not looked for */
    MUTANT_UNSYNCED_LIST,     /* UIDs given alone are not synced */
    MUTANT_EQUAL_VALIDITY,    /* both nodes hand out the same UIDVALIDITYs */
    MUTANT_UNTIMELY_MET,      /* the first merge is noted when all are made */
    MUTANT_FORGET_RECENT,     /* after a kill syncd knows no more than after a power cut */
    MUTANT_SHOWN_AGAIN,       /* after a power cut the merge gives UIDs that an index may have */
    MUTANT_COUNT
};

#ifdef REPLICA_MUTANTS
extern enum replica_mutant replica_mutant;
#define MUTANT(m) (replica_mutant == (m))
#else
#define MUTANT(m) false
#endif

#endif
