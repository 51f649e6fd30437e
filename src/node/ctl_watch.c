#include "node/ctl_int.h"

#include <errno.h>

/* ---------------------------------------------------------------------------------------------------------- pictures */

void ctl_give_view(struct control *c, const struct keys_view *v)
{
	/* What went through Raft is the truth, also when it is older (R4a); the rest only moves forward. */
	c->last_revision = v->view.authoritative ? v->view.revision : MAX2(c->last_revision, v->view.revision);
	c->ops.view(c->ops.ctx, v);
}

static void tell_unreadable(struct control *c, const struct keys_view *v)
{
	if (v->n_bad == 0) {
		c->unreadable[0] = '\0';
		return;
	}
	if (strncmp(c->unreadable, v->bad, sizeof c->unreadable - 1) == 0)
		return;
	memset(c->unreadable, 0, sizeof c->unreadable);
	memcpy(c->unreadable, v->bad, strnlen(v->bad, sizeof c->unreadable - 1));
	c->ops.unreadable(c->ops.ctx, v->bad);
}

bool ctl_range_view(struct control *c, const struct etcd_range_resp *range, uint64_t revision, bool authoritative,
	struct keys_view **ret_view)
{
	struct keys_view *v = malloc(sizeof *v);

	if (!v)
		return false;
	if (keys_view_of_range(c->conf.engine, revision, authoritative, range->kvs, range->n_kvs, v) < 0) {
		free(v);
		return false;
	}
	tell_unreadable(c, v);
	if (v->broken) {
		free(v);
		return false;
	}
	*ret_view = v;
	return true;
}

/* ---------------------------------------------------------------------------------------------- the watch's picture */

static struct ctl_key *find(struct control *c, struct bytes key)
{
	for (size_t i = 0; i < c->n_keys; i++)
		if (c->keys[i].kv.key.len == key.len && memcmp(c->keys[i].kv.key.p, key.p, key.len) == 0)
			return &c->keys[i];
	return NULL;
}

static void drop(struct control *c, struct ctl_key *k)
{
	buf_deinit(&k->text);
	*k = c->keys[--c->n_keys];
	c->keys[c->n_keys] = (struct ctl_key){ 0 };
}

static void forget_keys(struct control *c)
{
	while (c->n_keys > 0)
		drop(c, &c->keys[c->n_keys - 1]);
}

static int keep(struct control *c, const struct etcd_kv *kv)
{
	struct ctl_key *k = find(c, kv->key);
	char node[LEASH_NAME_MAX + 1];

	if (k)
		drop(c, k);
	if (keys_kind_of(c->conf.engine, kv->key, node) == KEYS_OTHER)
		return 0;
	if (c->n_keys == CTL_KEYS_MAX)
		return -ENOBUFS;
	k = &c->keys[c->n_keys];
	if (buf_put(&k->text, kv->key.p, kv->key.len) < 0 || buf_put(&k->text, kv->value.p, kv->value.len) < 0) {
		buf_deinit(&k->text);
		k->text = (struct buf)BUF_NULL;
		return -ENOMEM;
	}
	k->kv = *kv;
	k->kv.key.p = buf_head(&k->text);
	k->kv.value.p = buf_head(&k->text) + kv->key.len;
	c->n_keys++;
	return 0;
}

static void give_picture(struct control *c, uint64_t revision)
{
	struct etcd_kv kvs[CTL_KEYS_MAX];
	struct etcd_range_resp range = { .kvs = kvs, .n_kvs = c->n_keys };
	struct keys_view *v;

	for (size_t i = 0; i < c->n_keys; i++)
		kvs[i] = c->keys[i].kv;
	if (revision < c->last_revision || !ctl_range_view(c, &range, revision, false, &v))
		return;
	ctl_give_view(c, v);
	free(v);
}

static void on_events(void *ctx, const struct etcd_event *events, size_t n_events)
{
	struct control *c = ctx;
	uint64_t revision = 0;
	int r = 0;

	for (size_t i = 0; i < n_events; i++) {
		const struct etcd_event *ev = &events[i];
		struct ctl_key *k = find(c, ev->kv.key);

		revision = MAX2(revision, (uint64_t)ev->kv.mod_revision);
		if (!ev->deleted)
			r = keep(c, &ev->kv) < 0 ? -ENOMEM : r;
		else if (k)
			drop(c, k);
	}
	if (r < 0)
		control_read(c); /* this picture has a hole: look at the whole */
	else
		give_picture(c, revision);
}

static void on_reset(void *ctx, const struct etcd_reset *reset)
{
	struct control *c = ctx;
	int r = 0;

	forget_keys(c);
	for (size_t i = 0; i < reset->ranges[0].n_kvs && r == 0; i++)
		r = keep(c, &reset->ranges[0].kvs[i]);
	if (reset->went_back)
		c->last_revision = (uint64_t)reset->revision; /* it is for the state machine to judge (R4a) */
	if (r < 0)
		control_read(c);
	else
		give_picture(c, (uint64_t)reset->revision);
}

int ctl_watch_start(struct control *c)
{
	struct etcd_watch_range range = { .key = etcd_str(c->prefix), .prefix = true };
	struct etcd_watch_conf conf = { .ranges = &range, .n_ranges = 1 };
	static const struct etcd_watch_ops ops = { .on_events = on_events, .on_reset = on_reset };

	return etcd_watch_new(c->etcd, &conf, &ops, c, &c->watch);
}

void ctl_watch_stop(struct control *c)
{
	etcd_watch_free(c->watch);
	c->watch = NULL;
	forget_keys(c);
}
