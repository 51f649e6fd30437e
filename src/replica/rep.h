/*
 * The rules of the leash (design 4) as a pure state machine: primary-backup replication under an external
 * configuration store, after PacificA (MSR-TR-2008-25) and Kafka's in-sync set with its later repairs (KIP-101,
 * KIP-279, KIP-497, KIP-903, KIP-966).
 *
 * No socket, no file, no clock, no thread. Everything that happens is an event handed to rep_step(); everything that
 * is to be done comes out as actions, taken one by one with rep_action(). Time (CLOCK_BOOTTIME, ns) arrives with each
 * event; random ids arrive in the configuration. No action relies on another action of the same step being finished:
 * what must be durable first comes back as an event of its own.
 *
 * Memory: allocated by rep_new() and by the growth of the history up to REP_HISTORY_MAX stretches; rep_free() gives
 * all of it back. A struct rep belongs to one thread.
 */
#ifndef LEASH_REPLICA_REP_H
#define LEASH_REPLICA_REP_H

#include "base/cluster.h"
#include "base/repmsg.h"
#include "base/types.h"
#include "base/util.h"

#define REP_ACTIONS_MAX 160 /* actions one step may leave; checked */

struct rep;

/* --------------------------------------------------------------------------------------------------- configuration */

enum rep_topology { REP_STAR, REP_CHAIN };

struct rep_conf {
	char node[LEASH_NAME_MAX + 1];
	char address[LEASH_ADDR_MAX + 1];
	leash_id run;           /* random, of this process life */
	leash_id fresh_cluster; /* random: the cluster id, should this node found one */
	int32_t priority;
	uint32_t n_founders;
	char founders[REP_NODES_MAX][LEASH_NAME_MAX + 1];
	uint32_t min_insync;    /* for a cluster founded now */
	uint64_t dedup_window;  /* records; likewise */
	uint64_t dedup_time_ns;
	uint64_t dedup_records_max; /* what dedup_bytes has room for; at least dedup_window */
	uint32_t uncommitted_max;   /* records appended and not yet committed */
	enum rep_topology topology;
	uint64_t failure_timeout_ns;
	uint64_t heartbeat_ns;
	bool dormant;           /* the log is damaged and being repaired (R11): it stands aside, whatever happens, until it
	                           is freed and made anew with the whole log. rep_replay() is not needed. */
};

/* What is on disk and must never be forgotten (R4, R4a, R9): the state machine's part of the metadata. */
struct rep_meta {
	leash_id cluster, incarnation;
	leash_epoch promise;
	leash_id promise_run;
	leash_epoch log_epoch;     /* epoch in which the log last matched its primary's */
	leash_seq log_matched;     /* how far it matched when log_epoch was set: records behind it that are of an older
	                              epoch than log_epoch are an unacknowledged tail and do not count (R9) */
	uint64_t insync_version, etcd_revision, recovery;
};

/* What the log held when it was opened; all of it durable. */
struct rep_log {
	leash_seq start, end;
	leash_seq mark;             /* acknowledged at least up to here by a former life */
	struct leash_chain base;    /* the chain before `start` */
	uint64_t log_time_ns;       /* of the last record */
	const struct rep_stretch *history;
	uint32_t n_history;
};

/* ---------------------------------------------------------------------------------------------------------- events */

enum rep_event_kind {
	REP_EV_TICK,       /* time has passed */
	REP_EV_VIEW,       /* .view: etcd's state, by read, watch or transaction */
	REP_EV_TXN,        /* .txn: the answer to REP_ACT_TXN */
	REP_EV_LEASE,      /* .lease: this node's lease; 0 = none */
	REP_EV_LINK,       /* .link: our connection to a peer came up or broke */
	REP_EV_MSG,        /* .msg: from a peer */
	REP_EV_DURABLE,    /* .seq: everything up to here that was appended is on disk; never during a cut, a reset or REP_ACT_DAMAGED */
	REP_EV_CUT,        /* .seq: REP_ACT_TRUNCATE or REP_ACT_RESET is done, the log now ends here, durably */
	REP_EV_META,       /* .ticket: REP_ACT_META of this ticket is on disk */
	REP_EV_FULL,       /* .seq: no room on disk; the log ends here, what was to be appended behind it, at least one record, is
	                    * dropped */
	REP_EV_TRIMMED,    /* .trimmed: retention removed what lies before this record */
	REP_EV_HANDOVER,   /* .handover: give the lead to another (R13) */
	REP_EV_INCARNATION,/* .incarnation: the damaged log was set aside (R11), the new incarnation is on disk; .seq: log end */
	REP_EV_DAMAGE,     /* .damage: the log is damaged from .first on and could not be repaired in place (R11): nobody has
			    * .last; at least one in between cannot be read */
	REP_EV_MENDED,     /* .mended: what was damaged there is whole again after all */
};

