/*
 * leash consume: records from the gateway, or with --verify raw from a node, in order, across failovers.
 *
 * Both ways fetch the next stretch behind what has been printed; after a loss of the connection they go on from there
 * with a new one, so nothing is printed twice and nothing is left out.
 */
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/clk.h"
#include "cli/peerc.h"
#include "cli/respc.h"
#include "cli/sock.h"
#include "cli/state.h"
#include "cli/text.h"

#define STRETCH        1000 /* records asked for at once */
#define BLOCK_MS       2000
#define CONNECT_NS     (3 * NS_PER_S)
#define ANSWER_NS      (60 * NS_PER_S) /* twice the gateway's usual hold_timeout */
#define RETRY_NS       (200 * NS_PER_MS)
#define NODE_ANSWER_NS (10 * NS_PER_S)

enum consume_format { FORMAT_TEXT, FORMAT_JSON, FORMAT_RAW, FORMAT_NONE };
static const char *const formats[] = { "text", "json", "raw", "none", NULL };

struct consume_opts {
	struct cli_etcd etcd;
	struct units_addr gateway, node;
	uint64_t from, count, timeout_ms;
	int format;
	bool follow, verify;
};

struct consume {
	const struct consume_opts *o;
	leash_seq next;        /* to be printed next */
	uint64_t printed;
	struct buf out;
	bool troubled;
	uint64_t heard_ns;     /* last answer */
	/* --verify */
	struct leash_chain chain; /* at next - 1 */
	bool has_chain;
	leash_seq first;       /* verified from here on; 0 = nothing yet */
};

/* What one fetch came to. */
enum fetched {
	FETCHED_SOME,  /* records were printed */
	FETCHED_NONE,  /* there is nothing more now */
	FETCHED_LOST,  /* the connection is gone: again */
	FETCHED_FATAL, /* told already */
};

/* ---- printing */

static int put_json(struct buf *out, leash_seq seq, const struct bytes *pairs, size_t n_pairs)
{
	int r = buf_printf(out, "{\"seq\":%" PRIu64 ",\"fields\":[", seq);

	for (size_t i = 0; r == 0 && i < n_pairs; i++) {
		r = buf_printf(out, "%s[", i ? "," : "");
		if (r == 0)
			r = text_json_string(out, pairs[2 * i]);
		if (r == 0)
			r = buf_put(out, ",", 1);
		if (r == 0)
			r = text_json_string(out, pairs[2 * i + 1]);
		if (r == 0)
			r = buf_put(out, "]", 1);
	}
	return r == 0 ? buf_printf(out, "]}\n") : r;
}

static int put_value(struct buf *out, struct bytes b, bool raw)
{
	return raw ? buf_put(out, b.p, b.len) : text_escape(out, b, "");
}

static int put_payload(struct buf *out, const struct bytes *pairs, size_t n_pairs, bool raw)
{
	int r = 0;

	if (n_pairs == 1)
		return put_value(out, pairs[1], raw);
	for (size_t i = 0; r == 0 && i < n_pairs; i++) {
		r = i ? buf_put(out, " ", 1) : 0;
		if (r == 0)
			r = put_value(out, pairs[2 * i], raw);
		if (r == 0)
			r = buf_put(out, "=", 1);
		if (r == 0)
			r = put_value(out, pairs[2 * i + 1], raw);
	}
	return r;
}

/* Prints one record; the order is checked by the caller. False: told. */
static bool print_record(struct consume *c, leash_seq seq, const struct bytes *pairs, size_t n_pairs)
{
	int r = 0;

	switch ((enum consume_format)c->o->format) {
	case FORMAT_TEXT:
		r = buf_printf(&c->out, "%" PRIu64 " ", seq);
		if (r == 0)
			r = put_payload(&c->out, pairs, n_pairs, false);
		break;
	case FORMAT_JSON:
		r = put_json(&c->out, seq, pairs, n_pairs);
		break;
	case FORMAT_RAW:
		r = put_payload(&c->out, pairs, n_pairs, true);
		break;
	case FORMAT_NONE:
		break;
	}
	if (r == 0 && (c->o->format == FORMAT_TEXT || c->o->format == FORMAT_RAW))
		r = buf_put(&c->out, "\n", 1);
	if (r < 0)
		return cli_failed("out of memory") == CLI_OK;
	c->next = seq + 1;
	c->printed++;
	c->troubled = false;
	return true;
}

