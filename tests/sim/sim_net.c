/* Connections and messages. */
#include "tests/sim/sim_int.h"

#include "wire/frame.h"
#include "wire/peer.h"

#define ODD_RARE   0.2 /* chance of an odd one beside a message of a kind that is rare */
#define AGAIN_RARE 0.2 /* chance that such a message comes once more */

static uint64_t latency_ns(struct sim *s, int from, int to)
{
	uint64_t ns = MS / 20 + sim_below(s, MS / 2) + (s->delay_ms[from][to] + s->far_ms[from][to]) * MS;

	if (s->swarming && sim_chance(s, 0.01))
		ns += sim_below(s, 300 * MS);
	return ns;
}

bool simnet_reaches(const struct sim *s, int from, int to)
{
	return !s->cut[from][to] && !s->cut[to][from]; /* one way is enough to break a TCP connection */
}

static void tell_link(struct sim *s, int from, int to, bool up, bool refused)
{
	struct simnode *n = simnode_enter(s, from);

	if (n)
		node_link(n->node, s->nodes[to].name, up, s->conns[from][to].number, refused);
}

void simnet_dial(struct sim *s, int from, int to, uint64_t after_ns)
{
	struct conn *c = &s->conns[from][to];

	if (c->up || c->dialing || !s->nodes[from].up)
		return;
	c->dialing = true;
	(void)sim_timer(s, after_ns, T_LINK_DIAL, from, to);
}

/* One end is gone, or the connection is reset: the maker of it notices a little later. */
void simnet_drop(struct sim *s, int from, int to)
{
	struct conn *c = &s->conns[from][to];
	struct timer *t;

	if (!c->up) {
		c->dialing = false;
		return;
	}
	c->broken = true;
	if (!s->nodes[from].up) {
		c->up = c->dialing = false;
		return;
	}
	t = sim_timer(s, MS / 10 + sim_below(s, MS), T_LINK_RESET, from, to);
	t->x = c->id;
}

static void on_reset(struct sim *s, struct timer *t)
{
	struct conn *c = &s->conns[t->a][t->b];

	if (!c->up || c->id != t->x)
		return;
	c->up = false;
	/* A dead process on a living host refuses; what is cut off stays silent. */
	tell_link(s, t->a, t->b, false, !s->nodes[t->b].up && simnet_reaches(s, t->a, t->b));
	simnet_dial(s, t->a, t->b, MS + sim_below(s, 5 * MS));
}

static void on_dial(struct sim *s, struct timer *t)
{
	struct conn *c = &s->conns[t->a][t->b];

	c->dialing = false;
	if (c->up)
		return;
	if (!s->nodes[t->b].up || !simnet_reaches(s, t->a, t->b)) {
		simnet_dial(s, t->a, t->b, 50 * MS + sim_below(s, 50 * MS));
		if (!s->nodes[t->b].up && simnet_reaches(s, t->a, t->b))
			tell_link(s, t->a, t->b, false, true);
		return;
	}
	*c = (struct conn){ .up = true, .id = ++s->conn_ids, .number = ++s->nodes[t->a].conns };
	c->last_ns[0] = c->last_ns[1] = s->now_ns;
	tell_link(s, t->a, t->b, true, false);
}

void simnet_flight_free(struct flight *f)
{
	if (!f)
		return;
	buf_deinit(&f->frame);
	free(f);
}

static struct flight *flight_new(const struct rep_msg *m, struct drv_rec *const *recs, size_t n, bool back)
{
	struct flight *f = calloc(1, sizeof *f);
	struct bytes pieces[REP_BATCH_MAX];

	must(f && n <= REP_BATCH_MAX);
	f->back = back;
	if (n == 0) {
		must(peer_replica_encode(&f->frame, m) == 0);
		return f;
	}
	for (size_t i = 0; i < n; i++) {
		pieces[i] = (struct bytes){ recs[i]->bytes, REC_HEADER_BYTES + recs[i]->body_bytes };
		f->bytes += pieces[i].len;
	}
	must(peer_records_encode(&f->frame, m, pieces, n) == 0);
	return f;
}

