/*
 * The file. inih splits what it reads into keys and values; it sees the file through our reader, because it
 * would split long lines silently, does not tell line numbers, and cuts the names of sections.
 *
 * For each line the reader counts, looks for what cannot be right, and deals with section headers itself.
 * inih then calls on_value() for a key with its first value, and once more for each indented line after it. A
 * value is set when the next key, section or the end of the file shows that it is complete.
 */
#include "base/conf_priv.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/ids.h"

struct reader {
	const struct conf_desc *desc;
	const char *path;
	FILE *f;
	struct conf_errors *errors;
	struct conf_scope *scope; /* where keys go now; NULL: a section that was refused */
	struct conf_scope *main_scope;
	struct conf_scope item_scope; /* of the section at hand */
	const struct conf_section *section;
	void *item;
	int section_line;
	size_t section_errors; /* errors before the section at hand */
	int line;
	size_t n_bytes;             /* read so far */
	bool too_long;              /* CONF_FILE_MAX was reached */
	bool indented;              /* the line at hand begins with a blank */
	bool wants_value;           /* the line at hand must lead to on_value() */
	bool has_prev;              /* inih would take an indented line as going on with a key */
	const struct conf_key *key; /* whose value is being collected; NULL: none, or an unknown one */
	struct buf value;
	int error; /* first -errno */
};

#define FAIL(r, ...) conf_error_at((r)->errors, (r)->path, (r)->line, __VA_ARGS__)

static const char *skip_blanks(const char *p)
{
	return p + strspn(p, " \t");
}

static void set_error(struct reader *r, int error)
{
	if (!r->error)
		r->error = error;
}

/* Sets the value that was collected. */
static void finish_value(struct reader *r)
{
	const struct conf_key *k = TAKE(r->key);
	char why[CONF_ERROR_TEXT];
	int line, e;

	if (!k || r->error)
		return;
	line = r->scope->line[k - r->scope->keys];
	e = conf_set(k, r->scope->base, (const char *)buf_head(&r->value), why);
	if (e < 0)
		set_error(r, e);
	else if (e > 0)
		conf_error_at(r->errors, r->path, line, "%s: %s", k->name, why);
}

static int items_add(struct conf_items *l, void *item)
{
	void **more = reallocarray(l->items, l->n + 1, sizeof *more);

	if (!more)
		return -ENOMEM;
	l->items = more;
	l->items[l->n++] = item;
	return 0;
}

static void finish_section(struct reader *r)
{
	const struct conf_section *s = r->section;
	void *item = r->item;
	int e;

	finish_value(r);
	if (!item)
		return;
	r->item = NULL;
	conf_scope_required(&r->item_scope, r->path, r->section_line, r->errors);
	if (s->check && conf_errors_count(r->errors) == r->section_errors) {
		r->errors->origin = &r->item_scope;
		s->check(item, r->errors);
		r->errors->origin = NULL;
	}
	e = items_add(conf_items_of(s, r->main_scope->base), item);
	if (e < 0) {
		conf_item_free(s, item);
		set_error(r, e);
	}
}

static void fail_section(struct reader *r, const char *text)
{
	char allowed[200] = "";
	size_t n = 0;

	for (size_t i = 0; i < r->desc->n_sections && n < sizeof allowed; i++)
		n += (size_t)snprintf(allowed + n, sizeof allowed - n, "%s[%s NAME]", i ? ", " : "",
			r->desc->sections[i].prefix);
	if (n == 0)
		FAIL(r, "section \"%.80s\" is not allowed; keys stand without a section", text);
	else
		FAIL(r, "section \"%.80s\" is not allowed; allowed: %s", text, allowed);
}

static const struct conf_section *find_section(
	const struct conf_desc *d, const char *text, const char **ret_name)
{
	for (size_t i = 0; i < d->n_sections; i++) {
		size_t n = strlen(d->sections[i].prefix);

		if (strncmp(text, d->sections[i].prefix, n) == 0 && (text[n] == ' ' || text[n] == '\t')) {
			*ret_name = skip_blanks(text + n);
			return &d->sections[i];
		}
	}
	return NULL;
}

/* A good name that is new among those of its prefix. */
static bool section_name_good(struct reader *r, const struct conf_section *s, const char *name)
{
	struct conf_items *l = conf_items_of(s, r->main_scope->base);
	const char *allowed = conf_check_name(name);

	if (allowed) {
		FAIL(r, "section [%s %.80s]: the name is not allowed; allowed: %s", s->prefix, name, allowed);
		return false;
	}
	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(conf_item_name(l->items[i]), name) == 0) {
			FAIL(r, "section [%s %s] is there twice", s->prefix, name);
			return false;
		}
	}
	if (l->n == CONF_SECTIONS_MAX)
		FAIL(r, "more than %d sections [%s ...]", CONF_SECTIONS_MAX, s->prefix);
	return l->n < CONF_SECTIONS_MAX;
}

