#include "cli/produce.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/clk.h"
#include "base/hash.h"

int produce_init(struct produce *p, uint32_t window)
{
	must(window >= 1 && window <= PRODUCE_WINDOW_MAX);
	*p = (struct produce){ .window = window, .first = 1 };
	p->ring = calloc(window, sizeof *p->ring);
	return p->ring ? 0 : -ENOMEM;
}

static struct produce_line *line_at(const struct produce *p, uint64_t number)
{
	return &p->ring[number % p->window];
}

void produce_deinit(struct produce *p)
{
	for (uint32_t i = 0; i < p->n; i++)
		free(line_at(p, p->first + i)->text);
	free(p->ring);
	*p = (struct produce){ 0 };
}

void produce_add(struct produce *p, char *text, size_t len, uint64_t now_ns)
{
	must(!produce_full(p));
	if (p->n == 0)
		p->since_ns = now_ns;
	*line_at(p, p->first + p->n) = (struct produce_line){ .number = p->first + p->n, .text = text, .len = len };
	p->n++;
}

const struct produce_line *produce_next(const struct produce *p)
{
	return p->n_sent < p->n ? line_at(p, p->first + p->n_sent) : NULL;
}

void produce_sent(struct produce *p)
{
	must(p->n_sent < p->n);
	p->n_sent++;
}

const struct produce_line *produce_due(const struct produce *p)
{
	return p->n_sent > 0 ? line_at(p, p->first) : NULL;
}

/* A pause is the time without an acknowledgement while one was awaited. */
static void note_pause(struct produce *p, uint64_t now_ns, uint64_t real_ms)
{
	uint64_t ms = now_ns > p->since_ns ? (now_ns - p->since_ns) / NS_PER_MS : 0;

	p->longest_pause_ms = MAX2(p->longest_pause_ms, ms);
	if (ms >= PRODUCE_PAUSE_MS && p->n_pauses < PRODUCE_PAUSES_MAX)
		p->pauses[p->n_pauses++] = (struct produce_pause){ .real_ms = real_ms - MIN2(ms, real_ms), .ms = ms };
}

void produce_acknowledged(struct produce *p, leash_seq seq, uint64_t now_ns, uint64_t real_ms)
{
	struct produce_line *l = line_at(p, p->first);

	must(p->n_sent > 0);
	note_pause(p, now_ns, real_ms);
	p->since_ns = now_ns;
	if (p->acknowledged++ == 0)
		p->first_seq = seq;
	else if (seq <= p->last_seq)
		p->out_of_order++;
	p->first_seq = MIN2(p->first_seq, seq);
	p->last_seq = MAX2(p->last_seq, seq);
	free(l->text);
	*l = (struct produce_line){ 0 };
	p->first++;
	p->n--;
	p->n_sent--;
}

void produce_again(struct produce *p)
{
	p->resent += p->n_sent;
	p->n_sent = 0;
}

char *produce_id(const struct produce_line *l, char id[PRODUCE_ID_TEXT])
{
	(void)snprintf(id, PRODUCE_ID_TEXT, "%" PRIu64 "-%016" PRIx64, l->number, hash_64(l->text, l->len, 0));
	return id;
}

enum produce_verdict produce_judge(struct bytes error)
{
	static const char *const passing[] = { "TRYAGAIN", "INDOUBT", "NOREPLICAS", "LOADING", "BUSY", "OOM", "READONLY",
		"MASTERDOWN", "CLUSTERDOWN" };

	for (size_t i = 0; i < ARRAY_SIZE(passing); i++) {
		size_t n = strlen(passing[i]);

		if (error.len >= n && memcmp(error.p, passing[i], n) == 0 && (error.len == n || error.p[n] == ' '))
			return PRODUCE_RETRY;
	}
	return PRODUCE_FATAL;
}
