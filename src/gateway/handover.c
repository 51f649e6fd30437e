#include "gateway/handover.h"

#include <errno.h>

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

int handover_in(struct crew *crew, struct keep *k)
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

int handover_out(struct crew *crew, struct keep *ret_keep)
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
