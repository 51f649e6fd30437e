/*
 * One value: from text, compared, freed, and the words for what a key allows.
 */
#include "base/conf_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/ids.h"

#define QUOTE_MAX 80 /* bytes of a bad value that a message repeats */

static void *field(const struct conf_key *k, void *base)
{
	return (char *)base + k->offset;
}

static const void *field_const(const struct conf_key *k, const void *base)
{
	return (const char *)base + k->offset;
}

static void bounds_format(const struct conf_key *k, uint64_t v, char text[UNITS_TEXT])
{
	if (k->type == CONF_SIZE)
		(void)units_size_format(v, text);
	else if (k->type == CONF_DURATION)
		(void)units_duration_format(v, text);
	else
		(void)snprintf(text, UNITS_TEXT, "%" PRIu64, v);
}

/* " from 1s to 10m", or nothing. */
static void range_format(const struct conf_key *k, char *text, size_t size)
{
	char min[UNITS_TEXT], max[UNITS_TEXT];

	bounds_format(k, k->min, min);
	bounds_format(k, k->max, max);
	if (k->max)
		(void)snprintf(text, size, ", from %s to %s", min, max);
	else if (k->min)
		(void)snprintf(text, size, ", at least %s", min);
	else
		text[0] = '\0';
}

static const char *unit_word(const char *unit)
{
	switch (unit[0]) {
	case 'h':
		return "hours";
	case 's':
		return "seconds";
	default:
		return unit[1] == 's' ? "milliseconds" : "minutes";
	}
}

static void choices_format(const struct conf_key *k, char *text, size_t size)
{
	size_t n = (size_t)snprintf(text, size, "one of");

	for (size_t i = 0; k->choices[i] && n < size; i++)
		n += (size_t)snprintf(text + n, size - n, "%s %s", i ? "," : "", k->choices[i]);
}

void conf_allowed(const struct conf_key *k, char text[CONF_ERROR_TEXT])
{
	char range[3 * UNITS_TEXT];

	range_format(k, range, sizeof range);
	switch (k->type) {
	case CONF_STRING:
		(void)snprintf(text, CONF_ERROR_TEXT, "a text");
		return;
	case CONF_PATH:
		(void)snprintf(text, CONF_ERROR_TEXT, "a path");
		return;
	case CONF_LIST:
		(void)snprintf(text, CONF_ERROR_TEXT, "items separated by commas%s%s", range,
			range[0] ? " of them" : "");
		return;
	case CONF_SIZE:
		(void)snprintf(text, CONF_ERROR_TEXT, "a number of bytes, or one with K, M, G or T%s", range);
		return;
	case CONF_NUMBER:
		(void)snprintf(text, CONF_ERROR_TEXT, "a number%s%s%s", k->unit ? " of " : "",
			k->unit ? k->unit : "", range);
		return;
	case CONF_DURATION:
		(void)snprintf(text, CONF_ERROR_TEXT, "a number of %s, or one with ms, s, m or h%s",
			unit_word(k->unit), range);
		return;
	case CONF_BOOL:
		(void)snprintf(text, CONF_ERROR_TEXT, "yes or no");
		return;
	case CONF_ADDRESS:
		(void)snprintf(text, CONF_ERROR_TEXT, "HOST:PORT, :PORT or [IPV6]:PORT%s%s",
			range[0] ? ", the port" : "", range[0] ? range + 1 : "");
		return;
	case CONF_ENUM:
		choices_format(k, text, CONF_ERROR_TEXT);
		return;
	}
}

const char *conf_check_name(const char *text)
{
	return name_valid(text) ? NULL : "a name of 1 to 63 of A-Z a-z 0-9 . _ -, not beginning with . or -";
}

const char *conf_check_addr(const char *text)
{
	struct units_addr a;

	return units_addr(text, &a) ? NULL : "HOST:PORT, :PORT or [IPV6]:PORT";
}

static int refuse(const char *text, const char *allowed, char why[CONF_ERROR_TEXT])
{
	if (text[0] == '\0')
		(void)snprintf(why, CONF_ERROR_TEXT, "the value is empty; allowed: %.300s", allowed);
	else
		(void)snprintf(why, CONF_ERROR_TEXT, "\"%.*s\" is not allowed; allowed: %.300s", QUOTE_MAX,
			text, allowed);
	return CONF_E_INVALID;
}

static int refuse_key(const struct conf_key *k, const char *text, char why[CONF_ERROR_TEXT])
{
	char allowed[CONF_ERROR_TEXT];

	conf_allowed(k, allowed);
	return refuse(text, allowed, why);
}

static bool in_range(const struct conf_key *k, uint64_t v)
{
	return v >= k->min && (k->max == 0 || v <= k->max);
}

static int set_text(const struct conf_key *k, char **at, const char *text, char why[CONF_ERROR_TEXT])
{
	const char *allowed = k->check ? k->check(text) : NULL;
	char *copy;

	if (allowed)
		return refuse(text, allowed, why);
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	free(*at);
	*at = copy;
	return 0;
}

static void list_free(struct conf_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->items[i]);
	free(l->items);
	*l = (struct conf_list){ 0 };
}

static int list_add(const struct conf_key *k, struct conf_list *l, struct bytes item, const char *text,
	char why[CONF_ERROR_TEXT])
{
	const char *allowed;
	char *copy;

	if (item.len == 0 || l->n == CONF_LIST_MAX)
		return refuse_key(k, text, why);
	copy = strndup((const char *)item.p, item.len);
	if (!copy)
		return -ENOMEM;
	l->items[l->n++] = copy;
	allowed = k->check ? k->check(copy) : NULL;
	return allowed ? refuse(copy, allowed, why) : 0;
}

