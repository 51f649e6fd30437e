/*
 * The peer protocol's messages: nodes among themselves, and gateways and tools with nodes. Pure. Framing: wire/frame.h.
 * This header has the handshake and replication; wire/peer_data.h has what gateways and tools say.
 *
 * A connection: each side sends the preface; the one that connected sends HELLO, the other answers WELCOME, or REJECT
 * and closes. After that both send what their kind allows, pipelined.
 *
 * Every decoder takes the payload of a whole, checked frame. It returns 0, or enum peer_error; results are set on 0
 * only, and point into the payload. Every encoder appends one frame to @out and returns 0; -EINVAL: the message breaks
 * its own rules; -EMSGSIZE: it does not fit a frame; -ENOBUFS, -ENOMEM of the buffer. Then nothing was appended.
 * Strings travel as u8 length and bytes, byte strings as u32 length and bytes.
 */
#ifndef LEASH_WIRE_PEER_H
#define LEASH_WIRE_PEER_H

#include "base/repmsg.h"
#include "wire/frame.h"
#include "wire/record.h"

#define PEER_VERSION         1
#define PEER_BATCH_BYTES_MAX (64u << 20) /* a sender of records starts no further one behind this */
#define PEER_RELEASE_MAX     63
#define PEER_TEXT_MAX        255         /* bytes of a REJECT's text */

/* What a receiver must let through, with records of up to @record_bytes_max. */
#define PEER_FRAME_BYTES_MAX(record_bytes_max)                                                               \
	((uint32_t)(PEER_BATCH_BYTES_MAX + (record_bytes_max) + 16u * REP_HISTORY_MAX + 4096u))

enum peer_type {
	PEER_HELLO = 1,
	PEER_WELCOME,
	PEER_REJECT,
	PEER_REPLICA,
	PEER_SUBMIT,
	PEER_RESULT,
	PEER_STATUS,
	PEER_READ,
	PEER_RECORDS_DATA,
	PEER_INFO,
	PEER_INFO_DATA,
	PEER_PING,
	PEER_PONG,
	PEER_ADMIN,
	PEER_ADMIN_DATA,
};
const char *peer_type_name(uint8_t type); /* "HELLO" ...; "?" for a type that is none */

enum peer_error {
	PEER_E_MALFORMED = 1, /* too short, too long, or a field makes no sense */
	PEER_E_VERSION,       /* HELLO, WELCOME: of another protocol version */
	PEER_E_FIELDS,        /* REPLICA: fields that this type does not carry, or lacks */
	PEER_E_RECORD,        /* a record in it is damaged */
	PEER_E_ORDER,         /* records are not consecutive */
	PEER_E_CHAIN,         /* the records' chain does not close */
	PEER_E_TOO_MANY,      /* more than the caller's arrays hold */
};
const char *peer_strerror(int peer_error);

/* ----------------------------------------------------------------------------------------------------- handshake */

enum peer_kind { PEER_KIND_NODE = 1, PEER_KIND_GATEWAY, PEER_KIND_TOOL };
enum peer_role { PEER_ROLE_NONE, PEER_ROLE_SECONDARY, PEER_ROLE_CANDIDATE, PEER_ROLE_PRIMARY, PEER_ROLE_HALTED };
const char *peer_role_name(enum peer_role role); /* "none", "secondary" ... */

/* HELLO and WELCOME. `engine` is always there; `node` in messages of a node; the rest may be empty or 0. */
struct peer_hello {
	enum peer_kind kind;
	char engine[LEASH_NAME_MAX + 1], node[LEASH_NAME_MAX + 1];
	char address[LEASH_ADDR_MAX + 1]; /* where the sender listens */
	char release[PEER_RELEASE_MAX + 1];
	leash_id cluster, incarnation, run;
	uint64_t conn; /* node: the number of this connection, rises with each one it makes in its life */
	/* WELCOME only, else 0 */
	enum peer_role role;
	leash_epoch epoch;
	leash_seq commit, log_end;
	uint32_t in_flight_messages_max; /* unanswered SUBMITs that the node lets this connection have */
	uint64_t in_flight_bytes_max;
};

/* @type: PEER_HELLO or PEER_WELCOME. */
int peer_hello_encode(struct buf *out, enum peer_type type, const struct peer_hello *m) _must_check_;
int peer_hello_decode(struct bytes payload, enum peer_type type, struct peer_hello *ret_m) _must_check_;

enum peer_reject_code {
	PEER_REJECT_VERSION = 1, /* speaks another protocol version */
	PEER_REJECT_ENGINE,      /* another engine lives here */
	PEER_REJECT_CLUSTER,     /* the data belongs to another cluster */
	PEER_REJECT_SELF,        /* bears my own name */
	PEER_REJECT_BUSY,        /* too many connections */
	PEER_REJECT_FORBIDDEN,   /* not allowed from there */
};

struct peer_reject {
	enum peer_reject_code code;
	char text[PEER_TEXT_MAX + 1]; /* for the operator: one line */
};

int peer_reject_encode(struct buf *out, const struct peer_reject *m) _must_check_;
int peer_reject_decode(struct bytes payload, struct peer_reject *ret_m) _must_check_;

/* ------------------------------------------------------------------------------------------------------- records */

/* A record in a payload, checked. Header and body lie side by side. */
struct peer_view {
	struct rec_header h;
	struct bytes header, body;
};

/* The next record of a run of records: header, body, hashes. 0, PEER_E_RECORD; call while cur_left() is not 0. */
int peer_view_next(struct cur *c, struct peer_view *ret_view) _must_check_;

/* --------------------------------------------------------------------------------------------------- replication */

/*
 * One struct rep_msg (base/repmsg.h) without its records. Fields that are 0 do not travel. The table in peer_rep.c
 * says which of node, history and records a type carries, and what it must have. LOOK without any field is fine.
 * For RECORDS with records use peer_records_encode().
 */
int peer_replica_encode(struct buf *out, const struct rep_msg *m) _must_check_;

/*
 * RECORDS: @pieces, in order, are the encoded headers and bodies of @m->n_recs records (cut into pieces in any way);
 * they are copied. @m->recs is not looked at; that the pieces are those records is the caller's duty.
 */
int peer_records_encode(struct buf *out, const struct rep_msg *m, const struct bytes *pieces, size_t n_pieces)
	_must_check_;

/* Arrays for decoding, the caller's; no message needs more than REP_HISTORY_MAX and REP_BATCH_MAX of them. */
struct peer_scratch {
	struct rep_stretch *history;
	uint32_t history_max;
	struct rep_rec *recs;
	struct peer_view *views; /* [i] belongs to recs[i] */
	uint32_t recs_max;       /* of both */
};

/*
 * Decodes into @ret_m, whose history and recs point into @scratch. Records: every header and body is verified,
 * sequence numbers are consecutive, the chain closes from record to record (not from what precedes the first: that is
 * the log's to check), and each is identified with @seed (the cluster id, rec_identify()).
 */
int peer_replica_decode(struct bytes payload, leash_id seed, const struct peer_scratch *scratch,
	struct rep_msg *ret_m) _must_check_;

#endif
