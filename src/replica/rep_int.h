/*
 * Inside of the state machine. One step = apply the event to the state, then rep_drive(): everything that is to be
 * done is derived from the state as it is now, never from the event, so that no order of events can leave a wish
 * unfulfilled.
 *
 *     rep.c         creation, the step, actions, metadata
 *     rep_view.c    etcd's state and the answers of transactions (R0, R0a, R4a)
 *     rep_elect.c   founding, suspicion, candidacy (R2, R3, R9, R12)
 *     rep_lead.c    being primary: followers, commit (R1), confirmation (R3a, R10)
 *     rep_insync.c  the in-sync set (R7, R8) and hand-over (R13)
 *     rep_follow.c  being secondary: promise (R4), reconciliation (R6), acknowledgement
 *     rep_chain.c   chain topology
 *     rep_damage.c  a damaged log of one's own (R11)
 *     dedup.c       R14        history.c  epochs of a log
 */
#ifndef LEASH_REPLICA_REP_INT_H
#define LEASH_REPLICA_REP_INT_H

#include "replica/dedup.h"
#include "replica/history.h"
#include "replica/rep.h"

enum join_state {
	JOIN_NONE,   /* nothing sent on this connection in this epoch */
	JOIN_LED,    /* LEAD sent */
	JOIN_JOINED, /* JOINED came: it streams */
};

/* Another node. As its primary, as its fellow member. */
struct peer {
	char name[LEASH_NAME_MAX + 1];

	/* our connection to it */
	bool linked, refused;
	uint64_t conn, unlinked_ns;

	/* as my follower, in my epoch */
	enum join_state join;
	leash_id incarnation, run; /* as it said in JOINED; 0 = not yet */
	leash_seq matched;         /* counts for commits: durable, acknowledged in this epoch */
	leash_seq have;            /* durable and matching, whether it counts yet or not */
	leash_seq acked_high;      /* highest `matched` of acked_incarnation in this epoch (R11) */
	leash_id acked_incarnation;
	leash_id damaged_incarnation; /* reported less than it acknowledged */
	uint64_t lease;
	uint64_t heard_ns;    /* last message in my epoch; my epoch's beginning before the first */
	uint64_t progress_ns; /* when `have` last rose, or nothing was outstanding */
	leash_seq lag_seq;    /* all the others had so much at lag_ns, and it had not; 0: it has what they have */
	uint64_t lag_ns;      /* likewise; 0: since when it has */
	uint64_t kept_up_ns;  /* when it last was not far behind them */
	uint64_t streamed_ns; /* when streaming last (re)started */
	bool required;        /* R8: commits wait for it, though it is not yet in the set */
	leash_seq join_end;   /* my log end when it became required */
	leash_seq round_end;  /* catching up in rounds (Raft thesis 4.2.1): my log end when this round began */
	uint64_t round_ns;
	uint64_t rejoin_ns;   /* not required again before this moment */
	uint64_t backoff_ns, removed_ns;
	char relay[LEASH_NAME_MAX + 1]; /* chain: it forwards to this node; "" = to nobody */
	bool fed_by_relay;    /* chain: its records come from another follower */
	uint64_t relay_retry_ns; /* chain: not fed by another before this moment */

	/* as somebody I ask about the primary (R12) */
	uint64_t answered_ns;
	bool hears, moves;
};

/* What I follow. */
struct follow {
	bool active;          /* joined: matched is valid, and this node is secondary or candidate */
	bool pending;         /* a LEAD waits for the promise or a cut */
	char node[LEASH_NAME_MAX + 1];
	leash_epoch epoch;
	leash_id run;
	uint64_t conn;
	leash_seq matched;
	leash_seq lead_start, lead_end; /* of the primary's log when it sent LEAD */
	struct history lead;            /* likewise */
	leash_seq commit;     /* the primary's commit index, as last heard */
	uint64_t heard_ns, moved_ns; /* when commit last rose, or nothing waited */
	leash_seq primary_end;
	bool serving;
	bool counted;         /* the log epoch is on disk and said so */
	char relay_to[LEASH_NAME_MAX + 1]; /* chain: whom I forward to */
};

