#include "log/rlog_ops.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"

#define IOV_BATCH 1024 /* vectors of one system call: IOV_MAX of Linux */
_Static_assert(IOV_BATCH <= IOV_MAX, "IOV_MAX");

static int posix_open(void *ctx _unused_, const char *path, unsigned flags, int *ret_fd)
{
	int how = O_CLOEXEC | O_NOFOLLOW, fd;

	how |= flags & RLOG_OPEN_WRITE ? O_RDWR : O_RDONLY;
	if (flags & RLOG_OPEN_CREATE)
		how |= O_CREAT | O_TRUNC;
	if (flags & RLOG_OPEN_DIRECT)
		how |= O_DIRECT;
	do
		fd = open(path, how, 0640);
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static void posix_close(void *ctx _unused_, int fd)
{
	(void)close(fd); /* whatever must survive was synced before */
}

static int posix_pread(void *ctx _unused_, int fd, void *buf, size_t len, uint64_t offset, size_t *ret_n)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (uint8_t *)buf + done, len - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	*ret_n = done;
	return 0;
}

/* The vectors from *@skip bytes into iov[0] on, at most IOV_BATCH of them. */
static size_t iov_batch(const struct iovec *iov, size_t n_iov, size_t skip, struct iovec *out)
{
	size_t n = MIN2(n_iov, (size_t)IOV_BATCH);

	memcpy(out, iov, n * sizeof *iov);
	out[0].iov_base = (uint8_t *)out[0].iov_base + skip;
	out[0].iov_len -= skip;
	return n;
}

static int posix_pwritev(void *ctx _unused_, int fd, const struct iovec *iov, size_t n_iov, uint64_t offset)
{
	struct iovec batch[IOV_BATCH];
	size_t skip = 0; /* bytes of iov[0] already written */

	while (n_iov > 0) {
		ssize_t n;

		if (iov->iov_len == skip) {
			iov++;
			n_iov--;
			skip = 0;
			continue;
		}
		n = pwritev(fd, batch, (int)iov_batch(iov, n_iov, skip, batch), (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		offset += (uint64_t)n;
		skip += (size_t)n;
		while (n_iov > 0 && skip >= iov->iov_len) {
			skip -= iov->iov_len;
			iov++;
			n_iov--;
		}
	}
	return 0;
}

static int posix_fdatasync(void *ctx _unused_, int fd)
{
	return fdatasync(fd) < 0 ? -errno : 0; /* never tried again: a second call would lie */
}

static int posix_sync_dir(void *ctx _unused_, const char *path)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

static int posix_allocate(void *ctx _unused_, int fd, uint64_t bytes)
{
	int r;

	do
		r = fallocate(fd, 0, 0, (off_t)bytes);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

static int posix_truncate(void *ctx _unused_, int fd, uint64_t bytes)
{
	return ftruncate(fd, (off_t)bytes) < 0 ? -errno : 0;
}

static int posix_rename(void *ctx _unused_, const char *from, const char *to)
{
	return rename(from, to) < 0 ? -errno : 0;
}

static int posix_unlink(void *ctx _unused_, const char *path)
{
	return unlink(path) < 0 ? -errno : 0;
}

static int posix_mkdir(void *ctx _unused_, const char *path)
{
	return mkdir(path, 0750) < 0 ? -errno : 0;
}

static void closedirp(DIR **d)
{
	if (*d)
		(void)closedir(*d); /* read only */
}

static int posix_list(void *ctx _unused_, const char *path, int (*fn)(const char *name, void *arg), void *arg)
{
	_cleanup_(closedirp) DIR *d = opendir(path);
	const struct dirent *e;
	int r = 0;

	if (!d)
		return -errno;
	for (;;) {
		errno = 0;
		e = readdir(d);
		if (!e)
			return -errno;
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			r = fn(e->d_name, arg);
		if (r != 0)
			return r;
	}
}

static int posix_size(void *ctx _unused_, const char *path, uint64_t *ret_bytes)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

static int posix_lock(void *ctx _unused_, const char *path, int *ret_fd)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int posix_drop_cache(void *ctx _unused_, int fd)
{
	return -posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

const struct rlog_ops rlog_posix = {
	.open = posix_open,
	.close = posix_close,
	.pread = posix_pread,
	.pwritev = posix_pwritev,
	.fdatasync = posix_fdatasync,
	.sync_dir = posix_sync_dir,
	.allocate = posix_allocate,
	.truncate = posix_truncate,
	.rename = posix_rename,
	.unlink = posix_unlink,
	.mkdir = posix_mkdir,
	.list = posix_list,
	.size = posix_size,
	.lock = posix_lock,
	.drop_cache = posix_drop_cache,
};
