/*
 * The scrubbing thread: one bounded step of rlog_scrub, then as long a sleep as the rate asks for. It has descriptors of
 * its own and takes no lock that is held over I/O, so the writing and the reading thread do not notice it.
 *
 * At the end of a pass the writing thread looks at metadata and mark, and this one rests as long as reading
 * LT_SCRUB_REST_BYTES would take at this rate: a small log is not read for ever. A pass that met damage rests likewise and
 * tells it again, should it still be there.
 */
#include "node/lt_int.h"

#include <time.h>

#include "base/clk.h"

#define SCRUB_STEPS_PER_S 20             /* at a low rate a step is as long as it takes to keep that pace */
#define SCRUB_AGAIN_NS    (NS_PER_S)     /* what could not be looked at (no memory, no descriptors) */
#define SCRUB_SLEEP_MIN_NS (NS_PER_MS)
#define SCRUB_SLEEP_MAX_NS (86400 * NS_PER_S)

/* True: go on; false: the thread ends. Wakes up when the rate changes. */
static bool rest(struct logthread *lt, uint64_t ns)
{
	uint64_t at = clk_mono_ns() + MIN2(MAX2(ns, (uint64_t)SCRUB_SLEEP_MIN_NS), (uint64_t)SCRUB_SLEEP_MAX_NS);
	struct timespec ts = { .tv_sec = (time_t)(at / NS_PER_S), .tv_nsec = (long)(at % NS_PER_S) };
	uint64_t rate;
	bool go_on;
	int r = 0;

	(void)pthread_mutex_lock(&lt->lock);
	rate = lt->scrub_rate;
	while (!lt->stop && r == 0 && lt->scrub_rate == rate)
		r = rate ? pthread_cond_timedwait(&lt->scrub_cond, &lt->lock, &ts) :
			   pthread_cond_wait(&lt->scrub_cond, &lt->lock);
	go_on = !lt->stop;
	(void)pthread_mutex_unlock(&lt->lock);
	return go_on;
}

static uint64_t rate_of(struct logthread *lt)
{
	uint64_t rate;

	(void)pthread_mutex_lock(&lt->lock);
	rate = lt->scrub_rate;
	(void)pthread_mutex_unlock(&lt->lock);
	return rate;
}

static uint64_t ns_for(uint64_t bytes, uint64_t rate)
{
	return (uint64_t)((double)bytes / (double)rate * (double)NS_PER_S);
}

static void note(struct logthread *lt, const struct rlog_scrub *s, int outcome)
{
	struct rlog_scrub_at at = rlog_scrub_at(s);
	struct logthread_scrub *st = &lt->stats.scrub;

	(void)pthread_mutex_lock(&lt->lock);
	if (outcome == RLOG_SCRUB_DAMAGED)
		st->damaged_now++;
	if (outcome == RLOG_SCRUB_END) {
		st->passes++;
		st->last_damaged = st->damaged_now;
		st->last_records = st->records;
		st->last_bytes = st->bytes;
		st->last_real_ns = clk_real_ns();
		st->damaged_now = 0;
	}
	st->next = at.next;
	st->records = at.records;
	st->bytes = at.bytes;
	(void)pthread_mutex_unlock(&lt->lock);
}


/* One step, thrown away when the log was cut meanwhile. How long to rest then; UINT64_MAX: until the rate changes. */
uint64_t lt_scrub_step(struct logthread *lt, struct rlog_scrub *s, uint64_t *cuts)
{
	uint64_t rate = rate_of(lt), now = lt_cuts(lt), bytes = 0;
	struct rlog_damage d;
	int r;

	if (rate == 0)
		return UINT64_MAX;
	if (now % 2)
		return LT_MARK_NS; /* a cut is under way */
	if (now != *cuts)
		rlog_scrub_restart(s);
	*cuts = now;
	r = rlog_scrub_step(s, lt_start(lt), __atomic_load_n(&lt->durable, __ATOMIC_ACQUIRE),
		MIN2(rate / SCRUB_STEPS_PER_S + 1, (uint64_t)LT_SCRUB_STEP_BYTES), &bytes, &d);
	if (lt_cuts(lt) != now)
		return LT_MARK_NS;
	if (r == RLOG_SCRUB_DAMAGED && lt_start(lt) == 0) {
		rlog_scrub_restart(s); /* retention is under way: looked at again when it is known what is kept */
		return LT_MARK_NS;
	}
	if (r == RLOG_SCRUB_DAMAGED && d.first < lt_start(lt))
		r = 0; /* it was removed meanwhile */
	note(lt, s, r);
	if (r == RLOG_SCRUB_DAMAGED)
		lt_damaged(lt, &d);
	if (r == RLOG_SCRUB_END) {
		lt_refresh(lt);
		return ns_for(LT_SCRUB_REST_BYTES, rate);
	}
	return r < 0 ? SCRUB_AGAIN_NS : ns_for(bytes, rate);
}

void *lt_scrub_main(void *arg)
{
	struct logthread *lt = arg;
	struct rlog_scrub *s = NULL;
	uint64_t cuts = 0, ns = 0;

	do {
		if (!s && rlog_scrub_new(lt->conf.dir, lt->conf.ops, lt->conf.record_bytes_max, &s) < 0)
			ns = SCRUB_AGAIN_NS;
		else
			ns = lt_scrub_step(lt, s, &cuts);
	} while (rest(lt, ns));
	rlog_scrub_free(s);
	return NULL;
}
