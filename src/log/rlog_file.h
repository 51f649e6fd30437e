/*
 * Files of the log over the table of file operations: paths, names of segments, small whole files, windows for reading.
 */
#ifndef LEASH_LOG_RLOG_FILE_H
#define LEASH_LOG_RLOG_FILE_H

#include <limits.h>

#include "base/buf.h"
#include "base/types.h"
#include "log/rlog_ops.h"

#define RLOG_NAME_DIGITS 20                        /* of a sequence number, zero-padded, so that names sort */
#define RLOG_NAME_BYTES  (RLOG_NAME_DIGITS + 4 + 1) /* "<first>.seg" and the NUL */

struct rlog_file {
	const struct rlog_ops *ops;
	int fd; /* -1: none */
};

#define RLOG_FILE_NULL { .ops = NULL, .fd = -1 }

void rlog_file_close(struct rlog_file *f); /* any number of times; usable with _cleanup_ */

/* Opens @dir/@name with RLOG_OPEN_*. Negative errno. */
int rlog_file_open(const struct rlog_ops *ops, const char *dir, const char *name, unsigned flags,
	struct rlog_file *ret_file) _must_check_;

/*
 * Opens for reading what an earlier life may have written and not synced, or failed to sync: what is dirty is synced
 * first, and reads go past the page cache as far as the file system lets them (R11; scenario B4). Reads must be aligned
 * to RLOG_DIRECT_ALIGN in buffer, offset and length.
 */
int rlog_file_open_settled(const struct rlog_ops *ops, const char *dir, const char *name,
	struct rlog_file *ret_file) _must_check_;

/* For reading once what is durable: past the page cache, or at least without what is in it. Reads are to be aligned. */
int rlog_file_open_uncached(const struct rlog_ops *ops, const char *dir, const char *name,
	struct rlog_file *ret_file) _must_check_;

int rlog_file_write(const struct rlog_file *f, const void *p, size_t len, uint64_t offset) _must_check_;
int rlog_file_zero(const struct rlog_file *f, uint64_t from, uint64_t to) _must_check_;

/* Makes @dir/@name with this content, whole or not at all: temporary file, sync, rename, sync of the directory. */
int rlog_file_put(const struct rlog_ops *ops, const char *dir, const char *name, const void *p, size_t len) _must_check_;

/*
 * The same in the place of a file that is open for writing: *@file is the new one from the moment at which it has the name,
 * and *ret_swapped says whether that was reached. An error behind it: which of the two a loss of power leaves is not known.
 */
int rlog_file_swap(const struct rlog_ops *ops, const char *dir, const char *name, const void *p, size_t len,
	struct rlog_file *file, bool *ret_swapped) _must_check_;

/* Copies a file; what cannot be read is zero in the copy, which is synced; its directory is not. */
int rlog_file_copy(const struct rlog_ops *ops, const char *dir, const char *name, const char *to_dir,
	const char *to_name) _must_check_;

int rlog_file_unlink(const struct rlog_ops *ops, const char *dir, const char *name) _must_check_; /* 0 when absent */
int rlog_file_rename(const struct rlog_ops *ops, const char *dir, const char *name, const char *to_dir,
	const char *to_name) _must_check_;
int rlog_dir_make(const struct rlog_ops *ops, const char *parent, const char *name) _must_check_; /* 0 when there */

/* dir/name. -ENAMETOOLONG. */
int rlog_path(char out[PATH_MAX], const char *dir, const char *name) _must_check_;

/* "00000000000000000001.seg"; @suffix is "seg" or "dig". */
void rlog_name(char out[RLOG_NAME_BYTES], leash_seq first, const char *suffix);

/* First sequence numbers of all files in @dir named <first>.@suffix, sorted; free() the array. */
int rlog_names(const struct rlog_ops *ops, const char *dir, const char *suffix, leash_seq **ret_firsts,
	size_t *ret_n) _must_check_;

/* True for -ENOSPC and -EDQUOT. */
bool rlog_is_full(int r);

/* A window on a file that moves forwards cheaply. Reads are aligned for RLOG_OPEN_DIRECT. */
struct rlog_win {
	struct rlog_file file; /* owned */
	uint8_t *buf;          /* aligned, @cap bytes */
	size_t cap, len;       /* bytes; len of them are there, from @offset on */
	uint64_t offset;
};

#define RLOG_WIN_NULL  { .file = RLOG_FILE_NULL }
#define RLOG_WIN_BYTES (256 * 1024) /* read ahead */

void rlog_win_deinit(struct rlog_win *w);
void rlog_win_forget(struct rlog_win *w); /* the next get reads the file again */

#define RLOG_WIN_E_END 1 /* the file ends before */

/* @len bytes at @offset, valid until the next call. 0, RLOG_WIN_E_END, negative errno. */
int rlog_win_get(struct rlog_win *w, uint64_t offset, size_t len, const uint8_t **ret_p) _must_check_;

#endif
