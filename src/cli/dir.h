/*
 * The log of a node's data directory, for reading: a running node may own it.
 */
#ifndef LEASH_CLI_DIR_H
#define LEASH_CLI_DIR_H

#include <limits.h>

#include "log/rlog.h"

#define DIR_BASE        "/var/lib/leash" /* where nodes keep their data directories */
#define DIR_PROBLEMS_MAX 1024            /* stretches of damage that are kept */
#define DIR_TEXT        (PATH_MAX + 160)

/* Writes the path that @arg means: a path if it has a '/' in it or is "." or "..", else the node @base/@arg. False: too
 * long. */
bool dir_path(const char *base, const char *arg, char ret_path[PATH_MAX]) _must_check_;

/* meta and mark. 0, or a negative errno with one line in @why. A directory without a log is -ENOENT. */
int dir_peek(const char *path, struct rlog_meta *ret_meta, leash_seq *ret_mark, char why[DIR_TEXT]) _must_check_;

/* What verifying found. */
struct dir_report {
	struct rlog_verify_result result;
	struct rlog_damage problems[DIR_PROBLEMS_MAX]; /* the first of them; result.n_problems says how many there are */
	size_t n_problems;
};

int dir_verify(const char *path, leash_seq until, struct dir_report *ret_report, char why[DIR_TEXT]) _must_check_;

/* The first record that is kept, by the names of the segments; 1 for an empty log. */
int dir_start(const char *path, leash_seq *ret_start, char why[DIR_TEXT]) _must_check_;

/* What an error of src/log means: an errno or enum rlog_error. */
const char *dir_strerror(int r);

#endif
