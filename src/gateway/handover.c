#include "gateway/handover.h"

#include <errno.h>

#include "base/diag.h"

/* ---------------------------------------------------------------------------------------------------------- the book */

/* The book knows of no etcd revision yet: whatever cluster etcd names takes the place of this one. */
static int book_in(struct book_slot *s, const struct book_target *t)
{
	int r = 0;

	if (t->cluster)
		r = book_found(s, t->cluster, 0);
	for (uint32_t i = 0; i < t->n_nodes && r == 0; i++)
		r = book_learn(s, t->nodes[i].node, t->nodes[i].address);
	if (r == 0 && t->epoch)
		r = book_offer(s, t->cluster, t->epoch, t->node, t->address, t->run);
	return r == -ENOMEM ? r : 0; /* else etcd was faster, and knows better */
}

static int books_in(struct book *book, const struct keep *k)
{
	int r = 0;

	for (size_t i = 0; i < k->n_engines && r == 0; i++) {
		struct book_slot *s = book_find(book, k->engines[i].name);

		if (s)
			r = book_in(s, &k->engines[i].target);
		book_slot_unref(s);
	}
	return r;
}

static int books_out(struct book *book, struct keep *k)
{
	struct book_slot *slots[BOOK_ENGINES_MAX];
	size_t n = book_slots(book, slots, ARRAY_SIZE(slots));

	k->engines = calloc(n ? n : 1, sizeof *k->engines);
	for (size_t i = 0; i < n; i++) {
		if (k->engines) {
			struct kept_engine *e = &k->engines[k->n_engines++];

			memcpy(e->name, book_slot_name(slots[i]), strlen(book_slot_name(slots[i])) + 1);
			(void)book_read(slots[i], 0, &e->target);
		}
		book_slot_unref(slots[i]);
	}
	return k->engines ? 0 : -ENOMEM;
}

/* ----------------------------------------------------------------------------------------------------------- clients */

/* Takes over what is in @k, as far as there is memory. */
static int clients_in(struct crew *crew, struct keep *k)
{
	int r = books_in(crew->book, k);

	for (size_t i = 0; r == 0 && k->n_clients > 0; i++) {
		struct kept_client *c = &k->clients[k->n_clients - 1];

		r = worker_adopt(crew->workers[i % crew->n_workers], c);
		if (r == 0)
			k->n_clients--;
	}
	return r;
}

static int clients_out(struct crew *crew, struct keep *ret_keep)
{
	struct keep k = KEEP_NULL;
	int r = books_out(crew->book, &k);

	for (uint32_t i = 0; r == 0 && i < crew->n_workers; i++)
		r = worker_release(crew->workers[i], &k);
	if (r < 0) {
		keep_deinit(&k);
		return r;
	}
	*ret_keep = k;
	return 0;
}

int handover_take(struct crew *crew, struct notify_fds *fds)
{
	_cleanup_(keep_deinit) struct keep keep = KEEP_NULL;
	struct keep_taken taken;
	int r = keep_take(fds, &keep, &taken);
	size_t n = keep.n_clients;

	if (r == 0)
		r = clients_in(crew, &keep);
	if (r < 0)
		return r;
	if (taken.n_lost)
		diag(LOG_WARNING, "%u client connections of the former process had to be closed%s", taken.n_lost,
			taken.error == KEEP_E_FOREIGN ? ": it was another release" :
			taken.error		      ? ": what it wrote of them is damaged" :
							"");
	if (n)
		diag(LOG_INFO, "going on with %zu client connections of the former process", n);
	return 0;
}

void handover_store(struct crew *crew)
{
	_cleanup_(keep_deinit) struct keep keep = KEEP_NULL;
	int r = clients_out(crew, &keep);

	if (r == 0)
		r = keep_store(&keep);
	if (r < 0)
		diag(LOG_WARNING, "client connections cannot be kept for the next start, and end: %s", strerror(-r));
	else
		diag(LOG_INFO, "%zu client connections were given to the service manager for the next start",
			keep.n_clients);
}