struct txn_state {
	bool active;    /* wanted: in flight, or to be repeated */
	bool in_flight;
	bool unknown;   /* an attempt went unanswered: it stays possible (R0a) */
	uint64_t retry_ns, backoff_ns;
	struct rep_txn txn;
};

struct suspicion {
	const char *why; /* NULL: none */
	uint64_t since_ns, asked_ns, noted_ns;
};

#define TAKEOVERS_REMEMBERED 8

struct rep {
	struct rep_conf conf;
	uint64_t now_ns, wakeup_ns;
	enum rep_role role;
	const char *halted;

	struct rep_meta meta, want, flying; /* durable; to be made durable; being written */
	uint64_t meta_ticket;               /* of the write under way; 0 = none */
	bool meta_again;                    /* what is on disk may be older than `meta`: write it once more */

	struct rep_view view;     /* etcd as last seen */
	bool view_known;
	struct rep_insync cfg;    /* the in-sync set as last known; stays when etcd's state is gone */
	bool state_gone;
	leash_seq recovered_commit; /* the commit index when `leash recover` was heard of in this life; 0: it was not */
	leash_epoch refused_cut;    /* epoch of a primary whose cut below the commit index was refused; 0: none */
	uint64_t probe_ns;        /* when a probe was last asked for */
	uint64_t doubt_ns;        /* since when answers that went through Raft show an older state; 0 = they do not */
	uint64_t key_gone_ns;     /* since when no leader key is seen; 0 = there is one */
	uint64_t leader_since_ns; /* when the present leader key was first seen */
	char last_leader[LEASH_NAME_MAX + 1];
	uint64_t lease;

	leash_seq start, end, durable;
	bool cutting;             /* a cut, reset or setting aside is under way: nothing is appended or acknowledged */
	struct leash_chain base;
	struct history hist;
	uint64_t log_time_ns;     /* of the last record */
	struct dedup *dedup;
	leash_seq commit;
	uint64_t full_ns;         /* when an append met a full disk; 0 = not */
	bool announced_dirty;     /* nodes/ key should be rewritten */
	struct {
		bool known;       /* it is to be set aside */
		bool verdict;     /* a primary says that acknowledged records are missing: this node must not lead */
		bool aside;       /* REP_ACT_DAMAGED is under way */
		leash_seq first;  /* lowest damaged record known */
		leash_seq last;   /* highest; in between there may be good ones */
		uint64_t retry_ns, gap_ns; /* primary: when to try to hand over again */
		uint64_t note_ns;          /* and when to say again that it cannot */
	} damage;

	struct peer peers[REP_NODES_MAX];
	uint32_t n_peers;

	struct follow follow;
	struct suspicion suspect;
	uint64_t founding_ns; /* since when all founders were seen present and virgin */
	uint64_t takeovers_ns[TAKEOVERS_REMEMBERED];
	uint32_t n_takeovers;

	/* as primary, or winner */
	leash_epoch epoch;
	uint64_t epoch_ns;        /* when it began */
	leash_seq takeover_end;
	uint64_t log_time_at_ns, log_time_base_ns;
	uint64_t beat_ns;
	bool serving, below_min;
	char replaced[LEASH_NAME_MAX + 1];

	struct txn_state txn;
	uint64_t next_ticket;

	struct {
		bool active, leaving;
		char to[LEASH_NAME_MAX + 1];
		uint64_t deadline_ns;
	} hand;

	struct rep_action actions[REP_ACTIONS_MAX];
	uint32_t n_actions, action_at;
};

/* rep.c */
struct rep_action *rep_act(struct rep *r, enum rep_action_kind kind);
void rep_note(struct rep *r, enum rep_note_kind kind, const char *node, leash_epoch epoch, leash_seq seq,
	const char *text);
