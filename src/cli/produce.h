/*
 * The books of `leash produce`: which lines are on their way, which are acknowledged, how long the pauses were. Pure: no
 * socket, no clock; times come in.
 *
 * Lines are numbered from 1. A line's id is its number and a hash of its text, so that a second run with the same
 * producer and input sends the same ids, and only what is missing is appended. A line is in one of three states:
 * *waiting* to be sent (also again), *sent*, acknowledged (and then out of the books). What is sent goes out in order;
 * after a loss of the connection, or an answer that asks for it, everything not acknowledged is sent again in order.
 */
#ifndef LEASH_CLI_PRODUCE_H
#define LEASH_CLI_PRODUCE_H

#include "base/buf.h"
#include "base/types.h"

#define PRODUCE_WINDOW_MAX 65536 /* lines in the books */
#define PRODUCE_PAUSES_MAX 256   /* pauses that are kept */
#define PRODUCE_PAUSE_MS   100   /* shorter ones are not kept */
#define PRODUCE_ID_TEXT    (20 + 1 + 16 + 1)

struct produce_line {
	uint64_t number;
	char *text; /* owned */
	size_t len; /* bytes */
};

struct produce_pause {
	uint64_t real_ms; /* when it began, ms since 1970 */
	uint64_t ms;
};

struct produce {
	struct produce_line *ring; /* lines [first, first + n) by number modulo window */
	uint32_t window;
	uint64_t first; /* the oldest line in the books */
	uint32_t n;     /* lines in the books */
	uint32_t n_sent; /* of them sent on this connection and not answered; they are the oldest */

	uint64_t acknowledged, resent, out_of_order;
	leash_seq first_seq, last_seq; /* of acknowledged lines: lowest, highest */
	uint64_t since_ns; /* since when an acknowledgement is awaited: the last one, or a line entered empty books */
	uint64_t longest_pause_ms;
	struct produce_pause pauses[PRODUCE_PAUSES_MAX];
	uint32_t n_pauses;
};

/* -ENOMEM. @window: 1..PRODUCE_WINDOW_MAX. */
int produce_init(struct produce *p, uint32_t window) _must_check_;
void produce_deinit(struct produce *p);

static inline bool produce_full(const struct produce *p) { return p->n == p->window; }

/* Enters the next line; @text passes over. Not when full. */
void produce_add(struct produce *p, char *text, size_t len, uint64_t now_ns);

/* The next line to be sent, NULL when none waits. The caller sends it and says produce_sent(). */
const struct produce_line *produce_next(const struct produce *p);
void produce_sent(struct produce *p);

/* The oldest line that was sent: the next answer is its. NULL: no answer is due. */
const struct produce_line *produce_due(const struct produce *p);

/* The oldest sent line is acknowledged at @seq. @real_ms: the wall clock, for the list of pauses. */
void produce_acknowledged(struct produce *p, leash_seq seq, uint64_t now_ns, uint64_t real_ms);

/* Everything in the books waits again: the connection is gone. */
void produce_again(struct produce *p);

/* "<number>-<16 hex digits of the text's hash>"; returns @id. */
char *produce_id(const struct produce_line *l, char id[PRODUCE_ID_TEXT]);

/* What an error reply means. */
enum produce_verdict {
	PRODUCE_RETRY, /* the same again, later: nothing is wrong with the line */
	PRODUCE_FATAL, /* it will not get better */
};
enum produce_verdict produce_judge(struct bytes error);

#endif