/* What was gathered goes out; a reader that went away ends it. */
static bool flush_out(struct consume *c)
{
	size_t n = buf_len(&c->out);

	if (n > 0 && (fwrite(buf_head(&c->out), 1, n, stdout) != n || fflush(stdout) != 0))
		return false;
	buf_consume(&c->out, n);
	return true;
}

static uint64_t left(const struct consume *c)
{
	return c->o->count ? c->o->count - c->printed : UINT64_MAX;
}

static void say_trouble(struct consume *c, const char *where, const char *text, size_t len)
{
	if (!c->troubled)
		cli_note("%s: %.*s; trying again", where, (int)MIN2(len, (size_t)200), text);
	c->troubled = true;
}

/* --------------------------------------------------------------------------------------------------- the gateway */

/* An entry: [id, [field, value ...]]. */
static enum fetched take_entry(struct consume *c, const struct resp_value *entry)
{
	struct bytes *pairs;
	leash_seq seq;
	bool good;

	if (entry->type != RESP_T_ARRAY || entry->n != 2 || entry[1].type != RESP_T_BULK ||
		entry[2].type != RESP_T_ARRAY || entry[2].n % 2 != 0 || entry[2].n_values != entry[2].n ||
		!respc_entry_id(entry[1].text, &seq)) {
		(void)cli_failed("an answer with an entry that makes no sense");
		return FETCHED_FATAL;
	}
	if (c->printed > 0 && seq != c->next) {
		(void)cli_failed("a gap: record %" PRIu64 " comes after %" PRIu64, seq, c->next - 1);
		return FETCHED_FATAL;
	}
	pairs = calloc(entry[2].n + 1, sizeof *pairs);
	for (uint32_t i = 0; pairs && i < entry[2].n; i++)
		pairs[i] = entry[3 + i].text;
	good = pairs ? print_record(c, seq, pairs, entry[2].n / 2) : cli_failed("out of memory") == CLI_OK;
	free(pairs);
	return good ? FETCHED_SOME : FETCHED_FATAL;
}

/* An array of entries, or null. */
static enum fetched take_entries(struct consume *c, const struct resp_value *v)
{
	enum fetched f = FETCHED_NONE;
	const struct resp_value *entry = v + 1;

	if (v->type == RESP_T_NULL)
		return FETCHED_NONE;
	for (uint32_t i = 0; v->type == RESP_T_ARRAY && i < v->n && f != FETCHED_FATAL && left(c) > 0; i++) {
		f = take_entry(c, entry);
		entry += 1 + entry->n_values;
	}
	return f;
}

static enum fetched take_reply(struct consume *c, const struct resp_value *v, bool xread, const char *where)
{
	static const char *const passing[] = { "TRYAGAIN", "LOADING", "NOREPLICAS", "BUSY", "MASTERDOWN" };

	if (v->type == RESP_T_ERROR) {
		for (size_t i = 0; i < ARRAY_SIZE(passing); i++) {
			if (respc_error_is(v, passing[i])) {
				say_trouble(c, where, (const char *)v->text.p, v->text.len);
				return FETCHED_LOST;
			}
		}
		(void)cli_failed("%s: %.*s", where, (int)MIN2(v->text.len, (size_t)200), (const char *)v->text.p);
		return FETCHED_FATAL;
	}
	if (!xread)
		return take_entries(c, v);
	if (v->type == RESP_T_NULL)
		return FETCHED_NONE;
	/* [[stream, entries]] */
	if (v->type != RESP_T_ARRAY || v->n != 1 || v[1].type != RESP_T_ARRAY || v[1].n != 2) {
		(void)cli_failed("%s: an answer that makes no sense", where);
		return FETCHED_FATAL;
	}
	return take_entries(c, v + 3);
}

/* Without --follow XRANGE, which ends; with it XREAD BLOCK. */
static enum fetched fetch_gateway(struct consume *c, struct respc *conn, const char *where)
{
	char from[32], count[32], block[16];
	const struct resp_value *v;
	struct bytes range[] = { respc_str("XRANGE"), respc_str(c->o->etcd.engine), respc_str(from), respc_str("+"),
		respc_str("COUNT"), respc_str(count) };
	struct bytes read[] = { respc_str("XREAD"), respc_str("COUNT"), respc_str(count), respc_str("BLOCK"),
		respc_str(block), respc_str("STREAMS"), respc_str(c->o->etcd.engine), respc_str(from) };
	int r;

