/*
 * The engine of the load generators for peers (redis-load, etcd-load, nats-load): append work as `leash bench` does it on
 * leash, in one thread and one epoll. What differs between servers is a struct load_protocol.
 *
 * A connection either keeps `depth` appends on their way and sends another one for each answer; or it sends batches of
 * `depth` appends and waits for the one answer that stands for all of them (Redis with WAIT, transactions of etcd). Then
 * their latency runs from when the batch was sent.
 *
 * What is sent is the same bytes over and over, made once for each connection; of the answers only what has to be is looked
 * at. So these programs cost no more than `leash bench` does, and what is compared is the servers.
 */
#ifndef LEASH_BENCH_LOAD_H
#define LEASH_BENCH_LOAD_H

#include "base/units.h"
#include "report.h"

#define LOAD_IN_BYTES (64 * 1024) /* the longest answer */

struct load_opts {
	struct units_addr server;
	const char *stream;
	uint64_t connections, depth, payload_bytes, seconds_ms, warmup_ms, wait;
	bool json;
};

struct load_lane {
	uint32_t index;
	int fd;
	bool wants_write;
	struct buf bytes;    /* what is sent, again and again: `depth` appends, and what ends a batch */
	size_t append_bytes; /* of one of them; not used with batches */
	size_t out_at, out_left; /* where in `bytes` the next one is, and how many are to be sent */
	uint8_t in[LOAD_IN_BYTES]; /* the beginning of an answer, whose end has not come */
	size_t in_len;
	uint64_t *sent_ns; /* ring of `depth`: when what is on its way was sent */
	uint64_t head, n;
	uint64_t state;    /* the protocol's own */
};

struct load {
	const struct load_opts *o;
	const struct load_protocol *protocol;
	bool batches;
	int epoll;
	struct load_lane *lanes;
	uint64_t measure_ns, end_ns, now_ns, answered_ns;
	uint64_t on_their_way;
	struct report r;
};

struct load_protocol {
	const char *usage, *address, *stream; /* their defaults; usage begins with the program's name */
	bool batches, takes_wait; /* takes_wait: --wait makes batches */

	/* Says hello and hears what has to be heard, with sock_send() and sock_receive(). May be NULL. */
	void (*greet)(struct load *l, struct load_lane *c);
	/* Fills c->bytes, and c->append_bytes. 0; -ENOMEM. */
	int (*make)(struct load *l, struct load_lane *c);
	/* A batch is about to be sent, the one before was answered. May be NULL. */
	void (*again)(struct load *l, struct load_lane *c);
	/* Takes what is whole of @n bytes that came and calls load_acknowledged() or load_refused(). Returns how much it took. */
	size_t (*take)(struct load *l, struct load_lane *c, const uint8_t *p, size_t n);
};

/* The next @n of this connection are acknowledged. */
void load_acknowledged(struct load *l, struct load_lane *c, uint64_t n);
/* An answer was an error; whether the append is over, the protocol says with load_acknowledged(). */
void load_refused(struct load *l, const void *text, size_t n);

/* The same text for all payloads: @n bytes at the end of @b. -ENOMEM. */
int load_put_payload(struct buf *b, size_t n) _must_check_;

/* Sends @n bytes outside of the cycle, such as an answer to the server's own question. They must go at once. */
void load_say(struct load_lane *c, const void *p, size_t n);

/* The whole program; returns its exit status. */
int load_main(int argc, char **argv, const struct load_protocol *protocol);

#endif
