/*
 * Small things that every file uses: scope cleanup, ownership hand-over, asserts that stay in the release.
 * Pure: no I/O, no clock.
 */
#ifndef LEASH_BASE_UTIL_H
#define LEASH_BASE_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define _cleanup_(f)   __attribute__((cleanup(f)))
#define _must_check_   __attribute__((warn_unused_result))
#define _unused_       __attribute__((unused))
#define _noreturn_     __attribute__((noreturn))
#define _printf_(a, b) __attribute__((format(printf, a, b)))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN2(a, b)    ((a) < (b) ? (a) : (b))
#define MAX2(a, b)    ((a) > (b) ? (a) : (b))

/* Hands over what @p holds and leaves the null value behind: TAKE() disarms a _cleanup_. */
#define TAKE(p)                                                                                              \
	({                                                                                                   \
		__typeof__(p) _take = (p);                                                                   \
		(p) = (__typeof__(p))0;                                                                      \
		_take;                                                                                       \
	})

#define TAKE_FD(fd)                                                                                          \
	({                                                                                                   \
		int _take_fd = (fd);                                                                         \
		(fd) = -1;                                                                                   \
		_take_fd;                                                                                    \
	})

#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

/* What our own code guarantees. Stays in the release: going on would risk the log. */
#define must(cond)                                                                                           \
	do {                                                                                                 \
		if (__builtin_expect(!(cond), 0))                                                            \
			base_assert_failed(#cond, __FILE__, __LINE__, __func__);                             \
	} while (0)

_noreturn_ void base_assert_failed(const char *cond, const char *file, int line, const char *func);

static inline void freep(void *p)
{
	free(*(void **)p);
	*(void **)p = NULL;
}

static inline void closep(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd); /* nothing was written through it that somebody relies on */
	*fd = -1;
}

/* close() and forget; @fd may be -1. Always returns -1, to be assigned. */
static inline int close_fd(int fd)
{
	closep(&fd);
	return -1;
}

#endif