enum rep_link { REP_LINK_OUT, REP_LINK_IN }; /* the connection we made; the one the peer made */

enum rep_txn_outcome {
	REP_TXN_DONE,    /* took effect, at .revision */
	REP_TXN_FAILED,  /* a guard did not hold; .view is what etcd has */
	REP_TXN_UNKNOWN, /* no answer: it may have taken effect or take effect later (R0a) */
	REP_TXN_UNSENT,  /* certainly never reached etcd */
};

struct rep_event {
	enum rep_event_kind kind;
	uint64_t now_ns;
	union {
		const struct rep_view *view;
		struct {
			uint64_t ticket;
			enum rep_txn_outcome outcome;
			uint64_t revision;            /* DONE */
			const struct rep_view *view;  /* FAILED */
		} txn;
		uint64_t lease;
		struct {
			const char *node;
			bool up;
			uint64_t conn; /* up: this connection's number; rises with each connection made in this life */
			bool refused;  /* down: and a new one was refused (R12) */
		} link;
		struct {
			const char *from;
			enum rep_link link;
			const struct rep_msg *msg;
		} msg;
		leash_seq seq;
		uint64_t ticket;
		struct {
			const char *to;  /* "": the best one */
			bool leaving;    /* the caller shuts down: leave the in-sync set if it stays large enough */
			uint64_t deadline_ns;
		} handover;
		struct {
			leash_seq start;
			struct leash_chain base; /* the chain before `start` */
		} trimmed;
		struct {
			leash_id incarnation;
			leash_seq end;
		} incarnation;
		struct {
			leash_seq first, last;
		} mended, damage;
	};
};

/* --------------------------------------------------------------------------------------------------------- actions */

enum rep_action_kind {
	REP_ACT_META,      /* write .meta durably, then REP_EV_META with .ticket */
	REP_ACT_SEND,      /* send .msg to .node over .link; drop it when that link is down */
	REP_ACT_STREAM,    /* from now on send records from .seq on to .node, up to rep_stream_limit(), over our link */
	REP_ACT_STOP,      /* stop streaming to .node */
	REP_ACT_ACCEPT,    /* append records [.first, .first + .count) of the message just fed, then REP_EV_DURABLE */
	REP_ACT_TRUNCATE,  /* cut everything behind .seq (R6), then REP_EV_CUT */
	REP_ACT_RESET,     /* drop the log, start at .seq with .chain before it, then REP_EV_CUT */
	REP_ACT_TXN,       /* put .txn to etcd, then REP_EV_TXN */
	REP_ACT_READ,      /* read etcd's state, then REP_EV_VIEW */
	REP_ACT_PROBE,     /* likewise, authoritative: with a transaction that rewrites this node's own nodes/ key */
	REP_ACT_COMMIT,    /* committed up to .seq: answer those who wait, readers may see it */
	REP_ACT_DEMOTED,   /* no longer primary: what waits for a commit has an unknown outcome here */
	REP_ACT_RELEASED,  /* a hand-over has ended: what was held may be fed again (or goes to the new primary) */
	REP_ACT_DAMAGED,   /* set the damage aside, make a new incarnation, then REP_EV_INCARNATION (R11) */
	REP_ACT_ANNOUNCE,  /* rewrite this node's nodes/ key: what it says has changed */
	REP_ACT_NOTE,      /* tell the operator: .note */
};

