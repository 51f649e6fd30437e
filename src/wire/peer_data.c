#include "wire/peer_data.h"

#include <errno.h>

#include "wire/peer_str.h"

#define RESULT_BYTES (8 + 1 + 8 + 8 + 4)

static const char *const status_names[] = {
	[PEER_ST_OK] = "ok",
	[PEER_ST_KNOWN] = "known",
	[PEER_ST_CONFLICT] = "conflict",
	[PEER_ST_NOT_PRIMARY] = "not-primary",
	[PEER_ST_HOLD] = "hold",
	[PEER_ST_OOM] = "oom",
	[PEER_ST_TOO_BIG] = "too-big",
	[PEER_ST_SESSION_UNKNOWN] = "session-unknown",
	[PEER_ST_SESSION_ORDER] = "session-order",
	[PEER_ST_OLD] = "old",
	[PEER_ST_DEDUP_FULL] = "dedup-full",
	[PEER_ST_NO_REPLICAS] = "no-replicas",
	[PEER_ST_INDOUBT] = "indoubt",
	[PEER_ST_INVALID] = "invalid",
	[PEER_ST_GONE] = "gone",
	[PEER_ST_NOT_SERVING] = "not-serving",
	[PEER_ST_DAMAGED] = "damaged",
};

static bool status_known(unsigned code)
{
	return code < ARRAY_SIZE(status_names) && status_names[code];
}

const char *peer_status_code_name(enum peer_status_code code)
{
	return status_known(code) ? status_names[code] : "?";
}

static void enc_blob(struct enc *e, struct bytes b)
{
	enc_u32le(e, (uint32_t)b.len);
	enc_bytes(e, b.p, b.len);
}

/* A flag byte: 0 or 1, nothing else. */
static bool cur_flag(struct cur *c)
{
	uint8_t v = cur_u8(c);

	if (v > 1)
		c->bad = true;
	return v == 1;
}

/* -------------------------------------------------------------------------------------------------------- append */

int peer_submit_encode(struct buf *out, const struct peer_submit *m)
{
	struct enc e;
	int r;

	if (m->body.len < REC_BODY_BYTES_MIN || m->body.len > REC_BODY_BYTES_MAX)
		return -EINVAL;
	r = frame_open(out, 8 + m->body.len, &e);
	if (r < 0)
		return r;
	enc_u64le(&e, m->token);
	enc_bytes(&e, m->body.p, m->body.len);
	frame_close_covered(out, &e, PEER_SUBMIT, 8); /* the body has its own checksum */
	return 0;
}

int peer_submit_decode(struct bytes payload, struct peer_submit *ret_m)
{
	struct cur c = cur_of(payload.p, payload.len);
	struct peer_submit m = { 0 };

	m.token = cur_u64le(&c);
	m.body = cur_bytes(&c, cur_left(&c));
	if (!cur_end(&c) || m.body.len < REC_BODY_BYTES_MIN || m.body.len > REC_BODY_BYTES_MAX)
		return PEER_E_MALFORMED;
	*ret_m = m;
	return 0;
}

static bool result_fits(const struct peer_result *r)
{
	return status_known(r->status) && r->count >= 1 && r->token <= UINT64_MAX - (r->count - 1) &&
		r->seq <= UINT64_MAX - (r->count - 1);
}

bool peer_result_extend(struct peer_result *r, const struct peer_result *next)
{
	if (next->token != r->token + r->count || next->seq != r->seq + r->count || next->status != r->status ||
		next->epoch != r->epoch || next->count != 1)
		return false;
	r->count++;
	return true;
}

int peer_results_encode(struct buf *out, const struct peer_result *results, size_t n)
{
	struct enc e;
	int r;

	if (n == 0)
		return -EINVAL;
	for (size_t i = 0; i < n; i++)
		if (!result_fits(&results[i]))
			return -EINVAL;
	r = n > UINT32_MAX / RESULT_BYTES ? -EMSGSIZE : frame_open(out, n * RESULT_BYTES, &e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		enc_u64le(&e, results[i].token);
		enc_u8(&e, (uint8_t)results[i].status);
		enc_u64le(&e, results[i].seq);
		enc_u64le(&e, results[i].epoch);
		enc_u32le(&e, results[i].count);
	}
	frame_close(out, &e, PEER_RESULT);
	return 0;
}

