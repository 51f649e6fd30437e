#include "gateway/pipeline.h"

#include <errno.h>

#include "gateway/bodies.h"

#define RING_MIN 256 /* places that the queue has at least; doubled as it grows */

struct msg {
	void *waiter; /* NULL: the client is gone */
	struct body body; /* none: answered */
	leash_id sid; /* session that the body was made for; 0: none yet (the body is of REC_ID_NONE) */
	uint64_t n;   /* its counter */
	uint64_t arrived_ns;
	uint64_t conn;  /* the connection whose RESULT is awaited; 0: none */
	uint32_t doubt; /* times it was sent with unknown outcome */
	bool session;   /* has no id of the client's own */
	bool sent;      /* at least once */
	bool done;      /* answered */
};

/* Tokens are positions in the queue: [base, next) is in the ring. */
struct pipe {
	struct pipe_conf conf;
	struct pipe_ops ops;
	void *ctx;
	struct msg *ring; /* of ring_size places, a power of two */
	uint64_t ring_size;
	struct bodies bodies;
	uint64_t base, next;
	uint64_t bytes; /* bodies in the ring */

	uint64_t conn; /* 0: none */
	struct pipe_limits limits;
	bool blocked; /* its node is not primary, it said */
	bool holding;
	leash_seq commit;
	uint32_t n_insync, min_insync;
	uint32_t out; /* messages that await a RESULT of .conn */
	uint64_t out_bytes;

	/* [base, send) was sent on .conn or is done; [send, next) was not. */
	uint64_t send;
	/*
	 * A message was refused: sending stops until none behind `rewind` awaits a RESULT, then goes on from there.
	 * [rewind + 1, drained) await none.
	 */
	bool rewinding;
	uint64_t rewind, drained;
	uint64_t retry_ns; /* not before */

	leash_id sid; /* session in use; 0: the next message opens one */
	uint64_t n_next;
	/*
	 * All that is to be sent, [send, next), has its counters from this session, in order: a new message can take the
	 * next one at once, and its body is made only once.
	 */
	bool numbered;
	struct pipe_stats stats;
};

static struct msg *at(const struct pipe *p, uint64_t token)
{
	return &p->ring[token & (p->ring_size - 1)];
}

static bool is_out(const struct pipe *p, const struct msg *m)
{
	return m->conn != 0 && m->conn == p->conn;
}

static int ring_grow(struct pipe *p)
{
	struct pipe old = *p;

	p->ring_size = old.ring_size ? 2 * old.ring_size : RING_MIN;
	p->ring = malloc(p->ring_size * sizeof *p->ring);
	if (!p->ring) {
		*p = old;
		return -ENOMEM;
	}
	for (uint64_t t = p->base; t < p->next; t++)
		*at(p, t) = *at(&old, t);
	free(old.ring);
	return 0;
}

int pipe_new(const struct pipe_conf *conf, const struct pipe_ops *ops, void *ctx, struct pipe **ret_pipe)
{
	struct pipe *p;

	if (conf->messages_max == 0 || conf->bytes_max == 0)
		return -EINVAL;
	p = calloc(1, sizeof *p);
	if (!p)
		return -ENOMEM;
	p->conf = *conf;
	p->ops = *ops;
	p->ctx = ctx;
	p->base = p->next = p->send = 1;
	if (ring_grow(p) < 0) {
		free(p);
		return -ENOMEM;
	}
	*ret_pipe = p;
	return 0;
}

void pipe_free(struct pipe *p)
{
	if (!p)
		return;
	for (uint64_t t = p->base; t < p->next; t++)
		bodies_free(&p->bodies, &at(p, t)->body);
	bodies_deinit(&p->bodies);
	free(p->ring);
	free(p);
}

void pipe_set_hold_timeout(struct pipe *p, uint64_t hold_timeout_ns)
{
	p->conf.hold_timeout_ns = hold_timeout_ns;
}

bool pipe_has_room(const struct pipe *p)
{
	return p->next - p->base < p->conf.messages_max && p->bytes < p->conf.bytes_max;
}

uint64_t pipe_conn(const struct pipe *p)
{
	return p->conn;
}

bool pipe_blocked(const struct pipe *p)
{
	return p->blocked;
}

/* ---------------------------------------------------------------------------------------------------- end of a life */

