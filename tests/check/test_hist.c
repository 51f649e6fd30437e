/* Hand-made histories, good and bad: each rule holds, and is seen broken. Times are small numbers here. */
#include "tests/check/hist_text.h"

#include <errno.h>

#include "tests/unit/unit.h"

#define FILES_MAX 3

struct story {
	const char *what;
	enum hist_rule rule;
	const char *clients[FILES_MAX], *logs[FILES_MAX];
	bool foreign;
	uint64_t window;
};

#define A_GW "client a\nconn 1 gw\n"
#define B_GW "client b\nconn 1 gw\n"
#define R_GW "client r\nconn 1 gw\n"
#define LOG3 "[a/1] 1 one\n[a/2] 2 two\n[a/3] 3 three\n"
#define SENT3 A_GW "append 1 10 1 [a/1] one\nok 1 20 1\nappend 2 30 1 [a/2] two\nok 2 40 2\nappend 3 50 1 [a/3] three\nok 3 60 3\n"
#define LATE3 "[a/2] 2 two\n[a/3] 3 three\n" /* retention removed 1 */

static const struct story stories[] = {
	{ "nothing at all", HIST_HOLDS, { "" }, { "" } },
	{ "three records, two logs", HIST_HOLDS, { SENT3 }, { LOG3, LOG3 } },
	{ "comments, empty lines, a line without its end", HIST_HOLDS, { "# x\n\n" SENT3 "append 4 70 1 [a/4" }, { LOG3 } },
	{ "retention", HIST_HOLDS, { SENT3 }, { LATE3, LOG3 } },

	{ "a gap in a log", HIST_LOG_GAP, { SENT3 }, { "[a/1] 1 one\n[a/3] 3 three\n" } },
	{ "a log that goes back", HIST_LOG_GAP, { SENT3 }, { LOG3 "[a/3] 3 three\n" } },
	{ "logs with different ids", HIST_LOGS_DIFFER, { SENT3 }, { LOG3, "[a/1] 1 one\n[a/9] 2 two\n[a/3] 3 three\n" } },
	{ "logs with different values", HIST_LOGS_DIFFER, { SENT3 }, { LOG3, "[a/1] 1 one\n[a/2] 2 zwei\n[a/3] 3 three\n" } },

	{ "an id twice", HIST_TWICE, { SENT3 }, { LOG3 "[a/1] 4 one\n" } },
	{ "a value without id twice", HIST_TWICE, { A_GW "append 1 10 1 [] one\nok 1 20 1\n" }, { "[s/1] 1 one\n[s/2] 2 one\n" } },
	{ "a foreign id twice", HIST_TWICE, { "" }, { "[x/1] 1 one\n[x/1] 2 one\n" }, .foreign = true },
	{ "an id within the window, twice", HIST_TWICE, { SENT3 }, { LOG3 "[a/1] 4 one\n" }, .window = 3 },
	{ "an id behind the window, again", HIST_HOLDS,
		{ A_GW "append 1 10 1 [a/1] one\nok 1 20 1\nappend 2 30 1 [a/2] two\nappend 3 50 1 [a/3] three\nappend 4 60 1 [a/1] one\nok 4 70 4\n" },
		{ LOG3 "[a/1] 4 one\n" }, .window = 2 },
	{ "of which the first is gone", HIST_HOLDS,
		{ A_GW "append 1 10 1 [a/1] one\nok 1 20 1\nappend 2 30 1 [a/2] two\nappend 3 50 1 [a/3] three\nappend 4 60 1 [a/1] one\nok 4 70 4\n" },
		{ LATE3 "[a/1] 4 one\n" }, .window = 2 },
	{ "an answer with another's place, all the same", HIST_MISPLACED,
		{ A_GW "append 1 10 1 [a/1] one\nok 1 20 2\nappend 2 10 1 [a/2] two\nappend 3 10 1 [a/3] three\nappend 4 60 1 [a/1] one\nok 4 70 4\n" },
		{ LOG3 "[a/1] 4 one\n" }, .window = 2 },
	{ "foreign", HIST_FOREIGN, { A_GW }, { "[x/1] 1 one\n" } },
	{ "foreign, allowed", HIST_HOLDS, { A_GW }, { "[x/1] 1 one\n" }, .foreign = true },
	{ "another value", HIST_ALTERED, { A_GW "append 1 10 1 [a/1] one\n" }, { "[a/1] 1 eins\n" } },
	{ "a value from another attempt", HIST_ALTERED,
		{ A_GW "append 1 10 1 [a/1] one\nappend 2 12 1 [a/1] eins\nok 1 20 1\n" }, { "[a/1] 1 eins\n" } },

	{ "refused and there", HIST_REFUSED, { A_GW "append 1 10 1 [a/1] one\nrefused 1 20\n" }, { "[a/1] 1 one\n" } },
	{ "refused and not there", HIST_HOLDS, { A_GW "append 1 10 1 [a/1] one\nrefused 1 20\n" }, { "" } },
	{ "refused, then sent again", HIST_HOLDS,
		{ A_GW "append 1 10 1 [a/1] one\nrefused 1 20\nappend 2 30 1 [a/1] one\n" }, { "[a/1] 1 one\n" } },
	{ "unknown and there", HIST_HOLDS, { A_GW "append 1 10 1 [a/1] one\nunknown 1 20\n" }, { "[a/1] 1 one\n" } },
	{ "unknown and not there", HIST_HOLDS, { A_GW "append 1 10 1 [a/1] one\nunknown 1 20\n" }, { "" } },
	{ "the value of a conflict got in", HIST_REFUSED,
		{ A_GW "append 1 10 1 [a/1] one\nappend 2 12 1 [a/1] eins\nconflict 2 20 0\n" }, { "[a/1] 1 eins\n" } },

	{ "acknowledged and missing", HIST_MISSING, { SENT3 }, { "[a/1] 1 one\n[a/2] 2 two\n" } },
	{ "missing in one log", HIST_MISSING, { SENT3 }, { LOG3, "[a/1] 1 one\n" } },
	{ "missing in an empty log", HIST_MISSING, { SENT3 }, { LOG3, "" } },
	{ "read and missing", HIST_MISSING,
		{ A_GW "append 1 10 1 [a/1] one\n", R_GW "read 1 20 1 1 0 0\nshows 1 1 one\nend 1 30\n" }, { "" } },
	{ "counted and missing", HIST_MISSING, { SENT3, R_GW "length 1 70 1\nis 1 80 4\n" }, { LOG3 } },

	{ "answered with the wrong place", HIST_MISPLACED, { A_GW "append 1 10 1 [a/1] one\nok 1 20 2\nappend 2 10 1 [a/2] two\n" },
		{ "[a/1] 1 one\n[a/2] 2 two\n" } },
	{ "a retry with another place", HIST_MISPLACED,
		{ A_GW "append 1 10 1 [a/1] one\nappend 2 11 1 [a/2] two\nappend 3 12 1 [a/1] one\nok 1 20 1\nok 3 30 2\n" },
		{ "[a/1] 1 one\n[a/2] 2 two\n" } },
	{ "a retry with the same place", HIST_HOLDS,
		{ A_GW "append 1 10 1 [a/1] one\nappend 2 11 1 [a/2] two\nappend 3 12 1 [a/1] one\nok 1 20 1\nok 3 30 1\n" },
		{ "[a/1] 1 one\n[a/2] 2 two\n" } },
	{ "two for one place", HIST_MISPLACED, { A_GW "append 1 10 1 [a/1] one\nappend 2 10 1 [a/2] two\nok 1 20 1\nok 2 21 1\n" },
		{ "[a/1] 1 one\n[a/2] 2 two\n" } },
	{ "two for one place that is gone", HIST_MISPLACED,
		{ A_GW "append 1 10 1 [a/0] one\nappend 2 10 1 [a/1] one\nok 1 20 1\nok 2 21 1\nappend 3 30 1 [a/2] two\nappend 4 31 1 [a/3] "
		       "three\n" }, { LATE3 } },
	{ "a retry with another place, both gone", HIST_MISPLACED,
		{ A_GW "append 1 10 1 [a/1] one\nappend 2 12 1 [a/1] one\nok 1 20 1\nok 2 21 2\n" }, { "[a/3] 3 three\n" }, .foreign = true },
	{ "a conflict", HIST_HOLDS, { A_GW "append 1 10 1 [a/1] one\nok 1 20 1\nappend 2 30 1 [a/1] eins\nconflict 2 40 1\n" },
		{ "[a/1] 1 one\n" } },
	{ "a conflict that is none", HIST_MISPLACED,
		{ A_GW "append 1 10 1 [a/1] one\nok 1 20 1\nappend 2 30 1 [a/1] one\nconflict 2 40 1\n" }, { "[a/1] 1 one\n" } },

	{ "answered before the other was sent, but behind it", HIST_REAL_TIME,
		{ A_GW "append 1 10 1 [a/1] one\nok 1 20 2\n", B_GW "append 1 30 1 [b/1] two\nok 1 40 1\n" },
		{ "[b/1] 1 two\n[a/1] 2 one\n" } },
	{ "they overlap", HIST_HOLDS, { A_GW "append 1 10 1 [a/1] one\nok 1 30 2\n", B_GW "append 1 30 1 [b/1] two\nok 1 40 1\n" },
		{ "[b/1] 1 two\n[a/1] 2 one\n" } },
	{ "the later one was never answered", HIST_REAL_TIME,
		{ A_GW "append 1 10 1 [a/1] one\nok 1 20 2\n", B_GW "append 1 30 1 [b/1] two\n" }, { "[b/1] 1 two\n[a/1] 2 one\n" } },
	{ "the later one was sent before, too", HIST_HOLDS,
		{ A_GW "append 1 10 1 [a/1] one\nok 1 20 2\n", B_GW "append 1 15 1 [b/1] two\nappend 2 30 1 [b/1] two\nok 2 40 1\n" },
		{ "[b/1] 1 two\n[a/1] 2 one\n" } },
	{ "across many", HIST_REAL_TIME,
		{ A_GW "append 1 10 1 [a/1] one\nappend 2 10 1 [a/2] two\nappend 3 10 1 [a/3] three\nok 3 20 4\n",
			B_GW "append 1 30 1 [b/1] x\n" }, { "[b/1] 1 x\n[a/1] 2 one\n[a/2] 3 two\n[a/3] 4 three\n" } },
	{ "read before it was sent", HIST_REAL_TIME,
		{ A_GW "append 1 40 1 [a/1] one\nok 1 50 1\n", R_GW "read 1 20 1 1 0 0\nshows 1 1 one\nend 1 30\n" }, { "[a/1] 1 one\n" } },
	{ "sent after a reader saw what is behind it", HIST_REAL_TIME,
		{ A_GW "append 1 10 1 [a/1] one\n", B_GW "append 1 40 1 [b/1] two\n", R_GW "read 1 20 1 2 0 0\nshows 1 2 one\nend 1 30\n" },
		{ "[b/1] 1 two\n[a/1] 2 one\n" } },
	{ "counted before it was sent", HIST_REAL_TIME,
		{ A_GW "append 1 40 1 [a/1] one\nok 1 50 1\n", R_GW "length 1 20 1\nis 1 30 1\n" }, { "[a/1] 1 one\n" } },

	{ "one connection, out of order", HIST_CONNECTION_ORDER, { A_GW "append 1 10 1 [a/1] one\nappend 2 11 1 [a/2] two\nok 1 20 2\n" },
		{ "[a/2] 1 two\n[a/1] 2 one\n" } },
	{ "two connections, any order", HIST_HOLDS,
		{ A_GW "conn 2 gw\nappend 1 10 1 [a/1] one\nappend 2 11 2 [a/2] two\n" }, { "[a/2] 1 two\n[a/1] 2 one\n" } },
	{ "refused and sent again: a new place in the order", HIST_HOLDS,
		{ A_GW "append 1 10 1 [a/1] one\nappend 2 11 1 [a/2] two\nrefused 1 15\nappend 3 16 1 [a/1] one\n" },
		{ "[a/2] 1 two\n[a/1] 2 one\n" } },
	{ "but not for a client in order", HIST_CLIENT_ORDER,
		{ "client a in-order\nconn 1 gw\nconn 2\nappend 1 10 1 [a/1] one\nappend 2 11 1 [a/2] two\nappend 3 16 2 [a/1] one\n"
		  "append 4 17 2 [a/2] two\n" }, { "[a/2] 1 two\n[a/1] 2 one\n" } },

	{ "reads, whole and in parts", HIST_HOLDS,
		{ SENT3, R_GW "read 1 70 1 1 0 0\nshows 1 1 one\nshows 1 2 two\nshows 1 3 three\nend 1 80\nread 2 81 1 2 2 9\nshows 2 2 two\n"
			      "end 2 82\nread 3 83 1 1 0 1\nshows 3 1 one\nend 3 84\nread 4 85 1 4 0 0\nend 4 86\nlength 5 87 1\nis 5 88 3\n" },
		{ LOG3 } },
	{ "a read with a gap", HIST_READ_GAP, { SENT3, R_GW "read 1 70 1 1 0 0\nshows 1 1 one\nshows 1 3 three\nend 1 80\n" }, { LOG3 } },
	{ "a read that begins late", HIST_READ_GAP, { SENT3, R_GW "read 1 70 1 1 0 0\nshows 1 2 two\nshows 1 3 three\nend 1 80\n" },
		{ LOG3 } },
	{ "where the log does, too", HIST_HOLDS, { SENT3, R_GW "read 1 70 1 1 0 0\nshows 1 2 two\nshows 1 3 three\nend 1 80\n" },
		{ LATE3 } },
	{ "more than asked for", HIST_READ_ORDER, { SENT3, R_GW "read 1 70 1 1 0 1\nshows 1 1 one\nshows 1 2 two\nend 1 80\n" }, { LOG3 } },
	{ "beyond what was asked for", HIST_READ_ORDER, { SENT3, R_GW "read 1 70 1 1 1 0\nshows 1 1 one\nshows 1 2 two\nend 1 80\n" },
		{ LOG3 } },
	{ "before what was asked for", HIST_READ_ORDER, { SENT3, R_GW "read 1 70 1 2 0 1\nshows 1 1 one\nend 1 80\n" }, { LOG3 } },
	{ "a read of something else", HIST_LOGS_DIFFER, { SENT3, R_GW "read 1 70 1 2 2 0\nshows 1 2 twa\nend 1 80\n" }, { LOG3 } },
	{ "without an end, too", HIST_LOGS_DIFFER, { SENT3, R_GW "read 1 70 1 2 2 0\nshows 1 2 twa\n" }, { LOG3 } },
	{ "two readers of what is gone", HIST_LOGS_DIFFER,
		{ SENT3, R_GW "read 1 70 1 1 1 0\nshows 1 1 one\nend 1 80\nread 2 81 1 1 1 0\nshows 2 1 eins\nend 2 82\n" }, { LATE3 } },

	{ "a read hides what the same endpoint acknowledged", HIST_STALE,
		{ SENT3, R_GW "read 1 70 1 1 0 0\nshows 1 1 one\nshows 1 2 two\nend 1 80\n" }, { LOG3 } },
	{ "it began before", HIST_HOLDS, { SENT3, R_GW "read 1 60 1 1 0 0\nshows 1 1 one\nshows 1 2 two\nend 1 80\n" }, { LOG3 } },
	{ "another endpoint", HIST_HOLDS,
		{ SENT3, "client r\nconn 1 S1\nread 1 70 1 1 0 0\nshows 1 1 one\nshows 1 2 two\nend 1 80\n" }, { LOG3 } },
	{ "a full read hides nothing", HIST_HOLDS, { SENT3, R_GW "read 1 70 1 1 0 2\nshows 1 1 one\nshows 1 2 two\nend 1 80\n" }, { LOG3 } },
	{ "nothing, although there was something", HIST_STALE, { SENT3, R_GW "read 1 70 1 3 0 0\nend 1 80\n" }, { LOG3 } },
	{ "nothing below what was removed", HIST_HOLDS, { SENT3, R_GW "read 1 70 1 1 1 0\nend 1 80\n" }, { LATE3 } },
	{ "a count that hides", HIST_STALE, { SENT3, R_GW "length 1 70 1\nis 1 80 2\n" }, { LOG3 } },
	{ "a blocking read that ended with nothing says nothing", HIST_HOLDS, { SENT3, R_GW "read 1 70 1 3 0 0\n" }, { LOG3 } },
	{ "back behind what it had shown", HIST_STALE,
		{ SENT3, "client r\nconn 1 S1\nread 1 70 1 2 0 0\nshows 1 2 two\nshows 1 3 three\nend 1 80\nlength 2 81 1\nis 2 82 2\n" },
		{ LOG3 } },
	{ "to somebody else", HIST_STALE,
		{ SENT3, "client r\nconn 1 S1\nread 1 70 1 2 0 0\nshows 1 2 two\nshows 1 3 three\nend 1 80\n",
			"client q\nconn 1 S1\nlength 1 81 1\nis 1 82 2\n" }, { LOG3 } },
	{ "in another life", HIST_HOLDS,
		{ SENT3, "client r\nconn 1 S1.1\nconn 2 S1.2\nread 1 70 1 2 0 0\nshows 1 2 two\nshows 1 3 three\nend 1 80\nlength 2 81 2\n"
			 "is 2 82 2\n" }, { LOG3 } },
	{ "one connection to nobody knows whom", HIST_STALE,
		{ SENT3, "client r\nconn 1\nread 1 70 1 3 0 0\nshows 1 3 three\nend 1 80\nlength 2 81 1\nis 2 82 2\n" }, { LOG3 } },
	{ "two of them", HIST_HOLDS,
		{ SENT3, "client r\nconn 1\nconn 2\nread 1 70 1 3 0 0\nshows 1 3 three\nend 1 80\nlength 2 81 2\nis 2 82 2\n" }, { LOG3 } },
};

