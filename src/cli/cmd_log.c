/*
 * leash log cat, verify, info: the log of a node's data directory, read only; the node may be running.
 */
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>

#include "base/ids.h"
#include "cli/dir.h"
#include "cli/text.h"

#define OUT_BYTES (256 * 1024) /* written at once */

#define KEY_BASE(s, m)                                                                                       \
	{ "data_dir_base", CONF_AT_PATH(s, m), .text = DIR_BASE, .meta = "DIR",                              \
	  .help = "where the data directories of nodes are" }

#define HELP_DIR                                                                                             \
	"NODE is the name of a node on this machine; its data directory is <--data-dir-base>/NODE.\n"                 \
	"An argument with a \"/\" in it (\"./P1\") is the path of a data directory. The node may be running.\n"

/* --------------------------------------------------------------------------------------------------------------- cat */

struct cat_opts {
	char *base;
	bool committed;
	uint64_t from, to;
};

/* The record at @seq as a line. 0; positive enum rlog_error or negative errno. */
static int cat_one(struct rlog_reader *reader, leash_seq seq, struct buf *out)
{
	struct rlog_view view;
	struct rec_body body;
	int r = rlog_read(reader, seq, &view);

	if (r != 0)
		return r;
	if (rec_body_decode(view.body, &body) != 0)
		return RLOG_E_DAMAGED;
	return text_record(out, seq, &body);
}

static bool write_out(struct buf *out, size_t at_least)
{
	size_t n = buf_len(out);

	if (n <= at_least)
		return true;
	if (fwrite(buf_head(out), 1, n, stdout) != n)
		return false;
	buf_consume(out, n);
	return true;
}

/* Prints @from..@to; what cannot be read is told and left out. */
static int cat_range(const char *path, struct rlog_reader *reader, leash_seq from, leash_seq to)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	leash_seq bad = 0; /* the first of the unreadable ones at hand */
	int status = CLI_OK;

	for (leash_seq seq = from; seq <= to; seq++) {
		int r = cat_one(reader, seq, &out);

		if (r < 0)
			return cli_failed("%s: record %" PRIu64 ": %s", path, seq, dir_strerror(r));
		if (r == 0 && bad)
			status = cli_failed("%s: records %" PRIu64 " to %" PRIu64 " cannot be read", path, bad, seq - 1);
		bad = r == 0 ? 0 : bad ? bad : seq;
		if (!write_out(&out, OUT_BYTES))
			return cli_flush(CLI_FAILED);
	}
	if (bad)
		status = cli_failed("%s: records %" PRIu64 " to %" PRIu64 " cannot be read", path, bad, to);
	(void)write_out(&out, 0); /* a failure shows in the stream, below */
	return cli_flush(status);
}

/* How far to read: what is asked for if the mark vouches for it, else what verifying finds. */
static int cat_end(const char *path, const struct cat_opts *o, leash_seq mark, leash_seq *ret_end)
{
	_cleanup_(freep) struct dir_report *report = NULL;
	leash_seq end = o->to ? o->to : UINT64_MAX;
	char why[DIR_TEXT];

	if (o->committed)
		end = MIN2(end, mark);
	if (end <= mark) {
		*ret_end = end;
		return CLI_OK;
	}
	report = malloc(sizeof *report);
	if (!report)
		return cli_failed("out of memory");
	if (dir_verify(path, o->to, report, why) < 0)
		return cli_failed("%s", why);
	*ret_end = MIN2(end, MAX2(report->result.end, mark));
	return CLI_OK;
}

static void reader_closep(struct rlog_reader **r)
{
	rlog_reader_close(*r);
}

static int cat_run(const void *opts, char **operands, size_t n_operands _unused_)
{
	_cleanup_(reader_closep) struct rlog_reader *reader = NULL;
	const struct cat_opts *o = opts;
	char path[PATH_MAX], why[DIR_TEXT];
	struct rlog_meta meta;
	leash_seq mark, start, end = 0;
	int r;

	if (o->to && o->from > o->to)
		return cli_misused("--from is behind --to");
	if (!dir_path(o->base, operands[0], path))
		return cli_misused("the path is too long");
	if (dir_peek(path, &meta, &mark, why) < 0 || dir_start(path, &start, why) < 0)
		return cli_failed("%s", why);
	r = cat_end(path, o, mark, &end);
	if (r != CLI_OK)
		return r;
	if (o->from && o->from < start)
		cli_note("%s: the oldest kept record is %" PRIu64, path, start);
	r = rlog_reader_open(path, &rlog_posix, REC_BODY_BYTES_MAX, &reader);
	if (r < 0)
		return cli_failed("%s: %s", path, dir_strerror(r));
	return cat_range(path, reader, MAX2(start, o->from), end);
}

