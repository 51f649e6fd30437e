#include "base/ids.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>

leash_id id_random(void)
{
	leash_id id = 0;

	while (id == 0)
		must(getrandom(&id, sizeof id, 0) == (ssize_t)sizeof id);
	return id;
}

char *id_format(leash_id id, char text[LEASH_ID_TEXT])
{
	(void)snprintf(text, LEASH_ID_TEXT, "%016" PRIx64, id);
	return text;
}

bool id_parse(const char *text, leash_id *ret_id)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	leash_id id = 0;

	for (int i = 0; i < 16; i++) {
		const char *d = text[i] ? strchr(digits, text[i]) : NULL;
		ptrdiff_t v = d ? d - digits : 0;

		if (!d)
			return false;
		id = id << 4 | (leash_id)(v < 16 ? v : v - 6);
	}
	if (text[16] != '\0')
		return false;
	*ret_id = id;
	return true;
}

bool name_valid(const char *name)
{
	static const char chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t n = strspn(name, chars);

	return n >= 1 && n <= LEASH_NAME_MAX && name[n] == '\0' && name[0] != '.' && name[0] != '-';
}