/* Notes for the journal, one per kind of event; rep_note_text() has the sentence. */
enum rep_note_kind {
	REP_NOTE_FOUNDED,        /* cluster founded: .epoch unused */
	REP_NOTE_JOINED_CLUSTER, /* virgin node adopted a cluster */
	REP_NOTE_PRIMARY,        /* this node is primary of .epoch; .node = whom it replaced */
	REP_NOTE_DEPOSED,        /* stepped down: .node leads .epoch */
	REP_NOTE_FOLLOWING,      /* follows .node in .epoch */
	REP_NOTE_SUSPECT,        /* suspects .node: .text */
	REP_NOTE_CAMPAIGN,       /* asks etcd for .epoch */
	REP_NOTE_LOST,           /* another was faster or the guard failed */
	REP_NOTE_INSYNC_ADD,     /* .node joined the in-sync set */
	REP_NOTE_INSYNC_REMOVE,  /* .node left the in-sync set: .text */
	REP_NOTE_BELOW_MIN,      /* fewer members answer than min_insync: nothing commits */
	REP_NOTE_COMMITTING,     /* commits go on after BELOW_MIN */
	REP_NOTE_CAUGHT_UP,      /* .node has everything (as primary) */
	REP_NOTE_CUT,            /* .seq..: unacknowledged records of an older epoch were cut */
	REP_NOTE_RESET,          /* too far behind: fresh copy from .seq */
	REP_NOTE_HANDOVER,       /* hands over to .node */
	REP_NOTE_HANDOVER_FAILED,/* .text */
	REP_NOTE_LEASE_LOST,     /* trying to confirm the lead */
	REP_NOTE_CONFIRMED,      /* the leader key is back in the same epoch */
	REP_NOTE_DAMAGED,        /* a peer says that this node lost what it acknowledged */
	REP_NOTE_STATE_GONE,     /* etcd's keys are gone: leash recover */
	REP_NOTE_STATE_BACK,     /* and are there again */
	REP_NOTE_HALTED,         /* R4a: etcd went back in time: .text */
	REP_NOTE_FOREIGN,        /* the cluster id differs: final (exit 78) */
	REP_NOTE_FOUNDED_ANEW,   /* the same, but this node's disk does not name a cluster yet: final, the next life joins (exit 1) */
	REP_NOTE_MISCONFIGURED,  /* min_insync or dedup_window differ from the cluster's: final (exit 78): .text */
	REP_NOTE_OVERRULED,      /* `leash recover` chose a log without .seq, which this node knew to be committed: final, the
	                          * next life follows it (exit 1) */
	REP_NOTE_VIOLATION,      /* a rule was broken by someone: nothing is touched: .text */
};

struct rep_note {
	enum rep_note_kind kind;
	leash_epoch epoch;
	leash_seq seq;
	char node[LEASH_NAME_MAX + 1];
	const char *text; /* static; may be NULL */
};

struct rep_action {
	enum rep_action_kind kind;
	char node[LEASH_NAME_MAX + 1];
	enum rep_link link;
	leash_seq seq;
	uint64_t ticket;
	uint32_t first, count;
	struct leash_chain chain;
	union {
		struct rep_meta meta;
		struct rep_msg msg;
		struct rep_txn txn;
		struct rep_note note;
	};
};

/* --------------------------------------------------------------------------------------------------------- calls */

/*
 * @meta and @log are what opening found. 0; -ENOMEM; -EINVAL: the configuration makes no sense.
 * The dedup table is filled afterwards with rep_replay(), before the first step.
 */
int rep_new(const struct rep_conf *conf, const struct rep_meta *meta, const struct rep_log *log, uint64_t now_ns,
	struct rep **ret_rep) _must_check_;
void rep_free(struct rep *r);

/* The identities of the last records of the log, in order, up to its end (rep_replay_from() tells from where on). */
leash_seq rep_replay_from(const struct rep *r);
void rep_replay(struct rep *r, const struct rep_rec *rec);

void rep_step(struct rep *r, const struct rep_event *ev);

/* The next action, valid until the next call of rep_action() or rep_step(). NULL: none is left. All actions of a step
 * must be taken before the next step. */
const struct rep_action *rep_action(struct rep *r);

