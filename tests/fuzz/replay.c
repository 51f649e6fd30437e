/*
 * Runs a fuzz target over files: over those named on the command line, or over the corpus of the target, whose name the
 * program bears (replay_resp: $srcdir/tests/fuzz/corpus/resp). What is wrong ends the process; the last file begun is
 * told then.
 */
#include <dirent.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "fuzz.h"

#define FILES_MIN 3 /* fewer than this many is no corpus */

static char current[PATH_MAX];

static void on_abort(int sig)
{
	static const char text[] = "replay: the input is ";

	/* Nothing can be done about a message that is not written. */
	if (write(STDERR_FILENO, text, sizeof text - 1) < 0 || write(STDERR_FILENO, current, strlen(current)) < 0 ||
		write(STDERR_FILENO, "\n", 1) < 0)
		_exit(1);
	(void)signal(sig, SIG_DFL);
	(void)raise(sig);
}

static int run_file(const char *path)
{
	struct buf b = BUF_NULL;
	uint8_t *p, *copy;
	size_t n = 0;
	FILE *f = fopen(path, "re");

	(void)snprintf(current, sizeof current, "%s", path);
	if (!f) {
		perror(path);
		return -1;
	}
	do {
		p = buf_reserve(&b, 65536);
		must(p);
		n = fread(p, 1, 65536, f);
		buf_commit(&b, n);
	} while (n > 0);
	(void)fclose(f); /* only read */
	copy = fuzz_copy(buf_head(&b), buf_len(&b));
	(void)LLVMFuzzerTestOneInput(copy, buf_len(&b));
	free(copy);
	buf_deinit(&b);
	return 0;
}

static int is_file(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

static int run_dir(const char *dir)
{
	struct dirent **names;
	char path[PATH_MAX];
	int n = scandir(dir, &names, is_file, alphasort), r = 0;

	if (n < 0) {
		perror(dir);
		return -1;
	}
	for (int i = 0; i < n; i++) {
		if (r >= 0 && (size_t)snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name) < sizeof path)
			r = run_file(path);
		free(names[i]);
	}
	free(names);
	return r < 0 ? r : n;
}

static int run_corpus(const char *program)
{
	const char *srcdir = getenv("srcdir"), *name = strrchr(program, '_');
	char dir[PATH_MAX];
	int n;

	if (!name)
		return -1;
	(void)snprintf(dir, sizeof dir, "%s/tests/fuzz/corpus/%s", srcdir ? srcdir : ".", name + 1);
	n = run_dir(dir);
	if (n >= 0 && n < FILES_MIN) {
		(void)fprintf(stderr, "%s: no corpus\n", dir);
		return -1;
	}
	return n;
}

int main(int argc, char **argv)
{
	struct stat st;
	int n = 0, r;

	(void)signal(SIGABRT, on_abort);
	if (argc == 1)
		n = run_corpus(argv[0]);
	for (int i = 1; i < argc && n >= 0; i++) {
		if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode)) {
			r = run_dir(argv[i]);
		} else {
			r = run_file(argv[i]);
			r = r < 0 ? r : 1;
		}
		n = r < 0 ? r : n + r;
	}
	/* As libcheck says it, for those who count. */
	if (n >= 0)
		(void)printf("100%%: Checks: %d, Failures: 0, Errors: 0\n", n);
	return n < 0;
}
