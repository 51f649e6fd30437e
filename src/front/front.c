#include "front/front.h"

#include <errno.h>

#include "base/ids.h"
#include "front/front_int.h"

int front_new(const struct front_conf *conf, const struct front_ops *ops, void *ctx, uint64_t now_ns,
	struct front **ret_front)
{
	struct front *f;

	if (conf->clients_max == 0 || conf->in_flight_max == 0 || conf->out_bytes_max == 0 ||
		conf->in_flight_bytes_max == 0 || conf->record_bytes_max < REC_HEADER_BYTES + REC_BODY_BYTES_MIN)
		return -EINVAL;
	f = calloc(1, sizeof *f);
	if (!f)
		return -ENOMEM;
	f->conf = *conf;
	f->ops = *ops;
	f->ctx = ctx;
	f->now_ns = f->started_ns = now_ns;
	if (timer_reserve(f, conf->clients_max) < 0) {
		free(f);
		return -ENOMEM;
	}
	*ret_front = f;
	return 0;
}

void front_free(struct front *f)
{
	struct front_engine *e, *next;
	struct op *op;

	if (!f)
		return;
	while (f->clients)
		front_client_free(f->clients);
	HASH_ITER(hh, f->engines, e, next) {
		front_engine_remove(e);
	}
	while ((op = f->spare)) {
		f->spare = op->next;
		free(op);
	}
	buf_deinit(&f->scrap);
	free(f->timers);
	free(f);
}

void front_set_record_bytes_max(struct front *f, uint32_t record_bytes_max)
{
	f->conf.record_bytes_max = record_bytes_max;
}

uint32_t front_clients(const struct front *f)
{
	return f->stats.clients;
}

void front_stats(const struct front *f, struct front_stats *ret_stats)
{
	*ret_stats = f->stats;
	ret_stats->blocked = 0;
	for (const struct front_client *c = f->clients; c; c = c->next)
		ret_stats->blocked += c->exclusive && query_waits(c->exclusive);
}

/* ------------------------------------------------------------------------------------------------------- engines */

int front_engine_add(struct front *f, const char *name, void *backend, struct front_engine **ret_engine)
{
	struct front_engine *e;

	if (!name_valid(name))
		return -EINVAL;
	HASH_FIND_STR(f->engines, name, e);
	if (e)
		return -EEXIST;
	if (HASH_COUNT(f->engines) >= FRONT_ENGINES_MAX)
		return -ENOBUFS;
	e = calloc(1, sizeof *e);
	if (!e)
		return -ENOMEM;
	e->front = f;
	e->backend = backend;
	e->name_bytes = strlen(name);
	memcpy(e->name, name, e->name_bytes + 1);
	HASH_ADD_STR(f->engines, name, e);
	*ret_engine = e;
	return 0;
}

void front_engine_remove(struct front_engine *e)
{
	struct front *f = e->front;

	for (struct front_client *c = f->clients; c; c = c->next) {
		if (c->last_engine == e)
			c->last_engine = NULL;
		for (struct op *op = c->head; op; op = op->next) {
			must(op->pub.engine != e || !op->at_backend);
			query_forget(op, e);
		}
	}
	must(!e->waiters);
	HASH_DEL(f->engines, e);
	free(e);
}

const char *front_engine_name(const struct front_engine *e)
{
	return e->name;
}

void *front_engine_backend(const struct front_engine *e)
{
	return e->backend;
}

struct front_engine *front_engine_find(struct front *f, struct bytes name)
{
	struct front_engine *e;

	HASH_FIND(hh, f->engines, name.p, name.len, e);
	return e;
}

static void wake_waiter(struct waiter *w)
{
	w->op->ready = true;
	client_wake(w->op->client);
}

void front_engine_committed(struct front_engine *e, leash_seq commit)
{
	struct waiter *w;

	if (commit <= e->commit)
		return;
	e->commit = commit;
	DL_FOREACH(e->waiters, w) {
		if (w->after < commit)
			wake_waiter(w);
	}
}

