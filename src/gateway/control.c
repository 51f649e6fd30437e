#include "gateway/control.h"

#include <errno.h>

#include "base/clk.h"
#include "etcd/keys.h"
#include "etcd/watch.h"
#include "gateway/diag_gateway.h"

struct control {
	struct etcd *etcd;
	struct etcd_watch *watch;
	struct book *book;
	struct book_slot *slots[ETCD_RANGES_MAX]; /* range i is slots[i] */
	size_t n_slots;
	bool connected;
	uint64_t lost_ns; /* 0: was not reported lost */
};

static void on_insync(struct book_slot *s, const struct etcd_kv *kv)
{
	char reason[KEYS_REASON_MAX];
	struct rep_insync set;
	int r = keys_insync_decode(kv->value, &set, reason);

	if (r == KEYS_E_MALFORMED)
		diag_unreadable(book_slot_name(s), reason);
	else if (r == 0 && book_found(s, set.cluster, (uint64_t)kv->create_revision) == BOOK_E_FOUNDED)
		diag_founded(book_slot_name(s), set.cluster); /* -ENOMEM: comes again with each change of the set */
}

static void on_leader(struct book_slot *s, const struct etcd_kv *kv)
{
	char reason[KEYS_REASON_MAX];
	struct rep_leader l;
	int r = keys_leader_decode(kv->value, &l, reason);

	if (r == KEYS_E_MALFORMED)
		diag_unreadable(book_slot_name(s), reason);
	else if (r == 0 && (uint64_t)kv->mod_revision >= book_created(s))
		/* BOOK_E_OLD: known better; -ENOMEM: the node itself will say it again */
		(void)!book_offer(s, 0, l.epoch, l.node, l.address, l.run);
}

static void on_node(struct book_slot *s, const struct etcd_kv *kv)
{
	char reason[KEYS_REASON_MAX], release[KEYS_RELEASE_MAX + 1];
	struct rep_node n;
	int r = keys_node_decode(kv->value, &n, release, reason);

	if (r == KEYS_E_MALFORMED)
		diag_unreadable(book_slot_name(s), reason);
	else if (r == 0)
		(void)!book_learn(
			s, n.node, n.address); /* -ENOMEM: comes again with the next state that is read */
}

static void on_put(struct book_slot *s, const struct etcd_kv *kv)
{
	char node[LEASH_NAME_MAX + 1];

	switch (keys_kind_of(book_slot_name(s), kv->key, node)) {
	case KEYS_LEADER:
		on_leader(s, kv);
		return;
	case KEYS_NODE:
		on_node(s, kv);
		return;
	case KEYS_INSYNC:
		on_insync(s, kv);
		return;
	case KEYS_SETTINGS:
	case KEYS_REQUEST:
	case KEYS_OTHER:
		return;
	}
}

static void on_events(void *ctx, const struct etcd_event *events, size_t n_events)
{
	struct control *c = ctx;

	for (size_t i = 0; i < n_events; i++)
		if (!events[i].deleted && events[i].range < c->n_slots)
			on_put(c->slots[events[i].range], &events[i].kv);
}

/* The cluster before its leader: that one's epoch counts within it. (etcd sorts by key, as it happens.) */
static void on_range(struct book_slot *s, const struct etcd_range_kvs *range, bool went_back)
{
	char node[LEASH_NAME_MAX + 1];

	if (went_back)
		book_went_back(s);
	for (size_t k = 0; k < range->n_kvs; k++)
		if (keys_kind_of(book_slot_name(s), range->kvs[k].key, node) == KEYS_INSYNC)
			on_insync(s, &range->kvs[k]);
	for (size_t k = 0; k < range->n_kvs; k++)
		if (keys_kind_of(book_slot_name(s), range->kvs[k].key, node) != KEYS_INSYNC)
			on_put(s, &range->kvs[k]);
}

static void on_reset(void *ctx, const struct etcd_reset *reset)
{
	struct control *c = ctx;

	if (reset->went_back)
		diag_went_back(reset->reason);
	for (size_t i = 0; i < reset->n_ranges && i < c->n_slots; i++)
		on_range(c->slots[i], &reset->ranges[i], reset->went_back);
}

static void on_state(void *ctx, const struct etcd_watch_status *s)
{
	struct control *c = ctx;
	uint64_t now_ns = clk_boot_ns();

	switch (s->state) {
	case ETCD_WATCH_CONNECTED:
		if (c->lost_ns)
			diag_etcd_back(s->endpoint, (now_ns - c->lost_ns) / NS_PER_MS);
		c->lost_ns = 0;
		c->connected = true;
		return;
	case ETCD_WATCH_BROKEN:
	case ETCD_WATCH_FOREIGN:
		c->connected = false;
		if (!c->lost_ns) {
			c->lost_ns = now_ns;
			diag_etcd_lost(s->endpoint,
				s->state == ETCD_WATCH_FOREIGN ? "it is another cluster" : s->reason);
		}
		return;
	case ETCD_WATCH_CONNECTING:
		return;
	}
}

int control_new(struct event_base *base, const struct etcd_conf *etcd, struct book *book,
	struct control **ret_control)
{
	struct control *c = calloc(1, sizeof *c);
	int r;

	if (!c)
		return -ENOMEM;
	c->book = book;
	r = etcd_new(base, etcd, &c->etcd);
	if (r < 0) {
		free(c);
		return r;
	}
	*ret_control = c;
	return 0;
}

static void forget_slots(struct control *c)
{
	while (c->n_slots)
		book_slot_unref(c->slots[--c->n_slots]);
}

void control_free(struct control *c)
{
	if (!c)
		return;
	etcd_watch_free(c->watch);
	etcd_free(c->etcd);
	forget_slots(c);
	free(c);
}

int control_watch(struct control *c)
{
	static const struct etcd_watch_ops ops = {
		.on_events = on_events, .on_reset = on_reset, .on_state = on_state
	};
	struct etcd_watch_range ranges[ETCD_RANGES_MAX];
	char prefixes[ETCD_RANGES_MAX][KEYS_NAME_MAX + 1];
	struct etcd_watch_conf conf = { .ranges = ranges };

	etcd_watch_free(TAKE(c->watch));
	forget_slots(c);
	c->n_slots = book_slots(c->book, c->slots, ETCD_RANGES_MAX);
	for (size_t i = 0; i < c->n_slots; i++)
		ranges[i] = (struct etcd_watch_range){
			.key = etcd_str(keys_prefix(book_slot_name(c->slots[i]), prefixes[i])),
			.prefix = true,
		};
	conf.n_ranges = c->n_slots;
	return etcd_watch_new(c->etcd, &conf, &ops, c, &c->watch);
}

bool control_connected(const struct control *c)
{
	return c->connected;
}
