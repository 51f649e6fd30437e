/*
 * The peer protocol's messages of the data path: gateways and tools with a node. Pure; rules of coding and results as
 * in wire/peer.h. Requests bear a token of the asker's choice, their answers the same; answers to READ, INFO and ADMIN
 * may come in any order.
 *
 * SUBMIT is pipelined: a gateway sends as many as WELCOME allows and gets a RESULT for each, several in one frame. What
 * is unanswered when a connection ends is sent again to the next primary; the node's deduplication makes that safe.
 */
#ifndef LEASH_WIRE_PEER_DATA_H
#define LEASH_WIRE_PEER_DATA_H

#include "wire/peer.h"

/* -------------------------------------------------------------------------------------------------------- append */

/* The body is as it came: the node decodes it (rec_body_decode()) and answers PEER_ST_INVALID when it is none. */
struct peer_submit {
	uint64_t token;
	struct bytes body; /* at least REC_BODY_BYTES_MIN */
};

int peer_submit_encode(struct buf *out, const struct peer_submit *m) _must_check_;
int peer_submit_decode(struct bytes payload, struct peer_submit *ret_m) _must_check_;

enum peer_status_code {
	PEER_ST_OK = 1,          /* committed at .seq */
	PEER_ST_KNOWN,           /* was there already: .seq of the first, committed */
	PEER_ST_CONFLICT,        /* same id, other payload: .seq of the first, committed */
	PEER_ST_NOT_PRIMARY,     /* .epoch: the newest known; certainly not appended: send it elsewhere */
	PEER_ST_HOLD,            /* a hand-over or too much uncommitted; certainly not appended: send it again later */
	PEER_ST_OOM,             /* no room on disk or in memory */
	PEER_ST_TOO_BIG,         /* over max_record_bytes */
	PEER_ST_SESSION_UNKNOWN, /* this session was never opened or is forgotten */
	PEER_ST_SESSION_ORDER,   /* not the session's next counter: .seq is the one expected */
	PEER_ST_OLD,             /* IDMPSEQ number below the highest and no longer remembered */
	PEER_ST_DEDUP_FULL,      /* dedup_time wants more than dedup_bytes */
	PEER_ST_NO_REPLICAS,     /* fewer than min_insync members; certainly not appended */
	PEER_ST_INDOUBT,         /* may be in the log */
	PEER_ST_INVALID,         /* the request makes no sense */
	PEER_ST_GONE,            /* reads: older than the oldest kept record */
	PEER_ST_NOT_SERVING,     /* reads: a new primary that may not show its log yet (R5a), or a node without one */
	PEER_ST_DAMAGED,         /* reads: this stretch cannot be read here */
};
const char *peer_status_code_name(enum peer_status_code code); /* "ok", "known" ... */

#define PEER_RESULTS_MAX 65536 /* answers in one frame */

/* The answer to a SUBMIT; or to a run of them, whose tokens and positions rise by one. */
struct peer_result {
	uint64_t token;
	enum peer_status_code status;
	leash_seq seq;
	leash_epoch epoch;
	uint32_t count; /* at least 1: tokens token .. token + count - 1, at seq .. seq + count - 1 */
};

/* True: @next (a single one) is part of @r from now on. */
bool peer_result_extend(struct peer_result *r, const struct peer_result *next);

/* At least one, and no more than PEER_RESULTS_MAX answers in all. */
int peer_results_encode(struct buf *out, const struct peer_result *results, size_t n) _must_check_;

/* Checks the whole payload and makes @ret_results a cursor for peer_result_next(), which cannot fail then. */
int peer_results_decode(struct bytes payload, struct cur *ret_results) _must_check_;
bool peer_result_next(struct cur *results, struct peer_result *ret_result); /* false: no more */

/* -------------------------------------------------------------------------------------------------------- status */

/* Pushed by a node to gateways and tools after WELCOME and whenever role, epoch or set change; commit at most every
 * few ms. */
