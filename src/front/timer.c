/* A binary heap of the clients that wait for a point in time. */
#include <errno.h>

#include "front/front_int.h"

/* Room for all clients, so that setting a deadline cannot fail. */
int timer_reserve(struct front *f, uint32_t n_clients)
{
	struct front_client **timers = realloc(f->timers, n_clients * sizeof(struct front_client *));

	if (!timers)
		return -ENOMEM;
	f->timers = timers;
	return 0;
}

static void place(struct front *f, struct front_client *c, uint32_t at)
{
	f->timers[at] = c;
	c->heap_at = at;
}

static void sift_up(struct front *f, uint32_t at)
{
	struct front_client *c = f->timers[at];

	while (at > 0 && f->timers[(at - 1) / 2]->deadline_ns > c->deadline_ns) {
		place(f, f->timers[(at - 1) / 2], at);
		at = (at - 1) / 2;
	}
	place(f, c, at);
}

static void sift_down(struct front *f, uint32_t at)
{
	struct front_client *c = f->timers[at];

	for (;;) {
		uint32_t child = 2 * at + 1;

		if (child >= f->n_timers)
			break;
		if (child + 1 < f->n_timers && f->timers[child + 1]->deadline_ns < f->timers[child]->deadline_ns)
			child++;
		if (f->timers[child]->deadline_ns >= c->deadline_ns)
			break;
		place(f, f->timers[child], at);
		at = child;
	}
	place(f, c, at);
}

static void take_out(struct front_client *c)
{
	struct front *f = c->front;
	struct front_client *last = f->timers[--f->n_timers];

	c->deadline_ns = UINT64_MAX;
	if (last == c)
		return;
	place(f, last, c->heap_at);
	sift_up(f, last->heap_at);
	sift_down(f, last->heap_at);
}

void timer_set(struct front_client *c, uint64_t deadline_ns)
{
	struct front *f = c->front;

	if (c->deadline_ns != UINT64_MAX)
		take_out(c);
	if (deadline_ns == UINT64_MAX)
		return;
	c->deadline_ns = deadline_ns;
	place(f, c, f->n_timers++);
	sift_up(f, c->heap_at);
}
