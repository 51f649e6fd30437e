/* The address book: what wins, and readers that run while it changes. */
#include "gateway/book.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "unit.h"

static atomic_int woken;

static void wake(void *ctx _unused_)
{
	atomic_fetch_add(&woken, 1);
}

static struct book *book_of(const char *const *names, size_t n)
{
	struct book *b;

	book_thread_join();
	ck_assert_int_eq(book_new(wake, NULL, &b), 0);
	ck_assert_int_eq(book_set_engines(b, names, n), 0);
	return b;
}

static void book_end(struct book *b)
{
	book_free(b);
	book_thread_leave();
}

static leash_epoch epoch_of(const struct book_slot *s)
{
	struct book_target t;

	ck_assert(book_read(s, 0, &t));
	return t.epoch;
}

START_TEST(higher_epoch_wins_and_nothing_goes_back)
{
	struct book *b = book_of((const char *const[]){ "engine" }, 1);
	struct book_slot *s = book_find(b, "engine");
	struct book_target t;

	ck_assert_ptr_nonnull(s);
	ck_assert(book_read(s, 0, &t));
	ck_assert_uint_eq(t.epoch, 0);
	ck_assert_int_eq(book_offer(s, 0, 7, "P1", "127.0.0.1:8081", 11), 0);
	ck_assert_int_eq(book_offer(s, 0, 6, "S1", "127.0.0.1:8082", 12), BOOK_E_OLD);
	ck_assert_int_eq(book_offer(s, 0, 7, "S1", "127.0.0.1:8082", 12), BOOK_E_OLD);
	ck_assert_int_eq(book_offer(s, 0, 0, "S1", "127.0.0.1:8082", 12), BOOK_E_OLD);
	ck_assert(book_read(s, t.serial, &t));
	ck_assert_uint_eq(t.epoch, 7);
	ck_assert_str_eq(t.node, "P1");
	ck_assert_uint_eq(t.run, 11);

	ck_assert_int_eq(book_offer(s, 0, 9, "S1", "", 0), 0);
	ck_assert(book_read(s, t.serial, &t));
	ck_assert_uint_eq(t.epoch, 9);
	ck_assert_str_eq(t.node, "S1");
	ck_assert_str_eq(t.address, "");
	ck_assert_uint_eq(t.run, 0);
	ck_assert_uint_eq(epoch_of(s), 9);
	book_slot_unref(s);
	book_end(b);
}
END_TEST

/* Founded anew: epochs begin anew; neither etcd's past nor nodes of the former cluster bring that back. */
START_TEST(only_etcd_changes_the_cluster_and_never_back)
{
	struct book *b = book_of((const char *const[]){ "engine" }, 1);
	struct book_slot *s = book_find(b, "engine");
	struct book_target t;
	uint64_t pause;

	ck_assert_int_eq(book_found(s, 0xa, 10), 0);
	ck_assert_int_eq(book_offer(s, 0xa, 7, "P1", "h:1", 11), 0);
	ck_assert_int_eq(book_learn(s, "S1", "h:2"), 0);
	ck_assert(book_attached(s, 7, false, 100, &pause));
	ck_assert_int_eq(book_offer(s, 0xb, 9, "S1", "h:2", 12), BOOK_E_OLD); /* a node's word does not do it */
	ck_assert(book_read(s, 0, &t));
	ck_assert_int_eq(book_found(s, 0xa, 10), 0);
	ck_assert(!book_read(s, t.serial, &t)); /* no news */

	ck_assert_int_eq(book_found(s, 0xb, 50), BOOK_E_FOUNDED);
	ck_assert(book_read(s, t.serial, &t));
	ck_assert_uint_eq(t.cluster, 0xb);
	ck_assert_uint_eq(t.epoch, 0);
	ck_assert_str_eq(t.node, "");
	ck_assert_uint_eq(t.n_nodes, 2);
	ck_assert_uint_eq(book_created(s), 50);
	ck_assert(!book_allows(s, 0xa, 7));
	ck_assert_int_eq(book_offer(s, 0xa, 8, "P1", "h:1", 11), BOOK_E_OLD); /* the former primary */
	ck_assert_int_eq(book_found(s, 0xa, 10), BOOK_E_OLD);                 /* a stale read */
	ck_assert_int_eq(book_offer(s, 0xb, 1, "P1", "h:1", 13), 0);
	ck_assert(book_allows(s, 0xb, 1) && !book_allows(s, 0xb, 0));
	ck_assert(book_attached(s, 1, true, 200, &pause)); /* told again */
	ck_assert_uint_eq(epoch_of(s), 1);

	book_went_back(s); /* another store: its revisions are not comparable */
	ck_assert_int_eq(book_found(s, 0xc, 3), BOOK_E_FOUNDED);
	ck_assert_uint_eq(epoch_of(s), 0);
	ck_assert_int_eq(book_found(s, 0, 99), BOOK_E_OLD);
	book_slot_unref(s);
	book_end(b);
}
END_TEST

