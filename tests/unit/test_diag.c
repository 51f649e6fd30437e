#include "base/diag.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/clk.h"
#include "unit.h"

static char got[64 * 1024];

/* Points stderr at a new unnamed file; the test process ends with it. */
static void catch_stderr(void)
{
	FILE *f = tmpfile();

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(dup2(fileno(f), STDERR_FILENO), 0);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(unsetenv("JOURNAL_STREAM"), 0);
}

/* What was written since the last call. */
static const char *caught(void)
{
	static off_t at;
	ssize_t n = pread(STDERR_FILENO, got, sizeof got - 1, at);

	ck_assert_int_ge(n, 0);
	got[n] = '\0';
	at += n;
	return got;
}

START_TEST(plain_lines_with_name_and_level)
{
	catch_stderr();
	diag_init("leash-noded", DIAG_TARGET_AUTO, LOG_INFO);
	diag(LOG_WARNING, "disk %s is slow: %d ms", "sda", 12);
	ck_assert_str_eq(caught(), "leash-noded: warning: disk sda is slow: 12 ms\n");
	diag(LOG_ERR, "gone");
	ck_assert_str_eq(caught(), "leash-noded: error: gone\n");
}
END_TEST

START_TEST(levels_above_the_bound_are_dropped)
{
	catch_stderr();
	diag_init("x", DIAG_TARGET_STDERR, LOG_NOTICE);
	diag(LOG_INFO, "no");
	ck_assert(!diag_enabled(LOG_INFO));
	diag(LOG_NOTICE, "yes");
	ck_assert_str_eq(caught(), "x: notice: yes\n");
	diag_set_level(LOG_DEBUG);
	diag(LOG_DEBUG, "now");
	ck_assert_str_eq(caught(), "x: debug: now\n");
}
END_TEST

START_TEST(journal_stream_gets_level_prefix)
{
	char stream[64];
	struct stat st;

	catch_stderr();
	ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
	(void)snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev,
		(unsigned long long)st.st_ino);
	ck_assert_int_eq(setenv("JOURNAL_STREAM", stream, 1), 0);
	diag_init("x", DIAG_TARGET_STDERR, LOG_INFO);
	diag(LOG_WARNING, "hello");
	ck_assert_str_eq(caught(), "<4>hello\n");

	(void)snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev,
		(unsigned long long)st.st_ino + 1);
	ck_assert_int_eq(setenv("JOURNAL_STREAM", stream, 1), 0);
	diag_init("x", DIAG_TARGET_AUTO, LOG_INFO);
	diag(LOG_WARNING, "another stream");
	ck_assert_str_eq(caught(), "x: warning: another stream\n");
}
END_TEST

START_TEST(bytes_from_outside_cannot_forge_lines)
{
	catch_stderr();
	diag_init("x", DIAG_TARGET_STDERR, LOG_INFO);
	diag(LOG_INFO, "name \"%s\"", "a\nx: error: forged\x1b[31m\x7f\t");
	ck_assert_str_eq(caught(), "x: info: name \"a\\x0ax: error: forged\\x1b[31m\\x7f\\x09\"\n");
}
END_TEST

START_TEST(escaping_knows_utf8)
{
	static const char *const rows[][2] = {
		{ "Z\xc3\xbcrich \xe2\x82\xac \xf0\x9f\x98\x80",
			"Z\xc3\xbcrich \xe2\x82\xac \xf0\x9f\x98\x80" },
		{ "\xc2\x9b", "\\xc2\\x9b" },          /* C1 control */
		{ "\xc0\xaf", "\\xc0\\xaf" },          /* overlong */
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80" }, /* surrogate */
		{ "\xe2\x82", "\\xe2\\x82" },          /* cut */
		{ "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80" },
		{ "\xff", "\\xff" },
	};
	char text[64];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		ck_assert_str_eq(diag_escape(rows[i][0], text, sizeof text), rows[i][1]);
}
END_TEST

START_TEST(escaping_is_bounded_at_every_size)
{
	static const char in[] = "ab\n\xe2\x82\xac"
				 "cdefgh\x01";
	char whole[64], text[64];
	size_t n = strlen(diag_escape(in, whole, sizeof whole));

	for (size_t size = 4; size <= n + 1; size++) {
		memset(text, '#', sizeof text);
		ck_assert_ptr_eq(diag_escape(in, text, size), text);
		ck_assert_uint_lt(strlen(text), size);
		ck_assert_int_eq(text[size], '#');
		if (size == n + 1)
			ck_assert_str_eq(text, whole);
		else
			ck_assert_str_eq(text + strlen(text) - 3, "...");
	}
}
END_TEST