	/* XREAD wants the last one seen, XRANGE the first one wanted. */
	(void)snprintf(from, sizeof from, "%" PRIu64 "-0", c->o->follow ? c->next - 1 : c->next);
	(void)snprintf(count, sizeof count, "%" PRIu64, MIN2(left(c), (uint64_t)STRETCH));
	(void)snprintf(block, sizeof block, "%d", BLOCK_MS);
	range[2] = respc_str(from);
	range[5] = respc_str(count);
	read[2] = respc_str(count);
	read[4] = respc_str(block);
	read[7] = respc_str(from);
	if (c->o->follow)
		r = respc_call(conn, read, ARRAY_SIZE(read), clk_boot_ns() + ANSWER_NS, &v);
	else
		r = respc_call(conn, range, ARRAY_SIZE(range), clk_boot_ns() + ANSWER_NS, &v);
	if (r < 0) {
		say_trouble(c, where, sock_strerror(r), strlen(sock_strerror(r)));
		return FETCHED_LOST;
	}
	return take_reply(c, v, c->o->follow, where);
}

static enum fetched step_gateway(struct consume *c, struct respc *conn)
{
	char where[LEASH_ADDR_MAX + 16];
	enum fetched f;
	int r;

	(void)units_addr_format(&c->o->gateway, where);
	if (conn->fd < 0) {
		r = respc_open(conn, &c->o->gateway, clk_boot_ns() + CONNECT_NS);
		if (r < 0) {
			say_trouble(c, where, sock_strerror(r), strlen(sock_strerror(r)));
			return FETCHED_LOST;
		}
	}
	f = fetch_gateway(c, conn, where);
	if (f == FETCHED_LOST)
		respc_close(conn);
	return f;
}

/* ------------------------------------------------------------------------------------------------------- a node */

struct source {
	struct peerc peer; /* fd -1: none */
	struct state *state;
	char address[LEASH_ADDR_MAX + 16];
	struct peer_view views[STRETCH];
	uint32_t turn; /* which of the nodes is tried next when nobody leads */
};

/* Where to read: what --node says, else the leader in etcd, else each node in turn. */
static bool choose_node(struct consume *c, struct source *s)
{
	_cleanup_(freep) struct keys_view *v = calloc(1, sizeof *v);
	char why[STATE_TEXT] = "out of memory";

	if (c->o->node.port) {
		(void)units_addr_format(&c->o->node, s->address);
		return true;
	}
	if (!v || state_view(s->state, v, why) < 0) {
		say_trouble(c, "etcd", why, strlen(why));
		return s->address[0] != '\0'; /* the one before may still be there */
	}
	if (v->view.leader.present) {
		(void)snprintf(s->address, sizeof s->address, "%s", v->view.leader.address);
		return true;
	}
	if (v->view.n_nodes > 0)
		(void)snprintf(s->address, sizeof s->address, "%s", v->view.nodes[s->turn++ % v->view.n_nodes].address);
	return v->view.n_nodes > 0;
}

/* Gap, chain, body: all that a record can be checked for. */
static bool verify_record(struct consume *c, const struct peer_view *v)
{
	if (v->h.seq != c->next) {
		(void)cli_failed("a gap: record %" PRIu64 " comes where %" PRIu64 " must be", v->h.seq, c->next);
		return false;
	}
	if (!c->has_chain && v->h.seq == 1)
		c->has_chain = true; /* before the first record it is zero */
	if (c->has_chain && !rec_chain_follows(&v->h, c->chain)) {
		(void)cli_failed("record %" PRIu64 ": the chain does not follow from the record before", v->h.seq);
		return false;
	}
	c->has_chain = true;
	c->chain = v->h.chain;
	c->first = c->first ? c->first : v->h.seq;
	return true;
}

