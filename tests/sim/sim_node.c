/* A node's process and disk: does what the state machine asks for. */
#include "tests/sim/sim_int.h"

#include <inttypes.h>
#include <stdio.h>

static leash_id random_id(struct sim *s)
{
	leash_id id = sim_rand(s);

	return id ? id : 1;
}

/* ------------------------------------------------------------------------------------------------------------- disk */

static uint32_t history_of(const struct simnode *n, struct rep_stretch *out, uint32_t max)
{
	uint32_t k = 0;

	for (leash_seq q = n->disk.start; q <= n->disk.end; q++) {
		if (k && out[k - 1].epoch == n->disk.log[q].rec.epoch)
			continue;
		must(k < max);
		out[k++] = (struct rep_stretch){ .epoch = n->disk.log[q].rec.epoch, .first = q };
	}
	return k;
}

void simnode_kick_disk(struct sim *s, int i)
{
	struct simnode *n = &s->nodes[i];
	uint64_t ns = MS / 5 + sim_below(s, MS);

	if (n->op_busy || n->op_head == n->op_tail || n->disk_frozen)
		return;
	n->op_busy = true;
	if (s->swarming && sim_chance(s, 0.002))
		ns += sim_below(s, 1500 * MS);
	(void)sim_timer(s, ns, T_LOGOP, i, 0);
}

static void push_op(struct sim *s, int i, struct logop op)
{
	struct simnode *n = &s->nodes[i];
	struct logop *last = &n->ops[(n->op_tail + LOGOPS_MAX - 1) % LOGOPS_MAX];

	/* Group commit: what has queued up behind an operation under way becomes one sync. */
	if (op.kind == LOGOP_SYNC && n->op_tail - n->op_head > (n->op_busy ? 1u : 0u) && last->kind == LOGOP_SYNC) {
		last->seq = op.seq;
		return;
	}
	must(n->op_tail - n->op_head < LOGOPS_MAX);
	n->ops[n->op_tail++ % LOGOPS_MAX] = op;
	simnode_kick_disk(s, i);
}

static void put_record(struct sim *s, int i, const struct simrec *rec)
{
	struct simnode *n = &s->nodes[i];

	must(rec->rec.seq == n->disk.end + 1 && rec->rec.seq < SIM_LOG_MAX);
	n->disk.log[rec->rec.seq] = *rec;
	n->disk.end = rec->rec.seq;
	(void)s;
}

/* The damaged record and what lies behind it leave the log. */
static void lose_damaged(struct simnode *n)
{
	if (n->damage_first == 0 || n->damage_first > n->disk.end) {
		n->damage_first = 0;
		return;
	}
	n->lost_end = MAX2(n->lost_end, n->disk.synced);
	n->disk.end = n->damage_first - 1;
	if (n->disk.start > n->disk.end + 1)
		n->disk.start = n->disk.end + 1;
	n->disk.synced = MIN2(n->disk.synced, n->disk.end);
	n->commit_seen = MIN2(n->commit_seen, n->disk.end);
	n->damage_first = 0;
}

void simnode_logop_done(struct sim *s, int i)
{
	struct simnode *n = &s->nodes[i];
	struct logop op = n->ops[n->op_head++ % LOGOPS_MAX];
	struct rep_event ev = { .now_ns = s->now_ns };

	n->op_busy = false;
	switch (op.kind) {
	case LOGOP_SYNC:
		n->disk.synced = MAX2(n->disk.synced, MIN2(op.seq, n->disk.end));
		ev.kind = REP_EV_DURABLE;
		ev.seq = op.seq;
		break;
	case LOGOP_META:
		op.meta.incarnation = n->disk.meta.incarnation; /* only setting damage aside changes it */
		n->disk.meta = op.meta;
		ev.kind = REP_EV_META;
		ev.ticket = op.ticket;
		break;
	case LOGOP_CUT:
	case LOGOP_RESET:
		n->disk.synced = n->disk.end; /* the memory image was cut at once; nothing was appended since */
		ev.kind = REP_EV_CUT;
		ev.seq = op.seq;
		break;
	case LOGOP_ASIDE:
		lose_damaged(n);
		n->disk.meta.incarnation = random_id(s);
		n->disk.meta.log_epoch = n->disk.meta.log_matched = 0;
		ev.kind = REP_EV_INCARNATION;
		ev.incarnation.incarnation = n->disk.meta.incarnation;
		ev.incarnation.end = n->disk.end;
		break;
	}
	simnode_kick_disk(s, i);
	simnode_feed(s, i, &ev);
}

/* --------------------------------------------------------------------------------------------------------- actions */

