/* leash log cat, verify and info on logs in a directory; and the frame around commands. */
#define BOOK_RECORDS 600

#include "cli/cli.h"

#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "rlog_make.h"

static char root[256], base_option[300];
static struct book book;

static const struct cli_command *const commands[] = { &cli_log_cat, &cli_log_verify, &cli_log_info };

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(root, sizeof root, "%s/cmd_log.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(root));
	(void)snprintf(base_option, sizeof base_option, "--data-dir-base=%s", root);
	book_init(&book);
}

static int remove_name(const char *name, void *arg)
{
	const char *in = arg;
	char path[1024];

	(void)snprintf(path, sizeof path, "%s/%s", in, name);
	if (unlink(path) < 0) {
		(void)rlog_posix.list(NULL, path, remove_name, path);
		(void)rmdir(path);
	}
	return 0;
}

static void teardown(void)
{
	(void)rlog_posix.list(NULL, root, remove_name, root);
	(void)rmdir(root);
	book_deinit(&book);
}

/* A log of @node with the first @n records of the book (made when they are not there), acknowledged to @mark. */
static void make_log(const char *node, leash_seq n, leash_seq mark)
{
	char dir[400];
	const struct rlog_conf conf = { .dir = dir, .segment_bytes = 65536, .reserve_bytes = 4096, .digest_seed = BOOK_SEED,
		.record_bytes_max = BOOK_BODY_MAX };
	struct rlog_state st;
	struct rlog *l;
	size_t done;

	(void)snprintf(dir, sizeof dir, "%s/%s", root, node);
	ck_assert_int_eq(rlog_open(&conf, &rlog_posix, "engine", node, 5, &l, &st), 0);
	while (book.end < n)
		(void)book_next(&book, 300);
	for (leash_seq seq = st.end + 1; seq <= n; seq++) {
		struct rlog_rec rec = book_rec(&book, seq);

		ck_assert_int_eq(rlog_append(l, &rec, 1, &done), 0);
	}
	ck_assert_int_eq(rlog_sync(l), 0);
	ck_assert_int_eq(rlog_mark(l, mark), 0);
	rlog_close(l);
}

/* What a command prints on both streams, as one text, and its exit status. */
static int run(char **ret_text, const char *a, const char *b, const char *c, const char *d, const char *e)
{
	char *argv[] = { (char *)"leash", (char *)"log", (char *)a, (char *)b, (char *)c, (char *)d, (char *)e, NULL };
	char path[300];
	int argc = 0, status, out = dup(1), err = dup(2), fd;
	struct stat st;

	while (argv[argc])
		argc++;
	(void)snprintf(path, sizeof path, "%s/output", root);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	ck_assert_int_ge(fd, 0);
	(void)fflush(NULL);
	(void)dup2(fd, 1);
	(void)dup2(fd, 2);
	status = cli_run(commands, ARRAY_SIZE(commands), argc, argv);
	(void)fflush(NULL);
	(void)dup2(out, 1);
	(void)dup2(err, 2);
	(void)close(out);
	(void)close(err);
	ck_assert_int_eq(fstat(fd, &st), 0);
	*ret_text = calloc(1, (size_t)st.st_size + 1);
	ck_assert_int_eq(pread(fd, *ret_text, (size_t)st.st_size, 0), st.st_size);
	(void)close(fd);
	return status;
}

static size_t lines(const char *text)
{
	size_t n = 0;

	for (; (text = strchr(text, '\n')); text++)
		n++;
	return n;
}

/* Overwrites some bytes in the middle of a file of a log. */
static void harm(const char *node, const char *name, off_t at)
{
	char path[600];
	int fd;

	(void)snprintf(path, sizeof path, "%s/%s/%s", root, node, name);
	fd = open(path, O_WRONLY);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, "harm", 4, at), 4);
	(void)close(fd);
}

START_TEST(cat_prints_all_or_a_part)
{
	char path[300], *text;

	make_log("P1", 500, 400);
	ck_assert_int_eq(run(&text, "cat", base_option, "P1", NULL, NULL), CLI_OK);
	ck_assert_uint_eq(lines(text), 500);
	ck_assert_int_eq(strncmp(text, "[p/1/1] 1 payload\\x00", 20), 0);
	free(text);
	ck_assert_int_eq(run(&text, "cat", base_option, "P1", "--committed", NULL), CLI_OK);
	ck_assert_uint_eq(lines(text), 400);
	free(text);
	(void)snprintf(path, sizeof path, "%s/P1", root);
	ck_assert_int_eq(run(&text, "cat", path, "--from=399", "--to=402", NULL), CLI_OK);
	ck_assert_uint_eq(lines(text), 4);
	ck_assert_int_eq(strncmp(text, "[p/399/1] 399 ", 14), 0);
	free(text);
	ck_assert_int_eq(run(&text, "cat", path, "--from=399", "--to=402", "--committed"), CLI_OK);
	ck_assert_uint_eq(lines(text), 2);
	free(text);
	ck_assert_int_eq(run(&text, "cat", path, "--from=5000", NULL, NULL), CLI_OK);
	ck_assert_str_eq(text, "");
	free(text);
}
END_TEST