/* Answered messages leave in order; one whose RESULT is still to come stays for the reckoning of what is out. */
static void shift(struct pipe *p)
{
	while (p->base < p->next && at(p, p->base)->done && !is_out(p, at(p, p->base)))
		p->base++;
	p->send = MAX2(p->send, p->base);
}

static void body_free(struct pipe *p, struct msg *m)
{
	p->bytes -= m->body.bytes;
	bodies_free(&p->bodies, &m->body);
}

static void answer(struct pipe *p, struct msg *m, enum peer_status_code status, leash_seq seq)
{
	void *waiter = TAKE(m->waiter);

	must(!m->done);
	m->done = true;
	if (!is_out(p, m))
		body_free(p, m);
	p->stats.in_doubt += status == PEER_ST_INDOUBT;
	p->stats.dedup_hits += status == PEER_ST_KNOWN;
	if (waiter)
		p->ops.answer(p->ctx, waiter, status, seq);
}

/* @m awaits no RESULT any more. */
static void settle(struct pipe *p, struct msg *m)
{
	if (is_out(p, m)) {
		must(p->out > 0 && p->out_bytes >= m->body.bytes);
		p->out--;
		p->out_bytes -= m->body.bytes;
	}
	m->conn = 0;
	if (m->done)
		body_free(p, m);
}

/* Messages that were numbered and not sent get a counter of the next one. */
static void forget_session(struct pipe *p)
{
	p->sid = 0;
	p->numbered = false;
}

/* It will never be appended in its place: counters behind it would wait for ever. */
static void end_session(struct pipe *p, const struct msg *m)
{
	if (m->session && m->sid != 0 && m->sid == p->sid)
		forget_session(p);
}

/* -------------------------------------------------------------------------------------------------------- appending */

static struct rec_body session_body(const struct pipe *p, uint64_t n)
{
	return (struct rec_body){
		.id_kind = REC_ID_SESSION,
		.n = n,
		.flags = n == 1 ? REC_F_OPEN : 0,
		.birth = n == 1 ? p->commit : 0,
	};
}

/* Makes the body of @m anew, as the next message of the session. -ENOMEM: as it was. */
static int renumber(struct pipe *p, struct msg *m)
{
	_cleanup_(freep) struct bytes *pairs = NULL;
	struct rec_body old, b;
	struct cur c;
	leash_id sid = p->sid;
	uint64_t n = sid ? p->n_next : 1;
	struct body body;
	int r;

	must(m->session && m->doubt == 0 && m->conn == 0);
	must(rec_body_decode((struct bytes){ m->body.p, m->body.bytes }, &old) == 0);
	pairs = malloc(2 * (size_t)old.n_pairs * sizeof *pairs);
	if (!pairs)
		return -ENOMEM;
	c = cur_of(old.pairs.p, old.pairs.len);
	for (uint32_t i = 0; i < old.n_pairs; i++)
		must(rec_pair_next(&c, &pairs[2 * i], &pairs[2 * i + 1]));
	if (sid == 0)
		sid = p->ops.random_id(p->ctx);
	b = session_body(p, n);
	r = bodies_make(&p->bodies, &b, sid, pairs, old.n_pairs, &body);
	if (r < 0)
		return r;
	body_free(p, m);
	m->body = body;
	p->bytes += body.bytes;
	p->stats.sessions += n == 1;
	m->sid = p->sid = sid;
	m->n = n;
	p->n_next = n + 1;
	return 0;
}

int pipe_append(struct pipe *p, const struct rec_body *b, const struct bytes *pairs, uint32_t n_pairs,
	void *waiter, uint64_t now_ns, uint64_t *ret_token)
{
	struct msg m = { .waiter = waiter, .session = b->id_kind == REC_ID_NONE, .arrived_ns = now_ns };
	bool numbered = m.session && p->numbered;
	struct rec_body own = numbered ? session_body(p, p->n_next) : *b;
	int r;

	if (!pipe_has_room(p))
		return -ENOBUFS;
	if (p->next - p->base == p->ring_size && ring_grow(p) < 0)
		return -ENOMEM;
	r = bodies_make(&p->bodies, &own, numbered ? p->sid : 0, pairs, n_pairs, &m.body);
	if (r < 0)
		return r;
	if (numbered) {
		m.sid = p->sid;
		m.n = p->n_next++;
	} else if (m.session) {
		p->numbered = false;
	}
	p->bytes += m.body.bytes;
	*at(p, p->next) = m;
	*ret_token = p->next++;
	return 0;
}