static void note(struct sim *s, int i, const struct rep_note *note)
{
	s->nodes[i].notes[note->kind]++;
	sim_say(s, i, "%s%s%s epoch %" PRIu64 " seq %" PRIu64 "%s%s", rep_note_text(note->kind), note->node[0] ? " " : "",
		note->node, note->epoch, note->seq, note->text ? ": " : "", note->text ? note->text : "");
	if (note->kind == REP_NOTE_VIOLATION)
		sim_broken(s, "%s: %s", s->nodes[i].name, note->text);
	if (note->kind == REP_NOTE_HALTED && s->swarming) /* no random fault takes etcd back in time */
		sim_broken(s, "%s stands aside: %s", s->nodes[i].name, note->text);
	if (note->kind == REP_NOTE_PRIMARY) {
		s->stats.takeovers++;
		simcheck_epoch(s, i, note->epoch, s->nodes[i].run);
	}
}

static void start_stream(struct sim *s, int i, const struct rep_action *a, bool active)
{
	struct stream *st = &s->nodes[i].streams[sim_index(s, a->node)];

	st->active = active;
	st->next = a->seq;
}

static void act(struct sim *s, int i, const struct rep_action *a, const struct simrec *recs)
{
	struct simnode *n = &s->nodes[i];

	switch (a->kind) {
	case REP_ACT_META:
		push_op(s, i, (struct logop){ .kind = LOGOP_META, .ticket = a->ticket, .meta = a->meta });
		break;
	case REP_ACT_SEND: simnet_send(s, i, a->node, a->link, &a->msg, NULL); break;
	case REP_ACT_STREAM: start_stream(s, i, a, true); break;
	case REP_ACT_STOP: start_stream(s, i, a, false); break;
	case REP_ACT_ACCEPT:
		for (uint32_t k = 0; k < a->count; k++)
			put_record(s, i, &recs[a->first + k]);
		push_op(s, i, (struct logop){ .kind = LOGOP_SYNC, .seq = n->disk.end });
		break;
	case REP_ACT_TRUNCATE:
		must(a->seq < n->disk.end);
		n->disk.end = a->seq;
		n->disk.synced = MIN2(n->disk.synced, a->seq);
		push_op(s, i, (struct logop){ .kind = LOGOP_CUT, .seq = a->seq });
		break;
	case REP_ACT_RESET:
		n->disk.start = a->seq;
		n->disk.end = n->disk.synced = a->seq - 1;
		push_op(s, i, (struct logop){ .kind = LOGOP_RESET, .seq = a->seq - 1 });
		break;
	case REP_ACT_TXN: simetcd_txn(s, i, &a->txn); break;
	case REP_ACT_READ: simetcd_read(s, i, false); break;
	case REP_ACT_PROBE: simetcd_read(s, i, true); break;
	case REP_ACT_COMMIT:
		simcheck_commit(s, i, a->seq);
		simclient_commit(s, i, a->seq);
		break;
	case REP_ACT_DEMOTED: simclient_lost(s, i); break;
	case REP_ACT_RELEASED: simclient_room(s, i); break;
	case REP_ACT_DAMAGED: push_op(s, i, (struct logop){ .kind = LOGOP_ASIDE }); break;
	case REP_ACT_ANNOUNCE: simetcd_announce(s, i); break;
	case REP_ACT_NOTE: note(s, i, &a->note); break;
	}
}

static void pump(struct sim *s, int i)
{
	struct simnode *n = &s->nodes[i];

	for (int k = 0; k < s->n; k++) {
		struct stream *st = &n->streams[k];
		leash_seq limit = rep_stream_limit(n->rep);

		while (st->active && s->conns[i][k].up && st->next <= limit && st->next >= n->disk.start) {
			struct simrec recs[SIM_STREAM_BATCH];
			struct rep_msg m;

			rep_fill_records(n->rep, s->nodes[k].name, &m);
			for (; m.n_recs < SIM_STREAM_BATCH && st->next <= limit; st->next++)
				recs[m.n_recs++] = n->disk.log[st->next];
			simnet_send(s, i, s->nodes[k].name, REP_LINK_OUT, &m, recs);
		}
	}
}

/* A client's record that the state machine has accepted. */
void simnode_append(struct sim *s, int i, const struct simrec *rec)
{
	put_record(s, i, rec);
	push_op(s, i, (struct logop){ .kind = LOGOP_SYNC, .seq = rec->rec.seq });
	pump(s, i);
}

static void take_actions(struct sim *s, int i, const struct simrec *recs)
{
	const struct rep_action *a;

	while ((a = rep_action(s->nodes[i].rep)))
		act(s, i, a, recs);
	pump(s, i);
	simcheck_step(s, i);
}

