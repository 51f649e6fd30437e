/*
 * A sick disk for one process: preloaded into leash-noded, it makes the system calls of src/log/rlog_posix.c fail or hang
 * while the process runs. Files that do not match are left alone.
 *
 * The file named by $LEASH_FAULTFS is mapped, and whoever else maps it steers (faultfs.py). To arm: everything else first,
 * then `calls`. A call that hangs goes on, and is carried out, when `calls` no longer has it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* As in faultfs.py. */
enum call { C_OPEN, C_PREAD, C_PWRITEV, C_FDATASYNC, C_FSYNC, C_FALLOCATE, C_FTRUNCATE, C_RENAME, C_UNLINK, C_MKDIR };

struct control {
	uint32_t calls;   /* bits of enum call; 0: all is well */
	int32_t error;    /* errno; 0: hang */
	uint32_t skip;    /* so many calls that match are let through first */
	uint32_t times;   /* and then so many fail; UINT32_MAX: all */
	uint64_t inode;   /* of the file; 0: by name */
	uint64_t hits;    /* calls that failed or hung */
	uint64_t hanging; /* calls that hang now */
	uint64_t loaded;  /* 1: the process has this mapped */
	char path[256];   /* fnmatch() on the whole path, extended; '*' matches '/' too */
};

static struct control *control;

/* The next one of that name: libc's, or a sanitizer's. */
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("LEASH_FAULTFS");
	int fd = path ? REAL(open)(path, O_RDWR | O_CLOEXEC) : -1;
	struct stat st;
	void *p;

	if (fd < 0)
		return;
	if (fstat(fd, &st) < 0 || (size_t)st.st_size < sizeof *control)
		abort(); /* the test is not what it is meant to be */
	p = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	(void)close(fd);
	if (p == MAP_FAILED)
		abort();
	control = p;
	__atomic_store_n(&control->loaded, 1, __ATOMIC_SEQ_CST);
}

static uint32_t armed(void)
{
	return control ? __atomic_load_n(&control->calls, __ATOMIC_SEQ_CST) : 0;
}

static void rest(void)
{
	(void)nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
}

/* Counts down; true: it was 0 already. */
static bool spent(uint32_t *count)
{
	uint32_t n = __atomic_load_n(count, __ATOMIC_SEQ_CST);

	while (n > 0 && n < UINT32_MAX)
		if (__atomic_compare_exchange_n(count, &n, n - 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			return false;
	return n == 0;
}

/* True: the call is to fail, with errno set. Returns when a call that hangs may go on. */
static bool struck(enum call call)
{
	uint32_t bit = UINT32_C(1) << call;

	if (!spent(&control->skip) || spent(&control->times))
		return false;
	(void)__atomic_add_fetch(&control->hits, 1, __ATOMIC_SEQ_CST);
	if (control->error) {
		errno = control->error;
		return true;
	}
	(void)__atomic_add_fetch(&control->hanging, 1, __ATOMIC_SEQ_CST);
	while (armed() & bit)
		rest();
	(void)__atomic_sub_fetch(&control->hanging, 1, __ATOMIC_SEQ_CST);
	return false;
}

static bool fails_path(enum call call, const char *path)
{
	if (!(armed() & UINT32_C(1) << call))
		return false;
	return !control->inode && fnmatch(control->path, path, FNM_EXTMATCH) == 0 && struck(call);
}

static bool fails_fd(enum call call, int fd)
{
	char link[64], path[4096];
	struct stat st;
	ssize_t n;

	if (!(armed() & UINT32_C(1) << call))
		return false;
	if (control->inode)
		return fstat(fd, &st) == 0 && st.st_ino == control->inode && struck(call);
	(void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path - 1);
	if (n < 0)
		return false;
	path[n] = '\0';
	return fnmatch(control->path, path, FNM_EXTMATCH) == 0 && struck(call);
}

int open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	if (flags & (O_CREAT | __O_TMPFILE)) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	return fails_path(C_OPEN, path) ? -1 : REAL(open)(path, flags, mode);
}

ssize_t pread(int fd, void *buf, size_t n, off_t offset)
{
	return fails_fd(C_PREAD, fd) ? -1 : REAL(pread)(fd, buf, n, offset);
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t offset)
{
	return fails_fd(C_PWRITEV, fd) ? -1 : REAL(pwritev)(fd, iov, n, offset);
}

int fdatasync(int fd)
{
	return fails_fd(C_FDATASYNC, fd) ? -1 : REAL(fdatasync)(fd);
}

int fsync(int fd)
{
	return fails_fd(C_FSYNC, fd) ? -1 : REAL(fsync)(fd);
}

int fallocate(int fd, int mode, off_t offset, off_t bytes)
{
	return fails_fd(C_FALLOCATE, fd) ? -1 : REAL(fallocate)(fd, mode, offset, bytes);
}

int ftruncate(int fd, off_t bytes)
{
	return fails_fd(C_FTRUNCATE, fd) ? -1 : REAL(ftruncate)(fd, bytes);
}

int rename(const char *from, const char *to)
{
	return fails_path(C_RENAME, from) ? -1 : REAL(rename)(from, to);
}

int unlink(const char *path)
{
	return fails_path(C_UNLINK, path) ? -1 : REAL(unlink)(path);
}

int mkdir(const char *path, mode_t mode)
{
	return fails_path(C_MKDIR, path) ? -1 : REAL(mkdir)(path, mode);
}
