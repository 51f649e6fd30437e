/* Feeding a history. */
#include "tests/check/hist_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define SEED_ID    1
#define SEED_VALUE 2 /* also of a value that stands for an id */

void vec_grow(void **v, size_t size, size_t n, size_t *cap)
{
	if (n == *cap) {
		*cap = MAX2(2 * *cap, (size_t)64);
		*v = reallocarray(*v, *cap, size);
		must(*v);
	}
	memset((char *)*v + n * size, 0, size);
}

static size_t add_name(struct hist *h, const char *name)
{
	size_t len = strlen(name) + 1, at = h->names.n;

	if (at + len > h->names.cap) {
		h->names.cap = MAX2(2 * h->names.cap, at + len);
		h->names.v = realloc(h->names.v, h->names.cap);
		must(h->names.v);
	}
	memcpy(h->names.v + at, name, len);
	h->names.n += len;
	return at;
}

struct hist *hist_new(void)
{
	struct hist *h = calloc(1, sizeof *h);

	must(h);
	h->n_slots = 1024;
	h->slots = calloc(h->n_slots, sizeof *h->slots);
	must(h->slots);
	return h;
}

void hist_free(struct hist *h)
{
	if (!h)
		return;
	free(h->clients.v);
	free(h->conns.v);
	free(h->ops.v);
	free(h->attempts.v);
	free(h->reads.v);
	free(h->shown.v);
	free(h->places.v);
	free(h->logs.v);
	free(h->endpoints.v);
	free(h->names.v);
	free(h->slots);
	free(h);
}

void hist_allow_foreign(struct hist *h)
{
	h->foreign = true;
}

void hist_window(struct hist *h, uint64_t records)
{
	h->window = records;
}

bool hist_broken(struct hist *h, enum hist_rule rule, const char *fmt, ...)
{
	va_list args;

	if (h->verdict.broken != HIST_HOLDS)
		return false;
	h->verdict.broken = rule;
	va_start(args, fmt);
	(void)vsnprintf(h->verdict.text, sizeof h->verdict.text, fmt, args); /* cut short is fine */
	va_end(args);
	return false;
}

/* ----------------------------------------------------------------------------------------------------- operations */

static size_t slot_of(const struct hist *h, struct hash128 key)
{
	size_t i = key.lo & (h->n_slots - 1);

	while (h->slots[i] && !hash128_eq(h->ops.v[h->slots[i] - 1].key, key))
		i = (i + 1) & (h->n_slots - 1);
	return i;
}

static void more_slots(struct hist *h)
{
	free(h->slots);
	h->n_slots *= 2;
	h->slots = calloc(h->n_slots, sizeof *h->slots);
	must(h->slots);
	for (size_t k = 0; k < h->ops.n; k++)
		h->slots[slot_of(h, h->ops.v[k].key)] = (uint32_t)k + 1;
}

uint32_t hist_find(const struct hist *h, struct hash128 key)
{
	return h->slots[slot_of(h, key)] - 1; /* 0 - 1: NONE */
}

uint32_t hist_op_new(struct hist *h, struct hash128 key, size_t name)
{
	struct op *o;

	if (2 * h->ops.n >= h->n_slots)
		more_slots(h);
	must(h->ops.n < NONE);
	o = vec_add(&h->ops);
	*o = (struct op){ .key = key, .name = name, .first = NONE, .last = NONE, .invoked_ns = NOT_YET };
	h->slots[slot_of(h, key)] = (uint32_t)h->ops.n;
	return (uint32_t)h->ops.n - 1;
}

static struct hash128 body(const char *value)
{
	return hash_128(value, strlen(value), SEED_VALUE);
}

struct hash128 hist_key(const char *id, const char *value)
{
	return id[0] ? hash_128(id, strlen(id), SEED_ID) : body(value);
}

uint32_t hist_client(struct hist *h, const char *name, unsigned flags)
{
	struct client *c = vec_add(&h->clients);

	*c = (struct client){ .name = add_name(h, name), .flags = flags };
	return (uint32_t)h->clients.n - 1;
}

