/*
 * A disk in memory behind the table of file operations, for crash tests and the simulator. Pure and deterministic: the
 * same calls and the same seed give the same disk.
 *
 * What it models:
 *  - A page cache over the device, in sectors of 512 bytes. A write dirties sectors; fdatasync makes them durable.
 *  - Names are durable after a sync of their directory (of both, for a rename between two).
 *  - Power loss: of the dirty sectors any part survives, each one whole; of the unsynced names a prefix or any part.
 *  - The end of a process: descriptors and locks go, the page cache stays.
 *  - A failed sync: what was dirty is called clean and may not be on the device; only reads past the cache
 *    (RLOG_OPEN_DIRECT, or after drop_cache) tell.
 *  - A failed write may have written any part.
 *
 * One thread. Paths are names to it; directories must be made before files in them.
 */
#ifndef LEASH_TESTS_SIMDISK_H
#define LEASH_TESTS_SIMDISK_H

#include "log/rlog_ops.h"

struct simdisk;

/* A small random generator (splitmix64), so that tests can be repeated from a seed. */
struct simrng {
	uint64_t state;
};
uint64_t simrng_next(struct simrng *rng);
uint64_t simrng_below(struct simrng *rng, uint64_t n); /* 0 .. n - 1; n >= 1 */

enum simdisk_op {
	SIMDISK_OPEN, SIMDISK_READ, SIMDISK_WRITE, SIMDISK_SYNC, SIMDISK_SYNC_DIR, SIMDISK_ALLOCATE, SIMDISK_TRUNCATE,
	SIMDISK_RENAME, SIMDISK_UNLINK, SIMDISK_MKDIR, SIMDISK_LIST, SIMDISK_SIZE, SIMDISK_LOCK,
};
#define SIMDISK_BIT(op)  (1u << (op))
#define SIMDISK_ALL      (~0u)
#define SIMDISK_CHANGES  (SIMDISK_BIT(SIMDISK_WRITE) | SIMDISK_BIT(SIMDISK_ALLOCATE) | SIMDISK_BIT(SIMDISK_MKDIR))

struct simdisk *simdisk_new(uint64_t seed);                      /* has the directory "." and "/" */
struct simdisk *simdisk_clone(const struct simdisk *d);          /* without descriptors, faults, hook and bound */
void simdisk_free(struct simdisk *d);
const struct rlog_ops *simdisk_ops(struct simdisk *d);

void simdisk_kill(struct simdisk *d);                            /* the process ends */
void simdisk_crash(struct simdisk *d, struct simrng *rng);       /* the power fails */

/* The same, with what survives chosen and not drawn, so that all of it can be tried. */
struct simdisk_choice {
	uint64_t names;                      /* bit i: the i-th unsynced change of names survives; from the 64th on none does */
	bool (*sector)(size_t i, void *arg); /* does the i-th dirty sector? */
	void *arg;
	bool sizes;                          /* files are as long as processes saw them */
};
size_t simdisk_dirty(const struct simdisk *d);         /* sectors whose content is not that of the device, file by file */
size_t simdisk_names_unsynced(const struct simdisk *d); /* changes of names, in order */
bool simdisk_sizes_unsynced(const struct simdisk *d);
void simdisk_lose(struct simdisk *d, const struct simdisk_choice *c);

/* The operation after @skip more of those in @mask fails with @error (negative errno); all later ones too if @sticky. */
void simdisk_fault(struct simdisk *d, unsigned mask, uint64_t skip, int error, bool sticky);
bool simdisk_fault_hit(const struct simdisk *d);                 /* the fault has struck */
void simdisk_fault_clear(struct simdisk *d);

void simdisk_capacity(struct simdisk *d, uint64_t bytes);        /* of all files together; 0 = no bound */
uint64_t simdisk_used(const struct simdisk *d);

/* Called before each operation (closing excepted). */
void simdisk_hook(struct simdisk *d, void (*fn)(struct simdisk *d, enum simdisk_op op, void *arg), void *arg);

/* Rot: flips bits on the device and in the cache. False: no such file or not so long. */
bool simdisk_flip(struct simdisk *d, const char *path, uint64_t offset, uint8_t mask);
/* A file is shorter than it was, on the device and in the cache. False: no such file or not so long. */
bool simdisk_cut(struct simdisk *d, const char *path, uint64_t bytes);

/* The power fails, and nothing that was not synced survives: an image of what is durable. */
void simdisk_drop_dirty(struct simdisk *d);

bool simdisk_exists(const struct simdisk *d, const char *path);
uint64_t simdisk_digest(const struct simdisk *d);                /* of all names and contents as a process sees them */

#endif
