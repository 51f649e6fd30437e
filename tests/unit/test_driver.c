/*
 * Three nodes in one process: drivers over a log, a network and an etcd that are arrays. Time is virtual. io calls back
 * later (through the queue) or, where a test says so, from inside.
 */
#include "node/driver.h"

#include <stdio.h>

#include "base/clk.h"
#include "unit.h"

#define NODES    3
#define LOG_MAX  4096
#define TICK_NS  (5 * NS_PER_MS)
#define ANSWERS  512

enum post_kind { POST_MSG, POST_RECORDS, POST_DURABLE, POST_CUT, POST_META, POST_VIEW, POST_TXN, POST_FETCHED, POST_TRIMMED };

struct world;

struct node {
	struct world *w;
	int i;
	struct drv *d;
	leash_id run, incarnation;
	struct rep_meta meta;
	struct drv_rec *log[LOG_MAX + 1]; /* [seq] */
	leash_seq start, end, durable;
	struct leash_chain base;
	bool frozen;       /* its disk does not answer */
	bool sync_io;      /* append and meta call back from inside */
	bool send_full;    /* outputs are full */
	struct drv_answer answers[ANSWERS]; /* [waiter number] */
	int n_answers;
	int n_room, n_fetch, n_violations, n_overruled;
	bool aside;        /* io_set_aside() was called */
};

struct post {
	struct post *next;
	enum post_kind kind;
	int to, from;
	enum rep_link link;
	struct rep_msg msg;
	struct rep_stretch *history;
	struct rep_rec *recs;
	struct drv_rec **drv_recs;
	uint32_t n;
	uint64_t number;
	enum rep_txn_outcome outcome;
};

struct world {
	struct node nodes[NODES];
	bool cut[NODES]; /* off the network and off etcd */
	struct rep_view etcd;
	struct post *head, **tail;
	uint64_t now_ns, conn;
};

static const char *const names[NODES] = { "P1", "S1", "S2" };

