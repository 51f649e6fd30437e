/*
 * A worker's clients over a restart of the process (keep.h).
 *
 * At the end: clients are paused (front_client_pause()), what they have with nodes is answered, what is written meanwhile
 * leaves if its client takes it soon; then each is written down and its socket taken out. At the beginning: the first turn
 * makes clients of them, as soon as the engines are there.
 */
#include <errno.h>
#include <utlist.h>

#include "base/clk.h"
#include "base/diag.h"
#include "gateway/worker_int.h"

int worker_adopt(struct worker *w, struct kept_client *c)
{
	int r = keep_add(&w->adopted, c->fd, c->state, c->bytes);

	if (r < 0)
		return r;
	c->fd = -1;
	c->state = NULL;
	atomic_fetch_add(&w->n_clients, 1);
	atomic_fetch_add(&w->crew->n_clients, 1);
	return 0;
}

void keep_begin(struct worker *w)
{
	uint32_t n_dropped = 0;

	for (size_t i = 0; i < w->adopted.n_clients; i++) {
		struct kept_client *k = &w->adopted.clients[i];
		struct conn *c = conn_new(w, TAKE_FD(k->fd)); /* NULL: its client has gone meanwhile */

		if (!c || !k->bytes || front_client_load(c->fc, (struct bytes){ k->state, k->bytes }) == 0)
			continue;
		conn_drop(c);
		n_dropped++;
	}
	keep_deinit(&w->adopted);
	if (n_dropped)
		diag(LOG_WARNING,
			"%u client connections cannot go on and are closed: their engine is not served any more",
			n_dropped);
}

bool keep_ready(const struct worker *w, uint64_t now_ns)
{
	const struct conn *c;

	DL_FOREACH(w->clients, c)
	{
		if (c->woken || !front_client_quiet(c->fc))
			return false;
		if (buf_len(front_client_out(c->fc)) && now_ns < w->flush_until_ns)
			return false;
	}
	return true;
}

/* Writes @c down. False: it cannot be kept. */
static bool keep_one(struct worker *w, struct conn *c, uint64_t now_ns)
{
	struct buf state = BUF_NULL;
	uint8_t *copy = NULL;
	bool kept = false;

	if (c->fd < 0 || front_client_save(c->fc, now_ns, &state) < 0)
		goto out;
	if (atomic_fetch_add(&w->crew->kept_bytes, buf_len(&state)) + buf_len(&state) > KEEP_BYTES_MAX)
		goto out;
	copy = malloc(buf_len(&state));
	if (!copy)
		goto out;
	memcpy(copy, buf_head(&state), buf_len(&state));
	kept = keep_add(&w->kept, c->fd, copy, buf_len(&state)) == 0;
out:
	buf_deinit(&state);
	if (!kept)
		free(copy);
	return kept;
}

void keep_end(struct worker *w, uint64_t now_ns)
{
	struct conn *c, *next;

	DL_FOREACH_SAFE(w->clients, c, next)
	{
		if (keep_one(w, c, now_ns))
			conn_release(c);
		else
			w->cut_off += c->fd >= 0 && !w->gave_up; /* else it was counted then */
	}
}

/* Those that were accepted for it and that it never saw go along as they are. */
int worker_release(struct worker *w, struct keep *k)
{
	int r = 0;

	must(worker_done(w));
	pthread_mutex_lock(&w->mail_lock);
	while (r == 0 && w->n_mail > 0) {
		r = keep_add(k, w->mail[w->n_mail - 1], NULL, 0);
		w->n_mail -= r == 0;
	}
	pthread_mutex_unlock(&w->mail_lock);
	for (size_t i = 0; r == 0 && i < w->kept.n_clients; i++) {
		struct kept_client *c = &w->kept.clients[i];

		r = keep_add(k, c->fd, c->state, c->bytes);
		if (r == 0) {
			c->fd = -1;
			c->state = NULL;
		}
	}
	return r;
}
