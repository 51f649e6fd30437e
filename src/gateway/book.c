#include "gateway/book.h"

#include <errno.h>
#include <pthread.h>

#if defined(__SANITIZE_THREAD__)
#define TSAN_BOOK 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TSAN_BOOK 1
#endif
#endif

/* What a read calls in liburcu is inlined (its licence allows that for functions as small as these), but for the thread
 * sanitizer, which takes the library's own way to synchronise for races. */
#ifndef TSAN_BOOK
#define _LGPL_SOURCE
#endif
#include <urcu/urcu-memb.h>

/*
 * The thread sanitizer cannot see the grace period (the library is not built with it): tell it that what a
 * reader did comes before what is done after it.
 */
#ifdef TSAN_BOOK
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
#define READ_DONE(p)  __tsan_release((void *)(uintptr_t)(p))
#define GRACE_OVER(p) __tsan_acquire(p)

/* What the library does within itself it cannot see either. */
const char *__tsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void)
{
	return "called_from_lib:liburcu-memb.so\n";
}
#else
#define READ_DONE(p)  ((void)(p))
#define GRACE_OVER(p) ((void)(p))
#endif

struct target {
	struct book_target t;
	struct rcu_head rcu;
};

struct book_slot {
	struct book *book;
	atomic_uint refs;
	char name[LEASH_NAME_MAX + 1];
	_Atomic(struct target *) target; /* never NULL */
	struct book_counters counters;
	struct rcu_head rcu;

	pthread_mutex_t lock;     /* writers, and what follows */
	uint64_t created;         /* the target's cluster is the engine's since this revision of etcd */
	leash_epoch served_epoch; /* the highest one that a worker attached to */
	uint32_t n_attached;      /* workers that have a primary */
	uint64_t detached_ns;     /* since when there are none */
};

struct directory {
	uint64_t generation;
	struct rcu_head rcu;
	size_t n;
	struct book_slot *slots[]; /* by name; the book holds a reference for each */
};

struct book {
	void (*wake)(void *ctx);
	void *ctx;
	_Atomic(struct directory *) dir; /* never NULL */
};

/* Nobody finds @object any more; @reclaim frees it when no reader can hold it. */
static void retire(void *object, struct rcu_head *head, void (*reclaim)(struct rcu_head *head))
{
	READ_DONE(object);
	urcu_memb_call_rcu(head, reclaim);
}

/* ---------------------------------------------------------------------------------------------------- life of slots */

static void target_reclaim(struct rcu_head *head)
{
	struct target *t = container_of(head, struct target, rcu);

	GRACE_OVER(t);
	free(t);
}

