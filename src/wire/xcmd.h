/*
 * Commands: argument vectors taken apart as Redis 8.6 takes them, with its texts of errors; execution is somebody
 * else's. Pure. Sources: t_stream.c, networking.c and server.c of Redis, its test suite (tests/unit/type/stream.tcl), and
 * for what is leash's own (IDMPSEQ, no explicit ids, no trimming by clients) leash-gatewayd(8).
 *
 * Every parser gets the whole vector, whose number of arguments xcmd_lookup() has checked against the table. It returns
 * 0 and the result, whose bytes point into the vector; or XCMD_E and the text of the error, code included ("ERR ...").
 *
 * Entry ids are <sequence>-0. Ids from clients may be any <ms>-<seq>: they are turned into sequence numbers here, by
 * the order that Redis gives ids.
 */
#ifndef LEASH_WIRE_XCMD_H
#define LEASH_WIRE_XCMD_H

#include "base/repmsg.h"
#include "wire/resp.h"

#define XCMD_E           1
#define XCMD_ERR_MAX     512
#define XCMD_STREAMS_MAX 256 /* in one XREAD */
#define XCMD_NAME_MAX    32  /* bytes of a command's full name, "client|setname" */

struct xcmd_err {
	char text[XCMD_ERR_MAX];
};

/* -------------------------------------------------------------------------------------------------- command table */

enum xcmd_id {
	XCMD_AUTH,
	XCMD_CLIENT, /* a container without subcommand never comes out of xcmd_lookup(), but for COMMAND */
	XCMD_CLIENT_GETNAME,
	XCMD_CLIENT_HELP,
	XCMD_CLIENT_ID,
	XCMD_CLIENT_INFO,
	XCMD_CLIENT_LIST,
	XCMD_CLIENT_NO_EVICT,
	XCMD_CLIENT_NO_TOUCH,
	XCMD_CLIENT_REPLY,
	XCMD_CLIENT_SETINFO,
	XCMD_CLIENT_SETNAME,
	XCMD_COMMAND,
	XCMD_COMMAND_COUNT,
	XCMD_COMMAND_DOCS,
	XCMD_COMMAND_GETKEYS,
	XCMD_COMMAND_HELP,
	XCMD_COMMAND_INFO,
	XCMD_COMMAND_LIST,
	XCMD_CONFIG,
	XCMD_CONFIG_GET,
	XCMD_CONFIG_HELP,
	XCMD_ECHO,
	XCMD_HELLO,
	XCMD_INFO,
	XCMD_LEASH, /* admin verbs, only on the local socket */
	XCMD_PING,
	XCMD_QUIT,
	XCMD_RESET,
	XCMD_ROLE,
	XCMD_SELECT,
	XCMD_WAIT,
	XCMD_XADD,
	XCMD_XCFGSET,
	XCMD_XINFO,
	XCMD_XINFO_HELP,
	XCMD_XINFO_STREAM,
	XCMD_XLEN,
	XCMD_XRANGE,
	XCMD_XREAD,
	XCMD_XREVRANGE,
};

enum xcmd_flag {
	XCMD_F_WRITE = 1 << 0,
	XCMD_F_READONLY = 1 << 1,
	XCMD_F_DENYOOM = 1 << 2,
	XCMD_F_FAST = 1 << 3,
	XCMD_F_BLOCKING = 1 << 4,
	XCMD_F_MOVABLEKEYS = 1 << 5, /* XREAD: where its keys are depends on its options */
	XCMD_F_NO_AUTH = 1 << 6,     /* allowed before AUTH */
	XCMD_F_LOADING = 1 << 7,     /* allowed when there is no primary */
	XCMD_F_STALE = 1 << 8,
	XCMD_F_NOSCRIPT = 1 << 9,
	XCMD_F_ADMIN = 1 << 10,
	XCMD_F_CONTAINER = 1 << 11,  /* has subcommands; not shown as a flag */
};

struct xcmd_info {
	enum xcmd_id id;
	const char *name;   /* lower case; subcommands: "client|setname" */
	int arity;          /* as in Redis: arguments with the name; negative: at least so many */
	unsigned flags;     /* enum xcmd_flag */
	int first_key, last_key, key_step;
	const char *group, *since, *summary;
};

/* All commands, without subcommands, in order of name. */
const struct xcmd_info *xcmd_table(size_t *ret_n);

/*
 * The command, or subcommand, that argv calls. XCMD_E: unknown command, unknown subcommand, or wrong number of arguments.
 * argc is at least 1.
 */
int xcmd_lookup(const struct bytes *argv, uint32_t argc, const struct xcmd_info **ret_info, struct xcmd_err *err)
	_must_check_;

/* True: xcmd_lookup() would find @info. False: it has to look. For @info that it found for the command before. */
bool xcmd_calls(const struct bytes *argv, uint32_t argc, const struct xcmd_info *info);

/* The whole answer to COMMAND and each of its subcommands. */
void xcmd_reply_command(struct resp_out *o, const struct bytes *argv, uint32_t argc, const struct xcmd_info *info);

/* The answer to CLIENT HELP, CONFIG HELP, XINFO HELP, COMMAND HELP. */
void xcmd_reply_help(struct resp_out *o, const struct xcmd_info *info);

