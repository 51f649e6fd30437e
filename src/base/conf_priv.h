/*
 * What the files of the configuration module share.
 */
#ifndef LEASH_BASE_CONF_PRIV_H
#define LEASH_BASE_CONF_PRIV_H

#include "base/conf.h"

#define CONF_NAME_MAX 40

/* Keys that are being filled, and where each was set. */
struct conf_scope {
	const struct conf_key *keys;
	size_t n_keys;
	void *base;
	const char *file;
	int line[CONF_KEYS_MAX];         /* in the file; 0 = not there */
	const char *option[CONF_KEYS_MAX]; /* its value on the command line; NULL = not there */
};

/* An error with a place in front of it. */
void conf_error_at(struct conf_errors *e, const char *file, int line, const char *fmt, ...) _printf_(4, 5);
void conf_error_plain(struct conf_errors *e, const char *fmt, ...) _printf_(2, 3);

static inline size_t conf_errors_count(const struct conf_errors *e) { return e->n + e->more; }

/*
 * Complains about required keys that are not set. @line: where the section began in @file; 0: the program's
 * own keys.
 */
void conf_scope_required(const struct conf_scope *s, const char *file, int line, struct conf_errors *e);

/* values */
int conf_defaults(const struct conf_key *keys, size_t n_keys, void *base) _must_check_;
void conf_value_free(const struct conf_key *k, void *base);
bool conf_value_equal(const struct conf_key *k, const void *a, const void *b);
void conf_keys_free(const struct conf_key *keys, size_t n_keys, void *base);
void conf_allowed(const struct conf_key *k, char text[CONF_ERROR_TEXT]);

/* sections */
struct conf_items *conf_items_of(const struct conf_section *s, void *conf);
void conf_item_free(const struct conf_section *s, void *item);
static inline char *conf_item_name(const void *item) { return *(char *const *)item; }

/* The name nearest to @name in the table, or NULL when none is near. Dashes count as underscores. */
const char *conf_nearest(const struct conf_key *keys, size_t n_keys, const char *name);

/* Reads @path into @main_scope and the items of @desc. 0 also when there were errors to report; -ENOMEM. */
int conf_read_file(const struct conf_desc *desc, const char *path, struct conf_scope *main_scope,
	struct conf_errors *e) _must_check_;

/* Reads the command line into s->option. CONF_HELP and CONF_VERSION end it at once. */
void conf_read_args(const struct conf_desc *desc, int argc, char **argv, struct conf_scope *s,
	struct conf_result *ret_result, struct conf_errors *e);

/* hold_timeout -> hold-timeout */
void conf_option_name(const char *key, char text[CONF_NAME_MAX + 1]);

#endif