START_TEST(an_empty_log_is_clean)
{
	char *text;

	make_log("P1", 0, 0);
	ck_assert_int_eq(run(&text, "cat", base_option, "P1", NULL, NULL), CLI_OK);
	ck_assert_str_eq(text, "");
	free(text);
	ck_assert_int_eq(run(&text, "verify", base_option, "P1", NULL, NULL), CLI_OK);
	free(text);
	ck_assert_int_eq(run(&text, "info", base_option, "P1", "--json", NULL), CLI_OK);
	ck_assert_ptr_nonnull(strstr(text, "\"log_end\":0"));
	free(text);
}
END_TEST

START_TEST(what_is_not_there_is_told)
{
	char *text;

	ck_assert_int_eq(run(&text, "cat", base_option, "P9", NULL, NULL), CLI_FAILED);
	ck_assert_ptr_nonnull(strstr(text, "there is no log of a node"));
	free(text);
	ck_assert_int_eq(run(&text, "verify", base_option, "P9", NULL, NULL), CLI_FAILED);
	free(text);
	ck_assert_int_eq(run(&text, "cat", base_option, "P1", "--from=5", "--to=4"), CLI_USAGE);
	ck_assert_uint_eq(lines(text), 1);
	free(text);
	ck_assert_int_eq(run(&text, "verify", base_option, NULL, NULL, NULL), CLI_USAGE);
	free(text);
}
END_TEST

START_TEST(damage_is_found_and_the_rest_is_printed)
{
	char *text;

	make_log("P1", 500, 500);
	harm("P1", "00000000000000000001.seg", 4096 + 16 + 80 + 100); /* in the first record's body */
	ck_assert_int_eq(run(&text, "verify", base_option, "P1", NULL, NULL), CLI_FAILED);
	ck_assert_ptr_nonnull(strstr(text, "record 1:"));
	ck_assert_ptr_nonnull(strstr(text, "damaged: "));
	free(text);
	ck_assert_int_eq(run(&text, "cat", base_option, "P1", NULL, NULL), CLI_FAILED);
	ck_assert_uint_eq(lines(text), 499 + 1);
	ck_assert_ptr_nonnull(strstr(text, "records 1 to 1 cannot be read"));
	free(text);
	ck_assert_int_eq(run(&text, "info", base_option, "P1", NULL, NULL), CLI_OK);
	ck_assert_ptr_nonnull(strstr(text, "state         damaged"));
	free(text);
}
END_TEST

START_TEST(logs_are_compared)
{
	char *text;

	make_log("P1", 300, 250);
	make_log("S1", 280, 280); /* the same, shorter */
	ck_assert_int_eq(run(&text, "verify", base_option, "P1", "S1", NULL), CLI_OK);
	ck_assert_ptr_nonnull(strstr(text, "are the same from 1 to 280"));
	free(text);
	book.end = 260; /* another life from 261 on */
	book.flavour = 2;
	make_log("S2", 290, 260);
	ck_assert_int_eq(run(&text, "verify", base_option, "P1", "S1", "S2"), CLI_OK);
	ck_assert_ptr_nonnull(strstr(text, "differ from record 261 on, behind what both have acknowledged"));
	free(text);
	make_log("S2", 290, 261); /* that is still behind what P1 has acknowledged */
	ck_assert_int_eq(run(&text, "verify", base_option, "P1", "S2", NULL), CLI_OK);
	free(text);
	ck_assert_int_eq(run(&text, "verify", base_option, "S1", "S2", NULL), CLI_FAILED);
	ck_assert_ptr_nonnull(strstr(text, "differ from record 261 on\n"));
	free(text);
}
END_TEST

START_TEST(info_says_how_far)
{
	char *text;

	make_log("P1", 300, 250);
	ck_assert_int_eq(run(&text, "info", base_option, "P1", "--json", NULL), CLI_OK);
	ck_assert_ptr_nonnull(strstr(text, "\"log_start\":1,\"log_end\":300,\"acknowledged\":250,\"records\":300,"));
	ck_assert_ptr_nonnull(strstr(text, "\"incarnation\":\"0000000000000005\""));
	free(text);
}
END_TEST

UNIT_MAIN("cmd_log", {
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, cat_prints_all_or_a_part);
	tcase_add_test(tc, an_empty_log_is_clean);
	tcase_add_test(tc, what_is_not_there_is_told);
	tcase_add_test(tc, damage_is_found_and_the_rest_is_printed);
	tcase_add_test(tc, logs_are_compared);
	tcase_add_test(tc, info_says_how_far);
})
