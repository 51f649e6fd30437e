/*
 * bench/addrbook: what a read of the gateway's address book costs while engines are retargeted, beside what it would cost
 * behind a lock.
 *
 * The book is the gateway's own code (gateway/book.h), and the read is what a worker does before it sends a message on: the
 * serial number of an engine's target (book_serial()). A retarget is book_offer() with the next epoch. Since a book has a
 * bound on its engines, many of them are spread over several books.
 *
 * The rivals keep the same targets, one lock for each engine (a lock for all would only be slower): a mutex, a read-write
 * lock. "nothing" has neither guard nor retargets: what the loop and the cache misses alone cost.
 *
 * One thread reads as fast as it can, another one retargets on a schedule. Patterns: "one", both stay at one engine; "all",
 * they go over all engines in random order. The time of a read is wall time; beside it stands the reader's CPU time, which
 * does not count what other programs on the machine take away, nor waiting for a lock.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "base/clk.h"
#include "base/hdr.h"
#include "gateway/book.h"
#include "report.h"

#define ORDER_BITS 16 /* 65,536 random engines, over and over */
#define ORDER      (1u << ORDER_BITS)
#define READS      4096 /* between two looks at the clock's flag */

enum kind { KIND_NOTHING, KIND_BOOK, KIND_RWLOCK, KIND_MUTEX, KINDS };

static const char *const kinds[KINDS] = { "nothing", "book", "rwlock", "mutex" };

/* An engine as the rivals keep it. */
struct engine {
	pthread_mutex_t mutex;
	pthread_rwlock_t rwlock;
	_Atomic(struct book_target *) target;
};

struct opts {
	uint64_t ms, swaps;
	bool json;
};

struct table {
	uint32_t n;
	struct book **books;
	uint32_t n_books;
	struct book_slot **slots; /* by number */
	struct engine *engines;
};

struct run {
	const struct opts *o;
	struct table *t;
	enum kind kind;
	uint32_t order[ORDER];
	atomic_bool over;
	leash_epoch epoch;
	struct hdr swap; /* ns that one retarget takes */
	uint64_t reads, sum, wall_ns, cpu_ns;
};

/* ---- the table */

static void wake(void *ctx _unused_)
{
}

static void engine_name(uint32_t i, char text[LEASH_NAME_MAX + 1])
{
	(void)snprintf(text, LEASH_NAME_MAX + 1, "engine-%06" PRIu32, i);
}

/* Engines @first to @first + @n - 1. */
static struct book *make_book(struct table *t, uint32_t first, uint32_t n)
{
	char (*names)[LEASH_NAME_MAX + 1] = calloc(n, sizeof *names);
	const char **pointers = calloc(n, sizeof *pointers);
	struct book *b;

	if (!names || !pointers || book_new(wake, NULL, &b) < 0)
		report_die("out of memory");
	for (uint32_t i = 0; i < n; i++) {
		engine_name(first + i, names[i]);
		pointers[i] = names[i];
	}
	if (book_set_engines(b, pointers, n) < 0)
		report_die("the book does not take %" PRIu32 " engines", n);
	for (uint32_t i = 0; i < n; i++) {
		t->slots[first + i] = book_find(b, names[i]);
		must(t->slots[first + i]);
	}
	free(names);
	free(pointers);
	return b;
}

static void make_rivals(struct table *t)
{
	for (uint32_t i = 0; i < t->n; i++) {
		struct book_target *target = calloc(1, sizeof *target);

		if (!target || pthread_mutex_init(&t->engines[i].mutex, NULL) != 0 ||
			pthread_rwlock_init(&t->engines[i].rwlock, NULL) != 0)
			report_die("out of memory");
		atomic_init(&t->engines[i].target, target);
	}
}

static void table_init(struct table *t, uint32_t n)
{
	*t = (struct table){ .n = n, .n_books = (n + BOOK_ENGINES_MAX - 1) / BOOK_ENGINES_MAX };
	t->books = calloc(t->n_books, sizeof *t->books);
	t->slots = calloc(n, sizeof *t->slots);
	t->engines = calloc(n, sizeof *t->engines);
	if (!t->books || !t->slots || !t->engines)
		report_die("out of memory");
	for (uint32_t i = 0; i < t->n_books; i++)
		t->books[i] = make_book(t, i * BOOK_ENGINES_MAX, MIN2(n - i * BOOK_ENGINES_MAX, (uint32_t)BOOK_ENGINES_MAX));
	make_rivals(t);
}

