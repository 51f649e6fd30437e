/*
 * Messages to operators: the journal with structured fields, or stderr. Only daemons and the command line call
 * this; library folders return errors and stay silent.
 *
 * Levels mean: error = we give something up; warning = we go on (and the text says so); notice = role changes;
 * info = normal life; debug = the rest.
 */
#ifndef LEASH_BASE_DIAG_H
#define LEASH_BASE_DIAG_H

#include <stdint.h>
#include <syslog.h>

#include "base/util.h"

enum diag_target {
	DIAG_TARGET_AUTO,    /* the journal when stderr is connected to it ($JOURNAL_STREAM), else stderr */
	DIAG_TARGET_JOURNAL,
	DIAG_TARGET_STDERR,
};

/* One extra journal field: KEY=value. The key is upper case and starts with "LEASH_". */
struct diag_field {
	const char *key, *value;
};

/*
 * Call once, before threads start. @ident (a string that stays) is the SYSLOG_IDENTIFIER; @level_max is a
 * LOG_* level, messages above it are dropped.
 */
void diag_init(const char *ident, enum diag_target target, int level_max);

/* "journal", "stderr" or "auto". False: something else. */
bool diag_target_parse(const char *text, enum diag_target *ret_target) _must_check_;

/* Fields that every later message of this process bears (LEASH_ENGINE, LEASH_NODE). Values are copied. At most 8. */
void diag_set_common(const char *key, const char *value);

/* True when a message of @level would be written: guards costly preparation. */
bool diag_enabled(int level);

/* A plain message. One line, no trailing newline; control characters are escaped. Any thread. */
void diag(int level, const char *fmt, ...) _printf_(2, 3);

/* A kind of event with its own MESSAGE_ID (32 hex digits, see the catalog) and fields. Any thread. */
void diag_event(int level, const char *message_id, const struct diag_field *fields, size_t n_fields,
	const char *fmt, ...) _printf_(5, 6);

#endif
