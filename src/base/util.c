#include "base/util.h"

#include <stdio.h>

void base_assert_failed(const char *cond, const char *file, int line, const char *func)
{
	fprintf(stderr, "leash: assertion failed: %s (%s:%d, %s)\n", cond, file, line, func);
	abort();
}
