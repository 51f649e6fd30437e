#include <limits.h>

#include "wire/xcmd_int.h"

#define ERR_CLIENT_NAME "ERR Client names cannot contain spaces, newlines or special characters."

int xcmd_timeout(struct bytes arg, uint64_t *ret_ms, struct xcmd_err *err)
{
	int64_t ms;

	if (!resp_parse_integer(arg, &ms))
		return xcmd_fail(err, "ERR timeout is not an integer or out of range");
	if (ms < 0)
		return xcmd_fail(err, "ERR timeout is negative");
	*ret_ms = (uint64_t)ms;
	return 0;
}

int xcmd_wait(const struct bytes *argv, uint32_t argc, struct xcmd_wait *ret, struct xcmd_err *err)
{
	struct xcmd_wait w = { 0 };
	int r;

	must(argc == 3);
	if (!resp_parse_integer(argv[1], &w.n_replicas))
		return xcmd_fail(err, XCMD_ERR_INTEGER);
	r = xcmd_timeout(argv[2], &w.timeout_ms, err);
	if (r == 0)
		*ret = w;
	return r;
}

/* What CLIENT LIST could not show on its one line. */
static bool attribute_valid(struct bytes v)
{
	for (size_t i = 0; i < v.len; i++)
		if (v.p[i] < '!' || v.p[i] > '~')
			return false;
	return true;
}

int xcmd_hello(const struct bytes *argv, uint32_t argc, struct xcmd_hello *ret, struct xcmd_err *err)
{
	struct xcmd_hello h = { 0 };
	int64_t version;

	if (argc > 1) {
		if (!resp_parse_integer(argv[1], &version))
			return xcmd_fail(err, "ERR Protocol version is not an integer or out of range");
		if (version != 2 && version != 3)
			return xcmd_fail(err, "NOPROTO unsupported protocol version");
		h.version = (int)version;
	}
	for (uint32_t i = 2; i < argc; i++) {
		uint32_t more = argc - 1 - i;

		if (more >= 2 && xcmd_is(argv[i], "auth")) {
			h.has_auth = true;
			h.user = argv[++i];
			h.password = argv[++i];
		} else if (more >= 1 && xcmd_is(argv[i], "setname")) {
			h.has_name = true;
			h.name = argv[++i];
			if (!attribute_valid(h.name))
				return xcmd_fail(err, ERR_CLIENT_NAME);
		} else {
			return xcmd_fail(err, "ERR Syntax error in HELLO option '%.*s'",
				(int)MIN2(argv[i].len, (size_t)128), (const char *)argv[i].p);
		}
	}
	*ret = h;
	return 0;
}

int xcmd_auth(const struct bytes *argv, uint32_t argc, struct xcmd_auth *ret, struct xcmd_err *err)
{
	static const uint8_t everyone[] = { 'd', 'e', 'f', 'a', 'u', 'l', 't' };

	must(argc >= 2);
	if (argc > 3)
		return xcmd_fail(err, XCMD_ERR_SYNTAX);
	ret->user = argc == 3 ? argv[1] : (struct bytes){ everyone, sizeof everyone };
	ret->password = argv[argc - 1];
	return 0;
}

int xcmd_select(const struct bytes *argv, uint32_t argc, struct xcmd_err *err)
{
	int64_t db;

	must(argc == 2);
	if (!resp_parse_integer(argv[1], &db))
		return xcmd_fail(err, XCMD_ERR_INTEGER);
	if (db < INT_MIN || db > INT_MAX)
		return xcmd_fail(err, "ERR value is out of range, value must between %d and %d", INT_MIN, INT_MAX);
	return db == 0 ? 0 : xcmd_fail(err, "ERR DB index is out of range");
}

static int client_setinfo(const struct bytes *argv, struct xcmd_client *c, struct xcmd_err *err)
{
	c->is_lib_name = xcmd_is(argv[2], "lib-name");
	c->value = argv[3];
	if (!c->is_lib_name && !xcmd_is(argv[2], "lib-ver"))
		return xcmd_fail(err, "ERR Unrecognized option '%.*s'", (int)MIN2(argv[2].len, (size_t)128),
			(const char *)argv[2].p);
	if (!attribute_valid(c->value))
		return xcmd_fail(err, "ERR %s cannot contain spaces, newlines or special characters.",
			c->is_lib_name ? "lib-name" : "lib-ver");
	return 0;
}

/* One of @n words, or a syntax error. */
static int one_of(struct bytes arg, const char *const *words, int n, int *ret_i, struct xcmd_err *err)
{
	for (int i = 0; i < n; i++) {
		if (xcmd_is(arg, words[i])) {
			*ret_i = i;
			return 0;
		}
	}
	return xcmd_fail(err, XCMD_ERR_SYNTAX);
}

int xcmd_client(const struct bytes *argv, uint32_t argc, const struct xcmd_info *info, struct xcmd_client *ret,
	struct xcmd_err *err)
{
	static const char *const modes[] = { "on", "off", "skip" }, *const off_on[] = { "off", "on" };
	struct xcmd_client c = { 0 };
	int i = 0, r = 0;

	must(argc >= 2);
	if (info->id == XCMD_CLIENT_SETNAME) {
		c.name = argv[2];
		r = attribute_valid(c.name) ? 0 : xcmd_fail(err, ERR_CLIENT_NAME);
	} else if (info->id == XCMD_CLIENT_SETINFO) {
		r = client_setinfo(argv, &c, err);
	} else if (info->id == XCMD_CLIENT_REPLY) {
		r = one_of(argv[2], modes, 3, &i, err);
		c.mode = (enum xcmd_reply_mode)i;
	} else if (info->id == XCMD_CLIENT_NO_EVICT || info->id == XCMD_CLIENT_NO_TOUCH) {
		r = one_of(argv[2], off_on, 2, &i, err);
		c.on = i;
	}
	if (r == 0)
		*ret = c;
	return r;
}