static int load(struct hist *h, const char *text, bool log, char why[HIST_TEXT_WHY])
{
	FILE *in = fmemopen((char *)(uintptr_t)(text[0] ? text : "\n"), text[0] ? strlen(text) : 1, "r");
	int r;

	ck_assert_ptr_nonnull(in);
	if (log && !text[0])
		(void)fgetc(in);
	r = log ? hist_text_load_log(h, in, "L", why) : hist_text_load(h, in, why);
	(void)fclose(in);
	return r;
}

static void tell(const struct story *s, bool logs_first, struct hist_verdict *ret)
{
	struct hist *h = hist_new();
	char why[HIST_TEXT_WHY] = "";

	if (s->foreign)
		hist_allow_foreign(h);
	hist_window(h, s->window);
	for (int pass = 0; pass < 2; pass++)
		for (int i = 0; i < FILES_MAX; i++) {
			bool log = (pass == 0) == logs_first;
			const char *text = log ? s->logs[i] : s->clients[i];

			ck_assert_msg(!text || load(h, text, log, why) == 0, "%s: %s", s->what, why);
		}
	ck_assert(hist_check(h, ret) == (ret->broken == HIST_HOLDS));
	hist_free(h);
}

START_TEST(stories_end_as_they_must)
{
	const struct story *s = &stories[_i];
	struct hist_verdict v;

	for (int first = 0; first < 2; first++) {
		tell(s, first, &v);
		ck_assert_msg(v.broken == s->rule, "%s: %s, not %s: %s", s->what, hist_rule_name(v.broken), hist_rule_name(s->rule),
			v.text);
		ck_assert_int_eq(v.text[0] == '\0', s->rule == HIST_HOLDS);
	}
}
END_TEST

