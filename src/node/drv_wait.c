#include "node/drv_int.h"

#include <errno.h>

#define WAIT_CAP_MIN 1024

static void **slot(const struct drv_wait *w, leash_seq seq)
{
	return &w->ring[seq & (w->cap - 1)];
}

void wait_deinit(struct drv_wait *w)
{
	while (w->head) {
		struct drv_waiter *n = w->head;

		w->head = n->next;
		free(n);
	}
	free(w->ring);
	*w = (struct drv_wait){ 0 };
}

static bool grow(struct drv_wait *w)
{
	struct drv_wait bigger = { .cap = w->cap ? 2 * w->cap : WAIT_CAP_MIN };

	bigger.ring = malloc(bigger.cap * sizeof *bigger.ring);
	if (!bigger.ring)
		return false;
	for (leash_seq s = w->first; s < w->next; s++)
		*slot(&bigger, s) = *slot(w, s);
	free(w->ring);
	w->ring = bigger.ring;
	w->cap = bigger.cap;
	return true;
}

int wait_append(struct drv_wait *w, void *waiter, leash_seq seq)
{
	must(waiter);
	if (w->first == w->next)
		w->first = w->next = seq;
	must(seq == w->next);
	if (w->next - w->first == w->cap && !grow(w))
		return -ENOMEM;
	*slot(w, w->next++) = waiter;
	return 0;
}

/* Behind the last one that is not higher: retries that a gateway repeats in order find their place at the end. */
int wait_add(struct drv_wait *w, void *waiter, leash_seq seq, enum drv_answer_kind kind)
{
	struct drv_waiter *n = malloc(sizeof *n), *after = w->tail;

	must(waiter);
	if (!n)
		return -ENOMEM;
	while (after && after->seq > seq)
		after = after->prev;
	*n = (struct drv_waiter){ .waiter = waiter, .seq = seq, .kind = kind, .prev = after,
		.next = after ? after->next : w->head };
	*(n->next ? &n->next->prev : &w->tail) = n;
	*(after ? &after->next : &w->head) = n;
	w->n++;
	return 0;
}

static void take_out(struct drv_wait *w, struct drv_waiter *n)
{
	*(n->next ? &n->next->prev : &w->tail) = n->prev;
	*(n->prev ? &n->prev->next : &w->head) = n->next;
	w->n--;
	free(n);
}

void wait_forget(struct drv_wait *w, void *waiter, leash_seq seq)
{
	struct drv_waiter *n = w->head;

	if (seq >= w->first && seq < w->next && *slot(w, seq) == waiter) {
		*slot(w, seq) = NULL;
		return;
	}
	while (n && n->waiter != waiter && n->seq <= seq)
		n = n->next;
	if (n && n->waiter == waiter)
		take_out(w, n);
}

bool wait_take(struct drv_wait *w, leash_seq seq, void **ret_waiter, struct drv_answer *ret_answer)
{
	struct drv_waiter *n = w->head;

	for (; w->first < w->next && w->first <= seq && (!n || w->first <= n->seq); w->first++) {
		void *waiter = *slot(w, w->first);

		if (!waiter)
			continue;
		*ret_waiter = waiter;
		*ret_answer = (struct drv_answer){ .kind = DRV_ANS_OK, .seq = w->first++ };
		return true;
	}
	if (!n || n->seq > seq)
		return false;
	*ret_waiter = n->waiter;
	*ret_answer = (struct drv_answer){ .kind = n->kind, .seq = n->seq };
	take_out(w, n);
	return true;
}