void front_engine_anew(struct front_engine *e)
{
	struct waiter *w;

	e->commit = 0;
	DL_FOREACH(e->waiters, w) {
		if (w->from_end)
			w->after = 0;
	}
}

void front_engine_replicas(struct front_engine *e, uint32_t n_replicas)
{
	struct front *f = e->front;

	if (e->n_replicas == n_replicas)
		return;
	e->n_replicas = n_replicas;
	for (struct front_client *c = f->clients; c; c = c->next) {
		if (c->exclusive && query_waits(c->exclusive)) {
			c->exclusive->ready = true;
			client_wake(c);
		}
	}
}

void front_engine_room(struct front_engine *e)
{
	for (struct front_client *c = e->front->clients; c; c = c->next) {
		if (c->no_room) {
			c->no_room = false;
			client_wake(c);
		}
	}
}

/* ---------------------------------------------------------------------------------------------------------- time */

uint64_t front_wakeup_ns(const struct front *f)
{
	return f->n_timers ? f->timers[0]->deadline_ns : UINT64_MAX;
}

void front_tick(struct front *f, uint64_t now_ns)
{
	f->now_ns = MAX2(f->now_ns, now_ns);
	while (f->n_timers && f->timers[0]->deadline_ns <= f->now_ns) {
		struct front_client *c = f->timers[0];

		timer_set(c, UINT64_MAX);
		if (c->exclusive)
			query_timeout(c->exclusive);
	}
}

/* ------------------------------------------------------------------------------------------------------- clients */

static void copy_text(char *to, size_t size, const char *from)
{
	size_t n = from ? strnlen(from, size - 1) : 0;

	if (n)
		memcpy(to, from, n);
	to[n] = '\0';
}

int front_client_new(struct front *f, const struct front_peer *peer, void *user, uint64_t now_ns,
	struct front_client **ret_client)
{
	struct front_client *c;

	if (f->stats.clients >= f->conf.clients_max) {
		f->stats.clients_refused++;
		return -EMFILE;
	}
	c = calloc(1, sizeof *c);
	if (!c)
		return -ENOMEM;
	c->front = f;
	c->user = user;
	c->id = ++f->next_id;
	c->since_ns = c->active_ns = now_ns;
	c->fd = peer->fd;
	c->control = peer->control;
	copy_text(c->address, sizeof c->address, peer->address);
	copy_text(c->local_address, sizeof c->local_address, peer->local_address);
	c->version = 2;
	c->last_command = "NULL";
	c->deadline_ns = UINT64_MAX;
	resp_parser_init(&c->parser, (struct resp_limits){
		.command_bytes_max = 2 * (size_t)f->conf.record_bytes_max + RESP_INLINE_BYTES_MAX,
		.args_max = RESP_ARGS_MAX,
	});
	DL_APPEND(f->clients, c);
	f->stats.clients++;
	f->stats.clients_total++;
	*ret_client = c;
	return 0;
}

void front_client_free(struct front_client *c)
{
	struct front *f;

	if (!c)
		return;
	f = c->front;
	timer_set(c, UINT64_MAX);
	for (struct op *op = c->head, *next; op; op = next) {
		next = op->next;
		if (op->at_backend)
			f->ops.cancel(f->ctx, &op->pub);
		query_free(op);
		buf_deinit(&op->reply);
		free(op);
	}
	resp_parser_deinit(&c->parser);
	buf_deinit(&c->in);
	buf_deinit(&c->out);
	DL_DELETE(f->clients, c);
	f->stats.clients--;
	free(c);
}

struct buf *front_client_in(struct front_client *c)
{
	return &c->in;
}

struct buf *front_client_out(struct front_client *c)
{
	return &c->out;
}

void *front_client_user(const struct front_client *c)
{
	return c->user;
}
