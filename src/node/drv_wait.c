#include "node/drv_int.h"

#include <errno.h>

/* Behind the last one that is not higher: new appends go to the tail at once, and retries that a gateway repeats in
 * order find their place near it. */
static void insert(struct drv_wait *w, struct drv_waiter *n)
{
	struct drv_waiter *after = w->tail;

	while (after && after->seq > n->seq)
		after = after->prev;
	n->prev = after;
	n->next = after ? after->next : w->head;
	*(n->next ? &n->next->prev : &w->tail) = n;
	*(after ? &after->next : &w->head) = n;
}

static void take_out(struct drv_wait *w, struct drv_waiter *n)
{
	*(n->next ? &n->next->prev : &w->tail) = n->prev;
	*(n->prev ? &n->prev->next : &w->head) = n->next;
	HASH_DEL(w->by_ptr, n);
	w->n--;
	free(n);
}

void wait_deinit(struct drv_wait *w)
{
	while (w->head)
		take_out(w, w->head);
}

int wait_add(struct drv_wait *w, void *waiter, leash_seq seq, enum drv_answer_kind kind)
{
	struct drv_waiter *n;

	HASH_FIND_PTR(w->by_ptr, &waiter, n);
	must(!n && waiter); /* one append at a time */
	n = malloc(sizeof *n);
	if (!n)
		return -ENOMEM;
	*n = (struct drv_waiter){ .waiter = waiter, .seq = seq, .kind = kind };
	HASH_ADD_PTR(w->by_ptr, waiter, n);
	insert(w, n);
	w->n++;
	return 0;
}

void wait_forget(struct drv_wait *w, void *waiter)
{
	struct drv_waiter *n;

	HASH_FIND_PTR(w->by_ptr, &waiter, n);
	if (n)
		take_out(w, n);
}

bool wait_take(struct drv_wait *w, leash_seq seq, void **ret_waiter, struct drv_answer *ret_answer)
{
	struct drv_waiter *n = w->head;

	if (!n || n->seq > seq)
		return false;
	*ret_waiter = n->waiter;
	*ret_answer = (struct drv_answer){ .kind = n->kind, .seq = n->seq };
	take_out(w, n);
	return true;
}
