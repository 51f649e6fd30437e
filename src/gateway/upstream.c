#include "gateway/upstream.h"

#include <errno.h>
#include <stdio.h>
#include <utlist.h>

#include "base/clk.h"
#include "base/ids.h"
#include "gateway/diag_gateway.h"
#include "gateway/upstream_int.h"

/*
 * A node that refuses as not primary is not asked again before it says something new of itself, or this time is
 * over: what it said last may have been before it came to lead.
 */
#define DENIED_NS (100 * NS_PER_MS)

/* ------------------------------------------------------------------------------------------------ what nodes say */

static void touch(struct upstream *u)
{
	u->dirty = true;
}

static struct node_link *current(const struct upstream *u)
{
	return u->primary;
}

static bool book_has(const struct book_target *t, const char *node, const char *address)
{
	for (uint32_t i = 0; i < t->n_nodes; i++)
		if (strcmp(t->nodes[i].node, node) == 0)
			return strcmp(t->nodes[i].address, address) == 0;
	return false;
}

/* Tells the book what a node says of itself: the other workers, and perhaps etcd's silence, need it. */
static void tell_book(struct upstream *u, const struct node_link *n)
{
	if (n->role == PEER_ROLE_PRIMARY && n->cluster && n->epoch > u->target.epoch)
		(void)!book_offer(
			u->slot, n->cluster, n->epoch, n->says, link_address(n->link), n->run); /* -ENOMEM: next time */
}

static void on_up(void *ctx, const struct peer_hello *w)
{
	struct node_link *n = ctx;

	n->role = w->role;
	n->cluster = w->cluster;
	n->epoch = w->epoch;
	n->run = w->run;
	n->commit = w->commit;
	n->serving = n->holding = n->told = false;
	n->denied_until_ns = 0;
	n->n_insync = n->min_insync = 0;
	n->limits = (struct pipe_limits){ w->in_flight_messages_max, w->in_flight_bytes_max };
	(void)snprintf(n->says, sizeof n->says, "%s", w->node);
	tell_book(n->up, n);
	touch(n->up);
}

static void on_down(void *ctx)
{
	struct node_link *n = ctx;

	n->role = PEER_ROLE_NONE;
	touch(n->up);
}

static void on_status(void *ctx, const struct peer_status *s)
{
	struct node_link *n = ctx;
	struct upstream *u = n->up;

	n->role = s->role;
	n->epoch = s->epoch;
	n->commit = s->commit;
	n->log_start = s->log_start;
	n->serving = s->serving;
	n->holding = s->holding;
	n->n_insync = s->n_insync;
	n->min_insync = s->min_insync;
	n->denied_until_ns = 0;
	n->told = true;
	if (n->role == PEER_ROLE_PRIMARY && n->cluster == 0) {
		n->role = PEER_ROLE_NONE; /* founded, or joined, since it said hello: of which cluster, the next one tells */
		link_reset(n->link);
	}
	tell_book(u, n);
	/* A node knows of others that etcd has not told us of (yet). */
	if (s->leader[0] && s->leader_address[0] && !book_has(&u->target, s->leader, s->leader_address))
		(void)!book_learn(u->slot, s->leader, s->leader_address);
	touch(u);
}

static void on_result(void *ctx, const struct peer_result *r)
{
	struct node_link *n = ctx;
	struct upstream *u = n->up;

	if (r->status == PEER_ST_NOT_PRIMARY)
		n->denied_until_ns = u->env->now_ns + DENIED_NS;
	pipe_result(u->pipe, link_conn(n->link), r, u->env->now_ns);
	touch(u);
}

static void on_records(void *ctx, const struct peer_records *m, const struct peer_view *views)
{
	struct node_link *n = ctx;

	reads_records(n->up, n, m, views);
	touch(n->up);
}

static void on_info(void *ctx, const struct peer_info_data *m)
{
	struct node_link *n = ctx;

	reads_info(n->up, n, m);
	touch(n->up);
}

static void on_rejected(void *ctx, const char *text)
{
	struct node_link *n = ctx;

	diag_rejected(book_slot_name(n->up->slot), n->node, link_address(n->link), text);
}

static const struct link_ops link_ops = {
	.up = on_up,
	.down = on_down,
	.status = on_status,
	.result = on_result,
	.records = on_records,
	.info = on_info,
	.rejected = on_rejected,
};

