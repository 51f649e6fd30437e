#include <check.h>
#include <inttypes.h>
#include <stdio.h>

#include "wire/xcmd.h"

/* Command lines are written as for redis-cli; resp_split_line() takes them apart. */
struct line {
	uint8_t text[4096];
	struct bytes argv[600];
	uint32_t argc;
};

static void line_init(struct line *l, const char *text)
{
	struct bytes in = { (const uint8_t *)text, strlen(text) };

	ck_assert(in.len <= sizeof l->text);
	ck_assert(resp_split_line(in, l->text, l->argv, ARRAY_SIZE(l->argv), &l->argc));
	ck_assert_uint_ge(l->argc, 1);
}

static bool bytes_are(struct bytes b, const char *s)
{
	return b.len == strlen(s) && (b.len == 0 || memcmp(b.p, s, b.len) == 0);
}

/* Looks the command up, parses it, and writes down what was understood; or the error's text. */
static void print_range(char *out, size_t size, const struct xcmd_range *x)
{
	int n = snprintf(out, size, "%s%s", x->reverse ? "rev " : "", x->null ? "null " : "");

	if (x->empty)
		(void)snprintf(out + n, size - (size_t)n, "empty");
	else
		(void)snprintf(out + n, size - (size_t)n, "%" PRIu64 "..%" PRIu64 " count %" PRIu64, x->from, x->to, x->count);
}

static void print_xread(char *out, size_t size, const struct xcmd_xread *x)
{
	int n = snprintf(out, size, "count %" PRIu64 " block %d %" PRIu64, x->count, x->block, x->block_ms);

	for (uint32_t i = 0; i < x->n_streams; i++)
		n += snprintf(out + n, size - (size_t)n, " %.*s:%s%" PRIu64, (int)x->keys[i].len,
			(const char *)x->keys[i].p,
			x->from[i].kind == XCMD_FROM_NEW ? "new" : x->from[i].kind == XCMD_FROM_LAST ? "last" : "",
			x->from[i].after);
}

static void run(const char *text, char *out, size_t size)
{
	static const char *const kinds[] = { "none", "opaque", "auto", "seq" };
	struct line l;
	struct xcmd_err err = { "" };
	const struct xcmd_info *c;
	union {
		struct xcmd_xadd xadd;
		struct xcmd_xread xread;
		struct xcmd_range range;
		struct xcmd_xinfo xinfo;
		struct xcmd_xcfgset cfg;
		struct xcmd_wait wait;
		struct xcmd_hello hello;
		struct xcmd_auth auth;
		struct xcmd_client client;
	} u;
	int r;

	line_init(&l, text);
	r = xcmd_lookup(l.argv, l.argc, &c, &err);
	if (r == 0) {
		(void)snprintf(out, size, "%s", c->name);
		switch (c->id) {
		case XCMD_XADD:
			r = xcmd_xadd(l.argv, l.argc, &u.xadd, &err);
			if (r == 0)
				(void)snprintf(out, size, "%.*s %s p=%.*s id=%.*s n=%" PRIu64 " %u pairs %.*s%s",
					(int)u.xadd.key.len, (const char *)u.xadd.key.p, kinds[u.xadd.kind],
					(int)u.xadd.producer.len, (const char *)u.xadd.producer.p, (int)u.xadd.id.len,
					(const char *)u.xadd.id.p, u.xadd.n, u.xadd.n_pairs,
					(int)u.xadd.pairs[0].len, (const char *)u.xadd.pairs[0].p,
					u.xadd.nomkstream ? " nomk" : "");
			break;
		case XCMD_XREAD:
			r = xcmd_xread(l.argv, l.argc, &u.xread, &err);
			if (r == 0)
				print_xread(out, size, &u.xread);
			break;
		case XCMD_XRANGE:
		case XCMD_XREVRANGE:
			r = xcmd_xrange(l.argv, l.argc, c->id == XCMD_XREVRANGE, &u.range, &err);
			if (r == 0)
				print_range(out, size, &u.range);
			break;
		case XCMD_XINFO_STREAM:
			r = xcmd_xinfo_stream(l.argv, l.argc, &u.xinfo, &err);
			if (r == 0)
				(void)snprintf(out, size, "%.*s full %d count %" PRIu64, (int)u.xinfo.key.len,
					(const char *)u.xinfo.key.p, u.xinfo.full, u.xinfo.count);
			break;
		case XCMD_XCFGSET:
			r = xcmd_xcfgset(l.argv, l.argc, &u.cfg, &err);
			if (r == 0)
				(void)snprintf(out, size, "%d %u %d %u", u.cfg.has_duration, u.cfg.duration_s,
					u.cfg.has_maxsize, u.cfg.maxsize);
			break;
		case XCMD_WAIT:
			r = xcmd_wait(l.argv, l.argc, &u.wait, &err);
			if (r == 0)
				(void)snprintf(out, size, "%" PRId64 " %" PRIu64, u.wait.n_replicas, u.wait.timeout_ms);
			break;
		case XCMD_HELLO:
			r = xcmd_hello(l.argv, l.argc, &u.hello, &err);
			if (r == 0)
				(void)snprintf(out, size, "%d auth %d %.*s %.*s name %d %.*s", u.hello.version,
					u.hello.has_auth, (int)u.hello.user.len, (const char *)u.hello.user.p,
					(int)u.hello.password.len, (const char *)u.hello.password.p, u.hello.has_name,
					(int)u.hello.name.len, (const char *)u.hello.name.p);
			break;
		case XCMD_AUTH:
			r = xcmd_auth(l.argv, l.argc, &u.auth, &err);
			if (r == 0)
				(void)snprintf(out, size, "%.*s %.*s", (int)u.auth.user.len, (const char *)u.auth.user.p,
					(int)u.auth.password.len, (const char *)u.auth.password.p);
			break;
		case XCMD_SELECT:
			r = xcmd_select(l.argv, l.argc, &err);
			break;
		default:
			if (strncmp(c->name, "client|", 7) != 0)
				break;
			r = xcmd_client(l.argv, l.argc, c, &u.client, &err);
			if (r == 0)
				(void)snprintf(out, size, "%s %.*s%.*s %d %d %d", c->name, (int)u.client.name.len,
					(const char *)u.client.name.p, (int)u.client.value.len,
					(const char *)u.client.value.p, u.client.is_lib_name, u.client.mode, u.client.on);
		}
	}
	if (r) {
		ck_assert_int_eq(r, XCMD_E);
		(void)snprintf(out, size, "%s", err.text);
	}
}