static void table_deinit(struct table *t)
{
	for (uint32_t i = 0; i < t->n; i++) {
		book_slot_unref(t->slots[i]);
		free(atomic_load(&t->engines[i].target));
		pthread_mutex_destroy(&t->engines[i].mutex);
		pthread_rwlock_destroy(&t->engines[i].rwlock);
	}
	for (uint32_t i = 0; i < t->n_books; i++)
		book_free(t->books[i]);
	free(t->books);
	free(t->slots);
	free(t->engines);
}

/* ---- reads */

static inline uint64_t read_nothing(struct run *r, uint32_t i)
{
	return atomic_load_explicit(&r->t->engines[i].target, memory_order_acquire)->serial;
}

static inline uint64_t read_book(struct run *r, uint32_t i)
{
	return book_serial(r->t->slots[i]);
}

static inline uint64_t read_rwlock(struct run *r, uint32_t i)
{
	struct engine *e = &r->t->engines[i];
	uint64_t serial;

	pthread_rwlock_rdlock(&e->rwlock);
	serial = atomic_load_explicit(&e->target, memory_order_relaxed)->serial;
	pthread_rwlock_unlock(&e->rwlock);
	return serial;
}

static inline uint64_t read_mutex(struct run *r, uint32_t i)
{
	struct engine *e = &r->t->engines[i];
	uint64_t serial;

	pthread_mutex_lock(&e->mutex);
	serial = atomic_load_explicit(&e->target, memory_order_relaxed)->serial;
	pthread_mutex_unlock(&e->mutex);
	return serial;
}

/* Inlined with each kind's read, so that no call by pointer is measured. */
static inline __attribute__((always_inline)) void read_all(struct run *r, uint64_t (*one)(struct run *, uint32_t))
{
	uint32_t at = 0;

	while (!atomic_load_explicit(&r->over, memory_order_relaxed)) {
		for (uint32_t i = 0; i < READS; i++)
			r->sum += one(r, r->order[at++ % ORDER]);
		r->reads += READS;
	}
}