static bool take_view(struct consume *c, const struct peer_view *v)
{
	_cleanup_(freep) struct bytes *pairs = NULL;
	struct rec_body body;
	struct cur at;
	size_t n = 0;

	if (!verify_record(c, v))
		return false;
	if (rec_body_decode(v->body, &body) != 0)
		return cli_failed("record %" PRIu64 ": its fields make no sense", v->h.seq) == CLI_OK;
	pairs = calloc(body.n_pairs, 2 * sizeof *pairs);
	if (!pairs)
		return cli_failed("out of memory") == CLI_OK;
	at = cur_of(body.pairs.p, body.pairs.len);
	while (n < body.n_pairs && rec_pair_next(&at, &pairs[2 * n], &pairs[2 * n + 1]))
		n++;
	return print_record(c, v->h.seq, pairs, n);
}

static enum fetched read_node(struct consume *c, struct source *s)
{
	uint32_t n = (uint32_t)MIN2(left(c), (uint64_t)STRETCH);
	struct peer_records m = { 0 };
	char why[PEERC_TEXT];
	const char *name;

	if (peerc_read(&s->peer, c->next, INT64_MAX, clk_boot_ns() + NODE_ANSWER_NS, s->views, n, &m, why) < 0) {
		say_trouble(c, s->address, why, strlen(why));
		return FETCHED_LOST;
	}
	if (m.status == PEER_ST_GONE) {
		(void)cli_failed("record %" PRIu64 " is older than the oldest kept one", c->next);
		return FETCHED_FATAL;
	}
	if (m.status != PEER_ST_OK) { /* somebody else may serve it, or this one later */
		name = peer_status_code_name(m.status);
		say_trouble(c, s->address, name, strlen(name));
		return FETCHED_LOST;
	}
	for (uint32_t i = 0; i < m.n; i++)
		if (!take_view(c, &s->views[i]))
			return FETCHED_FATAL;
	return m.n ? FETCHED_SOME : FETCHED_NONE;
}

/* Waits until the node says that something changed, or a moment. */
static enum fetched wait_node(struct consume *c, struct source *s)
{
	char why[PEERC_TEXT];
	int r;

	if (!c->o->follow || (s->peer.has_status && s->peer.status.commit >= c->next))
		return FETCHED_NONE;
	r = peerc_wait_status(&s->peer, clk_boot_ns() + RETRY_NS, why);
	if (r == 0 || r == -ETIMEDOUT)
		return FETCHED_NONE;
	say_trouble(c, s->address, why, strlen(why));
	return FETCHED_LOST;
}

static bool connect_node(struct consume *c, struct source *s)
{
	char why[PEERC_TEXT] = "no address";
	struct units_addr a;
	int r = -EINVAL;

	if (!choose_node(c, s))
		return false;
	if (units_addr(s->address, &a))
		r = peerc_open(&s->peer, &a, c->o->etcd.engine, clk_boot_ns() + CONNECT_NS, why);
	/* The first STATUS says where the log begins. */
	if (r == 0 && c->o->from == 0 && c->first == 0) {
		r = peerc_wait_status(&s->peer, clk_boot_ns() + CONNECT_NS, why);
		if (r == -ETIMEDOUT)
			(void)snprintf(why, sizeof why, "no answer in time");
		if (r == 0)
			c->next = MAX2(s->peer.status.log_start, (leash_seq)1);
	}
	if (r < 0)
		say_trouble(c, s->address, why, strlen(why));
	return r == 0;
}

static enum fetched step_node(struct consume *c, struct source *s)
{
	enum fetched f;

	if (s->peer.fd < 0 && !connect_node(c, s)) {
		peerc_close(&s->peer);
		return FETCHED_LOST;
	}
	f = read_node(c, s);
	if (f == FETCHED_NONE)
		f = wait_node(c, s);
	if (f == FETCHED_LOST)
		peerc_close(&s->peer);
	return f;
}

/* -------------------------------------------------------------------------------------------------------- the loop */

/* After each fetch. True: go on. */
static bool goes_on(struct consume *c, enum fetched f, int *status)
{
	struct timespec pause = { .tv_nsec = RETRY_NS };
	uint64_t now_ns = clk_boot_ns();
	char time[UNITS_TEXT];

	if (!flush_out(c)) {
		*status = cli_flush(CLI_FAILED);
		return false;
	}
	switch (f) {
	case FETCHED_FATAL:
		*status = CLI_FAILED;
		return false;
	case FETCHED_LOST:
		if (c->o->timeout_ms && now_ns - c->heard_ns > c->o->timeout_ms * NS_PER_MS) {
			*status = cli_failed("no answer for %s", units_duration_format(c->o->timeout_ms, time));
			return false;
		}
		(void)nanosleep(&pause, NULL);
		return true;
	case FETCHED_SOME:
		c->heard_ns = now_ns;
		return left(c) > 0;
	case FETCHED_NONE:
		c->heard_ns = now_ns;
		return c->o->follow;
	}
	return false;
}

