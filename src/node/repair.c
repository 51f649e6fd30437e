#include "node/repair.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cluster.h"
#include "base/util.h"

enum state {
	IDLE,
	MENDING, /* the log thread is at work */
	ASKING,  /* a node was asked */
	PAUSING, /* all were asked in vain */
};

struct source {
	char node[LEASH_NAME_MAX + 1];
	bool up, asked; /* asked: in this round, in vain */
};

struct repair {
	struct repair_conf conf;
	struct repair_io io;
	enum state state;
	leash_seq seq, need;
	uint64_t records;         /* taken from others in the best round so far */
	uint64_t since_ns, at_ns; /* the beginning; when to look again */
	struct source sources[REP_NODES_MAX];
	uint32_t n_sources;
	struct source *from;      /* who was asked last; NULL: nobody yet */
	const char *why;          /* the last one failed */
	leash_seq pending[REPAIR_PENDING_MAX];
	size_t n_pending;
};

int repair_new(const struct repair_conf *conf, const struct repair_io *io, struct repair **ret_repair)
{
	struct repair *p = calloc(1, sizeof *p);

	if (!p)
		return -ENOMEM;
	p->conf = *conf;
	p->io = *io;
	*ret_repair = p;
	return 0;
}

void repair_free(struct repair *p)
{
	free(p);
}

bool repair_busy(const struct repair *p)
{
	return p->state != IDLE;
}

/* ------------------------------------------------------------------------------------------------- begin and end */

static void forget_answers(struct repair *p)
{
	for (uint32_t i = 0; i < p->n_sources; i++)
		p->sources[i].asked = false;
}

static void start(struct repair *p, leash_seq seq, uint64_t now_ns)
{
	p->seq = seq;
	p->need = 0;
	p->since_ns = now_ns;
	p->records = 0;
	p->from = NULL;
	p->why = "no other node is connected";
	forget_answers(p);
	p->state = MENDING;
	p->io.rebuild(p->io.ctx, seq);
}

void repair_begin(struct repair *p, leash_seq seq, uint64_t now_ns)
{
	if (p->state == IDLE) {
		start(p, seq, now_ns);
		return;
	}
	for (size_t i = 0; i < p->n_pending; i++)
		if (p->pending[i] == seq)
			return;
	if (p->seq != seq && p->n_pending < REPAIR_PENDING_MAX)
		p->pending[p->n_pending++] = seq;
}

static void next_one(struct repair *p, uint64_t now_ns)
{
	p->state = IDLE;
	if (p->n_pending > 0)
		start(p, p->pending[--p->n_pending], now_ns);
}

static void fail(struct repair *p, bool final, uint64_t now_ns)
{
	leash_seq seq = p->seq, last = final ? UINT64_MAX : MAX2(seq, p->need);
	const char *why = p->why;

	next_one(p, now_ns);
	p->io.failed(p->io.ctx, seq, last, final, why);
}

/* --------------------------------------------------------------------------------------------------------- asking */

static void ask(struct repair *p, struct source *s, uint64_t now_ns)
{
	p->from = s;
	p->state = ASKING;
	p->at_ns = now_ns + p->conf.answer_ns;
	p->io.ask(p->io.ctx, s->node, p->need);
}

static void retry_later(struct repair *p, uint64_t now_ns)
{
	p->state = PAUSING;
	p->at_ns = now_ns + p->conf.again_ns;
	if (now_ns - p->since_ns >= p->conf.patience_ns)
		fail(p, false, now_ns);
}

/* No other node can help with that, and giving up would need room, too. */
static void wait_for_room(struct repair *p, uint64_t now_ns)
{
	p->since_ns = now_ns;
	retry_later(p, now_ns);
}

/* Whoever gave something useful is asked on. */
static void ask_someone(struct repair *p, uint64_t now_ns)
{
	if (p->from && p->from->up && !p->from->asked) {
		ask(p, p->from, now_ns);
		return;
	}
	for (uint32_t i = 0; i < p->n_sources; i++) {
		if (p->sources[i].up && !p->sources[i].asked) {
			ask(p, &p->sources[i], now_ns);
			return;
		}
	}
	retry_later(p, now_ns);
}

static void in_vain(struct repair *p, const char *why, uint64_t now_ns)
{
	p->why = why;
	p->from->asked = true;
	ask_someone(p, now_ns);
}