void pipe_forget(struct pipe *p, uint64_t token)
{
	if (token >= p->base && token < p->next)
		at(p, token)->waiter = NULL;
}

/* ---------------------------------------------------------------------------------------------------------- sending */

/* Sending stops, and will go on from @token. */
static void rewind_to(struct pipe *p, uint64_t token)
{
	if (p->rewinding && p->rewind <= token)
		return;
	p->rewinding = true;
	p->numbered = false;
	p->rewind = token;
	p->drained = token + 1;
}

static void retry_after(struct pipe *p, uint64_t ns, uint64_t now_ns)
{
	p->retry_ns = MAX2(p->retry_ns, now_ns + ns);
}

/* True: sending may go on, from where it is due. */
static bool rewound(struct pipe *p)
{
	if (!p->rewinding)
		return true;
	p->drained = MAX2(p->drained, p->base);
	while (p->drained < p->send && !is_out(p, at(p, p->drained)))
		p->drained++;
	if (p->drained < p->send)
		return false;
	p->rewinding = false;
	p->send = MAX2(MIN2(p->send, p->rewind), p->base);
	return true;
}

static bool allowed(const struct pipe *p, const struct msg *m)
{
	if (p->out == 0)
		return true;
	if (p->limits.messages_max && p->out >= p->limits.messages_max)
		return false;
	return !p->limits.bytes_max || p->out_bytes + m->body.bytes <= p->limits.bytes_max;
}

static void send_one(struct pipe *p, uint64_t token, struct msg *m)
{
	m->conn = p->conn;
	m->doubt++;
	p->stats.replays += m->sent;
	m->sent = true;
	p->out++;
	p->out_bytes += m->body.bytes;
	p->send = token + 1;
	p->ops.submit(p->ctx, token, (struct bytes){ m->body.p, m->body.bytes });
}

/* Does this message need a (new) counter before it can be sent? Only one that can be in no log may get another. */
static bool needs_number(const struct pipe *p, const struct msg *m)
{
	return m->session && m->doubt == 0 && (m->sid == 0 || m->sid != p->sid);
}

static void send_all(struct pipe *p, uint64_t now_ns)
{
	if (p->conn == 0 || p->blocked || p->holding || now_ns < p->retry_ns)
		return;
	p->retry_ns = 0;
	if (!rewound(p))
		return;
	while (p->send < p->next) {
		struct msg *m = at(p, p->send);

		if (m->done || is_out(p, m)) {
			p->send++;
			continue;
		}
		if (!allowed(p, m))
			return;
		if (needs_number(p, m)) {
			/* A new session behind one that ended: what is out of that one may yet be refused, and then stands
			 * before this one. */
			if (p->sid == 0 && p->out > 0)
				return;
			m->conn = 0;
			if (renumber(p, m) < 0) {
				retry_after(p, PIPE_RETRY_NS, now_ns);
				return;
			}
		}
		send_one(p, p->send, m);
	}
	p->numbered = p->sid != 0;
}

void pipe_attach(struct pipe *p, uint64_t conn, const struct pipe_limits *limits)
{
	must(conn != 0);
	p->blocked = false;
	p->limits = *limits;
	p->retry_ns = 0;
	if (conn == p->conn)
		return;
	pipe_detach(p);
	p->conn = conn;
}

void pipe_detach(struct pipe *p)
{
	p->conn = 0;
	p->blocked = p->holding = p->rewinding = p->numbered = false;
	p->retry_ns = 0;
	p->out = 0;
	p->out_bytes = 0;
	for (uint64_t t = p->base; t < p->next; t++) {
		struct msg *m = at(p, t);

		if (m->done)
			body_free(p, m);
	}
	shift(p);
	p->send = p->base;
}

/* Ids and commit indexes of the former cluster mean nothing in the new one: the session begins anew, too. */
void pipe_forsake(struct pipe *p)
{
	pipe_detach(p);
	forget_session(p);
	p->commit = 0;
	for (uint64_t t = p->base; t < p->next; t++) {
		struct msg *m = at(p, t);

		if (!m->done && m->doubt > 0)
			answer(p, m, PEER_ST_INDOUBT, 0);
		else
			m->sent = false; /* refused each time: nothing that still comes concerns it */
	}
	shift(p);
	p->send = p->base;
}