static int set_list(
	const struct conf_key *k, struct conf_list *at, const char *text, char why[CONF_ERROR_TEXT])
{
	_cleanup_(list_free) struct conf_list l = { .items = calloc(CONF_LIST_MAX, sizeof *l.items) };
	const char *rest = text;
	struct bytes item;

	if (!l.items)
		return -ENOMEM;
	while (units_list_next(&rest, &item)) {
		int r = list_add(k, &l, item, text, why);
		if (r != 0)
			return r;
	}
	if (!in_range(k, l.n))
		return refuse_key(k, text, why);
	list_free(at);
	*at = l;
	l = (struct conf_list){ 0 };
	return 0;
}

static int set_number(const struct conf_key *k, uint64_t *at, const char *text, char why[CONF_ERROR_TEXT])
{
	uint64_t v;
	bool ok;

	if (k->type == CONF_SIZE)
		ok = units_size(text, &v);
	else if (k->type == CONF_DURATION)
		ok = units_duration(text, k->unit, &v);
	else
		ok = units_number(text, &v);
	if (!ok || !in_range(k, v))
		return refuse_key(k, text, why);
	*at = v;
	return 0;
}

static int set_enum(const struct conf_key *k, int *at, const char *text, char why[CONF_ERROR_TEXT])
{
	for (int i = 0; k->choices[i]; i++) {
		if (strcmp(text, k->choices[i]) == 0) {
			*at = i;
			return 0;
		}
	}
	return refuse_key(k, text, why);
}

/* What has no default may be set back to nothing, for example by an option against the file. */
static bool may_be_unset(const struct conf_key *k)
{
	return !k->text && !(k->flags & CONF_REQUIRED) &&
	       (k->type == CONF_STRING || k->type == CONF_PATH || k->type == CONF_LIST ||
		       k->type == CONF_ADDRESS);
}

int conf_set(const struct conf_key *k, void *base, const char *text, char why[CONF_ERROR_TEXT])
{
	struct units_addr addr;

	if (text[0] == '\0') {
		if (!may_be_unset(k))
			return refuse_key(k, text, why);
		conf_value_free(k, base);
		return 0;
	}
	switch (k->type) {
	case CONF_STRING:
	case CONF_PATH:
		return set_text(k, field(k, base), text, why);
	case CONF_LIST:
		return set_list(k, field(k, base), text, why);
	case CONF_SIZE:
	case CONF_NUMBER:
	case CONF_DURATION:
		return set_number(k, field(k, base), text, why);
	case CONF_BOOL:
		return units_bool(text, field(k, base)) ? 0 : refuse_key(k, text, why);
	case CONF_ADDRESS:
		if (!units_addr(text, &addr) || !in_range(k, addr.port))
			return refuse_key(k, text, why);
		memcpy(field(k, base), &addr, sizeof addr);
		return 0;
	case CONF_ENUM:
		return set_enum(k, field(k, base), text, why);
	}
	must(false);
	return -EINVAL;
}

void conf_value_free(const struct conf_key *k, void *base)
{
	switch (k->type) {
	case CONF_STRING:
	case CONF_PATH:
		freep(field(k, base));
		return;
	case CONF_LIST:
		list_free(field(k, base));
		return;
	case CONF_ADDRESS:
		memset(field(k, base), 0, sizeof(struct units_addr));
		return;
	case CONF_SIZE:
	case CONF_NUMBER:
	case CONF_DURATION:
	case CONF_BOOL:
	case CONF_ENUM:
		return;
	}
}

void conf_keys_free(const struct conf_key *keys, size_t n_keys, void *base)
{
	for (size_t i = 0; i < n_keys; i++)
		conf_value_free(&keys[i], base);
}

static bool text_equal(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool list_equal(const struct conf_list *a, const struct conf_list *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	}
	return true;
}

bool conf_value_equal(const struct conf_key *k, const void *base_a, const void *base_b)
{
	const void *a = field_const(k, base_a), *b = field_const(k, base_b);

	switch (k->type) {
	case CONF_STRING:
	case CONF_PATH:
		return text_equal(*(char *const *)a, *(char *const *)b);
	case CONF_LIST:
		return list_equal(a, b);
	case CONF_SIZE:
	case CONF_NUMBER:
	case CONF_DURATION:
		return memcmp(a, b, sizeof(uint64_t)) == 0;
	case CONF_BOOL:
		return *(const bool *)a == *(const bool *)b;
	case CONF_ADDRESS:
		/* units_addr() zeroes what it does not use */
		return memcmp(a, b, sizeof(struct units_addr)) == 0;
	case CONF_ENUM:
		return *(const int *)a == *(const int *)b;
	}
	must(false);
	return false;
}

int conf_defaults(const struct conf_key *keys, size_t n_keys, void *base)
{
	char why[CONF_ERROR_TEXT];

	must(n_keys <= CONF_KEYS_MAX);
	for (size_t i = 0; i < n_keys; i++) {
		int r = keys[i].text ? conf_set(&keys[i], base, keys[i].text, why) : 0;
		if (r < 0)
			return r;
		must(r == 0); /* a table whose default is not allowed */
	}
	return 0;
}
