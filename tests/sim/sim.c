/* Time, randomness, the trace, and what tests call. */
#include "tests/sim/sim_int.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define RESUME_NS 40000 /* at most, between two things that a process was waiting for when it goes on */

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

leash_id sim_random_id(struct sim *s)
{
	leash_id id = sim_rand(s);

	return id ? id : 1;
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

/* Its .a is a node. */
static bool of_a_node(enum timer_kind kind)
{
	return kind != T_OP_TRY && kind != T_SESSION_TRY && kind != T_SESSION_ARRIVE && kind != T_EXPIRY && kind != T_PEEK &&
	       kind != T_SWARM;
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
		.b = b, .life = of_a_node(kind) ? s->nodes[a].life : 0 };
	return &s->heap[sift_up(s, s->n_heap++)];
}

/* The node whose process would notice, -1: none. */
static int target_of(const struct timer *t)
{
	switch (t->kind) {
	case T_MSG: return t->b;
	case T_LOOP:
	case T_WRITER:
	case T_WRITTEN:
	case T_READER:
	case T_SCRUB:
	case T_TOLD:
	case T_DIE:
	case T_GONE:
	case T_WRITABLE:
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
	case T_SESSION_TRY:
	case T_SESSION_ARRIVE:
	case T_PEEK:
	case T_SWARM:
	case T_FAULT_ENDS:
	case T_RESUME:
	case T_KINDS: return -1;
	}
	return -1;
}

/* Of a former life of the process: nobody is there to notice. */
static bool stale(const struct sim *s, const struct timer *t)
{
	switch (t->kind) {
	case T_LOOP:
	case T_WRITER:
	case T_WRITTEN:
	case T_READER:
	case T_SCRUB:
	case T_TOLD:
	case T_DIE:
	case T_GONE:
	case T_WRITABLE:
	case T_LINK_DIAL:
	case T_LINK_RESET:
	case T_TXN_ANSWER:
	case T_READ_ANSWER:
	case T_WATCH:
	case T_KEEPALIVE:
	case T_ANNOUNCE:
	case T_RESUME:
	case T_OP_ARRIVE: return t->life != s->nodes[t->a].life;
	case T_MSG:
	case T_TXN_APPLY:
	case T_EXPIRY:
	case T_OP_TRY:
	case T_OP_ANSWER:
	case T_SESSION_TRY:
	case T_SESSION_ARRIVE:
	case T_PEEK:
	case T_SWARM:
	case T_FAULT_ENDS:
	case T_KINDS: break;
	}
	return false;
}

/* What the process does by itself; all else comes to it from outside. */
static bool from_inside(enum timer_kind kind)
{
	return kind == T_LOOP || kind == T_WRITER || kind == T_WRITTEN || kind == T_READER || kind == T_SCRUB || kind == T_TOLD;
}

/* What happens to a paused process waits for it, in order. When it goes on, it does not get all of that in one moment: it
 * may act on the first of it before it hears of the last. */