void pipe_status(struct pipe *p, uint64_t conn, bool holding, leash_seq commit, uint32_t n_insync,
	uint32_t min_insync, uint64_t now_ns)
{
	if (conn != p->conn || conn == 0)
		return;
	if (p->holding && !holding)
		p->retry_ns = MIN2(p->retry_ns, now_ns);
	p->holding = holding;
	p->commit = MAX2(p->commit, commit);
	p->n_insync = n_insync;
	p->min_insync = min_insync;
}

/* ---------------------------------------------------------------------------------------------------------- results */

/* The unanswered message with this counter of a session; 0: none. */
static uint64_t find_counter(const struct pipe *p, leash_id sid, uint64_t n)
{
	for (uint64_t t = p->base; t < p->next; t++) {
		const struct msg *m = at(p, t);

		if (!m->done && m->session && m->sid == sid && m->n == n)
			return t;
	}
	return 0;
}

/* The primary does not know the session that @m belongs to, or will never take its counter. */
static void session_lost(struct pipe *p, uint64_t token, struct msg *m, uint64_t now_ns)
{
	end_session(p, m);
	if (m->doubt > 0 || !m->session) {
		answer(p, m, PEER_ST_INDOUBT, 0);
		return;
	}
	if (m->n == 1)
		retry_after(p, PIPE_RETRY_NS,
			now_ns); /* even the opening was too old: wait for a newer commit index */
	m->sid = 0;
	rewind_to(p, token);
}

static void session_order(struct pipe *p, uint64_t token, struct msg *m, leash_seq expected, uint64_t now_ns)
{
	uint64_t first;

	if (!m->session) {
		rewind_to(p, token);
		retry_after(p, PIPE_RETRY_NS, now_ns);
		return;
	}
	if (p->rewinding && p->rewind <= token) /* what comes before it is to be resolved first */
		return;
	first = expected < m->n ? find_counter(p, m->sid, expected) : 0;
	if (first == 0 || first > token) {
		session_lost(p, token, m, now_ns);
		return;
	}
	rewind_to(p, first);
}

/* Refused by what will not change for this message; or by what may pass. */
static void refused(struct pipe *p, uint64_t token, struct msg *m, enum peer_status_code status, bool passing,
	uint64_t now_ns)
{
	if (m->doubt > 0 && passing) {
		rewind_to(p, token);
		retry_after(p, PIPE_RETRY_OOM_NS, now_ns);
		return;
	}
	end_session(p, m);
	answer(p, m, m->doubt > 0 ? PEER_ST_INDOUBT : status, 0);
}

static void not_primary(struct pipe *p, uint64_t token, bool current)
{
	if (!current)
		return;
	p->blocked = true;
	rewind_to(p, token);
}

/* Late or not: these say that the message is in the log for good, or (an id of the client's) what is instead of it. */
static bool is_final(enum peer_status_code status)
{
	return status == PEER_ST_OK || status == PEER_ST_KNOWN || status == PEER_ST_CONFLICT;
}

/* A session's message cannot conflict, nor be too old, unless its id was used twice: then nobody knows. */
static enum peer_status_code told(const struct msg *m, enum peer_status_code status)
{
	if (m->session && (status == PEER_ST_CONFLICT || status == PEER_ST_OLD))
		return PEER_ST_INDOUBT;
	return status;
}

