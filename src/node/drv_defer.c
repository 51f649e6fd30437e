#include "node/drv_int.h"

void drv_deferred_free(struct drv_deferred *f)
{
	if (!f)
		return;
	for (uint32_t i = 0; i < f->n_drv_recs; i++)
		drv_rec_unref(f->drv_recs[i]);
	free(f->drv_recs);
	free(f->recs);
	free(f->history);
	free(f->msg);
	free(f->view);
	free(f);
}

static void *copy_of(const void *p, size_t bytes)
{
	void *c = malloc(bytes ? bytes : 1);

	must(c); /* a completion that is lost would leave the state machine waiting for ever */
	if (bytes)
		memcpy(c, p, bytes);
	return c;
}

static const char *keep_name(struct drv_deferred *f, const char *name)
{
	size_t n = name ? strnlen(name, LEASH_NAME_MAX) : 0;

	if (n)
		memcpy(f->node, name, n);
	f->node[n] = '\0';
	return f->node;
}

static void keep_msg(struct drv_deferred *f)
{
	const struct rep_msg *m = f->in.ev.msg.msg;

	f->in.ev.msg.from = keep_name(f, f->in.ev.msg.from);
	f->msg = copy_of(m, sizeof *m);
	f->in.ev.msg.msg = f->msg;
	f->msg->history = f->history = copy_of(m->history, m->n_history * sizeof *m->history);
	f->msg->recs = f->recs = copy_of(m->recs, m->n_recs * sizeof *m->recs);
	if (!f->in.recs)
		return;
	f->drv_recs = copy_of(f->in.recs, m->n_recs * sizeof(struct drv_rec *));
	f->n_drv_recs = m->n_recs;
	for (uint32_t i = 0; i < m->n_recs; i++)
		(void)drv_rec_ref(f->drv_recs[i]);
	f->in.recs = f->drv_recs;
}

static void keep_what_it_points_to(struct drv_deferred *f)
{
	struct rep_event *ev = &f->in.ev;

	switch (ev->kind) {
	case REP_EV_VIEW:
		ev->view = f->view = copy_of(ev->view, sizeof *ev->view);
		break;
	case REP_EV_TXN:
		if (ev->txn.view)
			ev->txn.view = f->view = copy_of(ev->txn.view, sizeof *ev->txn.view);
		break;
	case REP_EV_LINK:
		ev->link.node = keep_name(f, ev->link.node);
		break;
	case REP_EV_MSG:
		keep_msg(f);
		break;
	case REP_EV_HANDOVER:
		ev->handover.to = keep_name(f, ev->handover.to);
		break;
	case REP_EV_TICK:
	case REP_EV_LEASE:
	case REP_EV_DURABLE:
	case REP_EV_CUT:
	case REP_EV_META:
	case REP_EV_FULL:
	case REP_EV_TRIMMED:
	case REP_EV_INCARNATION:
	case REP_EV_DAMAGE:
	case REP_EV_MENDED:
		break;
	}
}

void drv_defer(struct drv *d, const struct drv_input *in)
{
	struct drv_deferred *f;

	if (in->ev.kind == REP_EV_MSG && d->n_deferred_msgs >= DRV_DEFERRED_MSGS_MAX)
		return; /* lost, as a message may be */
	f = calloc(1, sizeof *f);
	must(f);
	f->in = *in;
	keep_what_it_points_to(f);
	d->n_deferred_msgs += in->ev.kind == REP_EV_MSG;
	*d->deferred_tail = f;
	d->deferred_tail = &f->next;
}

struct drv_deferred *drv_deferred_take(struct drv *d)
{
	struct drv_deferred *f = d->deferred;

	if (!f)
		return NULL;
	d->deferred = f->next;
	if (!d->deferred)
		d->deferred_tail = &d->deferred;
	d->n_deferred_msgs -= f->in.ev.kind == REP_EV_MSG;
	f->next = NULL;
	return f;
}