/* ------------------------------------------------------------------------------------------------------ connections */

static void node_link_free(struct upstream *u, struct node_link *n)
{
	if (u->primary == n)
		u->primary = NULL;
	link_free(n->link);
	free(n);
}

static struct node_link *node_link_new(struct upstream *u, const struct book_node *b)
{
	struct node_link *n = calloc(1, sizeof *n);

	if (!n)
		return NULL;
	n->up = u;
	memcpy(n->node, b->node, sizeof n->node);
	if (link_new(u->env, book_slot_name(u->slot), b->address, &link_ops, n, &n->link) < 0) {
		free(n);
		return NULL;
	}
	return n;
}


static bool has_link(const struct upstream *u, const char *node)
{
	for (uint32_t i = 0; i < u->n_nodes; i++)
		if (strcmp(u->nodes[i]->node, node) == 0)
			return true;
	return false;
}

/* One connection to each node in the book, at its address. */
static void follow_book(struct upstream *u)
{
	if (!book_read(u->slot, u->target.serial, &u->target))
		return;
	for (uint32_t i = 0; i < u->n_nodes;) {
		if (book_has(&u->target, u->nodes[i]->node, link_address(u->nodes[i]->link))) {
			i++;
			continue;
		}
		node_link_free(u, u->nodes[i]);
		u->nodes[i] = u->nodes[--u->n_nodes];
	}
	for (uint32_t i = 0; i < u->target.n_nodes && u->n_nodes < REP_NODES_MAX; i++) {
		struct node_link *n;

		if (has_link(u, u->target.nodes[i].node))
			continue;
		n = node_link_new(u, &u->target.nodes[i]);
		if (!n) {
			u->target.serial = 0; /* no memory: look again next time */
			return;
		}
		u->nodes[u->n_nodes++] = n;
	}
}

/* --------------------------------------------------------------------------------------------------------- retarget */

static bool may_lead(const struct upstream *u, const struct node_link *n)
{
	const struct book_target *t = &u->target;

	return link_is_up(n->link) && n->role == PEER_ROLE_PRIMARY && n->cluster &&
	       (!t->cluster || t->cluster == n->cluster) && n->epoch >= t->epoch;
}

/* The node that says that it leads, in the highest epoch and none below what is known (R5). */
static struct node_link *choose(struct upstream *u, uint64_t now_ns)
{
	struct node_link *best = NULL;

	u->denied_until_ns = UINT64_MAX;
	for (uint32_t i = 0; i < u->n_nodes; i++) {
		struct node_link *n = u->nodes[i];

		if (!may_lead(u, n))
			continue;
		if (now_ns < n->denied_until_ns) {
			u->denied_until_ns = MIN2(u->denied_until_ns, n->denied_until_ns);
			continue;
		}
		if (!best || n->epoch > best->epoch)
			best = n;
	}
	return best;
}

static void lost(struct upstream *u, uint64_t now_ns)
{
	u->primary = NULL;
	pipe_detach(u->pipe);
	reads_requeue(u);
	if (!u->attached)
		return;
	u->attached = false;
	if (book_detached(u->slot, now_ns))
		diag_no_primary(book_slot_name(u->slot), u->attached_node, u->attached_epoch);
}

static void found(struct upstream *u, struct node_link *n, uint64_t now_ns)
{
	struct book_counters *c = book_slot_counters(u->slot);
	uint64_t pause_ns;

	if (n->epoch != u->attached_epoch || strcmp(n->says, u->attached_node) != 0)
		atomic_fetch_add_explicit(&c->retargets, 1, memory_order_relaxed);
	if (book_attached(u->slot, n->epoch, u->attached, now_ns, &pause_ns))
		diag_new_primary(book_slot_name(u->slot), n->says, n->epoch, pause_ns / NS_PER_MS);
	u->attached = true;
	u->attached_epoch = n->epoch;
	memcpy(u->attached_node, n->says, sizeof u->attached_node);
}

/* Reads may be the later parts of what the former cluster began to answer: two logs must not be shown as one. */
static void other_cluster(struct upstream *u, uint64_t now_ns)
{
	lost(u, now_ns);
	reads_give_up(u);
	pipe_forsake(u->pipe);
	if (u->engine)
		front_engine_anew(u->engine);
}

