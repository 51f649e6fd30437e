/*
 * A message is made on the stack of its caller and leaves in one system call: one datagram to the journal, or
 * one write to stderr. So threads need no lock, and lines of several threads do not mix.
 */
#include "base/diag.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include "base/clk.h"

#define FIELD_MAX      (256 + 64) /* bytes of one KEY=value; longer ones are cut */
#define FIXED_MAX      7 /* PRIORITY, MESSAGE, MESSAGE_ID, SYSLOG_IDENTIFIER, CODE_FILE, _LINE, _FUNC */
#define IOV_FIELDS_MAX (FIXED_MAX + DIAG_COMMON_MAX + DIAG_FIELDS_MAX)

enum form {
	FORM_PLAIN,   /* leash-noded: warning: ... */
	FORM_COLOUR,  /* the same on a terminal */
	FORM_JOURNAL, /* <4>... */
};

static struct {
	const char *ident;
	atomic_int level_max;
	bool journal;
	enum form form;
	char common[DIAG_COMMON_MAX][FIELD_MAX];
	size_t n_common;
	int (*send)(const struct iovec *iov, int n);
} state = { .ident = "leash", .level_max = LOG_INFO, .send = sd_journal_sendv };

static const struct {
	const char *name, *colour;
} levels[] = {
	[LOG_EMERG] = { "emerg", "\x1b[1;31m" },
	[LOG_ALERT] = { "alert", "\x1b[1;31m" },
	[LOG_CRIT] = { "crit", "\x1b[1;31m" },
	[LOG_ERR] = { "error", "\x1b[1;31m" },
	[LOG_WARNING] = { "warning", "\x1b[1;33m" },
	[LOG_NOTICE] = { "notice", "\x1b[1m" },
	[LOG_INFO] = { "info", "" },
	[LOG_DEBUG] = { "debug", "\x1b[2m" },
};

static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;
	char end;

	if (!stream || sscanf(stream, "%llu:%llu%c", &dev, &ino, &end) != 2 || fstat(STDERR_FILENO, &st) < 0)
		return false;
	return st.st_dev == dev && st.st_ino == ino;
}

static bool stderr_has_colours(void)
{
	const char *term = getenv("TERM");

	return isatty(STDERR_FILENO) && !getenv("NO_COLOR") && term && strcmp(term, "dumb") != 0;
}

void diag_init(const char *ident, enum diag_target target, int level_max)
{
	bool stream = stderr_is_journal();

	state.ident = ident;
	state.journal = target == DIAG_TARGET_JOURNAL || (target == DIAG_TARGET_AUTO && stream);
	state.form = stream ? FORM_JOURNAL : stderr_has_colours() ? FORM_COLOUR : FORM_PLAIN;
	diag_set_level(level_max);
}

void diag_set_level(int level_max)
{
	must(level_max >= LOG_EMERG && level_max <= LOG_DEBUG);
	atomic_store_explicit(&state.level_max, level_max, memory_order_relaxed);
}

void diag_set_journal(int (*send)(const struct iovec *iov, int n))
{
	state.send = send;
}

bool diag_target_parse(const char *text, enum diag_target *ret_target)
{
	static const char *const names[] = {
		[DIAG_TARGET_AUTO] = "auto",
		[DIAG_TARGET_JOURNAL] = "journal",
		[DIAG_TARGET_STDERR] = "stderr",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(text, names[i]) == 0) {
			*ret_target = (enum diag_target)i;
			return true;
		}
	}
	return false;
}

bool diag_level_parse(const char *text, int *ret_level)
{
	if (strcmp(text, "err") == 0)
		text = levels[LOG_ERR].name;
	for (int i = 0; i < (int)ARRAY_SIZE(levels); i++) {
		if (strcmp(text, levels[i].name) == 0 || (text[0] == '0' + i && text[1] == '\0')) {
			*ret_level = i;
			return true;
		}
	}
	return false;
}

