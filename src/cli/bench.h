/*
 * The parts of `leash bench`: connections that append (bench_lane.c) and connections that read what is appended
 * (bench_reader.c), in one event loop. Internal to src/cli.
 *
 * A request's latency counts from when it was meant to be sent: without a rate that is when it is sent, with one it is its
 * place in the schedule, also when earlier ones hold it up (else a stall would hide the requests that it kept from being
 * sent: "coordinated omission"; Gil Tene, How not to measure latency). Requests count when they were meant to be sent in the
 * measured time, after the warm-up.
 */
#ifndef LEASH_CLI_BENCH_H
#define LEASH_CLI_BENCH_H

#include <event2/event.h>

#include "base/hdr.h"
#include "cli/cli.h"
#include "cli/respc.h"

#define BENCH_ID_LANE     5  /* digits of a record's id that are its connection's, a "-", and those of its number */
#define BENCH_ID_NUMBER   11
#define BENCH_STAMP_BYTES 32 /* 16 hex digits of the time, 16 of the run: what readers look for */

struct bench_opts {
	struct units_addr gateway;
	char *engine, *field, *histogram;
	uint64_t connections, readers, depth, payload_bytes, rate, count;
	uint64_t seconds_ms, warmup_ms, timeout_ms;
	bool ids, json, yes;
};

struct bench_lane {
	struct bench *b;
	uint32_t index;
	struct respc c;
	struct event *ev_read, *ev_write, *ev_due; /* ev_due: with a rate, when the next request is to be sent */
	uint64_t *meant_ns; /* ring of b->o->depth: when those on their way were meant to be sent */
	uint32_t head, n;
	uint64_t due_ns, n_sent;
};

struct bench_reader {
	struct bench *b;
	struct respc c;
	struct event *ev_read;
	char last[24]; /* id of the last entry seen; "$" before the first */
};

enum bench_phase { BENCH_WARM_UP, BENCH_MEASURE, BENCH_DRAIN, BENCH_OVER };

struct bench {
	const struct bench_opts *o;
	struct event_base *base;
	struct event *ev_tick;
	struct bench_lane *lanes;
	struct bench_reader *readers;
	struct buf request; /* one append with "*", but for its ids, with room for the stamp */
	size_t stamp_at;    /* where in it */
	size_t id_at;       /* with ids */
	uint64_t run;

	enum bench_phase phase;
	uint64_t began_ns, measure_ns, end_ns, shown_ns, answered_ns; /* boottime */
	uint64_t sent, answered, on_their_way;
	uint64_t measured; /* answers that arrived in the measured time */
	uint64_t errors;
	char first_error[256], failed[256];
	struct hdr append, read; /* ns */
	uint64_t read_records;
};

/* Connects and begins to send. 0; else told in b->failed. */
int bench_lane_start(struct bench *b, struct bench_lane *l, uint32_t index) _must_check_;
void bench_lane_stop(struct bench_lane *l); /* all zero is fine */

/* Connects and asks for what comes next. Returns when it waits. 0; else told in b->failed. */
int bench_reader_start(struct bench *b, struct bench_reader *r) _must_check_;
void bench_reader_stop(struct bench_reader *r); /* all zero is fine */

/* Ends the loop; the first reason counts. */
void bench_fail(struct bench *b, const char *fmt, ...) _printf_(2, 3);

/* An append was answered, an error or not: what the whole makes of it. */
void bench_answered(struct bench *b, uint64_t meant_ns, const struct resp_value *v);
bool bench_may_send(const struct bench *b) _must_check_;

#endif