START_TEST(long_messages_are_cut_and_say_so)
{
	char big[5000];

	memset(big, 'y', sizeof big);
	big[sizeof big - 1] = '\0';
	catch_stderr();
	diag_init("x", DIAG_TARGET_STDERR, LOG_INFO);
	diag(LOG_INFO, "%s", big);
	ck_assert_uint_eq(strlen(caught()), strlen("x: info: ") + DIAG_TEXT_MAX + 1);
	ck_assert_str_eq(got + strlen(got) - 5, "y...\n");
	big[DIAG_TEXT_MAX] = '\0';
	diag(LOG_INFO, "%s", big);
	ck_assert_uint_eq(strlen(caught()), strlen("x: info: ") + DIAG_TEXT_MAX + 1);
	ck_assert_str_eq(got + strlen(got) - 5, "yyyy\n");
}
END_TEST

static char sent[4096];
static int send_result;

static int fake_send(const struct iovec *iov, int n)
{
	sent[0] = '\0';
	for (int i = 0; i < n; i++) {
		strncat(sent, iov[i].iov_base, iov[i].iov_len);
		strcat(sent, "\n");
	}
	return send_result;
}

START_TEST(journal_gets_all_fields)
{
	struct diag_field fields[] = { { "LEASH_EPOCH", "7" }, { "LEASH_BY", "S1" } };
	char place[200];

	catch_stderr();
	diag_set_journal(fake_send);
	diag_init("leash-noded", DIAG_TARGET_JOURNAL, LOG_INFO);
	diag_set_common("LEASH_ENGINE", "engine");
	diag_set_common("LEASH_NODE", "P0");
	diag_set_common("LEASH_NODE", "P1");
	diag_event(LOG_NOTICE, "0123456789abcdef0123456789abcdef", fields, 2, "fenced by %s", "S1");
	ck_assert_str_eq(caught(), "");
	(void)snprintf(place, sizeof place, "CODE_LINE=%d\nCODE_FUNC=", __LINE__ - 2);
	ck_assert_ptr_eq(
		strstr(sent, "MESSAGE=fenced by S1\nPRIORITY=5\nSYSLOG_IDENTIFIER=leash-noded\nCODE_FILE="),
		sent);
	ck_assert_ptr_nonnull(strstr(sent, "test_diag.c\n"));
	ck_assert_ptr_nonnull(strstr(sent, place));
	ck_assert_ptr_nonnull(
		strstr(sent, "\nMESSAGE_ID=0123456789abcdef0123456789abcdef\nLEASH_EPOCH=7\nLEASH_BY=S1\n"
			     "LEASH_ENGINE=engine\nLEASH_NODE=P1\n"));
	ck_assert_ptr_null(strstr(sent, "P0"));
}
END_TEST

START_TEST(journal_bounds_number_and_length_of_fields)
{
	struct diag_field fields[DIAG_FIELDS_MAX + 5];
	char big[3000];

	memset(big, 'v', sizeof big);
	big[sizeof big - 1] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		fields[i] = (struct diag_field){ "LEASH_X", i == 3 ? big : "1" };
	diag_set_journal(fake_send);
	diag_init("x", DIAG_TARGET_JOURNAL, LOG_INFO);
	for (int i = 0; i < DIAG_COMMON_MAX; i++)
		diag_set_common((const char *[]){ "A", "B", "C", "D", "E", "F", "G", "H" }[i], "1");
	diag_event(LOG_INFO, "0123456789abcdef0123456789abcdef", fields, ARRAY_SIZE(fields), "m");
	ck_assert_uint_lt(strlen(sent), 1500);
	ck_assert_ptr_nonnull(strstr(sent, "\nH=1\n"));
}
END_TEST

START_TEST(what_the_journal_does_not_take_goes_to_stderr)
{
	catch_stderr();
	send_result = -ENOENT;
	diag_set_journal(fake_send);
	diag_init("x", DIAG_TARGET_JOURNAL, LOG_INFO);
	errno = 99;
	diag(LOG_ERR, "still seen");
	ck_assert_int_eq(errno, 99);
	ck_assert_str_eq(caught(), "x: error: still seen\n");
}
END_TEST