#define BAD_ID   "ERR Invalid stream ID specified as stream command argument"
#define BAD_INT  "ERR value is not an integer or out of range"
#define XADD_ARG "ERR wrong number of arguments for 'xadd' command"
#define TWICE    "ERR IDMP/IDMPAUTO specified multiple times"
#define NO_TRIM  "ERR MAXLEN and MINID are not supported: retention is configured on the nodes"
#define NO_ID    "ERR explicit entry IDs are not supported: use *, entries are numbered <sequence>-0 without a gap"
#define NO_NAME  "ERR Client names cannot contain spaces, newlines or special characters."
#define MAX      "18446744073709551615"

static const struct {
	const char *in, *out;
} lines[] = {
	/* XADD */
	{ "XADD s * f v", "s none p= id= n=0 1 pairs f" },
	{ "xadd s * f v g w", "s none p= id= n=0 2 pairs f" },
	{ "XADD s NOMKSTREAM * f v", "s none p= id= n=0 1 pairs f nomk" },
	{ "XADD s KEEPREF * f v", "s none p= id= n=0 1 pairs f" },
	{ "XADD s delref * f v", "s none p= id= n=0 1 pairs f" },
	{ "XADD s ACKED * f v", "s none p= id= n=0 1 pairs f" },
	{ "XADD s ACKED KEEPREF * f v", "ERR syntax error" },
	{ "XADD s * * *", "s none p= id= n=0 1 pairs *" },
	{ "XADD s IDMP p1 i1 * f v", "s opaque p=p1 id=i1 n=0 1 pairs f" },
	{ "XADD s idmp p1 i1 NOMKSTREAM * f v", "s opaque p=p1 id=i1 n=0 1 pairs f nomk" },
	{ "XADD s KEEPREF IDMP p1 i1 NOMKSTREAM * f v", "s opaque p=p1 id=i1 n=0 1 pairs f nomk" },
	{ "XADD s IDMP p1 * * f v", "s opaque p=p1 id=* n=0 1 pairs f" },
	{ "XADD s IDMP p1 IDMP * f v", "s opaque p=p1 id=IDMP n=0 1 pairs f" },
	{ "XADD s IDMP p1 MAXLEN * f v", "s opaque p=p1 id=MAXLEN n=0 1 pairs f" },
	{ "XADD s IDMP p1 123-456 * f v", "s opaque p=p1 id=123-456 n=0 1 pairs f" },
	{ "XADD s IDMP NOMKSTREAM \"a b\\xff\" * f v", "s opaque p=NOMKSTREAM id=a b\xff n=0 1 pairs f" },
	{ "XADD s IDMPAUTO p1 * f v", "s auto p=p1 id= n=0 1 pairs f" },
	{ "XADD s IDMPAUTO * * f v", "s auto p=* id= n=0 1 pairs f" },
	{ "XADD s IDMPSEQ p1 7 * f v", "s seq p=p1 id= n=7 1 pairs f" },
	{ "XADD s IDMPSEQ p1 " MAX " * f v", "s seq p=p1 id= n=" MAX " 1 pairs f" },
	{ "XADD s IDMPSEQ p1 0 * f v", "ERR IDMPSEQ requires a number from 1 to " MAX },
	{ "XADD s IDMPSEQ p1 -1 * f v", "ERR IDMPSEQ requires a number from 1 to " MAX },
	{ "XADD s IDMPSEQ p1 18446744073709551616 * f v", "ERR IDMPSEQ requires a number from 1 to " MAX },
	{ "XADD s IDMPSEQ p1 x * f v", "ERR IDMPSEQ requires a number from 1 to " MAX },
	{ "XADD s IDMPSEQ \"\" 1 * f v", "ERR IDMPSEQ requires a non-empty producer ID" },
	{ "XADD s IDMP p1 * f v", BAD_ID }, /* the id was forgotten: * is it */
	{ "XADD s IDMPAUTO p1 f v", BAD_ID },
	{ "XADD s IDMP p1 i1 1-1 f v", "ERR IDMP/IDMPAUTO can be used only with auto-generated IDs" },
	{ "XADD s IDMPAUTO p1 1-1 f v", "ERR IDMP/IDMPAUTO can be used only with auto-generated IDs" },
	{ "XADD s IDMPSEQ p1 1 5 f v", "ERR IDMP/IDMPAUTO can be used only with auto-generated IDs" },
	{ "XADD s IDMP p1 i1 IDMP p2 i2 * f v", TWICE },
	{ "XADD s IDMPAUTO p1 IDMP p2 i2 * f v", TWICE },
	{ "XADD s IDMP p1 i1 IDMPAUTO p2 * f v", TWICE },
	{ "XADD s IDMPAUTO p1 IDMPAUTO p1 * f v", TWICE },
	{ "XADD s IDMPSEQ p1 1 IDMPAUTO p1 * f v", TWICE },
	{ "XADD s IDMP \"\" i1 * f v", "ERR IDMP requires a non-empty producer ID" },
	{ "XADD s IDMP p1 \"\" * f v", "ERR IDMP requires a non-empty idempotent ID" },
	{ "XADD s IDMPAUTO \"\" * f v", "ERR IDMPAUTO requires a non-empty producer ID" },
	{ "XADD s f v IDMP p1", BAD_ID },
	{ "XADD", XADD_ARG },
	{ "XADD s *", XADD_ARG },
	{ "XADD s * f", XADD_ARG },
	{ "XADD s * a b c", XADD_ARG },
	{ "XADD s NOMKSTREAM * a", XADD_ARG },
	{ "XADD s NOMKSTREAM NOMKSTREAM NOMKSTREAM", XADD_ARG },
	{ "XADD s IDMP p1 i1 *", XADD_ARG },
	{ "XADD s IDMP p1 i1 KEEPREF", XADD_ARG },
	{ "XADD s MAXLEN 5 * f v", NO_TRIM },
	{ "XADD s MAXLEN ~ 5 * f v", NO_TRIM },
	{ "XADD s MAXLEN = 5 * f v", NO_TRIM },
	{ "XADD s MINID ~ 5-1 LIMIT 7 * f v", NO_TRIM },
	{ "XADD s IDMP p1 i1 MAXLEN ~ 100 LIMIT 10 * f v", NO_TRIM },
	{ "XADD s MAXLEN x * a b", BAD_INT },
	{ "XADD s MAXLEN = x * a b", BAD_INT },
	{ "XADD s MAXLEN -1 * a b", "ERR The MAXLEN argument must be >= 0." },
	{ "XADD s MAXLEN 5 LIMIT 1 * a b", "ERR syntax error, LIMIT cannot be used without the special ~ option" },
	{ "XADD s MAXLEN ~ 5 LIMIT -1 * a b", "ERR The LIMIT argument must be >= 0." },
	{ "XADD s MAXLEN ~ 5 LIMIT x * a b", BAD_INT },
	{ "XADD s MAXLEN 1 MINID 1 * a b",
		"ERR syntax error, MAXLEN and MINID options at the same time are not compatible" },
	{ "XADD s LIMIT 1 * a b", "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy" },
	{ "XADD s MINID x * a b", BAD_ID },
	{ "XADD s foo a b", BAD_ID },
	{ "XADD s 1- a b", BAD_ID },
	{ "XADD s - a b", BAD_ID },
	{ "XADD s + a b", BAD_ID },
	{ "XADD s \"\" a b", BAD_ID },
	{ "XADD s 0-0 a b", "ERR The ID specified in XADD must be greater than 0-0" },
	{ "XADD s 5-* a b", NO_ID },
	{ "XADD s 0-* a b", NO_ID },
	{ "XADD s x-* a b", BAD_ID },
	{ "XADD s 5-1 a b", NO_ID },
	{ "XADD s 5 a b", NO_ID },

	/* XREAD */
	{ "XREAD STREAMS a 0", "count 0 block 0 0 a:0" },
	{ "XREAD STREAMS a 5", "count 0 block 0 0 a:5" },
	{ "XREAD STREAMS a 5-0", "count 0 block 0 0 a:5" },
	{ "XREAD STREAMS a 5-9", "count 0 block 0 0 a:5" },
	{ "XREAD STREAMS a " MAX "-" MAX, "count 0 block 0 0 a:" MAX },
	{ "xread count 2 block 100 streams a b c $ + 7-1", "count 2 block 1 100 a:new0 b:last0 c:7" },
	{ "XREAD BLOCK 0 STREAMS s $", "count 0 block 1 0 s:new0" },
	{ "XREAD COUNT -1 STREAMS s 0", "count 0 block 0 0 s:0" },
	{ "XREAD COUNT 1 COUNT 2 STREAMS s 0", "count 2 block 0 0 s:0" },
	{ "XREAD STREAMS streams 0", "count 0 block 0 0 streams:0" },
	{ "XREAD", "ERR wrong number of arguments for 'xread' command" },
	{ "XREAD STREAMS a", "ERR wrong number of arguments for 'xread' command" },
	{ "XREAD STREAMS a b c", "ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be "
				 "specified." },
	{ "XREAD COUNT x STREAMS s 0", BAD_INT },
	{ "XREAD COUNT STREAMS s 0", BAD_INT },
	{ "XREAD BLOCK -1 STREAMS s 0", "ERR timeout is negative" },
	{ "XREAD BLOCK x STREAMS s 0", "ERR timeout is not an integer or out of range" },
	{ "XREAD BLOCK 10000000000000000000 STREAMS s 0", "ERR timeout is not an integer or out of range" },
	{ "XREAD FOO STREAMS s 0", "ERR syntax error" },
	{ "XREAD COUNT 1 BLOCK 1", "ERR syntax error" },
	{ "XREAD COUNT 2 STREAMS", "ERR syntax error" },
	{ "XREAD GROUP a b STREAMS s >", "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead." },
	{ "XREAD NOACK STREAMS s 0", "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead." },
	{ "XREAD STREAMS s >", "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> "
			       "<consumer> option." },
	{ "XREAD STREAMS s x", BAD_ID },
	{ "XREAD STREAMS s 1-x", BAD_ID },
	{ "XREAD STREAMS s -", BAD_ID },

	/* XRANGE: which of 1-0, 2-0, 3-0 ... */
	{ "XRANGE s - +", "1.." MAX " count 0" },
	{ "XRANGE s - + COUNT 3", "1.." MAX " count 3" },
	{ "XRANGE s - + COUNT 1 COUNT 2", "1.." MAX " count 2" },
	{ "XRANGE s - + COUNT 0", "null 1.." MAX " count 0" },
	{ "XRANGE s - + COUNT -5", "null 1.." MAX " count 0" },
	{ "XRANGE s 3 5", "3..5 count 0" },
	{ "XRANGE s 3-0 5-0", "3..5 count 0" },
	{ "XRANGE s 3-1 5-9", "4..5 count 0" },
	{ "XRANGE s (3 5", "4..5 count 0" },
	{ "XRANGE s (3-0 5", "4..5 count 0" },
	{ "XRANGE s (3-" MAX " 5", "4..5 count 0" },
	{ "XRANGE s 3 (5", "3..5 count 0" }, /* as Redis has it: (5 is before 5-<max> */
	{ "XRANGE s 3 (5-0", "3..4 count 0" },
	{ "XRANGE s 3 (5-1", "3..5 count 0" },
	{ "XRANGE s 0 0", "empty" },
	{ "XRANGE s 0 2", "1..2 count 0" },
	{ "XRANGE s 01 02", "1..2 count 0" },
	{ "XRANGE s 5 3", "empty" },
	{ "XRANGE s 3-1 3-9", "empty" },
	{ "XRANGE s + -", "empty" },
	{ "XRANGE s + +", "empty" },
	{ "XRANGE s - -", "empty" },
	{ "XRANGE s " MAX " +", MAX ".." MAX " count 0" },
	{ "XRANGE s (" MAX "-0 +", "empty" },
	{ "XREVRANGE s + -", "rev 1.." MAX " count 0" },
	{ "XREVRANGE s 5 3 COUNT 1", "rev 3..5 count 1" },
	{ "XREVRANGE s 3 5", "rev empty" },
	{ "XREVRANGE s (5-0 (3", "rev 4..4 count 0" },
	{ "XRANGE s", "ERR wrong number of arguments for 'xrange' command" },
	{ "XRANGE s - + COUNT", "ERR syntax error" },
	{ "XRANGE s - + COUNT x", BAD_INT },
	{ "XRANGE s - + FOO 1", "ERR syntax error" },
	{ "XRANGE s x +", BAD_ID },
	{ "XRANGE s ( +", BAD_ID },
	{ "XRANGE s (- +", BAD_ID },
	{ "XRANGE s - (+", BAD_ID },
	{ "XRANGE s $ +", BAD_ID },
	{ "XRANGE s 1-2-3 +", BAD_ID },
	{ "XRANGE s -1 +", BAD_ID },
	{ "XRANGE s \"\" +", BAD_ID },
	{ "XRANGE s 18446744073709551616 +", BAD_ID },
	{ "XRANGE s (" MAX "-" MAX " +", "ERR invalid start ID for the interval" },
	{ "XRANGE s - (0-0", "ERR invalid end ID for the interval" },
	{ "XREVRANGE s (0-0 -", "ERR invalid end ID for the interval" },
	{ "XREVRANGE s + (" MAX "-" MAX, "ERR invalid start ID for the interval" },
	{ "XLEN s", "xlen" },
	{ "XLEN", "ERR wrong number of arguments for 'xlen' command" },
	{ "XLEN a b", "ERR wrong number of arguments for 'xlen' command" },

	/* XINFO, XCFGSET */
	{ "XINFO STREAM s", "s full 0 count 10" },
	{ "xinfo stream s full", "s full 1 count 10" },
	{ "XINFO STREAM s FULL COUNT 5", "s full 1 count 5" },
	{ "XINFO STREAM s FULL COUNT 0", "s full 1 count 0" },
	{ "XINFO STREAM s FULL COUNT -1", "s full 1 count 10" },
	{ "XINFO STREAM s FULL COUNT x", BAD_INT },
	{ "XINFO STREAM s FULL COUNT", "ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP." },
	{ "XINFO STREAM s FOO", "ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP." },
	{ "XINFO STREAM s FULL FOO 1",
		"ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP." },
	{ "XINFO", "ERR wrong number of arguments for 'xinfo' command" },
	{ "XINFO STREAM", "ERR wrong number of arguments for 'xinfo|stream' command" },
	{ "XINFO FOO", "ERR unknown subcommand 'FOO'. Try XINFO HELP." },
	{ "XINFO FOO bar", "ERR unknown subcommand 'FOO'. Try XINFO HELP." },
	{ "XINFO HELP", "xinfo|help" },
	{ "XCFGSET s IDMP-DURATION 5", "1 5 0 0" },
	{ "xcfgset s idmp-maxsize 10000 idmp-duration 86400", "1 86400 1 10000" },
	{ "XCFGSET s", "ERR At least one parameter must be specified" },
	{ "XCFGSET s IDMP-DURATION 0", "ERR IDMP-DURATION must be between 1 and 86400 seconds" },
	{ "XCFGSET s IDMP-DURATION 86401", "ERR IDMP-DURATION must be between 1 and 86400 seconds" },
	{ "XCFGSET s IDMP-MAXSIZE 10001", "ERR IDMP-MAXSIZE must be between 1 and 10000 entries" },
	{ "XCFGSET s IDMP-MAXSIZE x", BAD_INT },
	{ "XCFGSET s IDMP-MAXSIZE", "ERR syntax error" },
	{ "XCFGSET s FOO 1", "ERR syntax error" },

	/* connection */
	{ "WAIT 2 100", "2 100" },
	{ "WAIT -1 0", "-1 0" },
	{ "WAIT", "ERR wrong number of arguments for 'wait' command" },
	{ "WAIT x 1", BAD_INT },
	{ "WAIT 1 x", "ERR timeout is not an integer or out of range" },
	{ "WAIT 0 -1", "ERR timeout is negative" },
	{ "HELLO", "0 auth 0   name 0 " },
	{ "HELLO 2", "2 auth 0   name 0 " },
	{ "hello 3 auth u p setname n", "3 auth 1 u p name 1 n" },
	{ "HELLO 3 SETNAME n AUTH u p", "3 auth 1 u p name 1 n" },
	{ "HELLO x", "ERR Protocol version is not an integer or out of range" },
	{ "HELLO 4", "NOPROTO unsupported protocol version" },
	{ "HELLO 1", "NOPROTO unsupported protocol version" },
	{ "HELLO 3 FOO", "ERR Syntax error in HELLO option 'FOO'" },
	{ "HELLO 3 AUTH a", "ERR Syntax error in HELLO option 'AUTH'" },
	{ "HELLO 3 SETNAME", "ERR Syntax error in HELLO option 'SETNAME'" },
	{ "HELLO 3 SETNAME \"a b\"", NO_NAME },
	{ "AUTH p", "default p" },
	{ "AUTH u p", "u p" },
	{ "AUTH", "ERR wrong number of arguments for 'auth' command" },
	{ "AUTH a b c", "ERR syntax error" },
	{ "SELECT 0", "select" },
	{ "SELECT x", BAD_INT },
	{ "SELECT 1", "ERR DB index is out of range" },
	{ "SELECT -1", "ERR DB index is out of range" },
	{ "SELECT 2147483648", "ERR value is out of range, value must between -2147483648 and 2147483647" },
	{ "CLIENT", "ERR wrong number of arguments for 'client' command" },
	{ "CLIENT FOO", "ERR unknown subcommand 'FOO'. Try CLIENT HELP." },
	{ "CLIENT MAINT_NOTIFICATIONS ON", "ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP." },
	{ "CLIENT SETNAME", "ERR wrong number of arguments for 'client|setname' command" },
	{ "client setname me", "client|setname me 0 0 0" },
	{ "CLIENT SETNAME \"\"", "client|setname  0 0 0" },
	{ "CLIENT SETNAME \"a\\nb\"", NO_NAME },
	{ "CLIENT SETINFO LIB-NAME redis-py", "client|setinfo redis-py 1 0 0" },
	{ "CLIENT SETINFO lib-ver 5.0", "client|setinfo 5.0 0 0 0" },
	{ "CLIENT SETINFO foo 5.0", "ERR Unrecognized option 'foo'" },
	{ "CLIENT SETINFO lib-name \"a b\"", "ERR lib-name cannot contain spaces, newlines or special characters." },
	{ "CLIENT ID", "client|id  0 0 0" },
	{ "CLIENT ID 3", "ERR wrong number of arguments for 'client|id' command" },
	{ "CLIENT REPLY skip", "client|reply  0 2 0" },
	{ "CLIENT REPLY x", "ERR syntax error" },
	{ "CLIENT NO-EVICT on", "client|no-evict  0 0 1" },
	{ "CLIENT NO-TOUCH x", "ERR syntax error" },
	{ "CONFIG", "ERR wrong number of arguments for 'config' command" },
	{ "CONFIG SET a b", "ERR unknown subcommand 'SET'. Try CONFIG HELP." },
	{ "CONFIG GET", "ERR wrong number of arguments for 'config|get' command" },
	{ "CONFIG GET *", "config|get" },
	{ "COMMAND", "command" },
	{ "COMMAND COUNT", "command|count" },
	{ "COMMAND COUNT 1", "ERR wrong number of arguments for 'command|count' command" },
	{ "COMMAND FOO", "ERR unknown subcommand 'FOO'. Try COMMAND HELP." },
	{ "PING", "ping" },
	{ "PING a", "ping" },
	{ "ECHO", "ERR wrong number of arguments for 'echo' command" },
	{ "RESET a", "ERR wrong number of arguments for 'reset' command" },
	{ "QUIT a", "quit" },
	{ "ROLE a", "ERR wrong number of arguments for 'role' command" },
	{ "LEASH status", "leash" },

	/* unknown */
	{ "foo a b", "ERR unknown command 'foo', with args beginning with: 'a' 'b' " },
	{ "FOO", "ERR unknown command 'FOO', with args beginning with: " },
	{ "\"\" x", "ERR unknown command '', with args beginning with: 'x' " },
	{ "XAD s * f v", "ERR unknown command 'XAD', with args beginning with: 's' '*' 'f' 'v' " },
	{ "XADDS s", "ERR unknown command 'XADDS', with args beginning with: 's' " },
	{ "XREADGROUP GROUP g c STREAMS s >",
		"ERR unknown command 'XREADGROUP', with args beginning with: 'GROUP' 'g' 'c' 'STREAMS' 's' '>' " },
};

