/*
 * Configuration from one table of keys: the INI file, the command line, --help and the reload all follow it.
 *
 * A key `hold_timeout` is `hold_timeout = 30s` in the file and `--hold-timeout 30s` on the command line,
 * which wins. A file is read only with --config FILE. Its keys stand before any section; `[PREFIX NAME]` is a
 * section if the program's table has that prefix. Lines that begin with '#' or ';' are comments, and so is
 * what follows a blank and a ';'. A list may go on over indented lines. A key may stand once in a file; of
 * options the last one counts.
 *
 * The module prints nothing. What is wrong comes back as text, one line per error, with file and line (or
 * option), what is wrong and what is allowed: up to CONF_ERRORS_MAX of them. The caller exits with 78
 * (EX_CONFIG).
 *
 *	struct settings { char *node; uint64_t hold_timeout_ms; struct conf_log log; };
 *
 *	static const struct conf_key keys[] = {
 *		{ "node", CONF_AT_STRING(struct settings, node), .flags = CONF_REQUIRED,
 *		  .check = conf_check_name, .meta = "NAME", .help = "name of this node" },
 *		{ "hold_timeout", CONF_AT_DURATION(struct settings, hold_timeout_ms), .text = "30s",
 *		  .unit = "s", .min = 1000, .max = 600000, .flags = CONF_RELOAD,
 *		  .help = "how long to hold messages" },
 *		CONF_KEYS_LOG(struct settings, log),
 *	};
 *	static const struct conf_desc desc = { "leash-noded", .about = "...", .keys = keys,
 *		.n_keys = ARRAY_SIZE(keys), .size = sizeof(struct settings) };
 */
#ifndef LEASH_BASE_CONF_H
#define LEASH_BASE_CONF_H

#include "base/buf.h"
#include "base/units.h"

#define CONF_KEYS_MAX     128 /* rows of a table */
#define CONF_LIST_MAX     64  /* items of a list, unless the key says less */
#define CONF_TEXT_MAX     4096 /* bytes of a value */
#define CONF_SECTIONS_MAX 64  /* sections of one prefix */
#define CONF_FILE_MAX     (1024 * 1024) /* bytes of a file */
#define CONF_ERRORS_MAX   20
#define CONF_ERROR_TEXT   512 /* bytes of one error with the NUL; longer ones are cut */

enum conf_type {
	CONF_STRING,   /* char *, NULL when unset */
	CONF_PATH,     /* char *, NULL when unset */
	CONF_LIST,     /* struct conf_list */
	CONF_SIZE,     /* uint64_t, bytes */
	CONF_NUMBER,   /* uint64_t, in the key's unit */
	CONF_DURATION, /* uint64_t, ms */
	CONF_BOOL,     /* bool */
	CONF_ADDRESS,  /* struct units_addr; all zero when unset */
	CONF_ENUM,     /* int, index into choices */
};

struct conf_list {
	char **items;
	size_t n;
};

#define CONF_REQUIRED 1u /* must be set; it has no default */
#define CONF_RELOAD   2u /* a reload can change it */

struct conf_key {
	const char *name;    /* lower case, words joined by '_', at most 40 bytes */
	enum conf_type type; /* type and offset: by the CONF_AT macros */
	size_t offset;
	const char *text;    /* the default, as it would stand in a file; NULL: unset, or zero */
	const char *meta;    /* what --help calls the value; NULL: by type */
	const char *help;    /* one line, small first letter, no full stop */
	unsigned flags;      /* CONF_REQUIRED, CONF_RELOAD */
	/* Bounds of SIZE (bytes), NUMBER, DURATION (ms), items of a LIST, an ADDRESS's port. max 0 = none. */
	uint64_t min, max;
	/* DURATION: "ms", "s", "m" or "h", the unit of a bare number. NUMBER: a word for messages. */
	const char *unit;
	const char *const *choices; /* ENUM: NULL at the end */
	/*
	 * STRING, PATH and each item of a LIST: NULL when @text is good, else what is allowed ("a name of
	 * ...").
	 */
	const char *(*check)(const char *text);
};

#define CONF_AT(kind, ctype, s, m)                                                                           \
	.type = (kind),                                                                                      \
	.offset = offsetof(s, m) +                                                                           \
		0 * sizeof(char[__builtin_types_compatible_p(ctype, __typeof__(((s *)0)->m)) ? 1 : -1])
#define CONF_AT_STRING(s, m)   CONF_AT(CONF_STRING, char *, s, m)
#define CONF_AT_PATH(s, m)     CONF_AT(CONF_PATH, char *, s, m)
#define CONF_AT_LIST(s, m)     CONF_AT(CONF_LIST, struct conf_list, s, m)
#define CONF_AT_SIZE(s, m)     CONF_AT(CONF_SIZE, uint64_t, s, m)
#define CONF_AT_NUMBER(s, m)   CONF_AT(CONF_NUMBER, uint64_t, s, m)
#define CONF_AT_DURATION(s, m) CONF_AT(CONF_DURATION, uint64_t, s, m)
#define CONF_AT_BOOL(s, m)     CONF_AT(CONF_BOOL, bool, s, m)
#define CONF_AT_ADDRESS(s, m)  CONF_AT(CONF_ADDRESS, struct units_addr, s, m)
#define CONF_AT_ENUM(s, m)     CONF_AT(CONF_ENUM, int, s, m)