void diag_set_common(const char *key, const char *value)
{
	size_t i, n = strlen(key);

	for (i = 0; i < state.n_common; i++) {
		if (strncmp(state.common[i], key, n) == 0 && state.common[i][n] == '=')
			break;
	}
	must(i < DIAG_COMMON_MAX);
	(void)snprintf(state.common[i], FIELD_MAX, "%s=%s", key, value);
	state.n_common = MAX2(state.n_common, i + 1);
}

bool diag_enabled(int level)
{
	return level <= atomic_load_explicit(&state.level_max, memory_order_relaxed);
}

static bool continues(const uint8_t *p, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80) /* also the NUL at the end */
			return false;
	}
	return true;
}

/*
 * The length of the printable UTF-8 character at @p, 0 if there is none (RFC 3629 4, without the C1
 * controls).
 */
static size_t printable(const uint8_t *p)
{
	if (p[0] >= 0x20 && p[0] < 0x7f)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		return continues(p, 2) && !(p[0] == 0xc2 && p[1] < 0xa0) ? 2 : 0;
	if (p[0] >= 0xe0 && p[0] <= 0xef) {
		if (!continues(p, 3) || (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0))
			return 0;
		return 3;
	}
	if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		if (!continues(p, 4) || (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90))
			return 0;
		return 4;
	}
	return 0;
}

char *diag_escape(const char *text, char *ret_text, size_t size)
{
	static const char hex[] = "0123456789abcdef", more[] = "...";
	const uint8_t *p = (const uint8_t *)text;
	size_t n = 0, keep = 0; /* keep: where "..." still fits */

	must(size >= sizeof more);
	while (*p) {
		size_t len = printable(p), need = len ? len : 4;

		if (need >= size - n) {
			memcpy(ret_text + keep, more, sizeof more);
			return ret_text;
		}
		if (len)
			memcpy(ret_text + n, p, len);
		else
			memcpy(ret_text + n, (char[]){ '\\', 'x', hex[*p >> 4], hex[*p & 15] }, 4);
		n += need;
		p += len ? len : 1;
		if (size - n >= sizeof more)
			keep = n;
	}
	ret_text[n] = '\0';
	return ret_text;
}

struct record {
	struct iovec iov[IOV_FIELDS_MAX];
	char own[FIXED_MAX + DIAG_FIELDS_MAX][FIELD_MAX];
	char message[sizeof "MESSAGE=" + DIAG_TEXT_MAX];
	int n;
	size_t n_own;
};

static void record_put(struct record *r, char *text)
{
	must(r->n < IOV_FIELDS_MAX);
	r->iov[r->n++] = (struct iovec){ .iov_base = text, .iov_len = strlen(text) };
}

static void record_add(struct record *r, const char *key, const char *value)
{
	must(r->n_own < ARRAY_SIZE(r->own));
	(void)snprintf(r->own[r->n_own], FIELD_MAX, "%s=%s", key, value);
	record_put(r, r->own[r->n_own++]);
}

static int send_to_journal(const struct diag_place *at, int level, const char *message_id,
	const struct diag_field *fields, size_t n_fields, const char *text)
{
	struct record r;
	char number[16];

	r.n = 0;
	r.n_own = 0;
	(void)snprintf(r.message, sizeof r.message, "MESSAGE=%s", text);
	record_put(&r, r.message);
	(void)snprintf(number, sizeof number, "%d", level);
	record_add(&r, "PRIORITY", number);
	record_add(&r, "SYSLOG_IDENTIFIER", state.ident);
	record_add(&r, "CODE_FILE", at->file);
	(void)snprintf(number, sizeof number, "%d", at->line);
	record_add(&r, "CODE_LINE", number);
	record_add(&r, "CODE_FUNC", at->func);
	if (message_id)
		record_add(&r, "MESSAGE_ID", message_id);
	for (size_t i = 0; i < MIN2(n_fields, (size_t)DIAG_FIELDS_MAX); i++)
		record_add(&r, fields[i].key, fields[i].value);
	for (size_t i = 0; i < state.n_common; i++)
		record_put(&r, state.common[i]);
	return state.send(r.iov, r.n);
}

