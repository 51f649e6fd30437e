#include "wire/peer.h"

#include <errno.h>

#include "wire/peer_str.h"

static const char *const type_names[] = {
	[PEER_HELLO] = "HELLO",
	[PEER_WELCOME] = "WELCOME",
	[PEER_REJECT] = "REJECT",
	[PEER_REPLICA] = "REPLICA",
	[PEER_SUBMIT] = "SUBMIT",
	[PEER_RESULT] = "RESULT",
	[PEER_STATUS] = "STATUS",
	[PEER_READ] = "READ",
	[PEER_RECORDS_DATA] = "RECORDS_DATA",
	[PEER_INFO] = "INFO",
	[PEER_INFO_DATA] = "INFO_DATA",
	[PEER_PING] = "PING",
	[PEER_PONG] = "PONG",
	[PEER_ADMIN] = "ADMIN",
	[PEER_ADMIN_DATA] = "ADMIN_DATA",
};

const char *peer_type_name(uint8_t type)
{
	return type < ARRAY_SIZE(type_names) && type_names[type] ? type_names[type] : "?";
}

const char *peer_strerror(int peer_error)
{
	switch ((enum peer_error)peer_error) {
	case PEER_E_MALFORMED:
		return "the message is malformed";
	case PEER_E_VERSION:
		return "the peer speaks another version of the protocol";
	case PEER_E_FIELDS:
		return "the message lacks fields or has fields that it must not have";
	case PEER_E_RECORD:
		return "a record in the message is damaged";
	case PEER_E_ORDER:
		return "the records in the message are not consecutive";
	case PEER_E_CHAIN:
		return "the chain of the records in the message does not close";
	case PEER_E_TOO_MANY:
		return "the message has too many records or epochs";
	}
	return "unknown error";
}

const char *peer_role_name(enum peer_role role)
{
	switch (role) {
	case PEER_ROLE_NONE:
		return "none";
	case PEER_ROLE_SECONDARY:
		return "secondary";
	case PEER_ROLE_CANDIDATE:
		return "candidate";
	case PEER_ROLE_PRIMARY:
		return "primary";
	case PEER_ROLE_HALTED:
		return "halted";
	}
	return "?";
}

/* ----------------------------------------------------------------------------------------------------- handshake */

#define HELLO_BYTES_MAX (4 + 1 + 3 * 8 + 8 + 4 * (1 + 255) + 1 + 3 * 8 + 4 + 8)

static bool hello_fits(const struct peer_hello *m, enum peer_type type)
{
	if (m->kind < PEER_KIND_NODE || m->kind > PEER_KIND_TOOL || !name_valid(m->engine) || !name_fits(m->node))
		return false;
	if ((m->kind == PEER_KIND_NODE) != (m->node[0] != '\0'))
		return false;
	if (type == PEER_HELLO)
		return m->role == PEER_ROLE_NONE && !m->epoch && !m->commit && !m->log_end &&
			!m->in_flight_messages_max && !m->in_flight_bytes_max;
	return m->role <= PEER_ROLE_HALTED;
}

int peer_hello_encode(struct buf *out, enum peer_type type, const struct peer_hello *m)
{
	struct enc e;
	int r;

	if (!hello_fits(m, type))
		return -EINVAL;
	r = frame_open(out, HELLO_BYTES_MAX, &e);
	if (r < 0)
		return r;
	enc_u32le(&e, PEER_VERSION);
	enc_u8(&e, (uint8_t)m->kind);
	enc_str(&e, m->engine);
	enc_str(&e, m->node);
	enc_str(&e, m->address);
	enc_str(&e, m->release);
	enc_u64le(&e, m->cluster);
	enc_u64le(&e, m->incarnation);
	enc_u64le(&e, m->run);
	enc_u64le(&e, m->conn);
	if (type == PEER_WELCOME) {
		enc_u8(&e, (uint8_t)m->role);
		enc_u64le(&e, m->epoch);
		enc_u64le(&e, m->commit);
		enc_u64le(&e, m->log_end);
		enc_u32le(&e, m->in_flight_messages_max);
		enc_u64le(&e, m->in_flight_bytes_max);
	}
	frame_close(out, &e, (uint8_t)type);
	return 0;
}

int peer_hello_decode(struct bytes payload, enum peer_type type, struct peer_hello *ret_m)
{
	struct cur c = cur_of(payload.p, payload.len);
	struct peer_hello m = { 0 };
	uint32_t version = cur_u32le(&c);

	if (cur_ok(&c) && version != PEER_VERSION)
		return PEER_E_VERSION; /* what follows may look otherwise there */
	m.kind = (enum peer_kind)cur_u8(&c);
	cur_str(&c, m.engine, LEASH_NAME_MAX);
	cur_str(&c, m.node, LEASH_NAME_MAX);
	cur_str(&c, m.address, LEASH_ADDR_MAX);
	cur_str(&c, m.release, PEER_RELEASE_MAX);
	m.cluster = cur_u64le(&c);
	m.incarnation = cur_u64le(&c);
	m.run = cur_u64le(&c);
	m.conn = cur_u64le(&c);
	if (type == PEER_WELCOME) {
		m.role = (enum peer_role)cur_u8(&c);
		m.epoch = cur_u64le(&c);
		m.commit = cur_u64le(&c);
		m.log_end = cur_u64le(&c);
		m.in_flight_messages_max = cur_u32le(&c);
		m.in_flight_bytes_max = cur_u64le(&c);
	}
	if (!cur_end(&c) || !hello_fits(&m, type))
		return PEER_E_MALFORMED;
	*ret_m = m;
	return 0;
}

int peer_reject_encode(struct buf *out, const struct peer_reject *m)
{
	struct enc e;
	int r;

	if (m->code < PEER_REJECT_VERSION || m->code > PEER_REJECT_FORBIDDEN)
		return -EINVAL;
	r = frame_open(out, 1 + 1 + PEER_TEXT_MAX, &e);
	if (r < 0)
		return r;
	enc_u8(&e, (uint8_t)m->code);
	enc_str(&e, m->text);
	frame_close(out, &e, PEER_REJECT);
	return 0;
}

int peer_reject_decode(struct bytes payload, struct peer_reject *ret_m)
{
	struct cur c = cur_of(payload.p, payload.len);
	struct peer_reject m = { 0 };

	m.code = (enum peer_reject_code)cur_u8(&c);
	cur_str(&c, m.text, PEER_TEXT_MAX);
	if (!cur_end(&c) || m.code < PEER_REJECT_VERSION || m.code > PEER_REJECT_FORBIDDEN)
		return PEER_E_MALFORMED;
	*ret_m = m;
	return 0;
}

/* ------------------------------------------------------------------------------------------------------- records */

int peer_view_next(struct cur *c, struct peer_view *ret_view)
{
	struct cur at = *c;
	struct peer_view v;

	v.header = cur_bytes(&at, REC_HEADER_BYTES);
	if (!cur_ok(&at) || rec_header_decode(v.header, &v.h) != 0)
		return PEER_E_RECORD;
	v.body = cur_bytes(&at, v.h.body_bytes);
	if (!cur_ok(&at) || !rec_body_matches(&v.h, v.body))
		return PEER_E_RECORD;
	*c = at;
	*ret_view = v;
	return 0;
}