static bool stash(struct sim *s, struct timer *t)
{
	int i = target_of(t);
	struct simnode *n;

	if (i < 0 || !(s->nodes[i].paused || (s->nodes[i].resuming && !from_inside(t->kind))))
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

static void empty_stash(struct simnode *n)
{
	n->n_stash = n->stash_at = 0;
	n->resuming = false;
}

void sim_unstash(struct sim *s, int i)
{
	struct simnode *n = &s->nodes[i];

	for (size_t k = n->stash_at; k < n->n_stash; k++) {
		struct timer *t = sim_timer(s, 0, n->stash[k].kind, n->stash[k].a, n->stash[k].b);

		t->life = n->stash[k].life;
		t->x = n->stash[k].x;
		t->y = n->stash[k].y;
		t->data = n->stash[k].data;
	}
	empty_stash(n);
}

static void next_of_stash(struct sim *s, int i)
{
	sim_timer(s, sim_below(s, RESUME_NS), T_RESUME, i, 0)->x = s->nodes[i].resumed;
}

void sim_go_on(struct sim *s, int i)
{
	struct simnode *n = &s->nodes[i];

	n->resuming = n->stash_at < n->n_stash;
	n->resumed++;
	if (n->resuming)
		next_of_stash(s, i);
}

static void deliver(struct sim *s, struct timer *t);
static void free_timer_data(struct timer *t);

static void on_resume(struct sim *s, struct timer *resume)
{
	struct simnode *n = &s->nodes[resume->a];
	struct timer t;

	if (n->paused || resume->x != n->resumed)
		return;
	t = n->stash[n->stash_at];
	n->stash[n->stash_at++].data = NULL;
	if (n->stash_at < n->n_stash)
		next_of_stash(s, resume->a);
	else
		empty_stash(n);
	if (!stale(s, &t))
		deliver(s, &t);
	free_timer_data(&t);
}

static void fire(struct sim *s, struct timer *t)
{
	if (stale(s, t)) {
		s->stats.steps--;
		return;
	}
	if (!stash(s, t))
		deliver(s, t);
}

static void deliver(struct sim *s, struct timer *t)
{
	switch (t->kind) {
	case T_LOOP: simenv_timer(s, t); break;
	case T_WRITER:
	case T_WRITTEN:
	case T_READER:
	case T_SCRUB:
	case T_TOLD: simlog_timer(s, t); break;
	case T_DIE:
	case T_GONE: simnode_timer(s, t); break;
	case T_MSG:
	case T_WRITABLE:
	case T_LINK_DIAL:
	case T_LINK_RESET: simnet_timer(s, t); break;
	case T_TXN_APPLY:
	case T_TXN_ANSWER:
	case T_READ_ANSWER:
	case T_WATCH:
	case T_KEEPALIVE:
	case T_EXPIRY:
	case T_ANNOUNCE: simcontrol_timer(s, t); break;
	case T_OP_TRY:
	case T_OP_ARRIVE:
	case T_OP_ANSWER: simclient_timer(s, t); break;
	case T_SESSION_TRY:
	case T_SESSION_ARRIVE: simsession_timer(s, t); break;
	case T_PEEK:
	case T_SWARM:
	case T_FAULT_ENDS: simfault_timer(s, t); break;
	case T_RESUME: on_resume(s, t); break;
	case T_KINDS: break;
	}
}

static void free_timer_data(struct timer *t)
{
	if (t->kind == T_MSG)
		simnet_flight_free(t->data);
	else
		free(t->data);
}

bool sim_step(struct sim *s)
{
	struct timer t;

	if (!s->n_heap)
		return false;
	t = s->heap[0];
	s->heap[0] = s->heap[--s->n_heap];
	sift_down(s, 0);
	s->now_ns = MAX2(s->now_ns, t.at_ns);
	s->stats.steps++;
	fire(s, &t);
	free_timer_data(&t);
	return true;
}

static void run_until_ns(struct sim *s, uint64_t until_ns, bool (*cond)(struct sim *s))
{
	while (s->n_heap && s->heap[0].at_ns <= until_ns) {
		(void)sim_step(s);
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

static _printf_(2, 0) _noreturn_ void end_with(struct sim *s, const char *fmt, va_list ap)
{
	const char *trace = sim_trace(s);
	size_t len = strlen(trace);

	fprintf(stderr, "%s\nseed %" PRIu64 " at %" PRIu64 " ms: PROMISE BROKEN: ", trace + (len > 12000 ? len - 12000 : 0),
		s->opts.seed, sim_now_ms(s));
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n");
	abort();
}

void sim_broken(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	if (s->opts.only_history)
		return;
	va_start(ap, fmt);
	end_with(s, fmt, ap);
}

void sim_refuted(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	end_with(s, fmt, ap);
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

static void fill_in(struct sim_opts *o)
{
	static const struct sim_opts large = { .nodes = 3, .min_insync = 2, .dedup_window = 1000, .segment_bytes = 64 * 1024,
		.cache_bytes = 1 << 20, .uncommitted_bytes = 1 << 20, .batch_bytes = 64 * 1024, .link_bytes = 1 << 20,
		.uncommitted_max = 4096 };

#define DEFAULT(what) o->what = o->what ? o->what : large.what
	DEFAULT(nodes);
	DEFAULT(min_insync);
	DEFAULT(dedup_window);
	DEFAULT(segment_bytes);
	DEFAULT(cache_bytes);
	DEFAULT(uncommitted_bytes);
	DEFAULT(batch_bytes);
	DEFAULT(link_bytes);
	DEFAULT(uncommitted_max);
#undef DEFAULT
}

static void make_node(struct sim *s, int i)
{
	struct simnode *n = &s->nodes[i];

	n->s = s;
	n->i = i;
	n->clock_ref_ns = s->now_ns;
	n->clock_ns = s->now_ns;
	n->clock_rate = 1.0;
	(void)snprintf(n->name, sizeof n->name, i ? "S%d" : "P1", i);
	simdisk_node_init(n);
}

struct sim *sim_new(struct sim_opts opts)
{
	struct sim *s = calloc(1, sizeof *s);

	must(s);
	s->opts = opts;
	fill_in(&s->opts);
	s->n = s->opts.nodes;
	s->rng = opts.seed * 2654435761u + 12345;
	s->now_ns = 1000 * MS;
	s->ops = calloc(SIM_OPS_MAX, sizeof *s->ops);
	s->committed = calloc(SIM_LOG_MAX, sizeof *s->committed);
	s->cap_keys = 131072;
	s->keys = calloc(s->cap_keys, sizeof *s->keys);
	s->etcd.old = calloc(SIM_HISTORY_MAX, sizeof *s->etcd.old);
	must(s->ops && s->committed && s->etcd.old && s->keys);
	s->etcd.now.revision = 1;
	memcpy(s->view.engine, "engine", 7);
	simenv_init(s);
	for (int i = 0; i < s->n; i++)
		make_node(s, i);
	for (int i = 0; i < s->n && !opts.no_start; i++)
		simnode_start(s, i);
	sim_timer(s, 500 * MS, T_EXPIRY, 0, 0);
	return s;
}

void sim_free(struct sim *s)
{
	for (int i = 0; i < s->n; i++) {
		struct simnode *n = &s->nodes[i];

		s->running = i;
		n->dying = true;
		node_free(n->node);
		simdisk_free(n->disk);
		free(n->acc.chain);
		for (size_t k = 0; k < n->n_stash; k++)
			free_timer_data(&n->stash[k]);
		free(n->stash);
	}
	for (size_t i = 0; i < s->n_heap; i++)
		free_timer_data(&s->heap[i]);
	simfault_free(s);
	simnet_free();
	hist_free(s->hist);
	free(s->heap);
	free(s->ops);
	free(s->attempts);
	free(s->committed);
	free(s->keys);
	free(s->etcd.old);
	free(s->etcd.leases);
	buf_deinit(&s->trace);
	free(s);
	sim_world = NULL;
}

/* ------------------------------------------------------------------------------------------------ what is the case */

const char *sim_primary(const struct sim *s)
{
	int best = -1;

	for (int i = 0; i < s->n; i++) {
		const struct simnode *n = &s->nodes[i];

		if (n->up && rep_role(simnode_rep(n)) == REP_ROLE_PRIMARY &&
			(best < 0 || rep_epoch(simnode_rep(n)) > rep_epoch(simnode_rep(&s->nodes[best]))))
			best = i;
	}
	return best < 0 ? NULL : s->nodes[best].name;
}

const struct rep_status *sim_status(struct sim *s, const char *node)
{
	struct simnode *n = &s->nodes[sim_index(s, node)];

	if (!n->up)
		return NULL;
	rep_status(simnode_rep(n), simclock_ns(n), &n->status);
	return &n->status;
}

leash_seq sim_log_end(const struct sim *s, const char *node)
{
	return s->nodes[sim_index(s, node)].acc.end;
}

const struct rep_insync *sim_insync(const struct sim *s)
{
	return &s->etcd.now.insync;
}

uint32_t sim_notes(const struct sim *s, const char *node, enum rep_note_kind kind)
{
	return s->nodes[sim_index(s, node)].notes[kind];
}

/* The chain covers everything before it. */
bool sim_logs_equal(const struct sim *s)
{
	const struct account *a = &s->nodes[0].acc;

	for (int i = 1; i < s->n; i++) {
		const struct account *b = &s->nodes[i].acc;

		if (a->end != b->end || (a->end > 0 && a->end >= MAX2(a->start, b->start) && a->chain[a->end] != b->chain[b->end]))
			return false;
	}
	return true;
}