void rep_wake_at(struct rep *r, uint64_t at_ns);
struct peer *rep_peer(struct rep *r, const char *name); /* made when there is room; NULL: no room or own name */
struct peer *rep_peer_find(const struct rep *r, const char *name);
const struct peer *rep_peer_or_nobody(const struct rep *r, const char *name); /* unknown: one never linked, never heard */
struct rep_msg *rep_send(struct rep *r, const char *node, enum rep_link link, enum rep_msg_type type);
void rep_set_role(struct rep *r, enum rep_role role);
void rep_halt(struct rep *r, const char *why);
bool rep_member(const struct rep_insync *set, const char *node, leash_id incarnation);
bool rep_is_self(const struct rep *r, const char *node);
bool rep_self_insync(const struct rep *r);
void rep_log_append(struct rep *r, const struct rep_rec *rec);
void rep_set_commit(struct rep *r, leash_seq seq);

/* rep_view.c */
void rep_on_view(struct rep *r, const struct rep_view *v);
void rep_on_txn(struct rep *r, const struct rep_event *ev);
void rep_txn_start(struct rep *r, const struct rep_txn *txn);
void rep_txn_drop(struct rep *r);
void rep_drive_txn(struct rep *r);
struct rep_txn rep_txn_new(const struct rep *r, enum rep_txn_kind kind);

/* rep_elect.c */
void rep_drive_election(struct rep *r);
void rep_on_ask(struct rep *r, const char *from, const struct rep_msg *m);
void rep_on_hears(struct rep *r, const char *from, const struct rep_msg *m);
void rep_count_takeover(struct rep *r);

/* rep_lead.c */
void rep_win(struct rep *r);
void rep_drive_winner(struct rep *r);
void rep_drive_primary(struct rep *r);
void rep_step_down(struct rep *r, const char *node, leash_epoch epoch);
void rep_peer_linked(struct rep *r, struct peer *p);
void rep_on_joined(struct rep *r, const char *from, const struct rep_msg *m);
void rep_on_ack(struct rep *r, const char *from, const struct rep_msg *m);
uint64_t rep_log_time(const struct rep *r);
void rep_stream_from(struct rep *r, struct peer *p, leash_seq seq);

/* rep_insync.c */
bool rep_may_propose(const struct rep *r); /* as primary: etcd's state is there, of my epoch, and nothing is under way */
bool rep_peer_absent(const struct rep *r, const struct peer *p, leash_id incarnation, const char **ret_why);
const char *rep_peer_why(const struct rep *r, const struct peer *p, leash_id incarnation); /* absent, or slow; NULL: neither */
void rep_drive_insync(struct rep *r);
bool rep_has_successor(const struct rep *r);
void rep_on_handover(struct rep *r, const struct rep_event *ev);
void rep_drive_handover(struct rep *r);
void rep_handover_end(struct rep *r, const char *failed);

/* rep_chain.c */
void rep_drive_chain(struct rep *r);
void rep_unchain(struct rep *r, struct peer *p);
void rep_on_relay(struct rep *r, const char *from, const struct rep_msg *m);

/* rep_follow.c */
void rep_on_lead(struct rep *r, const char *from, enum rep_link link, const struct rep_msg *m);
void rep_on_records(struct rep *r, const char *from, enum rep_link link, const struct rep_msg *m);
void rep_on_beat(struct rep *r, const char *from, enum rep_link link, const struct rep_msg *m);
void rep_on_refuse(struct rep *r, const char *from, const struct rep_msg *m);
void rep_on_reset(struct rep *r, const char *from, const struct rep_msg *m);
void rep_on_cut(struct rep *r, leash_seq seq);
void rep_on_full(struct rep *r, leash_seq seq);
void rep_follow_ack(struct rep *r);
void rep_drive_follow(struct rep *r);
void rep_unfollow(struct rep *r);
bool rep_follows_now(const struct rep *r);
bool rep_from_primary(const struct rep *r, const char *from, enum rep_link link, const struct rep_msg *m);

/* rep_damage.c */
void rep_on_damage(struct rep *r, leash_seq first, leash_seq last);
void rep_on_mended(struct rep *r, leash_seq first, leash_seq last);
void rep_on_damaged(struct rep *r, const char *from, const struct rep_msg *m);
void rep_on_incarnation(struct rep *r, leash_id incarnation, leash_seq end);
void rep_drive_damage(struct rep *r);
bool rep_ends_at_damage(const struct rep *r, const struct peer *p); /* what it needs is rotten here */

#endif