static const struct conf_key cat_keys[] = {
	{ "committed", CONF_AT_BOOL(struct cat_opts, committed),
	  .help = "stop at the last record that the node is known to have acknowledged" },
	{ "from", CONF_AT_NUMBER(struct cat_opts, from), .meta = "SEQ", .help = "first sequence number" },
	{ "to", CONF_AT_NUMBER(struct cat_opts, to), .meta = "SEQ", .help = "last sequence number" },
	KEY_BASE(struct cat_opts, base),
};

const struct cli_command cli_log_cat = {
	.name = "log cat",
	.operands = "NODE|DIR",
	.about = "print the records in a node's log",
	.help = HELP_DIR
		"\nA line is \"[<producer>/<id>] <sequence> <payload>\". The payload is the value if there is one field, else\n"
		"field=value joined by blanks. Bytes outside 0x20-0x7e and \"\\\" are \\xNN; in producer and id also \"[\" and\n"
		"\"]\", in the producer also \"/\". The id of IDMPSEQ is its number, of IDMPAUTO the hash of the payload in hex.\n"
		"A message that came without an id has the gateway's session (16 hex digits) and its counter; without either\n"
		"it is [/<sequence>]. So this prints nothing, ever:\n\n"
		"    leash log cat P1 | awk -F'[][]' '{print $2}' | sort | uniq -d\n\n"
		"What lies behind the last acknowledged record may still be cut or commit, as the cluster decides.\n",
	.exits = "  0  printed\n  1  it could not be read, or parts of it are damaged\n  2  wrong usage\n",
	CLI_COMMAND_OPTS(cat_keys, struct cat_opts),
	.operands_min = 1,
	.operands_max = 1,
	.run = cat_run,
};

/* ------------------------------------------------------------------------------------------------------------ verify */

#define VERIFY_DIRS_MAX 16

struct verify_opts {
	char *base;
	uint64_t to;
};

static void print_problem(const char *path, const struct rlog_damage *d)
{
	printf("%s: %s", path, d->path);
	if (d->offset)
		printf(" at byte %" PRIu64, d->offset);
	if (d->first && d->last == 0)
		printf(", from record %" PRIu64 " on", d->first);
	else if (d->first && d->last == d->first)
		printf(", record %" PRIu64, d->first);
	else if (d->first)
		printf(", records %" PRIu64 " to %" PRIu64, d->first, d->last);
	printf(": %s\n", d->reason);
}

static int verify_one(const char *path, leash_seq to, struct rlog_verify_result *ret_result)
{
	_cleanup_(freep) struct dir_report *report = malloc(sizeof *report);
	const struct rlog_verify_result *v;
	struct rlog_meta meta;
	char why[DIR_TEXT];
	leash_seq mark;

	if (!report)
		return cli_failed("out of memory");
	if (dir_peek(path, &meta, &mark, why) < 0 || dir_verify(path, to, report, why) < 0)
		return cli_failed("%s", why);
	v = &report->result;
	for (size_t i = 0; i < report->n_problems; i++)
		print_problem(path, &report->problems[i]);
	if (v->n_problems > report->n_problems)
		printf("%s: %zu problems more\n", path, v->n_problems - report->n_problems);
	printf("%s: %s: records %" PRIu64 " to %" PRIu64 ", acknowledged to %" PRIu64 ", %" PRIu64
	       " bytes, chain %016" PRIx64 "%016" PRIx64 "\n",
		path, v->n_problems ? "damaged" : "clean", v->start, v->end, v->mark, v->bytes, v->chain.hi, v->chain.lo);
	*ret_result = *v;
	return v->n_problems ? CLI_FAILED : CLI_OK;
}

static int chain_at(struct rlog_reader *r, leash_seq seq, struct leash_chain *ret_chain)
{
	struct rlog_view view;
	int e = rlog_read(r, seq, &view);

	if (e == 0)
		*ret_chain = view.h.chain;
	return e;
}

/* The last record up to which two logs are the same, searched in lo..hi: the chain covers all before it, so equal
 * chains mean equal logs and the search may halve. @lo - 1 when they differ from the start. */
