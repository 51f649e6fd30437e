/*
 * Messages that no leash sends: what comes from a socket is not trusted. Each is a copy of a real message with one field
 * made such that the receiver must leave it alone: of another connection, life, epoch or cluster, beyond the end of the
 * log, or without sense; or it comes from a stranger, from the receiver itself, or on the wrong one of the two
 * connections. The real one follows. (A peer that lies consistently is beyond what any cluster of this kind
 * survives.)
 */
#include "tests/sim/sim_int.h"

#define FAR_AWAY (UINT64_C(1) << 40)

static struct rep_stretch history[REP_HISTORY_MAX + 1];
static struct rep_rec record;

/* Epochs and positions that do not rise, or are none. */
static void odd_history(struct sim *s, struct rep_msg *m)
{
	uint32_t k;

	if (m->n_history == 0) {
		m->cluster = 0;
		return;
	}
	memcpy(history, m->history, m->n_history * sizeof *history);
	m->history = history;
	k = (uint32_t)sim_below(s, m->n_history);
	switch (sim_below(s, 5)) {
	case 0: history[k].epoch = 0; break;
	case 1: history[k].first = 0; break;
	case 2: m->n_history = REP_HISTORY_MAX + 1; break;
	case 3: k > 0 ? (history[k].epoch = history[k - 1].epoch) : (history[k].epoch = 0); break;
	default: k > 0 ? (history[k].first = history[k - 1].first) : (history[k].first = 0); break;
	}
}

static void odd_sender(struct sim *s, struct rep_msg *m)
{
	switch (sim_below(s, 5)) {
	case 0: m->conn += FAR_AWAY; break;
	case 1: m->conn = 0; break; /* as if a relay had sent it */
	case 2: m->run ^= 1; break;
	case 3: m->epoch++; break; /* without a LEAD before it */
	default: m->epoch -= m->epoch > 0; break;
	}
}

/* A record that is none of this epoch's, and is not next. */
static void odd_record(struct sim *s, struct rep_msg *m)
{
	record = m->recs[0];
	record.seq = FAR_AWAY;
	record.epoch = sim_chance(s, 0.5) ? 0 : m->epoch + 1;
	m->recs = &record;
	m->n_recs = 1;
}

static void odd_lead(struct sim *s, const struct simnode *to, struct rep_msg *m)
{
	if (!sim_chance(s, 0.4)) {
		odd_history(s, m);
	} else if (sim_chance(s, 0.4)) {
		m->epoch += FAR_AWAY;
		m->run = to->node->run;
	} else if (to->acc.meta.cluster) {
		m->cluster ^= 1;
	} else {
		m->cluster = 0; /* a node without a past would believe in any other */
	}
}

static void odd_answer(struct sim *s, struct rep_msg *m)
{
	switch (sim_below(s, m->type == REP_MSG_JOINED ? 7 : 5)) {
	case 0: m->conn += FAR_AWAY; break;
	case 1: m->epoch++; break;
	case 2: m->epoch--; break;
	case 3: m->seq = FAR_AWAY; break;
	case 5: m->incarnation = 0; break;
	case 6: m->sender_run = 0; break;
	default: m->type == REP_MSG_ACK ? (m->log_end = FAR_AWAY) : (m->seq = FAR_AWAY); break;
	}
}

bool simodd_rare(const struct rep_msg *m)
{
	return m->type != REP_MSG_RECORDS && m->type != REP_MSG_BEAT && m->type != REP_MSG_ACK;
}

/* What only a member, or only this connection, may say. */
static bool odd_origin(struct sim *s, const struct simnode *to, const char **from, enum rep_link *link,
	const struct rep_msg *m)
{
	switch (m->type) {
	case REP_MSG_LEAD:
	case REP_MSG_BEAT:
		if (sim_chance(s, 0.5))
			*link = REP_LINK_OUT;
		else
			*from = to->name;
		return true;
	case REP_MSG_JOINED:
	case REP_MSG_ACK:
	case REP_MSG_HEARS:
	case REP_MSG_RELAY:
	case REP_MSG_DAMAGED:
	case REP_MSG_RESET: *from = sim_chance(s, 0.5) ? to->name : "stranger"; return true;
	case REP_MSG_RECORDS:
	case REP_MSG_REFUSE:
	case REP_MSG_ASK:
	case REP_MSG_LOOK:
	case REP_MSG_FETCH:
	case REP_MSG_FETCHED: return false;
	}
	return false;
}

/* False: there is no such thing for this kind of message. */
bool simodd_twist(struct sim *s, const struct simnode *to, const char **from, enum rep_link *link, struct rep_msg *m)
{
	if (sim_chance(s, 0.2) && odd_origin(s, to, from, link, m))
		return true;
	switch (m->type) {
	case REP_MSG_LEAD: odd_lead(s, to, m); return true;
	case REP_MSG_RECORDS:
		if (sim_chance(s, 0.2))
			odd_record(s, m);
		else
			odd_sender(s, m);
		return true;
	case REP_MSG_BEAT:
		if (sim_chance(s, 0.2)) {
			m->type = REP_MSG_RESET; /* from a log that has all that this one needs */
			m->log_start = 0;
		} else {
			odd_sender(s, m);
		}
		return true;
	case REP_MSG_RELAY:
	case REP_MSG_DAMAGED: odd_sender(s, m); return true;
	case REP_MSG_RESET:
		if (sim_chance(s, 0.3))
			m->log_start = 0;
		else
			odd_sender(s, m);
		return true;
	case REP_MSG_JOINED:
	case REP_MSG_ACK: odd_answer(s, m); return true;
	case REP_MSG_REFUSE: m->epoch = 0; return true;
	case REP_MSG_HEARS: m->epoch++; return true;
	case REP_MSG_FETCH:
		if (sim_chance(s, 0.5))
			m->seq = 0;
		else
			m->cluster ^= 1;
		return true;
	case REP_MSG_ASK:
	case REP_MSG_LOOK:
	case REP_MSG_FETCHED: return false;
	}
	return false;
}
