/*
 * Commands: what argument vectors mean. The input is the arguments, each ended by a 0 byte. Invariants: results point into
 * the vector and keep what xcmd.h says of them; an error is one line that begins with a code; what a container of commands
 * answers is exactly one RESP reply, in both versions.
 */
#include "fuzz.h"

#include <ctype.h>

#include "wire/xcmd.h"

#define ARGS_MAX 64

static struct args {
	struct bytes argv[ARGS_MAX];
	uint32_t argc;
} args;

static void inside(struct bytes b)
{
	const struct bytes *last = &args.argv[args.argc - 1];

	must(b.len == 0 || (b.p >= args.argv[0].p && b.p + b.len <= last->p + last->len));
}

static void error_good(const struct xcmd_err *err)
{
	size_t n = strnlen(err->text, sizeof err->text);

	must(n > 0 && n < sizeof err->text);
	must(isupper((unsigned char)err->text[0]) && strchr(err->text, ' '));
}

static void check_xadd(struct xcmd_err *err)
{
	struct xcmd_xadd x;

	if (xcmd_xadd(args.argv, args.argc, &x, err)) {
		error_good(err);
		return;
	}
	must(x.n_pairs >= 1 && x.pairs >= args.argv && x.pairs + 2 * x.n_pairs <= args.argv + args.argc);
	must(x.kind != REC_ID_SESSION && (x.kind == REC_ID_NONE) == (x.producer.len == 0));
	must((x.kind == REC_ID_OPAQUE) == (x.id.len > 0) && (x.kind == REC_ID_SEQ) == (x.n > 0));
	inside(x.key);
	inside(x.producer);
	inside(x.id);
}

static void check_xread(struct xcmd_err *err)
{
	struct xcmd_xread x;

	if (xcmd_xread(args.argv, args.argc, &x, err)) {
		error_good(err);
		return;
	}
	must(x.n_streams >= 1 && x.n_streams <= XCMD_STREAMS_MAX);
	must(x.keys >= args.argv && x.keys + 2 * x.n_streams <= args.argv + args.argc);
	for (uint32_t i = 0; i < x.n_streams; i++)
		must(x.from[i].kind <= XCMD_FROM_LAST);
}

static void check_range(bool reverse, struct xcmd_err *err)
{
	struct xcmd_range x;

	if (xcmd_xrange(args.argv, args.argc, reverse, &x, err)) {
		error_good(err);
		return;
	}
	must(x.reverse == reverse && (x.empty || (x.from >= 1 && x.from <= x.to)));
	inside(x.key);
}

static void check_connection(const struct xcmd_info *info, struct xcmd_err *err)
{
	union {
		struct xcmd_wait wait;
		struct xcmd_hello hello;
		struct xcmd_auth auth;
		struct xcmd_client client;
		struct xcmd_xinfo xinfo;
		struct xcmd_xcfgset cfg;
	} x;
	int r = 0;

	if (info->id == XCMD_WAIT)
		r = xcmd_wait(args.argv, args.argc, &x.wait, err);
	else if (info->id == XCMD_HELLO)
		r = xcmd_hello(args.argv, args.argc, &x.hello, err);
	else if (info->id == XCMD_AUTH)
		r = xcmd_auth(args.argv, args.argc, &x.auth, err);
	else if (info->id == XCMD_SELECT)
		r = xcmd_select(args.argv, args.argc, err);
	else if (info->id == XCMD_XINFO_STREAM)
		r = xcmd_xinfo_stream(args.argv, args.argc, &x.xinfo, err);
	else if (info->id == XCMD_XCFGSET)
		r = xcmd_xcfgset(args.argv, args.argc, &x.cfg, err);
	else if (info->id > XCMD_CLIENT && info->id < XCMD_COMMAND)
		r = xcmd_client(args.argv, args.argc, info, &x.client, err);
	if (r)
		error_good(err);
	else if (info->id == XCMD_HELLO)
		must(x.hello.version == 0 || x.hello.version == 2 || x.hello.version == 3);
	else if (info->id == XCMD_XCFGSET && x.cfg.has_duration)
		must(x.cfg.duration_s >= 1 && x.cfg.duration_s <= 86400);
}

/* COMMAND ... and ... HELP: one whole reply. */
static void check_reply(const struct xcmd_info *info, int version)
{
	struct buf b = BUF_NULL;
	struct resp_out o = resp_begin(&b, version);
	const struct resp_value *v;
	struct resp_reader reader;
	size_t bytes;
	int r;

	if (info->id >= XCMD_COMMAND && info->id <= XCMD_COMMAND_LIST && info->id != XCMD_COMMAND_HELP)
		xcmd_reply_command(&o, args.argv, args.argc, info);
	else
		xcmd_reply_help(&o, info);
	r = resp_end(&o);
	must(r == 0);
	resp_reader_init(&reader, 100000);
	r = resp_read(&reader, (struct bytes){ buf_head(&b), buf_len(&b) }, &v, &bytes);
	must(r == 0 && bytes == buf_len(&b));
	resp_reader_deinit(&reader);
	buf_deinit(&b);
}

static void check(void)
{
	const struct xcmd_info *info;
	struct xcmd_err err = { 0 };

	if (xcmd_lookup(args.argv, args.argc, &info, &err)) {
		error_good(&err);
		return;
	}
	must(info->arity >= 0 ? args.argc == (uint32_t)info->arity : args.argc >= (uint32_t)-info->arity);
	if (info->id == XCMD_XADD)
		check_xadd(&err);
	else if (info->id == XCMD_XREAD)
		check_xread(&err);
	else if (info->id == XCMD_XRANGE || info->id == XCMD_XREVRANGE)
		check_range(info->id == XCMD_XREVRANGE, &err);
	else if ((info->id >= XCMD_COMMAND && info->id <= XCMD_COMMAND_LIST) || strstr(info->name, "|help"))
		check_reply(info, 2 + (args.argc & 1));
	else
		check_connection(info, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *copy = fuzz_copy(data, len), *p = copy, *end = copy + len;

	args.argc = 0;
	while (p < end && args.argc < ARGS_MAX) {
		uint8_t *zero = memchr(p, 0, (size_t)(end - p));

		if (!zero)
			zero = end;
		args.argv[args.argc++] = (struct bytes){ p, (size_t)(zero - p) };
		p = zero + 1;
	}
	if (args.argc > 0)
		check();
	free(copy);
	return 0;
}
