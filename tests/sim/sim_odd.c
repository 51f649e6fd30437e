/*
 * Messages that no leash sends: what comes from a socket is not trusted. Each is a copy of a real message with one field
 * made such that the receiver must leave it alone: of another connection, life, epoch or cluster, beyond the end of the
 * log, or without sense. The real one follows. (A peer that lies consistently is beyond what any cluster of this kind
 * survives.)
 */
#include "tests/sim/sim_int.h"

#define FAR_AWAY (UINT64_C(1) << 40)

static struct rep_stretch history[REP_HISTORY_MAX];

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
	switch (sim_below(s, 4)) {
	case 0: history[k].epoch = 0; break;
	case 1: history[k].first = 0; break;
	case 2: k > 0 ? (history[k].epoch = history[k - 1].epoch) : (history[k].epoch = 0); break;
	default: k > 0 ? (history[k].first = history[k - 1].first) : (history[k].first = 0); break;
	}
}

static void odd_sender(struct sim *s, struct rep_msg *m)
{
	switch (sim_below(s, 3)) {
	case 0: m->conn += FAR_AWAY; break;
	case 1: m->run ^= 1; break;
	default: m->epoch -= m->epoch > 0; break;
	}
}

static void odd_answer(struct sim *s, struct rep_msg *m)
{
	switch (sim_below(s, 5)) {
	case 0: m->conn += FAR_AWAY; break;
	case 1: m->epoch++; break;
	case 2: m->epoch--; break;
	case 3: m->seq = FAR_AWAY; break;
	default: m->type == REP_MSG_ACK ? (m->log_end = FAR_AWAY) : (m->seq = FAR_AWAY); break;
	}
}

bool simodd_rare(const struct rep_msg *m)
{
	return m->type != REP_MSG_RECORDS && m->type != REP_MSG_BEAT && m->type != REP_MSG_ACK;
}

/* False: there is no such thing for this kind of message. */
bool simodd_twist(struct sim *s, const struct simnode *to, struct rep_msg *m)
{
	switch (m->type) {
	case REP_MSG_LEAD:
		if (!sim_chance(s, 0.3))
			odd_history(s, m);
		else if (to->acc.meta.cluster)
			m->cluster ^= 1;
		else
			m->cluster = 0; /* a node without a past would believe in any other */
		return true;
	case REP_MSG_RECORDS:
	case REP_MSG_BEAT:
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
