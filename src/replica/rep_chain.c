/*
 * Chain topology: the primary sends to the first follower, each follower forwards what it has on disk to the next.
 * It is transport only: acknowledgements, heartbeats and reconciliation go straight between primary and follower, so no
 * rule of section 4 knows of it. A link that makes no progress falls back to star (see drive_stalled) and is tried
 * again later.
 */
#include "replica/rep_int.h"

#define RELAY_RETRY_NS (5 * UINT64_C(1000000000))

leash_seq rep_stream_limit(const struct rep *r)
{
	if (r->role != REP_ROLE_PRIMARY) /* a relay: what is on disk and the same as the primary's */
		return r->follow.active && !r->cutting ? MIN2(r->durable, r->follow.matched) : 0;
	return r->conf.topology == REP_CHAIN ? r->durable : r->end; /* chain: log first, then forward */
}

static void tell_relay(struct rep *r, struct peer *via, const struct peer *to)
{
	struct rep_msg *m = rep_send(r, via->name, REP_LINK_OUT, REP_MSG_RELAY);

	m->epoch = r->epoch;
	m->run = r->conf.run;
	m->conn = via->conn;
	if (to) {
		m->seq = to->have + 1;
		memcpy(m->node, to->name, sizeof m->node);
		memcpy(via->relay, to->name, sizeof via->relay);
	} else {
		via->relay[0] = '\0';
	}
}

static void feed_by(struct rep *r, struct peer *via, struct peer *p)
{
	struct rep_action *a;

	tell_relay(r, via, p);
	p->fed_by_relay = true;
	p->streamed_ns = p->progress_ns = r->now_ns;
	a = rep_act(r, REP_ACT_STOP);
	memcpy(a->node, p->name, sizeof a->node);
}

static bool can_relay(const struct rep *r, const struct peer *p)
{
	const char *why;

	return p->join == JOIN_JOINED && !rep_peer_absent(r, p, p->incarnation, &why);
}

/* In the order of the peer table, which all steps share; each is fed by the one before it. */
void rep_drive_chain(struct rep *r)
{
	struct peer *via = NULL;

	if (r->conf.topology != REP_CHAIN)
		return;
	for (uint32_t i = 0; i < r->n_peers; i++) {
		struct peer *p = &r->peers[i];

		if (!can_relay(r, p)) {
			p->fed_by_relay = false;
			continue;
		}
		if (!p->fed_by_relay && via && r->now_ns >= p->relay_retry_ns && p->have + REP_BATCH_MAX >= r->end)
			feed_by(r, via, p);
		else if (p->fed_by_relay && (!via || strcmp(via->relay, p->name) != 0))
			rep_unchain(r, p);
		via = p;
	}
	if (via && via->relay[0])
		tell_relay(r, via, NULL);
}

void rep_unchain(struct rep *r, struct peer *p)
{
	must(p->fed_by_relay);
	p->fed_by_relay = false;
	p->relay_retry_ns = r->now_ns + RELAY_RETRY_NS;
	for (uint32_t i = 0; i < r->n_peers; i++)
		if (strcmp(r->peers[i].relay, p->name) == 0)
			tell_relay(r, &r->peers[i], NULL);
	rep_stream_from(r, p, p->have + 1);
}

void rep_on_relay(struct rep *r, const char *from, const struct rep_msg *m)
{
	struct follow *f = &r->follow;
	struct rep_action *a;

	if (!f->active || strcmp(from, f->node) != 0 || m->epoch != f->epoch || m->run != f->run || m->conn != f->conn)
		return;
	if (f->relay_to[0] && strcmp(f->relay_to, m->node) != 0) {
		a = rep_act(r, REP_ACT_STOP);
		memcpy(a->node, f->relay_to, sizeof a->node);
	}
	memcpy(f->relay_to, m->node, sizeof f->relay_to);
	if (!m->node[0])
		return;
	a = rep_act(r, REP_ACT_STREAM);
	memcpy(a->node, m->node, sizeof a->node);
	a->seq = m->seq;
}