static void fly(struct sim *s, int from, int to, struct conn *c, struct flight *f, uint64_t after_ns)
{
	struct timer *t = sim_timer(s, after_ns, T_MSG, from, to);

	t->x = c->id;
	t->y = s->nodes[to].life;
	t->data = f;
}

void simnet_send(struct sim *s, int from, const char *to_name, enum rep_link link, const struct rep_msg *m,
	struct drv_rec *const *recs, size_t n)
{
	int to = sim_index(s, to_name);
	bool back = link == REP_LINK_IN;
	struct conn *c = back ? &s->conns[to][from] : &s->conns[from][to];
	struct flight *f;
	uint64_t at_ns;

	simcheck_sent(s, from, m);
	if (!c->up || c->broken)
		return;
	if (!simnet_reaches(s, from, to)) {
		/* Eaten: TCP would have to repeat it; the connection counts as stuck and is reset some time later. */
		c->broken = true;
		sim_timer(s, 200 * MS + sim_below(s, 3000 * MS), T_LINK_RESET, back ? to : from, back ? from : to)->x = c->id;
		return;
	}
	at_ns = MAX2(s->now_ns + latency_ns(s, from, to), c->last_ns[back] + 1);
	c->last_ns[back] = at_ns;
	f = flight_new(m, recs, n, back);
	c->queued_bytes += f->bytes;
	fly(s, from, to, c, f, at_ns - s->now_ns);
	if (s->p_again > 0 && !back && sim_chance(s, simodd_rare(m) ? AGAIN_RARE : s->p_again)) {
		/* Once more, should this connection be an old one by then. */
		f = flight_new(m, recs, n, back);
		f->again = true;
		f->bytes = 0;
		fly(s, from, to, c, f, at_ns - s->now_ns + sim_below(s, 1500 * MS));
	}
}

bool simnet_send_records(struct sim *s, int from, const char *to, const struct rep_msg *head, struct drv_rec *const *recs,
	size_t n)
{
	struct conn *c = &s->conns[from][sim_index(s, to)];

	if (!c->up)
		return false;
	if (c->queued_bytes > s->opts.link_bytes) {
		c->blocked = true;
		return false;
	}
	simnet_send(s, from, to, REP_LINK_OUT, head, recs, n);
	return true;
}

static void drain(struct sim *s, struct timer *t, struct conn *c, const struct flight *f)
{
	if (c->id != t->x || f->bytes == 0)
		return;
	c->queued_bytes -= f->bytes;
	if (c->blocked && c->queued_bytes < s->opts.link_bytes / 2) {
		c->blocked = false;
		sim_timer(s, MS / 10, T_WRITABLE, t->a, t->b)->x = c->id;
	}
}

/* What decoding fills. */
static struct {
	struct peer_scratch scratch;
	struct drv_rec *recs[REP_BATCH_MAX];
} in;

static void init_decoding(void)
{
	if (in.scratch.history)
		return;
	in.scratch = (struct peer_scratch){ .history_max = REP_HISTORY_MAX, .recs_max = REP_BATCH_MAX,
		.history = calloc(REP_HISTORY_MAX, sizeof *in.scratch.history),
		.recs = calloc(REP_BATCH_MAX, sizeof *in.scratch.recs),
		.views = calloc(REP_BATCH_MAX, sizeof *in.scratch.views) };
	must(in.scratch.history && in.scratch.recs && in.scratch.views);
}

void simnet_free(void)
{
	free(in.scratch.history);
	free(in.scratch.recs);
	free(in.scratch.views);
	in.scratch = (struct peer_scratch){ 0 };
}