static int consume_gateway(struct consume *c)
{
	struct respc conn = RESPC_NULL;
	int status = CLI_OK;

	while (goes_on(c, step_gateway(c, &conn), &status))
		;
	respc_close(&conn);
	return status;
}

static int consume_node(struct consume *c)
{
	_cleanup_(freep) struct source *s = calloc(1, sizeof *s);
	char why[STATE_TEXT];
	int r, status = CLI_OK;

	if (!s)
		return cli_failed("out of memory");
	s->peer.fd = -1;
	r = c->o->node.port ? 0 : state_open(&c->o->etcd, &s->state, why);
	if (r < 0)
		return r == -EINVAL ? cli_misused("%s", why) : cli_failed("%s", why);
	while (goes_on(c, step_node(c, s), &status))
		;
	if (status == CLI_OK && c->first)
		cli_note("verified: records %" PRIu64 " to %" PRIu64 ", no gap, chain %016" PRIx64 "%016" PRIx64, c->first,
			c->next - 1, c->chain.hi, c->chain.lo);
	else if (status == CLI_OK)
		cli_note("verified: there is no record");
	peerc_close(&s->peer);
	state_freep(&s->state);
	return status;
}

static int consume_run(const void *opts, char **operands _unused_, size_t n_operands _unused_)
{
	const struct consume_opts *o = opts;
	struct consume c = { .o = o, .next = MAX2(o->from, (uint64_t)1), .heard_ns = clk_boot_ns() };
	int status;

	if (o->node.port && !o->verify)
		return cli_misused("--node goes with --verify; to read from a node give its address as --gateway");
	status = o->verify ? consume_node(&c) : consume_gateway(&c);
	buf_deinit(&c.out);
	return cli_flush(status);
}

static const struct conf_key keys[] = {
	{ "from", CONF_AT_NUMBER(struct consume_opts, from), .meta = "SEQ", .max = INT64_MAX,
	  .help = "first sequence number [the oldest kept]" },
	{ "count", CONF_AT_NUMBER(struct consume_opts, count), .unit = "records", .help = "stop after so many [all]" },
	{ "follow", CONF_AT_BOOL(struct consume_opts, follow), .help = "wait for new records at the end" },
	{ "format", CONF_AT_ENUM(struct consume_opts, format), .text = "text", .choices = formats,
	  .help = "how to print" },
	{ "verify", CONF_AT_BOOL(struct consume_opts, verify),
	  .help = "read from a node and check checksums, chain and numbers" },
	{ "node", CONF_AT_ADDRESS(struct consume_opts, node), .min = 1, .max = 65535, .meta = "HOST:PORT",
	  .help = "with --verify: this node [the primary]" },
	{ "timeout", CONF_AT_DURATION(struct consume_opts, timeout_ms), .text = "120s", .unit = "s", .max = 86400000,
	  .help = "give up when there was no answer for so long; 0: never" },
	CLI_KEY_GATEWAY(struct consume_opts, gateway),
	CLI_KEYS_ETCD(struct consume_opts, etcd),
};

const struct cli_command cli_consume = {
	.name = "consume",
	.operands = "",
	.about = "print committed records in order",
	.help = "text: \"<sequence> <payload>\", the payload as in \"leash log cat\". json: one object per line, with the fields as\n"
		"pairs; what is no UTF-8 is {\"hex\":\"...\"}. raw: the payload as it is, and a line end. none: nothing.\n"
		"Without --follow it ends at the last committed record. After a loss of the connection it goes on where it\n"
		"was. With --verify records come raw from a node, and each is checked: its checksums, that its number is the\n"
		"next one, and that the chain of hashes closes, also from one primary to the next.\n",
	.exits = "  0  printed, and with --verify all was in order\n  1  it was not, or there was no answer\n  2  wrong usage\n",
	CLI_COMMAND_OPTS(keys, struct consume_opts),
	.run = consume_run,
};