/* Few: one per process life. */
static uint32_t endpoint(struct hist *h, const char *name)
{
	size_t *e;

	for (size_t i = h->endpoints.n; name[0] && i-- > 0;)
		if (strcmp(hist_name(h, h->endpoints.v[i]), name) == 0)
			return (uint32_t)i;
	e = vec_add(&h->endpoints);
	*e = add_name(h, name);
	return (uint32_t)h->endpoints.n - 1;
}

uint32_t hist_conn(struct hist *h, uint32_t client, const char *name)
{
	struct conn *c = vec_add(&h->conns);

	must(client < h->clients.n);
	*c = (struct conn){ .client = client, .endpoint = endpoint(h, name) };
	return (uint32_t)h->conns.n - 1;
}

const char *hist_client_of(const struct hist *h, uint32_t conn)
{
	return hist_name(h, h->clients.v[h->conns.v[conn].client].name);
}

int hist_append(struct hist *h, uint32_t conn, uint64_t at_ns, const char *id, const char *value, uint32_t *ret_attempt)
{
	struct hash128 key = hist_key(id, value);
	uint32_t k = hist_find(h, key), number = (uint32_t)h->attempts.n;
	struct op *o;

	must(conn < h->conns.n && number < NONE);
	if (k == NONE)
		k = hist_op_new(h, key, add_name(h, id[0] ? id : value));
	o = &h->ops.v[k];
	if (o->by_value && o->first != NONE)
		return -EINVAL;
	o->by_value = !id[0];
	o->invoked_ns = MIN2(o->invoked_ns, at_ns);
	*vec_add(&h->attempts) = (struct attempt){ .asked_ns = at_ns, .answered_ns = NOT_YET, .value = body(value), .op = k,
		.conn = conn, .next = NONE };
	if (o->last == NONE)
		o->first = number;
	else
		h->attempts.v[o->last].next = number;
	o->last = number;
	*ret_attempt = number;
	return 0;
}

static int answer(struct hist *h, uint32_t attempt, uint64_t at_ns, leash_seq pos, enum outcome outcome)
{
	struct attempt *a = &h->attempts.v[attempt];

	must(attempt < h->attempts.n);
	if (a->answered_ns != NOT_YET || at_ns < a->asked_ns || at_ns == NOT_YET || pos > HIST_POS_MAX)
		return -EINVAL;
	a->answered_ns = at_ns;
	a->pos = pos;
	a->outcome = outcome;
	return 0;
}

int hist_ok(struct hist *h, uint32_t attempt, uint64_t at_ns, leash_seq pos)
{
	return pos ? answer(h, attempt, at_ns, pos, OUT_OK) : -EINVAL;
}

int hist_conflict(struct hist *h, uint32_t attempt, uint64_t at_ns, leash_seq pos)
{
	return answer(h, attempt, at_ns, pos, OUT_CONFLICT);
}

int hist_refused(struct hist *h, uint32_t attempt, uint64_t at_ns)
{
	return answer(h, attempt, at_ns, 0, OUT_REFUSED);
}

int hist_unknown(struct hist *h, uint32_t attempt, uint64_t at_ns)
{
	return answer(h, attempt, at_ns, 0, OUT_UNKNOWN);
}

/* ------------------------------------------------------------------------------------------------------------ reads */

static uint32_t add_read(struct hist *h, struct read r)
{
	must(r.conn < h->conns.n && h->reads.n < NONE);
	r.answered_ns = NOT_YET;
	*vec_add(&h->reads) = r;
	return (uint32_t)h->reads.n - 1;
}

uint32_t hist_read(struct hist *h, uint32_t conn, uint64_t at_ns, leash_seq from, leash_seq to, uint64_t count)
{
	return add_read(h, (struct read){ .conn = conn, .asked_ns = at_ns, .from = MAX2(from, (leash_seq)1),
		.to = to ? to : UINT64_MAX, .count = count ? count : UINT64_MAX });
}

uint32_t hist_length(struct hist *h, uint32_t conn, uint64_t at_ns)
{
	return add_read(h, (struct read){ .conn = conn, .asked_ns = at_ns, .length = true });
}