START_TEST(every_line)
{
	char out[1024];

	run(lines[_i].in, out, sizeof out);
	ck_assert_msg(strcmp(out, lines[_i].out) == 0, "%s\n  is:        %s\n  should be: %s", lines[_i].in, out,
		lines[_i].out);
}
END_TEST

/* Lengths of the unknown command's text as measured on Redis 7. */
START_TEST(unknown_command_is_cut)
{
	char in[600], out[1024], a[201], want[1024];

	memset(a, 'a', 200);
	a[200] = '\0';
	(void)snprintf(in, sizeof in, "FOO %.150s b c", a);
	run(in, out, sizeof out);
	(void)snprintf(want, sizeof want, "ERR unknown command 'FOO', with args beginning with: '%.128s' ", a);
	ck_assert_str_eq(out, want);
	(void)snprintf(in, sizeof in, "%s a", a);
	run(in, out, sizeof out);
	(void)snprintf(want, sizeof want, "ERR unknown command '%.128s', with args beginning with: 'a' ", a);
	ck_assert_str_eq(out, want);
	(void)snprintf(in, sizeof in, "FOO %.100s %.100s %.100s", a, a, a);
	run(in, out, sizeof out);
	(void)snprintf(want, sizeof want, "ERR unknown command 'FOO', with args beginning with: '%.100s' '%.25s' ", a, a);
	ck_assert_str_eq(out, want);
}
END_TEST

