/*
 * Numbers with units, lists and addresses as people write them in configuration files and on command lines.
 * Pure.
 *
 * All parsers take a whole NUL-terminated text: nothing before, between or after. They return false for an
 * empty text, a sign, junk and for what does not fit; the result is set on success only.
 */
#ifndef LEASH_BASE_UNITS_H
#define LEASH_BASE_UNITS_H

#include "base/cur.h"
#include "base/types.h"

#define UNITS_TEXT 32 /* room for any number that the formatters below write, with the NUL */

/* Decimal digits. */
bool units_number(const char *text, uint64_t *ret_n) _must_check_;

/* Bytes: "4096", or with K, M, G or T (powers of 1024, small letters too): "64M". */
bool units_size(const char *text, uint64_t *ret_bytes) _must_check_;

/*
 * A duration: a number in @unit ("ms", "s", "m" or "h"), or one with such a suffix of its own: "250ms",
 * "30s".
 */
bool units_duration(const char *text, const char *unit, uint64_t *ret_ms) _must_check_;

/* "yes", "no", "true", "false", "on", "off", "1", "0". */
bool units_bool(const char *text, bool *ret_yes) _must_check_;

/* Where to listen or to connect. */
struct units_addr {
	char host[LEASH_ADDR_MAX + 1]; /* a name, an IPv4 or (without brackets) IPv6 address; "" = all */
	uint16_t port;
};

/*
 * "host:port", ":port" (host ""), "[v6 address]:port". The port is 0 to 65535 in digits. Names are checked
 * for their characters only, nothing is looked up; what consists of digits and dots must be an IPv4 address.
 */
bool units_addr(const char *text, struct units_addr *ret_addr) _must_check_;

/* Writes it back as units_addr() reads it; returns @text. */
char *units_addr_format(const struct units_addr *a, char text[LEASH_ADDR_MAX + 16]);

/*
 * Walks a list separated by commas. Returns false when it is over. Blanks around an item are not part of it;
 * an item may be empty ("a,,b"), and an empty list is one empty item. Start with *@list at the text.
 */
bool units_list_next(const char **list, struct bytes *ret_item);

/* The shortest exact text with a suffix: "64M", "1500ms". Return @text. */
char *units_size_format(uint64_t bytes, char text[UNITS_TEXT]);
char *units_duration_format(uint64_t ms, char text[UNITS_TEXT]);

#endif
