/*
 * A node's log threads, stepped: the work itself is that of src/node (lt_write.c, lt_idle.c, lt_read.c, lt_scrub.c); what
 * is here takes the place of lt_threads.c and decides when it is done.
 *
 * The writer takes what is queued, and carries it out when the disk's time has passed: until then nothing of it is on the
 * disk. A crash in between carries it out up to some operation (simlog_crash).
 */
#include "tests/sim/sim_int.h"

#include <errno.h>
#include <inttypes.h>

#include "base/clk.h"

static struct simnode *node_of(struct logthread *lt)
{
	for (int i = 0; i < sim_world->n; i++)
		if (sim_world->nodes[i].lt == lt)
			return &sim_world->nodes[i];
	must(!"a log of this cluster");
	return NULL;
}

/* Of this opening of the log: a node may open it again without being started again. */
static void log_timer(struct simnode *n, uint64_t after_ns, enum timer_kind kind)
{
	sim_timer(n->s, after_ns, kind, n->i, 0)->y = n->log.opened;
}

static void note_appends(struct simnode *n, const struct lt_cmd *q);

/* A graceful end: what was taken, and what is queued. */
static void carry_out_all(struct simnode *n)
{
	struct lt_cmd *q = n->log.taken ? TAKE(n->log.taken) : lt_take_cmds(n->lt);

	for (; q; q = lt_take_cmds(n->lt)) {
		note_appends(n, q);
		lt_carry_out(n->lt, q); /* frees them, should it fail */
	}
	if (!n->lt->w.failed)
		lt_maybe_mark(n->lt, true);
	n->acc.unsure |= n->lt->w.failed; /* what failed may be there or not */
	n->acc.cutting |= n->lt->w.failed;
	simlog_note(n);
}

/* ------------------------------------------------------------------------------------------------- instead of threads */

int lt_threads_start(struct logthread *lt, struct event_base *base)
{
	struct simnode *n = (struct simnode *)(void *)base;

	n->lt = lt;
	n->log = (struct logsim){ .opened = n->log.opened + 1 };
	simlog_opened(n);
	simlog_kick(n->s, n->i);
	if (lt->scrub_rate)
		log_timer(n, NS_PER_MS, T_SCRUB);
	return 0;
}

void lt_threads_stop(struct logthread *lt)
{
	struct simnode *n = node_of(lt);

	if (!n->dying)
		carry_out_all(n);
	rlog_rebuild_free(TAKE(lt->w.rebuild));
	while (n->log.taken) {
		struct lt_cmd *c = n->log.taken;

		n->log.taken = c->next;
		lt_cmd_free(c);
	}
	rlog_reader_close(n->log.reader);
	rlog_scrub_free(n->log.scrub);
	n->log = (struct logsim){ .opened = n->log.opened };
	n->lt = NULL;
}

void lt_wake_loop(struct logthread *lt)
{
	struct simnode *n = node_of(lt);

	if (n->log.telling)
		return;
	n->log.telling = true;
	log_timer(n, sim_below(n->s, 20000), T_TOLD);
}

void lt_wake_writer(struct logthread *lt)
{
	struct simnode *n = node_of(lt);

	simlog_kick(n->s, n->i);
}

void lt_wake_reader(struct logthread *lt)
{
	struct simnode *n = node_of(lt);

	if (n->log.reading)
		return;
	n->log.reading = true;
	log_timer(n, MS / 20 + sim_below(n->s, MS / 2), T_READER);
}

void lt_wake_scrub(struct logthread *lt)
{
	log_timer(node_of(lt), NS_PER_MS, T_SCRUB);
}

/* --------------------------------------------------------------------------------------------------------- the writer */

void simlog_kick(struct sim *s, int i)
{
	struct simnode *n = &s->nodes[i];
	struct timer *t;

	if (!n->lt || n->log.writing)
		return;
	t = sim_timer(s, 5000 + sim_below(s, 20000), T_WRITER, i, 0);
	t->x = ++n->log.idle_gen;
	t->y = n->log.opened;
}

static void look_again(struct sim *s, struct simnode *n, uint64_t after_ns)
{
	struct timer *t = sim_timer(s, after_ns, T_WRITER, n->i, 0);

	t->x = ++n->log.idle_gen;
	t->y = n->log.opened;
}

