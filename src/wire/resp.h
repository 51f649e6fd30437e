/*
 * RESP, the Redis protocol, versions 2 and 3: requests in, replies out, and (for the command line and for tests)
 * replies in. Pure. The limits and the texts of errors are Redis's own (networking.c of Redis 7; protocol specification
 * at redis.io/docs/latest/develop/reference/protocol-spec).
 */
#ifndef LEASH_WIRE_RESP_H
#define LEASH_WIRE_RESP_H

#include "base/buf.h"

#define RESP_INLINE_BYTES_MAX (64u * 1024)           /* a line: an inline command, or a count */
#define RESP_BULK_BYTES_MAX   (512ull * 1024 * 1024) /* above: a protocol error */
#define RESP_ARGS_MAX         (1024u * 1024)         /* arguments a command may announce; above: a protocol error */
#define RESP_DEPTH_MAX        16                     /* nesting of replies that are read */
#define RESP_ERROR_MAX        160

/* ----------------------------------------------------------------------------------------------------- requests */

enum resp_outcome {
	RESP_MORE = 1,  /* the command is not complete: read more, call again */
	RESP_E_TOO_BIG, /* a command over the limit has been read to its end and dropped: say so, the connection lives */
	RESP_E_PROTO,   /* malformed: send `-ERR Protocol error: ` and parser->error, then close */
};

struct resp_limits {
	size_t command_bytes_max; /* of one command, as sent; counts and lengths included. At least RESP_INLINE_BYTES_MAX */
	uint32_t args_max;        /* of one command; one with more is RESP_E_TOO_BIG. At most RESP_ARGS_MAX */
};

/*
 * The parser of one connection. Rules:
 *
 * - While a command is incomplete its bytes stay in the input buffer and are not looked at again (but for a line that
 *   has not ended).
 * - A command that turns out to be over the limit is consumed as it arrives: the input never holds more than
 *   command_bytes_max and what one read brought. Its name (first argument) is in `dropped` for the error's text, as
 *   far as it was known then.
 * - Empty lines and empty multibulks are skipped.
 */
struct resp_arg {
	size_t at, len; /* offset in the input, bytes */
};

struct resp_parser {
	struct resp_limits limits;
	enum { RESP_AT_START, RESP_AT_LENGTH, RESP_AT_BULK } at; /* what comes next */
	size_t pos;           /* bytes of the input that have been understood; 0 while dropping */
	uint64_t bytes;       /* of the current command up to pos, consumed ones included */
	uint64_t bulk_left;   /* AT_BULK: bytes that are still to come, CRLF included */
	uint32_t args_left;
	bool dropping;
	struct resp_arg *args; /* grows as arguments arrive, at most limits.args_max */
	uint32_t n_args, args_cap;
	struct bytes *argv;   /* the same as views, once complete */
	uint8_t *line;        /* arguments of an inline command, unquoted; argv points into it */
	char dropped[32];
	char error[RESP_ERROR_MAX]; /* RESP_E_PROTO */
};

void resp_parser_init(struct resp_parser *p, struct resp_limits limits);
void resp_parser_deinit(struct resp_parser *p); /* all zero is fine */

struct resp_command {
	struct bytes *argv; /* into the input (multibulk) or the parser (inline); valid until either changes */
	uint32_t argc;      /* at least 1 */
	size_t bytes;       /* consume them when the command is done with, and before the next call */
};

/*
 * The command at the beginning of @in. 0: @ret_command. Positive: enum resp_outcome; bytes of dropped commands and
 * empty lines have been consumed from @in. -ENOMEM and RESP_E_PROTO are final: it must not be called again.
 */
int resp_parse(struct resp_parser *p, struct buf *in, struct resp_command *ret_command) _must_check_;

/* A decimal number as Redis wants them on the wire: '-' but no '+', no leading zeros, no blanks, nothing else. */
bool resp_parse_integer(struct bytes text, int64_t *ret_v) _must_check_;

/*
 * Splits a line as Redis does: blanks separate; "..." with \n \r \t \b \a \xHH and \c for c; '...' with \'.
 * Unquoted bytes go to @out, which has room for @line.len; @argv has room for @argv_max views into it.
 * False: unbalanced quotes, or more than @argv_max.
 */
