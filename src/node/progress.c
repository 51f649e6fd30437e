#include "node/progress.h"

#include "base/clk.h"
#include "base/notify.h"

#define EXTEND_EVERY_NS NS_PER_S

static _Thread_local struct {
	bool counts, started;
	uint64_t every_ns, told_ns;
} mine;

static void moved(void)
{
	uint64_t now_ns;

	if (!mine.counts || mine.every_ns == 0)
		return;
	now_ns = clk_boot_ns();
	if (now_ns - mine.told_ns < mine.every_ns)
		return;
	mine.told_ns = now_ns;
	if (mine.started)
		notify_watchdog_ping();
	else
		notify_extend_timeout(PROGRESS_EXTEND_S * UINT64_C(1000000));
}

static int progress_pread(void *ctx, int fd, void *buf, size_t len, uint64_t offset, size_t *ret_n)
{
	int r = rlog_posix.pread(ctx, fd, buf, len, offset, ret_n);

	moved();
	return r;
}

static int progress_pwritev(void *ctx, int fd, const struct iovec *iov, size_t n_iov, uint64_t offset)
{
	int r = rlog_posix.pwritev(ctx, fd, iov, n_iov, offset);

	moved();
	return r;
}

static int progress_fdatasync(void *ctx, int fd)
{
	int r = rlog_posix.fdatasync(ctx, fd);

	moved();
	return r;
}

const struct rlog_ops *progress_begin(void)
{
	static struct rlog_ops ops;

	ops = rlog_posix;
	ops.pread = progress_pread;
	ops.pwritev = progress_pwritev;
	ops.fdatasync = progress_fdatasync;
	mine.counts = true;
	mine.every_ns = EXTEND_EVERY_NS;
	return &ops;
}

void progress_started(uint64_t watchdog_ns)
{
	mine.started = true;
	mine.every_ns = watchdog_ns;
}