bool peer_result_next(struct cur *results, struct peer_result *ret_result)
{
	struct peer_result r = { 0 };

	if (cur_left(results) == 0)
		return false;
	r.token = cur_u64le(results);
	r.status = (enum peer_status_code)cur_u8(results);
	r.seq = cur_u64le(results);
	r.epoch = cur_u64le(results);
	r.count = cur_u32le(results);
	if (!cur_ok(results))
		return false;
	*ret_result = r;
	return true;
}

int peer_results_decode(struct bytes payload, struct cur *ret_results)
{
	struct cur c = cur_of(payload.p, payload.len);
	struct peer_result r;
	uint64_t sum = 0;

	if (payload.len == 0)
		return PEER_E_MALFORMED;
	while (peer_result_next(&c, &r)) {
		sum += r.count;
		if (!result_fits(&r) || sum > PEER_RESULTS_MAX)
			return PEER_E_MALFORMED;
	}
	if (!cur_end(&c))
		return PEER_E_MALFORMED;
	*ret_results = cur_of(payload.p, payload.len);
	return 0;
}

/* -------------------------------------------------------------------------------------------------------- status */

int peer_status_encode(struct buf *out, const struct peer_status *m)
{
	struct enc e;
	int r;

	if (m->role > PEER_ROLE_HALTED || !name_fits(m->leader))
		return -EINVAL;
	r = frame_open(out, 1 + 8 + 2 * 256 + 3 * 8 + 2 + 2 * 4, &e);
	if (r < 0)
		return r;
	enc_u8(&e, (uint8_t)m->role);
	enc_u64le(&e, m->epoch);
	enc_str(&e, m->leader);
	enc_str(&e, m->leader_address);
	enc_u64le(&e, m->commit);
	enc_u64le(&e, m->log_start);
	enc_u64le(&e, m->log_end);
	enc_u8(&e, m->serving);
	enc_u8(&e, m->holding);
	enc_u32le(&e, m->n_insync);
	enc_u32le(&e, m->min_insync);
	frame_close(out, &e, PEER_STATUS);
	return 0;
}

int peer_status_decode(struct bytes payload, struct peer_status *ret_m)
{
	struct cur c = cur_of(payload.p, payload.len);
	struct peer_status m = { 0 };

	m.role = (enum peer_role)cur_u8(&c);
	m.epoch = cur_u64le(&c);
	cur_str(&c, m.leader, LEASH_NAME_MAX);
	cur_str(&c, m.leader_address, LEASH_ADDR_MAX);
	m.commit = cur_u64le(&c);
	m.log_start = cur_u64le(&c);
	m.log_end = cur_u64le(&c);
	m.serving = cur_flag(&c);
	m.holding = cur_flag(&c);
	m.n_insync = cur_u32le(&c);
	m.min_insync = cur_u32le(&c);
	if (!cur_end(&c) || m.role > PEER_ROLE_HALTED || !name_fits(m.leader))
		return PEER_E_MALFORMED;
	*ret_m = m;
	return 0;
}

/* ---------------------------------------------------------------------------------------------------------- read */

static bool read_fits(const struct peer_read *m)
{
	return m->from <= m->to && m->count_max >= 1 && m->count_max <= REP_BATCH_MAX;
}

int peer_read_encode(struct buf *out, const struct peer_read *m)
{
	struct enc e;
	int r;

	if (!read_fits(m))
		return -EINVAL;
	r = frame_open(out, 3 * 8 + 2 * 4 + 1, &e);
	if (r < 0)
		return r;
	enc_u64le(&e, m->token);
	enc_u64le(&e, m->from);
	enc_u64le(&e, m->to);
	enc_u32le(&e, m->count_max);
	enc_u32le(&e, m->bytes_max);
	enc_u8(&e, m->reverse);
	frame_close(out, &e, PEER_READ);
	return 0;
}