struct peer_status {
	enum peer_role role;
	leash_epoch epoch;
	char leader[LEASH_NAME_MAX + 1];          /* as far as known, else empty */
	char leader_address[LEASH_ADDR_MAX + 1];
	leash_seq commit, log_start, log_end;     /* commit: what readers may see here */
	bool serving;  /* reads are answered */
	bool holding;  /* a hand-over is under way */
	uint32_t n_insync, min_insync;
};

int peer_status_encode(struct buf *out, const struct peer_status *m) _must_check_;
int peer_status_decode(struct bytes payload, struct peer_status *ret_m) _must_check_;

/* ---------------------------------------------------------------------------------------------------------- read */

/* Committed records from..to, both included; @reverse: beginning with `to`. */
struct peer_read {
	uint64_t token;
	leash_seq from, to; /* from <= to */
	uint32_t count_max; /* 1..REP_BATCH_MAX */
	uint32_t bytes_max; /* stop behind this many; at least one record comes all the same */
	bool reverse;
};

int peer_read_encode(struct buf *out, const struct peer_read *m) _must_check_;
int peer_read_decode(struct bytes payload, struct peer_read *ret_m) _must_check_;

struct peer_records {
	uint64_t token;
	enum peer_status_code status; /* PEER_ST_OK, or why there are none */
	bool more;      /* the range has more committed records than these */
	bool reverse;   /* they come in falling order */
	uint32_t n;     /* records */
};

/* As peer_records_encode(). */
int peer_records_data_encode(struct buf *out, const struct peer_records *m, const struct bytes *pieces,
	size_t n_pieces) _must_check_;

/*
 * Views of all records go to @views, which has room for @views_max. Each is verified; sequence numbers are consecutive,
 * rising or (reverse) falling, and the chain closes between neighbours.
 */
int peer_records_data_decode(struct bytes payload, struct peer_view *views, uint32_t views_max,
	struct peer_records *ret_m) _must_check_;

/* -------------------------------------------------------------------------------------------------- info, ping, admin */

enum peer_info_what {
	PEER_INFO_STREAM = 1, /* XINFO STREAM, XLEN: numbers of the log */
	PEER_INFO_NODE,       /* `leash status`, INFO, ROLE: everything about the node */
	PEER_INFO_METRICS,    /* counters */
};

struct peer_info {
	uint64_t token;
	enum peer_info_what what;
};

int peer_info_encode(struct buf *out, const struct peer_info *m) _must_check_;
int peer_info_decode(struct bytes payload, struct peer_info *ret_m) _must_check_;

struct peer_info_data {
	uint64_t token;
	struct bytes json;
};

int peer_info_data_encode(struct buf *out, const struct peer_info_data *m) _must_check_;
int peer_info_data_decode(struct bytes payload, struct peer_info_data *ret_m) _must_check_;

/* @type: PEER_PING or PEER_PONG. The answer to a PING comes after the answers to everything before it was begun. */
int peer_ping_encode(struct buf *out, enum peer_type type, uint64_t token) _must_check_;
int peer_ping_decode(struct bytes payload, uint64_t *ret_token) _must_check_;

#define PEER_ADMIN_ARGS_MAX 64

struct peer_admin {
	uint64_t token;
	uint32_t argc; /* 1..PEER_ADMIN_ARGS_MAX */
	struct bytes argv[PEER_ADMIN_ARGS_MAX];
};

int peer_admin_encode(struct buf *out, const struct peer_admin *m) _must_check_;
int peer_admin_decode(struct bytes payload, struct peer_admin *ret_m) _must_check_;

struct peer_admin_data {
	uint64_t token;
	bool ok;
	struct bytes text;
};

int peer_admin_data_encode(struct buf *out, const struct peer_admin_data *m) _must_check_;
int peer_admin_data_decode(struct bytes payload, struct peer_admin_data *ret_m) _must_check_;

#endif
