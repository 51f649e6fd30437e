/*
 * A load: defaults, command line (collected), file, command line (applied), required keys, combinations. It
 * fills an object of its own and hands that over only when there was no error.
 */
#include "base/conf_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

const char *const conf_log_targets[] = { "auto", "journal", "stderr", NULL };
const char *const conf_log_levels[] = { "emerg", "alert", "crit", "error", "warning", "notice", "info",
	"debug", NULL };

/* One line, whatever bytes a name or a value from outside has. */
static void text_one_line(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

static _printf_(3, 0) void error_add(struct conf_errors *e, const char *prefix, const char *fmt, va_list ap)
{
	char *text;
	int n;

	if (e->n == CONF_ERRORS_MAX) {
		e->more++;
		return;
	}
	text = e->text[e->n++];
	n = snprintf(text, CONF_ERROR_TEXT, "%s", prefix);
	if (n >= 0 && n < CONF_ERROR_TEXT)
		(void)vsnprintf(text + n, CONF_ERROR_TEXT - (size_t)n, fmt, ap);
	text_one_line(text);
}

void conf_error_plain(struct conf_errors *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	error_add(e, "", fmt, ap);
	va_end(ap);
}

void conf_error_at(struct conf_errors *e, const char *file, int line, const char *fmt, ...)
{
	char prefix[320];
	va_list ap;

	(void)snprintf(prefix, sizeof prefix, "%.300s:%d: ", file, line);
	va_start(ap, fmt);
	error_add(e, prefix, fmt, ap);
	va_end(ap);
}

/* "FILE:LINE: KEY: ", "--option: ", or "KEY: " where the default holds. */
static void place_of(const struct conf_scope *s, const char *key, char *text, size_t size)
{
	char option[CONF_NAME_MAX + 1];

	for (size_t i = 0; s && i < s->n_keys; i++) {
		if (strcmp(s->keys[i].name, key) != 0)
			continue;
		conf_option_name(key, option);
		if (s->option[i])
			(void)snprintf(text, size, "--%s: ", option);
		else if (s->line[i])
			(void)snprintf(text, size, "%.300s:%d: %s: ", s->file, s->line[i], key);
		else
			break;
		return;
	}
	(void)snprintf(text, size, "%s: ", key);
}

void conf_error(struct conf_errors *errors, const char *key, const char *fmt, ...)
{
	char prefix[400] = "";
	va_list ap;

	if (key)
		place_of(errors->origin, key, prefix, sizeof prefix);
	va_start(ap, fmt);
	error_add(errors, prefix, fmt, ap);
	va_end(ap);
}

void conf_scope_required(const struct conf_scope *s, const char *file, int line, struct conf_errors *e)
{
	char allowed[CONF_ERROR_TEXT], option[CONF_NAME_MAX + 1];

	for (size_t i = 0; i < s->n_keys; i++) {
		const struct conf_key *k = &s->keys[i];

		if (!(k->flags & CONF_REQUIRED) || s->line[i] || s->option[i])
			continue;
		conf_allowed(k, allowed);
		conf_option_name(k->name, option);
		if (line)
			conf_error_at(e, file, line, "key \"%s\" must be set in this section: %.300s",
				k->name, allowed);
		else
			conf_error_plain(
				e, "key \"%s\" (--%s) must be set: %.300s", k->name, option, allowed);
	}
}

/*
 * Edits between two words: insert, delete, replace, swap of neighbours. Words longer than a key's name are
 * far.
 */
static size_t edit_distance(const char *a, const char *b)
{
	size_t d[CONF_NAME_MAX + 2][CONF_NAME_MAX + 2];
	size_t na = strlen(a), nb = strlen(b);

	if (na > CONF_NAME_MAX || nb > CONF_NAME_MAX)
		return SIZE_MAX;
	for (size_t i = 0; i <= na; i++)
		d[i][0] = i;
	for (size_t j = 0; j <= nb; j++)
		d[0][j] = j;
	for (size_t i = 1; i <= na; i++) {
		for (size_t j = 1; j <= nb; j++) {
			size_t best = MIN2(d[i - 1][j], d[i][j - 1]) + 1;

			best = MIN2(best, d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				best = MIN2(best, d[i - 2][j - 2] + 1);
			d[i][j] = best;
		}
	}
	return d[na][nb];
}

const char *conf_nearest(const struct conf_key *keys, size_t n_keys, const char *name)
{
	char word[CONF_NAME_MAX + 1];
	const char *near = NULL;
	size_t best = 3, n = strlen(name); /* more than 2 edits is another word */

	if (n > CONF_NAME_MAX)
		return NULL;
	for (size_t i = 0; i <= n; i++) {
		char c = name[i];

		word[i] = c == '-' ? '_' : c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
	}
	for (size_t i = 0; i < n_keys; i++) {
		size_t far = edit_distance(word, keys[i].name);

		if (far < best && far * 2 < strlen(keys[i].name)) {
			best = far;
			near = keys[i].name;
		}
	}
	/* The beginning of exactly one key is also a good guess. */
	for (size_t i = 0, found = 0; best == 3 && n >= 3 && i < n_keys; i++) {
		if (strncmp(keys[i].name, word, n) == 0)
			near = found++ ? NULL : keys[i].name;
	}
	return near;
}

struct conf_items *conf_items_of(const struct conf_section *s, void *conf)
{
	return (struct conf_items *)((char *)conf + s->offset);
}

void conf_item_free(const struct conf_section *s, void *item)
{
	free(conf_item_name(item));
	conf_keys_free(s->keys, s->n_keys, item);
	free(item);
}

void conf_free(const struct conf_desc *desc, void *conf)
{
	conf_keys_free(desc->keys, desc->n_keys, conf);
	for (size_t i = 0; i < desc->n_sections; i++) {
		struct conf_items *l = conf_items_of(&desc->sections[i], conf);

		for (size_t j = 0; j < l->n; j++)
			conf_item_free(&desc->sections[i], l->items[j]);
		free(l->items);
	}
	memset(conf, 0, desc->size);
}

static int apply_options(const struct conf_scope *s, struct conf_errors *e)
{
	char why[CONF_ERROR_TEXT], option[CONF_NAME_MAX + 1];

	for (size_t i = 0; i < s->n_keys; i++) {
		int r = s->option[i] ? conf_set(&s->keys[i], s->base, s->option[i], why) : 0;

		if (r < 0)
			return r;
		if (r > 0) {
			conf_option_name(s->keys[i].name, option);
			conf_error_plain(e, "--%s: %s", option, why);
		}
	}
	return 0;
}

static int load(const struct conf_desc *desc, struct conf_scope *s, struct conf_errors *e)
{
	int r = conf_defaults(s->keys, s->n_keys, s->base);

	if (r == 0 && s->file)
		r = conf_read_file(desc, s->file, s, e);
	if (r == 0)
		r = apply_options(s, e);
	if (r < 0)
		return r;
	conf_scope_required(s, s->file, 0, e);
	if (desc->check && conf_errors_count(e) == 0) {
		e->origin = s;
		desc->check(s->base, e);
		e->origin = NULL;
	}
	return conf_errors_count(e) ? CONF_E_INVALID : 0;
}

int conf_load(const struct conf_desc *desc, int argc, char **argv, void *ret_conf,
	struct conf_result *ret_result, struct conf_errors *errors)
{
	struct conf_scope s = { .keys = desc->keys, .n_keys = desc->n_keys };
	struct conf_result result;
	int r;

	errors->n = errors->more = 0;
	errors->origin = NULL;
	conf_read_args(desc, argc, argv, &s, &result, errors);
	if (result.action == CONF_HELP || result.action == CONF_VERSION) {
		*ret_result = result;
		return 0;
	}
	s.file = result.file;
	s.base = calloc(1, desc->size);
	if (!s.base)
		return -ENOMEM;
	r = load(desc, &s, errors);
	if (r == 0) {
		memcpy(ret_conf, s.base, desc->size);
		*ret_result = result;
	} else {
		conf_free(desc, s.base);
	}
	free(s.base);
	return r;
}

struct diff {
	struct conf_change *changes;
	size_t n, max;
};

static void diff_add(struct diff *d, struct conf_change c)
{
	if (d->n < d->max)
		d->changes[d->n] = c;
	d->n++;
}

static void *item_by_name(const struct conf_items *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(conf_item_name(l->items[i]), name) == 0)
			return l->items[i];
	}
	return NULL;
}