int peer_read_decode(struct bytes payload, struct peer_read *ret_m)
{
	struct cur c = cur_of(payload.p, payload.len);
	struct peer_read m = { 0 };

	m.token = cur_u64le(&c);
	m.from = cur_u64le(&c);
	m.to = cur_u64le(&c);
	m.count_max = cur_u32le(&c);
	m.bytes_max = cur_u32le(&c);
	m.reverse = cur_flag(&c);
	if (!cur_end(&c) || !read_fits(&m))
		return PEER_E_MALFORMED;
	*ret_m = m;
	return 0;
}

static bool records_fit(const struct peer_records *m)
{
	return status_known(m->status) && m->n <= REP_BATCH_MAX && (m->status == PEER_ST_OK || (!m->n && !m->more));
}

int peer_records_data_encode(struct buf *out, const struct peer_records *m, const struct bytes *pieces,
	size_t n_pieces)
{
	struct enc e;
	size_t covered;
	int r;

	if (!records_fit(m) || (m->n == 0) != (n_pieces == 0))
		return -EINVAL;
	r = frame_open(out, 8 + 1 + 1 + 1 + 4 + pieces_bytes(pieces, n_pieces), &e);
	if (r < 0)
		return r;
	enc_u64le(&e, m->token);
	enc_u8(&e, (uint8_t)m->status);
	enc_u8(&e, m->more);
	enc_u8(&e, m->reverse);
	enc_u32le(&e, m->n);
	covered = enc_len(&e);
	enc_pieces(&e, pieces, n_pieces);
	frame_close_covered(out, &e, PEER_RECORDS_DATA, covered); /* records have their own checksums */
	return 0;
}

/* @a is followed by @b in the log: their numbers and their chain say so. */
static int neighbours(const struct peer_view *a, const struct peer_view *b)
{
	if (b->h.seq != a->h.seq + 1)
		return PEER_E_ORDER;
	return rec_chain_follows(&b->h, a->h.chain) ? 0 : PEER_E_CHAIN;
}

int peer_records_data_decode(struct bytes payload, struct peer_view *views, uint32_t views_max,
	struct peer_records *ret_m)
{
	struct cur c = cur_of(payload.p, payload.len);
	struct peer_records m = { 0 };

	m.token = cur_u64le(&c);
	m.status = (enum peer_status_code)cur_u8(&c);
	m.more = cur_flag(&c);
	m.reverse = cur_flag(&c);
	m.n = cur_u32le(&c);
	if (!cur_ok(&c))
		return PEER_E_MALFORMED;
	if (m.n > REP_BATCH_MAX || m.n > views_max)
		return PEER_E_TOO_MANY;
	if (!records_fit(&m))
		return PEER_E_MALFORMED;
	for (uint32_t i = 0; i < m.n; i++) {
		int r = peer_view_next(&c, &views[i]);

		if (r == 0 && i)
			r = m.reverse ? neighbours(&views[i], &views[i - 1]) : neighbours(&views[i - 1], &views[i]);
		if (r)
			return r;
	}
	if (!cur_end(&c))
		return PEER_E_MALFORMED;
	*ret_m = m;
	return 0;
}

/* -------------------------------------------------------------------------------------------------- info, ping, admin */

int peer_info_encode(struct buf *out, const struct peer_info *m)
{
	struct enc e;
	int r;

	if (m->what < PEER_INFO_STREAM || m->what > PEER_INFO_METRICS)
		return -EINVAL;
	r = frame_open(out, 8 + 1, &e);
	if (r < 0)
		return r;
	enc_u64le(&e, m->token);
	enc_u8(&e, (uint8_t)m->what);
	frame_close(out, &e, PEER_INFO);
	return 0;
}

int peer_info_decode(struct bytes payload, struct peer_info *ret_m)
{
	struct cur c = cur_of(payload.p, payload.len);
	struct peer_info m = { 0 };

	m.token = cur_u64le(&c);
	m.what = (enum peer_info_what)cur_u8(&c);
	if (!cur_end(&c) || m.what < PEER_INFO_STREAM || m.what > PEER_INFO_METRICS)
		return PEER_E_MALFORMED;
	*ret_m = m;
	return 0;
}