void simnode_feed(struct sim *s, int i, struct rep_event *ev)
{
	struct simnode *n = &s->nodes[i];
	struct simrec recs[SIM_STREAM_BATCH];
	struct rep_rec metas[SIM_STREAM_BATCH];
	struct rep_msg m;

	if (!n->up)
		return;
	ev->now_ns = s->now_ns;
	if (ev->kind == REP_EV_MSG && ev->msg.msg->n_recs) { /* recs arrive as simrec: see simnet */
		m = *ev->msg.msg;
		memcpy(recs, m.recs, m.n_recs * sizeof *recs);
		for (uint32_t k = 0; k < m.n_recs; k++)
			metas[k] = recs[k].rec;
		m.recs = metas;
		ev->msg.msg = &m;
	}
	rep_step(n->rep, ev);
	take_actions(s, i, recs);
}

/* ---------------------------------------------------------------------------------------------------------- process */

static struct rep_conf conf_of(struct sim *s, int i)
{
	struct rep_conf c = { .run = random_id(s), .fresh_cluster = random_id(s), .min_insync = s->opts.min_insync,
		.dedup_window = s->opts.dedup_window, .dedup_records_max = s->opts.dedup_window, .uncommitted_max = 4096,
		.topology = s->opts.topology, .failure_timeout_ns = 1000 * MS, .heartbeat_ns = 50 * MS };

	(void)snprintf(c.node, sizeof c.node, "%s", s->nodes[i].name);
	(void)snprintf(c.address, sizeof c.address, "%s:1", s->nodes[i].name);
	c.n_founders = (uint32_t)s->n;
	for (int k = 0; k < s->n; k++)
		(void)snprintf(c.founders[k], sizeof c.founders[k], "%s", s->nodes[k].name);
	return c;
}

void simnode_start(struct sim *s, int i)
{
	struct simnode *n = &s->nodes[i];
	struct rep_stretch hist[4096];
	struct rep_conf c = conf_of(s, i);
	struct rep_log log;

	must(!n->up);
	if (!n->disk.exists) {
		struct simrec *keep = n->disk.log;

		n->disk = (struct simdisk_state){ .exists = true, .start = 1, .log = keep };
		n->disk.meta.incarnation = random_id(s);
	}
	n->disk.synced = n->disk.end; /* opening syncs before it calls anything durable (R11) */
	log = (struct rep_log){ .start = n->disk.start, .end = n->disk.end, .history = hist,
		.log_time_ns = n->disk.end >= n->disk.start ? n->disk.log[n->disk.end].rec.log_time_ns : 0 };
	log.n_history = history_of(n, hist, ARRAY_SIZE(hist));
	n->life++;
	n->run = c.run;
	must(rep_new(&c, &n->disk.meta, &log, s->now_ns, &n->rep) == 0);
	for (leash_seq q = rep_replay_from(n->rep); q <= n->disk.end; q++)
		rep_replay(n->rep, &n->disk.log[q].rec);
	n->up = true;
	n->paused = false;
	n->commit_seen = 0;
	n->lease = 0;
	n->announce_busy = n->read_busy = n->watch_busy = n->op_busy = n->announce_again = false;
	n->op_head = n->op_tail = 0;
	memset(n->streams, 0, sizeof n->streams);
	sim_say(s, i, "starts: log end %" PRIu64 ", promise %" PRIu64, n->disk.end, n->disk.meta.promise);
	for (int k = 0; k < s->n; k++) {
		if (k == i)
			continue;
		simnet_dial(s, i, k, MS);
		simnet_dial(s, k, i, MS);
	}
	simetcd_node_started(s, i);
	(void)sim_timer(s, 10 * MS, T_TICK, i, 0);
}

/* kill -9 and the loss of what was not synced: any prefix of it may have reached the disk. */
void simnode_stop(struct sim *s, int i)
{
	struct simnode *n = &s->nodes[i];

	must(n->up);
	if (n->disk.end > n->disk.synced)
		n->disk.end = n->disk.synced + sim_below(s, n->disk.end - n->disk.synced + 1);
	if (n->op_busy && n->ops[n->op_head % LOGOPS_MAX].kind == LOGOP_META && sim_chance(s, 0.5)) {
		leash_id incarnation = n->disk.meta.incarnation;

		n->disk.meta = n->ops[n->op_head % LOGOPS_MAX].meta;
		n->disk.meta.incarnation = incarnation;
	}
	n->damage_first = 0; /* not found yet by the next life, and so of no consequence to it */
	rep_free(n->rep);
	n->rep = NULL;
	n->up = n->paused = false;
	n->life++;
	n->n_waiters = 0;
	sim_unstash(s, i);
	for (int k = 0; k < s->n; k++) {
		if (k == i)
			continue;
		simnet_drop(s, k, i);
		simnet_drop(s, i, k);
	}
	sim_say(s, i, "dies: log end %" PRIu64, n->disk.end);
}