START_TEST(xadd_binary_and_long)
{
	static uint8_t iid[65536];
	const struct bytes argv[] = { { (const uint8_t *)"XADD", 4 }, { (const uint8_t *)"s", 1 },
		{ (const uint8_t *)"IDMP", 4 }, { (const uint8_t *)"\0p", 2 }, { iid, sizeof iid },
		{ (const uint8_t *)"*", 1 }, { (const uint8_t *)"f", 1 }, { (const uint8_t *)"", 0 } };
	struct xcmd_xadd x;
	struct xcmd_err err;

	ck_assert_int_eq(xcmd_xadd(argv, ARRAY_SIZE(argv), &x, &err), 0);
	ck_assert(x.kind == REC_ID_OPAQUE && x.producer.len == 2 && x.id.p == iid && x.id.len == sizeof iid);
	ck_assert(x.n_pairs == 1 && x.pairs == argv + 6);
}
END_TEST

START_TEST(xread_of_many_streams)
{
	for (unsigned n = XCMD_STREAMS_MAX; n <= XCMD_STREAMS_MAX + 1; n++) {
		struct xcmd_xread *x = calloc(1, sizeof *x);
		struct bytes *argv = calloc(2 + 2 * (XCMD_STREAMS_MAX + 1), sizeof *argv);
		struct xcmd_err err;

		argv[0] = (struct bytes){ (const uint8_t *)"XREAD", 5 };
		argv[1] = (struct bytes){ (const uint8_t *)"STREAMS", 7 };
		for (unsigned i = 0; i < 2 * n; i++)
			argv[2 + i] = (struct bytes){ (const uint8_t *)"1", 1 };
		ck_assert_int_eq(xcmd_xread(argv, 2 + 2 * n, x, &err), n > XCMD_STREAMS_MAX ? XCMD_E : 0);
		free(argv);
		free(x);
	}
}
END_TEST