static void retarget(struct upstream *u, uint64_t now_ns)
{
	struct node_link *best = choose(u, now_ns);

	if (!best) {
		if (u->primary || u->attached || pipe_conn(u->pipe))
			lost(u, now_ns);
		return;
	}
	if (u->cluster && best->cluster != u->cluster)
		other_cluster(u, now_ns);
	u->cluster = best->cluster;
	if (best != u->primary || link_conn(best->link) != pipe_conn(u->pipe)) {
		reads_requeue(u);
		u->primary = best;
	}
	if (!u->attached || best->epoch != u->attached_epoch || strcmp(best->says, u->attached_node) != 0)
		found(u, best, now_ns);
	if (link_conn(best->link) != pipe_conn(u->pipe) || pipe_blocked(u->pipe))
		pipe_attach(u->pipe, link_conn(best->link), &best->limits);
	pipe_status(u->pipe, link_conn(best->link), best->holding, best->commit, best->n_insync,
		best->min_insync, now_ns);
}

static void tell_front(struct upstream *u)
{
	const struct node_link *n = current(u);

	if (!n || !u->engine || !n->told)
		return;
	front_engine_replicas(u->engine, n->n_insync > 0 ? n->n_insync - 1 : 0);
	if (n->serving)
		front_engine_committed(u->engine, n->commit);
}

/* ------------------------------------------------------------------------------------------------------------ pipe */

static void on_submit(void *ctx, uint64_t token, struct bytes body)
{
	struct upstream *u = ctx;
	struct peer_submit m = { .token = token, .body = body };

	must(u->primary && link_conn(u->primary->link) == pipe_conn(u->pipe));
	/* Without memory for it, the connection is of no use; what was sent or not is found out on the next. */
	if (peer_submit_encode(link_out(u->primary->link), &m) < 0)
		link_reset(u->primary->link);
	else
		link_filled(u->primary->link);
}

static void on_answer(void *ctx _unused_, void *waiter, enum peer_status_code status, leash_seq seq)
{
	struct front_op *op = waiter;

	op->backend = NULL;
	front_append_done(op, status, seq);
}

static leash_id on_random_id(void *ctx _unused_)
{
	return id_random();
}

static const struct pipe_ops pipe_ops = {
	.submit = on_submit, .answer = on_answer, .random_id = on_random_id
};

/* An append's op->backend: its token, odd so that it is told from a read's pointer. */
static void *token_pack(uint64_t token)
{
	return (void *)(uintptr_t)(token << 1 | 1);
}

static enum peer_status_code append_status(int error)
{
	return error == -EMSGSIZE ? PEER_ST_TOO_BIG : error == -EINVAL ? PEER_ST_INVALID : PEER_ST_HOLD;
}

void upstream_append(struct upstream *u, struct front_op *op, const struct rec_body *b,
	const struct bytes *pairs, uint32_t n_pairs, uint64_t now_ns)
{
	uint64_t token;
	int r = pipe_append(u->pipe, b, pairs, n_pairs, op, now_ns, &token);

	if (r < 0) {
		front_append_done(op, append_status(r), 0);
		return;
	}
	op->backend = token_pack(token);
	u->appends++;
	touch(u);
}

bool upstream_room(struct upstream *u)
{
	bool room = pipe_has_room(u->pipe);

	u->full |= !room;
	return room;
}

void upstream_cancel(struct upstream *u, struct front_op *op)
{
	uintptr_t packed = (uintptr_t)op->backend;

	if (packed & 1)
		pipe_forget(u->pipe, packed >> 1);
	else if (packed)
		reads_cancel(u, op->backend);
	op->backend = NULL;
}

/* ------------------------------------------------------------------------------------------------------------ turns */

static void count_gauge(_Atomic int64_t *gauge, int64_t *last, int64_t now)
{
	if (now != *last)
		atomic_fetch_add_explicit(gauge, now - *last, memory_order_relaxed);
	*last = now;
}

static void count_up(_Atomic uint64_t *counter, uint64_t last, uint64_t now)
{
	if (now != last)
		atomic_fetch_add_explicit(counter, now - last, memory_order_relaxed);
}