static int last_common(struct rlog_reader *a, struct rlog_reader *b, leash_seq lo, leash_seq hi, leash_seq *ret_seq)
{
	leash_seq same = lo - 1;

	while (lo <= hi) {
		leash_seq mid = lo + (hi - lo) / 2;
		struct leash_chain ca, cb;
		int e = chain_at(a, mid, &ca);

		if (e == 0)
			e = chain_at(b, mid, &cb);
		if (e != 0)
			return e;
		if (leash_chain_eq(ca, cb)) {
			same = mid;
			lo = mid + 1;
		} else {
			hi = mid - 1;
		}
	}
	*ret_seq = same;
	return 0;
}

/* Compares what two logs both have. What both have acknowledged must be the same. */
static int compare_two(const char *a, const struct rlog_verify_result *ra, const char *b,
	const struct rlog_verify_result *rb)
{
	_cleanup_(reader_closep) struct rlog_reader *reader_a = NULL, *reader_b = NULL;
	leash_seq lo = MAX2(ra->start, rb->start), hi = MIN2(ra->end, rb->end), same;
	leash_seq due = MIN2(hi, MIN2(ra->mark, rb->mark));
	int r;

	if (lo > hi) {
		printf("%s and %s have no record in common\n", a, b);
		return CLI_OK;
	}
	r = rlog_reader_open(a, &rlog_posix, REC_BODY_BYTES_MAX, &reader_a);
	if (r == 0)
		r = rlog_reader_open(b, &rlog_posix, REC_BODY_BYTES_MAX, &reader_b);
	if (r == 0)
		r = last_common(reader_a, reader_b, lo, hi, &same);
	if (r != 0)
		return cli_failed("%s and %s cannot be compared: %s", a, b, dir_strerror(r));
	if (same == hi)
		printf("%s and %s are the same from %" PRIu64 " to %" PRIu64 "\n", a, b, lo, hi);
	else
		printf("%s and %s differ from record %" PRIu64 " on%s\n", a, b, same + 1,
			same >= due ? ", behind what both have acknowledged" : "");
	return same >= due ? CLI_OK : CLI_FAILED;
}

static int verify_run(const void *opts, char **operands, size_t n_operands)
{
	const struct verify_opts *o = opts;
	_cleanup_(freep) char(*paths)[PATH_MAX] = calloc(n_operands, sizeof *paths);
	struct rlog_verify_result results[VERIFY_DIRS_MAX];
	int status = CLI_OK;

	if (!paths)
		return cli_failed("out of memory");
	for (size_t i = 0; i < n_operands; i++) {
		if (!dir_path(o->base, operands[i], paths[i]))
			return cli_misused("the path is too long");
		if (verify_one(paths[i], o->to, &results[i]) != CLI_OK)
			status = CLI_FAILED;
	}
	for (size_t i = 1; i < n_operands && status == CLI_OK; i++)
		status = compare_two(paths[0], &results[0], paths[i], &results[i]);
	return cli_flush(status);
}

static const struct conf_key verify_keys[] = {
	{ "to", CONF_AT_NUMBER(struct verify_opts, to), .meta = "SEQ", .help = "look no further than this record" },
	KEY_BASE(struct verify_opts, base),
};

const struct cli_command cli_log_verify = {
	.name = "log verify",
	.operands = "NODE|DIR...",
	.about = "verify every checksum, the chain and the order of a log, and compare logs",
	.help = HELP_DIR "\nWith several, what the first and each other one have in common is compared, too.\n",
	.exits = "  0  clean, and what was acknowledged is the same in all\n"
		 "  1  damaged, different, or it could not be read\n  2  wrong usage\n",
	CLI_COMMAND_OPTS(verify_keys, struct verify_opts),
	.operands_min = 1,
	.operands_max = VERIFY_DIRS_MAX,
	.run = verify_run,
};

/* -------------------------------------------------------------------------------------------------------------- info */

struct info_opts {
	char *base;
	bool json;
};

struct info {
	struct rlog_meta meta;
	leash_seq mark;
	struct dir_report report;
};