void simnode_timer(struct sim *s, struct timer *t)
{
	struct simnode *n = &s->nodes[t->a];
	struct rep_event ev = { .kind = REP_EV_TICK };
	uint64_t wake_ns;

	if (t->life != n->life)
		return;
	if (t->kind == T_LOGOP) {
		if (n->disk_frozen) {
			(void)sim_timer(s, 20 * MS, T_LOGOP, t->a, 0);
			return;
		}
		simnode_logop_done(s, t->a);
		return;
	}
	simnode_feed(s, t->a, &ev);
	wake_ns = rep_wakeup_ns(n->rep);
	(void)sim_timer(s, wake_ns > s->now_ns + MS ? MIN2(wake_ns - s->now_ns, 50 * MS) : MS, T_TICK, t->a, 0);
}

/* ------------------------------------------------------------------------------------------------- what tests call */

void sim_crash(struct sim *s, const char *node) { simnode_stop(s, sim_index(s, node)); }
void sim_start(struct sim *s, const char *node) { simnode_start(s, sim_index(s, node)); }

void sim_pause(struct sim *s, const char *node)
{
	s->nodes[sim_index(s, node)].paused = true;
	sim_say(s, sim_index(s, node), "is paused");
}

void sim_resume(struct sim *s, const char *node)
{
	s->nodes[sim_index(s, node)].paused = false;
	sim_unstash(s, sim_index(s, node));
	sim_say(s, sim_index(s, node), "goes on");
}

void sim_wipe(struct sim *s, const char *node)
{
	struct simnode *n = &s->nodes[sim_index(s, node)];

	must(!n->up);
	n->disk.exists = false;
	n->disk.end = n->disk.synced = 0;
	sim_say(s, sim_index(s, node), "loses its data directory");
}

void sim_freeze_disk(struct sim *s, const char *node, bool frozen)
{
	s->nodes[sim_index(s, node)].disk_frozen = frozen;
	simnode_kick_disk(s, sim_index(s, node));
}

void sim_disk_full(struct sim *s, const char *node)
{
	struct simnode *n = &s->nodes[sim_index(s, node)];
	struct rep_event ev = { .kind = REP_EV_FULL, .seq = n->disk.synced };

	n->disk.end = n->disk.synced;
	for (uint32_t k = n->op_head; k != n->op_tail; k++)
		n->ops[k % LOGOPS_MAX].seq = MIN2(n->ops[k % LOGOPS_MAX].seq, n->disk.end);
	sim_say(s, sim_index(s, node), "finds its disk full: log end %" PRIu64, n->disk.end);
	simnode_feed(s, sim_index(s, node), &ev);
}

struct image {
	struct simdisk_state disk;
	struct simrec log[];
};

void *sim_image(struct sim *s, const char *node)
{
	const struct simnode *n = &s->nodes[sim_index(s, node)];
	struct image *im = malloc(sizeof *im + (n->disk.synced + 1) * sizeof *im->log);

	must(im);
	im->disk = n->disk;
	im->disk.end = n->disk.synced;
	memcpy(im->log, n->disk.log, (n->disk.synced + 1) * sizeof *im->log);
	return im;
}

void sim_restore_image(struct sim *s, const char *node, const void *image)
{
	struct simnode *n = &s->nodes[sim_index(s, node)];
	const struct image *im = image;
	struct simrec *log = n->disk.log;

	must(!n->up);
	n->disk = im->disk;
	n->disk.log = log;
	memcpy(log, im->log, (im->disk.synced + 1) * sizeof *log);
	sim_say(s, sim_index(s, node), "is restored from an image: log end %" PRIu64, n->disk.end);
}

void sim_damage(struct sim *s, const char *node, leash_seq first)
{
	struct rep_event ev = { .kind = REP_EV_DAMAGE, .seq = first };
	struct simnode *n = &s->nodes[sim_index(s, node)];

	sim_say(s, sim_index(s, node), "finds damage from %" PRIu64 " on", first);
	n->damage_first = first;
	simnode_feed(s, sim_index(s, node), &ev);
}

void sim_handover(struct sim *s, const char *node, const char *to)
{
	struct rep_event ev = { .kind = REP_EV_HANDOVER, .handover = { .to = to, .deadline_ns = s->now_ns + 3000 * MS } };

	simnode_feed(s, sim_index(s, node), &ev);
}
