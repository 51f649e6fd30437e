#include "cli/dir.h"

#include <errno.h>
#include <stdio.h>

#include "log/rlog_file.h"

bool dir_path(const char *base, const char *arg, char ret_path[PATH_MAX])
{
	bool path = strchr(arg, '/') || strcmp(arg, ".") == 0 || strcmp(arg, "..") == 0;

	return snprintf(ret_path, PATH_MAX, "%s%s%s", path ? "" : base, path ? "" : "/", arg) < PATH_MAX;
}

const char *dir_strerror(int r)
{
	switch (r) {
	case RLOG_E_FULL: return "no space is left";
	case RLOG_E_ORDER: return "records are out of order";
	case RLOG_E_CHAIN: return "the chain does not close";
	case RLOG_E_GONE: return "the record is older than the oldest kept one";
	case RLOG_E_DAMAGED: return "damaged";
	case RLOG_E_FOREIGN: return "it belongs to another node, engine or cluster";
	case RLOG_E_LOCKED: return "another process has it open";
	default: return strerror(r < 0 ? -r : r);
	}
}

static int fail(int r, const char *path, const char *text, char why[DIR_TEXT])
{
	(void)snprintf(why, DIR_TEXT, "%s: %s", path, text);
	return r < 0 ? r : -EIO;
}

int dir_peek(const char *path, struct rlog_meta *ret_meta, leash_seq *ret_mark, char why[DIR_TEXT])
{
	int r = rlog_peek(path, &rlog_posix, ret_meta, ret_mark);

	if (r == -ENOENT)
		return fail(r, path, "there is no log of a node", why);
	if (r == RLOG_E_DAMAGED)
		return fail(r, path, "its metadata is damaged", why);
	return r != 0 ? fail(r, path, dir_strerror(r), why) : 0;
}

static void on_problem(const struct rlog_damage *d, void *arg)
{
	struct dir_report *report = arg;

	if (report->n_problems < DIR_PROBLEMS_MAX)
		report->problems[report->n_problems++] = *d;
}

int dir_verify(const char *path, leash_seq until, struct dir_report *ret_report, char why[DIR_TEXT])
{
	int r;

	ret_report->n_problems = 0;
	r = rlog_verify(path, &rlog_posix, until, on_problem, ret_report, &ret_report->result);
	return r != 0 ? fail(r, path, dir_strerror(r), why) : 0;
}

int dir_start(const char *path, leash_seq *ret_start, char why[DIR_TEXT])
{
	_cleanup_(freep) leash_seq *firsts = NULL;
	size_t n;
	int r = rlog_names(&rlog_posix, path, "seg", &firsts, &n);

	if (r < 0)
		return fail(r, path, dir_strerror(r), why);
	*ret_start = n > 0 ? firsts[0] : 1;
	return 0;
}
