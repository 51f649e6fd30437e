/*
 * The pipeline: what is sent and answered while primaries come and go. Each test is a story; what everybody
 * said stands in a trace that is compared as text:
 *
 *     >1 A2 s1.1o            token 1 is sent on connection A2: session 1, counter 1, opening
 *     >2 A2 pay/7            token 2: the client's own id
 *     =x ok 5                the client of message x is answered
 */
#include "gateway/pipeline.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "unit.h"

#define MS  UINT64_C(1000000)
#define SEC (1000 * MS)

static struct pipe *p;
static struct buf trace;
static leash_id ids;
static uint64_t now_ns;
static char names[64][8];
static uint32_t n_names;

static void say(const char *fmt, ...) _printf_(1, 2);
static void say(const char *fmt, ...)
{
	char line[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	ck_assert_int_eq(buf_put(&trace, line, strlen(line)), 0);
}

#define text(b) (int)(b).len, (const char *)(b).p

static void on_submit(void *ctx _unused_, uint64_t token, struct bytes body)
{
	struct rec_body b;

	ck_assert_int_eq(rec_body_decode(body, &b), 0);
	say(">%" PRIu64 " c%" PRIu64 " ", token, pipe_conn(p));
	if (b.id_kind != REC_ID_SESSION) {
		say("%.*s/%.*s\n", text(b.producer), text(b.id));
		return;
	}
	say("s%u.%" PRIu64, b.producer.p[0], b.n);
	if (b.flags & REC_F_OPEN)
		say("o@%" PRIu64, b.birth);
	say("\n");
}

static void on_answer(void *ctx _unused_, void *waiter, enum peer_status_code status, leash_seq seq)
{
	say("=%s %s", (const char *)waiter, peer_status_code_name(status));
	say(seq ? " %" PRIu64 "\n" : "\n", seq);
}

static leash_id on_random_id(void *ctx _unused_)
{
	return ++ids;
}

static const struct pipe_ops ops = { .submit = on_submit, .answer = on_answer, .random_id = on_random_id };

static void begin_with(uint32_t messages_max)
{
	struct pipe_conf conf = { .messages_max = messages_max, .bytes_max = 1 << 20, .hold_timeout_ns = 30 * SEC };

	now_ns = SEC;
	ck_assert_int_eq(pipe_new(&conf, &ops, NULL, &p), 0);
}

static void begin(void)
{
	begin_with(16);
}

static void end(void)
{
	pipe_free(p);
	buf_deinit(&trace);
}

/* Compares what was said since the last call. */
static void expect(const char *want)
{
	char got[4096] = "";

	ck_assert_uint_lt(buf_len(&trace), sizeof got);
	if (buf_len(&trace))
		memcpy(got, buf_head(&trace), buf_len(&trace));
	got[buf_len(&trace)] = '\0';
	buf_consume(&trace, buf_len(&trace));
	ck_assert_str_eq(got, want);
}

/* Only the last of it. */
static void expect_end(const char *want)
{
	ck_assert_uint_ge(buf_len(&trace), strlen(want));
	buf_consume(&trace, buf_len(&trace) - strlen(want));
	expect(want);
}

static struct bytes str(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

static uint64_t add_body(const char *name, const struct rec_body *b)
{
	struct bytes pairs[2] = { str("m"), str(name) };
	uint64_t token;

	(void)snprintf(names[n_names], sizeof names[0], "%s", name);
	ck_assert_int_eq(pipe_append(p, b, pairs, 1, names[n_names++], now_ns, &token), 0);
	return token;
}

/* Messages without an id, in one turn of the loop: "ab" are two. */
static void append(const char *list)
{
	struct rec_body b = { .id_kind = REC_ID_NONE };

	for (; *list; list++)
		add_body((char[]){ *list, '\0' }, &b);
}

/* They are sent, too. */
static void add(const char *list)
{
	append(list);
	pipe_pump(p, now_ns);
}

static void add_own(const char *name)
{
	struct rec_body b = { .id_kind = REC_ID_OPAQUE, .producer = str("pay"), .id = str(name) };

	add_body(name, &b);
	pipe_pump(p, now_ns);
}

static void attach(uint64_t conn)
{
	pipe_attach(p, conn, &(struct pipe_limits){ 0 });
	pipe_status(p, conn, false, 100 * conn, 2, 2, now_ns);
	pipe_pump(p, now_ns);
}

static void detach(void)
{
	pipe_detach(p);
	pipe_pump(p, now_ns);
}

static void result_seq(uint64_t conn, uint64_t token, enum peer_status_code status, leash_seq seq)
{
	struct peer_result r = { .token = token, .status = status, .seq = seq };

	pipe_result(p, conn, &r, now_ns);
	pipe_pump(p, now_ns);
}

static void result(uint64_t conn, uint64_t token, enum peer_status_code status)
{
	result_seq(conn, token, status, status == PEER_ST_OK || status == PEER_ST_KNOWN ? 100 + token : 0);
}

static void later(uint64_t ns)
{
	now_ns += ns;
	pipe_pump(p, now_ns);
}

START_TEST(good_weather)
{
	begin();
	attach(1);
	add("ab");
	add_own("x");
	expect(">1 c1 s1.1o@100\n>2 c1 s1.2\n>3 c1 pay/x\n");
	result(1, 1, PEER_ST_OK);
	result(1, 3, PEER_ST_KNOWN);
	result(1, 2, PEER_ST_OK);
	expect("=a ok 101\n=x known 103\n=b ok 102\n");
	add("c");
	expect(">4 c1 s1.3\n");
	result(1, 4, PEER_ST_OK);
	expect("=c ok 104\n");
	end();
}
END_TEST

START_TEST(messages_of_one_turn_keep_their_order_behind_a_refusal)
{
	begin();
	attach(1);
	add("a");
	append("bcd");
	pipe_pump(p, now_ns);
	expect(">1 c1 s1.1o@100\n>2 c1 s1.2\n>3 c1 s1.3\n>4 c1 s1.4\n");
	result(1, 2, PEER_ST_HOLD);
	append("ef"); /* while c and d are awaited */
	result_seq(1, 3, PEER_ST_SESSION_ORDER, 2);
	result_seq(1, 4, PEER_ST_SESSION_ORDER, 2);
	expect("");
	later(SEC);
	expect(">2 c1 s1.2\n>3 c1 s1.3\n>4 c1 s1.4\n>5 c1 s1.5\n>6 c1 s1.6\n");
	end();
}
END_TEST

START_TEST(counter_given_in_a_session_that_ends_before_it_is_sent)
{
	begin();
	pipe_attach(p, 1, &(struct pipe_limits){ .messages_max = 1 });
	pipe_status(p, 1, false, 100, 2, 2, now_ns);
	add("a");
	later(SEC);
	append("bc");
	expect(">1 c1 s1.1o@100\n");
	later(29 * SEC);
	expect("=a indoubt\n");
	result(1, 1, PEER_ST_OK); /* too late for a; there is room for another */
	expect(">2 c1 s2.1o@100\n");
	result(1, 2, PEER_ST_OK);
	expect("=b ok 102\n>3 c1 s2.2\n");
	end();
}
END_TEST

START_TEST(the_queue_grows_to_its_bound)
{
	struct rec_body b = { .id_kind = REC_ID_OPAQUE, .producer = str("pay"), .id = str("7") };
	struct bytes pairs[2] = { str("m"), str("v") };
	uint64_t token = 0;

	begin_with(1000);
	attach(1);
	add("xy");
	result(1, 1, PEER_ST_OK); /* the ring does not begin at its first place */
	while (pipe_has_room(p))
		ck_assert_int_eq(pipe_append(p, &b, pairs, 1, names[0], now_ns, &token), 0);
	ck_assert_uint_eq(token, 1001);
	pipe_pump(p, now_ns);
	buf_consume(&trace, buf_len(&trace));
	for (uint64_t t = 2; t <= token; t++)
		result(1, t, PEER_ST_OK);
	expect_end("=x ok 1100\n=x ok 1101\n");
	ck_assert(pipe_has_room(p));
	end();
}
END_TEST

START_TEST(without_a_primary_they_wait_and_then_go_in_order)
{
	begin();
	add("a");
	add_own("x");
	add("b");
	expect("");
	attach(1);
	expect(">1 c1 s1.1o@100\n>2 c1 pay/x\n>3 c1 s1.2\n");
	end();
}
END_TEST

START_TEST(retarget_sends_all_unanswered_again_with_the_same_bytes)
{
	begin();
	attach(1);
	add("abc");
	result(1, 1, PEER_ST_OK);
	expect(">1 c1 s1.1o@100\n>2 c1 s1.2\n>3 c1 s1.3\n=a ok 101\n");
	detach();
	add("d");
	expect("");
	attach(2);
	expect(">2 c2 s1.2\n>3 c2 s1.3\n>4 c2 s1.4\n");
	result(1, 2, PEER_ST_OK); /* late, and true */
	result(2, 2, PEER_ST_KNOWN);
	result(2, 3, PEER_ST_KNOWN);
	result(2, 4, PEER_ST_OK);
	expect("=b ok 102\n=c known 103\n=d ok 104\n");
	end();
}
END_TEST

/* Founded anew: nothing that the former cluster may have goes to the new one, the rest in a new session. */
START_TEST(another_cluster_gets_only_what_the_former_certainly_lacks)
{
	begin();
	attach(1);
	add("a");
	add_own("x");
	add_own("y");
	result(1, 3, PEER_ST_HOLD); /* y is certainly nowhere */
	add("b");
	expect(">1 c1 s1.1o@100\n>2 c1 pay/x\n>3 c1 pay/y\n");
	pipe_forsake(p);
	expect("=a indoubt\n=x indoubt\n");
	ck_assert_uint_eq(pipe_conn(p), 0);
	result(1, 1, PEER_ST_OK); /* late */
	pipe_attach(p, 2, &(struct pipe_limits){ 0 });
	pipe_status(p, 2, false, 7, 2, 2, now_ns); /* its log is shorter than what was seen of the former */
	pipe_pump(p, now_ns);
	expect(">3 c2 pay/y\n");
	result(2, 3, PEER_ST_OK);
	result(2, 4, PEER_ST_OK);
	expect("=y ok 103\n>4 c2 s2.1o@103\n=b ok 104\n");
	end();
}
END_TEST

START_TEST(late_refusals_count_only_while_nothing_was_sent_elsewhere)
{
	begin();
	attach(1);
	add("ab");
	detach();
	result(1, 1, PEER_ST_NOT_PRIMARY); /* a is certainly nowhere, b is in doubt */
	expect(">1 c1 s1.1o@100\n>2 c1 s1.2\n");
	later(30 * SEC);
	expect("=a hold\n=b indoubt\n");
	end();
}
END_TEST

START_TEST(refusal_by_the_old_after_the_resend_changes_nothing)
{
	begin();
	attach(1);
	add("a");
	attach(2);
	result(1, 1, PEER_ST_NOT_PRIMARY);
	expect(">1 c1 s1.1o@100\n>1 c2 s1.1o@100\n");
	ck_assert(!pipe_blocked(p));
	result(2, 1, PEER_ST_SESSION_UNKNOWN); /* it may be in some log: the first sending's fate is unknown */
	expect("=a indoubt\n");
	end();
}
END_TEST

START_TEST(not_primary_keeps_all_until_there_is_a_target)
{
	begin();
	attach(1);
	add("ab");
	result(1, 1, PEER_ST_NOT_PRIMARY);
	ck_assert(pipe_blocked(p));
	add("c");
	result(1, 2, PEER_ST_NOT_PRIMARY);
	expect(">1 c1 s1.1o@100\n>2 c1 s1.2\n");
	attach(2);
	expect(">1 c2 s1.1o@100\n>2 c2 s1.2\n>3 c2 s1.3\n");
	end();
}
END_TEST

START_TEST(not_primary_and_then_the_same_node_again)
{
	begin();
	attach(1);
	add("ab");
	result(1, 1, PEER_ST_NOT_PRIMARY);
	attach(1);
	expect(">1 c1 s1.1o@100\n>2 c1 s1.2\n"); /* b's answer is awaited first */
	result(1, 2, PEER_ST_SESSION_UNKNOWN);
	expect(">1 c1 s2.1o@100\n>2 c1 s2.2\n");
	end();
}
END_TEST

START_TEST(hold_stops_sending_until_the_hand_over_is_through)
{
	begin();
	attach(1);
	add("abc");
	result(1, 1, PEER_ST_OK);
	result(1, 2, PEER_ST_HOLD);
	pipe_status(p, 1, true, 100, 2, 2, now_ns);
	add("d");
	result_seq(1, 3, PEER_ST_SESSION_ORDER, 2);
	later(SEC);
	expect(">1 c1 s1.1o@100\n>2 c1 s1.2\n>3 c1 s1.3\n=a ok 101\n");
	pipe_status(p, 1, false, 100, 2, 2, now_ns);
	pipe_pump(p, now_ns);
	expect(">2 c1 s1.2\n>3 c1 s1.3\n>4 c1 s1.4\n");
	end();
}
END_TEST

START_TEST(hold_without_hand_over_is_tried_again_soon)
{
	begin();
	attach(1);
	add("a");
	result(1, 1, PEER_ST_HOLD);
	expect(">1 c1 s1.1o@100\n");
	ck_assert_uint_eq(pipe_wakeup_ns(p), now_ns + PIPE_RETRY_NS);
	later(PIPE_RETRY_NS);
	expect(">1 c1 s1.1o@100\n");
	end();
}
END_TEST

START_TEST(what_was_sent_behind_a_refusal_is_awaited_first)
{
	begin();
	attach(1);
	add("a");
	add_own("x");
	add("b");
	result(1, 1, PEER_ST_HOLD);
	later(PIPE_RETRY_NS);
	expect(">1 c1 s1.1o@100\n>2 c1 pay/x\n>3 c1 s1.2\n");
	result_seq(1, 3, PEER_ST_SESSION_UNKNOWN, 0);
	expect("");
	result(1, 2, PEER_ST_OK);
	later(PIPE_RETRY_NS);
	/* b was refused for want of its session: a opens a new one */
	expect("=x ok 102\n>1 c1 s2.1o@102\n>3 c1 s2.2\n");
	end();
}
END_TEST

START_TEST(forgotten_session_is_opened_anew)
{
	begin();
	attach(1);
	add("a");
	result(1, 1, PEER_ST_OK);
	expect(">1 c1 s1.1o@100\n=a ok 101\n");
	add("bc"); /* after a long rest */
	result(1, 2, PEER_ST_SESSION_UNKNOWN);
	expect(">2 c1 s1.2\n>3 c1 s1.3\n");
	result(1, 3, PEER_ST_SESSION_UNKNOWN);
	expect(">2 c1 s2.1o@101\n>3 c1 s2.2\n");
	end();
}
END_TEST

START_TEST(opening_with_a_stale_birth_is_tried_with_a_newer_one)
{
	begin();
	attach(1);
	add("a");
	result(1, 1, PEER_ST_SESSION_UNKNOWN);
	expect(">1 c1 s1.1o@100\n");
	pipe_status(p, 1, false, 500, 2, 2, now_ns);
	later(PIPE_RETRY_NS);
	expect(">1 c1 s2.1o@500\n");
	end();
}
END_TEST

START_TEST(unknown_session_after_a_retarget_is_in_doubt)
{
	begin();
	attach(1);
	add("a");
	result(1, 1, PEER_ST_OK);
	add("bc");
	detach();
	add("d");
	attach(2);
	expect(">1 c1 s1.1o@100\n=a ok 101\n>2 c1 s1.2\n>3 c1 s1.3\n"
	       ">2 c2 s1.2\n>3 c2 s1.3\n>4 c2 s1.4\n");
	result(2, 2, PEER_ST_SESSION_UNKNOWN);
	result(2, 3, PEER_ST_SESSION_UNKNOWN);
	expect("=b indoubt\n=c indoubt\n");
	result(2, 4, PEER_ST_SESSION_UNKNOWN); /* only ever sent here */
	expect(">4 c2 s2.1o@200\n");
	end();
}
END_TEST

START_TEST(refusal_for_good_ends_the_session_for_those_behind)
{
	begin();
	attach(1);
	add("abc");
	result(1, 1, PEER_ST_OK);
	result(1, 2, PEER_ST_TOO_BIG);
	result_seq(1, 3, PEER_ST_SESSION_ORDER, 2);
	expect(">1 c1 s1.1o@100\n>2 c1 s1.2\n>3 c1 s1.3\n=a ok 101\n=b too-big\n>3 c1 s2.1o@101\n");
	result(1, 3, PEER_ST_OOM);
	add("d");
	expect("=c oom\n>4 c1 s3.1o@101\n");
	end();
}
END_TEST

START_TEST(passing_refusal_of_one_in_doubt_is_held)
{
	begin();
	attach(1);
	add("a");
	attach(2);
	result(2, 1, PEER_ST_OOM);
	expect(">1 c1 s1.1o@100\n>1 c2 s1.1o@100\n");
	later(PIPE_RETRY_OOM_NS);
	expect(">1 c2 s1.1o@100\n");
	result(2, 1, PEER_ST_OOM);
	later(30 * SEC);
	expect("=a indoubt\n");
	end();
}
END_TEST

/* b and c are on their way when their session ends: d, which would open the next one, must not get in front of them. */
START_TEST(a_new_session_waits_for_what_the_former_has_out)
{
	begin();
	attach(1);
	add("abc");
	result(1, 1, PEER_ST_TOO_BIG);
	add("d");
	expect(">1 c1 s1.1o@100\n>2 c1 s1.2\n>3 c1 s1.3\n=a too-big\n");
	result_seq(1, 2, PEER_ST_SESSION_ORDER, 1);
	expect("");
	result_seq(1, 3, PEER_ST_SESSION_ORDER, 1);
	expect(">2 c1 s2.1o@100\n>3 c1 s2.2\n>4 c1 s2.3\n");
	end();
}
END_TEST

START_TEST(too_big_for_the_next_primary_is_in_doubt)
{
	begin();
	attach(1);
	add("a");
	attach(2);
	result(2, 1, PEER_ST_TOO_BIG);
	expect(">1 c1 s1.1o@100\n>1 c2 s1.1o@100\n=a indoubt\n");
	end();
}
END_TEST

START_TEST(own_ids_end_in_their_own_errors)
{
	begin();
	attach(1);
	add_own("x");
	add_own("y");
	add_own("z");
	result_seq(1, 1, PEER_ST_CONFLICT, 7);
	result(1, 2, PEER_ST_OLD);
	result(1, 3, PEER_ST_DEDUP_FULL);
	expect(">1 c1 pay/x\n>2 c1 pay/y\n>3 c1 pay/z\n=x conflict 7\n=y old\n=z dedup-full\n");
	end();
}
END_TEST

START_TEST(hold_timeout_tells_what_is_certain)
{
	begin();
	attach(1);
	add("a");
	detach();
	later(10 * SEC);
	add("b");
	expect(">1 c1 s1.1o@100\n");
	ck_assert_uint_eq(pipe_wakeup_ns(p), now_ns + 20 * SEC);
	later(20 * SEC);
	expect("=a indoubt\n");
	later(10 * SEC);
	expect("=b hold\n");
	add("c");
	attach(2);
	expect(">3 c2 s2.1o@200\n"); /* a new session: counter 1 of the old one is burnt */
	end();
}
END_TEST

START_TEST(hold_timeout_for_want_of_replicas)
{
	begin();
	attach(1);
	pipe_status(p, 1, true, 100, 1, 2, now_ns);
	add("a");
	later(30 * SEC);
	expect("=a no-replicas\n");
	end();
}
END_TEST

START_TEST(given_up_while_the_node_works_on_it)
{
	begin_with(2);
	attach(1);
	add("a");
	later(30 * SEC);
	expect(">1 c1 s1.1o@100\n=a indoubt\n");
	add("b");
	expect(""); /* a may still be refused */
	ck_assert(!pipe_has_room(p)); /* its place is taken until the node has answered */
	ck_assert(!pipe_stuck(p, now_ns));
	ck_assert(pipe_stuck(p, now_ns + 31 * SEC));
	result(1, 1, PEER_ST_OK);
	expect(">2 c1 s2.1o@100\n");
	ck_assert(pipe_has_room(p));
	end();
}
END_TEST

START_TEST(lost_leadership_leaves_it_to_the_next_primary)
{
	begin();
	attach(1);
	add("a");
	result(1, 1, PEER_ST_INDOUBT);
	expect(">1 c1 s1.1o@100\n");
	attach(2);
	result(2, 1, PEER_ST_KNOWN);
	expect(">1 c2 s1.1o@100\n=a known 101\n");
	end();
}
END_TEST

START_TEST(bounds)
{
	struct rec_body b = { .id_kind = REC_ID_NONE };
	struct bytes pairs[2] = { str("m"), str("v") };
	struct pipe_stats st;
	uint64_t token;

	begin_with(3);
	pipe_attach(p, 1, &(struct pipe_limits){ .messages_max = 2 });
	add("abc");
	ck_assert(!pipe_has_room(p));
	ck_assert_int_eq(pipe_append(p, &b, pairs, 1, names, now_ns, &token), -ENOBUFS);
	expect(">1 c1 s1.1o@0\n>2 c1 s1.2\n"); /* the node allows two */
	result(1, 1, PEER_ST_OK);
	expect("=a ok 101\n>3 c1 s1.3\n");
	ck_assert(pipe_has_room(p));
	pipe_get_stats(p, &st);
	ck_assert_uint_eq(st.queued, 2);
	ck_assert_uint_eq(st.out, 2);
	end();
}
END_TEST

START_TEST(a_client_that_is_gone_gets_no_answer)
{
	begin();
	attach(1);
	add("ab");
	pipe_forget(p, 1);
	result(1, 1, PEER_ST_OK);
	result(1, 2, PEER_ST_OK);
	expect(">1 c1 s1.1o@100\n>2 c1 s1.2\n=b ok 102\n");
	end();
}
END_TEST

START_TEST(results_that_make_no_sense_are_ignored)
{
	begin();
	add("a");
	result(9, 1, PEER_ST_OK); /* never sent */
	result(9, 77, PEER_ST_OK);
	attach(1);
	result(1, 1, PEER_ST_OK);
	result(1, 1, PEER_ST_OK);
	expect(">1 c1 s1.1o@100\n=a ok 101\n");
	end();
}
END_TEST

/*
 * Storm: a model of a primary with a dedup table by (session, counter), connections that break anywhere,
 * refusals. However it goes: every message has one answer, and every message answered ok is in the log once, at
 * that place, in order.
 */
struct storm {
	uint64_t rnd;
	uint64_t conn;
	struct { uint64_t token; leash_id sid; uint64_t n; char name; } wire[256];
	uint32_t n_wire;
	struct { leash_id sid; uint64_t n; char name; } log[4096];
	uint32_t n_log;
	uint32_t answered, appended_total;
	bool holding;
};
static struct storm st;
static char storm_waiter[4096];

static uint32_t rnd(uint32_t below)
{
	st.rnd = st.rnd * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(st.rnd >> 33) % below;
}

static void storm_submit(void *ctx _unused_, uint64_t token, struct bytes body)
{
	struct rec_body b;
	struct bytes name, value;
	struct cur c;

	ck_assert_int_eq(rec_body_decode(body, &b), 0);
	c = cur_of(b.pairs.p, b.pairs.len);
	ck_assert(rec_pair_next(&c, &name, &value));
	ck_assert_uint_lt(st.n_wire, 256);
	st.wire[st.n_wire].token = token;
	memcpy(&st.wire[st.n_wire].sid, b.producer.p, 8);
	st.wire[st.n_wire].n = b.n;
	st.wire[st.n_wire++].name = (char)value.p[0];
}

static uint32_t storm_find(leash_id sid, uint64_t n)
{
	for (uint32_t i = 0; i < st.n_log; i++)
		if (st.log[i].sid == sid && st.log[i].n == n)
			return i + 1;
	return 0;
}

static uint64_t storm_highest(leash_id sid)
{
	uint64_t highest = 0;

	for (uint32_t i = 0; i < st.n_log; i++)
		if (st.log[i].sid == sid)
			highest = st.log[i].n;
	return highest;
}

static leash_seq last_seq;

static void storm_answer(void *ctx _unused_, void *waiter, enum peer_status_code status, leash_seq seq)
{
	char *w = waiter;

	ck_assert_int_eq(*w, 0); /* exactly one answer */
	*w = 1;
	st.answered++;
	ck_assert(status == PEER_ST_OK || status == PEER_ST_KNOWN);
	ck_assert_uint_eq(seq, last_seq + 1); /* each once, in order */
	last_seq = seq;
}

static void storm_serve(void)
{
	struct peer_result r = { .token = st.wire[0].token };
	leash_id sid = st.wire[0].sid;
	uint64_t n = st.wire[0].n, conn = st.conn;
	uint32_t at = storm_find(sid, n), dice = rnd(100);

	if (at) {
		r.status = PEER_ST_KNOWN;
		r.seq = at;
	} else if (dice < 5 || st.holding) {
		r.status = PEER_ST_HOLD;
		st.holding = rnd(4) != 0;
	} else if (n == storm_highest(sid) + 1 && (n > 1 || storm_highest(sid) == 0)) {
		st.log[st.n_log].sid = sid;
		st.log[st.n_log].n = n;
		st.log[st.n_log++].name = st.wire[0].name;
		r.status = PEER_ST_OK;
		r.seq = st.n_log;
	} else {
		r.status = PEER_ST_SESSION_ORDER;
		r.seq = storm_highest(sid) + 1;
	}
	memmove(&st.wire[0], &st.wire[1], --st.n_wire * sizeof st.wire[0]);
	pipe_result(p, conn, &r, now_ns);
}

START_TEST(storm)
{
	static const struct pipe_ops storm_ops = { storm_submit, storm_answer, on_random_id };
	struct pipe_conf conf = { .messages_max = _i % 2 ? 1000 : 64, .bytes_max = 1 << 20, .hold_timeout_ns = 1000000 * SEC };
	struct rec_body b = { .id_kind = REC_ID_NONE };
	uint32_t n = 0;

	memset(&st, 0, sizeof st);
	memset(storm_waiter, 0, sizeof storm_waiter);
	last_seq = 0;
	st.rnd = (uint64_t)_i * 77 + 1;
	ck_assert_int_eq(pipe_new(&conf, &storm_ops, NULL, &p), 0);
	for (uint32_t step = 0; st.answered < 2000; step++) {
		uint32_t dice = rnd(100);
		uint64_t token;

		ck_assert_uint_lt(step, 1000000);
		now_ns += MS;
		if (dice < 40) {
			struct bytes pairs[2] = { str("m"), { (const uint8_t *)"v", 1 } };

			for (uint32_t i = rnd(_i % 2 ? 50 : 4); i > 0 && n < 2000 && pipe_has_room(p); i--)
				ck_assert_int_eq(pipe_append(p, &b, pairs, 1, &storm_waiter[n++], now_ns, &token), 0);
		} else if (dice < 90 && st.n_wire) {
			storm_serve();
		} else if (dice < 93) { /* broken: some that were sent are still appended, their answers are lost */
			uint64_t conn = st.conn;

			for (uint32_t i = rnd(8); i > 0 && st.n_wire; i--) {
				st.conn = 0; /* the answer goes nowhere */
				storm_serve();
			}
			st.conn = conn;
			st.n_wire = 0;
			pipe_detach(p);
		} else if (!pipe_conn(p) || pipe_blocked(p)) {
			pipe_attach(p, ++st.conn, &(struct pipe_limits){ .messages_max = 32 });
		}
		if (rnd(2))
			pipe_pump(p, now_ns);
	}
	ck_assert_uint_eq(st.n_log, 2000);
	pipe_free(p);
}
END_TEST

UNIT_MAIN("pipeline", tcase_add_test(tc, good_weather);
	tcase_add_test(tc, messages_of_one_turn_keep_their_order_behind_a_refusal);
	tcase_add_test(tc, counter_given_in_a_session_that_ends_before_it_is_sent);
	tcase_add_test(tc, the_queue_grows_to_its_bound);
	tcase_add_test(tc, without_a_primary_they_wait_and_then_go_in_order);
	tcase_add_test(tc, retarget_sends_all_unanswered_again_with_the_same_bytes);
	tcase_add_test(tc, another_cluster_gets_only_what_the_former_certainly_lacks);
	tcase_add_test(tc, late_refusals_count_only_while_nothing_was_sent_elsewhere);
	tcase_add_test(tc, refusal_by_the_old_after_the_resend_changes_nothing);
	tcase_add_test(tc, not_primary_keeps_all_until_there_is_a_target);
	tcase_add_test(tc, not_primary_and_then_the_same_node_again);
	tcase_add_test(tc, hold_stops_sending_until_the_hand_over_is_through);
	tcase_add_test(tc, hold_without_hand_over_is_tried_again_soon);
	tcase_add_test(tc, what_was_sent_behind_a_refusal_is_awaited_first);
	tcase_add_test(tc, forgotten_session_is_opened_anew);
	tcase_add_test(tc, opening_with_a_stale_birth_is_tried_with_a_newer_one);
	tcase_add_test(tc, unknown_session_after_a_retarget_is_in_doubt);
	tcase_add_test(tc, refusal_for_good_ends_the_session_for_those_behind);
	tcase_add_test(tc, passing_refusal_of_one_in_doubt_is_held);
	tcase_add_test(tc, a_new_session_waits_for_what_the_former_has_out);
	tcase_add_test(tc, too_big_for_the_next_primary_is_in_doubt);
	tcase_add_test(tc, own_ids_end_in_their_own_errors);
	tcase_add_test(tc, hold_timeout_tells_what_is_certain);
	tcase_add_test(tc, hold_timeout_for_want_of_replicas);
	tcase_add_test(tc, given_up_while_the_node_works_on_it);
	tcase_add_test(tc, lost_leadership_leaves_it_to_the_next_primary);
	tcase_add_test(tc, bounds);
	tcase_add_test(tc, a_client_that_is_gone_gets_no_answer);
	tcase_add_test(tc, results_that_make_no_sense_are_ignored);
	tcase_add_loop_test(tc, storm, 0, 20))