/* Before etcd has said which cluster it is, anybody is believed; then what was heard may be of another. */
START_TEST(what_was_heard_before_the_cluster_was_known_does_not_stay)
{
	struct book *b = book_of((const char *const[]){ "engine" }, 1);
	struct book_slot *s = book_find(b, "engine");

	ck_assert_int_eq(book_offer(s, 0xa, 7, "P1", "h:1", 11), 0);
	ck_assert_int_eq(book_found(s, 0xb, 50), 0);
	ck_assert_uint_eq(epoch_of(s), 0);
	ck_assert_int_eq(book_offer(s, 0, 1, "S1", "h:2", 12), 0); /* etcd's leader key */
	ck_assert_uint_eq(epoch_of(s), 1);
	book_slot_unref(s);
	book_end(b);
}
END_TEST

START_TEST(only_news_makes_a_new_target)
{
	struct book *b = book_of((const char *const[]){ "engine" }, 1);
	struct book_slot *s = book_find(b, "engine");
	struct book_target t;
	int before;

	ck_assert_int_eq(book_offer(s, 0, 7, "P1", "127.0.0.1:8081", 0), 0);
	ck_assert(book_read(s, 0, &t));
	before = atomic_load(&woken);
	ck_assert_int_eq(book_offer(s, 0, 7, "P1", "127.0.0.1:8081", 0), 0);
	ck_assert_int_eq(book_learn(s, "P1", "127.0.0.1:8081"), 0);
	ck_assert(!book_read(s, t.serial, &t));
	ck_assert_int_eq(atomic_load(&woken), before);
	ck_assert_int_eq(book_offer(s, 0, 7, "P1", "", 5), 0); /* its run became known */
	ck_assert(book_read(s, t.serial, &t));
	ck_assert_str_eq(t.address, "127.0.0.1:8081");
	ck_assert_uint_eq(t.run, 5);
	ck_assert_int_eq(atomic_load(&woken), before + 1);
	book_slot_unref(s);
	book_end(b);
}
END_TEST

START_TEST(full_table_of_nodes_drops_the_oldest_but_never_the_primary)
{
	struct book *b = book_of((const char *const[]){ "engine" }, 1);
	struct book_slot *s = book_find(b, "engine");
	struct book_target t;
	char name[16];

	ck_assert_int_eq(book_offer(s, 0, 1, "P", "h:1", 0), 0);
	for (int i = 1; i < REP_NODES_MAX + 1; i++) {
		(void)snprintf(name, sizeof name, "N%d", i);
		ck_assert_int_eq(book_learn(s, name, "h:2"), 0);
	}
	ck_assert(book_read(s, 0, &t));
	ck_assert_uint_eq(t.n_nodes, REP_NODES_MAX);
	ck_assert_str_eq(t.nodes[0].node, "P");
	ck_assert_str_eq(t.nodes[1].node, "N2");
	ck_assert_str_eq(t.nodes[REP_NODES_MAX - 1].node, "N16");
	book_slot_unref(s);
	book_end(b);
}
END_TEST

START_TEST(engines_come_and_go_and_slots_stay)
{
	struct book *b = book_of((const char *const[]){ "b", "a" }, 2);
	struct book_slot *a = book_find(b, "a"), *slots[4], *again;
	uint64_t generation = book_generation(b);

	ck_assert_int_eq(book_offer(a, 0, 3, "P1", "h:1", 0), 0);
	ck_assert_int_eq(book_set_engines(b, (const char *const[]){ "a", "a" }, 2), -EINVAL);
	ck_assert_uint_eq(book_generation(b), generation);
	ck_assert_int_eq(book_set_engines(b, (const char *const[]){ "c", "a" }, 2), 0);
	ck_assert_uint_eq(book_generation(b), generation + 1);
	ck_assert_ptr_null(book_find(b, "b"));
	again = book_find(b, "a");
	ck_assert_ptr_eq(again, a);
	ck_assert_uint_eq(epoch_of(again), 3);
	ck_assert_uint_eq(book_slots(b, slots, 4), 2);
	ck_assert_str_eq(book_slot_name(slots[0]), "a");
	ck_assert_str_eq(book_slot_name(slots[1]), "c");
	book_slot_unref(slots[0]);
	book_slot_unref(slots[1]);
	book_slot_unref(again);
	book_slot_unref(a);
	book_end(b);
}
END_TEST

