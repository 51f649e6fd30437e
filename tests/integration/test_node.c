/*
 * Three whole nodes (log on disk, real etcd) in one process and one loop; only the sockets between them are a queue.
 * It claims:
 *  1. they found a cluster, choose a primary, get everybody in sync; appends are answered and can be read on each
 *  2. a primary that dies is replaced, a retry finds what was acknowledged; the old one comes back from its disk and
 *     gets in sync again
 *  3. a graceful stop hands over and gives the lease back; the lease file is gone
 *  4. an operator's request in etcd moves the lead, and the outcome is written into it
 *  5. appends go on while etcd is away
 *  6. a primary whose disk hangs gives up the lead, and follows when the disk is well again
 *  7. a log damaged while the node was down: a new incarnation copies it from its peers
 */
#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/clk.h"
#include "etcd/json.h"
#include "etcd_fixture.h"
#include "node/node_int.h"
#include "../unit/unit.h"

#define NODES      3
#define DEADLINE_S 30
#define WAITERS    256

static const char *const names[NODES] = { "P1", "S1", "S2" };

struct world;

struct peer_node {
	struct world *w;
	int i;
	struct node *n;
	char dir[512], lease_file[600], address[32];
	int answered[WAITERS]; /* 0, or 1 + enum drv_answer_kind */
	leash_seq seq[WAITERS];
	bool stopped;
	int fatal;
	struct rlog_ops ops;
	int hang; /* atomic: its fdatasync does not return */
};

struct post {
	struct post *next;
	int from, to;
	enum rep_link link;
	struct rep_msg msg;
	struct rep_stretch *history;
	struct rep_rec *recs;
	struct drv_rec **drv_recs;
	uint32_t n;
};

struct world {
	struct event_base *base;
	struct etcd_fixture *etcd;
	struct event *deliver;
	struct peer_node nodes[NODES];
	struct post *head, **tail;
	uint64_t conn;
	char dir[256];
};

/* --------------------------------------------------------------------------------------------------------- network */