START_TEST(ids_as_text)
{
	char text[XCMD_ID_TEXT];

	ck_assert_uint_eq(xcmd_id_format(1, text), 3);
	ck_assert_str_eq(text, "1-0");
	ck_assert_uint_eq(xcmd_id_format(UINT64_MAX, text), 22);
	ck_assert_str_eq(text, MAX "-0");
}
END_TEST

START_TEST(table_is_sorted_and_whole)
{
	size_t n;
	const struct xcmd_info *t = xcmd_table(&n), *found;

	for (size_t i = 0; i < n; i++) {
		struct bytes argv[8] = { { (const uint8_t *)t[i].name, strlen(t[i].name) } };
		struct xcmd_err err;

		for (size_t k = 1; k < ARRAY_SIZE(argv); k++)
			argv[k] = (struct bytes){ (const uint8_t *)"help", 4 };
		ck_assert(i == 0 || strcmp(t[i - 1].name, t[i].name) < 0);
		ck_assert(t[i].summary && t[i].since && t[i].group && t[i].arity != 0);
		ck_assert(strlen(t[i].name) < XCMD_NAME_MAX);
		uint32_t argc = t[i].arity > 0 ? (uint32_t)t[i].arity : (uint32_t)-t[i].arity;
		ck_assert_int_eq(xcmd_lookup(argv, argc, &found, &err), 0);
		ck_assert(found->id == t[i].id || (t[i].flags & XCMD_F_CONTAINER));
		if (t[i].arity > 0 && argc > 1)
			ck_assert_int_eq(xcmd_lookup(argv, argc - 1, &found, &err), XCMD_E);
	}
}
END_TEST