static void slot_reclaim(struct rcu_head *head)
{
	struct book_slot *s = container_of(head, struct book_slot, rcu);

	GRACE_OVER(s);
	GRACE_OVER(atomic_load(&s->target));
	free(atomic_load(&s->target));
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static struct book_slot *slot_new(struct book *b, const char *name)
{
	struct book_slot *s = calloc(1, sizeof *s);
	struct target *t = calloc(1, sizeof *t);

	if (!s || !t) {
		free(s);
		free(t);
		return NULL;
	}
	s->book = b;
	atomic_init(&s->refs, 1);
	memcpy(s->name, name, strlen(name) + 1);
	t->t.serial = 1;
	atomic_init(&s->target, t);
	pthread_mutex_init(&s->lock, NULL);
	return s;
}

struct book_slot *book_slot_ref(struct book_slot *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

/* A reader that found it in a directory just now must not touch freed memory: a slot goes after a grace period, too. */
void book_slot_unref(struct book_slot *s)
{
	if (s && atomic_fetch_sub(&s->refs, 1) == 1)
		retire(s, &s->rcu, slot_reclaim);
}

/* False: the slot is on its way out. */
static bool slot_try_ref(struct book_slot *s)
{
	unsigned refs = atomic_load(&s->refs);

	while (refs > 0)
		if (atomic_compare_exchange_weak(&s->refs, &refs, refs + 1))
			return true;
	return false;
}

const char *book_slot_name(const struct book_slot *s)
{
	return s->name;
}

struct book_counters *book_slot_counters(struct book_slot *s)
{
	return &s->counters;
}

/* ------------------------------------------------------------------------------------------------------- directory */

static void directory_reclaim(struct rcu_head *head)
{
	struct directory *d = container_of(head, struct directory, rcu);

	GRACE_OVER(d);
	free(d);
}

static struct book_slot *directory_find(const struct directory *d, const char *name)
{
	size_t lo = 0, hi = d->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int cmp = strcmp(name, d->slots[mid]->name);

		READ_DONE(d->slots[mid]);
		if (cmp == 0)
			return d->slots[mid];
		if (cmp < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(struct book_slot *const *)a)->name, (*(struct book_slot *const *)b)->name);
}

int book_new(void (*wake)(void *ctx), void *ctx, struct book **ret_book)
{
	struct book *b = calloc(1, sizeof *b);
	struct directory *d = calloc(1, sizeof *d);

	if (!b || !d) {
		free(b);
		free(d);
		return -ENOMEM;
	}
	b->wake = wake;
	b->ctx = ctx;
	atomic_init(&b->dir, d);
	*ret_book = b;
	return 0;
}

static void directory_release(struct directory *d)
{
	for (size_t i = 0; i < d->n; i++)
		book_slot_unref(d->slots[i]);
	retire(d, &d->rcu, directory_reclaim);
}

void book_free(struct book *b)
{
	if (!b)
		return;
	directory_release(atomic_load(&b->dir));
	urcu_memb_barrier();
	free(b);
}

void book_thread_join(void)
{
	urcu_memb_register_thread();
}

void book_thread_leave(void)
{
	urcu_memb_unregister_thread();
}

/* Fills @d with kept and new slots, all with a reference for it. */
static int directory_fill(struct directory *d, struct book *b, const char *const *names, size_t n)
{
	const struct directory *old = atomic_load(&b->dir);

	for (size_t i = 0; i < n; i++) {
		struct book_slot *s = directory_find(old, names[i]);

		s = s ? book_slot_ref(s) : slot_new(b, names[i]);
		if (!s)
			return -ENOMEM;
		d->slots[d->n++] = s;
	}
	qsort(d->slots, d->n, sizeof d->slots[0], by_name);
	for (size_t i = 1; i < d->n; i++)
		if (strcmp(d->slots[i - 1]->name, d->slots[i]->name) == 0)
			return -EINVAL;
	return 0;
}

int book_set_engines(struct book *b, const char *const *names, size_t n_names)
{
	struct directory *d, *old = atomic_load(&b->dir);
	int r;

	if (n_names > BOOK_ENGINES_MAX)
		return -EINVAL;
	for (size_t i = 0; i < n_names; i++)
		if (strlen(names[i]) > LEASH_NAME_MAX)
			return -EINVAL;
	d = calloc(1, sizeof *d + n_names * sizeof d->slots[0]);
	if (!d)
		return -ENOMEM;
	d->generation = old->generation + 1;
	r = directory_fill(d, b, names, n_names);
	if (r < 0) {
		directory_release(d);
		return r;
	}
	directory_release(atomic_exchange(&b->dir, d));
	b->wake(b->ctx);
	return 0;
}

uint64_t book_generation(const struct book *b)
{
	const struct directory *d;
	uint64_t generation;

	urcu_memb_read_lock();
	d = atomic_load_explicit(&b->dir, memory_order_acquire);
	generation = d->generation;
	READ_DONE(d);
	urcu_memb_read_unlock();
	return generation;
}

struct book_slot *book_find(struct book *b, const char *name)
{
	const struct directory *d;
	struct book_slot *s;

	urcu_memb_read_lock();
	d = atomic_load_explicit(&b->dir, memory_order_acquire);
	s = directory_find(d, name);
	if (s && !slot_try_ref(s))
		s = NULL;
	if (s)
		READ_DONE(s);
	READ_DONE(d);
	urcu_memb_read_unlock();
	return s;
}

size_t book_slots(struct book *b, struct book_slot **ret_slots, size_t max)
{
	const struct directory *d;
	size_t n = 0;

	urcu_memb_read_lock();
	d = atomic_load_explicit(&b->dir, memory_order_acquire);
	for (size_t i = 0; i < d->n && n < max; i++)
		if (slot_try_ref(d->slots[i]))
			ret_slots[n++] = d->slots[i];
	READ_DONE(d);
	urcu_memb_read_unlock();
	return n;
}

/* --------------------------------------------------------------------------------------------------------- targets */

bool book_read(const struct book_slot *s, uint64_t serial, struct book_target *ret_target)
{
	const struct target *t;
	bool news;

	urcu_memb_read_lock();
	t = atomic_load_explicit(&s->target, memory_order_acquire);
	news = t->t.serial != serial;
	if (news)
		*ret_target = t->t;
	READ_DONE(t);
	urcu_memb_read_unlock();
	return news;
}

static bool same_cluster(const struct book_target *t, leash_id cluster)
{
	return !t->cluster || !cluster || t->cluster == cluster;
}

bool book_allows(const struct book_slot *s, leash_id cluster, leash_epoch epoch)
{
	const struct target *t;
	bool allows;

	urcu_memb_read_lock();
	t = atomic_load_explicit(&s->target, memory_order_acquire);
	allows = same_cluster(&t->t, cluster) && epoch >= t->t.epoch;
	READ_DONE(t);
	urcu_memb_read_unlock();
	return allows;
}

uint64_t book_serial(const struct book_slot *s)
{
	const struct target *t;
	uint64_t serial;

	urcu_memb_read_lock();
	t = atomic_load_explicit(&s->target, memory_order_acquire);
	serial = t->t.serial;
	READ_DONE(t);
	urcu_memb_read_unlock();
	return serial;
}

static bool text_set(char *to, size_t size, const char *from)
{
	size_t n = strnlen(from, size - 1);

	if (strncmp(to, from, size) == 0)
		return false;
	memcpy(to, from, n);
	to[n] = '\0';
	return true;
}

static void drop_oldest(struct book_target *t)
{
	uint32_t i = strcmp(t->nodes[0].node, t->node) == 0 ? 1 : 0;

	memmove(&t->nodes[i], &t->nodes[i + 1], (t->n_nodes - i - 1) * sizeof t->nodes[0]);
	t->n_nodes--;
}

/* True: the table of nodes changed. */
static bool note_node(struct book_target *t, const char *node, const char *address)
{
	struct book_node *n;

	if (!node[0] || !address[0])
		return false;
	for (uint32_t i = 0; i < t->n_nodes; i++)
		if (strcmp(t->nodes[i].node, node) == 0)
			return text_set(t->nodes[i].address, sizeof t->nodes[i].address, address);
	if (t->n_nodes == REP_NODES_MAX)
		drop_oldest(t);
	n = &t->nodes[t->n_nodes++];
	text_set(n->node, sizeof n->node, node);
	text_set(n->address, sizeof n->address, address);
	return true;
}

static bool note_primary(
	struct book_target *t, leash_epoch epoch, const char *node, const char *address, leash_id run)
{
	bool changed = t->epoch != epoch;

	t->epoch = epoch;
	changed |= text_set(t->node, sizeof t->node, node);
	if (address[0])
		changed |= text_set(t->address, sizeof t->address, address);
	if (run && t->run != run) {
		t->run = run;
		changed = true;
	}
	return changed;
}

/* A copy of the slot's target to change and publish; the lock is held. */
static struct target *draft_new(const struct book_slot *s)
{
	const struct target *old = atomic_load_explicit(&s->target, memory_order_relaxed);
	struct target *t = malloc(sizeof *t);

	if (t) {
		t->t = old->t;
		t->t.serial++;
	}
	return t;
}

/* The retarget: one exchange. */
static void publish(struct book_slot *s, struct target *t)
{
	struct target *old = atomic_exchange_explicit(&s->target, t, memory_order_acq_rel);

	retire(old, &old->rcu, target_reclaim);
}

/* Does @t, of which @node leads @cluster in @epoch, know better? */
static bool knows_better(const struct book_target *t, leash_id cluster, leash_epoch epoch, const char *node)
{
	return epoch == 0 || !same_cluster(t, cluster) || epoch < t->epoch ||
	       (epoch == t->epoch && strcmp(node, t->node) != 0);
}

int book_offer(struct book_slot *s, leash_id cluster, leash_epoch epoch, const char *node, const char *address,
	leash_id run)
{
	struct target *t;
	bool changed;

	pthread_mutex_lock(&s->lock);
	t = draft_new(s);
	if (!t) {
		pthread_mutex_unlock(&s->lock);
		return -ENOMEM;
	}
	if (knows_better(&t->t, cluster, epoch, node)) {
		pthread_mutex_unlock(&s->lock);
		free(t);
		return BOOK_E_OLD;
	}
	if (epoch > t->t.epoch) {
		t->t.address[0] = '\0';
		t->t.run = 0;
	}
	changed = note_primary(&t->t, epoch, node, address, run);
	changed |= note_node(&t->t, node, address);
	if (changed)
		publish(s, t);
	pthread_mutex_unlock(&s->lock);
	if (changed)
		s->book->wake(s->book->ctx);
	else
		free(t);
	return 0;
}

static void forget_primary(struct book_target *t)
{
	t->epoch = 0;
	t->node[0] = t->address[0] = '\0';
	t->run = 0;
}

/* The lock is held. True: @t is a target of another cluster now. */
static bool note_cluster(struct book_slot *s, struct book_target *t, leash_id cluster, uint64_t created)
{
	s->created = MAX2(s->created, created);
	if (t->cluster == cluster)
		return false;
	t->cluster = cluster;
	forget_primary(t);
	s->served_epoch = 0;
	return true;
}

int book_found(struct book_slot *s, leash_id cluster, uint64_t created)
{
	struct target *t;
	leash_id before;
	bool changed = false, old;

	pthread_mutex_lock(&s->lock);
	t = draft_new(s);
	if (!t) {
		pthread_mutex_unlock(&s->lock);
		return -ENOMEM;
	}
	before = t->t.cluster;
	old = cluster == 0 || (before && before != cluster && created <= s->created);
	if (!old)
		changed = note_cluster(s, &t->t, cluster, created);
	if (changed)
		publish(s, t);
	pthread_mutex_unlock(&s->lock);
	if (changed)
		s->book->wake(s->book->ctx);
	else
		free(t);
	return old ? BOOK_E_OLD : changed && before ? BOOK_E_FOUNDED : 0;
}

uint64_t book_created(struct book_slot *s)
{
	uint64_t created;

	pthread_mutex_lock(&s->lock);
	created = s->created;
	pthread_mutex_unlock(&s->lock);
	return created;
}

void book_went_back(struct book_slot *s)
{
	pthread_mutex_lock(&s->lock);
	s->created = 0;
	pthread_mutex_unlock(&s->lock);
}

int book_learn(struct book_slot *s, const char *node, const char *address)
{
	struct target *t;
	bool changed;

	pthread_mutex_lock(&s->lock);
	t = draft_new(s);
	if (!t) {
		pthread_mutex_unlock(&s->lock);
		return -ENOMEM;
	}
	changed = note_node(&t->t, node, address);
	if (changed)
		publish(s, t);
	pthread_mutex_unlock(&s->lock);
	if (changed)
		s->book->wake(s->book->ctx);
	else
		free(t);
	return 0;
}

/* -------------------------------------------------------------------------------------------------------- presence */

bool book_attached(
	struct book_slot *s, leash_epoch epoch, bool was_attached, uint64_t now_ns, uint64_t *ret_pause_ns)
{
	bool first;

	pthread_mutex_lock(&s->lock);
	first = epoch > s->served_epoch || s->n_attached == 0;
	*ret_pause_ns = s->n_attached == 0 && s->detached_ns ? now_ns - s->detached_ns : 0;
	s->served_epoch = MAX2(s->served_epoch, epoch);
	s->n_attached += !was_attached;
	pthread_mutex_unlock(&s->lock);
	return first;
}

bool book_detached(struct book_slot *s, uint64_t now_ns)
{
	bool last;

	pthread_mutex_lock(&s->lock);
	must(s->n_attached > 0);
	last = --s->n_attached == 0;
	if (last)
		s->detached_ns = now_ns;
	pthread_mutex_unlock(&s->lock);
	return last;
}

bool book_is_attached(struct book_slot *s)
{
	bool is;

	pthread_mutex_lock(&s->lock);
	is = s->n_attached > 0;
	pthread_mutex_unlock(&s->lock);
	return is;
}