static uint64_t disk_ns(struct sim *s, const struct simnode *n)
{
	uint64_t ns = MS / 10 + sim_below(s, MS);

	if (n->slow_disk && sim_below(s, 1000) < n->slow_disk)
		ns += sim_below(s, 1500 * MS);
	return ns;
}

/* What is about to be written. */
static void note_appends(struct simnode *n, const struct lt_cmd *q)
{
	for (; q; q = q->next)
		for (size_t k = 0; k < q->n && q->kind == LT_APPEND; k++) {
			must(q->recs[k]->h.seq < SIM_LOG_MAX);
			n->acc.chain[q->recs[k]->h.seq] = q->recs[k]->h.chain.lo;
		}
}

void simlog_note(struct simnode *n)
{
	struct rlog *log = n->lt->w.log;
	leash_seq durable = rlog_durable(log);
	const struct rlog_meta *now = &n->lt->w.meta, *was = &n->acc.meta;

	if (now->incarnation == was->incarnation && !n->acc.tampered &&
		(now->promise < was->promise || now->insync_version < was->insync_version || now->recovery < was->recovery))
		sim_broken(n->s, "%s takes back what it has promised or seen (R4a)", n->name);
	if (durable < n->acc.durable && (n->damaged || n->lt->w.meta.incarnation != n->acc.meta.incarnation))
		n->acc.lost_end = MAX2(n->acc.lost_end, n->acc.durable);
	n->acc.start = rlog_start(log);
	n->acc.end = rlog_end(log);
	n->acc.durable = durable;
	n->acc.meta = n->lt->w.meta;
}

static bool has_cut(const struct lt_cmd *q)
{
	for (; q; q = q->next)
		if (q->kind == LT_TRUNCATE || q->kind == LT_RESET || q->kind == LT_SET_ASIDE)
			return true;
	return false;
}

/* What was under way when the disk failed may be on it or not. */
static void note_failure(struct simnode *n, bool cuts)
{
	n->acc.unsure |= n->lt->w.failed;
	n->acc.cutting |= cuts && n->lt->w.failed;
}

static void on_writer(struct sim *s, struct timer *t)
{
	struct simnode *n = &s->nodes[t->a];
	uint64_t ns;
	bool cuts;

	if (n->log.writing || t->x != n->log.idle_gen || n->lt->w.failed) {
		s->stats.steps--;
		return;
	}
	n->log.taken = lt_take_cmds(n->lt);
	if (n->log.taken) {
		n->log.writing = true;
		lt_op_begin(n->lt);
		log_timer(n, disk_ns(s, n), T_WRITTEN);
		return;
	}
	if (n->disk_frozen) {
		look_again(s, n, 20 * MS);
		return;
	}
	cuts = n->lt->w.stuck_cut != NULL;
	lt_carry_out(n->lt, NULL);
	ns = n->lt->w.failed ? LT_RESERVE_NS : lt_idle(n->lt);
	note_failure(n, cuts);
	simlog_note(n);
	look_again(s, n, ns ? ns : MS / 10);
}

static void on_written(struct sim *s, struct timer *t)
{
	struct simnode *n = &s->nodes[t->a];
	struct lt_cmd *q = n->log.taken;
	bool cuts;

	if (n->disk_frozen) {
		log_timer(n, 20 * MS, T_WRITTEN);
		return;
	}
	n->log.taken = NULL;
	n->log.writing = false;
	note_appends(n, q);
	cuts = has_cut(q) || n->lt->w.stuck_cut;
	lt_carry_out(n->lt, q);
	lt_op_end(n->lt);
	note_failure(n, cuts);
	simlog_note(n);
	look_again(s, n, 1000);
}

/* The process ends inside of an operation: what it took is done up to some call of the file system, that one perhaps in
 * part. */
void simlog_crash(struct simnode *n)
{
	struct lt_cmd *q = n->log.taken;
	struct rlog_meta meta = n->acc.meta;

	if (!q || n->lt->w.failed || n->disk_frozen || sim_chance(n->s, 0.3))
		return;
	n->log.taken = NULL;
	n->acc.unsure = true;
	n->acc.cutting |= has_cut(q) || n->lt->w.stuck_cut;
	note_appends(n, q);
	simdisk_fault(n->disk, SIMDISK_ALL, sim_below(n->s, 12), -EIO, true);
	lt_carry_out(n->lt, q);
	simlog_note(n);
	if (simdisk_fault_hit(n->disk))
		n->acc.meta = meta; /* either may be there: the older promises less */
	simdisk_fault_clear(n->disk);
}