static void count(struct upstream *u)
{
	struct book_counters *c = book_slot_counters(u->slot);
	struct pipe_stats s;

	pipe_get_stats(u->pipe, &s);
	count_up(&c->appends, 0, TAKE(u->appends));
	count_up(&c->replays, u->counted.replays, s.replays);
	count_up(&c->dedup_hits, u->counted.dedup_hits, s.dedup_hits);
	count_up(&c->in_doubt, u->counted.in_doubt, s.in_doubt);
	count_up(&c->refused_holding, u->counted.refused_holding, s.refused_holding);
	u->counted = s;
	count_gauge(&c->in_flight, &u->in_flight, s.queued);
	count_gauge(&c->held, &u->held, s.queued > s.out ? (int64_t)(s.queued - s.out) : 0);
}

void upstream_pump(struct upstream *u, uint64_t now_ns)
{
	u->dirty = false;
	follow_book(u);
	retarget(u, now_ns);
	if (pipe_stuck(u->pipe, now_ns) && u->primary)
		link_reset(u->primary->link);
	pipe_pump(u->pipe, now_ns);
	tell_front(u);
	reads_pump(u, now_ns);
	if (u->full && pipe_has_room(u->pipe)) {
		u->full = false;
		front_engine_room(u->engine);
	}
	if (u->primary)
		link_flush(u->primary->link);
	count(u);
}

void upstream_look(struct upstream *u)
{
	if (book_serial(u->slot) != u->target.serial)
		touch(u);
}

bool upstream_wants_pump(const struct upstream *u)
{
	return u->dirty;
}

uint64_t upstream_wakeup_ns(const struct upstream *u)
{
	uint64_t wakeup_ns = MIN2(pipe_wakeup_ns(u->pipe), reads_wakeup_ns(u));

	return MIN2(wakeup_ns, u->denied_until_ns);
}

void upstream_give_up(struct upstream *u)
{
	pipe_give_up(u->pipe);
	reads_give_up(u);
	count(u);
}

/* ------------------------------------------------------------------------------------------------------------- life */

int upstream_new(const struct upstream_conf *conf, struct book_slot *slot, struct upstream **ret_up)
{
	struct upstream *u = calloc(1, sizeof *u);

	if (!u)
		return -ENOMEM;
	if (pipe_new(&conf->pipe, &pipe_ops, u, &u->pipe) < 0) {
		free(u);
		return -ENOMEM;
	}
	u->env = conf->env;
	u->slot = book_slot_ref(slot);
	u->hold_timeout_ns = conf->pipe.hold_timeout_ns;
	u->denied_until_ns = UINT64_MAX;
	u->dirty = true;
	*ret_up = u;
	return 0;
}

void upstream_free(struct upstream *u, uint64_t now_ns)
{
	if (!u)
		return;
	must(!u->waiting && !u->sent);
	if (u->attached)
		(void)book_detached(u->slot, now_ns); /* it leaves its primary, not the other way round: no word of it */
	while (u->n_nodes)
		node_link_free(u, u->nodes[--u->n_nodes]);
	pipe_free(u->pipe);
	u->pipe = NULL;
	count_gauge(&book_slot_counters(u->slot)->in_flight, &u->in_flight, 0);
	count_gauge(&book_slot_counters(u->slot)->held, &u->held, 0);
	book_slot_unref(u->slot);
	free(u);
}

void upstream_set_engine(struct upstream *u, struct front_engine *engine)
{
	u->engine = engine;
}

void upstream_set_hold_timeout(struct upstream *u, uint64_t hold_timeout_ns)
{
	u->hold_timeout_ns = hold_timeout_ns;
	pipe_set_hold_timeout(u->pipe, hold_timeout_ns);
	touch(u);
}

struct book_slot *upstream_slot(const struct upstream *u)
{
	return u->slot;
}

bool upstream_primary(const struct upstream *u, leash_seq *ret_commit)
{
	if (!u->primary)
		return false;
	*ret_commit = u->primary->commit;
	return true;
}

uint32_t upstream_replicas(const struct upstream *u, struct front_replica *ret_replicas, uint32_t max)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < u->n_nodes && n < max; i++) {
		const struct node_link *l = u->nodes[i];

		if (l == u->primary || !link_is_up(l->link) || l->role != PEER_ROLE_SECONDARY)
			continue;
		(void)snprintf(
			ret_replicas[n].address, sizeof ret_replicas[n].address, "%s", link_address(l->link));
		ret_replicas[n++].offset = l->commit;
	}
	return n;
}
