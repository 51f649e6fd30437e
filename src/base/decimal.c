#include "base/decimal.h"

static size_t digits_of(uint64_t v)
{
	size_t n = 1;

	for (; v >= 10000; v /= 10000)
		n += 4;
	return n + (v >= 10) + (v >= 100) + (v >= 1000);
}

size_t decimal_u64(uint64_t v, char to[DECIMAL_U64_BYTES])
{
	static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
				    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
				    "8081828384858687888990919293949596979899";
	size_t n = digits_of(v), at = n;

	for (; v >= 100; v /= 100)
		memcpy(&to[at -= 2], &pairs[2 * (v % 100)], 2);
	if (v >= 10)
		memcpy(to, &pairs[2 * v], 2);
	else
		to[0] = (char)('0' + v);
	return n;
}

size_t decimal_i64(int64_t v, char to[DECIMAL_I64_BYTES])
{
	if (v >= 0)
		return decimal_u64((uint64_t)v, to);
	to[0] = '-';
	return 1 + decimal_u64(0 - (uint64_t)v, to + 1);
}