START_TEST(limit_lets_a_burst_pass_and_counts_the_rest)
{
	struct diag_limit l = DIAG_LIMIT(3, 10 * NS_PER_S);
	uint64_t now = 1000 * NS_PER_S, dropped = 99;

	for (int i = 0; i < 3; i++) {
		ck_assert(diag_limit_pass(&l, now, &dropped));
		ck_assert_uint_eq(dropped, 0);
	}
	for (int i = 0; i < 5; i++)
		ck_assert(!diag_limit_pass(&l, now + 10 * NS_PER_S - 1, &dropped));
	ck_assert(diag_limit_pass(&l, now + 10 * NS_PER_S, &dropped));
	ck_assert_uint_eq(dropped, 5);
	ck_assert(diag_limit_pass(&l, now + 10 * NS_PER_S, &dropped));
	ck_assert_uint_eq(dropped, 0);
}
END_TEST

START_TEST(limited_messages_say_how_many_were_dropped)
{
	struct diag_limit l = DIAG_LIMIT(1, 3600 * NS_PER_S);

	catch_stderr();
	diag_init("x", DIAG_TARGET_STDERR, LOG_INFO);
	for (int i = 0; i < 4; i++)
		diag_limited(&l, LOG_WARNING, "again %d", i);
	ck_assert_str_eq(caught(), "x: warning: again 0\n");
	l.interval_ns = 0; /* the hour is over */
	diag_limited(&l, LOG_WARNING, "again %d", 4);
	ck_assert_str_eq(caught(), "x: warning: (3 like this were dropped) again 4\n");
}
END_TEST

static void *writer(void *arg)
{
	for (int i = 0; i < 200; i++)
		diag(LOG_INFO, "%s", (const char *)arg);
	return NULL;
}

START_TEST(lines_of_threads_do_not_mix)
{
	static const char *const texts[] = { "aaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbb",
		"cccccccccccccccccccc" };
	pthread_t t[ARRAY_SIZE(texts)];
	int lines = 0, fds[2];
	FILE *in;
	char line[100];

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_ge(dup2(fds[1], STDERR_FILENO), 0);
	ck_assert_int_eq(unsetenv("JOURNAL_STREAM"), 0);
	diag_init("x", DIAG_TARGET_STDERR, LOG_INFO);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, writer, (void *)texts[i]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		ck_assert_int_eq(pthread_join(t[i], NULL), 0);
	(void)close(fds[1]);
	(void)close(STDERR_FILENO);
	in = fdopen(fds[0], "r");
	ck_assert_ptr_nonnull(in);
	while (fgets(line, sizeof line, in)) {
		ck_assert_uint_eq(strspn(line + 9, (char[]){ line[9], '\0' }), 20);
		lines++;
	}
	ck_assert_int_eq(lines, 600);
	(void)fclose(in);
}
END_TEST

START_TEST(words_for_target_and_level)
{
	enum diag_target t = DIAG_TARGET_AUTO;
	int level = -1;

	ck_assert(diag_target_parse("journal", &t) && t == DIAG_TARGET_JOURNAL);
	ck_assert(diag_target_parse("stderr", &t) && t == DIAG_TARGET_STDERR);
	ck_assert(diag_target_parse("auto", &t) && t == DIAG_TARGET_AUTO);
	ck_assert(!diag_target_parse("syslog", &t));
	ck_assert(diag_level_parse("error", &level) && level == LOG_ERR);
	ck_assert(diag_level_parse("err", &level) && level == LOG_ERR);
	ck_assert(diag_level_parse("7", &level) && level == LOG_DEBUG);
	ck_assert(!diag_level_parse("8", &level));
	ck_assert(!diag_level_parse("", &level));
	ck_assert(!diag_level_parse("INFO", &level));
}
END_TEST

UNIT_MAIN("diag", tcase_add_test(tc, plain_lines_with_name_and_level);
	  tcase_add_test(tc, levels_above_the_bound_are_dropped);
	  tcase_add_test(tc, journal_stream_gets_level_prefix);
	  tcase_add_test(tc, bytes_from_outside_cannot_forge_lines); tcase_add_test(tc, escaping_knows_utf8);
	  tcase_add_test(tc, escaping_is_bounded_at_every_size);
	  tcase_add_test(tc, long_messages_are_cut_and_say_so); tcase_add_test(tc, journal_gets_all_fields);
	  tcase_add_test(tc, journal_bounds_number_and_length_of_fields);
	  tcase_add_test(tc, what_the_journal_does_not_take_goes_to_stderr);
	  tcase_add_test(tc, limit_lets_a_burst_pass_and_counts_the_rest);
	  tcase_add_test(tc, limited_messages_say_how_many_were_dropped);
	  tcase_add_test(tc, lines_of_threads_do_not_mix); tcase_add_test(tc, words_for_target_and_level))