int peer_info_data_encode(struct buf *out, const struct peer_info_data *m)
{
	struct enc e;
	int r = m->json.len > UINT32_MAX - 64 ? -EMSGSIZE : frame_open(out, 8 + 4 + m->json.len, &e);

	if (r < 0)
		return r;
	enc_u64le(&e, m->token);
	enc_blob(&e, m->json);
	frame_close(out, &e, PEER_INFO_DATA);
	return 0;
}

int peer_info_data_decode(struct bytes payload, struct peer_info_data *ret_m)
{
	struct cur c = cur_of(payload.p, payload.len);
	struct peer_info_data m = { 0 };

	m.token = cur_u64le(&c);
	m.json = cur_bytes(&c, cur_u32le(&c));
	if (!cur_end(&c))
		return PEER_E_MALFORMED;
	*ret_m = m;
	return 0;
}

int peer_ping_encode(struct buf *out, enum peer_type type, uint64_t token)
{
	struct enc e;
	int r;

	if (type != PEER_PING && type != PEER_PONG)
		return -EINVAL;
	r = frame_open(out, 8, &e);
	if (r < 0)
		return r;
	enc_u64le(&e, token);
	frame_close(out, &e, (uint8_t)type);
	return 0;
}

int peer_ping_decode(struct bytes payload, uint64_t *ret_token)
{
	struct cur c = cur_of(payload.p, payload.len);
	uint64_t token = cur_u64le(&c);

	if (!cur_end(&c))
		return PEER_E_MALFORMED;
	*ret_token = token;
	return 0;
}

int peer_admin_encode(struct buf *out, const struct peer_admin *m)
{
	uint64_t size = 8 + 4;
	struct enc e;
	int r;

	if (m->argc < 1 || m->argc > PEER_ADMIN_ARGS_MAX)
		return -EINVAL;
	for (uint32_t i = 0; i < m->argc; i++) {
		if (m->argv[i].len > UINT32_MAX / PEER_ADMIN_ARGS_MAX)
			return -EMSGSIZE;
		size += 4 + m->argv[i].len;
	}
	r = frame_open(out, (size_t)size, &e);
	if (r < 0)
		return r;
	enc_u64le(&e, m->token);
	enc_u32le(&e, m->argc);
	for (uint32_t i = 0; i < m->argc; i++)
		enc_blob(&e, m->argv[i]);
	frame_close(out, &e, PEER_ADMIN);
	return 0;
}

int peer_admin_decode(struct bytes payload, struct peer_admin *ret_m)
{
	struct cur c = cur_of(payload.p, payload.len);
	struct peer_admin m = { 0 };

	m.token = cur_u64le(&c);
	m.argc = cur_u32le(&c);
	if (!cur_ok(&c) || m.argc < 1 || m.argc > PEER_ADMIN_ARGS_MAX)
		return PEER_E_MALFORMED;
	for (uint32_t i = 0; i < m.argc; i++)
		m.argv[i] = cur_bytes(&c, cur_u32le(&c));
	if (!cur_end(&c))
		return PEER_E_MALFORMED;
	*ret_m = m;
	return 0;
}

int peer_admin_data_encode(struct buf *out, const struct peer_admin_data *m)
{
	struct enc e;
	int r = m->text.len > UINT32_MAX - 64 ? -EMSGSIZE : frame_open(out, 8 + 1 + 4 + m->text.len, &e);

	if (r < 0)
		return r;
	enc_u64le(&e, m->token);
	enc_u8(&e, m->ok);
	enc_blob(&e, m->text);
	frame_close(out, &e, PEER_ADMIN_DATA);
	return 0;
}

int peer_admin_data_decode(struct bytes payload, struct peer_admin_data *ret_m)
{
	struct cur c = cur_of(payload.p, payload.len);
	struct peer_admin_data m = { 0 };

	m.token = cur_u64le(&c);
	m.ok = cur_flag(&c);
	m.text = cur_bytes(&c, cur_u32le(&c));
	if (!cur_end(&c))
		return PEER_E_MALFORMED;
	*ret_m = m;
	return 0;
}