/* The two keys that every program has: an enum diag_target and a LOG_* level, for diag_init(). */
struct conf_log {
	int target, level;
};

extern const char *const conf_log_targets[]; /* index: enum diag_target */
extern const char *const conf_log_levels[];  /* index: LOG_* */

#define CONF_KEYS_LOG(s, m)                                                                                  \
	{ "log_target", CONF_AT_ENUM(s, m.target), .text = "auto", .choices = conf_log_targets,              \
	  .help = "where messages go; auto: the journal if started by systemd, else stderr" },               \
	{ "log_level", CONF_AT_ENUM(s, m.level), .text = "info", .choices = conf_log_levels,                 \
	  .flags = CONF_RELOAD, .help = "messages above this level are dropped" }

/*
 * Checks for keys: an engine's or node's name (name_valid() in ids.h); an address as units_addr() reads it.
 */
const char *conf_check_name(const char *text);
const char *conf_check_addr(const char *text);

/*
 * Sections `[PREFIX NAME]`. Each becomes one item: a zeroed object of @size whose first member is `char
 * *name`, filled by @keys and put into the struct conf_items at @offset of the program's struct, in the order
 * of the file. Names are as conf_check_name() has them and differ within a prefix.
 */
struct conf_items {
	void **items;
	size_t n;
};

struct conf_errors;

struct conf_section {
	const char *prefix;
	const struct conf_key *keys;
	size_t n_keys;
	size_t size;
	size_t offset;
	bool reload; /* a reload can add, change and remove them */
	/* May be NULL. Called when an item is complete; says with conf_error() what is wrong with it. */
	void (*check)(const void *item, struct conf_errors *errors);
};

struct conf_desc {
	const char *program;
	const char *usage; /* what follows the name in the usage line; NULL: "[OPTION]..." */
	const char *about; /* a line or more for --help */
	const struct conf_key *keys;
	size_t n_keys;
	const struct conf_section *sections;
	size_t n_sections;
	size_t size;       /* of the program's struct */
	size_t operands;   /* arguments that are no options: how many at most */
	/*
	 * May be NULL. Called when every single value is good; says with conf_error() which combinations are
	 * impossible.
	 */
	void (*check)(const void *conf, struct conf_errors *errors);
};

struct conf_errors {
	size_t n;    /* texts */
	size_t more; /* errors that found no place */
	char text[CONF_ERRORS_MAX][CONF_ERROR_TEXT];
	const void *origin; /* the module's own */
};

/*
 * Adds an error; with @key (may be NULL) it says where that key was set. Only within the two check callbacks.
 */
void conf_error(struct conf_errors *errors, const char *key, const char *fmt, ...) _printf_(3, 4);

enum conf_action {
	CONF_RUN,
	CONF_CHECK,   /* --check: all is well, print that and exit 0 */
	CONF_HELP,    /* --help: print conf_help() and exit 0. Nothing was loaded */
	CONF_VERSION, /* --version: likewise */
};

struct conf_result {
	enum conf_action action;
	const char *file; /* of --config, points into argv; NULL: none */
	char **operands;  /* into argv */
	size_t n_operands;
};

#define CONF_E_INVALID 1 /* @errors says why */

/*
 * Reads the command line and the file it names into *@ret_conf, an object of desc->size that need not be
 * initialised. After CONF_RUN and CONF_CHECK it is the caller's to conf_free(); otherwise it is not touched.
 * getopt(3) moves the operands in @argv behind the options. Not thread safe (getopt); for a reload call it
 * again with the same arguments.
 *
 * Returns 0, CONF_E_INVALID, -ENOMEM.
 */
int conf_load(const struct conf_desc *desc, int argc, char **argv, void *ret_conf,
	struct conf_result *ret_result, struct conf_errors *errors) _must_check_;

/* Frees what the fields hold and zeroes the object; one that is all zero is fine too. */
void conf_free(const struct conf_desc *desc, void *conf);

/* A difference between two loads. Names point into the table, item names into the objects. */
struct conf_change {
	const char *section; /* prefix, or NULL: the program's keys */
	const char *item;    /* name of the item, or NULL */
	const char *key;     /* NULL: the item came or went */
	bool reload;         /* false: it has no effect before a restart */
};

/* Compares; returns how many changes there are, of which the first @max are stored. */
size_t conf_diff(const struct conf_desc *desc, const void *before, const void *after,
	struct conf_change *ret_changes, size_t max);

/*
 * Sets one key from text, as the file would: to apply only what a reload can change, or in tests. 0, -ENOMEM,
 * or CONF_E_INVALID with the reason in @ret_why.
 */
int conf_set(const struct conf_key *key, void *conf, const char *text,
	char ret_why[CONF_ERROR_TEXT]) _must_check_;

/* Appends the text of --help. 0, -ENOMEM, -ENOBUFS. */
int conf_help(const struct conf_desc *desc, struct buf *out) _must_check_;

#endif