static void begin_item(struct reader *r, const struct conf_section *s, const char *name)
{
	int e;

	r->section = s;
	r->section_line = r->line;
	r->section_errors = conf_errors_count(r->errors);
	r->item = calloc(1, s->size);
	if (!r->item) {
		set_error(r, -ENOMEM);
		return;
	}
	*(char **)r->item = strdup(name);
	e = *(char **)r->item ? conf_defaults(s->keys, s->n_keys, r->item) : -ENOMEM;
	if (e < 0) {
		conf_item_free(s, TAKE(r->item));
		set_error(r, e);
		return;
	}
	r->item_scope =
		(struct conf_scope){ .keys = s->keys, .n_keys = s->n_keys, .base = r->item, .file = r->path };
	r->scope = &r->item_scope;
}

/* A header; @text begins behind its '['. */
static void begin_section(struct reader *r, char *text)
{
	const struct conf_section *s;
	const char *name, *rest;
	char *end = strchr(text, ']');

	finish_section(r);
	r->scope = NULL;
	r->has_prev = false;
	if (!end) {
		FAIL(r, "a section without its ]");
		return;
	}
	*end = '\0';
	rest = skip_blanks(end + 1);
	if (*rest != '\0' && *rest != ';' && *rest != '#') {
		FAIL(r, "text behind the section's ]");
		return;
	}
	while (end > text && (end[-1] == ' ' || end[-1] == '\t'))
		*--end = '\0';
	text = (char *)skip_blanks(text);
	s = find_section(r->desc, text, &name);
	if (!s)
		fail_section(r, text);
	else if (section_name_good(r, s, name))
		begin_item(r, s, name);
}

static int next_byte(struct reader *r)
{
	if (r->n_bytes == CONF_FILE_MAX) {
		r->too_long = true;
		return EOF;
	}
	r->n_bytes++;
	return getc_unlocked(r->f);
}

/* One line without its end into @str. False: the file ends. @ret_why: NULL, or why it cannot be used. */
static bool read_line(struct reader *r, char *str, size_t size, const char **ret_why)
{
	size_t n = 0;
	int c;

	*ret_why = NULL;
	while ((c = next_byte(r)) != EOF && c != '\n') {
		if (c == '\r') {
			int next = getc_unlocked(r->f);

			if (next == '\n')
				break;
			if (next != EOF)
				(void)ungetc(next, r->f);
		}
		if (c < 0x20 && c != '\t')
			*ret_why = "a control character; only text and tabs are allowed";
		if (n + 3 < size) /* inih wants room for \r\n and NUL */
			str[n++] = (char)c;
		else if (!*ret_why)
			*ret_why = "";
	}
	str[n] = '\0';
	return c != EOF || n > 0 || *ret_why;
}

/* inih's reader: gives it one line that is fit for it, or an empty one. */
static char *on_line(char *str, int size, void *stream)
{
	struct reader *r = stream;
	const char *why, *p;

	if (r->wants_value)
		FAIL(r, "expected \"key = value\", a comment or a section");
	r->wants_value = false;
	if (r->error || !read_line(r, str, (size_t)size, &why))
		return NULL;
	r->line++;
	if (r->too_long) {
		FAIL(r, "the file is longer than %d bytes", CONF_FILE_MAX);
		return NULL;
	}
	p = str;
	if (r->line == 1 && strncmp(p, "\xef\xbb\xbf", 3) == 0)
		p += 3; /* inih drops it, too */
	r->indented = *p == ' ' || *p == '\t';
	p = skip_blanks(p);
	if (*p == '#' || *p == ';') {
		str[0] = '\0'; /* a comment may have any length */
	} else if (why) {
		if (*why)
			FAIL(r, "%s", why);
		else
			FAIL(r, "the line is too long; at most %d bytes are allowed, "
				"a list may go on over indented lines",
				size - 3);
		str[0] = '\0';
	} else if (*p == '[' && !(r->indented && r->has_prev)) {
		begin_section(r, (char *)p + 1);
		/* Makes inih forget the key before it. There is room: inih's buffer is never this small. */
		must(size > 4);
		(void)strcpy(str, "[s]");
	} else {
		r->wants_value = *p != '\0';
	}
	return str;
}

