/*
 * Messages to operators: the journal with structured fields, or stderr. Only daemons and the command line
 * call this; library folders return errors and stay silent.
 *
 * Levels mean: error = we give something up; warning = we go on (and the text says so); notice = role
 * changes; info = normal life; debug = the rest.
 *
 * A message is one line of at most DIAG_TEXT_MAX bytes (what is longer ends in "..."). Control characters and
 * bytes that are not UTF-8 are written as \xNN, so that names from outside cannot forge lines or drive a
 * terminal.
 *
 * On stderr it looks like "leash-noded: warning: ...". When stderr is the journal's stream, the level is
 * given as sd-daemon(3) has it ("<4>...") and the journal adds the name itself. Fields are seen in the
 * journal only.
 */
#ifndef LEASH_BASE_DIAG_H
#define LEASH_BASE_DIAG_H

#include <pthread.h>
#include <stdint.h>
#include <sys/uio.h>
#include <syslog.h>

#include "base/util.h"

#define DIAG_TEXT_MAX   1000 /* bytes of a message after escaping */
#define DIAG_FIELDS_MAX 16   /* fields of one event; more are left out */
#define DIAG_COMMON_MAX 8    /* fields that every message bears */

enum diag_target {
	DIAG_TARGET_AUTO,    /* the journal when stderr is connected to it ($JOURNAL_STREAM), else stderr */
	DIAG_TARGET_JOURNAL, /* and stderr for what the journal does not take */
	DIAG_TARGET_STDERR,
};

/* One extra journal field: KEY=value. The key is upper case and starts with "LEASH_". */
struct diag_field {
	const char *key, *value;
};

/* Where a message was made; see diag(). */
struct diag_place {
	const char *file;
	int line;
	const char *func;
};

#define DIAG_HERE (&(const struct diag_place){ __FILE__, __LINE__, __func__ })

/*
 * Call once, before threads start. @ident (a string that stays) is the SYSLOG_IDENTIFIER; @level_max is a
 * LOG_* level, messages above it are dropped. Before this call messages go to stderr under the name "leash".
 */
void diag_init(const char *ident, enum diag_target target, int level_max);

/* Changes the level later, at a reload. Any thread. */
void diag_set_level(int level_max);

/* "journal", "stderr" or "auto". False: something else. */
bool diag_target_parse(const char *text, enum diag_target *ret_target) _must_check_;

/*
 * "emerg", "alert", "crit", "error" ("err"), "warning", "notice", "info", "debug", or 0 to 7. False:
 * something else.
 */
bool diag_level_parse(const char *text, int *ret_level) _must_check_;

/*
 * Fields that every later message of this process bears (LEASH_ENGINE, LEASH_NODE). Values are copied; a key
 * that is there already gets the new value. Before threads start. At most DIAG_COMMON_MAX.
 */
void diag_set_common(const char *key, const char *value);

/* True when a message of @level would be written: guards costly preparation. */
bool diag_enabled(int level);

/* A plain message. One line, no trailing newline. Any thread. */
#define diag(level, ...) diag_at(DIAG_HERE, (level), __VA_ARGS__)

/* A kind of event with its own MESSAGE_ID (32 hex digits, see the catalog) and fields. Any thread. */
#define diag_event(level, message_id, fields, n_fields, ...)                                                 \
	diag_event_at(DIAG_HERE, (level), (message_id), (fields), (n_fields), __VA_ARGS__)

/*
 * A bound on how often one kind of message is written: @burst of them in @interval_ns. The first one after
 * that says how many were dropped. Static storage: struct diag_limit l = DIAG_LIMIT(5, 10 * NS_PER_S).
 */
struct diag_limit {
	pthread_mutex_t lock; /* guards the rest; any thread */
	uint64_t interval_ns;
	uint64_t burst;
	uint64_t began_ns; /* of this interval, CLOCK_BOOTTIME; 0 = none yet */
	uint64_t passed;   /* in this interval */
	uint64_t dropped;  /* since the last one that passed */
};

#define DIAG_LIMIT(messages, per_ns)                                                                         \
	{ .lock = PTHREAD_MUTEX_INITIALIZER, .interval_ns = (per_ns), .burst = (messages) }

/* A plain message that may be one of many. Any thread. */
#define diag_limited(limit, level, ...) diag_limited_at(DIAG_HERE, (limit), (level), __VA_ARGS__)

/* True: write it, and say that @ret_dropped went before it unseen. @now_ns: CLOCK_BOOTTIME. */
bool diag_limit_pass(struct diag_limit *l, uint64_t now_ns, uint64_t *ret_dropped) _must_check_;

/* What the macros call. */
void diag_at(const struct diag_place *at, int level, const char *fmt, ...) _printf_(3, 4);
void diag_event_at(const struct diag_place *at, int level, const char *message_id,
	const struct diag_field *fields, size_t n_fields, const char *fmt, ...) _printf_(6, 7);
void diag_limited_at(const struct diag_place *at, struct diag_limit *limit, int level, const char *fmt, ...)
	_printf_(4, 5);

/*
 * Escapes @text into @ret_text (at most @size bytes with the NUL; a longer text ends in "..."); returns
 * @ret_text.
 */
char *diag_escape(const char *text, char *ret_text, size_t size);

/* For tests: takes the place of sd_journal_sendv(3). Its result is 0 or a negative errno. */
void diag_set_journal(int (*send)(const struct iovec *iov, int n));

#endif
