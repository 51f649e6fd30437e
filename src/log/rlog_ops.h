/*
 * The table of file operations of the record log: all I/O of src/log goes through it, so that the same code runs on a
 * real file system (rlog_posix), on the simulated disk of the tests, and under injected faults.
 *
 * Every operation returns 0 or a negative errno (list: also what its callback returned). Paths are as the caller of
 * the log gave them: directory, '/', name. Descriptors are small non-negative numbers that mean something to the
 * table only. rlog_posix may be used by any number of threads.
 */
#ifndef LEASH_LOG_RLOG_OPS_H
#define LEASH_LOG_RLOG_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define RLOG_OPEN_READ   0x00 /* read only */
#define RLOG_OPEN_WRITE  0x01 /* read and write */
#define RLOG_OPEN_CREATE 0x02 /* with WRITE: make the file when absent, make it empty when there */
#define RLOG_OPEN_DIRECT 0x04 /* past the page cache; -EINVAL, also of a write, when the file system cannot */

#define RLOG_DIRECT_ALIGN 4096 /* of buffer, offset and length of what goes through a RLOG_OPEN_DIRECT descriptor */

struct rlog_ops {
	void *ctx; /* first argument of all */

	int (*open)(void *ctx, const char *path, unsigned flags, int *ret_fd);
	void (*close)(void *ctx, int fd);

	/* Reads up to @len bytes. *ret_n is smaller only at the end of the file. */
	int (*pread)(void *ctx, int fd, void *buf, size_t len, uint64_t offset, size_t *ret_n);

	/* Writes all of it; on an error any part of it may have been written. Any number of vectors. */
	int (*pwritev)(void *ctx, int fd, const struct iovec *iov, size_t n_iov, uint64_t offset);

	/* Contents and what is needed to read them (size, extents) are on stable storage when this returns 0. */
	int (*fdatasync)(void *ctx, int fd);

	/* The names in directory @path are on stable storage. */
	int (*sync_dir)(void *ctx, const char *path);

	/* Makes the file @bytes long with its space set aside; -EOPNOTSUPP: the file system cannot. */
	int (*allocate)(void *ctx, int fd, uint64_t bytes);
	int (*truncate)(void *ctx, int fd, uint64_t bytes);

	int (*rename)(void *ctx, const char *from, const char *to);
	int (*unlink)(void *ctx, const char *path);
	int (*mkdir)(void *ctx, const char *path); /* -EEXIST when it is there */

	/* Names in @path (without . and ..) in any order. @fn returns non-zero to stop; that is returned. */
	int (*list)(void *ctx, const char *path, int (*fn)(const char *name, void *arg), void *arg);

	int (*size)(void *ctx, const char *path, uint64_t *ret_bytes); /* -ENOENT */

	/* Locks directory @path for this process until close(*ret_fd). -EWOULDBLOCK: another process has it. */
	int (*lock)(void *ctx, const char *path, int *ret_fd);

	/* What is clean is dropped from the page cache, so that reads come from the device. After a failed sync clean
	 * pages may hold what the device lacks (R11). A hint where DIRECT is not to be had. */
	int (*drop_cache)(void *ctx, int fd);
};

/* The real thing. */
extern const struct rlog_ops rlog_posix;

#endif
