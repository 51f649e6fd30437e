/* What hist.c (feeding), hist_check.c (appends) and hist_reads.c share. */
#ifndef LEASH_TESTS_CHECK_HIST_INT_H
#define LEASH_TESTS_CHECK_HIST_INT_H

#include "tests/check/hist.h"

#define NONE    UINT32_MAX
#define NOT_YET UINT64_MAX /* a time */

/* An array that grows. */
#define VEC(type)                                                                                            \
	struct {                                                                                             \
		type *v;                                                                                     \
		size_t n, cap;                                                                               \
	}
#define vec_add(vec)                                                                                         \
	(vec_grow((void **)&(vec)->v, sizeof *(vec)->v, (vec)->n, &(vec)->cap), &(vec)->v[(vec)->n++])

void vec_grow(void **v, size_t size, size_t n, size_t *cap); /* room for one more, zeroed */

enum outcome { OUT_UNKNOWN, OUT_OK, OUT_CONFLICT, OUT_REFUSED };

struct client {
	size_t name;
	unsigned flags;
	leash_seq highest; /* while client-order is checked */
	uint32_t highest_op;
};

struct conn {
	uint32_t client, endpoint;
	leash_seq highest; /* while connection-order is checked */
	uint32_t highest_op;
};

struct op {
	struct hash128 key;
	size_t name;
	uint64_t invoked_ns; /* first */
	uint32_t first, last; /* attempts, in a list; NONE: foreign */
	leash_seq pos;       /* in the log, or acknowledged where the log is no longer kept; 0: nowhere */
	bool by_value;       /* has no id */
	bool again;          /* is in the log at other positions, too, further away than the window; .pos is the last */
};

struct attempt {
	uint64_t asked_ns, answered_ns; /* NOT_YET */
	struct hash128 value;
	leash_seq pos; /* OK, CONFLICT (0: not told) */
	uint32_t op, conn, next;
	enum outcome outcome;
};

struct read {
	uint64_t asked_ns, answered_ns; /* NOT_YET */
	leash_seq from, to, first;      /* first shown */
	uint64_t count, n;              /* length: n is the answer */
	size_t shown;                   /* the first, in hist.shown */
	uint32_t conn;
	bool length;
};

struct place {
	struct hash128 id, value; /* of the log; an append without an id is found by the value, whatever id it got */
	size_t name;
	uint32_t op;       /* NONE until resolved */
	bool logged;       /* else only shown */
	bool shown;
};

struct log {
	size_t name;
	leash_seq start, end; /* end 0: nothing yet */
};

struct hist {
	VEC(struct client) clients;
	VEC(struct conn) conns;
	VEC(struct op) ops;
	VEC(struct attempt) attempts;
	VEC(struct read) reads;
	VEC(struct hash128) shown;
	VEC(struct place) places; /* [position] */
	VEC(struct log) logs;
	VEC(size_t) endpoints;    /* names */
	VEC(char) names;
	uint32_t *slots;          /* hash table of ops by key: indices + 1 */
	size_t n_slots;
	bool foreign;
	uint64_t window; /* 0: endless */
	struct hist_verdict verdict;
};

/* The first contradiction stays. Always false. */
_printf_(3, 4) bool hist_broken(struct hist *h, enum hist_rule rule, const char *fmt, ...);

uint32_t hist_find(const struct hist *h, struct hash128 key); /* NONE */
uint32_t hist_op_new(struct hist *h, struct hash128 key, size_t name); /* there is none of that key */
struct hash128 hist_key(const char *id, const char *value);
struct place *hist_place(struct hist *h, leash_seq pos); /* 1..HIST_POS_MAX */

static inline const char *hist_name(const struct hist *h, size_t name)
{
	return h->names.v + name;
}

const char *hist_client_of(const struct hist *h, uint32_t conn);

/* The highest position that every log may have lost to retention, plus one; 1: nothing was removed anywhere. */
leash_seq hist_start(const struct hist *h);

/* Each is true when its rules hold. */
bool hist_check_reads(struct hist *h);
bool hist_check_stale(struct hist *h);

#endif