static void diff_item(struct diff *d, const struct conf_section *s, const void *a, const void *b)
{
	for (size_t i = 0; i < s->n_keys; i++) {
		if (!conf_value_equal(&s->keys[i], a, b))
			diff_add(d, (struct conf_change){
					    s->prefix, conf_item_name(b), s->keys[i].name, s->reload });
	}
}

static void diff_section(struct diff *d, const struct conf_section *s, const void *before, const void *after)
{
	const struct conf_items *a = (const struct conf_items *)((const char *)before + s->offset);
	const struct conf_items *b = (const struct conf_items *)((const char *)after + s->offset);

	for (size_t i = 0; i < a->n; i++) {
		const char *name = conf_item_name(a->items[i]);
		const void *other = item_by_name(b, name);

		if (other)
			diff_item(d, s, a->items[i], other);
		else
			diff_add(d, (struct conf_change){ s->prefix, name, NULL, s->reload });
	}
	for (size_t i = 0; i < b->n; i++) {
		const char *name = conf_item_name(b->items[i]);

		if (!item_by_name(a, name))
			diff_add(d, (struct conf_change){ s->prefix, name, NULL, s->reload });
	}
}

size_t conf_diff(const struct conf_desc *desc, const void *before, const void *after,
	struct conf_change *ret_changes, size_t max)
{
	struct diff d = { .changes = ret_changes, .max = max };

	for (size_t i = 0; i < desc->n_keys; i++) {
		const struct conf_key *k = &desc->keys[i];

		if (!conf_value_equal(k, before, after))
			diff_add(&d,
				(struct conf_change){ NULL, NULL, k->name, (k->flags & CONF_RELOAD) != 0 });
	}
	for (size_t i = 0; i < desc->n_sections; i++)
		diff_section(&d, &desc->sections[i], before, after);
	return d.n;
}