static bool read_open(const struct hist *h, uint32_t read, bool length)
{
	must(read < h->reads.n);
	return h->reads.v[read].answered_ns == NOT_YET && h->reads.v[read].length == length;
}

int hist_shows(struct hist *h, uint32_t read, leash_seq pos, const char *value)
{
	struct hash128 hash = body(value);
	struct read *r = &h->reads.v[read];
	struct place *p;

	if (!read_open(h, read, false) || pos == 0 || pos > HIST_POS_MAX)
		return -EINVAL;
	if (r->n == 0) {
		r->first = pos;
		r->shown = h->shown.n;
	} else if (r->shown + r->n != h->shown.n) {
		return -EINVAL;
	}
	if (pos != r->first + r->n)
		(void)hist_broken(h, HIST_READ_GAP, "a read of %s at %" PRIu64 " ns shows %" PRIu64 " next to %" PRIu64,
			hist_client_of(h, r->conn), r->asked_ns, pos, r->first + r->n - 1);
	r->n++;
	*vec_add(&h->shown) = hash;
	p = hist_place(h, pos);
	if (!p->logged && !p->shown)
		p->value = hash;
	p->shown = true;
	if (!hash128_eq(p->value, hash))
		(void)hist_broken(h, HIST_LOGS_DIFFER, "a read of %s at %" PRIu64 " ns shows another record at %" PRIu64 " than %s",
			hist_client_of(h, r->conn), r->asked_ns, pos, p->logged ? "the log has" : "an earlier one");
	return 0;
}

static int end(struct hist *h, uint32_t read, uint64_t at_ns)
{
	if (at_ns < h->reads.v[read].asked_ns || at_ns == NOT_YET)
		return -EINVAL;
	h->reads.v[read].answered_ns = at_ns;
	return 0;
}

int hist_end(struct hist *h, uint32_t read, uint64_t at_ns)
{
	return read_open(h, read, false) ? end(h, read, at_ns) : -EINVAL;
}

int hist_is(struct hist *h, uint32_t read, uint64_t at_ns, uint64_t n)
{
	if (!read_open(h, read, true) || n > HIST_POS_MAX)
		return -EINVAL;
	h->reads.v[read].n = n;
	return end(h, read, at_ns);
}

/* ------------------------------------------------------------------------------------------------------------- logs */

struct place *hist_place(struct hist *h, leash_seq pos)
{
	must(pos <= HIST_POS_MAX);
	while (h->places.n <= pos)
		vec_add(&h->places)->op = NONE;
	return &h->places.v[pos];
}

uint32_t hist_log(struct hist *h, const char *name)
{
	struct log *l = vec_add(&h->logs);

	*l = (struct log){ .name = add_name(h, name) };
	return (uint32_t)h->logs.n - 1;
}

leash_seq hist_start(const struct hist *h)
{
	leash_seq start = 1;

	for (size_t i = 0; i < h->logs.n; i++)
		start = MAX2(start, h->logs.v[i].start);
	return start;
}

int hist_record(struct hist *h, uint32_t log, leash_seq pos, const char *id, const char *value)
{
	struct hash128 key = hist_key(id, value), hash = body(value);
	struct log *l = &h->logs.v[log];
	struct place *p;

	must(log < h->logs.n);
	if (pos == 0 || pos > HIST_POS_MAX)
		return -EINVAL;
	if (l->end && pos != l->end + 1)
		(void)hist_broken(h, HIST_LOG_GAP, "the log %s has %" PRIu64 " next to %" PRIu64, hist_name(h, l->name), pos,
			l->end);
	if (!l->end)
		l->start = pos;
	l->end = pos;
	p = hist_place(h, pos);
	if ((p->logged && !hash128_eq(p->id, key)) || ((p->logged || p->shown) && !hash128_eq(p->value, hash)))
		(void)hist_broken(h, HIST_LOGS_DIFFER, "at %" PRIu64 " the log %s has [%s] %s, but %s something else", pos,
			hist_name(h, l->name), id, value, p->logged ? "another log has" : "a reader was shown");
	if (p->logged)
		return 0;
	p->name = add_name(h, id[0] ? id : value);
	p->id = key;
	p->value = hash;
	p->logged = true;
	return 0;
}