bool resp_split_line(struct bytes line, uint8_t *out, struct bytes *argv, uint32_t argv_max, uint32_t *ret_argc)
	_must_check_;

/* ------------------------------------------------------------------------------------------------------- replies */

/*
 * Writers append to @out; @version is 2 or 3. They keep their first error in `err` (-ENOBUFS, -ENOMEM) and go on as
 * no-ops; check it once at the end with resp_end(), which on error takes back everything since resp_begin().
 */
struct resp_out {
	struct buf *out;
	int version;
	int err;
	size_t mark;
};

struct resp_out resp_begin(struct buf *out, int version);
int resp_end(struct resp_out *o) _must_check_;

/* One line; CR and LF become blanks. @error begins with its code: "ERR ...". */
void resp_simple(struct resp_out *o, const char *text);
void resp_error(struct resp_out *o, const char *error);
void resp_errorf(struct resp_out *o, const char *fmt, ...) _printf_(2, 3);
void resp_integer(struct resp_out *o, int64_t v);
void resp_bulk(struct resp_out *o, struct bytes b);
void resp_bulk_str(struct resp_out *o, const char *s);
void resp_bulkf(struct resp_out *o, const char *fmt, ...) _printf_(2, 3);
void resp_null(struct resp_out *o);       /* "$-1", 3: "_" */
void resp_null_array(struct resp_out *o); /* "*-1", 3: "_" */
void resp_array(struct resp_out *o, size_t n);
void resp_map(struct resp_out *o, size_t n_pairs); /* 2: an array of 2 * n_pairs */
void resp_set(struct resp_out *o, size_t n);       /* 2: an array */
void resp_push(struct resp_out *o, size_t n);      /* 2: an array */
void resp_double(struct resp_out *o, double v);    /* 2: a bulk string */
void resp_boolean(struct resp_out *o, bool v);     /* 2: 1 or 0 */
void resp_verbatim(struct resp_out *o, const char format[3], struct bytes b); /* "txt"; 2: a bulk string */

/* ------------------------------------------------------------------------------------------------- reading replies */

enum resp_type {
	RESP_T_SIMPLE = '+',
	RESP_T_ERROR = '-',
	RESP_T_INTEGER = ':',
	RESP_T_BULK = '$',
	RESP_T_ARRAY = '*',
	RESP_T_NULL = '_',   /* also RESP2's "$-1" and "*-1" */
	RESP_T_MAP = '%',
	RESP_T_SET = '~',
	RESP_T_PUSH = '>',
	RESP_T_DOUBLE = ',',
	RESP_T_BOOLEAN = '#',
	RESP_T_VERBATIM = '=',
	RESP_T_BIG = '(',
	RESP_T_BLOB_ERROR = '!',
};

/*
 * A reply is an array of values in the order they were sent: an aggregate is followed by its elements. `n_values` of
 * an aggregate counts all values below it, so that node + 1 + node->n_values is what comes next to it.
 */
struct resp_value {
	enum resp_type type;
	uint32_t n;         /* aggregates: elements (a map: 2 per pair) */
	uint32_t n_values;
	int64_t integer;    /* INTEGER, BOOLEAN */
	double number;      /* DOUBLE */
	struct bytes text;  /* strings, errors, BIG and DOUBLE as sent; into the input */
	size_t at;          /* offset of the text in the input */
};

/*
 * Incremental: what has been understood is not looked at again. At most @values_max values (so the caller's memory is
 * bounded) and RESP_DEPTH_MAX levels.
 */
struct resp_reader {
	struct resp_value *values;
	uint32_t n, cap, values_max;
	size_t pos;
	bool done;          /* the last call returned a reply */
	uint32_t depth;
	struct {
		uint32_t at, left;
	} stack[RESP_DEPTH_MAX];
};

void resp_reader_init(struct resp_reader *r, uint32_t values_max);
void resp_reader_deinit(struct resp_reader *r);

/*
 * 0: @ret_values[0] is the whole reply, *@ret_bytes are to be consumed once it is done with (before the next call).
 * RESP_MORE; RESP_E_TOO_BIG: more values, levels or bytes in a string than allowed; RESP_E_PROTO; -ENOMEM. Errors are
 * final for the connection.
 */
int resp_read(struct resp_reader *r, struct bytes in, const struct resp_value **ret_values, size_t *ret_bytes)
	_must_check_;

#endif