static uint64_t thread_cpu_ns(void)
{
	struct timespec t;

	must(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void *reader(void *ctx)
{
	struct run *r = ctx;
	uint64_t wall_ns, cpu_ns;

	book_thread_join();
	wall_ns = clk_mono_ns();
	cpu_ns = thread_cpu_ns();
	switch (r->kind) {
	case KIND_NOTHING: read_all(r, read_nothing); break;
	case KIND_BOOK: read_all(r, read_book); break;
	case KIND_RWLOCK: read_all(r, read_rwlock); break;
	case KIND_MUTEX: read_all(r, read_mutex); break;
	case KINDS: break;
	}
	r->wall_ns = clk_mono_ns() - wall_ns;
	r->cpu_ns = thread_cpu_ns() - cpu_ns;
	book_thread_leave();
	return NULL;
}

/* ---- retargets */

/* From the engine's name, as what etcd says comes with one. */
static void swap_book(struct run *r, uint32_t i)
{
	char name[LEASH_NAME_MAX + 1];
	struct book_slot *s;

	engine_name(i, name);
	s = book_find(r->t->books[i / BOOK_ENGINES_MAX], name);
	r->epoch++;
	must(s && book_offer(s, 0, r->epoch, r->epoch % 2 ? "P1" : "S1", "127.0.0.1:8081", r->epoch) == 0);
	book_slot_unref(s);
}

static struct book_target *next_target(const struct run *r, uint32_t i)
{
	struct book_target *t = malloc(sizeof *t);

	if (!t)
		report_die("out of memory");
	*t = *atomic_load(&r->t->engines[i].target);
	t->serial++;
	return t;
}

static void swap_rival(struct run *r, uint32_t i)
{
	struct engine *e = &r->t->engines[i];
	struct book_target *t = next_target(r, i), *old;

	if (r->kind == KIND_RWLOCK)
		pthread_rwlock_wrlock(&e->rwlock);
	else if (r->kind == KIND_MUTEX)
		pthread_mutex_lock(&e->mutex);
	old = atomic_exchange(&e->target, t);
	if (r->kind == KIND_RWLOCK)
		pthread_rwlock_unlock(&e->rwlock);
	else if (r->kind == KIND_MUTEX)
		pthread_mutex_unlock(&e->mutex);
	free(old);
}

static void swap_until(struct run *r, uint64_t end_ns)
{
	uint64_t due_ns = clk_mono_ns(), step_ns = NS_PER_S / r->o->swaps, begin_ns;
	struct timespec due;
	uint32_t at = ORDER / 2;

	for (; due_ns < end_ns; due_ns += step_ns) {
		due = (struct timespec){ .tv_sec = (time_t)(due_ns / NS_PER_S), .tv_nsec = (long)(due_ns % NS_PER_S) };
		(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL); /* early is no harm */
		begin_ns = clk_mono_ns();
		if (r->kind == KIND_BOOK)
			swap_book(r, r->order[at++ % ORDER]);
		else if (r->kind != KIND_NOTHING)
			swap_rival(r, r->order[at++ % ORDER]);
		hdr_record(&r->swap, clk_mono_ns() - begin_ns);
	}
}

/* ---- one cell of the table */

static void measure(struct run *r, bool all)
{
	uint32_t seed = 1, at;
	pthread_t thread;

	for (uint32_t i = 0; i < ORDER; i++) {
		seed = seed * 1664525 + 1013904223; /* Numerical Recipes' linear congruence: order enough */
		at = (uint32_t)((uint64_t)seed * r->t->n >> 32);
		r->order[i] = all ? at : r->t->n / 2;
	}
	if (pthread_create(&thread, NULL, reader, r) != 0)
		report_die("cannot start a thread");
	swap_until(r, clk_mono_ns() + r->o->ms * NS_PER_MS);
	atomic_store(&r->over, true);
	(void)pthread_join(thread, NULL);
}

static void tell(const struct run *r, bool all, bool first)
{
	const char *pattern = all ? "all" : "one";
	double wall = (double)r->wall_ns / (double)r->reads, cpu = (double)r->cpu_ns / (double)r->reads;

	if (r->o->json)
		printf("%s\n {\"engines\":%" PRIu32 ",\"pattern\":\"%s\",\"kind\":\"%s\",\"read_ns\":%.2f,\"read_cpu_ns\":%.2f"
		       ",\"swaps\":%" PRIu64 ",\"swap_p50_ns\":%" PRIu64 ",\"swap_p99_ns\":%" PRIu64 ",\"swap_max_ns\":%" PRIu64 "}",
			first ? "" : ",", r->t->n, pattern, kinds[r->kind], wall, cpu, r->swap.total, hdr_percentile(&r->swap, 50),
			hdr_percentile(&r->swap, 99), r->swap.max);
	else
		printf("%7" PRIu32 "  %-7s  %-7s  %8.2f  %8.2f  %8.0f  %8.1f  %8.1f\n", r->t->n, pattern, kinds[r->kind], wall, cpu,
			(double)r->swap.total * NS_PER_S / (double)r->wall_ns, (double)hdr_percentile(&r->swap, 50) / NS_PER_US,
			(double)hdr_percentile(&r->swap, 99) / NS_PER_US);
}

static void run_all(const struct opts *o)
{
	static const uint32_t engines[] = { 1, 1000, 100000 };
	static struct run r;
	leash_epoch epoch = 0;
	bool first = true;

	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		struct table t;

		table_init(&t, engines[i]);
		for (int all = 0; all <= (engines[i] > 1); all++)
			for (enum kind k = 0; k < KINDS; k++) {
				memset(&r, 0, sizeof r);
				r.o = o;
				r.t = &t;
				r.kind = k;
				r.epoch = epoch;
				measure(&r, all > 0);
				epoch = r.epoch;
				tell(&r, all > 0, first);
				first = false;
			}
		table_deinit(&t);
	}
}

static const char usage[] =
	"Usage: bench/addrbook [OPTION]...\n"
	"What a read of the gateway's address book costs, and a retarget, beside locks.\n\n"
	"  --seconds=TIME  how long to measure each [1s]\n"
	"  --swaps=N       retargets per second [10000]\n"
	"  --json          an array of JSON objects\n";

static const struct option options[] = {
	{ "seconds", required_argument, NULL, 's' },
	{ "swaps", required_argument, NULL, 'w' },
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL },
};

int main(int argc, char **argv)
{
	struct opts o = { .ms = 1000, .swaps = 10000 };
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 's': o.ms = report_ms("seconds", optarg); break;
		case 'w': o.swaps = report_number("swaps", optarg, 1, 1000000); break;
		case 'j': o.json = true; break;
		case 'h': fputs(usage, stdout); return 0;
		default: fputs(usage, stderr); return 2;
		}
	book_thread_join();
	if (!o.json)
		printf("engines  pattern  guard     ns/read    ns CPU   swaps/s  us/swap p50   p99\n");
	else
		printf("[");
	run_all(&o);
	if (o.json)
		printf("]\n");
	book_thread_leave();
	return fflush(stdout) == 0 ? 0 : 1;
}
