#include <check.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "wire/resp.h"

#define LIMITS ((struct resp_limits){ .command_bytes_max = RESP_INLINE_BYTES_MAX, .args_max = 1000 })

static struct bytes str(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

static struct bytes all_of(const struct buf *b)
{
	return (struct bytes){ buf_head(b), buf_len(b) };
}

/* Moves the content to exactly fitting memory, so that the sanitizer sees one byte too many. */
static void fit(struct buf *b)
{
	size_t len = buf_len(b);
	uint8_t *p = malloc(len ? len : 1);

	ck_assert_ptr_nonnull(p);
	if (len)
		memcpy(p, buf_head(b), len);
	free(b->data);
	*b = (struct buf){ .data = p, .end = len, .cap = len ? len : 1 };
}

/* --------------------------------------------------------------------------------------------------------- requests */

/* Takes what is complete; writes each command as "[a][b]", a dropped one as "<big name>", an error as "<text>". */
static int take(struct resp_parser *p, struct buf *in, struct buf *out)
{
	struct resp_command c;
	int r;

	for (;;) {
		fit(in);
		r = resp_parse(p, in, &c);
		if (r == RESP_E_TOO_BIG) {
			ck_assert_int_eq(buf_printf(out, "<big %s>", p->dropped), 0);
			continue;
		}
		if (r == RESP_E_PROTO)
			ck_assert_int_eq(buf_printf(out, "<%s>", p->error), 0);
		if (r != 0)
			return r;
		for (uint32_t i = 0; i < c.argc; i++) {
			ck_assert_int_eq(buf_put(out, "[", 1), 0);
			ck_assert_int_eq(buf_put(out, c.argv[i].p, c.argv[i].len), 0);
			ck_assert_int_eq(buf_put(out, "]", 1), 0);
		}
		ck_assert_int_eq(buf_put(out, ";", 1), 0);
		buf_consume(in, c.bytes);
	}
}

/* Feeds @text in two parts, or (@cut is SIZE_MAX) byte by byte; what came out is left in @out. */
static int feed(struct resp_limits limits, struct bytes text, size_t cut, struct buf *out)
{
	_cleanup_(resp_parser_deinit) struct resp_parser p = { 0 };
	_cleanup_(buf_deinit) struct buf in = BUF_NULL;
	size_t at = 0;
	int r = RESP_MORE;

	resp_parser_init(&p, limits);
	while (at < text.len && r == RESP_MORE) {
		size_t n = cut == SIZE_MAX ? 1 : at < cut ? cut - at : text.len - at;

		ck_assert_int_eq(buf_put(&in, text.p + at, n), 0);
		at += n;
		r = take(&p, &in, out);
		ck_assert_uint_le(buf_len(&in), limits.command_bytes_max + n + 32);
	}
	ck_assert_int_eq(buf_put(out, "", 1), 0);
	return r;
}

static const struct {
	const char *in, *out;
} requests[] = {
	{ "*1\r\n$4\r\nPING\r\n", "[PING];" },
	{ "*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", "[ECHO][];" },
	{ "*2\r\n$4\r\nECHO\r\n$4\r\na\r\nb\r\n", "[ECHO][a\r\nb];" },
	{ "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nQUIT\r\nPING\r\n", "[PING];[QUIT];[PING];" },
	{ "*0\r\n*-1\r\n*-7\r\nPING\r\n", "[PING];" },
	{ "\r\n\n  \r\nPING\r\n", "[PING];" },
	{ "PING\n", "[PING];" },
	{ "  ECHO   \"a b\"\t'c d' e\r\n", "[ECHO][a b][c d][e];" },
	{ "ECHO \"\\x41\\n\\r\\t\\b\\a\\\\\\\"\\q\\x4\"\r\n", "[ECHO][A\n\r\t\b\a\\\"qx4];" },
	{ "ECHO 'it\\'s' '\\n'\r\n", "[ECHO][it's][\\n];" },
	{ "ECHO \"\" ''\r\n", "[ECHO][][];" },
	{ "ECHO a\"b c\"\r\n", "[ECHO][ab c];" },
	{ "PING \"a\r\n", "<unbalanced quotes in request>" },
	{ "PING 'a\r\n", "<unbalanced quotes in request>" },
	{ "PING \"a\"b\r\n", "<unbalanced quotes in request>" },
	{ "PING 'a'b\r\n", "<unbalanced quotes in request>" },
	{ "*a\r\n", "<invalid multibulk length>" },
	{ "* 1\r\n", "<invalid multibulk length>" },
	{ "*01\r\n", "<invalid multibulk length>" },
	{ "*+1\r\n", "<invalid multibulk length>" },
	{ "*\r\n", "<invalid multibulk length>" },
	{ "*1\rx", "<invalid multibulk length>" },
	{ "*1\n$4\r\n", "<invalid multibulk length>" },
	{ "*1048577\r\n", "<invalid multibulk length>" },
	{ "*99999999999999999999\r\n", "<invalid multibulk length>" },
	{ "*1\r\nx3\r\n", "<expected '$', got 'x'>" },
	{ "*1\r\n\r\n$4\r\nPING\r\n", "<expected '$', got ' '>" },
	{ "*1\r\n\377\r\n", "<expected '$', got '\\xff'>" },
	{ "*1\r\n$-1\r\n", "<invalid bulk length>" },
	{ "*1\r\n$+4\r\nPING\r\n", "<invalid bulk length>" },
	{ "*1\r\n$04\r\nPING\r\n", "<invalid bulk length>" },
	{ "*1\r\n$4 \r\nPING\r\n", "<invalid bulk length>" },
	{ "*1\r\n$4\nPING\r\n", "<invalid bulk length>" },
	{ "*1\r\n$\r\n", "<invalid bulk length>" },
	{ "*1\r\n$536870913\r\n", "<invalid bulk length>" },
	{ "*1\r\n$999999999999\r\n", "<invalid bulk length>" },
	{ "*1\r\n$4\r\nPINGx\n", "<expected CRLF at the end of a bulk string>" },
	{ "*1\r\n$4\r\nPING\rx", "<expected CRLF at the end of a bulk string>" },
	{ "*1\r\n$4\r\nPINGxx", "<expected CRLF at the end of a bulk string>" },
	{ "*3\r\n$3\r\nfoo\r\n$3\r\na\r\nb\r\n$1\r\nc\r\n", "<expected CRLF at the end of a bulk string>" },
};

START_TEST(request_split_anywhere)
{
	struct bytes in = str(requests[_i].in);
	const char *want = requests[_i].out;

	for (size_t cut = 0; cut <= in.len; cut++) {
		_cleanup_(buf_deinit) struct buf out = BUF_NULL;
		int r = feed(LIMITS, in, cut == in.len ? SIZE_MAX : cut, &out);

		ck_assert_str_eq((char *)buf_head(&out), want);
		ck_assert_int_eq(r, strchr(want, '<') ? RESP_E_PROTO : RESP_MORE);
	}
}
END_TEST

START_TEST(request_that_is_incomplete_waits)
{
	static const char *const cases[] = { "", "P", "PING", "*", "*1", "*1\r", "*1\r\n", "*1\r\n$", "*1\r\n$4\r\nPING\r",
		"*1048576\r\n", "*2\r\n$4\r\nPING\r\n" };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(buf_deinit) struct buf out = BUF_NULL;
		struct resp_limits wide = { .command_bytes_max = 1 << 30, .args_max = RESP_ARGS_MAX };

		ck_assert_int_eq(feed(wide, str(cases[i]), 0, &out), RESP_MORE);
		ck_assert_str_eq((char *)buf_head(&out), "");
	}
}
END_TEST