static void print_info(const char *path, const struct info *i)
{
	const struct rlog_verify_result *v = &i->report.result;
	char id[LEASH_ID_TEXT];

	printf("directory     %s\n", path);
	printf("engine, node  %s, %s\n", i->meta.engine, i->meta.node);
	printf("cluster       %s\n", i->meta.cluster ? id_format(i->meta.cluster, id) : "none yet");
	printf("incarnation   %s\n", id_format(i->meta.incarnation, id));
	printf("promise       epoch %" PRIu64 " of run %s\n", i->meta.promise, id_format(i->meta.promise_run, id));
	printf("log epoch     %" PRIu64 ", matched to %" PRIu64 "\n", i->meta.log_epoch, i->meta.log_matched);
	printf("records       %" PRIu64 " to %" PRIu64 ", %" PRIu64 " bytes\n", v->start, v->end, v->bytes);
	printf("acknowledged  to %" PRIu64 "\n", i->mark);
	printf("chain         %016" PRIx64 "%016" PRIx64 "\n", v->chain.hi, v->chain.lo);
	printf("in-sync set   version %" PRIu64 ", recovery %" PRIu64 ", etcd revision %" PRIu64 "\n",
		i->meta.insync_version, i->meta.recovery, i->meta.etcd_revision);
	printf("cluster-wide  min_insync %" PRIu32 ", dedup_window %" PRIu64 "\n", i->meta.min_insync,
		i->meta.dedup_window);
	printf("state         %s\n", v->n_problems ? "damaged: see leash log verify" : "clean");
}

static void add_number(struct json_object *o, const char *name, uint64_t v)
{
	(void)json_object_object_add(o, name, json_object_new_uint64(v));
}

static void add_id(struct json_object *o, const char *name, leash_id id)
{
	char text[LEASH_ID_TEXT];

	(void)json_object_object_add(o, name, json_object_new_string(id_format(id, text)));
}

static void print_info_json(const char *path, const struct info *i)
{
	const struct rlog_verify_result *v = &i->report.result;
	struct json_object *o = json_object_new_object();
	char chain[33];

	(void)snprintf(chain, sizeof chain, "%016" PRIx64 "%016" PRIx64, v->chain.hi, v->chain.lo);
	(void)json_object_object_add(o, "directory", json_object_new_string(path));
	(void)json_object_object_add(o, "engine", json_object_new_string(i->meta.engine));
	(void)json_object_object_add(o, "node", json_object_new_string(i->meta.node));
	add_id(o, "cluster", i->meta.cluster);
	add_id(o, "incarnation", i->meta.incarnation);
	add_number(o, "promise", i->meta.promise);
	add_number(o, "log_epoch", i->meta.log_epoch);
	add_number(o, "log_matched", i->meta.log_matched);
	add_number(o, "log_start", v->start);
	add_number(o, "log_end", v->end);
	add_number(o, "acknowledged", i->mark);
	add_number(o, "records", v->records);
	add_number(o, "bytes", v->bytes);
	(void)json_object_object_add(o, "chain", json_object_new_string(chain));
	add_number(o, "insync_version", i->meta.insync_version);
	add_number(o, "recovery", i->meta.recovery);
	add_number(o, "etcd_revision", i->meta.etcd_revision);
	add_number(o, "min_insync", i->meta.min_insync);
	add_number(o, "dedup_window", i->meta.dedup_window);
	add_number(o, "problems", v->n_problems);
	printf("%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	(void)json_object_put(o);
}

static int info_run(const void *opts, char **operands, size_t n_operands _unused_)
{
	_cleanup_(freep) struct info *i = calloc(1, sizeof *i);
	const struct info_opts *o = opts;
	char path[PATH_MAX], why[DIR_TEXT];

	if (!i)
		return cli_failed("out of memory");
	if (!dir_path(o->base, operands[0], path))
		return cli_misused("the path is too long");
	if (dir_peek(path, &i->meta, &i->mark, why) < 0 || dir_verify(path, 0, &i->report, why) < 0)
		return cli_failed("%s", why);
	if (o->json)
		print_info_json(path, i);
	else
		print_info(path, i);
	return cli_flush(CLI_OK);
}

static const struct conf_key info_keys[] = {
	CLI_KEY_JSON(struct info_opts, json),
	KEY_BASE(struct info_opts, base),
};

const struct cli_command cli_log_info = {
	.name = "log info",
	.operands = "NODE|DIR",
	.about = "print what a node's log is and how far it goes",
	.help = HELP_DIR "\nThe whole log is read.\n",
	CLI_COMMAND_OPTS(info_keys, struct info_opts),
	.operands_min = 1,
	.operands_max = 1,
	.run = info_run,
};
