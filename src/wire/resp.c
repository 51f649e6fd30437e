#include "wire/resp.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define RESP_ARGS_KEEP   1024 /* larger arrays are given back after the command */
#define RESP_ARGS_MIN    16   /* room that they have at least */
#define RESP_USUAL_MAX   10000000 /* counts and lengths from here on are none of the usual case */

void resp_parser_init(struct resp_parser *p, struct resp_limits limits)
{
	must(limits.command_bytes_max >= RESP_INLINE_BYTES_MAX);
	must(limits.args_max >= 1 && limits.args_max <= RESP_ARGS_MAX);
	*p = (struct resp_parser){ .limits = limits };
}

static void args_free(struct resp_parser *p)
{
	free(p->args);
	free(p->argv);
	free(p->line);
	p->args = NULL;
	p->argv = NULL;
	p->line = NULL;
	p->n_args = p->args_cap = 0;
}

void resp_parser_deinit(struct resp_parser *p)
{
	args_free(p);
	*p = (struct resp_parser){ 0 };
}

_printf_(2, 3) static int proto_error(struct resp_parser *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(p->error, sizeof p->error, fmt, ap);
	va_end(ap);
	return RESP_E_PROTO;
}

bool resp_parse_integer(struct bytes text, int64_t *ret_v)
{
	bool negative = text.len && text.p[0] == '-';
	size_t i = negative ? 1 : 0;
	uint64_t v = 0, max = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;

	if (i == text.len || (text.p[i] == '0' && text.len > 1))
		return false;
	for (; i < text.len; i++) {
		uint64_t digit = (uint64_t)text.p[i] - '0';

		if (text.p[i] < '0' || text.p[i] > '9' || v > (max - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	*ret_v = negative ? (int64_t)(0 - v) : (int64_t)v;
	return true;
}

/* -------------------------------------------------------------------------------------------------------- inline */

static int hex_digit(uint8_t c)
{
	return c >= '0' && c <= '9' ? c - '0' : isxdigit(c) ? (c | 0x20) - 'a' + 10 : -1;
}

/* One byte of a "..." string at @c, which is not the closing quote. */
static uint8_t unescape(struct cur *c)
{
	static const char from[] = "nrtba", to[] = "\n\r\t\b\a";
	uint8_t b = cur_u8(c);
	const char *f;

	if (b != '\\' || cur_left(c) == 0)
		return b;
	if (cur_left(c) >= 3 && c->p[0] == 'x' && hex_digit(c->p[1]) >= 0 && hex_digit(c->p[2]) >= 0) {
		b = (uint8_t)(hex_digit(c->p[1]) << 4 | hex_digit(c->p[2]));
		(void)cur_take(c, 3);
		return b;
	}
	b = cur_u8(c);
	f = b ? strchr(from, b) : NULL;
	return f ? (uint8_t)to[f - from] : b;
}

/* The rest of a quoted string behind its opening @quote. False: it does not end, or something sticks to its end. */
static bool quoted(struct cur *c, uint8_t quote, uint8_t **to)
{
	while (cur_left(c)) {
		if (*c->p == quote) {
			(void)cur_u8(c);
			return cur_left(c) == 0 || isspace(*c->p);
		}
		if (quote == '"')
			*(*to)++ = unescape(c);
		else if (cur_left(c) >= 2 && c->p[0] == '\\' && c->p[1] == '\'')
			(void)cur_u8(c), *(*to)++ = cur_u8(c);
		else
			*(*to)++ = cur_u8(c);
	}
	return false;
}

bool resp_split_line(struct bytes line, uint8_t *out, struct bytes *argv, uint32_t argv_max, uint32_t *ret_argc)
{
	struct cur c = cur_of(line.p, line.len);
	uint32_t argc = 0;
	uint8_t *to = out;

	for (;;) {
		uint8_t *start = to;

		while (cur_left(&c) && isspace(*c.p))
			(void)cur_u8(&c);
		if (cur_left(&c) == 0)
			break;
		if (argc == argv_max)
			return false;
		while (cur_left(&c) && !isspace(*c.p)) {
			uint8_t b = cur_u8(&c);

			if (b != '"' && b != '\'') {
				*to++ = b;
				continue;
			}
			if (!quoted(&c, b, &to))
				return false;
			break;
		}
		argv[argc++] = (struct bytes){ start, (size_t)(to - start) };
	}
	*ret_argc = argc;
	return true;
}

/* Keeps the beginning of a dropped command's name for the error's text. */
static void note_dropped(struct resp_parser *p, struct bytes name)
{
	size_t n = MIN2(name.len, sizeof p->dropped - 1);

	for (size_t i = 0; i < n; i++)
		p->dropped[i] = isgraph(name.p[i]) ? (char)name.p[i] : '?';
	p->dropped[n] = '\0';
}

static int parse_inline(struct resp_parser *p, struct buf *in, struct resp_command *ret)
{
	const uint8_t *s = buf_head(in), *nl = memchr(s, '\n', buf_len(in));
	size_t len = nl ? (size_t)(nl - s) : buf_len(in), argv_max;
	uint32_t argc = 0;

	if (len > RESP_INLINE_BYTES_MAX)
		return proto_error(p, "too big inline request");
	if (!nl)
		return RESP_MORE;
	argv_max = len / 2 + 1; /* one byte and a blank each */
	args_free(p);
	p->line = malloc(len + 1);
	p->argv = malloc(argv_max * sizeof *p->argv);
	if (!p->line || !p->argv)
		return -ENOMEM;
	if (!resp_split_line((struct bytes){ s, len }, p->line, p->argv, (uint32_t)argv_max, &argc))
		return proto_error(p, "unbalanced quotes in request");
	if (argc > p->limits.args_max) {
		note_dropped(p, p->argv[0]);
		buf_consume(in, len + 1);
		return RESP_E_TOO_BIG;
	}
	*ret = (struct resp_command){ p->argv, argc, len + 1 };
	return 0;
}

/* ----------------------------------------------------------------------------------------------------- multibulk */

/* Counts @n bytes as understood; while dropping they go at once. */
static void advance(struct resp_parser *p, struct buf *in, size_t n)
{
	p->bytes += n;
	if (p->dropping)
		buf_consume(in, n);
	else
		p->pos += n;
}

static void drop(struct resp_parser *p, struct buf *in)
{
	if (p->dropping)
		return;
	p->dropped[0] = '\0';
	if (p->n_args)
		note_dropped(p, (struct bytes){ buf_head(in) + p->args[0].at, p->args[0].len });
	args_free(p);
	buf_consume(in, p->pos);
	p->pos = 0;
	p->dropping = true;
}

/*
 * The number behind the one type byte at pos. 0, and the whole line's length; RESP_MORE; @what names it in errors.
 */
static int line_number(struct resp_parser *p, const struct buf *in, const char *what, int64_t *ret_v,
	size_t *ret_bytes)
{
	const uint8_t *s = buf_head(in) + p->pos, *cr;
	size_t left = buf_len(in) - p->pos;

	cr = memchr(s, '\r', left);
	if ((cr ? (size_t)(cr - s) : left) > RESP_INLINE_BYTES_MAX)
		return proto_error(p, "too big %s count string", what[0] == 'm' ? "mbulk" : "bulk");
	if (!cr || (size_t)(cr - s) + 2 > left)
		return RESP_MORE;
	if (cr[1] != '\n' || !resp_parse_integer((struct bytes){ s + 1, (size_t)(cr - s) - 1 }, ret_v))
		return proto_error(p, "invalid %s length", what);
	*ret_bytes = (size_t)(cr - s) + 2;
	return 0;
}

/* "*N": begins a command. RESP_AT_START stays when N says that there is none. */
static int parse_count(struct resp_parser *p, struct buf *in)
{
	int64_t n;
	size_t len;
	int r = line_number(p, in, "multibulk", &n, &len);

	if (r)
		return r;
	if (n > RESP_ARGS_MAX)
		return proto_error(p, "invalid multibulk length");
	if (n <= 0) {
		buf_consume(in, len);
		return 0;
	}
	p->dropping = false;
	p->bytes = 0;
	p->n_args = 0;
	p->args_left = (uint32_t)n;
	p->at = RESP_AT_LENGTH;
	advance(p, in, len);
	if (p->args_left > p->limits.args_max)
		drop(p, in);
	return 0;
}

static int args_grow(struct resp_parser *p)
{
	uint32_t cap = p->args_cap ? 2 * p->args_cap : RESP_ARGS_MIN;
	struct resp_arg *args = realloc(p->args, cap * sizeof *args);
	struct bytes *argv;

	if (!args)
		return -ENOMEM;
	p->args = args;
	argv = realloc(p->argv, cap * sizeof *argv);
	if (!argv)
		return -ENOMEM;
	p->argv = argv;
	p->args_cap = cap;
	return 0;
}

static int arg_add(struct resp_parser *p, size_t at, size_t len)
{
	if (p->n_args == p->args_cap) {
		int r = args_grow(p);

		if (r < 0)
			return r;
	}
	p->args[p->n_args++] = (struct resp_arg){ at, len };
	return 0;
}

/* "$len" */
static int parse_length(struct resp_parser *p, struct buf *in)
{
	int64_t n;
	size_t len;
	uint8_t c;
	int r;

	if (buf_len(in) == p->pos)
		return RESP_MORE;
	c = buf_head(in)[p->pos];
	if (c == '\r' || c == '\n')
		c = ' ';
	if (c != '$')
		return isprint(c) ? proto_error(p, "expected '$', got '%c'", c) :
				    proto_error(p, "expected '$', got '\\x%02x'", c);
	r = line_number(p, in, "bulk", &n, &len);
	if (r)
		return r;
	if (n < 0 || (uint64_t)n > RESP_BULK_BYTES_MAX)
		return proto_error(p, "invalid bulk length");
	advance(p, in, len);
	p->bulk_left = (uint64_t)n + 2;
	p->at = RESP_AT_BULK;
	if (p->bytes + p->bulk_left > p->limits.command_bytes_max)
		drop(p, in);
	return p->dropping ? 0 : arg_add(p, p->pos, (size_t)n);
}

/* What is left of a bulk string and its CRLF. While dropping it goes piecewise, but for the CRLF. */
static int parse_bulk(struct resp_parser *p, struct buf *in)
{
	size_t left = buf_len(in) - p->pos;
	const uint8_t *end;

	if (p->dropping && p->bulk_left > 2) {
		size_t n = MIN2((uint64_t)left, p->bulk_left - 2);

		advance(p, in, n);
		p->bulk_left -= n;
		left -= n;
	}
	if (left < p->bulk_left)
		return RESP_MORE;
	end = buf_head(in) + p->pos + p->bulk_left - 2;
	if (end[0] != '\r' || end[1] != '\n')
		return proto_error(p, "expected CRLF at the end of a bulk string");
	advance(p, in, (size_t)p->bulk_left);
	p->bulk_left = 0;
	p->args_left--;
	p->at = RESP_AT_LENGTH;
	return 0;
}

/* All arguments are there. */
static int complete(struct resp_parser *p, struct buf *in, struct resp_command *ret)
{
	p->at = RESP_AT_START;
	if (p->dropping) {
		p->dropping = false;
		return RESP_E_TOO_BIG;
	}
	for (uint32_t i = 0; i < p->n_args; i++)
		p->argv[i] = (struct bytes){ buf_head(in) + p->args[i].at, p->args[i].len };
	*ret = (struct resp_command){ p->argv, p->n_args, p->pos };
	p->pos = 0;
	return 0;
}

/* @type, a number of few digits, CRLF. Behind it, or NULL: it is something else, or not all of it is there. */
static inline const uint8_t *usual_number(const uint8_t *s, const uint8_t *end, char type, uint32_t *ret_v)
{
	uint32_t v, digit;

	if (end - s < 4 || s[0] != (uint8_t)type || (v = (uint32_t)s[1] - '0') > 9)
		return NULL;
	for (s += 2; (digit = (uint32_t)*s - '0') <= 9; s++) {
		if (v == 0 || v >= RESP_USUAL_MAX / 10 || end - s < 3)
			return NULL;
		v = 10 * v + digit;
	}
	if (s[0] != '\r' || s[1] != '\n')
		return NULL;
	*ret_v = v;
	return s + 2;
}

/*
 * The usual case at one go: a command of few arguments that is here to its end. False: it is another, or is broken, and
 * everything is as it was; it is to be read step by step.
 */
static bool parse_usual(struct resp_parser *p, const struct buf *in, struct resp_command *ret)
{
	const uint8_t *begin = buf_head(in), *end = begin + buf_len(in), *s;
	uint32_t argc, len;

	if (p->args_cap == 0 && args_grow(p) < 0)
		return false;
	s = usual_number(begin, end, '*', &argc);
	if (!s || argc < 1 || argc > MIN2(p->args_cap, p->limits.args_max))
		return false;
	for (uint32_t i = 0; i < argc; i++) {
		s = usual_number(s, end, '$', &len);
		if (!s || (size_t)(end - s) < (size_t)len + 2 || s[len] != '\r' || s[len + 1] != '\n')
			return false;
		p->argv[i] = (struct bytes){ s, len };
		s += (size_t)len + 2;
	}
	if ((size_t)(s - begin) > p->limits.command_bytes_max)
		return false;
	*ret = (struct resp_command){ p->argv, argc, (size_t)(s - begin) };
	return true;
}

int resp_parse(struct resp_parser *p, struct buf *in, struct resp_command *ret_command)
{
	int r = 0;

	while (r == 0) {
		switch (p->at) {
		case RESP_AT_START:
			if (p->args_cap > RESP_ARGS_KEEP)
				args_free(p);
			if (buf_len(in) == 0)
				return RESP_MORE;
			if (parse_usual(p, in, ret_command))
				return 0;
			if (*buf_head(in) == '*') {
				r = parse_count(p, in);
				break;
			}
			r = parse_inline(p, in, ret_command);
			if (r != 0 || ret_command->argc > 0)
				return r;
			buf_consume(in, ret_command->bytes);
			break;
		case RESP_AT_LENGTH:
			if (p->args_left == 0)
				return complete(p, in, ret_command);
			r = parse_length(p, in);
			break;
		case RESP_AT_BULK:
			r = parse_bulk(p, in);
			break;
		}
	}
	return r;
}