START_TEST(arguments_lie_in_the_input)
{
	_cleanup_(resp_parser_deinit) struct resp_parser p = { 0 };
	_cleanup_(buf_deinit) struct buf in = BUF_NULL;
	const char *text = "*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\n";
	struct resp_command c;

	resp_parser_init(&p, LIMITS);
	ck_assert_int_eq(buf_put(&in, text, strlen(text)), 0);
	ck_assert_int_eq(resp_parse(&p, &in, &c), 0);
	ck_assert_ptr_eq(c.argv[0].p, buf_head(&in) + 8);
	ck_assert_ptr_eq(c.argv[1].p, buf_head(&in) + 18);
	ck_assert_uint_eq(c.bytes, strlen(text));
}
END_TEST

/* Lines that never end. */
START_TEST(too_long_lines)
{
	static const struct {
		const char *start, *out;
	} cases[] = {
		{ "x", "<too big inline request>" },
		{ "*1", "<too big mbulk count string>" },
		{ "*1\r\n$1", "<too big bulk count string>" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(buf_deinit) struct buf in = BUF_NULL, out = BUF_NULL;

		ck_assert_int_eq(buf_put(&in, cases[i].start, strlen(cases[i].start)), 0);
		while (buf_len(&in) < RESP_INLINE_BYTES_MAX + 20)
			ck_assert_int_eq(buf_put(&in, "1111111111", 10), 0);
		ck_assert_int_eq(feed(LIMITS, all_of(&in), 0, &out), RESP_E_PROTO);
		ck_assert_str_eq((char *)buf_head(&out), cases[i].out);
	}
}
END_TEST

static void put_bulk(struct buf *b, size_t len, char c)
{
	ck_assert_int_eq(buf_printf(b, "$%zu\r\n", len), 0);
	for (size_t i = 0; i < len; i++)
		ck_assert_int_eq(buf_put(b, &c, 1), 0);
	ck_assert_int_eq(buf_put(b, "\r\n", 2), 0);
}

/* A command over the limit is read to its end and dropped; feed() checks that it is not kept meanwhile. */
START_TEST(too_big_commands_are_dropped)
{
	_cleanup_(buf_deinit) struct buf in = BUF_NULL;
	const char *want = "<big XADD><big ><big ><big MA?Y>[PING];";
	const size_t cuts[] = { 0, 1, 5, 20, 65536, 65537, 100000, 200005, 200006, 200007, 200008, SIZE_MAX };

	ck_assert_int_eq(buf_printf(&in, "*3\r\n$4\r\nXADD\r\n"), 0); /* one big argument */
	put_bulk(&in, 200000, 'v');
	put_bulk(&in, 3, 'w');
	ck_assert_int_eq(buf_printf(&in, "*1\r\n"), 0); /* the name itself */
	put_bulk(&in, 70000, 'n');
	ck_assert_int_eq(buf_printf(&in, "*1001\r\n"), 0); /* too many arguments */
	for (int i = 0; i < 1001; i++)
		put_bulk(&in, 1, 'a');
	ck_assert_int_eq(buf_printf(&in, "*4\r\n$4\r\nMA\tY\r\n"), 0); /* too much in sum */
	for (int i = 0; i < 3; i++)
		put_bulk(&in, 30000, 's');
	ck_assert_int_eq(buf_printf(&in, "PING\r\n"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
		_cleanup_(buf_deinit) struct buf out = BUF_NULL;

		if (cuts[i] == SIZE_MAX) { /* in pieces of 1000 */
			_cleanup_(resp_parser_deinit) struct resp_parser p = { 0 };
			_cleanup_(buf_deinit) struct buf part = BUF_NULL;

			resp_parser_init(&p, LIMITS);
			for (size_t at = 0; at < buf_len(&in); at += 1000) {
				size_t n = MIN2((size_t)1000, buf_len(&in) - at);

				ck_assert_int_eq(buf_put(&part, buf_head(&in) + at, n), 0);
				ck_assert_int_eq(take(&p, &part, &out), RESP_MORE);
				ck_assert_uint_le(buf_len(&part), LIMITS.command_bytes_max + 1000);
			}
			ck_assert_int_eq(buf_put(&out, "", 1), 0);
		} else {
			ck_assert_int_eq(feed(LIMITS, all_of(&in), cuts[i], &out), RESP_MORE);
		}
		ck_assert_str_eq((char *)buf_head(&out), want);
	}
}
END_TEST

START_TEST(limit_to_the_byte)
{
	const size_t fixed = strlen("*1\r\n$65520\r\n") + 2;

	for (size_t over = 0; over < 2; over++) {
		_cleanup_(buf_deinit) struct buf in = BUF_NULL, out = BUF_NULL;

		ck_assert_int_eq(buf_printf(&in, "*1\r\n"), 0);
		put_bulk(&in, LIMITS.command_bytes_max - fixed + over, 'x');
		ck_assert_int_eq(feed(LIMITS, all_of(&in), 0, &out), RESP_MORE);
		ck_assert_int_eq(buf_head(&out)[0], over ? '<' : '[');
	}
}
END_TEST

START_TEST(dropped_commands_must_be_well_formed_too)
{
	_cleanup_(buf_deinit) struct buf in = BUF_NULL, out = BUF_NULL;

	ck_assert_int_eq(buf_printf(&in, "*2\r\n"), 0);
	put_bulk(&in, 70000, 'n');
	ck_assert_int_eq(buf_printf(&in, "x"), 0);
	ck_assert_int_eq(feed(LIMITS, all_of(&in), 100, &out), RESP_E_PROTO);
	ck_assert_str_eq((char *)buf_head(&out), "<expected '$', got 'x'>");
}
END_TEST

START_TEST(inline_with_too_many_arguments)
{
	_cleanup_(buf_deinit) struct buf in = BUF_NULL, out = BUF_NULL;

	for (int i = 0; i < 1001; i++)
		ck_assert_int_eq(buf_printf(&in, "a "), 0);
	ck_assert_int_eq(buf_printf(&in, "\r\nPING\r\n"), 0);
	ck_assert_int_eq(feed(LIMITS, all_of(&in), 7, &out), RESP_MORE);
	ck_assert_str_eq((char *)buf_head(&out), "<big a>[PING];");
}
END_TEST

START_TEST(many_arguments)
{
	_cleanup_(resp_parser_deinit) struct resp_parser p = { 0 };
	_cleanup_(buf_deinit) struct buf in = BUF_NULL;
	struct resp_command c;

	resp_parser_init(&p, (struct resp_limits){ .command_bytes_max = 10000000, .args_max = RESP_ARGS_MAX });
	for (int round = 0; round < 2; round++) {
		ck_assert_int_eq(buf_printf(&in, "*5000\r\n"), 0);
		for (int i = 0; i < 5000; i++)
			ck_assert_int_eq(buf_printf(&in, "$2\r\n%02d\r\n", i % 100), 0);
		ck_assert_int_eq(resp_parse(&p, &in, &c), 0);
		ck_assert_uint_eq(c.argc, 5000);
		ck_assert_mem_eq(c.argv[4999].p, "99", 2);
		buf_consume(&in, c.bytes);
		ck_assert_int_eq(buf_printf(&in, "PING\r\n"), 0);
		ck_assert_int_eq(resp_parse(&p, &in, &c), 0);
		ck_assert_uint_eq(c.argc, 1);
		buf_consume(&in, c.bytes);
	}
}
END_TEST

/* Garbage of all sorts: the parser answers, and stays inside. */
START_TEST(requests_mutated_at_random)
{
	uint64_t x = 88172645463325252u + (uint64_t)_i;

	for (int round = 0; round < 400; round++) {
		_cleanup_(buf_deinit) struct buf in = BUF_NULL, out = BUF_NULL;

		for (int k = 0; k < 4; k++) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			const char *s = requests[x % ARRAY_SIZE(requests)].in;
			ck_assert_int_eq(buf_put(&in, s, strlen(s)), 0);
		}
		for (int k = 0; k < 3; k++) {
			static const char bytes[] = "\r\n$*019\"'\\ x\0-";

			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			buf_head(&in)[x % buf_len(&in)] = (uint8_t)bytes[(x >> 40) % sizeof bytes];
		}
		int r = feed(LIMITS, all_of(&in), x % buf_len(&in), &out);
		ck_assert(r == RESP_MORE || r == RESP_E_PROTO);
		/* However it is cut, the same comes out. */
		_cleanup_(buf_deinit) struct buf again = BUF_NULL;
		ck_assert_int_eq(feed(LIMITS, all_of(&in), SIZE_MAX, &again), r);
		ck_assert_uint_eq(buf_len(&again), buf_len(&out));
		ck_assert_mem_eq(buf_head(&again), buf_head(&out), buf_len(&out));
	}
}
END_TEST

START_TEST(integers)
{
	static const struct {
		const char *text;
		bool ok;
		int64_t v;
	} cases[] = {
		{ "0", true, 0 }, { "7", true, 7 }, { "-1", true, -1 }, { "9223372036854775807", true, INT64_MAX },
		{ "-9223372036854775808", true, INT64_MIN }, { "9223372036854775808", false, 0 },
		{ "-9223372036854775809", false, 0 }, { "99999999999999999999999", false, 0 }, { "", false, 0 },
		{ "-", false, 0 }, { "+1", false, 0 }, { "01", false, 0 }, { "-0", false, 0 }, { "-01", false, 0 },
		{ " 1", false, 0 }, { "1 ", false, 0 }, { "1x", false, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int64_t v = 0;

		ck_assert_msg(resp_parse_integer(str(cases[i].text), &v) == cases[i].ok, "'%s'", cases[i].text);
		ck_assert_int_eq(v, cases[i].v);
	}
}
END_TEST

/* ---------------------------------------------------------------------------------------------------------- replies */

static void all_replies(struct resp_out *o)
{
	resp_simple(o, "OK");
	resp_error(o, "ERR bad\r\nthing");
	resp_errorf(o, "ERR %s %d", "n", 5);
	resp_integer(o, INT64_MIN);
	resp_bulk(o, (struct bytes){ (const uint8_t *)"a\0b", 3 });
	resp_bulk_str(o, "");
	resp_bulkf(o, "%d-%d", 7, 0);
	resp_null(o);
	resp_null_array(o);
	resp_array(o, 0);
	resp_map(o, 1);
	resp_bulk_str(o, "k");
	resp_integer(o, 1);
	resp_set(o, 1);
	resp_integer(o, 2);
	resp_push(o, 1);
	resp_integer(o, 3);
	resp_double(o, 0.1);
	resp_double(o, INFINITY);
	resp_double(o, -INFINITY);
	resp_double(o, NAN);
	resp_double(o, 3);
	resp_boolean(o, true);
	resp_boolean(o, false);
	resp_verbatim(o, "txt", str("hi"));
}

static const char resp2[] = "+OK\r\n-ERR bad  thing\r\n-ERR n 5\r\n:-9223372036854775808\r\n$3\r\na\0b\r\n$0\r\n\r\n"
			    "$3\r\n7-0\r\n$-1\r\n*-1\r\n*0\r\n*2\r\n$1\r\nk\r\n:1\r\n*1\r\n:2\r\n*1\r\n:3\r\n"
			    "$3\r\n0.1\r\n$3\r\ninf\r\n$4\r\n-inf\r\n$3\r\nnan\r\n$1\r\n3\r\n:1\r\n:0\r\n"
			    "$2\r\nhi\r\n";
static const char resp3[] = "+OK\r\n-ERR bad  thing\r\n-ERR n 5\r\n:-9223372036854775808\r\n$3\r\na\0b\r\n$0\r\n\r\n"
			    "$3\r\n7-0\r\n_\r\n_\r\n*0\r\n%1\r\n$1\r\nk\r\n:1\r\n~1\r\n:2\r\n>1\r\n:3\r\n"
			    ",0.1\r\n,inf\r\n,-inf\r\n,nan\r\n,3\r\n#t\r\n#f\r\n=6\r\ntxt:hi\r\n";

START_TEST(replies_of_both_versions)
{
	for (int version = 2; version <= 3; version++) {
		_cleanup_(buf_deinit) struct buf out = BUF_NULL;
		const char *want = version == 2 ? resp2 : resp3;
		size_t len = version == 2 ? sizeof resp2 - 1 : sizeof resp3 - 1;
		struct resp_out o = resp_begin(&out, version);

		all_replies(&o);
		ck_assert_int_eq(resp_end(&o), 0);
		ck_assert_uint_eq(buf_len(&out), len);
		ck_assert_mem_eq(buf_head(&out), want, len);
	}
}
END_TEST

START_TEST(replies_that_do_not_fit_leave_nothing)
{
	for (size_t max = 3; max < 3 + sizeof resp3 - 1; max++) {
		_cleanup_(buf_deinit) struct buf out = { .max = max };
		struct resp_out o;

		ck_assert_int_eq(buf_put(&out, "abc", 3), 0);
		o = resp_begin(&out, 3);
		all_replies(&o);
		ck_assert_int_eq(resp_end(&o), -ENOBUFS);
		ck_assert_uint_eq(buf_len(&out), 3);
		ck_assert_mem_eq(buf_head(&out), "abc", 3);
	}
}
END_TEST

/* -------------------------------------------------------------------------------------------------- reading replies */

/* Reads all replies there are in @text, given piece by piece; writes types and counts. */
static int read_all(struct bytes text, size_t step, uint32_t values_max, struct buf *out)
{
	_cleanup_(resp_reader_deinit) struct resp_reader r = { 0 };
	_cleanup_(buf_deinit) struct buf in = BUF_NULL;
	const struct resp_value *v;
	size_t bytes, at = 0;
	int e = RESP_MORE;

	resp_reader_init(&r, values_max);
	while (e == RESP_MORE && at < text.len) {
		size_t n = MIN2(step, text.len - at);

		ck_assert_int_eq(buf_put(&in, text.p + at, n), 0);
		at += n;
		fit(&in);
		while ((e = resp_read(&r, all_of(&in), &v, &bytes)) == 0) {
			for (uint32_t i = 0; i <= v[0].n_values; i++) {
				ck_assert_int_eq(buf_printf(out, "%c%u/%u", v[i].type, v[i].n, v[i].n_values), 0);
				if (v[i].type == RESP_T_INTEGER || v[i].type == RESP_T_BOOLEAN)
					ck_assert_int_eq(buf_printf(out, "=%lld", (long long)v[i].integer), 0);
				else if (v[i].type == RESP_T_DOUBLE)
					ck_assert_int_eq(buf_printf(out, "=%g", v[i].number), 0);
				else
					ck_assert_int_eq(buf_printf(out, "=%.*s", (int)v[i].text.len,
								 (const char *)v[i].text.p), 0);
				ck_assert_int_eq(buf_put(out, " ", 1), 0);
			}
			ck_assert_int_eq(buf_put(out, "; ", 2), 0);
			buf_consume(&in, bytes);
			fit(&in);
		}
	}
	ck_assert_int_eq(buf_put(out, "", 1), 0);
	return e;
}

static const struct {
	const char *in, *out;
	int e;
} replies[] = {
	{ "+OK\r\n", "+0/0=OK ; ", RESP_MORE },
	{ "+\r\n:5\r\n", "+0/0= ; :0/0=5 ; ", RESP_MORE },
	{ "-ERR x\r\n", "-0/0=ERR x ; ", RESP_MORE },
	{ ":-7\r\n", ":0/0=-7 ; ", RESP_MORE },
	{ "$3\r\na\r\n\r\n", "$0/0=a\r\n ; ", RESP_MORE },
	{ "$-1\r\n*-1\r\n_\r\n", "_0/0= ; _0/0= ; _0/0= ; ", RESP_MORE },
	{ "*2\r\n*2\r\n:1\r\n:2\r\n$1\r\nx\r\n", "*2/4= *2/2= :0/0=1 :0/0=2 $0/0=x ; ", RESP_MORE },
	{ "*2\r\n*0\r\n*1\r\n*0\r\n", "*2/3= *0/0= *1/1= *0/0= ; ", RESP_MORE },
	{ "%1\r\n+k\r\n*1\r\n:1\r\n", "%2/3= +0/0=k *1/1= :0/0=1 ; ", RESP_MORE },
	{ "~1\r\n#t\r\n>1\r\n#f\r\n", "~1/1= #0/0=1 ; >1/1= #0/0=0 ; ", RESP_MORE },
	{ ",1.5\r\n,inf\r\n,-inf\r\n,1e3\r\n", ",0/0=1.5 ; ,0/0=inf ; ,0/0=-inf ; ,0/0=1000 ; ", RESP_MORE },
	{ "=6\r\ntxt:hi\r\n", "=0/0=hi ; ", RESP_MORE },
	{ "(123456789012345678901234567890\r\n", "(0/0=123456789012345678901234567890 ; ", RESP_MORE },
	{ "!5\r\nERR x\r\n", "!0/0=ERR x ; ", RESP_MORE },
	{ "x\r\n", "", RESP_E_PROTO },
	{ "\r\n", "", RESP_E_PROTO },
	{ "+OK\rx", "", RESP_E_PROTO },
	{ ":\r\n", "", RESP_E_PROTO },
	{ ":1x\r\n", "", RESP_E_PROTO },
	{ "$x\r\n", "", RESP_E_PROTO },
	{ "$-2\r\n", "", RESP_E_PROTO },
	{ "*-2\r\n", "", RESP_E_PROTO },
	{ "%-1\r\n", "", RESP_E_PROTO },
	{ "$1\r\nabc", "", RESP_E_PROTO },
	{ "_x\r\n", "", RESP_E_PROTO },
	{ "#x\r\n", "", RESP_E_PROTO },
	{ "#tt\r\n", "", RESP_E_PROTO },
	{ ",\r\n", "", RESP_E_PROTO },
	{ ",1x\r\n", "", RESP_E_PROTO },
	{ "=3\r\ntxt\r\n", "", RESP_E_PROTO },
	{ "=5\r\ntxt.h\r\n", "", RESP_E_PROTO },
	{ "$536870913\r\n", "", RESP_E_TOO_BIG },
	{ "*101\r\n", "", RESP_E_TOO_BIG },
	{ "%51\r\n", "", RESP_E_TOO_BIG },
	{ "%9223372036854775807\r\n", "", RESP_E_TOO_BIG },
	{ "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*0\r\n",
		"*1/16= *1/15= *1/14= *1/13= *1/12= *1/11= *1/10= *1/9= *1/8= *1/7= *1/6= *1/5= *1/4= *1/3= *1/2= "
		"*1/1= *0/0= ; ", RESP_MORE },
	{ "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", "",
		RESP_E_TOO_BIG },
};

START_TEST(reply_read_in_any_steps)
{
	struct bytes in = str(replies[_i].in);

	for (size_t step = 1; step <= in.len; step++) {
		_cleanup_(buf_deinit) struct buf out = BUF_NULL;

		ck_assert_int_eq(read_all(in, step, 100, &out), replies[_i].e);
		ck_assert_str_eq((char *)buf_head(&out), replies[_i].out);
	}
}
END_TEST

START_TEST(reply_with_too_many_values)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;

	ck_assert_int_eq(read_all(str("*2\r\n*2\r\n:1\r\n:2\r\n:3\r\n"), 100, 5, &out), RESP_MORE);
	ck_assert_int_eq(read_all(str("*2\r\n*2\r\n:1\r\n:2\r\n:3\r\n"), 100, 4, &out), RESP_E_TOO_BIG);
}
END_TEST

START_TEST(what_is_written_is_read)
{
	for (int version = 2; version <= 3; version++) {
		_cleanup_(buf_deinit) struct buf text = BUF_NULL, out = BUF_NULL;
		struct resp_out o = resp_begin(&text, version);

		all_replies(&o);
		ck_assert_int_eq(resp_end(&o), 0);
		ck_assert_int_eq(read_all(all_of(&text), 3, 100, &out), RESP_MORE);
	}
}
END_TEST

START_TEST(replies_mutated_at_random)
{
	uint64_t x = 1181783497276652981u + (uint64_t)_i;

	for (int round = 0; round < 1000; round++) {
		_cleanup_(buf_deinit) struct buf in = BUF_NULL, out = BUF_NULL, again = BUF_NULL;

		ck_assert_int_eq(buf_put(&in, resp3, sizeof resp3 - 1), 0);
		for (int k = 0; k < 3; k++) {
			static const char bytes[] = "\r\n$*%~>019-+:,_#=!(tx";

			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			buf_head(&in)[x % buf_len(&in)] = (uint8_t)bytes[(x >> 40) % (sizeof bytes - 1)];
		}
		int e = read_all(all_of(&in), 1000, 50, &out);
		ck_assert(e == RESP_MORE || e == RESP_E_PROTO || e == RESP_E_TOO_BIG);
		ck_assert_int_eq(read_all(all_of(&in), 1 + x % 5, 50, &again), e);
		ck_assert_uint_eq(buf_len(&again), buf_len(&out));
		ck_assert_mem_eq(buf_head(&again), buf_head(&out), buf_len(&out));
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("resp");
	TCase *t = tcase_create("resp");
	SRunner *sr = srunner_create(s);
	int failed;

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, request_split_anywhere, 0, (int)ARRAY_SIZE(requests));
	tcase_add_test(t, request_that_is_incomplete_waits);
	tcase_add_test(t, arguments_lie_in_the_input);
	tcase_add_test(t, too_long_lines);
	tcase_add_test(t, too_big_commands_are_dropped);
	tcase_add_test(t, limit_to_the_byte);
	tcase_add_test(t, dropped_commands_must_be_well_formed_too);
	tcase_add_test(t, inline_with_too_many_arguments);
	tcase_add_test(t, many_arguments);
	tcase_add_loop_test(t, requests_mutated_at_random, 0, 4);
	tcase_add_test(t, integers);
	tcase_add_test(t, replies_of_both_versions);
	tcase_add_test(t, replies_that_do_not_fit_leave_nothing);
	tcase_add_loop_test(t, reply_read_in_any_steps, 0, (int)ARRAY_SIZE(replies));
	tcase_add_test(t, reply_with_too_many_values);
	tcase_add_test(t, what_is_written_is_read);
	tcase_add_loop_test(t, replies_mutated_at_random, 0, 4);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