/* A place for a node that was not seen before: a new one, or that of one that is gone. */
static struct source *free_source(struct repair *p)
{
	if (p->n_sources < REP_NODES_MAX)
		return &p->sources[p->n_sources++];
	for (uint32_t i = 0; i < p->n_sources; i++)
		if (!p->sources[i].up && &p->sources[i] != p->from)
			return &p->sources[i];
	return NULL;
}

void repair_link(struct repair *p, const char *node, bool up, uint64_t now_ns)
{
	struct source *s = NULL;

	for (uint32_t i = 0; i < p->n_sources && !s; i++)
		if (strcmp(p->sources[i].node, node) == 0)
			s = &p->sources[i];
	if (!s && !up)
		return;
	if (!s) {
		s = free_source(p);
		if (!s)
			return;
		memcpy(s->node, node, strlen(node) + 1);
	}
	s->up = up;
	if (up)
		s->asked = false;
	if (up && p->state == PAUSING)
		p->at_ns = now_ns;
	if (!up && p->state == ASKING && p->from == s)
		in_vain(p, "the connection to the node that was asked broke", now_ns);
}

void repair_fetched(struct repair *p, const char *node, leash_seq first, struct drv_rec *const *recs, size_t n,
	uint64_t now_ns)
{
	if (p->state != ASKING || first != p->need || strcmp(p->from->node, node) != 0)
		return; /* late */
	if (n == 0) {
		in_vain(p, "the nodes that answered do not have the records", now_ns);
		return;
	}
	p->state = MENDING;
	p->io.put(p->io.ctx, recs, n);
}

/* -------------------------------------------------------------------------------------------------- what the log says */

/* What this node gave does not fit: its past is another one. Again from the beginning, with the next. */
static void not_fitting(struct repair *p, uint64_t now_ns)
{
	p->why = "what other nodes have does not lead to what stands behind the damage here";
	if (p->from)
		p->from->asked = true;
	for (uint32_t i = 0; i < p->n_sources; i++) {
		if (p->sources[i].up && !p->sources[i].asked) {
			p->from = NULL;
			p->state = MENDING;
			p->io.rebuild(p->io.ctx, p->seq);
			return;
		}
	}
	retry_later(p, now_ns);
}

void repair_rebuilt(struct repair *p, int outcome, leash_seq need, const struct rlog_rebuilt *taken, uint64_t now_ns)
{
	leash_seq seq = p->seq;

	if (p->state == IDLE || (p->state != MENDING && outcome != -ECANCELED))
		return;
	switch (outcome) {
	case 0:
		if (need) {
			if (taken->records > p->records) { /* more than in any round before: it gets on */
				p->since_ns = now_ns;
				p->records = taken->records;
			}
			p->need = need;
			ask_someone(p, now_ns);
			return;
		}
		next_one(p, now_ns);
		p->io.repaired(p->io.ctx, seq, taken, p->from && taken->records ? p->from->node : "");
		return;
	case RLOG_E_GONE: next_one(p, now_ns); return;
	case -ECANCELED:
		p->state = MENDING;
		p->io.rebuild(p->io.ctx, p->seq);
		return;
	case RLOG_E_DAMAGED:
		p->why = "nothing proves what stood there";
		fail(p, true, now_ns);
		return;
	case RLOG_E_FULL:
		p->why = "there is no room on disk for the repaired segment";
		wait_for_room(p, now_ns);
		return;
	case RLOG_E_CHAIN:
	case RLOG_E_ORDER:
	case -EMSGSIZE: not_fitting(p, now_ns); return;
	default: /* no memory, no descriptors */
		p->why = "there is no memory or no descriptor for it";
		wait_for_room(p, now_ns);
		return;
	}
}

void repair_tick(struct repair *p, uint64_t now_ns)
{
	if (now_ns < repair_wakeup_ns(p))
		return;
	if (p->state == ASKING) {
		in_vain(p, "the nodes that were asked do not answer", now_ns);
		return;
	}
	forget_answers(p);
	p->from = NULL;
	p->state = MENDING;
	p->io.rebuild(p->io.ctx, p->seq);
}

uint64_t repair_wakeup_ns(const struct repair *p)
{
	return p->state == ASKING || p->state == PAUSING ? p->at_ns : UINT64_MAX;
}