static void send_to_stderr(int level, const char *text)
{
	char line[DIAG_TEXT_MAX + 256];
	int n = 0;

	switch (state.form) {
	case FORM_JOURNAL:
		n = snprintf(line, sizeof line, "<%d>%s\n", level, text);
		break;
	case FORM_COLOUR:
		n = snprintf(line, sizeof line, "%s: %s%s:%s %s\n", state.ident, levels[level].colour,
			levels[level].name, levels[level].colour[0] ? "\x1b[0m" : "", text);
		break;
	case FORM_PLAIN:
		n = snprintf(line, sizeof line, "%s: %s: %s\n", state.ident, levels[level].name, text);
		break;
	}
	if (n >= (int)sizeof line) { /* only a very long name gets here */
		n = (int)sizeof line - 1;
		line[n - 1] = '\n';
	}
	while (write(STDERR_FILENO, line, (size_t)n) < 0 && errno == EINTR)
		;
}

static void emit(const struct diag_place *at, int level, const char *message_id,
	const struct diag_field *fields, size_t n_fields, const char *raw)
{
	char text[DIAG_TEXT_MAX + 1];
	int saved = errno;

	must(level >= LOG_EMERG && level <= LOG_DEBUG);
	(void)diag_escape(raw, text, sizeof text);
	if (!state.journal || send_to_journal(at, level, message_id, fields, n_fields, text) < 0)
		send_to_stderr(level, text);
	errno = saved;
}

/* Formats into @raw. One byte more than fits is kept, so that escaping sees that there was more. */
static _printf_(2, 0) void format(char raw[DIAG_TEXT_MAX + 2], const char *fmt, va_list ap)
{
	if (vsnprintf(raw, DIAG_TEXT_MAX + 2, fmt, ap) < 0)
		(void)snprintf(raw, DIAG_TEXT_MAX + 2, "(a message that cannot be formatted: %.100s)", fmt);
}

void diag_at(const struct diag_place *at, int level, const char *fmt, ...)
{
	char raw[DIAG_TEXT_MAX + 2];
	va_list ap;

	if (!diag_enabled(level))
		return;
	va_start(ap, fmt);
	format(raw, fmt, ap);
	va_end(ap);
	emit(at, level, NULL, NULL, 0, raw);
}

void diag_event_at(const struct diag_place *at, int level, const char *message_id,
	const struct diag_field *fields, size_t n_fields, const char *fmt, ...)
{
	char raw[DIAG_TEXT_MAX + 2];
	va_list ap;

	if (!diag_enabled(level))
		return;
	va_start(ap, fmt);
	format(raw, fmt, ap);
	va_end(ap);
	emit(at, level, message_id, fields, n_fields, raw);
}

bool diag_limit_pass(struct diag_limit *l, uint64_t now_ns, uint64_t *ret_dropped)
{
	bool pass;

	must(pthread_mutex_lock(&l->lock) == 0);
	if (l->began_ns == 0 || now_ns - l->began_ns >= l->interval_ns) {
		l->began_ns = MAX2(now_ns, UINT64_C(1));
		l->passed = 0;
	}
	pass = l->passed < l->burst;
	if (pass) {
		l->passed++;
		*ret_dropped = TAKE(l->dropped);
	} else {
		l->dropped++;
	}
	must(pthread_mutex_unlock(&l->lock) == 0);
	return pass;
}

void diag_limited_at(const struct diag_place *at, struct diag_limit *limit, int level, const char *fmt, ...)
{
	char raw[DIAG_TEXT_MAX + 2], text[DIAG_TEXT_MAX + 2];
	uint64_t dropped;
	va_list ap;

	if (!diag_enabled(level) || !diag_limit_pass(limit, clk_boot_ns(), &dropped))
		return;
	va_start(ap, fmt);
	format(raw, fmt, ap);
	va_end(ap);
	if (dropped == 0) {
		emit(at, level, NULL, NULL, 0, raw);
		return;
	}
	(void)snprintf(text, sizeof text, "(%" PRIu64 " like this were dropped) %.*s", dropped,
		DIAG_TEXT_MAX - 64, raw);
	emit(at, level, NULL, NULL, 0, text);
}
