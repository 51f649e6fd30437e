#include "tests/check/hist_text.h"

#include <errno.h>
#include <inttypes.h>

#include "tests/check/hist_int.h"

/* A line being read. The first thing that is wrong stays, and what follows reads as nothing. */
struct line {
	char *p;
	bool bad;
};

struct tag {
	uint32_t number; /* of the attempt or the read */
	bool append;
};

struct text {
	struct hist *h;
	uint32_t client;
	VEC(uint32_t) conns; /* [CONN - 1] */
	VEC(struct tag) tags; /* [TAG - 1] */
};

static uint64_t number(struct line *l)
{
	char *end = l->p;
	uint64_t n = 0;

	errno = 0;
	if (!l->bad && *l->p >= '0' && *l->p <= '9')
		n = strtoull(l->p, &end, 10);
	if (end == l->p || errno != 0 || (*end != ' ' && *end != '\0')) {
		l->bad = true;
		return 0;
	}
	l->p = end + (*end == ' ');
	return n;
}

/* Up to the next blank, or the end. */
static const char *word(struct line *l)
{
	char *w = l->p, *end = strchrnul(w, ' ');

	l->p = end + (*end == ' ');
	*end = '\0';
	return w;
}

static const char *bracketed(struct line *l)
{
	char *w = l->p, *end = strchr(w, ']');

	if (*w != '[' || !end || (end[1] != ' ' && end[1] != '\0')) {
		l->bad = true;
		return "";
	}
	l->p = end + 1 + (end[1] == ' ');
	*end = '\0';
	return w + 1;
}

/* 0; else it is bad. The number of the attempt or read behind TAG. */
static uint32_t tagged(struct text *t, struct line *l, bool append)
{
	uint64_t tag = number(l);

	if (l->bad || tag == 0 || tag > t->tags.n || t->tags.v[tag - 1].append != append) {
		l->bad = true;
		return 0;
	}
	return t->tags.v[tag - 1].number;
}

static uint32_t conn_of(struct text *t, struct line *l)
{
	uint64_t conn = number(l);

	if (l->bad || conn == 0 || conn > t->conns.n) {
		l->bad = true;
		return 0;
	}
	return t->conns.v[conn - 1];
}

/* ------------------------------------------------------------------------------------------------------- the lines */

static int on_client(struct text *t, struct line *l)
{
	const char *name = word(l), *flag = word(l);

	if (!name[0] || t->client != NONE || (flag[0] && strcmp(flag, "in-order") != 0))
		return -EINVAL;
	t->client = hist_client(t->h, name, flag[0] ? HIST_IN_ORDER : 0);
	return 0;
}

static int on_conn(struct text *t, struct line *l)
{
	uint64_t conn = number(l);

	if (l->bad || conn != t->conns.n + 1 || t->client == NONE)
		return -EINVAL;
	*vec_add(&t->conns) = hist_conn(t->h, t->client, word(l));
	return 0;
}

/* TAG T CONN of a new question. */
static uint32_t question(struct text *t, struct line *l, uint64_t *ret_at_ns)
{
	uint64_t tag = number(l);

	*ret_at_ns = number(l);
	if (tag != t->tags.n + 1)
		l->bad = true;
	return conn_of(t, l);
}

static int on_append(struct text *t, struct line *l)
{
	uint64_t at_ns;
	uint32_t conn = question(t, l, &at_ns), attempt;
	const char *id = l->bad ? "" : bracketed(l);

	if (l->bad || hist_append(t->h, conn, at_ns, id, l->p, &attempt) < 0)
		return -EINVAL;
	*vec_add(&t->tags) = (struct tag){ attempt, true };
	return 0;
}

static int on_read(struct text *t, struct line *l)
{
	uint64_t at_ns;
	uint32_t conn = question(t, l, &at_ns);
	leash_seq from = number(l), to = number(l);
	uint64_t count = number(l);

	if (l->bad)
		return -EINVAL;
	*vec_add(&t->tags) = (struct tag){ hist_read(t->h, conn, at_ns, from, to, count), false };
	return 0;
}

static int on_length(struct text *t, struct line *l)
{
	uint64_t at_ns;
	uint32_t conn = question(t, l, &at_ns);

	if (l->bad)
		return -EINVAL;
	*vec_add(&t->tags) = (struct tag){ hist_length(t->h, conn, at_ns), false };
	return 0;
}

static int on_ok(struct text *t, struct line *l)
{
	uint32_t attempt = tagged(t, l, true);
	uint64_t at_ns = number(l);
	leash_seq pos = number(l);

	return l->bad ? -EINVAL : hist_ok(t->h, attempt, at_ns, pos);
}