START_TEST(the_pair_and_the_counts)
{
	static const struct story pair = { "pair", HIST_REAL_TIME,
		{ A_GW "append 1 10 1 [a/1] one\nok 1 20 2\n", B_GW "append 1 30 1 [b/1] two\nok 1 40 1\n" },
		{ "[b/1] 1 two\n[a/1] 2 one\n" } };
	static const struct story counts = { "counts", HIST_HOLDS,
		{ A_GW "append 1 10 1 [a/1] one\nrefused 1 20\nappend 2 30 1 [a/1] one\nunknown 2 40\nappend 3 41 1 [a/1] one\nok 3 50 1\n"
		       "length 4 60 1\nis 4 61 1\nread 5 62 1 1 0 0\nshows 5 1 one\nend 5 63\nread 6 64 1 2 0 0\n" }, { "[a/1] 1 one\n" } };
	struct hist_verdict v;

	tell(&pair, false, &v);
	ck_assert_str_eq(v.text, "b/1 is at 1, but was first sent at 30 ns (b), after a/1 had been answered with 2 at 20 ns (a)");
	tell(&counts, false, &v);
	ck_assert_uint_eq(v.operations, 1);
	ck_assert_uint_eq(v.attempts, 3);
	ck_assert_uint_eq(v.acknowledged, 1);
	ck_assert_uint_eq(v.refused, 1);
	ck_assert_uint_eq(v.unknown, 1);
	ck_assert_uint_eq(v.reads, 2);
	ck_assert_uint_eq(v.shown, 1);
	ck_assert_uint_eq(v.logs, 1);
	ck_assert_uint_eq(v.records, 1);
}
END_TEST

