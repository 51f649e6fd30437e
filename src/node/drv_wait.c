#include "node/drv_int.h"

#include <errno.h>

#define WAIT_CAP_MIN 1024

static struct drv_waiter *slot(const struct drv_wait *w, leash_seq seq)
{
	return &w->ring[seq & (w->cap - 1)];
}

void wait_deinit(struct drv_wait *w)
{
	while (w->head) {
		struct drv_retry *n = w->head;

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

int wait_append(struct drv_wait *w, const struct drv_waiter *who, leash_seq seq)
{
	must(who->owner);
	if (w->first == w->next)
		w->first = w->next = seq;
	must(seq == w->next);
	if (w->next - w->first == w->cap && !grow(w))
		return -ENOMEM;
	*slot(w, w->next++) = *who;
	return 0;
}

/* Behind the last one that is not higher: retries that a gateway repeats in order find their place at the end. */
int wait_retry(struct drv_wait *w, const struct drv_waiter *who, leash_seq seq, enum drv_answer_kind kind)
{
	struct drv_retry *n = malloc(sizeof *n), *after = w->tail;

	must(who->owner);
	if (!n)
		return -ENOMEM;
	while (after && after->seq > seq)
		after = after->prev;
	*n = (struct drv_retry){ .w = *who, .seq = seq, .kind = kind, .prev = after,
		.next = after ? after->next : w->head };
	*(n->next ? &n->next->prev : &w->tail) = n;
	*(after ? &after->next : &w->head) = n;
	w->n++;
	return 0;
}

static void take_out(struct drv_wait *w, struct drv_retry *n)
{
	*(n->next ? &n->next->prev : &w->tail) = n->prev;
	*(n->prev ? &n->prev->next : &w->head) = n->next;
	w->n--;
	free(n);
}

void wait_forget(struct drv_wait *w, const void *owner, leash_seq seq)
{
	leash_seq from = seq ? MAX2(seq, w->first) : w->first, to = seq ? MIN2(seq + 1, w->next) : w->next;

	for (leash_seq s = from; s < to; s++)
		if (slot(w, s)->owner == owner)
			slot(w, s)->owner = NULL;
	for (struct drv_retry *n = w->head, *next; n; n = next) {
		next = n->next;
		if (n->w.owner == owner && (!seq || n->seq == seq))
			take_out(w, n);
	}
}

bool wait_take(struct drv_wait *w, leash_seq seq, struct drv_waiter *ret_who, struct drv_answer *ret_answer)
{
	struct drv_retry *n = w->head;

	for (; w->first < w->next && w->first <= seq && (!n || w->first <= n->seq); w->first++) {
		const struct drv_waiter *who = slot(w, w->first);

		if (!who->owner)
			continue;
		*ret_who = *who;
		*ret_answer = (struct drv_answer){ .kind = DRV_ANS_OK, .seq = w->first++ };
		return true;
	}
	if (!n || n->seq > seq)
		return false;
	*ret_who = n->w;
	*ret_answer = (struct drv_answer){ .kind = n->kind, .seq = n->seq };
	take_out(w, n);
	return true;
}