/* The answer as the reader sees it. */
static const struct resp_value *command_reply(const char *text, int version, struct buf *out, struct resp_reader *reader)
{
	struct resp_out o = resp_begin(out, version);
	const struct resp_value *v;
	const struct xcmd_info *c;
	struct xcmd_err err;
	struct line l;
	size_t bytes;

	line_init(&l, text);
	ck_assert_int_eq(xcmd_lookup(l.argv, l.argc, &c, &err), 0);
	xcmd_reply_command(&o, l.argv, l.argc, c);
	ck_assert_int_eq(resp_end(&o), 0);
	resp_reader_init(reader, 10000);
	ck_assert_int_eq(resp_read(reader, (struct bytes){ buf_head(out), buf_len(out) }, &v, &bytes), 0);
	ck_assert_uint_eq(bytes, buf_len(out)); /* one whole reply and nothing else */
	return v;
}

START_TEST(command_replies)
{
	size_t n;

	(void)xcmd_table(&n);
	for (int version = 2; version <= 3; version++) {
		const struct {
			const char *in;
			enum resp_type type;
			int64_t n; /* elements, or the integer */
			const char *first;
		} cases[] = {
			{ "COMMAND", RESP_T_ARRAY, (int64_t)n, NULL },
			{ "COMMAND COUNT", RESP_T_INTEGER, (int64_t)n, NULL },
			{ "COMMAND INFO", RESP_T_ARRAY, (int64_t)n, NULL },
			{ "COMMAND INFO get XADD client|id", RESP_T_ARRAY, 3, "" },
			{ "COMMAND LIST", RESP_T_ARRAY, (int64_t)n, "auth" },
			{ "COMMAND LIST FILTERBY MODULE x", RESP_T_ERROR, 0, NULL },
			{ "COMMAND DOCS", version == 3 ? RESP_T_MAP : RESP_T_ARRAY, 2 * (int64_t)n, "auth" },
			{ "COMMAND DOCS xlen foo xadd", version == 3 ? RESP_T_MAP : RESP_T_ARRAY, 4, "xlen" },
			{ "COMMAND HELP", RESP_T_ARRAY, 7, "Subcommands are:" },
			{ "COMMAND GETKEYS XADD s * f v", RESP_T_ARRAY, 1, "s" },
			{ "COMMAND GETKEYS XINFO STREAM s", RESP_T_ARRAY, 1, "s" },
			{ "COMMAND GETKEYS XREAD COUNT 1 STREAMS a b 0 0", RESP_T_ARRAY, 2, "a" },
			{ "COMMAND GETKEYS XREAD COUNT 1 STREAMS a b 0", RESP_T_ERROR, 0, NULL },
			{ "COMMAND GETKEYS PING x", RESP_T_ERROR, 0, NULL },
			{ "COMMAND GETKEYS foo x", RESP_T_ERROR, 0, NULL },
			{ "COMMAND GETKEYS xadd x", RESP_T_ERROR, 0, NULL },
		};

		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			_cleanup_(buf_deinit) struct buf out = BUF_NULL;
			_cleanup_(resp_reader_deinit) struct resp_reader reader = { 0 };
			const struct resp_value *v = command_reply(cases[i].in, version, &out, &reader);

			ck_assert_msg(v->type == cases[i].type, "%s: %c", cases[i].in, v->type);
			if (v->type == RESP_T_INTEGER)
				ck_assert_int_eq(v->integer, cases[i].n);
			else if (v->type != RESP_T_ERROR)
				ck_assert_msg(v->n == cases[i].n, "%s: %u", cases[i].in, v->n);
			if (cases[i].first)
				ck_assert(bytes_are(v[1].text, cases[i].first));
		}
	}
}
END_TEST