static int index_of(const char *name)
{
	for (int i = 0; i < NODES; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

static void post_free(struct post *p)
{
	for (uint32_t i = 0; i < p->n; i++)
		drv_rec_unref(p->drv_recs[i]);
	free(p->drv_recs);
	free(p->recs);
	free(p->history);
	free(p);
}

static struct post *post(struct peer_node *from, const char *to, enum rep_link link, const struct rep_msg *m)
{
	struct post *p = calloc(1, sizeof *p);

	ck_assert_ptr_nonnull(p);
	p->from = from->i;
	p->to = index_of(to);
	p->link = link == REP_LINK_OUT ? REP_LINK_IN : REP_LINK_OUT;
	p->msg = *m;
	p->history = calloc(m->n_history + 1, sizeof *p->history);
	if (m->n_history)
		memcpy(p->history, m->history, m->n_history * sizeof *p->history);
	p->msg.history = p->history;
	*from->w->tail = p;
	from->w->tail = &p->next;
	event_active(from->w->deliver, 0, 0);
	return p;
}

static void net_send(void *ctx, const char *node, enum rep_link link, const struct rep_msg *m)
{
	(void)post(ctx, node, link, m);
}

static bool net_send_records(void *ctx, const char *node, const struct rep_msg *head, struct drv_rec *const *recs,
	size_t n)
{
	struct post *p = post(ctx, node, REP_LINK_OUT, head);
	leash_id seed = node_cluster(((struct peer_node *)ctx)->n);

	p->n = (uint32_t)n;
	p->recs = calloc(n, sizeof *p->recs);
	p->drv_recs = calloc(n, sizeof *p->drv_recs);
	for (size_t i = 0; i < n; i++) {
		const struct rec_header *h = &recs[i]->h;
		struct bytes body = { recs[i]->bytes + REC_HEADER_BYTES, recs[i]->body_bytes };
		struct rec_ident ident;
		struct rec_body b;

		ck_assert_int_eq(rec_body_decode(body, &b), 0); /* what comes from the log has no identity with it */
		ident = rec_identify(&b, seed);
		p->drv_recs[i] = drv_rec_new(h, &ident, body);
		p->recs[i] = (struct rep_rec){ h->seq, h->epoch, h->log_time_ns, REC_HEADER_BYTES + h->body_bytes, ident };
	}
	p->msg.recs = p->recs;
	return true;
}

static void on_deliver(evutil_socket_t fd, short what, void *arg)
{
	struct world *w = arg;
	struct post *p = w->head;

	(void)fd, (void)what;
	w->head = NULL;
	w->tail = &w->head;
	while (p) {
		struct post *next = p->next;
		struct node *to = w->nodes[p->to].n;

		if (to && w->nodes[p->from].n && p->n)
			node_records(to, names[p->from], p->link, &p->msg, p->drv_recs);
		else if (to && w->nodes[p->from].n)
			node_msg(to, names[p->from], p->link, &p->msg);
		post_free(p);
		p = next;
	}
}

static void net_answer(void *ctx, const struct drv_waiter *who, const struct drv_answer *a)
{
	struct peer_node *p = ctx;

	p->answered[(uintptr_t)who->owner] = 1 + (int)a->kind;
	p->seq[(uintptr_t)who->owner] = a->seq;
}

static void net_room(void *ctx) { (void)ctx; }
static void net_committed(void *ctx, leash_seq seq) { (void)ctx, (void)seq; }
static void net_changed(void *ctx) { (void)ctx; }
static void net_view(void *ctx, const struct keys_view *v) { (void)ctx, (void)v; }
static void net_fatal(void *ctx, int exit_status) { ((struct peer_node *)ctx)->fatal = exit_status; }
static void net_stopped(void *ctx) { ((struct peer_node *)ctx)->stopped = true; }

/* ----------------------------------------------------------------------------------------------------------- world */

static int hanging_fdatasync(void *ctx, int fd)
{
	struct peer_node *p = ctx;

	while (__atomic_load_n(&p->hang, __ATOMIC_ACQUIRE))
		(void)usleep(1000);
	return rlog_posix.fdatasync(rlog_posix.ctx, fd);
}

static void links_of(struct world *w, int i, bool up)
{
	for (int k = 0; k < NODES; k++) {
		if (k == i || !w->nodes[k].n)
			continue;
		node_link(w->nodes[k].n, names[i], up, ++w->conn, !up);
		if (up && w->nodes[i].n)
			node_link(w->nodes[i].n, names[k], true, ++w->conn, false);
	}
}

static void node_up(struct world *w, int i)
{
	struct peer_node *p = &w->nodes[i];
	size_t n_urls = etcd_fixture_count(w->etcd);
	struct node_conf conf = { .engine = "engine", .node = names[i], .address = p->address, .release = "test",
		.priority = NODES - i, .n_founders = NODES, .founders = names, .min_insync = 2, .dedup_window = 1000,
		.dedup_records_max = 1000, .failure_timeout_ns = 600 * NS_PER_MS, .heartbeat_ns = 50 * NS_PER_MS,
		.dir = p->dir, .segment_bytes = 1 << 20, .reserve_bytes = 1 << 16, .record_bytes_max = 1 << 16,
		.ops = &p->ops, .disk_budget_ns = NS_PER_S, .cache_bytes = 8192, .uncommitted_bytes = 1 << 20, .batch_bytes = 1 << 16,
		.uncommitted_max = 1000, .lease_ttl_s = 3, .lease_file = p->lease_file,
		.etcd = { .endpoints = etcd_fixture_urls(w->etcd), .n_endpoints = n_urls } };
	struct node_net net = { .ctx = p, .send = net_send, .send_records = net_send_records, .answer = net_answer,
		.room = net_room, .committed = net_committed, .changed = net_changed, .view = net_view,
		.fatal = net_fatal, .stopped = net_stopped };
	char reason[256];

	p->stopped = false;
	p->ops = rlog_posix;
	p->ops.ctx = p;
	p->ops.fdatasync = hanging_fdatasync;
	ck_assert_msg(node_new(&conf, w->base, &net, &p->n, reason) == 0, "%s", reason);
	ck_assert_int_eq(node_start(p->n), 0);
	links_of(w, i, true);
}

static void node_down(struct world *w, int i)
{
	node_free(TAKE(w->nodes[i].n));
	links_of(w, i, false);
}

static struct world *world_new(void)
{
	const char *tmp = getenv("TMPDIR");
	struct world *w = calloc(1, sizeof *w);

	ck_assert_ptr_nonnull(w);
	(void)snprintf(w->dir, sizeof w->dir, "%s/leash-node-XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(w->dir));
	w->base = event_base_new();
	w->tail = &w->head;
	w->deliver = event_new(w->base, -1, 0, on_deliver, w);
	w->etcd = etcd_fixture_new(&(struct etcd_fixture_opts){ .n_members = 1 });
	for (int i = 0; i < NODES; i++) {
		struct peer_node *p = &w->nodes[i];

		p->w = w;
		p->i = i;
		(void)snprintf(p->dir, sizeof p->dir, "%s/%s", w->dir, names[i]);
		(void)snprintf(p->lease_file, sizeof p->lease_file, "%s/%s.lease", w->dir, names[i]);
		(void)snprintf(p->address, sizeof p->address, "127.0.0.1:%d", 8081 + i);
		node_up(w, i);
	}
	return w;
}

static void remove_dir(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char name[1024];
		struct stat st;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		(void)snprintf(name, sizeof name, "%s/%s", path, e->d_name);
		if (lstat(name, &st) == 0 && S_ISDIR(st.st_mode))
			remove_dir(name);
		else
			(void)unlink(name);
	}
	if (d)
		(void)closedir(d);
	(void)rmdir(path);
}

static void world_free(struct world *w)
{
	for (int i = 0; i < NODES; i++)
		node_free(w->nodes[i].n);
	while (w->head) {
		struct post *p = w->head;

		w->head = p->next;
		post_free(p);
	}
	event_free(w->deliver);
	event_base_free(w->base);
	etcd_fixture_free(w->etcd);
	remove_dir(w->dir);
	free(w);
}

static bool over(uint64_t began)
{
	return clk_boot_ns() - began > DEADLINE_S * NS_PER_S;
}

static void on_poll(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
}

/* Runs the loop until @cond. */
#define WAIT(w, cond)                                                                                        \
	do {                                                                                                 \
		uint64_t began_ = clk_boot_ns();                                                             \
		struct timeval tv_ = { .tv_usec = 10000 };                                                   \
		struct event *poll_ = event_new((w)->base, -1, EV_PERSIST, on_poll, NULL);                   \
                                                                                                             \
		ck_assert_int_eq(event_add(poll_, &tv_), 0);                                                 \
		while (!(cond)) {                                                                            \
			ck_assert_msg(!over(began_), "waited in vain for " #cond);                           \
			(void)event_base_loop((w)->base, EVLOOP_ONCE);                                       \
		}                                                                                            \
		event_free(poll_);                                                                           \
	} while (0)

static int primary(struct world *w)
{
	for (int i = 0; i < NODES; i++)
		if (w->nodes[i].n && rep_role(drv_rep(w->nodes[i].n->drv)) == REP_ROLE_PRIMARY)
			return i;
	return -1;
}

/* A primary that serves, with @n in sync, all of them joined. */
static bool ready(struct world *w, uint32_t n)
{
	struct rep_status s;
	int p = primary(w);
	uint32_t joined = 1;

	if (p < 0)
		return false;
	node_rep_status(w->nodes[p].n, &s);
	for (uint32_t i = 0; i < s.n_peers; i++)
		joined += s.peers[i].joined;
	return s.serving && s.members.n_members == n && joined == n;
}

static void submit(struct world *w, int node, const char *id, const char *value, uintptr_t waiter)
{
	_cleanup_(buf_deinit) struct buf b = BUF_NULL;
	struct rec_body body = { .id_kind = REC_ID_OPAQUE, .producer = etcd_str("p"), .id = etcd_str(id) };
	struct bytes pairs[2] = { etcd_str("f"), etcd_str(value) };

	ck_assert_int_eq(rec_body_encode(&b, &body, 0, pairs, 1), 0);
	w->nodes[node].answered[waiter] = 0;
	node_submit(w->nodes[node].n, (struct bytes){ buf_head(&b), buf_len(&b) }, &(struct drv_waiter){ .owner = (void *)waiter },
		clk_boot_ns());
}

static void append_many(struct world *w, int node, uintptr_t n)
{
	for (uintptr_t i = 1; i <= n; i++) {
		char id[24];

		(void)snprintf(id, sizeof id, "%d", (int)i);
		submit(w, node, id, "some bytes that fill the cache a little", i);
	}
	WAIT(w, w->nodes[node].answered[n] != 0);
	for (uintptr_t i = 1; i <= n; i++)
		ck_assert_int_eq(w->nodes[node].answered[i], 1 + DRV_ANS_OK);
}

/* ----------------------------------------------------------------------------------------------------------- reads */

struct got {
	bool done, more;
	enum peer_status_code status;
	size_t n;
	leash_seq first, last;
};

static void on_read(void *ctx, enum peer_status_code status, struct drv_rec *const *recs, size_t n, bool more)
{
	struct got *g = ctx;

	*g = (struct got){ .done = true, .more = more, .status = status, .n = n };
	if (n > 0) {
		g->first = recs[0]->h.seq;
		g->last = recs[n - 1]->h.seq;
	}
}

static struct got read_range(struct world *w, int node, leash_seq from, leash_seq to, bool reverse, uint32_t count)
{
	struct got g = { 0 };

	node_read(w->nodes[node].n, from, to, reverse, count, 1 << 20, on_read, &g, NULL);
	WAIT(w, g.done);
	return g;
}

static leash_seq readable(struct world *w, int node)
{
	struct peer_status s;

	node_peer_status(w->nodes[node].n, &s);
	return s.serving ? s.commit : 0;
}

/* ----------------------------------------------------------------------------------------------------------- tests */

START_TEST(founds_appends_reads)
{
	_cleanup_(buf_deinit) struct buf json = BUF_NULL;
	struct world *w = world_new();
	struct got g;
	int p;

	WAIT(w, ready(w, NODES));
	p = primary(w);
	append_many(w, p, 200);
	for (int i = 0; i < NODES; i++) {
		WAIT(w, readable(w, i) == 200);
		g = read_range(w, i, 1, UINT64_MAX, false, 50); /* from the log: the cache has dropped them */
		ck_assert(g.status == PEER_ST_OK && g.n == 50 && g.first == 1 && g.last == 50 && g.more);
		g = read_range(w, i, 190, UINT64_MAX, true, 100);
		ck_assert(g.status == PEER_ST_OK && g.first == 200 && g.last == 201 - g.n);
		g = read_range(w, i, 201, UINT64_MAX, false, 10);
		ck_assert(g.status == PEER_ST_OK && g.n == 0 && !g.more);
	}
	for (enum peer_info_what what = PEER_INFO_STREAM; what <= PEER_INFO_METRICS; what++)
		ck_assert_int_eq(node_status_json(w->nodes[p].n, what, &json), 0);
	ck_assert_int_eq(buf_put(&json, "", 1), 0);
	ck_assert_ptr_nonnull(strstr((char *)buf_head(&json), "\"role\":\"primary\""));
	ck_assert_ptr_nonnull(strstr((char *)buf_head(&json), "\"appends\":200"));
	world_free(w);
}
END_TEST

START_TEST(a_dead_primary_is_replaced)
{
	struct world *w = world_new();
	int p, next;

	WAIT(w, ready(w, NODES));
	p = primary(w);
	append_many(w, p, 20);
	node_down(w, p);
	WAIT(w, primary(w) >= 0 && ready(w, NODES - 1));
	next = primary(w);
	ck_assert_int_ne(next, p);
	submit(w, next, "7", "some bytes that fill the cache a little", 30);
	WAIT(w, w->nodes[next].answered[30] != 0);
	ck_assert_int_eq(w->nodes[next].answered[30], 1 + DRV_ANS_KNOWN);
	ck_assert_uint_eq(w->nodes[next].seq[30], 7);
	submit(w, next, "21", "new", 31);
	WAIT(w, w->nodes[next].answered[31] != 0);
	ck_assert_uint_eq(w->nodes[next].seq[31], 21);
	node_up(w, p);
	WAIT(w, ready(w, NODES));
	WAIT(w, readable(w, p) == 21);
	world_free(w);
}
END_TEST

START_TEST(a_stop_hands_over)
{
	struct world *w = world_new();
	int p;

	WAIT(w, ready(w, NODES));
	p = primary(w);
	append_many(w, p, 5);
	ck_assert_int_eq(access(w->nodes[p].lease_file, R_OK), 0);
	node_stop(w->nodes[p].n, clk_boot_ns() + 10 * NS_PER_S);
	WAIT(w, w->nodes[p].stopped);
	ck_assert_int_ne(access(w->nodes[p].lease_file, R_OK), 0);
	node_down(w, p);
	WAIT(w, primary(w) >= 0 && ready(w, NODES - 1));
	ck_assert_int_ne(primary(w), p);
	world_free(w);
}
END_TEST

static void put_request(struct world *w, const char *value)
{
	char key64[64], value64[256], json[512];
	const char *key = "engine/request";

	b64_encode(key, strlen(key), key64);
	key64[B64_LEN(strlen(key))] = '\0';
	b64_encode(value, strlen(value), value64);
	value64[B64_LEN(strlen(value))] = '\0';
	(void)snprintf(json, sizeof json, "{\"key\":\"%s\",\"value\":\"%s\"}", key64, value64);
	free(etcd_fixture_post(w->etcd, 0, "/v3/kv/put", json));
}

START_TEST(a_request_moves_the_lead)
{
	struct world *w = world_new();
	const struct keys_view *v;
	char json[128];
	int p, to;

	WAIT(w, ready(w, NODES));
	p = primary(w);
	to = (p + 1) % NODES;
	(void)snprintf(json, sizeof json, "{\"op\":\"switchover\",\"to\":\"%s\",\"id\":\"00000000000000d1\"}", names[to]);
	put_request(w, json);
	WAIT(w, primary(w) == to);
	WAIT(w, (v = node_view(w->nodes[to].n)) && v->has_request && v->request.state == KEYS_REQUEST_DONE);
	put_request(w, "{\"op\":\"switchover\",\"to\":\"nobody\",\"id\":\"00000000000000d2\"}");
	WAIT(w, (v = node_view(w->nodes[to].n)) && v->request.state == KEYS_REQUEST_FAILED);
	ck_assert_str_eq(v->request.text, "no such node");
	ck_assert_int_eq(primary(w), to);
	world_free(w);
}
END_TEST

START_TEST(appends_go_on_without_etcd)
{
	struct world *w = world_new();
	uint64_t until;
	int p;

	WAIT(w, ready(w, NODES));
	p = primary(w);
	etcd_fixture_stop(w->etcd, 0);
	until = clk_boot_ns() + 5 * NS_PER_S; /* longer than the lease */
	for (int round = 0; clk_boot_ns() < until; round++) {
		char id[24];

		(void)snprintf(id, sizeof id, "e%d", round);
		submit(w, p, id, "x", 1);
		WAIT(w, w->nodes[p].answered[1] != 0);
		ck_assert_int_eq(w->nodes[p].answered[1], 1 + DRV_ANS_OK);
	}
	ck_assert(!control_reachable(w->nodes[p].n->control));
	etcd_fixture_start(w->etcd, 0);
	WAIT(w, control_reachable(w->nodes[p].n->control) && control_lease(w->nodes[p].n->control) != 0);
	WAIT(w, ready(w, NODES));
	world_free(w);
}
END_TEST

START_TEST(a_sick_disk_moves_the_lead)
{
	struct world *w = world_new();
	int p, next;

	WAIT(w, ready(w, NODES));
	p = primary(w);
	append_many(w, p, 5);
	__atomic_store_n(&w->nodes[p].hang, 1, __ATOMIC_RELEASE);
	submit(w, p, "h", "x", 30);
	WAIT(w, primary(w) >= 0 && primary(w) != p);
	next = primary(w);
	WAIT(w, w->nodes[p].answered[30] != 0);
	ck_assert_int_eq(w->nodes[p].answered[30], 1 + DRV_ANS_LOST);
	submit(w, next, "h", "x", 31); /* the retry of what was in doubt */
	WAIT(w, w->nodes[next].answered[31] != 0);
	ck_assert_uint_eq(w->nodes[next].seq[31], 6);
	__atomic_store_n(&w->nodes[p].hang, 0, __ATOMIC_RELEASE);
	WAIT(w, ready(w, NODES));
	WAIT(w, readable(w, p) == 6);
	world_free(w);
}
END_TEST

/* Flips a byte in the middle of the first segment. */
static void damage(const char *dir)
{
	char path[1024], byte;
	DIR *d = opendir(dir);
	struct dirent *e;
	bool found = false;

	ck_assert_ptr_nonnull(d);
	while (!found && (e = readdir(d)))
		if (strstr(e->d_name, ".seg")) {
			FILE *f;

			(void)snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
			f = fopen(path, "r+");
			ck_assert_ptr_nonnull(f);
			ck_assert_int_eq(fseek(f, 4096 + 1000, SEEK_SET), 0);
			ck_assert_uint_eq(fread(&byte, 1, 1, f), 1);
			byte ^= 1;
			ck_assert_int_eq(fseek(f, 4096 + 1000, SEEK_SET), 0);
			ck_assert_uint_eq(fwrite(&byte, 1, 1, f), 1);
			ck_assert_int_eq(fclose(f), 0);
			found = true;
		}
	(void)closedir(d);
	ck_assert(found);
}

static void on_problem(const struct rlog_damage *d, void *arg)
{
	(void)arg;
	printf("%s at %llu: %s (records %llu to %llu)\n", d->path, (unsigned long long)d->offset, d->reason,
		(unsigned long long)d->first, (unsigned long long)d->last);
}

START_TEST(damage_heals_from_the_peers)
{
	struct rlog_verify_result v;
	struct rep_status status;
	struct world *w = world_new();
	leash_id before;
	int p, s;

	WAIT(w, ready(w, NODES));
	p = primary(w);
	s = (p + 1) % NODES;
	append_many(w, p, 50);
	WAIT(w, readable(w, s) == 50);
	before = node_incarnation(w->nodes[s].n);
	node_down(w, s);
	damage(w->nodes[s].dir);
	node_up(w, s);
	WAIT(w, ready(w, NODES));
	ck_assert_uint_eq(node_incarnation(w->nodes[s].n), before); /* repaired in place */
	WAIT(w, readable(w, s) == 50);
	for (leash_seq seq = 1; seq <= 50;) { /* the beginning from the log, the end from the cache */
		struct got g = read_range(w, s, seq, 50, false, 50);

		ck_assert(g.status == PEER_ST_OK && g.n > 0 && g.first == seq && g.more == (g.last < 50));
		seq = g.last + 1;
	}
	WAIT(w, (node_rep_status(w->nodes[s].n, &status), status.durable == 50));
	ck_assert_int_eq(rlog_verify(w->nodes[s].dir, &rlog_posix, 50, on_problem, NULL, &v), 0);
	ck_assert(v.n_problems == 0 && v.records == 50);
	world_free(w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("node");
	TCase *tc = tcase_create("node");
	SRunner *sr;
	int failed;

	if (!etcd_fixture_possible())
		return 77;
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, founds_appends_reads);
	tcase_add_test(tc, a_dead_primary_is_replaced);
	tcase_add_test(tc, a_stop_hands_over);
	tcase_add_test(tc, a_request_moves_the_lead);
	tcase_add_test(tc, appends_go_on_without_etcd);
	tcase_add_test(tc, a_sick_disk_moves_the_lead);
	tcase_add_test(tc, damage_heals_from_the_peers);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