/* ---------------------------------------------------------------------------------------------------- reader and scrub */

static void on_reader(struct sim *s, struct timer *t)
{
	struct simnode *n = &s->nodes[t->a];
	struct logthread_read *r;

	n->log.reading = false;
	if (n->disk_frozen) {
		n->log.reading = true;
		log_timer(n, 20 * MS, T_READER);
		return;
	}
	r = lt_take_read(n->lt);
	if (r)
		lt_serve_read(n->lt, &n->log.reader, &n->log.reader_cuts, r);
	if (n->lt->reads)
		lt_wake_reader(n->lt);
}

static void on_scrub(struct sim *s, struct timer *t)
{
	struct simnode *n = &s->nodes[t->a];
	uint64_t ns = NS_PER_S;

	if (!n->log.scrub)
		must(rlog_scrub_new(SIM_DIR, simdisk_ops(n->disk), n->lt->conf.record_bytes_max, &n->log.scrub) == 0);
	if (!n->disk_frozen)
		ns = lt_scrub_step(n->lt, n->log.scrub, &n->log.scrub_cuts);
	if (ns != UINT64_MAX)
		log_timer(n, MAX2(ns, NS_PER_MS), T_SCRUB);
}

/* The commit index, which was @before, goes back only with the log's end: room was missing, damage was set aside, or a fresh
 * copy was taken after that. */
void simlog_commit_back(struct simnode *n, leash_seq before)
{
	if (rep_commit(simnode_rep(n)) >= before)
		return;
	simhist_new_life(n);
	n->commit_seen = MIN2(n->commit_seen, rep_commit(simnode_rep(n)));
	n->reader_high = MIN2(n->reader_high, n->commit_seen);
	if (rep_commit(simnode_rep(n)) != rep_log_end(simnode_rep(n)))
		sim_broken(n->s, "%s: the commit index went back from %" PRIu64, n->name, before);
}

static void on_told(struct simnode *n)
{
	leash_seq commit = rep_commit(simnode_rep(n));

	n->log.telling = false;
	lt_tell_loop(n->lt);
	simlog_commit_back(n, commit);
}

void simlog_timer(struct sim *s, struct timer *t)
{
	struct simnode *n = simnode_enter(s, t->a);

	if (!n || t->y != n->log.opened)
		return;
	if (t->kind == T_WRITER) {
		on_writer(s, t);
	} else if (t->kind == T_WRITTEN) {
		on_written(s, t);
	} else if (t->kind == T_READER) {
		on_reader(s, t);
	} else if (t->kind == T_SCRUB) {
		on_scrub(s, t);
	} else {
		on_told(n);
	}
}

/* ----------------------------------------------------------------------------------------------------------- account */

/* A record of a node's log as it is on its disk. *@reader: NULL at first, the caller closes it. */
bool simlog_view(struct simnode *n, leash_seq seq, struct rlog_reader **reader, struct rlog_view *ret)
{
	if (!*reader && rlog_reader_open(SIM_DIR, simdisk_ops(n->disk), 1u << 20, reader) != 0)
		return false;
	return rlog_read(*reader, seq, ret) == 0;
}

/* The log was opened: what is there must be what was written; and all of it that had been synced. */
void simlog_opened(struct simnode *n)
{
	struct account before = n->acc;
	struct rlog *log = n->lt->w.log;
	struct rlog_reader *reader = NULL;
	struct rlog_view v;
	bool other;

	simlog_note(n);
	n->acc.unsure = n->acc.virgin = n->acc.cutting = false;
	n->commit_seen = n->reader_high = 0;
	simhist_new_life(n);
	other = n->acc.end >= n->acc.start && n->acc.chain[n->acc.end] != rlog_chain(log).lo;
	if (other && !before.unsure && !before.tampered && !n->damaged)
		sim_broken(n->s, "%s opens its log with another record at %" PRIu64 " than it wrote", n->name, n->acc.end);
	if (other || before.unsure || before.tampered || n->damaged) {
		for (leash_seq seq = n->acc.start; seq <= n->acc.end; seq++)
			if (simlog_view(n, seq, &reader, &v))
				n->acc.chain[seq] = v.h.chain.lo;
		rlog_reader_close(reader);
	}
	simcheck_opened(n->s, n->i, &before);
	n->acc.tampered = false;
}