static int index_of(const char *name)
{
	for (int i = 0; i < NODES; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	ck_abort_msg("no node %s", name);
	return -1;
}

static struct post *post(struct world *w, enum post_kind kind, int to)
{
	struct post *p = calloc(1, sizeof *p);

	ck_assert_ptr_nonnull(p);
	p->kind = kind;
	p->to = to;
	*w->tail = p;
	w->tail = &p->next;
	return p;
}

static void post_free(struct post *p)
{
	for (uint32_t i = 0; p->drv_recs && i < p->n; i++)
		drv_rec_unref(p->drv_recs[i]);
	free(p->drv_recs);
	free(p->recs);
	free(p->history);
	free(p);
}

/* -------------------------------------------------------------------------------------------------------------- io */

static struct leash_chain chain_at(const struct node *n, leash_seq seq)
{
	return seq >= n->start ? n->log[seq]->h.chain : n->base;
}

static void io_append(void *ctx, struct drv_rec *const *recs, size_t count)
{
	struct node *n = ctx;

	ck_assert(!n->aside); /* the log has told where it ends */
	for (size_t i = 0; i < count; i++) {
		ck_assert_uint_eq(recs[i]->h.seq, n->end + 1);
		ck_assert(rec_chain_follows(&recs[i]->h, chain_at(n, n->end)));
		n->log[++n->end] = drv_rec_ref(recs[i]);
	}
	if (n->sync_io && !n->frozen) {
		n->durable = n->end;
		drv_durable(n->d, n->end, n->w->now_ns);
		return;
	}
	post(n->w, POST_DURABLE, n->i)->number = n->end;
}

static void log_cut(struct node *n, leash_seq seq)
{
	for (; n->end > seq && n->end >= n->start; n->end--) {
		drv_rec_unref(n->log[n->end]);
		n->log[n->end] = NULL;
	}
	n->durable = n->end;
}

static void io_truncate(void *ctx, leash_seq seq)
{
	struct node *n = ctx;

	ck_assert_uint_le(seq, n->end);
	log_cut(n, seq);
	post(n->w, POST_CUT, n->i)->number = seq;
}

static void io_reset(void *ctx, leash_seq start, struct leash_chain base)
{
	struct node *n = ctx;

	log_cut(n, 0);
	n->start = start;
	n->end = n->durable = start - 1;
	n->base = base;
	post(n->w, POST_CUT, n->i)->number = start - 1;
}

static void io_meta(void *ctx, uint64_t ticket, const struct rep_meta *meta)
{
	struct node *n = ctx;

	n->meta = *meta;
	if (n->sync_io)
		drv_meta_done(n->d, ticket, n->w->now_ns);
	else
		post(n->w, POST_META, n->i)->number = ticket;
}

static void io_set_aside(void *ctx) { ((struct node *)ctx)->aside = true; }
static void io_mark(void *ctx, leash_seq seq) { ck_assert_uint_le(seq, ((struct node *)ctx)->durable); }
static void io_retain(void *ctx, leash_seq keep_from) { (void)ctx, (void)keep_from; }
static uint64_t io_real_ns(void *ctx) { (void)ctx; return 1; }

static void io_fetch(void *ctx, const char *node, leash_seq first, leash_seq last, size_t bytes_max)
{
	struct node *n = ctx;
	struct post *p = post(n->w, POST_FETCHED, n->i);

	(void)bytes_max;
	n->n_fetch++;
	p->from = index_of(node);
	ck_assert(first <= last && last <= n->durable);
	p->drv_recs = calloc(last - first + 1, sizeof(struct drv_rec *));
	for (leash_seq s = first; s <= last && first >= n->start; s++)
		p->drv_recs[p->n++] = drv_rec_ref(n->log[s]);
}

static void io_send(void *ctx, const char *node, enum rep_link link, const struct rep_msg *m)
{
	struct node *n = ctx;
	struct post *p = post(n->w, POST_MSG, index_of(node));

	p->from = n->i;
	p->link = link == REP_LINK_OUT ? REP_LINK_IN : REP_LINK_OUT;
	p->msg = *m;
	p->history = calloc(m->n_history + 1, sizeof *p->history);
	if (m->n_history)
		memcpy(p->history, m->history, m->n_history * sizeof *p->history);
	p->msg.history = p->history;
}

static struct rep_rec rep_rec_of(const struct drv_rec *rec)
{
	return (struct rep_rec){ rec->h.seq, rec->h.epoch, rec->h.log_time_ns, REC_HEADER_BYTES + rec->body_bytes,
		rec->ident };
}

static bool io_send_records(void *ctx, const char *node, const struct rep_msg *head, struct drv_rec *const *recs,
	size_t count)
{
	struct node *n = ctx;
	struct post *p;

	if (n->send_full)
		return false;
	ck_assert(count > 0 && head->n_recs == count);
	p = post(n->w, POST_RECORDS, index_of(node));
	p->from = n->i;
	p->link = REP_LINK_IN;
	p->msg = *head;
	p->n = (uint32_t)count;
	p->recs = calloc(count, sizeof *p->recs);
	p->drv_recs = calloc(count, sizeof *p->drv_recs);
	for (size_t i = 0; i < count; i++) {
		p->drv_recs[i] = drv_rec_ref(recs[i]);
		p->recs[i] = rep_rec_of(recs[i]);
	}
	p->msg.recs = p->recs;
	return true;
}

static void post_views(struct world *w)
{
	for (int i = 0; i < NODES; i++)
		(void)post(w, POST_VIEW, i);
}

static bool guards_hold(const struct rep_view *e, const struct rep_txn *t)
{
	if ((e->leader.present ? e->leader.mod_revision : 0) != t->leader_mod ||
		(e->insync.present ? e->insync.mod_revision : 0) != t->insync_mod)
		return false;
	for (uint32_t i = 0; i < t->n_nodes; i++)
		if (e->nodes[index_of(t->nodes[i].node)].mod_revision != t->nodes[i].mod_revision)
			return false;
	return true;
}

static void io_txn(void *ctx, const struct rep_txn *t)
{
	struct node *n = ctx;
	struct world *w = n->w;
	struct post *p = post(w, POST_TXN, n->i);

	p->number = t->ticket;
	if (w->cut[n->i]) {
		p->outcome = REP_TXN_UNSENT;
		return;
	}
	p->outcome = REP_TXN_FAILED;
	if (!guards_hold(&w->etcd, t))
		return;
	w->etcd.revision++;
	w->etcd.insync = t->insync;
	w->etcd.insync.mod_revision = w->etcd.revision;
	if (t->leader.present) {
		w->etcd.leader = t->leader;
		w->etcd.leader.mod_revision = w->etcd.revision;
	}
	p->outcome = REP_TXN_DONE;
	p->msg.seq = w->etcd.revision;
	post_views(w);
}

static void io_read(void *ctx) { (void)post(((struct node *)ctx)->w, POST_VIEW, ((struct node *)ctx)->i); }

static void io_announce(void *ctx)
{
	struct node *n = ctx;
	struct rep_node *e = &n->w->etcd.nodes[n->i];

	e->cluster = n->meta.cluster;
	e->mod_revision = ++n->w->etcd.revision;
	post_views(n->w);
}

static void io_answer(void *ctx, const struct drv_waiter *who, const struct drv_answer *a)
{
	struct node *n = ctx;
	uintptr_t number = (uintptr_t)who->owner;

	ck_assert(number < ANSWERS);
	ck_assert_msg(n->answers[number].kind == (enum drv_answer_kind)-1, "answered twice");
	n->answers[number] = *a;
	n->n_answers++;
}

static void io_room(void *ctx) { ((struct node *)ctx)->n_room++; }
static void io_committed(void *ctx, leash_seq seq) { (void)ctx, (void)seq; }
static void io_changed(void *ctx) { (void)ctx; }

static void io_note(void *ctx, const struct rep_note *note)
{
	struct node *n = ctx;

	n->n_violations += note->kind == REP_NOTE_VIOLATION;
	n->n_overruled += note->kind == REP_NOTE_OVERRULED;
	if (getenv("TEST_TRACE"))
		printf("%7.3f %s %s %s e%lu s%lu %s\n", (double)n->w->now_ns / 1e9, names[n->i],
			rep_note_text(note->kind), note->node, note->epoch, note->seq, note->text ? note->text : "");
}

/* ----------------------------------------------------------------------------------------------------------- world */

static void settle(struct world *w);

static void forget_answers(struct node *n)
{
	n->n_answers = 0;
	for (int i = 0; i < ANSWERS; i++)
		n->answers[i].kind = (enum drv_answer_kind)-1;
}

/* What the log of @n says of itself. @history has room for all of it. */
static struct rep_log log_of(const struct node *n, struct rep_stretch *history)
{
	struct rep_log log = { .start = n->start, .end = n->end, .base = n->base, .history = history };

	for (leash_seq s = n->start; s <= n->end; s++) {
		const struct rec_header *h = &n->log[s]->h;

		log.log_time_ns = h->log_time_ns;
		if (log.n_history == 0 || history[log.n_history - 1].epoch != h->epoch)
			history[log.n_history++] = (struct rep_stretch){ h->epoch, s };
	}
	return log;
}

static void node_open(struct world *w, int i)
{
	static struct rep_stretch history[LOG_MAX];
	struct node *n = &w->nodes[i];
	struct rep_conf rc = { .run = n->run, .fresh_cluster = 0xc1, .n_founders = NODES, .min_insync = 2,
		.dedup_window = 1000, .dedup_records_max = 1000, .uncommitted_max = 100,
		.failure_timeout_ns = 500 * NS_PER_MS, .heartbeat_ns = 100 * NS_PER_MS };
	struct drv_conf dc = { .cache_bytes = 4096, .uncommitted_bytes = 1 << 20, .uncommitted_max = 100,
		.record_bytes_max = 4096, .batch_bytes = 2048 };
	struct drv_io io = { .ctx = n, .real_ns = io_real_ns, .append = io_append, .truncate = io_truncate,
		.reset = io_reset, .meta = io_meta, .set_aside = io_set_aside, .mark = io_mark, .retain = io_retain,
		.fetch = io_fetch, .send = io_send, .send_records = io_send_records, .txn = io_txn, .read = io_read,
		.probe = io_read, .announce = io_announce, .answer = io_answer, .room = io_room,
		.committed = io_committed, .changed = io_changed, .note = io_note };
	struct rep_log log = log_of(n, history);

	(void)snprintf(rc.node, sizeof rc.node, "%s", names[i]);
	(void)snprintf(rc.address, sizeof rc.address, "%s:1", names[i]);
	for (int k = 0; k < NODES; k++)
		(void)snprintf(rc.founders[k], sizeof rc.founders[k], "%s", names[k]);
	ck_assert_int_eq(drv_new(&dc, &rc, &n->meta, &log, chain_at(n, n->end), &io, w->now_ns, &n->d), 0);
	for (leash_seq s = rep_replay_from(drv_rep(n->d)); s <= n->end; s++) {
		struct rep_rec rec = rep_rec_of(n->log[s]);

		rep_replay(drv_rep(n->d), &rec);
	}
}

/* The process dies and another begins with the same disk: nothing is cached, nothing known to be committed. */
static void node_restart(struct world *w, int i)
{
	struct node *n = &w->nodes[i];

	settle(w);
	log_cut(n, n->durable);
	drv_free(n->d);
	n->run += 0x1000;
	forget_answers(n);
	node_open(w, i);
	drv_event(n->d, &(struct rep_event){ .kind = REP_EV_LEASE, .now_ns = w->now_ns, .lease = 200 + (uint64_t)i });
}

static struct world *world_new(void)
{
	struct world *w = calloc(1, sizeof *w);

	ck_assert_ptr_nonnull(w);
	w->now_ns = NS_PER_S;
	w->tail = &w->head;
	w->etcd.revision = 10;
	w->etcd.n_nodes = NODES;
	for (int i = 0; i < NODES; i++) {
		struct node *n = &w->nodes[i];

		*n = (struct node){ .w = w, .i = i, .run = 0x100 + (leash_id)i, .incarnation = 0x200 + (leash_id)i, .start = 1 };
		n->meta.incarnation = n->incarnation;
		w->etcd.nodes[i] = (struct rep_node){ .mod_revision = 1, .incarnation = n->incarnation, .run = n->run,
			.priority = NODES - i };
		(void)snprintf(w->etcd.nodes[i].node, LEASH_NAME_MAX, "%s", names[i]);
		forget_answers(n);
		node_open(w, i);
	}
	return w;
}

static void world_free(struct world *w)
{
	while (w->head) {
		struct post *p = w->head;

		w->head = p->next;
		post_free(p);
	}
	for (int i = 0; i < NODES; i++) {
		drv_free(w->nodes[i].d);
		log_cut(&w->nodes[i], 0);
	}
	free(w);
}

static void deliver_durable(struct world *w, struct node *n, const struct post *p)
{
	if (n->frozen || p->number > n->end)
		return; /* lost with what was cut; a frozen disk says all of it when it thaws */
	n->durable = MAX2(n->durable, p->number);
	drv_durable(n->d, p->number, w->now_ns);
}

static void deliver(struct world *w, struct post *p)
{
	struct node *n = &w->nodes[p->to];
	struct rep_event ev = { .now_ns = w->now_ns };
	bool away = w->cut[p->to] || w->cut[p->from];

	w->etcd.authoritative = true;
	switch (p->kind) {
	case POST_MSG:
		ev.kind = REP_EV_MSG;
		ev.msg.from = names[p->from];
		ev.msg.link = p->link;
		ev.msg.msg = &p->msg;
		if (!away)
			drv_event(n->d, &ev);
		break;
	case POST_RECORDS:
		if (!away)
			drv_records(n->d, names[p->from], p->link, &p->msg, p->drv_recs, w->now_ns);
		break;
	case POST_DURABLE: deliver_durable(w, n, p); break;
	case POST_CUT: drv_cut_done(n->d, p->number, chain_at(n, p->number), w->now_ns); break;
	case POST_META: drv_meta_done(n->d, p->number, w->now_ns); break;
	case POST_VIEW:
		ev.kind = REP_EV_VIEW;
		ev.view = &w->etcd;
		if (!w->cut[p->to])
			drv_event(n->d, &ev);
		break;
	case POST_TXN:
		ev.kind = REP_EV_TXN;
		ev.txn.ticket = p->number;
		ev.txn.outcome = p->outcome;
		ev.txn.revision = p->msg.seq;
		ev.txn.view = &w->etcd;
		drv_event(n->d, &ev);
		break;
	case POST_FETCHED: drv_fetched(n->d, names[p->from], p->drv_recs, p->n, w->now_ns); break;
	case POST_TRIMMED: drv_trimmed(n->d, p->number, chain_at(n, p->number - 1), w->now_ns); break;
	}
}

static void flush_all(struct world *w)
{
	for (int i = 0; i < NODES; i++)
		drv_flush(w->nodes[i].d, w->now_ns);
}

static void settle(struct world *w)
{
	flush_all(w);
	for (int n = 0; w->head; n++) {
		struct post *p = w->head;

		ck_assert_int_lt(n, 100000);
		w->head = p->next;
		if (!w->head)
			w->tail = &w->head;
		deliver(w, p);
		post_free(p);
		flush_all(w);
	}
}

static void run(struct world *w, uint64_t ns)
{
	for (uint64_t until = w->now_ns + ns; w->now_ns < until; w->now_ns += TICK_NS) {
		for (int i = 0; i < NODES; i++)
			drv_event(w->nodes[i].d, &(struct rep_event){ .kind = REP_EV_TICK, .now_ns = w->now_ns });
		settle(w);
	}
}

static void link_nodes(struct world *w, int a, int b, bool up)
{
	struct rep_event ev = { .kind = REP_EV_LINK, .now_ns = w->now_ns,
		.link = { .node = names[b], .up = up, .conn = up ? ++w->conn : 0, .refused = !up } };

	drv_event(w->nodes[a].d, &ev);
}

static void link_all(struct world *w, bool up)
{
	for (int a = 0; a < NODES; a++)
		for (int b = 0; b < NODES; b++)
			if (a != b && (!up || (!w->cut[a] && !w->cut[b])))
				link_nodes(w, a, b, up);
}

/* A founded cluster with P1 as primary and everybody in sync. */
static struct world *cluster(void)
{
	struct world *w = world_new();

	for (int i = 0; i < NODES; i++)
		drv_event(w->nodes[i].d, &(struct rep_event){ .kind = REP_EV_LEASE, .now_ns = w->now_ns,
						 .lease = 100 + (uint64_t)i });
	link_all(w, true);
	post_views(w);
	run(w, 3 * NS_PER_S);
	ck_assert_int_eq(rep_role(drv_rep(w->nodes[0].d)), REP_ROLE_PRIMARY);
	ck_assert_uint_eq(w->etcd.insync.n_members, NODES);
	return w;
}

static leash_seq submit(struct world *w, int node, const char *id, const char *value, uintptr_t waiter)
{
	_cleanup_(buf_deinit) struct buf b = BUF_NULL;
	struct rec_body body = { .id_kind = id ? REC_ID_OPAQUE : REC_ID_NONE };
	struct bytes pairs[2] = { { (const uint8_t *)"f", 1 }, { (const uint8_t *)value, strlen(value) } };

	if (id) {
		body.producer = (struct bytes){ (const uint8_t *)"p", 1 };
		body.id = (struct bytes){ (const uint8_t *)id, strlen(id) };
	}
	ck_assert_int_eq(rec_body_encode(&b, &body, 0, pairs, 1), 0);
	return drv_submit(w->nodes[node].d, (struct bytes){ buf_head(&b), buf_len(&b) }, &(struct drv_waiter){ .owner = (void *)waiter },
		w->now_ns);
}

static void expect(struct world *w, int node, uintptr_t waiter, enum drv_answer_kind kind, leash_seq seq)
{
	const struct drv_answer *a = &w->nodes[node].answers[waiter];

	ck_assert_msg(a->kind == kind, "waiter %d of %s: kind %d, not %d", (int)waiter, names[node], (int)a->kind, (int)kind);
	ck_assert_uint_eq(a->seq, seq);
}

static void all_equal(struct world *w, leash_seq end)
{
	for (int i = 0; i < NODES; i++) {
		ck_assert_uint_eq(w->nodes[i].end, end);
		ck_assert(leash_chain_eq(chain_at(&w->nodes[i], end), chain_at(&w->nodes[0], end)));
		ck_assert_uint_eq(rep_dedup_digest(drv_rep(w->nodes[i].d)), rep_dedup_digest(drv_rep(w->nodes[0].d)));
	}
}

/* ----------------------------------------------------------------------------------------------------------- tests */

START_TEST(append_commit_answer)
{
	struct world *w = cluster();

	for (uintptr_t i = 1; i <= 50; i++)
		submit(w, 0, NULL, "hello", i);
	ck_assert_int_eq(w->nodes[0].n_answers, 0);
	settle(w);
	for (uintptr_t i = 1; i <= 50; i++)
		expect(w, 0, i, DRV_ANS_OK, i);
	submit(w, 1, NULL, "hello", 1);
	ck_assert_int_eq(w->nodes[1].answers[1].kind, DRV_ANS_NOT_PRIMARY);
	drv_submit(w->nodes[0].d, (struct bytes){ (const uint8_t *)"junk", 4 }, &(struct drv_waiter){ .owner = (void *)60 },
		w->now_ns);
	ck_assert_int_eq(w->nodes[0].answers[60].kind, DRV_ANS_INVALID);
	run(w, NS_PER_S);
	all_equal(w, 50);
	world_free(w);
}
END_TEST

/* A connection with many appends and retries on their way ends: nobody is told, and the others are. */
START_TEST(who_goes_away_is_not_answered)
{
	struct world *w = cluster();

	w->nodes[1].frozen = true; /* nothing commits */
	submit(w, 0, "a", "pay", 1);
	submit(w, 0, "b", "pay", 2);
	submit(w, 0, "c", "pay", 1);
	submit(w, 0, "b", "pay", 1); /* a retry */
	submit(w, 0, "a", "pay", 3);
	drv_forget(w->nodes[0].d, (void *)1, 0);
	settle(w);
	w->nodes[1].frozen = false;
	post(w, POST_DURABLE, 1)->number = 3;
	settle(w);
	expect(w, 0, 2, DRV_ANS_OK, 2);
	expect(w, 0, 3, DRV_ANS_KNOWN, 1);
	ck_assert_int_eq(w->nodes[0].n_answers, 2);
	world_free(w);
}
END_TEST

START_TEST(retries_wait_for_the_commit)
{
	struct world *w = cluster();

	w->nodes[1].frozen = true; /* nothing commits */
	submit(w, 0, "7", "pay", 1);
	submit(w, 0, "8", "pay", 2);
	settle(w);
	submit(w, 0, "8", "pay", 3);
	submit(w, 0, "7", "pay", 4);
	submit(w, 0, "7", "other", 5);
	drv_forget(w->nodes[0].d, (void *)6, submit(w, 0, "7", "pay", 6));
	settle(w);
	ck_assert_int_eq(w->nodes[0].n_answers, 0);
	w->nodes[1].frozen = false;
	post(w, POST_DURABLE, 1)->number = 2;
	settle(w);
	expect(w, 0, 1, DRV_ANS_OK, 1);
	expect(w, 0, 2, DRV_ANS_OK, 2);
	expect(w, 0, 3, DRV_ANS_KNOWN, 2);
	expect(w, 0, 4, DRV_ANS_KNOWN, 1);
	expect(w, 0, 5, DRV_ANS_CONFLICT, 1);
	ck_assert_int_eq(w->nodes[0].n_answers, 5);
	submit(w, 0, "7", "pay", 7); /* committed: at once */
	expect(w, 0, 7, DRV_ANS_KNOWN, 1);
	world_free(w);
}
END_TEST

START_TEST(bounds_hold_and_room)
{
	struct world *w = cluster();

	w->nodes[1].frozen = true;
	for (uintptr_t i = 1; i <= 100; i++)
		submit(w, 0, NULL, "x", i);
	submit(w, 0, NULL, "x", 101);
	expect(w, 0, 101, DRV_ANS_HOLD, 0);
	settle(w);
	ck_assert_int_eq(w->nodes[0].n_room, 0);
	w->nodes[1].frozen = false;
	post(w, POST_DURABLE, 1)->number = 100;
	settle(w);
	ck_assert_int_ge(w->nodes[0].n_room, 1);
	expect(w, 0, 100, DRV_ANS_OK, 100);
	drv_room(w->nodes[0].d, 500);
	submit(w, 0, "a", "x", 102);
	submit(w, 0, "b", "x", 103);
	submit(w, 0, "c", "x", 104);
	ck_assert_int_eq(w->nodes[0].answers[104].kind, DRV_ANS_DISK_FULL);
	settle(w);
	submit(w, 0, "a", "x", 105); /* a retry has its answer all the same */
	expect(w, 0, 105, DRV_ANS_KNOWN, 101);
	world_free(w);
}
END_TEST

/* P1 is cut off with records that nobody else has; S1 takes over; P1 comes back, is told so, and its tail is cut. */
START_TEST(demotion_and_cut)
{
	struct world *w = cluster();
	int p;

	submit(w, 0, "1", "a", 1);
	settle(w);
	w->cut[0] = true;
	link_all(w, false);
	link_nodes(w, 1, 2, true);
	link_nodes(w, 2, 1, true);
	submit(w, 0, "2", "lost", 2);
	submit(w, 0, "3", "lost", 3);
	run(w, 3 * NS_PER_S);
	ck_assert_int_eq(w->nodes[0].n_answers, 1);
	p = rep_role(drv_rep(w->nodes[1].d)) == REP_ROLE_PRIMARY ? 1 : 2;
	ck_assert_int_eq(rep_role(drv_rep(w->nodes[p].d)), REP_ROLE_PRIMARY);
	submit(w, p, "2", "lost", 2);
	run(w, NS_PER_S);
	expect(w, p, 2, DRV_ANS_OK, 2);
	w->cut[0] = false;
	link_all(w, false);
	link_all(w, true);
	post_views(w);
	run(w, 3 * NS_PER_S);
	expect(w, 0, 2, DRV_ANS_LOST, 0);
	expect(w, 0, 3, DRV_ANS_LOST, 0);
	all_equal(w, 2);
	ck_assert_uint_eq(w->etcd.insync.n_members, NODES);
	world_free(w);
}
END_TEST

/* More than the cache holds went by while S2 was away. */
START_TEST(catch_up_from_the_log)
{
	struct world *w = cluster();

	w->cut[2] = true;
	for (int b = 0; b < 2; b++)
		link_nodes(w, b, 2, false);
	run(w, 2 * NS_PER_S);
	for (uintptr_t i = 1; i <= 400; i++) {
		submit(w, 0, NULL, "0123456789012345678901234567890123456789", i);
		if (i % 50 == 0)
			settle(w);
	}
	expect(w, 0, 400, DRV_ANS_OK, 400);
	ck_assert_ptr_null(drv_cached(w->nodes[0].d, 1));
	w->cut[2] = false;
	for (int b = 0; b < 2; b++) {
		link_nodes(w, b, 2, true);
		link_nodes(w, 2, b, true);
	}
	post_views(w);
	run(w, 3 * NS_PER_S);
	ck_assert_int_gt(w->nodes[0].n_fetch, 0);
	all_equal(w, 400);
	ck_assert_uint_eq(w->etcd.insync.n_members, NODES);
	world_free(w);
}
END_TEST

START_TEST(full_output_goes_on_when_writable)
{
	struct world *w = cluster();

	w->nodes[0].send_full = true;
	submit(w, 0, NULL, "x", 1);
	settle(w);
	ck_assert_int_eq(w->nodes[0].n_answers, 0);
	w->nodes[0].send_full = false;
	drv_writable(w->nodes[0].d, "S1", w->now_ns);
	drv_writable(w->nodes[0].d, "S2", w->now_ns);
	settle(w);
	expect(w, 0, 1, DRV_ANS_OK, 1);
	world_free(w);
}
END_TEST

START_TEST(io_that_calls_back_from_inside)
{
	struct world *w = world_new();

	for (int i = 0; i < NODES; i++) {
		w->nodes[i].sync_io = true;
		drv_event(w->nodes[i].d, &(struct rep_event){ .kind = REP_EV_LEASE, .now_ns = w->now_ns,
						 .lease = 100 + (uint64_t)i });
	}
	link_all(w, true);
	post_views(w);
	run(w, 3 * NS_PER_S);
	for (uintptr_t i = 1; i <= 50; i++)
		submit(w, 0, NULL, "hello", i);
	settle(w);
	for (uintptr_t i = 1; i <= 50; i++)
		expect(w, 0, i, DRV_ANS_OK, i);
	run(w, NS_PER_S);
	all_equal(w, 50);
	world_free(w);
}
END_TEST

/* Records whose chain does not close with the follower's log, although epoch and position fit, are not taken. */
START_TEST(damaged_chain_is_not_taken)
{
	struct world *w = cluster();
	struct post *p;

	submit(w, 0, NULL, "a", 1);
	settle(w);
	submit(w, 0, NULL, "b", 2);
	drv_flush(w->nodes[0].d, w->now_ns);
	for (p = w->head; p; p = p->next)
		if (p->kind == POST_RECORDS && p->to == 1) {
			struct drv_rec *bad = drv_rec_new(&p->drv_recs[0]->h, &p->drv_recs[0]->ident,
				(struct bytes){ p->drv_recs[0]->bytes + REC_HEADER_BYTES, p->drv_recs[0]->body_bytes });

			bad->h.chain.lo++;
			drv_rec_unref(p->drv_recs[0]);
			p->drv_recs[0] = bad;
		}
	settle(w);
	ck_assert_int_eq(w->nodes[1].n_violations, 1);
	ck_assert_uint_eq(w->nodes[1].end, 1);
	ck_assert_int_eq(w->nodes[0].n_answers, 1);
	run(w, NS_PER_S); /* sent again, whole this time */
	expect(w, 0, 2, DRV_ANS_OK, 2);
	all_equal(w, 2);
	world_free(w);
}
END_TEST

/* The same chain, but of another time: a former primary's last words, or behind a tail that may not match. */
static void foreign_chain(leash_epoch msg_epoch, leash_epoch rec_epoch)
{
	struct world *w = cluster();

	submit(w, 0, NULL, "a", 1);
	settle(w);
	submit(w, 0, NULL, "b", 2);
	drv_flush(w->nodes[0].d, w->now_ns);
	for (struct post *p = w->head; p; p = p->next)
		if (p->kind == POST_RECORDS && p->to == 1) {
			struct drv_rec *bad = drv_rec_new(&p->drv_recs[0]->h, &p->drv_recs[0]->ident,
				(struct bytes){ p->drv_recs[0]->bytes + REC_HEADER_BYTES, p->drv_recs[0]->body_bytes });

			bad->h.chain.lo++;
			bad->h.epoch = p->recs[0].epoch = rec_epoch;
			p->msg.epoch = msg_epoch;
			drv_rec_unref(p->drv_recs[0]);
			p->drv_recs[0] = bad;
		}
	settle(w);
	ck_assert_int_eq(w->nodes[1].n_violations, 0);
	ck_assert_uint_eq(w->nodes[1].end, 1);
	world_free(w);
}

START_TEST(records_of_a_former_primary_are_no_damage)
{
	foreign_chain(0, 1);
}
END_TEST

START_TEST(records_behind_an_unmatched_tail_are_no_damage)
{
	foreign_chain(1, 2);
}
END_TEST

/* Retention removed records of a log while it was in use. */
static void trim(struct node *n, leash_seq start)
{
	struct leash_chain base = chain_at(n, start - 1);

	for (leash_seq s = n->start; s < start; s++) {
		drv_rec_unref(n->log[s]);
		n->log[s] = NULL;
	}
	n->start = start;
	n->base = base;
	drv_trimmed(n->d, start, base, n->w->now_ns);
}

static void link_to_all(struct world *w, int i, bool up)
{
	w->cut[i] = !up;
	for (int b = 0; b < NODES; b++) {
		if (b == i)
			continue;
		link_nodes(w, b, i, up);
		if (up)
			link_nodes(w, i, b, true);
	}
}

static struct world *s2_is_behind(void)
{
	struct world *w = cluster();

	submit(w, 0, NULL, "a", 1);
	settle(w);
	link_to_all(w, 2, false);
	run(w, 2 * NS_PER_S);
	for (uintptr_t i = 2; i <= 400; i++) {
		submit(w, 0, NULL, "0123456789012345678901234567890123456789", i);
		if (i % 50 == 0)
			settle(w);
	}
	expect(w, 0, 400, DRV_ANS_OK, 400);
	return w;
}

/* What it lacks was removed by retention in this life of the primary: a fresh copy, whose chain closes. */
START_TEST(fresh_copy_after_retention)
{
	struct world *w = s2_is_behind();

	trim(&w->nodes[0], 200);
	link_to_all(w, 2, true);
	post_views(w);
	run(w, 3 * NS_PER_S);
	ck_assert_int_eq(w->nodes[2].n_violations, 0);
	ck_assert_uint_eq(w->nodes[2].start, 200);
	ck_assert_uint_eq(w->nodes[2].end, 400);
	ck_assert(leash_chain_eq(chain_at(&w->nodes[2], 400), chain_at(&w->nodes[0], 400)));
	ck_assert_uint_eq(w->etcd.insync.n_members, NODES);
	world_free(w);
}
END_TEST

/* The same, but the removal is under way while it joins. */
START_TEST(retention_overtakes_a_stream)
{
	struct world *w = s2_is_behind();

	w->nodes[0].send_full = true;
	link_to_all(w, 2, true);
	post_views(w);
	settle(w);
	trim(&w->nodes[0], 200);
	w->nodes[0].send_full = false;
	run(w, 4 * NS_PER_S);
	ck_assert_uint_eq(w->nodes[2].start, 200);
	ck_assert_uint_eq(w->nodes[2].end, 400);
	ck_assert_uint_eq(w->etcd.insync.n_members, NODES);
	world_free(w);
}
END_TEST

/* The disk of a follower is full: what was dropped is asked for again later. */
START_TEST(disk_full_at_a_follower)
{
	struct world *w = cluster();

	submit(w, 0, NULL, "a", 1);
	settle(w);
	w->nodes[1].frozen = true;
	submit(w, 0, NULL, "b", 2);
	submit(w, 0, NULL, "c", 3);
	settle(w);
	log_cut(&w->nodes[1], 1);
	drv_disk_full(w->nodes[1].d, 1, chain_at(&w->nodes[1], 1), w->now_ns);
	w->nodes[1].frozen = false;
	run(w, 3 * NS_PER_S);
	expect(w, 0, 3, DRV_ANS_OK, 3);
	all_equal(w, 3);
	world_free(w);
}
END_TEST

/* A table as long as the log allows, of which nothing is known to be committed: commits make room, so one waits. */
START_TEST(a_table_that_waits_for_commits_is_not_full)
{
	struct world *w = cluster();

	for (uintptr_t i = 0; i < 1200; i++) { /* more than dedup_records_max and uncommitted_max */
		char id[16];

		(void)snprintf(id, sizeof id, "%u", (unsigned)i);
		submit(w, 0, id, "x", 1 + i % 50);
		if (i % 50 != 49)
			continue;
		settle(w);
		ck_assert_int_eq(w->nodes[0].n_answers, 50);
		forget_answers(&w->nodes[0]);
	}
	for (int i = 1; i < NODES; i++)
		link_to_all(w, i, false);
	node_restart(w, 0);
	post_views(w);
	run(w, 5 * NS_PER_S);
	ck_assert_int_eq(rep_role(drv_rep(w->nodes[0].d)), REP_ROLE_PRIMARY);
	submit(w, 0, "new", "x", 1);
	expect(w, 0, 1, DRV_ANS_HOLD, 0);
	for (int i = 1; i < NODES; i++)
		link_to_all(w, i, true);
	post_views(w);
	run(w, 3 * NS_PER_S);
	submit(w, 0, "new", "x", 2);
	settle(w);
	expect(w, 0, 2, DRV_ANS_OK, 1201);
	world_free(w);
}
END_TEST

/* --- a node that is told by hand what primaries of later epochs say */

struct voice {
	const char *from;
	struct rep_msg msg;
	struct rep_stretch history[8];
};

/* @from leads @epoch with a log that ends at @end and has this history (pairs of epoch and first record; 0 ends it). */
static struct voice voice_of(struct world *w, const char *from, leash_epoch epoch, leash_seq end,
	const struct rep_stretch *history, uint32_t n_history)
{
	struct voice v = { .from = from,
		.msg = { .type = REP_MSG_LEAD, .epoch = epoch, .run = 0x5000 + epoch, .conn = ++w->conn, .cluster = 0xc1,
			.log_start = 1, .log_end = end, .commit = 1, .n_history = n_history } };

	memcpy(v.history, history, n_history * sizeof *history);
	return v;
}

static void says(struct world *w, int to, struct voice *v)
{
	struct rep_event ev = { .kind = REP_EV_MSG, .now_ns = w->now_ns,
		.msg = { .from = v->from, .link = REP_LINK_IN, .msg = &v->msg } };

	v->msg.history = v->history;
	drv_event(w->nodes[to].d, &ev);
	settle(w);
}

/* ... and that the record behind @seq, with @before as its chain, is one of its own epoch. */
static void sends(struct world *w, int to, struct voice *v, leash_seq seq, struct leash_chain before)
{
	struct rec_body body = { .id_kind = REC_ID_NONE };
	struct bytes pairs[2] = { { (const uint8_t *)"f", 1 }, { (const uint8_t *)"v", 1 } };
	struct rec_header h = { .epoch = v->msg.epoch, .seq = seq + 1, .log_time_ns = 1000 + seq };
	_cleanup_(buf_deinit) struct buf b = BUF_NULL;
	struct rep_msg m = v->msg;
	struct drv_rec *rec;
	struct rep_rec r;

	ck_assert_int_eq(rec_body_encode(&b, &body, 0, pairs, 1), 0);
	h.body_bytes = (uint32_t)buf_len(&b);
	h.body_hash = rec_body_hash((struct bytes){ buf_head(&b), buf_len(&b) });
	rec_header_seal(&h, before);
	rec = drv_rec_new(&h, &(struct rec_ident){ 0 }, (struct bytes){ buf_head(&b), buf_len(&b) });
	ck_assert_ptr_nonnull(rec);
	r = rep_rec_of(rec);
	m.type = REP_MSG_RECORDS;
	m.log_start = 0;
	m.n_history = 0;
	m.history = NULL;
	m.log_end = seq + 1;
	m.recs = &r;
	m.n_recs = 1;
	drv_records(w->nodes[to].d, v->from, REP_LINK_IN, &m, &rec, w->now_ns);
	settle(w);
	drv_rec_unref(rec);
}

/*
 * A log of records of three epochs, read from disk: nothing is cached. It loses its last record to one primary, and
 * the one before that to the next, whose own record at that position comes when the two follow each other already.
 */
START_TEST(a_conflict_at_the_end_behind_a_cut)
{
	static const struct rep_stretch history[] = { { 1, 1 }, { 2, 2 }, { 3, 3 } }, other[] = { { 1, 1 }, { 2, 2 }, { 4, 3 } };
	struct world *w = cluster();
	struct node *n = &w->nodes[2];
	struct voice v;

	submit(w, 0, NULL, "a", 1);
	settle(w);
	link_all(w, false);
	w->cut[0] = w->cut[1] = w->cut[2] = true;
	v = voice_of(w, "S1", 2, 1, history, 1);
	says(w, 2, &v);
	sends(w, 2, &v, 1, chain_at(n, 1));
	v = voice_of(w, "P1", 3, 2, history, 2);
	says(w, 2, &v);
	sends(w, 2, &v, 2, chain_at(n, 2));
	ck_assert_uint_eq(n->end, 3);
	ck_assert_uint_eq(n->log[3]->h.epoch, 3);
	node_restart(w, 2);
	v = voice_of(w, "S1", 4, 3, other, 3);
	says(w, 2, &v);
	ck_assert_uint_eq(n->end, 2); /* its record 3 was of epoch 4 */
	v = voice_of(w, "P1", 5, 1, history, 1);
	says(w, 2, &v);
	ck_assert_uint_eq(n->end, 2); /* a longer log stays */
	sends(w, 2, &v, 1, chain_at(n, 1));
	ck_assert_int_eq(n->n_violations, 0);
	ck_assert_uint_eq(n->end, 1);
	sends(w, 2, &v, 1, chain_at(n, 1)); /* again from there */
	ck_assert_uint_eq(n->end, 2);
	ck_assert_uint_eq(n->log[2]->h.epoch, 5);
	world_free(w);
}
END_TEST

/* Records and the primary's verdict in one turn: what was taken is handed to the log before that sets damage aside. */
START_TEST(nothing_is_appended_behind_what_is_set_aside)
{
	struct world *w = cluster();
	struct node *n = &w->nodes[2];
	struct rep_msg verdict = { .type = REP_MSG_DAMAGED };
	struct rep_event ev = { .kind = REP_EV_MSG, .now_ns = w->now_ns,
		.msg = { .from = "P1", .link = REP_LINK_IN, .msg = &verdict } };

	submit(w, 0, NULL, "a", 1);
	settle(w);
	submit(w, 0, NULL, "b", 2);
	drv_flush(w->nodes[0].d, w->now_ns);
	for (struct post *p = w->head; p; p = p->next) {
		if (p->kind != POST_RECORDS || p->to != 2)
			continue;
		verdict.epoch = p->msg.epoch;
		verdict.run = p->msg.run;
		verdict.conn = p->msg.conn;
		drv_records(n->d, "P1", p->link, &p->msg, p->drv_recs, w->now_ns);
	}
	ck_assert_uint_eq(n->end, 1); /* taken, but not with the log yet */
	ck_assert_uint_eq(rep_log_end(drv_rep(n->d)), 2);
	drv_event(n->d, &ev);
	ck_assert(n->aside);
	ck_assert_uint_eq(n->end, 2);
	drv_flush(n->d, w->now_ns); /* io_append() would complain */
	world_free(w);
}
END_TEST

/*
 * A primary with another record where this node knows one to be committed: refused. Unless an operator has recovered the
 * state from that log (1: etcd says so before the primary comes, 2: after): then this life is over.
 */
START_TEST(below_the_commit_index_only_an_operator_cuts)
{
	static const struct rep_stretch history[] = { { 1, 1 }, { 5, 2 } };
	struct rep_event view = { .kind = REP_EV_VIEW };
	struct world *w = cluster();
	struct node *n = &w->nodes[2];
	struct voice v;

	for (uintptr_t i = 1; i <= 3; i++)
		submit(w, 0, NULL, "a", i);
	run(w, NS_PER_S);
	ck_assert_uint_eq(rep_commit(drv_rep(n->d)), 3);
	w->cut[0] = w->cut[1] = w->cut[2] = true;
	link_all(w, false);
	settle(w); /* they ask etcd in vain */
	w->etcd.revision += 10;
	w->etcd.leader.present = false;
	w->etcd.insync.recovery++;
	w->etcd.insync.version++;
	w->etcd.insync.epoch = 4;
	w->etcd.insync.mod_revision = w->etcd.revision;
	view.view = &w->etcd;
	view.now_ns = w->now_ns;
	if (_i == 1)
		drv_event(n->d, &view);
	settle(w);
	v = voice_of(w, "S1", 5, 2, history, 2);
	says(w, 2, &v);
	ck_assert_uint_eq(n->end, 3);
	ck_assert_int_eq(n->n_violations, _i != 1);
	ck_assert_int_eq(n->n_overruled, _i == 1);
	if (_i == 2) {
		drv_event(n->d, &view);
		settle(w);
	}
	ck_assert_int_eq(n->n_overruled, _i > 0);
	node_restart(w, 2); /* whatever was committed in another life: */
	says(w, 2, &v);
	ck_assert_uint_eq(n->end, 1);
	world_free(w);
}
END_TEST

UNIT_MAIN("driver", {
	tcase_add_test(tc, append_commit_answer);
	tcase_add_test(tc, who_goes_away_is_not_answered);
	tcase_add_test(tc, retries_wait_for_the_commit);
	tcase_add_test(tc, bounds_hold_and_room);
	tcase_add_test(tc, demotion_and_cut);
	tcase_add_test(tc, catch_up_from_the_log);
	tcase_add_test(tc, full_output_goes_on_when_writable);
	tcase_add_test(tc, io_that_calls_back_from_inside);
	tcase_add_test(tc, damaged_chain_is_not_taken);
	tcase_add_test(tc, records_of_a_former_primary_are_no_damage);
	tcase_add_test(tc, records_behind_an_unmatched_tail_are_no_damage);
	tcase_add_test(tc, fresh_copy_after_retention);
	tcase_add_test(tc, retention_overtakes_a_stream);
	tcase_add_test(tc, disk_full_at_a_follower);
	tcase_add_test(tc, a_table_that_waits_for_commits_is_not_full);
	tcase_add_test(tc, a_conflict_at_the_end_behind_a_cut);
	tcase_add_test(tc, nothing_is_appended_behind_what_is_set_aside);
	tcase_add_loop_test(tc, below_the_commit_index_only_an_operator_cuts, 0, 3);
})
