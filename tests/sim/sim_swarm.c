/* A whole run: a cluster as the seed has it, clients, random faults, then rest. */
#include "tests/sim/sim_int.h"

#include <inttypes.h>
#include <stdio.h>

/* What was begun may still end in its own time (restarts, heals), then the cluster has this long to come to rest. */
#define REST_MS 120000

static uint64_t pick(uint64_t *rng, const uint64_t *of, size_t n)
{
	struct simrng r = { *rng };
	uint64_t v = of[simrng_below(&r, n)];

	*rng = r.state;
	return v;
}

#define PICK(rng, ...) pick(rng, (const uint64_t[]){ __VA_ARGS__ }, ARRAY_SIZE(((const uint64_t[]){ __VA_ARGS__ })))

struct sim_opts sim_swarm_opts(uint64_t seed)
{
	uint64_t rng = seed * 77777;
	struct sim_opts o = { .seed = seed, .nodes = 2 + (int)(seed % 4) };

	o.topology = PICK(&rng, 0, 0, 1) ? REP_CHAIN : REP_STAR;
	o.priorities = PICK(&rng, 0, 0, 1);
	o.min_insync = (uint32_t)PICK(&rng, 1, 2, 2, 2, 2, 3);
	o.min_insync = MIN2(o.min_insync, (uint32_t)o.nodes);
	o.dedup_window = PICK(&rng, 100, 200, 500, 2000);
	o.segment_bytes = PICK(&rng, 8192, 16384, 65536);
	o.reserve_bytes = PICK(&rng, 0, 4096, 16384);
	o.retention_bytes = PICK(&rng, 0, 0, 2, 4) * o.segment_bytes;
	o.retention_time_ns = PICK(&rng, 0, 0, 10000) * MS;
	o.dedup_time_ns = PICK(&rng, 0, 0, 5000) * MS;
	o.dedup_records_max = o.dedup_window + PICK(&rng, 0, 100, 1000);
	o.scrub_rate = PICK(&rng, UINT64_C(1) << 28, UINT64_C(1) << 29, UINT64_C(1) << 30); /* a pass in 16, 8 or 4 s */
	o.heartbeat_ms = PICK(&rng, 50, 100, 200);
	o.cache_bytes = PICK(&rng, 1024, 8192, 1 << 20);
	o.uncommitted_bytes = PICK(&rng, 8192, 65536, 1 << 20);
	o.uncommitted_max = (uint32_t)PICK(&rng, 16, 100, 4096);
	o.batch_bytes = PICK(&rng, 1024, 4096, 65536);
	o.link_bytes = PICK(&rng, 2048, 16384, 1 << 20);
	return o;
}

/* ---------------------------------------------------------------------------------------------------------- clients */

struct load {
	int k;
	int last_of[4];     /* the newest op of each IDMPSEQ producer, -1: none */
	uint64_t n_of[4];
};

static void send_now(struct sim *s, struct op o)
{
	int k = simclient_op(s, o);

	(void)sim_timer(s, 0, T_OP_TRY, k, 0);
}

/* The same id again with something else in it. */
static bool reuse_an_id(struct sim *s, struct load *l)
{
	const struct op *old;
	struct op o;

	if (s->n_ops < 5 || !sim_chance(s, 0.03))
		return false;
	old = &s->ops[(uint64_t)s->n_ops - 1 - sim_below(s, 4)];
	if (old->kind != REC_ID_OPAQUE)
		return false;
	o = (struct op){ .kind = old->kind, .last_node = -1, .after = -1 };
	memcpy(o.id, old->id, sizeof o.id);
	memcpy(o.producer, old->producer, sizeof o.producer);
	memcpy(o.name, old->name, sizeof o.name);
	(void)snprintf(o.value, sizeof o.value, "other%d", l->k);
	send_now(s, o);
	return true;
}

/* A copy of a message that was answered long ago comes late: it is known, or too old. */
static void resend(struct sim *s)
{
	int k = s->n_ops ? (int)sim_below(s, (uint64_t)s->n_ops) : 0;
	const char *p = sim_primary(s);
	enum rec_id_kind kind = s->ops[k].kind;
	uint32_t hist = SIM_NONE; /* of a session's the gateway hears nothing more */

	if (!p || k >= s->n_ops || !s->ops[k].answered || (kind != REC_ID_OPAQUE && kind != REC_ID_SEQ && kind != REC_ID_SESSION))
		return;
	if (kind != REC_ID_SESSION)
		hist = simhist_sent(s, k, sim_index(s, p));
	sim_timer(s, MS, T_OP_ARRIVE, sim_index(s, p), k)->x = hist;
}