static void fail_unknown(struct reader *r, const char *name)
{
	const char *near = conf_nearest(r->scope->keys, r->scope->n_keys, name);

	if (r->item) {
		for (size_t i = 0; i < r->desc->n_keys; i++) {
			if (strcmp(r->desc->keys[i].name, name) == 0) {
				FAIL(r,
					"key \"%s\" does not belong into a section; it stands before the "
					"first one",
					name);
				return;
			}
		}
	}
	if (near)
		FAIL(r, "unknown key \"%.80s\"; did you mean \"%s\"?", name, near);
	else
		FAIL(r, "unknown key \"%.80s\"", name);
}

static void begin_value(struct reader *r, const char *name)
{
	size_t i = 0;

	while (i < r->scope->n_keys && strcmp(r->scope->keys[i].name, name) != 0)
		i++;
	if (i == r->scope->n_keys) {
		fail_unknown(r, name);
	} else if (r->scope->line[i]) {
		FAIL(r, "key \"%s\" is there twice; first in line %d", name, r->scope->line[i]);
	} else {
		r->scope->line[i] = r->line;
		r->key = &r->scope->keys[i];
		buf_consume(&r->value, buf_len(&r->value));
	}
}

/*
 * Without what follows a blank and a ';', and without blanks at the end: not every inih does so for indented
 * lines.
 */
static size_t value_length(const char *value)
{
	size_t n = strlen(value);

	for (size_t i = 1; i < n; i++) {
		if (value[i] == ';' && (value[i - 1] == ' ' || value[i - 1] == '\t'))
			n = i;
	}
	while (n > 0 && (value[n - 1] == ' ' || value[n - 1] == '\t'))
		n--;
	return n;
}

/* Appends a part; a comma at the end of a line joins as well as the end of the line itself. */
static void append_value(struct reader *r, const char *value)
{
	const char *have = (const char *)buf_head(&r->value);
	size_t n = value_length(value), len = buf_len(&r->value);
	int e = 0;

	if (len > 0) { /* over the NUL of the part before */
		r->value.end--;
		len--;
	}
	if (len > 0 && n > 0 && have[len - 1] != ',' && value[0] != ',')
		e = buf_put(&r->value, ",", 1);
	if (e == 0)
		e = buf_put(&r->value, value, n);
	if (e == 0)
		e = buf_put(&r->value, "", 1);
	if (e == -ENOBUFS) {
		FAIL(r, "%s: the value is longer than %d bytes", r->key->name, CONF_TEXT_MAX);
		r->key = NULL;
	} else if (e < 0) {
		set_error(r, e);
	}
}

/* inih's handler. */
static int on_value(void *user, const char *section, const char *name, const char *value)
{
	struct reader *r = user;
	bool more = r->indented && r->has_prev;

	(void)section; /* it cuts long names; on_line() knows the section */
	r->wants_value = false;
	if (!more) {
		finish_value(r);
		r->has_prev = name[0] != '\0';
		if (!r->has_prev) {
			FAIL(r, "expected \"key = value\", a comment or a section");
			return 1;
		}
		if (r->scope)
			begin_value(r, name);
	} else if (r->key && r->key->type != CONF_LIST) {
		FAIL(r, "an indented line goes on with the line before, and \"%s\" is not a list",
			r->key->name);
		return 1;
	}
	if (r->key)
		append_value(r, value);
	return 1;
}

static bool open_file(struct reader *r)
{
	struct stat st;

	r->f = fopen(r->path, "re");
	if (!r->f) {
		conf_error_plain(r->errors, "%.300s: cannot be opened: %s", r->path, strerror(errno));
		return false;
	}
	if (fstat(fileno(r->f), &st) == 0 && S_ISDIR(st.st_mode)) {
		conf_error_plain(r->errors, "%.300s: is a directory; allowed: a file", r->path);
		return false;
	}
	return true;
}

int conf_read_file(
	const struct conf_desc *desc, const char *path, struct conf_scope *main_scope, struct conf_errors *e)
{
	struct reader r = {
		.desc = desc,
		.path = path,
		.errors = e,
		.scope = main_scope,
		.main_scope = main_scope,
		.value = { .max = CONF_TEXT_MAX },
	};

	if (open_file(&r)) {
		/* Errors are told by the callbacks, with better words than a line number. */
		(void)ini_parse_stream(on_line, &r, on_value, &r);
		finish_section(&r);
		if (ferror(r.f))
			conf_error_plain(e, "%.300s: cannot be read", path);
	}
	buf_deinit(&r.value);
	if (r.f)
		(void)fclose(r.f); /* only read */
	return r.error;
}