static const char *const nonsense[] = {
	"conn 1 gw\n", "client\n", "client a b\n", "client a\nclient a\n", "client a in-order x\n",
	A_GW "conn 3 gw\n", A_GW "conn x\n", A_GW "what 1\n", A_GW "append 2 10 1 [a/1] one\n",
	A_GW "append 1 10 2 [a/1] one\n", A_GW "append 1 10 1 a/1 one\n", A_GW "append 1 10 1 [a/1 one\n",
	A_GW "append 1 -10 1 [a/1] one\n", A_GW "append 1 99999999999999999999 1 [a/1] one\n",
	A_GW "append 1 10 1 [] one\nappend 2 11 1 [] one\n", A_GW "append 1 10 1 [a/1] one\nok 1 9 1\n",
	A_GW "append 1 10 1 [a/1] one\nok 1 20 0\n", A_GW "append 1 10 1 [a/1] one\nok 1 20 99999999999\n",
	A_GW "append 1 10 1 [a/1] one\nok 1 20 1\nok 1 21 1\n", A_GW "append 1 10 1 [a/1] one\nok 1 20 1 7\n",
	A_GW "append 1 10 1 [a/1] one\nend 1 20\n", A_GW "read 1 10 1 1 0\n", A_GW "read 1 10 1 1 0 0\nok 1 20 1\n",
	A_GW "read 1 10 1 1 0 0\nis 1 20 1\n", A_GW "read 1 10 1 1 0 0\nend 1 20\nend 1 20\n",
	A_GW "read 1 10 1 1 0 0\nend 1 20\nshows 1 1 one\n", A_GW "length 1 10 1\nend 1 20\n",
	A_GW "read 1 10 1 1 0 0\nread 2 10 1 1 0 0\nshows 1 1 a\nshows 2 1 a\nshows 1 2 b\n",
};