static void append(struct sim *s, struct load *l)
{
	struct op o = { .last_node = -1, .after = -1, .filler_bytes = (uint32_t)sim_below(s, 150) };
	uint64_t which = sim_below(s, 10), p = sim_below(s, 4);

	if (s->n_ops >= SIM_OPS_MAX - 1 || s->n_open > 400 || reuse_an_id(s, l))
		return;
	if (which < 2 && s->n_sessions > 0) {
		simsession_append(s, (int)sim_below(s, (uint64_t)s->n_sessions));
		return;
	}
	l->k++;
	(void)snprintf(o.value, sizeof o.value, "v%d", l->k);
	(void)snprintf(o.producer, sizeof o.producer, "p%d", (int)p);
	if (which < 7) {
		o.kind = REC_ID_OPAQUE;
		(void)snprintf(o.name, sizeof o.name, "%d", l->k);
	} else if (which == 7) {
		o.kind = REC_ID_AUTO;
		(void)snprintf(o.name, sizeof o.name, "auto%d", l->k);
	} else if (which == 8) { /* one after the other: a number below the highest may be forgotten */
		o.kind = REC_ID_SEQ;
		o.n = ++l->n_of[p];
		(void)snprintf(o.name, sizeof o.name, "seq%" PRIu64, o.n);
		o.after = l->last_of[p];
		l->last_of[p] = s->n_ops;
	} else {
		o.kind = REC_ID_NONE;
		o.once = true;
		(void)snprintf(o.name, sizeof o.name, "none%d", l->k);
	}
	(void)snprintf(o.id, sizeof o.id, "%.11s/%.11s", o.producer, o.name);
	send_now(s, o);
}

/* ------------------------------------------------------------------------------------------------------------- rest */

/* But for records that nobody was told of: they stay until another one comes to stand in their place (R6). */
static bool settled(struct sim *s)
{
	if (s->n_open > 0)
		return false;
	for (int i = 0; i < s->n; i++) {
		const struct simnode *n = &s->nodes[i];

		if (!n->up || (n->damaged && !n->log_whole) || rep_commit(simnode_rep(n)) < s->committed_end)
			return false;
	}
	return s->etcd.now.leader.present && s->etcd.now.insync.n_members == (uint32_t)s->n;
}

static bool at_rest(struct sim *s)
{
	for (int i = 0; i < s->n; i++)
		if (s->nodes[i].up && rep_commit(simnode_rep(&s->nodes[i])) != rep_log_end(simnode_rep(&s->nodes[i])))
			return false;
	return settled(s) && sim_logs_equal(s);
}

static void tell_why(struct sim *s)
{
	for (int i = 0; i < s->n; i++) {
		const struct rep_status *st = sim_status(s, s->nodes[i].name);

		sim_say(s, i, "%s epoch %" PRIu64 " end %" PRIu64 " commit %" PRIu64 " durable %" PRIu64 "%s%s",
			st ? rep_role_name(st->role) : "down", st ? st->epoch : 0, st ? st->log_end : 0, st ? st->commit : 0,
			st ? st->durable : 0, st && st->damaged ? ", knows of damage" : "",
			s->nodes[i].damaged ? ", is damaged" : "");
	}
	for (int k = 0; k < s->n_ops; k++)
		if (!s->ops[k].answered && !s->ops[k].once && !s->ops[k].given_up)
			sim_say(s, -1, "%s waits since its attempt %" PRIu64, s->ops[k].id, s->ops[k].attempts);
}

static void append_last(struct sim *s)
{
	struct op o = { .kind = REC_ID_OPAQUE, .last_node = -1, .after = -1, .producer = "last" };

	if (s->n_ops == SIM_OPS_MAX)
		return;
	(void)snprintf(o.name, sizeof o.name, "%d", s->n_ops);
	(void)snprintf(o.id, sizeof o.id, "%.11s/%.11s", o.producer, o.name);
	send_now(s, o);
}

/* Settled, with a while for what is under way; what then still stands beyond the primary's log ends with one more record. */
static bool rests(struct sim *s, uint64_t until_ms)
{
	while (sim_now_ms(s) < until_ms && sim_run_until(s, settled, until_ms - sim_now_ms(s))) {
		if (sim_run_until(s, at_rest, 3000))
			return true;
		if (settled(s))
			append_last(s);
	}
	return false;
}

/* At rest, and three seconds later still: nobody moves without a reason. */
static bool comes_to_rest(struct sim *s)
{
	uint64_t until_ms = sim_now_ms(s) + REST_MS;

	while (rests(s, until_ms)) {
		uint64_t takeovers = s->stats.takeovers, version = s->etcd.now.insync.version;

		sim_run(s, 3000);
		if (s->stats.takeovers == takeovers && s->etcd.now.insync.version == version && at_rest(s))
			return true;
	}
	return false;
}

struct sim_swarm_stats sim_swarm(struct sim *s, uint64_t ms)
{
	uint64_t end_ms = sim_now_ms(s) + ms, gap_ms = 20 + sim_below(s, 260);
	struct load l = { .last_of = { -1, -1, -1, -1 } };

	simhist_new(s);
	simfault_begin(s);
	for (uint64_t k = sim_below(s, SIM_SESSIONS_MAX); k > 0; k--)
		simsession_new(s);
	while (sim_now_ms(s) < end_ms) {
		uint64_t burst = sim_chance(s, 0.02) ? sim_below(s, sim_chance(s, 0.1) ? 300 : 30) : 1;

		if (sim_chance(s, 0.01))
			resend(s);

		for (; burst > 0; burst--)
			append(s, &l);
		sim_run(s, 1 + sim_below(s, gap_ms));
	}
	simfault_end_all(s);
	if (comes_to_rest(s)) {
		simcheck_rest(s);
		simhist_rest(s);
	} else { /* then a history says nothing: logs differ rightly */
		tell_why(s);
		sim_broken(s, "no rest after everything has healed");
	}
	s->stats.records = s->committed_end;
	s->stats.sim_ms = sim_now_ms(s);
	return s->stats;
}