/* Words in any order and number: every parser answers, and nothing is read outside. */
START_TEST(words_at_random)
{
	static const char *const words[] = { "XADD", "XREAD", "XRANGE", "XREVRANGE", "XINFO", "XCFGSET", "HELLO", "CLIENT",
		"WAIT", "COMMAND", "s", "*", "IDMP", "IDMPAUTO", "IDMPSEQ", "MAXLEN", "MINID", "~", "=", "LIMIT",
		"NOMKSTREAM", "KEEPREF", "1", "-1", "0", "5-0", "5-*", "(5", "(0-0", "-", "+", "$", ">", "\"\"", "COUNT",
		"BLOCK", "STREAMS", "GROUP", "STREAM", "FULL", "SETNAME", "SETINFO", "REPLY", "AUTH", "idmp-duration",
		MAX, "(" MAX "-" MAX, "p", "f", "v" };
	uint64_t x = 2463534242u + 977u * (uint64_t)_i;

	for (int round = 0; round < 20000; round++) {
		char in[1024] = "", out[2048];
		size_t n = 0;

		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		n += (size_t)snprintf(in, sizeof in, "%s", words[x % 10]);
		for (unsigned k = (unsigned)(x >> 32) % 10; k > 0; k--) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			n += (size_t)snprintf(in + n, sizeof in - n, " %s", words[x % ARRAY_SIZE(words)]);
		}
		run(in, out, sizeof out);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("xcmd");
	TCase *t = tcase_create("xcmd");
	SRunner *sr = srunner_create(s);
	int failed;

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, every_line, 0, (int)ARRAY_SIZE(lines));
	tcase_add_test(t, unknown_command_is_cut);
	tcase_add_test(t, xadd_binary_and_long);
	tcase_add_test(t, xread_of_many_streams);
	tcase_add_test(t, ids_as_text);
	tcase_add_test(t, table_is_sorted_and_whole);
	tcase_add_test(t, command_replies);
	tcase_add_loop_test(t, words_at_random, 0, 4);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