START_TEST(presence_tells_once_who_came_and_how_long_nobody_was)
{
	struct book *b = book_of((const char *const[]){ "engine" }, 1);
	struct book_slot *s = book_find(b, "engine");
	uint64_t pause;

	ck_assert(book_attached(s, 1, false, 100, &pause)); /* one worker */
	ck_assert_uint_eq(pause, 0);
	ck_assert(!book_attached(s, 1, false, 110, &pause)); /* another */
	ck_assert(!book_detached(s, 200));
	ck_assert(book_detached(s, 210));
	ck_assert(book_attached(s, 2, false, 300, &pause));
	ck_assert_uint_eq(pause, 90);
	ck_assert(!book_attached(s, 2, false, 310, &pause));
	ck_assert(book_attached(s, 3, true, 400, &pause)); /* without a gap */
	ck_assert_uint_eq(pause, 0);
	ck_assert(!book_attached(s, 3, true, 410, &pause));
	ck_assert(!book_detached(s, 500));
	ck_assert(book_detached(s, 500));
	book_slot_unref(s);
	book_end(b);
}
END_TEST

/* ---- readers beside writers: targets are whole, epochs never fall */

#define READERS 3
#define WRITES  2000

struct race {
	struct book *book;
	atomic_bool stop;
	_Atomic leash_epoch highest;
};

static void check_target(const struct book_target *t, leash_epoch *last)
{
	char want[LEASH_ADDR_MAX + 1];

	ck_assert_uint_ge(t->epoch, *last);
	*last = t->epoch;
	if (t->epoch == 0)
		return;
	(void)snprintf(want, sizeof want, "host:%u", (unsigned)t->epoch);
	ck_assert_str_eq(t->address, want);
	ck_assert_uint_eq(t->run, t->epoch);
}

static void *reader(void *arg)
{
	struct race *r = arg;
	leash_epoch last = 0;
	struct book_target t;

	book_thread_join();
	while (!atomic_load(&r->stop)) {
		struct book_slot *s = book_find(r->book, "a");

		ck_assert_ptr_nonnull(s);
		if (book_read(s, 0, &t))
			check_target(&t, &last);
		book_slot_unref(s);
	}
	book_thread_leave();
	return NULL;
}

static void *writer(void *arg)
{
	struct race *r = arg;
	struct book_slot *s;
	char address[32];

	book_thread_join();
	s = book_find(r->book, "a");
	for (int i = 0; i < WRITES; i++) {
		leash_epoch epoch = atomic_fetch_add(&r->highest, 1) + 1;

		(void)snprintf(address, sizeof address, "host:%u", (unsigned)epoch);
		ck_assert_int_ge(book_offer(s, 0, epoch, "P1", address, epoch), 0);
	}
	book_slot_unref(s);
	book_thread_leave();
	return NULL;
}

START_TEST(readers_run_beside_writers)
{
	struct race r = { .book = book_of((const char *const[]){ "a", "b" }, 2) };
	pthread_t readers[READERS], writers[2];
	struct book_slot *s;

	for (size_t i = 0; i < READERS; i++)
		ck_assert_int_eq(pthread_create(&readers[i], NULL, reader, &r), 0);
	for (size_t i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&writers[i], NULL, writer, &r), 0);
	for (int i = 0; i < 200; i++) {
		const char *names[] = { "a", i % 2 ? "b" : "c" };

		ck_assert_int_eq(book_set_engines(r.book, names, 2), 0);
	}
	for (size_t i = 0; i < 2; i++)
		pthread_join(writers[i], NULL);
	atomic_store(&r.stop, true);
	for (size_t i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	s = book_find(r.book, "a");
	ck_assert_uint_eq(epoch_of(s), 2 * WRITES);
	book_slot_unref(s);
	book_end(r.book);
}
END_TEST

UNIT_MAIN("book", tcase_add_test(tc, higher_epoch_wins_and_nothing_goes_back);
	tcase_add_test(tc, only_etcd_changes_the_cluster_and_never_back);
	tcase_add_test(tc, what_was_heard_before_the_cluster_was_known_does_not_stay);
	tcase_add_test(tc, only_news_makes_a_new_target);
	tcase_add_test(tc, full_table_of_nodes_drops_the_oldest_but_never_the_primary);
	tcase_add_test(tc, engines_come_and_go_and_slots_stay);
	tcase_add_test(tc, presence_tells_once_who_came_and_how_long_nobody_was);
	tcase_add_test(tc, readers_run_beside_writers))
