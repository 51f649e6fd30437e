/*
 * The vocabulary of replication: what the state machine speaks (src/replica) and the peer protocol carries (src/wire).
 * Pure data, no functions.
 */
#ifndef LEASH_BASE_REPMSG_H
#define LEASH_BASE_REPMSG_H

#include "base/hash.h"
#include "base/types.h"

/* ------------------------------------------------------------------ records, as the state machine sees them */

enum rec_id_kind {
	REC_ID_NONE = 0,    /* no id: appended every time */
	REC_ID_OPAQUE = 1,  /* XADD ... IDMP producer id */
	REC_ID_AUTO = 2,    /* XADD ... IDMPAUTO producer: the id is a hash of the pairs */
	REC_ID_SEQ = 3,     /* XADD ... IDMPSEQ producer n: strictly increasing per producer */
	REC_ID_SESSION = 4, /* the gateway's own: session and message counter, consecutive */
};

#define REC_F_OPEN 0x0001 /* REC_ID_SESSION, counter 1: this record opens the session */

/* The identity of a record for deduplication (R14). */
struct rec_ident {
	enum rec_id_kind kind;
	bool open;              /* REC_F_OPEN */
	struct hash128 key;     /* (producer, id or number): equal keys are the same message */
	uint64_t owner;         /* hash of kind and producer (SEQ), or the session's id; 0 otherwise */
	uint64_t n;             /* SEQ: the number; SESSION: the counter */
	leash_seq birth;        /* SESSION with open */
	uint64_t payload;       /* hash of the pairs */
};

struct rep_rec {
	leash_seq seq;
	leash_epoch epoch;
	uint64_t log_time_ns;
	uint32_t bytes; /* header and body */
	struct rec_ident ident;
};

/* One stretch of a log: records from @first on (until the next stretch) were first appended in @epoch. */
struct rep_stretch {
	leash_epoch epoch;
	leash_seq first;
};

#define REP_HISTORY_MAX 65536 /* stretches a node keeps and sends */
#define REP_BATCH_MAX   4096  /* records in one RECORDS message */

/* --------------------------------------------------------------------------------------- messages between nodes */

enum rep_msg_type {
	REP_MSG_LEAD = 1, /* primary -> follower, first on a connection in an epoch: my log is this */
	REP_MSG_JOINED,   /* follower -> primary: promise is on disk, my log matches yours up to `seq` */
	REP_MSG_RECORDS,  /* primary -> follower (or relayed in chain topology): records, consecutive */
	REP_MSG_BEAT,     /* primary -> follower, at least every heartbeat: commit index, log end */
	REP_MSG_ACK,      /* follower -> primary: durable up to `seq` in this epoch */
	REP_MSG_REFUSE,   /* to a primary of an older epoch: `epoch`, `run`, `node` name the newer one */
	REP_MSG_ASK,      /* suspecting member -> member: do you hear the primary of `epoch`? */
	REP_MSG_HEARS,    /* the answer: REP_F_HEARS, REP_F_MOVES */
	REP_MSG_RELAY,    /* primary -> follower, chain: forward what you get from `seq` on to `node` (or to nobody) */
	REP_MSG_LOOK,     /* anyone -> anyone: etcd's state has changed, look at it (a hint) */
	REP_MSG_RESET,    /* primary -> follower too far behind: drop your log, mine begins at `log_start` */
	REP_MSG_DAMAGED,  /* primary -> follower: you report less than you acknowledged to me (R11) */
	REP_MSG_FETCH,    /* anyone -> anyone: send me your records from `seq` to `log_end`, a log is to be repaired (R11) */
	REP_MSG_FETCHED,  /* the answer, of `seq`: records from it on; none: I cannot */
};

#define REP_F_HEARS   0x01 /* HEARS: I heard this primary within failure_timeout and am connected to it */
#define REP_F_MOVES   0x02 /* HEARS: commits move, or nothing waits */
#define REP_F_HOLDING 0x04 /* BEAT: a hand-over is under way */
#define REP_F_SERVING 0x08 /* BEAT: commit index is past the takeover, followers may serve reads */

/*
 * One flat struct for all; which fields a message carries stands in the table of src/wire/peer.c. Unused fields are 0.
 */
struct rep_msg {
	enum rep_msg_type type;
	uint32_t flags;
	leash_epoch epoch;       /* the primary's epoch; REFUSE: the newer one */
	leash_id run;            /* the run id of the epoch's owner */
	uint64_t conn;           /* the primary's number of this connection: rises with each one it makes in its life */
	leash_id cluster;
	leash_id incarnation;    /* the sender's, in messages of a follower */
	leash_id sender_run;     /* the sender's, in messages of a follower */
	leash_seq seq;
	leash_seq log_start;     /* first record that the sender still has (log_end + 1 when empty) */
	leash_seq log_end;
	leash_seq commit;        /* commit index */
	leash_epoch log_epoch;   /* follower: the epoch in which its log last matched its primary's */
	uint64_t log_time_ns;    /* BEAT: log time now */
	uint64_t lease;          /* follower: its own etcd lease, for hand-over; 0 = none */
	struct leash_chain chain; /* LEAD, RESET: before log_start. JOINED: at `seq` */
	char node[LEASH_NAME_MAX + 1];
	const struct rep_stretch *history; /* LEAD */
	uint32_t n_history;
	const struct rep_rec *recs; /* RECORDS, FETCHED: consecutive */
	uint32_t n_recs;
};

#endif
