/* What a worker tells in INFO and ROLE. Counters are of all workers. */
#include <inttypes.h>

#include "gateway/worker_int.h"

static bool wants(const char *section, const char *name)
{
	return section[0] == '\0' || strcmp(section, name) == 0;
}

#define say(out, ...) (void)!buf_printf(out, __VA_ARGS__) /* without memory INFO is shorter */

static uint64_t load(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit((_Atomic uint64_t *)counter, memory_order_relaxed);
}

static void engine_line(struct buf *out, size_t i, struct book_slot *s)
{
	struct book_counters *c = book_slot_counters(s);
	struct book_target t;

	(void)book_read(s, 0, &t);
	say(out, "engine%zu:name=%s,primary=%s,address=%s,epoch=%" PRIu64 ",nodes=%" PRIu32, i,
		book_slot_name(s), t.node, t.address, t.epoch, t.n_nodes);
	say(out, ",retargets=%" PRIu64 ",appends=%" PRIu64 ",in_flight=%" PRId64 ",held=%" PRId64,
		load(&c->retargets), load(&c->appends),
		atomic_load_explicit(&c->in_flight, memory_order_relaxed),
		atomic_load_explicit(&c->held, memory_order_relaxed));
	say(out, ",replays=%" PRIu64 ",dedup_hits=%" PRIu64 ",in_doubt=%" PRIu64 ",refused=%" PRIu64 "\r\n",
		load(&c->replays), load(&c->dedup_hits), load(&c->in_doubt), load(&c->refused_holding));
}

void report_info(void *ctx, const char *section, struct buf *out)
{
	struct worker *w = ctx;

	if (wants(section, "gateway"))
		say(out,
			"# Gateway\r\nworkers:%" PRIu32 "\r\ngateway_clients:%" PRIu32
			"\r\netcd_connected:%d\r\n"
			"hold_timeout_ms:%" PRIu64 "\r\n\r\n",
			w->crew->n_workers, atomic_load(&w->crew->n_clients),
			atomic_load(&w->crew->etcd_connected), w->hold_timeout_ns / 1000000);
	if (!wants(section, "engines"))
		return;
	say(out, "# Engines\r\nengines:%zu\r\n", w->n_ups);
	for (size_t i = 0; i < w->n_ups; i++)
		engine_line(out, i, upstream_slot(w->ups[i]));
	say(out, "\r\n");
}

/* Who writes here writes to a master, whatever happens behind it; offset and replicas are of the first engine. */
void report_role(void *ctx, struct front_role *ret_role)
{
	struct worker *w = ctx;

	ret_role->master = true;
	if (w->n_ups == 0)
		return;
	(void)upstream_primary(w->ups[0], &ret_role->offset);
	ret_role->n_replicas = upstream_replicas(w->ups[0], ret_role->replicas, FRONT_REPLICAS_MAX);
}