/* True when @arg is @word, which is in lower case, whatever the case of @arg. */
bool xcmd_is(struct bytes arg, const char *word);

/* ---------------------------------------------------------------------------------------------------- entry ids */

/* Writes "<seq>-0" and a NUL; returns the length without it. */
#define XCMD_ID_TEXT (20 + 2 + 1)
size_t xcmd_id_format(leash_seq seq, char text[XCMD_ID_TEXT]);

/* ------------------------------------------------------------------------------------------------ stream commands */

struct xcmd_xadd {
	struct bytes key;
	enum rec_id_kind kind; /* NONE, OPAQUE (IDMP), AUTO (IDMPAUTO), SEQ (IDMPSEQ) */
	struct bytes producer, id;
	uint64_t n;            /* SEQ: at least 1 */
	const struct bytes *pairs; /* name, value, name, value ...: into argv, as rec_body_encode() wants them */
	uint32_t n_pairs;      /* at least 1 */
	bool nomkstream;       /* accepted, means nothing: a stream is there or its engine is unknown */
};

/* Explicit ids and MAXLEN/MINID are understood, and then refused: a retention that clients set is none of leash's. */
int xcmd_xadd(const struct bytes *argv, uint32_t argc, struct xcmd_xadd *ret, struct xcmd_err *err) _must_check_;

enum xcmd_from_kind {
	XCMD_FROM_AFTER, /* entries behind .after */
	XCMD_FROM_NEW,   /* "$": entries behind the last one there is when the command comes */
	XCMD_FROM_LAST,  /* "+": the last entry there is; if there is none, like "$" */
};

struct xcmd_from {
	enum xcmd_from_kind kind;
	leash_seq after; /* UINT64_MAX: nothing can be behind it */
};

struct xcmd_xread {
	uint64_t count; /* per stream; 0 = no limit */
	bool block;
	uint64_t block_ms; /* 0 = for ever */
	uint32_t n_streams;
	const struct bytes *keys; /* n_streams of them, into argv */
	struct xcmd_from from[XCMD_STREAMS_MAX];
};

int xcmd_xread(const struct bytes *argv, uint32_t argc, struct xcmd_xread *ret, struct xcmd_err *err) _must_check_;

struct xcmd_range {
	struct bytes key;
	bool reverse;
	bool empty;         /* no id can lie in it: answer an empty array */
	bool null;          /* COUNT is 0 or less: Redis answers a null array */
	leash_seq from, to; /* both included, 1 <= from <= to, unless empty */
	uint64_t count;     /* 0 = no limit */
};

/* XRANGE, or with @reverse XREVRANGE, whose end comes first. */
int xcmd_xrange(const struct bytes *argv, uint32_t argc, bool reverse, struct xcmd_range *ret, struct xcmd_err *err)
	_must_check_;

struct xcmd_xinfo {
	struct bytes key;
	bool full;
	uint64_t count; /* FULL: entries; 0 = all; default 10 */
};

int xcmd_xinfo_stream(const struct bytes *argv, uint32_t argc, struct xcmd_xinfo *ret, struct xcmd_err *err)
	_must_check_;

/* XCFGSET: Redis's settings of a stream's idempotence. leash takes and ignores them: its window is the cluster's. */
struct xcmd_xcfgset {
	struct bytes key;
	bool has_duration, has_maxsize;
	uint32_t duration_s; /* 1..86400 */
	uint32_t maxsize;    /* 1..10000 */
};

int xcmd_xcfgset(const struct bytes *argv, uint32_t argc, struct xcmd_xcfgset *ret, struct xcmd_err *err) _must_check_;

/* ---------------------------------------------------------------------------------------------------- connection */

struct xcmd_wait {
	int64_t n_replicas;
	uint64_t timeout_ms; /* 0 = for ever */
};

int xcmd_wait(const struct bytes *argv, uint32_t argc, struct xcmd_wait *ret, struct xcmd_err *err) _must_check_;

struct xcmd_hello {
	int version;   /* 2, 3; 0 = not given: it stays as it is */
	bool has_auth, has_name;
	struct bytes user, password, name;
};

int xcmd_hello(const struct bytes *argv, uint32_t argc, struct xcmd_hello *ret, struct xcmd_err *err) _must_check_;

struct xcmd_auth {
	struct bytes user, password; /* user: "default" when not given */
};

int xcmd_auth(const struct bytes *argv, uint32_t argc, struct xcmd_auth *ret, struct xcmd_err *err) _must_check_;

/* 0 is the only database. */
int xcmd_select(const struct bytes *argv, uint32_t argc, struct xcmd_err *err) _must_check_;

enum xcmd_reply_mode { XCMD_REPLY_ON, XCMD_REPLY_OFF, XCMD_REPLY_SKIP };

struct xcmd_client {
	struct bytes name;         /* SETNAME; may be empty: no name */
	bool is_lib_name;          /* SETINFO: LIB-NAME, else LIB-VER */
	struct bytes value;        /* SETINFO */
	enum xcmd_reply_mode mode; /* REPLY */
	bool on;                   /* NO-EVICT, NO-TOUCH */
};

/* @info: the subcommand, as looked up. */
int xcmd_client(const struct bytes *argv, uint32_t argc, const struct xcmd_info *info, struct xcmd_client *ret,
	struct xcmd_err *err) _must_check_;

#endif