/* When to come back with REP_EV_TICK at the latest, CLOCK_BOOTTIME ns; UINT64_MAX: never. */
uint64_t rep_wakeup_ns(const struct rep *r);

/* What becomes of a client's append. */
enum rep_verdict_kind {
	REP_V_NEW,         /* rep_submit(); answer when it commits */
	REP_V_KNOWN,       /* in the log already at .seq: answer when that commits (at once if it has) */
	REP_V_CONFLICT,    /* same id, other payload, at .seq: the error is due when that commits (R14) */
	REP_V_NOT_PRIMARY, /* .epoch: newest known; nothing happened */
	REP_V_HOLD,        /* a hand-over is under way, or too much is uncommitted: ask again later */
	REP_V_UNKNOWN_SESSION,
	REP_V_SESSION_ORDER, /* not the next counter; .seq: the one expected */
	REP_V_OLD,         /* IDMPSEQ number below the highest and not remembered */
	REP_V_FULL,        /* the dedup table has no room (dedup_time over dedup_bytes) */
};

struct rep_verdict {
	enum rep_verdict_kind kind;
	leash_seq seq;
	leash_epoch epoch;
};

/* Nothing happens: the caller may have bounds of its own, which must not keep a retry from its answer. */
struct rep_verdict rep_peek(const struct rep *r, const struct rec_ident *ident);

/* What rep_peek() has just called REP_V_NEW counts as appended from now on, at .seq of it: the caller must append it to the
 * log. @bytes: header and body. */
void rep_submit(struct rep *r, const struct rec_ident *ident, uint32_t bytes, uint64_t now_ns,
	struct rep_rec *ret_rec);

/* What every message RECORDS of this node must bear now (epoch, run, conn, commit, log end, flags). */
void rep_fill_records(const struct rep *r, const char *node, struct rep_msg *ret_msg);

/* Records up to here may be sent on to other nodes: the whole log in star topology, what is durable in a chain. */
leash_seq rep_stream_limit(const struct rep *r);

enum rep_role { REP_ROLE_SECONDARY, REP_ROLE_CANDIDATE, REP_ROLE_WINNER, REP_ROLE_PRIMARY, REP_ROLE_HALTED };
const char *rep_role_name(enum rep_role role);

/* For status; cheap. */
struct rep_peer_status {
	char node[LEASH_NAME_MAX + 1];
	bool linked, joined, insync, required;
	leash_id incarnation;
	leash_seq matched;
	uint64_t heard_ns;     /* when last heard, boottime; 0 = never */
	const char *why_absent; /* static text; NULL when in sync */
};

struct rep_status {
	enum rep_role role;
	leash_epoch epoch;      /* own when primary; followed when secondary; 0 = none */
	char primary[LEASH_NAME_MAX + 1];
	leash_seq log_start, log_end, durable, commit, readable; /* readable: what readers may see (R5a) */
	leash_seq dedup_keep_from; /* retention must keep records from here on (R14) */
	bool serving, holding, insync, below_min, state_gone, paused;
	leash_epoch log_epoch;
	leash_seq log_matched;  /* length that counts for `leash recover` (R9) */
	leash_epoch last_epoch; /* of the last record */
	struct rep_meta meta;   /* as known to be durable */
	struct rep_insync members; /* as known */
	uint64_t log_time_ns;
	uint32_t n_peers;
	struct rep_peer_status peers[REP_NODES_MAX];
	const char *halted;     /* why, or NULL */
	bool damaged;           /* damage was found and is not set aside yet */
};
void rep_status(const struct rep *r, uint64_t now_ns, struct rep_status *ret_status);

/* Cheap reads of the hot path. */
leash_seq rep_commit(const struct rep *r);
leash_seq rep_log_end(const struct rep *r);
enum rep_role rep_role(const struct rep *r);
leash_epoch rep_last_epoch(const struct rep *r); /* of the last record, 0 = none */
leash_epoch rep_epoch(const struct rep *r);

/* A hash over the dedup table: equal on nodes with equal logs and commit index. For tests and `leash log info`. */
uint64_t rep_dedup_digest(const struct rep *r);

const char *rep_note_text(enum rep_note_kind kind);

#endif
