/* Time, randomness, the trace, and what tests call. */
#include "tests/sim/sim_int.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* splitmix64 (Steele, Lea, Flood 2014): one word of state, good enough to choose faults. */
uint64_t sim_rand(struct sim *s)
{
	uint64_t z = (s->rng += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t sim_below(struct sim *s, uint64_t n)
{
	return n ? sim_rand(s) % n : 0;
}

bool sim_chance(struct sim *s, double p)
{
	return (double)(sim_rand(s) >> 11) * 0x1p-53 < p;
}

/* ----------------------------------------------------------------------------------------------------------- timers */

static bool before(const struct timer *a, const struct timer *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static size_t sift_up(struct sim *s, size_t i)
{
	while (i > 0 && before(&s->heap[i], &s->heap[(i - 1) / 2])) {
		struct timer t = s->heap[i];

		s->heap[i] = s->heap[(i - 1) / 2];
		s->heap[(i - 1) / 2] = t;
		i = (i - 1) / 2;
	}
	return i;
}

static void sift_down(struct sim *s, size_t i)
{
	for (;;) {
		size_t l = 2 * i + 1, m = i;
		struct timer t;

		if (l < s->n_heap && before(&s->heap[l], &s->heap[m]))
			m = l;
		if (l + 1 < s->n_heap && before(&s->heap[l + 1], &s->heap[m]))
			m = l + 1;
		if (m == i)
			return;
		t = s->heap[i];
		s->heap[i] = s->heap[m];
		s->heap[m] = t;
		i = m;
	}
}

/* The result is valid until the next timer is made. */
struct timer *sim_timer(struct sim *s, uint64_t after_ns, enum timer_kind kind, int a, int b)
{
	if (s->n_heap == s->cap_heap) {
		s->cap_heap = MAX2(2 * s->cap_heap, (size_t)1024);
		s->heap = realloc(s->heap, s->cap_heap * sizeof *s->heap);
		must(s->heap);
	}
	s->heap[s->n_heap] = (struct timer){ .at_ns = s->now_ns + after_ns, .order = s->order++, .kind = kind, .a = a,
		.b = b, .life = kind == T_OP_TRY || kind == T_SWARM || kind == T_EXPIRY ? 0 : s->nodes[a].life };
	return &s->heap[sift_up(s, s->n_heap++)];
}

/* The node whose process would notice, -1: none. */
static int target_of(const struct timer *t)
{
	switch (t->kind) {
	case T_MSG: return t->b;
	case T_TICK:
	case T_LOGOP:
	case T_LINK_DIAL:
	case T_LINK_RESET:
	case T_TXN_ANSWER:
	case T_READ_ANSWER:
	case T_WATCH:
	case T_KEEPALIVE:
	case T_ANNOUNCE:
	case T_OP_ARRIVE: return t->a;
	case T_TXN_APPLY:
	case T_EXPIRY:
	case T_OP_TRY:
	case T_OP_ANSWER:
	case T_SWARM: return -1;
	}
	return -1;
}

/* What happens to a paused process waits for it, in order. */
static bool stash(struct sim *s, struct timer *t)
{
	int i = target_of(t);
	struct simnode *n;

	if (i < 0 || !s->nodes[i].paused)
		return false;
	n = &s->nodes[i];
	if (n->n_stash == n->cap_stash) {
		n->cap_stash = MAX2(2 * n->cap_stash, (size_t)64);
		n->stash = realloc(n->stash, n->cap_stash * sizeof *n->stash);
		must(n->stash);
	}
	n->stash[n->n_stash++] = *t;
	t->data = NULL;
	return true;
}

void sim_unstash(struct sim *s, int i)
{
	struct simnode *n = &s->nodes[i];

	for (size_t k = 0; k < n->n_stash; k++) {
		struct timer *t = sim_timer(s, 0, n->stash[k].kind, n->stash[k].a, n->stash[k].b);

		t->life = n->stash[k].life;
		t->x = n->stash[k].x;
		t->y = n->stash[k].y;
		t->data = n->stash[k].data;
	}
	n->n_stash = 0;
}

static void fire(struct sim *s, struct timer *t)
{
	if (stash(s, t))
		return;
	switch (t->kind) {
	case T_TICK:
	case T_LOGOP:
		simnode_timer(s, t);
		break;
	case T_MSG:
	case T_LINK_DIAL:
	case T_LINK_RESET:
		simnet_timer(s, t);
		break;
	case T_TXN_APPLY:
	case T_TXN_ANSWER:
	case T_READ_ANSWER:
	case T_WATCH:
	case T_KEEPALIVE:
	case T_EXPIRY:
	case T_ANNOUNCE:
		simetcd_timer(s, t);
		break;
	case T_OP_TRY:
	case T_OP_ARRIVE:
	case T_OP_ANSWER:
		simclient_timer(s, t);
		break;
	case T_SWARM:
		simswarm_timer(s, t);
		break;
	}
}

static void free_timer_data(struct timer *t)
{
	if (t->kind == T_MSG && t->data) {
		struct flight *f = t->data;

		free(f->history);
		free(f->recs);
	}
	free(t->data);
}

static void run_until_ns(struct sim *s, uint64_t until_ns, bool (*cond)(struct sim *s))
{
	while (s->n_heap && s->heap[0].at_ns <= until_ns) {
		struct timer t = s->heap[0];

		s->heap[0] = s->heap[--s->n_heap];
		sift_down(s, 0);
		s->now_ns = MAX2(s->now_ns, t.at_ns);
		s->stats.steps++;
		fire(s, &t);
		free_timer_data(&t);
		if (cond && cond(s))
			return;
	}
	s->now_ns = MAX2(s->now_ns, until_ns);
}

void sim_run(struct sim *s, uint64_t ms)
{
	run_until_ns(s, s->now_ns + ms * MS, NULL);
}

bool sim_run_until(struct sim *s, bool (*cond)(struct sim *s), uint64_t ms)
{
	uint64_t until_ns = s->now_ns + ms * MS;

	if (cond(s))
		return true;
	run_until_ns(s, until_ns, cond);
	return cond(s);
}

uint64_t sim_now_ms(const struct sim *s)
{
	return s->now_ns / MS;
}

/* ------------------------------------------------------------------------------------------------------------ trace */

void sim_say(struct sim *s, int node, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	must(buf_printf(&s->trace, "[%5" PRIu64 "] %s%s%s\n", sim_now_ms(s), node >= 0 ? s->nodes[node].name : "",
		     node >= 0 ? " " : "", text) == 0);
	if (s->opts.verbose)
		fprintf(stderr, "[%10.3f] %s %s\n", (double)s->now_ns / 1e6, node >= 0 ? s->nodes[node].name : "--", text);
}

const char *sim_trace(const struct sim *s)
{
	must(buf_put((struct buf *)&s->trace, "", 1) == 0);
	((struct buf *)&s->trace)->end--;
	return (const char *)buf_head(&s->trace);
}

void sim_broken(struct sim *s, const char *fmt, ...)
{
	const char *trace = sim_trace(s);
	size_t len = strlen(trace);
	va_list ap;

	fprintf(stderr, "%s\nseed %" PRIu64 " at %" PRIu64 " ms: PROMISE BROKEN: ", trace + (len > 12000 ? len - 12000 : 0),
		s->opts.seed, sim_now_ms(s));
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	abort();
}

int sim_index(const struct sim *s, const char *node)
{
	for (int i = 0; i < s->n; i++)
		if (strcmp(s->nodes[i].name, node) == 0)
			return i;
	must(!"a node of this cluster");
	return -1;
}

/* ------------------------------------------------------------------------------------------------------ life of it */

struct sim *sim_new(struct sim_opts opts)
{
	struct sim *s = calloc(1, sizeof *s);

	must(s);
	s->opts = opts;
	s->opts.min_insync = opts.min_insync ? opts.min_insync : 2;
	s->opts.dedup_window = opts.dedup_window ? opts.dedup_window : 1000;
	s->n = opts.nodes ? opts.nodes : 3;
	s->rng = opts.seed * 2654435761u + 12345;
	s->now_ns = 1000 * MS;
	s->ops = calloc(SIM_OPS_MAX, sizeof *s->ops);
	s->committed = calloc(SIM_LOG_MAX, sizeof *s->committed);
	s->etcd.old = calloc(SIM_HISTORY_MAX, sizeof *s->etcd.old);
	must(s->ops && s->committed && s->etcd.old);
	s->etcd.now.revision = 1;
	for (int i = 0; i < s->n; i++) {
		struct simnode *n = &s->nodes[i];

		(void)snprintf(n->name, sizeof n->name, i ? "S%d" : "P1", i);
		n->disk.log = calloc(SIM_LOG_MAX, sizeof *n->disk.log);
		must(n->disk.log);
	}
	for (int i = 0; i < s->n && !opts.no_start; i++)
		simnode_start(s, i);
	sim_timer(s, 500 * MS, T_EXPIRY, 0, 0);
	return s;
}

void sim_free(struct sim *s)
{
	for (int i = 0; i < s->n; i++) {
		rep_free(s->nodes[i].rep);
		free(s->nodes[i].disk.log);
		free(s->nodes[i].waiters);
		for (size_t k = 0; k < s->nodes[i].n_stash; k++)
			free_timer_data(&s->nodes[i].stash[k]);
		free(s->nodes[i].stash);
	}
	for (size_t i = 0; i < s->n_heap; i++)
		free_timer_data(&s->heap[i]);
	free(s->heap);
	free(s->ops);
	free(s->committed);
	free(s->etcd.old);
	buf_deinit(&s->trace);
	free(s);
}

/* ------------------------------------------------------------------------------------------------ what is the case */

const char *sim_primary(const struct sim *s)
{
	int best = -1;

	for (int i = 0; i < s->n; i++)
		if (s->nodes[i].up && rep_role(s->nodes[i].rep) == REP_ROLE_PRIMARY &&
			(best < 0 || rep_epoch(s->nodes[i].rep) > rep_epoch(s->nodes[best].rep)))
			best = i;
	return best < 0 ? NULL : s->nodes[best].name;
}

const struct rep_status *sim_status(struct sim *s, const char *node)
{
	struct simnode *n = &s->nodes[sim_index(s, node)];

	if (!n->up)
		return NULL;
	rep_status(n->rep, s->now_ns, &n->status);
	return &n->status;
}

leash_seq sim_log_end(const struct sim *s, const char *node)
{
	return s->nodes[sim_index(s, node)].disk.end;
}

const struct rep_insync *sim_insync(const struct sim *s)
{
	return &s->etcd.now.insync;
}

uint32_t sim_notes(const struct sim *s, const char *node, enum rep_note_kind kind)
{
	return s->nodes[sim_index(s, node)].notes[kind];
}

static bool same_log(const struct simnode *a, const struct simnode *b)
{
	if (a->disk.end != b->disk.end)
		return false;
	for (leash_seq q = MAX2(a->disk.start, b->disk.start); q <= a->disk.end; q++)
		if (a->disk.log[q].value != b->disk.log[q].value || a->disk.log[q].rec.epoch != b->disk.log[q].rec.epoch)
			return false;
	return true;
}

bool sim_logs_equal(const struct sim *s)
{
	for (int i = 1; i < s->n; i++)
		if (!same_log(&s->nodes[0], &s->nodes[i]))
			return false;
	return true;
}