START_TEST(what_makes_no_sense_is_refused)
{
	struct hist *h = hist_new();
	char why[HIST_TEXT_WHY] = "";

	ck_assert_msg(load(h, nonsense[_i], false, why) == -EINVAL, "\"%s\" is taken", nonsense[_i]);
	ck_assert_ptr_nonnull(strstr(why, "line "));
	hist_free(h);
}
END_TEST

START_TEST(bad_lines_of_logs)
{
	static const char *const bad[] = { "a/1 1 one\n", "[a/1 1 one\n", "[a/1] x one\n", "[a/1] 0 one\n", "\n\n" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct hist *h = hist_new();
		char why[HIST_TEXT_WHY] = "";

		ck_assert_msg(load(h, bad[i], true, why) == -EINVAL, "\"%s\" is taken", bad[i]);
		hist_free(h);
	}
}
END_TEST

/* Random correct histories hold; with two answers exchanged they do not. */
static uint64_t next(uint64_t *x)
{
	*x = *x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *x >> 33;
}

static void random_history(uint64_t seed, bool swap, struct hist_verdict *ret)
{
	enum { N = 500, LANES = 7 };
	struct hist *h = hist_new();
	uint64_t x = seed, now = 0, pos = 0;
	uint32_t open[LANES], conns[LANES], name[LANES], log = hist_log(h, "L"), n = 0;
	bool is_open[LANES] = { false };
	char id[32];

	for (int i = 0; i < LANES; i++)
		conns[i] = hist_conn(h, hist_client(h, "c", HIST_IN_ORDER), i % 2 ? "one" : "other");
	while (n < N || pos < N) {
		int i = (int)(next(&x) % LANES);

		now += 1 + next(&x) % 5;
		if (!is_open[i] && n < N) {
			(void)snprintf(id, sizeof id, "%u", name[i] = n++);
			ck_assert_int_eq(hist_append(h, conns[i], now, id, id, &open[i]), 0);
			is_open[i] = true;
		} else if (is_open[i]) {
			uint64_t told = ++pos;

			if (swap && (pos == 250 || pos == 251))
				told = 501 - pos;
			(void)snprintf(id, sizeof id, "%u", name[i]);
			ck_assert_int_eq(hist_record(h, log, pos, id, id), 0);
			ck_assert_int_eq(hist_ok(h, open[i], now, told), 0);
			is_open[i] = false;
		}
		if (next(&x) % 3 == 0) {
			uint32_t r = hist_length(h, conns[i], now);

			ck_assert_int_eq(hist_is(h, r, now, pos), 0);
		}
	}
	(void)hist_check(h, ret);
	hist_free(h);
}

START_TEST(random_histories)
{
	struct hist_verdict v;

	random_history((uint64_t)_i, false, &v);
	ck_assert_msg(v.broken == HIST_HOLDS, "%s: %s", hist_rule_name(v.broken), v.text);
	ck_assert_uint_eq(v.acknowledged, 500);
	random_history((uint64_t)_i, true, &v);
	ck_assert_int_eq(v.broken, HIST_MISPLACED);
}
END_TEST

UNIT_MAIN("hist", tcase_add_loop_test(tc, stories_end_as_they_must, 0, ARRAY_SIZE(stories));
	tcase_add_test(tc, the_pair_and_the_counts);
	tcase_add_loop_test(tc, what_makes_no_sense_is_refused, 0, ARRAY_SIZE(nonsense));
	tcase_add_test(tc, bad_lines_of_logs);
	tcase_add_loop_test(tc, random_histories, 1, 50))
