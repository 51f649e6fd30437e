#include "etcd/json.h"

static const char b64_digits[64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void b64_encode(const void *p, size_t n, char *to)
{
	const uint8_t *from = p;

	for (; n; from += MIN2(n, (size_t)3), n -= MIN2(n, (size_t)3)) {
		uint32_t v = (uint32_t)from[0] << 16;

		if (n > 1)
			v |= (uint32_t)from[1] << 8;
		if (n > 2)
			v |= from[2];
		*to++ = b64_digits[v >> 18];
		*to++ = b64_digits[v >> 12 & 63];
		*to++ = '=';
		*to++ = '=';
		if (n > 1)
			to[-2] = b64_digits[v >> 6 & 63];
		if (n > 2)
			to[-1] = b64_digits[v & 63];
	}
}

static int b64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four characters, @pad of them padding at the end. */
static bool b64_decode_group(const char *text, size_t pad, uint8_t *to)
{
	uint32_t v = 0;

	for (size_t i = 0; i < 4; i++) {
		int digit = i < 4 - pad ? b64_digit(text[i]) : 0;

		if (digit < 0)
			return false;
		v = v << 6 | (uint32_t)digit;
	}
	if (v & ((UINT32_C(1) << (8 * pad)) - 1))
		return false;
	for (size_t i = 0; i < 3 - pad; i++)
		to[i] = (uint8_t)(v >> (16 - 8 * i));
	return true;
}

bool b64_decode(const char *text, size_t len, uint8_t *to, size_t *ret_n)
{
	size_t pad = 0, groups = len / 4;

	if (len % 4)
		return false;
	if (len && text[len - 1] == '=')
		pad = text[len - 2] == '=' ? 2 : 1;
	for (size_t i = 0; i < groups; i++) {
		if (!b64_decode_group(text + 4 * i, i + 1 == groups ? pad : 0, to + 3 * i))
			return false;
	}
	*ret_n = 3 * groups - pad;
	return true;
}
