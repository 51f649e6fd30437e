/*
 * What the main thread does on the disk while nothing else of it moves: opening a log, verifying and replaying it. At the
 * start, and when a repaired log is opened again. Each operation on a file that ends is progress; while there is any, the
 * service manager is asked for more time (before READY), or gets its watchdog's pings.
 *
 * Operations of other threads do not count, so all may use the same table.
 */
#ifndef LEASH_NODE_PROGRESS_H
#define LEASH_NODE_PROGRESS_H

#include "log/rlog_ops.h"

#define PROGRESS_EXTEND_S 60 /* asked for each time; a disk that hangs for longer fails the start */

/* rlog_posix, with progress. The calling thread's operations count from now on: they extend the start's time. */
const struct rlog_ops *progress_begin(void);
/* The start is over: they ping. @watchdog_ns: how often to; 0: nobody wants pings. Same thread. */
void progress_started(uint64_t watchdog_ns);

#endif