static void feed(struct simnode *n, const char *from, enum rep_link link, struct flight *f, bool odd)
{
	leash_seq commit = rep_commit(simnode_rep(n));
	struct frame frame;
	struct rep_msg m;

	init_decoding();
	must(frame_next((struct bytes){ buf_head(&f->frame), buf_len(&f->frame) }, UINT32_MAX, &frame) == 0);
	must(peer_replica_decode(frame.payload, node_cluster(n->node), &in.scratch, &m) == 0);
	if (odd && (!sim_chance(n->s, simodd_rare(&m) ? ODD_RARE : n->s->p_odd) ||
			   !simodd_twist(n->s, n, &from, &link, &m)))
		return;
	if (m.n_recs == 0) {
		node_msg(n->node, from, link, &m);
		simlog_commit_back(n, commit);
		return;
	}
	for (uint32_t i = 0; i < m.n_recs; i++) {
		struct rec_header h = in.scratch.views[i].h;

		h.seq = m.recs[i].seq; /* an odd one may say something else */
		h.epoch = m.recs[i].epoch;
		in.recs[i] = drv_rec_new(&h, &m.recs[i].ident, in.scratch.views[i].body);
		must(in.recs[i]);
	}
	node_records(n->node, from, link, &m, in.recs);
	for (uint32_t i = 0; i < m.n_recs; i++)
		drv_rec_unref(in.recs[i]);
}

static void on_arrival(struct sim *s, struct timer *t)
{
	struct flight *f = t->data;
	struct conn *c = f->back ? &s->conns[t->b][t->a] : &s->conns[t->a][t->b];
	struct simnode *n = simnode_enter(s, t->b);

	drain(s, t, c, f);
	if (!n || n->life != (uint32_t)t->y)
		return;
	/* An old connection's bytes may still be read after the new one has opened, by the end that was dialled; the
	 * maker of a connection has thrown the old one away. */
	if ((f->back && c->id != t->x) || (f->again && c->id == t->x))
		return;
	if (s->p_odd > 0)
		feed(n, s->nodes[t->a].name, f->back ? REP_LINK_OUT : REP_LINK_IN, f, true);
	feed(n, s->nodes[t->a].name, f->back ? REP_LINK_OUT : REP_LINK_IN, f, false);
}

static void on_writable(struct sim *s, struct timer *t)
{
	struct simnode *n = simnode_enter(s, t->a);

	if (n && s->conns[t->a][t->b].id == t->x)
		node_writable(n->node, s->nodes[t->b].name);
}

void simnet_timer(struct sim *s, struct timer *t)
{
	if (t->kind == T_MSG) {
		on_arrival(s, t);
		return;
	}
	if (t->life != s->nodes[t->a].life)
		return;
	if (t->kind == T_LINK_RESET)
		on_reset(s, t);
	else if (t->kind == T_WRITABLE)
		on_writable(s, t);
	else
		on_dial(s, t);
}

/* ------------------------------------------------------------------------------------------------- what tests call */

static void cut_pair(struct sim *s, int a, int b, bool cut)
{
	s->cut[a][b] = cut;
}

void sim_cut_one_way(struct sim *s, const char *from, const char *to)
{
	cut_pair(s, sim_index(s, from), sim_index(s, to), true);
}

void sim_cut(struct sim *s, const char *a, const char *b)
{
	int i = sim_index(s, a);

	for (int k = 0; k < s->n; k++)
		if (k != i && (!b || k == sim_index(s, b))) {
			cut_pair(s, i, k, true);
			cut_pair(s, k, i, true);
		}
	sim_say(s, i, "is cut off from %s", b ? b : "all nodes");
}

void sim_heal(struct sim *s)
{
	memset(s->cut, 0, sizeof s->cut);
	sim_say(s, -1, "the network heals");
}

void sim_delay(struct sim *s, const char *from, const char *to, uint64_t ms)
{
	s->delay_ms[sim_index(s, from)][sim_index(s, to)] = ms;
}

void sim_reset_link(struct sim *s, const char *a, const char *b)
{
	simnet_drop(s, sim_index(s, a), sim_index(s, b));
}
