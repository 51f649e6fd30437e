#include "base/units.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>

struct suffix {
	const char *text;
	uint64_t factor;
};

static const struct suffix duration_suffixes[] = {
	{ "h", 3600 * 1000 },
	{ "m", 60 * 1000 },
	{ "s", 1000 },
	{ "ms", 1 },
};

static const struct suffix size_suffixes[] = {
	{ "T", UINT64_C(1) << 40 },
	{ "G", UINT64_C(1) << 30 },
	{ "M", UINT64_C(1) << 20 },
	{ "K", UINT64_C(1) << 10 },
};

/* Reads the digits at the front; @ret_rest is what follows them. */
static bool leading_number(const char *text, uint64_t *ret_n, const char **ret_rest)
{
	uint64_t n = 0;
	const char *p = text;

	for (; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(n, UINT64_C(10), &n) ||
			__builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
			return false;
	}
	if (p == text)
		return false;
	*ret_n = n;
	*ret_rest = p;
	return true;
}

static bool scale(uint64_t n, uint64_t factor, uint64_t *ret)
{
	uint64_t v;

	if (__builtin_mul_overflow(n, factor, &v))
		return false;
	*ret = v;
	return true;
}

bool units_number(const char *text, uint64_t *ret_n)
{
	const char *rest;
	uint64_t n;

	if (!leading_number(text, &n, &rest) || *rest != '\0')
		return false;
	*ret_n = n;
	return true;
}

bool units_size(const char *text, uint64_t *ret_bytes)
{
	const char *rest;
	uint64_t n;

	if (!leading_number(text, &n, &rest))
		return false;
	if (*rest == '\0') {
		*ret_bytes = n;
		return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(size_suffixes); i++) {
		if (rest[1] == '\0' && (rest[0] & ~0x20) == size_suffixes[i].text[0])
			return scale(n, size_suffixes[i].factor, ret_bytes);
	}
	return false;
}

bool units_duration(const char *text, const char *unit, uint64_t *ret_ms)
{
	const char *rest;
	uint64_t n;

	if (!leading_number(text, &n, &rest))
		return false;
	if (*rest == '\0')
		rest = unit;
	for (size_t i = 0; i < ARRAY_SIZE(duration_suffixes); i++) {
		if (strcmp(rest, duration_suffixes[i].text) == 0)
			return scale(n, duration_suffixes[i].factor, ret_ms);
	}
	return false;
}

bool units_bool(const char *text, bool *ret_yes)
{
	static const char *const words[][2] = { { "no", "yes" }, { "false", "true" }, { "off", "on" },
		{ "0", "1" } };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		for (int yes = 0; yes < 2; yes++) {
			if (strcmp(text, words[i][yes]) == 0) {
				*ret_yes = yes;
				return true;
			}
		}
	}
	return false;
}

static bool host_v6_valid(const char *host)
{
	char plain[LEASH_ADDR_MAX + 1];
	size_t n = strcspn(host, "%");
	struct in6_addr a;

	if (host[n] == '%' && (host[n + 1] == '\0' || strpbrk(host + n + 1, "%[]: ")))
		return false;
	memcpy(plain, host, n);
	plain[n] = '\0';
	return inet_pton(AF_INET6, plain, &a) == 1;
}

static bool host_name_valid(const char *host)
{
	static const char chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_";
	struct in_addr a;

	if (host[strspn(host, chars)] != '\0' || host[0] == '-')
		return false;
	if (host[0] != '\0' && host[strspn(host, "0123456789.")] == '\0')
		return inet_pton(AF_INET, host, &a) == 1;
	return true;
}

bool units_addr(const char *text, struct units_addr *ret_addr)
{
	const char *colon = strrchr(text, ':'), *host = text;
	struct units_addr a = { .port = 0 };
	bool v6 = text[0] == '[';
	uint64_t port;
	size_t n;

	if (!colon || !units_number(colon + 1, &port) || port > UINT16_MAX)
		return false;
	n = (size_t)(colon - text);
	if (v6) {
		if (n < 2 || text[n - 1] != ']')
			return false;
		host++;
		n -= 2;
	}
	if (n > LEASH_ADDR_MAX - 8) /* room for brackets, colon and port */
		return false;
	memcpy(a.host, host, n);
	a.port = (uint16_t)port;
	if (v6 ? !host_v6_valid(a.host) : !host_name_valid(a.host))
		return false;
	*ret_addr = a;
	return true;
}

char *units_addr_format(const struct units_addr *a, char text[LEASH_ADDR_MAX + 16])
{
	bool v6 = strchr(a->host, ':') != NULL;

	(void)snprintf(text, LEASH_ADDR_MAX + 16, "%s%s%s:%u", v6 ? "[" : "", a->host, v6 ? "]" : "",
		(unsigned)a->port);
	return text;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

bool units_list_next(const char **list, struct bytes *ret_item)
{
	const char *p = *list, *end;

	if (!p)
		return false;
	end = p + strcspn(p, ",");
	*list = *end == ',' ? end + 1 : NULL;
	while (p < end && is_blank(*p))
		p++;
	while (end > p && is_blank(end[-1]))
		end--;
	*ret_item = (struct bytes){ .p = (const uint8_t *)p, .len = (size_t)(end - p) };
	return true;
}

static char *format_with(
	const struct suffix *s, size_t n, uint64_t v, const char *last, char text[UNITS_TEXT])
{
	for (size_t i = 0; v > 0 && i < n; i++) {
		if (v % s[i].factor == 0) {
			(void)snprintf(text, UNITS_TEXT, "%" PRIu64 "%s", v / s[i].factor, s[i].text);
			return text;
		}
	}
	(void)snprintf(text, UNITS_TEXT, "%" PRIu64 "%s", v, last);
	return text;
}

char *units_size_format(uint64_t bytes, char text[UNITS_TEXT])
{
	return format_with(size_suffixes, ARRAY_SIZE(size_suffixes), bytes, "", text);
}

char *units_duration_format(uint64_t ms, char text[UNITS_TEXT])
{
	return format_with(duration_suffixes, ARRAY_SIZE(duration_suffixes), ms, "", text);
}