static void act(struct pipe *p, uint64_t token, struct msg *m, const struct peer_result *r, bool current,
	uint64_t now_ns)
{
	switch (r->status) {
	case PEER_ST_OK:
	case PEER_ST_KNOWN:
		if (current)
			p->commit = MAX2(p->commit, r->seq);
		answer(p, m, r->status, r->seq);
		return;
	case PEER_ST_CONFLICT:
	case PEER_ST_OLD:
		end_session(p, m);
		answer(p, m, told(m, r->status), r->seq);
		return;
	case PEER_ST_NOT_PRIMARY:
		m->doubt--;
		not_primary(p, token, current);
		return;
	case PEER_ST_HOLD:
		m->doubt--;
		if (current) {
			rewind_to(p, token);
			retry_after(p, PIPE_RETRY_NS, now_ns);
		}
		return;
	case PEER_ST_SESSION_ORDER:
		m->doubt--;
		if (current)
			session_order(p, token, m, r->seq, now_ns);
		return;
	case PEER_ST_SESSION_UNKNOWN:
		m->doubt--;
		if (current)
			session_lost(p, token, m, now_ns);
		return;
	case PEER_ST_TOO_BIG:
	case PEER_ST_INVALID:
		m->doubt--;
		if (current)
			refused(p, token, m, r->status, false, now_ns);
		return;
	case PEER_ST_OOM:
	case PEER_ST_DEDUP_FULL:
	case PEER_ST_NO_REPLICAS:
		m->doubt--;
		if (current)
			refused(p, token, m, r->status, true, now_ns);
		return;
	case PEER_ST_INDOUBT: /* appended there, and then it ceased to lead: the next primary knows */
	case PEER_ST_GONE:    /* these three are answers to reads; they say nothing about the message */
	case PEER_ST_NOT_SERVING:
	case PEER_ST_DAMAGED:
		if (current) {
			rewind_to(p, token);
			retry_after(p, PIPE_RETRY_NS, now_ns);
		}
		return;
	}
}

void pipe_result(struct pipe *p, uint64_t conn, const struct peer_result *result, uint64_t now_ns)
{
	bool current = conn != 0 && conn == p->conn, awaited;
	struct msg *m;

	if (result->token < p->base || result->token >= p->next)
		return;
	m = at(p, result->token);
	awaited = m->conn != 0 && m->conn == conn;
	if (awaited)
		settle(p, m);
	if (!m->done && (awaited || is_final(result->status)) && m->sent)
		act(p, result->token, m, result, current, now_ns);
	shift(p);
}

/* ------------------------------------------------------------------------------------------------------------- time */

static void give_up(struct pipe *p, struct msg *m)
{
	end_session(p, m);
	if (m->doubt > 0) {
		answer(p, m, PEER_ST_INDOUBT, 0);
		return;
	}
	p->stats.refused_holding++;
	answer(p, m, p->n_insync < p->min_insync ? PEER_ST_NO_REPLICAS : PEER_ST_HOLD, 0);
}

/* Messages stand in the order of their arrival: the oldest unanswered one is the first. */
static uint64_t oldest(const struct pipe *p)
{
	uint64_t t = p->base;

	while (t < p->next && at(p, t)->done)
		t++;
	return t;
}

static void expire(struct pipe *p, uint64_t now_ns)
{
	for (uint64_t t = oldest(p); t < p->next; t++) {
		struct msg *m = at(p, t);

		if (m->done)
			continue;
		if (now_ns < m->arrived_ns + p->conf.hold_timeout_ns)
			break;
		give_up(p, m);
	}
	shift(p);
}

void pipe_pump(struct pipe *p, uint64_t now_ns)
{
	expire(p, now_ns);
	send_all(p, now_ns);
	if (p->base == p->next)
		bodies_trim(&p->bodies);
}

uint64_t pipe_wakeup_ns(const struct pipe *p)
{
	uint64_t t = oldest(p), wakeup_ns = UINT64_MAX;

	if (t < p->next)
		wakeup_ns = at(p, t)->arrived_ns + p->conf.hold_timeout_ns;
	if (p->conn && !p->blocked && !p->holding && p->retry_ns && (p->rewinding || p->send < p->next))
		wakeup_ns = MIN2(wakeup_ns, p->retry_ns);
	return wakeup_ns;
}

void pipe_give_up(struct pipe *p)
{
	for (uint64_t t = p->base; t < p->next; t++)
		if (!at(p, t)->done)
			give_up(p, at(p, t));
	shift(p);
}

bool pipe_stuck(const struct pipe *p, uint64_t now_ns)
{
	const struct msg *m = at(p, p->base);

	return p->base < p->next && m->done && is_out(p, m) &&
	       now_ns > m->arrived_ns + 2 * p->conf.hold_timeout_ns;
}

void pipe_get_stats(const struct pipe *p, struct pipe_stats *ret_stats)
{
	*ret_stats = p->stats;
	ret_stats->queued = (uint32_t)(p->next - p->base);
	ret_stats->out = p->out;
}