static int on_conflict(struct text *t, struct line *l)
{
	uint32_t attempt = tagged(t, l, true);
	uint64_t at_ns = number(l);
	leash_seq pos = number(l);

	return l->bad ? -EINVAL : hist_conflict(t->h, attempt, at_ns, pos);
}

static int on_refused(struct text *t, struct line *l)
{
	uint32_t attempt = tagged(t, l, true);
	uint64_t at_ns = number(l);

	return l->bad ? -EINVAL : hist_refused(t->h, attempt, at_ns);
}

static int on_unknown(struct text *t, struct line *l)
{
	uint32_t attempt = tagged(t, l, true);
	uint64_t at_ns = number(l);

	return l->bad ? -EINVAL : hist_unknown(t->h, attempt, at_ns);
}

static int on_shows(struct text *t, struct line *l)
{
	uint32_t read = tagged(t, l, false);
	leash_seq pos = number(l);

	return l->bad ? -EINVAL : hist_shows(t->h, read, pos, l->p);
}

static int on_end(struct text *t, struct line *l)
{
	uint32_t read = tagged(t, l, false);
	uint64_t at_ns = number(l);

	return l->bad ? -EINVAL : hist_end(t->h, read, at_ns);
}

static int on_is(struct text *t, struct line *l)
{
	uint32_t read = tagged(t, l, false);
	uint64_t at_ns = number(l), n = number(l);

	return l->bad ? -EINVAL : hist_is(t->h, read, at_ns, n);
}

static const struct {
	const char *word;
	int (*fn)(struct text *t, struct line *l);
	bool rest; /* ends with a VALUE; others end with their last field */
} kinds[] = {
	{ "append", on_append, true },
	{ "ok", on_ok, false },
	{ "shows", on_shows, true },
	{ "read", on_read, false },
	{ "end", on_end, false },
	{ "length", on_length, false },
	{ "is", on_is, false },
	{ "refused", on_refused, false },
	{ "unknown", on_unknown, false },
	{ "conflict", on_conflict, false },
	{ "conn", on_conn, false },
	{ "client", on_client, false },
};

static int take(struct text *t, char *text)
{
	struct line l = { .p = text };
	const char *kind = word(&l);

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kind, kinds[i].word) == 0) {
			int r = kinds[i].fn(t, &l);

			return r < 0 || (!kinds[i].rest && *l.p) ? -EINVAL : 0;
		}
	return -EINVAL;
}

/* The next line without its newline. False: there is no more, or it has no end. */
static bool next(FILE *in, char **line, size_t *cap)
{
	ssize_t n = getline(line, cap, in);

	if (n <= 0 || (*line)[n - 1] != '\n')
		return false;
	(*line)[n - 1] = '\0';
	return true;
}

static int load(struct text *t, FILE *in, char ret_why[HIST_TEXT_WHY])
{
	_cleanup_(freep) char *line = NULL;
	size_t cap = 0;

	for (uint64_t n = 1; next(in, &line, &cap); n++)
		if (line[0] && line[0] != '#' && take(t, line) < 0) {
			(void)snprintf(ret_why, HIST_TEXT_WHY, "line %" PRIu64 " makes no sense here", n);
			return -EINVAL;
		}
	if (!ferror(in))
		return 0;
	(void)snprintf(ret_why, HIST_TEXT_WHY, "it cannot be read");
	return -EIO;
}

int hist_text_load(struct hist *h, FILE *in, char ret_why[HIST_TEXT_WHY])
{
	struct text t = { .h = h, .client = NONE };
	int r = load(&t, in, ret_why);

	free(t.conns.v);
	free(t.tags.v);
	return r;
}

int hist_text_load_log(struct hist *h, FILE *in, const char *name, char ret_why[HIST_TEXT_WHY])
{
	_cleanup_(freep) char *line = NULL;
	uint32_t log = hist_log(h, name);
	size_t cap = 0;

	for (uint64_t n = 1; next(in, &line, &cap); n++) {
		struct line l = { .p = line };
		const char *id = bracketed(&l);
		leash_seq pos = number(&l);

		if (l.bad || hist_record(h, log, pos, id, l.p) < 0) {
			(void)snprintf(ret_why, HIST_TEXT_WHY, "line %" PRIu64 " is none of `leash log cat`", n);
			return -EINVAL;
		}
	}
	if (!ferror(in))
		return 0;
	(void)snprintf(ret_why, HIST_TEXT_WHY, "it cannot be read");
	return -EIO;
}
