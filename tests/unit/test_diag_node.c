/* What operators read about a node: whole sentences that say who did what, with their fields; what repeats is bounded. */
#include "node/diag_node.h"

#include <stdio.h>

#include "base/diag.h"
#include "unit.h"

#define KINDS (REP_NOTE_VIOLATION + 1)

static char message[2048], fields[4096], priority[16], message_id[64];
static unsigned n_sent;

static void take(char *to, size_t size, const struct iovec *v, const char *key)
{
	size_t n = strlen(key);

	if (v->iov_len > n && strncmp(v->iov_base, key, n) == 0)
		(void)snprintf(to, size, "%.*s", (int)(v->iov_len - n), (const char *)v->iov_base + n);
}

static int catch(const struct iovec *iov, int n)
{
	fields[0] = '\0';
	for (int i = 0; i < n; i++) {
		take(message, sizeof message, &iov[i], "MESSAGE=");
		take(priority, sizeof priority, &iov[i], "PRIORITY=");
		take(message_id, sizeof message_id, &iov[i], "MESSAGE_ID=");
		strncat(fields, iov[i].iov_base, iov[i].iov_len);
		strcat(fields, "\n");
	}
	n_sent++;
	return 0;
}

static void setup(void)
{
	diag_set_journal(catch);
	diag_init("leash-noded", DIAG_TARGET_JOURNAL, LOG_INFO);
	n_sent = 0;
}

static const struct rep_insync set = { .present = true, .min_insync = 2, .n_members = 3,
	.members = { { .node = "P1" }, { .node = "S1" }, { .node = "S2" } } };

static const char *said(enum rep_note_kind kind, const char *node, const char *text)
{
	struct rep_note n = { .kind = kind, .epoch = 7, .seq = 4026, .text = text };

	message[0] = '\0';
	(void)snprintf(n.node, sizeof n.node, "%s", node);
	diag_note(&n, "S2", &set);
	return message;
}

START_TEST(sentences_say_who_did_what)
{
	static const struct {
		enum rep_note_kind kind;
		const char *node, *text, *want;
	} table[] = {
		{ REP_NOTE_PRIMARY, "P1", NULL,
		  "S2 became primary in epoch 7, after P1, with a log up to record 4026; in sync: P1, S1, S2" },
		{ REP_NOTE_PRIMARY, "", NULL,
		  "S2 became primary in epoch 7, with a log up to record 4026; in sync: P1, S1, S2" },
		{ REP_NOTE_SUSPECT, "P1", "it has been silent for failure_timeout",
		  "leadership change required after P1 (epoch 7): it has been silent for failure_timeout" },
		{ REP_NOTE_SUSPECT, "", "nobody leads", "leadership change required (epoch 7): nobody leads" },
		{ REP_NOTE_DEPOSED, "P1", NULL, "S2 stepped down: P1 leads in epoch 7" },
		{ REP_NOTE_DEPOSED, "", NULL, "S2 stepped down" },
		{ REP_NOTE_CONFIRMED, "", NULL, "S2 renewed its lead after trouble: it is still primary of epoch 7" },
		{ REP_NOTE_CAUGHT_UP, "P1", NULL,
		  "P1 caught up at record 4026 and is required for every record from now on" },
		{ REP_NOTE_INSYNC_ADD, "P1", NULL, "P1 joined the in-sync set, which is now P1, S1, S2" },
		{ REP_NOTE_INSYNC_REMOVE, "S3", "connection refused",
		  "S3 left the in-sync set (connection refused), which is now P1, S1, S2" },
		{ REP_NOTE_INSYNC_REMOVE, "S3", NULL, "S3 left the in-sync set, which is now P1, S1, S2" },
		{ REP_NOTE_BELOW_MIN, "", NULL,
		  "fewer than min_insync (2) nodes in sync answer: messages wait and are not acknowledged" },
		{ REP_NOTE_HANDOVER_FAILED, "", "no other node is in sync", "there is no hand-over: no other node is in sync" },
		{ REP_NOTE_MISCONFIGURED, "", "min_insync",
		  "min_insync of S2 is not what the cluster was founded with, which is 4026 and cannot be changed" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		ck_assert_str_eq(said(table[i].kind, table[i].node, table[i].text), table[i].want);
}
END_TEST

START_TEST(every_kind_has_a_sentence_and_an_id)
{
	char ids[KINDS][64];

	for (int kind = 0; kind < KINDS; kind++) {
		const char *text = said((enum rep_note_kind)kind, "P1", "why");

		ck_assert_msg(strlen(text) > 10 && !strchr(text, '$'), "%d: \"%s\"", kind, text);
		ck_assert_msg(!strchr(said((enum rep_note_kind)kind, "", NULL), '$'), "%d: \"%s\"", kind, message);
		ck_assert_uint_eq(strlen(message_id), 32);
		for (int i = 0; i < kind; i++)
			ck_assert_str_ne(ids[i], message_id);
		memcpy(ids[kind], message_id, sizeof ids[kind]);
	}
}
END_TEST

START_TEST(fields_come_with_it)
{
	(void)said(REP_NOTE_INSYNC_REMOVE, "S3", "connection refused");
	ck_assert_str_eq(priority, "4");
	ck_assert_ptr_nonnull(strstr(fields, "\nLEASH_EPOCH=7\nLEASH_SEQ=4026\nLEASH_PEER=S3\nLEASH_REASON=connection refused\n"
					     "LEASH_MEMBERS=P1, S1, S2\n"));
}
END_TEST

START_TEST(what_repeats_is_bounded_and_hides_nothing_else)
{
	for (int i = 0; i < 1000; i++)
		(void)said(REP_NOTE_VIOLATION, "P1", "why");
	ck_assert_uint_ge(n_sent, 1);
	ck_assert_uint_le(n_sent, 100);
	ck_assert_ptr_nonnull(strstr(said(REP_NOTE_PRIMARY, "P1", NULL), "became primary"));
}
END_TEST

START_TEST(etcd_that_comes_and_goes_is_told_of_now_and_then)
{
	for (int i = 0; i < 1000; i++) {
		diag_etcd_away("connection refused");
		diag_etcd_back();
	}
	ck_assert_uint_ge(n_sent, 2);
	ck_assert_uint_le(n_sent, 100);
	ck_assert_uint_eq(n_sent % 2, 0); /* none is told to be back that was not told to be away */
}
END_TEST

START_TEST(long_names_are_cut_not_overrun)
{
	struct rep_insync big = set;
	struct rep_note n = { .kind = REP_NOTE_INSYNC_ADD };

	big.n_members = REP_NODES_MAX;
	for (uint32_t i = 0; i < big.n_members; i++)
		memset(big.members[i].node, 'a', LEASH_NAME_MAX);
	memset(n.node, 'b', LEASH_NAME_MAX);
	diag_note(&n, "S2", &big);
	ck_assert_ptr_nonnull(strstr(message, "joined the in-sync set"));
}
END_TEST

UNIT_MAIN("diag_node", tcase_add_checked_fixture(tc, setup, NULL); tcase_add_test(tc, sentences_say_who_did_what);
	tcase_add_test(tc, every_kind_has_a_sentence_and_an_id); tcase_add_test(tc, fields_come_with_it);
	tcase_add_test(tc, what_repeats_is_bounded_and_hides_nothing_else);
	tcase_add_test(tc, etcd_that_comes_and_goes_is_told_of_now_and_then);
	tcase_add_test(tc, long_names_are_cut_not_overrun))
