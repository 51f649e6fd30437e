#include "wire/xcmd_int.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/decimal.h"

#define XCMD_ID_BYTES_MAX 127
#define ERR_ID            "ERR Invalid stream ID specified as stream command argument"

int xcmd_fail(struct xcmd_err *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(err->text, sizeof err->text, fmt, ap);
	va_end(ap);
	return XCMD_E;
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

int xcmd_compare(struct bytes arg, const char *word)
{
	for (size_t i = 0; i < arg.len; i++) {
		int d = lower(arg.p[i]) - (uint8_t)word[i];

		if (d != 0 || word[i] == '\0')
			return d != 0 ? d : 1;
	}
	return word[arg.len] == '\0' ? 0 : -1;
}

bool xcmd_is(struct bytes arg, const char *word)
{
	return xcmd_compare(arg, word) == 0;
}

static bool is_char(struct bytes arg, char c)
{
	return arg.len == 1 && arg.p[0] == (uint8_t)c;
}

size_t xcmd_id_format(leash_seq seq, char text[XCMD_ID_TEXT])
{
	size_t n = decimal_u64(seq, text);

	memcpy(text + n, "-0", sizeof "-0");
	return n + 2;
}

/* ---------------------------------------------------------------------------------------------------- entry ids */

struct xid {
	uint64_t ms, seq;
};

/* Digits only, at least one. */
static bool digits(const uint8_t *p, size_t n, uint64_t *ret_v)
{
	uint64_t v = 0;

	if (n == 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		uint64_t d = (uint64_t)p[i] - '0';

		if (p[i] < '0' || p[i] > '9' || v > (UINT64_MAX - d) / 10)
			return false;
		v = v * 10 + d;
	}
	*ret_v = v;
	return true;
}

/* <ms> or <ms>-<seq>; @missing_seq stands in for what is not given. */
static bool id_strict(struct bytes arg, uint64_t missing_seq, struct xid *ret_id)
{
	const uint8_t *dash;
	size_t n;

	if (arg.len == 0 || arg.len > XCMD_ID_BYTES_MAX)
		return false;
	dash = memchr(arg.p, '-', arg.len);
	n = dash ? (size_t)(dash - arg.p) : arg.len;
	ret_id->seq = missing_seq;
	if (!digits(arg.p, n, &ret_id->ms))
		return false;
	return !dash || digits(dash + 1, arg.len - n - 1, &ret_id->seq);
}

/* One end of an interval: also "-", "+", and "(" for an end that is not included. */
static int interval_end(struct bytes arg, bool start, struct xid *ret_id, struct xcmd_err *err)
{
	uint64_t missing_seq = start ? 0 : UINT64_MAX;
	struct xid id;

	if (is_char(arg, '-') || is_char(arg, '+')) {
		uint64_t v = is_char(arg, '-') ? 0 : UINT64_MAX;

		*ret_id = (struct xid){ v, v };
		return 0;
	}
	if (arg.len < 2 || arg.p[0] != '(') {
		if (!id_strict(arg, missing_seq, ret_id))
			return xcmd_fail(err, ERR_ID);
		return 0;
	}
	if (!id_strict((struct bytes){ arg.p + 1, arg.len - 1 }, missing_seq, &id))
		return xcmd_fail(err, ERR_ID);
	if (start) {
		if (id.ms == UINT64_MAX && id.seq == UINT64_MAX)
			return xcmd_fail(err, "ERR invalid start ID for the interval");
		id.ms += ++id.seq == 0;
	} else {
		if (id.ms == 0 && id.seq == 0)
			return xcmd_fail(err, "ERR invalid end ID for the interval");
		id.ms -= id.seq-- == 0;
	}
	*ret_id = id;
	return 0;
}

/* ---------------------------------------------------------------------------------------------------------- XADD */

struct xadd_parse {
	const struct bytes *argv;
	uint32_t argc, i;     /* i: the argument that is looked at */
	struct xcmd_xadd out;
	bool idmp, trim_maxlen, trim_minid, approx, has_limit, has_refs, explicit_id;
	int64_t limit;
	struct xid explicit;
	struct xcmd_err *err;
};

/* MAXLEN|MINID [=|~] threshold */
static int xadd_trim(struct xadd_parse *x, bool maxlen)
{
	uint32_t more = x->argc - 1 - x->i;
	struct bytes next = x->argv[x->i + 1];
	struct xid id;
	int64_t n;

	if (x->trim_maxlen || x->trim_minid)
		return xcmd_fail(x->err,
			"ERR syntax error, MAXLEN and MINID options at the same time are not compatible");
	x->i++;
	x->approx = is_char(next, '~');
	if (more >= 2 && (is_char(next, '~') || is_char(next, '=')))
		x->i++;
	if (maxlen) {
		if (!resp_parse_integer(x->argv[x->i], &n))
			return xcmd_fail(x->err, XCMD_ERR_INTEGER);
		if (n < 0)
			return xcmd_fail(x->err, "ERR The MAXLEN argument must be >= 0.");
		x->trim_maxlen = true;
	} else {
		if (!id_strict(x->argv[x->i], 0, &id))
			return xcmd_fail(x->err, ERR_ID);
		x->trim_minid = true;
	}
	return 0;
}

static int xadd_limit(struct xadd_parse *x)
{
	if (!resp_parse_integer(x->argv[++x->i], &x->limit))
		return xcmd_fail(x->err, XCMD_ERR_INTEGER);
	if (x->limit < 0)
		return xcmd_fail(x->err, "ERR The LIMIT argument must be >= 0.");
	x->has_limit = true;
	return 0;
}

/* IDMP producer id | IDMPAUTO producer | IDMPSEQ producer n; producer and id may be any bytes, also "*". */
static int xadd_idmp(struct xadd_parse *x, enum rec_id_kind kind, const char *option)
{
	if (x->idmp)
		return xcmd_fail(x->err, "ERR IDMP/IDMPAUTO specified multiple times");
	x->idmp = true;
	x->out.kind = kind;
	x->out.producer = x->argv[++x->i];
	if (x->out.producer.len == 0)
		return xcmd_fail(x->err, "ERR %s requires a non-empty producer ID", option);
	if (kind == REC_ID_AUTO)
		return 0;
	x->i++;
	if (kind == REC_ID_OPAQUE) {
		x->out.id = x->argv[x->i];
		if (x->out.id.len == 0)
			return xcmd_fail(x->err, "ERR IDMP requires a non-empty idempotent ID");
		return 0;
	}
	if (!digits(x->argv[x->i].p, x->argv[x->i].len, &x->out.n) || x->out.n == 0)
		return xcmd_fail(x->err, "ERR IDMPSEQ requires a number from 1 to 18446744073709551615");
	return 0;
}

/* An id of the caller's: <ms>, <ms>-<seq>, <ms>-*. */
static int xadd_explicit(struct xadd_parse *x)
{
	struct bytes id = x->argv[x->i];

	x->explicit_id = true;
	if (id.len > 2 && memcmp(id.p + id.len - 2, "-*", 2) == 0) {
		if (!digits(id.p, id.len - 2, &x->explicit.ms))
			return xcmd_fail(x->err, ERR_ID);
		x->explicit.seq = 1;
		return 0;
	}
	return id_strict(id, 0, &x->explicit) ? 0 : xcmd_fail(x->err, ERR_ID);
}

/* Options up to the id, at which i stops; or argc, when there is none. */
static int xadd_options(struct xadd_parse *x)
{
	int r = 0;

	for (x->i = 2; r == 0 && x->i < x->argc; x->i++) {
		struct bytes opt = x->argv[x->i];
		uint32_t more = x->argc - 1 - x->i;

		if (is_char(opt, '*'))
			return 0;
		if (more && xcmd_is(opt, "maxlen"))
			r = xadd_trim(x, true);
		else if (more && xcmd_is(opt, "minid"))
			r = xadd_trim(x, false);
		else if (more && xcmd_is(opt, "limit"))
			r = xadd_limit(x);
		else if (xcmd_is(opt, "nomkstream"))
			x->out.nomkstream = true;
		else if (xcmd_is(opt, "keepref") || xcmd_is(opt, "delref") || xcmd_is(opt, "acked"))
			r = x->has_refs ? xcmd_fail(x->err, XCMD_ERR_SYNTAX) : (int)(x->has_refs = true, 0);
		else if (more >= 2 && xcmd_is(opt, "idmp"))
			r = xadd_idmp(x, REC_ID_OPAQUE, "IDMP");
		else if (more >= 1 && xcmd_is(opt, "idmpauto"))
			r = xadd_idmp(x, REC_ID_AUTO, "IDMPAUTO");
		else if (more >= 2 && xcmd_is(opt, "idmpseq"))
			r = xadd_idmp(x, REC_ID_SEQ, "IDMPSEQ");
		else
			return xadd_explicit(x);
	}
	return r;
}

/* What options say together, in the order in which Redis looks. */
static int xadd_check(struct xadd_parse *x)
{
	bool trim = x->trim_maxlen || x->trim_minid;

	if (x->limit && !trim)
		return xcmd_fail(x->err,
			"ERR syntax error, LIMIT cannot be used without specifying a trimming strategy");
	if (x->has_limit && !x->approx)
		return xcmd_fail(x->err, "ERR syntax error, LIMIT cannot be used without the special ~ option");
	if (x->idmp && x->explicit_id)
		return xcmd_fail(x->err, "ERR IDMP/IDMPAUTO can be used only with auto-generated IDs");
	if (x->i + 2 >= x->argc || (x->argc - x->i - 1) % 2)
		return xcmd_fail_arity(x->err, "xadd");
	if (x->explicit_id && x->explicit.ms == 0 && x->explicit.seq == 0)
		return xcmd_fail(x->err, "ERR The ID specified in XADD must be greater than 0-0");
	if (x->explicit_id)
		return xcmd_fail(x->err,
			"ERR explicit entry IDs are not supported: use *, entries are numbered <sequence>-0 without a gap");
	if (trim)
		return xcmd_fail(x->err,
			"ERR MAXLEN and MINID are not supported: retention is configured on the nodes");
	return 0;
}

/* With options, or wrong. */
static int xadd_full(const struct bytes *argv, uint32_t argc, struct xcmd_xadd *ret, struct xcmd_err *err)
{
	struct xadd_parse x = { .argv = argv, .argc = argc, .err = err };
	int r;

	x.out.key = argv[1];
	r = xadd_options(&x);
	if (r == 0)
		r = xadd_check(&x);
	if (r)
		return r;
	x.out.pairs = argv + x.i + 1;
	x.out.n_pairs = (argc - x.i - 1) / 2;
	*ret = x.out;
	return 0;
}

int xcmd_xadd(const struct bytes *argv, uint32_t argc, struct xcmd_xadd *ret, struct xcmd_err *err)
{
	must(argc >= 2);
	if (argc < 5 || argc % 2 == 0 || !is_char(argv[2], '*'))
		return xadd_full(argv, argc, ret, err);
	*ret = (struct xcmd_xadd){ .key = argv[1], .kind = REC_ID_NONE, .pairs = argv + 3, .n_pairs = (argc - 3) / 2 };
	return 0;
}

/* --------------------------------------------------------------------------------------------------------- XREAD */

static int xread_from(struct bytes arg, struct xcmd_from *ret, struct xcmd_err *err)
{
	struct xid id;

	*ret = (struct xcmd_from){ .kind = XCMD_FROM_AFTER };
	if (is_char(arg, '$'))
		ret->kind = XCMD_FROM_NEW;
	else if (is_char(arg, '+'))
		ret->kind = XCMD_FROM_LAST;
	else if (is_char(arg, '>'))
		return xcmd_fail(err, "ERR The > ID can be specified only when calling XREADGROUP using the GROUP "
				      "<group> <consumer> option.");
	else if (!id_strict(arg, 0, &id))
		return xcmd_fail(err, ERR_ID);
	else
		ret->after = id.ms; /* behind <ms>-<any>: the next is <ms + 1>-0 */
	return 0;
}

/* What follows STREAMS. */
static int xread_streams(const struct bytes *argv, uint32_t argc, struct xcmd_xread *x, struct xcmd_err *err)
{
	if (argc % 2)
		return xcmd_fail(err, "ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or "
				      "'$' must be specified.");
	if (argc / 2 > XCMD_STREAMS_MAX)
		return xcmd_fail(err, "ERR too many streams in one XREAD, at most %d", XCMD_STREAMS_MAX);
	x->n_streams = argc / 2;
	x->keys = argv;
	for (uint32_t i = 0; i < x->n_streams; i++) {
		int r = xread_from(argv[x->n_streams + i], &x->from[i], err);

		if (r)
			return r;
	}
	return 0;
}

int xcmd_xread(const struct bytes *argv, uint32_t argc, struct xcmd_xread *ret, struct xcmd_err *err)
{
	int64_t n;
	int r;

	ret->count = ret->block_ms = 0;
	ret->block = false;
	for (uint32_t i = 1; i < argc; i++) {
		uint32_t more = argc - 1 - i;

		if (more && xcmd_is(argv[i], "block")) {
			r = xcmd_timeout(argv[++i], &ret->block_ms, err);
			if (r)
				return r;
			ret->block = true;
		} else if (more && xcmd_is(argv[i], "count")) {
			if (!resp_parse_integer(argv[++i], &n))
				return xcmd_fail(err, XCMD_ERR_INTEGER);
			ret->count = n > 0 ? (uint64_t)n : 0;
		} else if (more && xcmd_is(argv[i], "streams")) {
			return xread_streams(argv + i + 1, more, ret, err);
		} else if (more >= 2 && xcmd_is(argv[i], "group")) {
			return xcmd_fail(err,
				"ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.");
		} else if (xcmd_is(argv[i], "noack")) {
			return xcmd_fail(err,
				"ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.");
		} else {
			return xcmd_fail(err, XCMD_ERR_SYNTAX);
		}
	}
	return xcmd_fail(err, XCMD_ERR_SYNTAX);
}

/* ------------------------------------------------------------------------------------------------ XRANGE and others */

/* Which of the entries 1-0, 2-0, 3-0 ... lie in start..end? */
static void range_seqs(struct xid start, struct xid end, struct xcmd_range *x)
{
	bool none = start.seq > 0 && start.ms == UINT64_MAX;

	x->from = start.ms + (start.seq > 0);
	x->from = MAX2(x->from, (leash_seq)1);
	x->to = end.ms;
	x->empty = none || x->from > x->to;
	if (x->empty)
		x->from = x->to = 0;
}

int xcmd_xrange(const struct bytes *argv, uint32_t argc, bool reverse, struct xcmd_range *ret, struct xcmd_err *err)
{
	struct xcmd_range x = { .key = argv[1], .reverse = reverse };
	struct xid start, end;
	int64_t n;
	int r;

	must(argc >= 4);
	r = interval_end(argv[reverse ? 3 : 2], true, &start, err);
	if (r == 0)
		r = interval_end(argv[reverse ? 2 : 3], false, &end, err);
	if (r)
		return r;
	for (uint32_t i = 4; i < argc; i += 2) {
		if (i + 1 == argc || !xcmd_is(argv[i], "count"))
			return xcmd_fail(err, XCMD_ERR_SYNTAX);
		if (!resp_parse_integer(argv[i + 1], &n))
			return xcmd_fail(err, XCMD_ERR_INTEGER);
		x.null = n <= 0;
		x.count = n > 0 ? (uint64_t)n : 0;
	}
	range_seqs(start, end, &x);
	*ret = x;
	return 0;
}

int xcmd_xinfo_stream(const struct bytes *argv, uint32_t argc, struct xcmd_xinfo *ret, struct xcmd_err *err)
{
	struct xcmd_xinfo x = { .count = 10 };
	int64_t n;

	must(argc >= 3);
	x.key = argv[2];
	x.full = argc > 3;
	if ((argc > 3 && !xcmd_is(argv[3], "full")) || argc == 5 || argc > 6 ||
		(argc == 6 && !xcmd_is(argv[4], "count")))
		return xcmd_fail(err,
			"ERR unknown subcommand or wrong number of arguments for '%.*s'. Try XINFO HELP.",
			(int)MIN2(argv[1].len, (size_t)128), (const char *)argv[1].p);
	if (argc == 6) {
		if (!resp_parse_integer(argv[5], &n))
			return xcmd_fail(err, XCMD_ERR_INTEGER);
		x.count = n >= 0 ? (uint64_t)n : 10;
	}
	*ret = x;
	return 0;
}

int xcmd_xcfgset(const struct bytes *argv, uint32_t argc, struct xcmd_xcfgset *ret, struct xcmd_err *err)
{
	struct xcmd_xcfgset x = { .key = argv[1] };
	int64_t n;

	must(argc >= 2);
	for (uint32_t i = 2; i < argc; i += 2) {
		bool duration = xcmd_is(argv[i], "idmp-duration");

		if (i + 1 == argc || (!duration && !xcmd_is(argv[i], "idmp-maxsize")))
			return xcmd_fail(err, XCMD_ERR_SYNTAX);
		if (!resp_parse_integer(argv[i + 1], &n))
			return xcmd_fail(err, XCMD_ERR_INTEGER);
		if (n < 1 || n > (duration ? 86400 : 10000))
			return xcmd_fail(err, duration ? "ERR IDMP-DURATION must be between 1 and 86400 seconds" :
							 "ERR IDMP-MAXSIZE must be between 1 and 10000 entries");
		*(duration ? &x.has_duration : &x.has_maxsize) = true;
		*(duration ? &x.duration_s : &x.maxsize) = (uint32_t)n;
	}
	if (!x.has_duration && !x.has_maxsize)
		return xcmd_fail(err, "ERR At least one parameter must be specified");
	*ret = x;
	return 0;
}
