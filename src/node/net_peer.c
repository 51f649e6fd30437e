/*
 * Connections between nodes. Each node dials every other one that etcd names and sends what it has to say as primary over
 * its own connection; answers come back over it. So between two nodes there are two connections, one made by each.
 *
 *  1. The dialler sends preface and HELLO with the number of the connection; the other answers preface and WELCOME, or
 *     REJECT with a sentence for the operator. Then the link is up (node_link()).
 *  2. When it breaks it is dialled again at once. Refused: nobody listens there, the process is gone (R12); that is
 *     told to the node. Then again and again, with a growing pause, sooner when that node dials us.
 *  3. Of connections from the same node only the newest is kept.
 *
 * A node stays known after its key has left etcd: it may have lost its lease and not its log.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/dns.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/clk.h"
#include "base/diag.h"
#include "base/ids.h"
#include "node/net_int.h"

#define LINKS_MAX       (2 * REP_NODES_MAX)
#define HELLO_BYTES_MAX 4096

struct peer_link {
	struct net *net;
	char node[LEASH_NAME_MAX + 1];
	char address[LEASH_ADDR_MAX + 1]; /* "" = not known: not dialled */
	struct conn *out;         /* made by us: dialled, greeted or up */
	bool up;
	uint64_t conn;            /* number of `out` */
	bool blocked;             /* send_records() found it full */
	bool refused;             /* as last told to the node */
	uint64_t retry_ns, deadline_ns, pause_ns;
	struct evdns_getaddrinfo_request *lookup;
	struct conn *in;          /* made by the other node: the newest */
	uint64_t in_conn;
	leash_id in_run;
	struct peer_link *prev, *next;
};

static struct diag_limit reject_limit = DIAG_LIMIT(5, 60 * NS_PER_S);

/* ------------------------------------------------------------------------------------------------------------- table */

static struct peer_link *find(struct net *net, const char *node)
{
	struct peer_link *l;

	DL_FOREACH(net->links, l) {
		if (strcmp(l->node, node) == 0)
			return l;
	}
	return NULL;
}

static struct peer_link *find_or_add(struct net *net, const char *node)
{
	struct peer_link *l = find(net, node);
	unsigned n;

	if (l)
		return l;
	DL_COUNT(net->links, l, n);
	l = n < LINKS_MAX ? calloc(1, sizeof *l) : NULL;
	if (!l)
		return NULL;
	l->net = net;
	memcpy(l->node, node, strlen(node) + 1);
	l->pause_ns = NET_REDIAL_MIN_NS;
	DL_APPEND(net->links, l);
	return l;
}

int net_peer_init(struct net *net)
{
	struct peer_scratch *s = &net->decode;

	s->history_max = REP_HISTORY_MAX;
	s->recs_max = REP_BATCH_MAX;
	s->history = malloc(s->history_max * sizeof *s->history);
	s->recs = malloc(s->recs_max * sizeof *s->recs);
	s->views = malloc(s->recs_max * sizeof *s->views);
	net->recs = malloc(REP_BATCH_MAX * sizeof(struct drv_rec *));
	net->pieces = malloc(REP_BATCH_MAX * sizeof *net->pieces);
	return s->history && s->recs && s->views && net->recs && net->pieces ? 0 : -ENOMEM;
}

/* All connections are closed. */
void net_peer_deinit(struct net *net)
{
	struct peer_link *l, *next;

	DL_FOREACH_SAFE(net->links, l, next) {
		if (l->lookup)
			evdns_getaddrinfo_cancel(l->lookup);
		DL_DELETE(net->links, l);
		free(l);
	}
	free(net->decode.history);
	free(net->decode.recs);
	free(net->decode.views);
	free(net->recs);
	free(net->pieces);
	drv_arena_deinit(&net->arena);
}

/* ----------------------------------------------------------------------------------------------------------- messages */

/* Makes records that outlive the input, feeds them, and lets them go. */
static int feed_records(struct conn *c, struct peer_link *l, enum rep_link link, const struct rep_msg *m)
{
	struct net *net = c->net;
	uint32_t n = 0;

	for (; n < m->n_recs; n++) {
		const struct peer_view *v = &net->decode.views[n];
		struct drv_rec *rec = drv_rec_alloc(&net->arena, v->body.len);

		if (!rec)
			break;
		rec->h = v->h;
		rec->ident = m->recs[n].ident;
		memcpy(rec->bytes, v->header.p, REC_HEADER_BYTES + v->body.len); /* side by side there, too */
		net->recs[n] = rec;
	}
	if (n == m->n_recs)
		node_records(net->node, l->node, link, m, net->recs);
	drv_recs_unref(net->recs, n);
	return n == m->n_recs ? 0 : -ENOMEM;
}

static int on_replica(struct conn *c, struct peer_link *l, enum rep_link link, struct bytes payload)
{
	struct net *net = c->net;
	struct rep_msg m;
	int r = peer_replica_decode(payload, node_cluster(net->node), &net->decode, &m);

	if (r < 0)
		return r;
	if (r) {
		diag_limited(&reject_limit, LOG_WARNING,
			"Node \"%s\" sent a message that makes no sense (%s); its connection is closed.",
			l->node, peer_strerror(r));
		return -EPROTO;
	}
	if (m.n_recs > 0)
		return feed_records(c, l, link, &m);
	node_msg(net->node, l->node, link, &m);
	return 0;
}

/* All whole frames of a link that is up. */
static void link_frames(struct conn *c, struct peer_link *l, enum rep_link link)
{
	uint32_t max = PEER_FRAME_BYTES_MAX(c->net->conf.record_bytes_max);
	struct frame f;
	int r = 0;

	while (!c->doomed) {
		r = frame_next((struct bytes){ buf_head(c->in), buf_len(c->in) }, max, &f);
		if (r)
			break;
		r = f.type == PEER_REPLICA ? on_replica(c, l, link, f.payload) : -EPROTO;
		if (r || c->doomed)
			break;
		buf_consume(c->in, f.bytes);
	}
	if (r && r != FRAME_MORE) {
		c->net->counters.protocol_errors++;
		conn_close(c, r < 0 ? -r : EPROTO);
	}
}

static bool always(const struct conn *c _unused_)
{
	return true;
}

static void put_message(struct conn *c, const struct rep_msg *m)
{
	int r = peer_replica_encode(c->out, m);

	if (r || buf_len(c->out) > NET_PEER_OUT_MAX)
		conn_close(c, r ? -r : ENOBUFS);
	else
		conn_touch(c);
}

void net_peer_send(void *ctx, const char *node, enum rep_link link, const struct rep_msg *m)
{
	struct peer_link *l = find(ctx, node);
	struct conn *c = !l ? NULL : link == REP_LINK_IN ? l->in : l->up ? l->out : NULL;

	if (c && !c->doomed)
		put_message(c, m);
}

bool net_peer_send_records(void *ctx, const char *node, const struct rep_msg *head, struct drv_rec *const *recs,
	size_t n)
{
	struct net *net = ctx;
	struct peer_link *l = find(net, node);
	struct conn *c = l && l->up ? l->out : NULL;
	int r;

	if (!c || c->doomed)
		return false;
	if (buf_len(c->out) >= NET_PEER_OUT_BYTES) {
		l->blocked = true;
		return false;
	}
	must(n <= REP_BATCH_MAX);
	for (size_t i = 0; i < n; i++)
		net->pieces[i] = (struct bytes){ recs[i]->bytes, REC_HEADER_BYTES + recs[i]->body_bytes };
	r = peer_records_encode(c->out, head, net->pieces, n);
	if (r)
		conn_close(c, -r);
	else
		conn_touch(c);
	return r == 0;
}

/* ---------------------------------------------------------------------------------------------------------- handshake */

void net_welcome(struct net *net, struct peer_hello *h)
{
	struct peer_status status;

	memset(h, 0, sizeof *h);
	h->kind = PEER_KIND_NODE;
	(void)snprintf(h->engine, sizeof h->engine, "%s", net->conf.engine);
	(void)snprintf(h->node, sizeof h->node, "%s", net->conf.node);
	(void)snprintf(h->release, sizeof h->release, "%s", net->conf.release);
	h->cluster = node_cluster(net->node);
	h->incarnation = node_incarnation(net->node);
	h->run = node_run(net->node);
	node_peer_status(net->node, &status);
	h->role = status.role;
	h->epoch = status.epoch;
	h->commit = status.commit;
	h->log_end = status.log_end;
	h->in_flight_messages_max = net->conf.in_flight_max;
	h->in_flight_bytes_max = net->conf.in_flight_bytes_max;
}

void net_reject(struct conn *c, enum peer_reject_code code, const char *text)
{
	struct peer_reject m = { .code = code };

	(void)snprintf(m.text, sizeof m.text, "%s", text);
	if (peer_reject_encode(c->out, &m))
		conn_close(c, ENOMEM);
	else
		conn_finish(c);
}

/* A fault in what the other side says of itself; false, and @ret_code and @text, when there is one. */
static bool acceptable(const struct net *net, const struct peer_hello *h, enum peer_reject_code *ret_code,
	char text[PEER_TEXT_MAX + 1])
{
	leash_id mine = node_cluster(net->node);
	char a[LEASH_ID_TEXT], b[LEASH_ID_TEXT];

	if (strcmp(h->engine, net->conf.engine) != 0) {
		*ret_code = PEER_REJECT_ENGINE;
		(void)snprintf(text, PEER_TEXT_MAX + 1, "engine \"%s\" lives here, not \"%s\"",
			net->conf.engine, h->engine);
		return false;
	}
	if (h->cluster && mine && h->cluster != mine) {
		*ret_code = PEER_REJECT_CLUSTER;
		(void)snprintf(text, PEER_TEXT_MAX + 1, "my data belongs to cluster %s, yours to %s",
			id_format(mine, a), id_format(h->cluster, b));
		return false;
	}
	if (h->kind == PEER_KIND_NODE && strcmp(h->node, net->conf.node) == 0) {
		*ret_code = PEER_REJECT_SELF;
		(void)snprintf(text, PEER_TEXT_MAX + 1, "I am \"%s\" myself", net->conf.node);
		return false;
	}
	return true;
}

/* ------------------------------------------------------------------------------------------------- inbound: a node */

static void in_feed(struct conn *c)
{
	link_frames(c, c->data, REP_LINK_IN);
}

static void in_closed(struct conn *c, int error _unused_)
{
	struct peer_link *l = c->data;

	if (l->in == c)
		l->in = NULL;
}

static const struct conn_class in_class = {
	.name = "node", .feed = in_feed, .wants_input = always, .closed = in_closed};

static void begin_node(struct conn *c, const struct peer_hello *h)
{
	struct peer_link *l = find_or_add(c->net, h->node);

	if (!l || (l->in && l->in_run == h->run && h->conn < l->in_conn)) {
		net_reject(c, PEER_REJECT_BUSY, "there is a newer connection, or too many nodes");
		return;
	}
	if (l->in)
		conn_close(l->in, 0);
	l->in = c;
	l->in_run = h->run;
	l->in_conn = h->conn;
	if (!l->out && l->address[0])
		l->retry_ns = c->net->now_ns; /* it is there: no need to wait */
	conn_become(c, &in_class, l);
	conn_bulk(c);
	in_feed(c);
}

static void greeted(struct conn *c, const struct peer_hello *h)
{
	char text[PEER_TEXT_MAX + 1];
	enum peer_reject_code code;
	struct peer_hello welcome;

	if (!acceptable(c->net, h, &code, text)) {
		if (h->kind == PEER_KIND_NODE)
			diag_limited(&reject_limit, LOG_WARNING, "Turned away node \"%s\" at %s: %s.",
				h->node, c->address, text);
		net_reject(c, code, text);
		return;
	}
	net_welcome(c->net, &welcome);
	if (peer_hello_encode(c->out, PEER_WELCOME, &welcome)) {
		conn_close(c, ENOMEM);
		return;
	}
	if (h->kind == PEER_KIND_NODE)
		begin_node(c, h);
	else
		net_data_begin(c, h);
}

static void greet_feed(struct conn *c)
{
	struct peer_hello h;
	struct frame f;
	int r;

	if (c->closing)
		return;
	r = frame_next((struct bytes){ buf_head(c->in), buf_len(c->in) }, HELLO_BYTES_MAX, &f);
	if (r == FRAME_MORE)
		return;
	if (r == 0 && f.type == PEER_HELLO)
		r = peer_hello_decode(f.payload, PEER_HELLO, &h);
	else
		r = PEER_E_MALFORMED;
	if (r) {
		c->net->counters.protocol_errors++;
		net_reject(c, PEER_REJECT_VERSION,
			r == PEER_E_VERSION ? "this node speaks protocol version 1" : "no valid HELLO");
		return;
	}
	buf_consume(c->in, f.bytes);
	greeted(c, &h);
}

static void greet_closed(struct conn *c _unused_, int error _unused_)
{
}

static const struct conn_class greet_class = {
	.name = "greeting", .feed = greet_feed, .wants_input = always, .closed = greet_closed
};

void net_peer_begin(struct conn *c)
{
	if (buf_put(c->out, FRAME_PREFACE, FRAME_PREFACE_BYTES) < 0) {
		conn_close(c, ENOMEM);
		return;
	}
	conn_become(c, &greet_class, NULL);
	greet_feed(c);
}

/* ------------------------------------------------------------------------------------------------- outbound: dialling */

/* Tells the node that the link is down, when that is new. */
static void tell_down(struct peer_link *l, bool was_up, bool refused)
{
	if (!was_up && refused == l->refused)
		return;
	l->refused = refused;
	node_link(l->net->node, l->node, false, l->conn, refused);
}

static void out_closed(struct conn *c, int error)
{
	struct peer_link *l = c->data;
	bool was_up = l->up;

	if (l->out != c)
		return;
	l->out = NULL;
	l->up = l->blocked = false;
	c->net->counters.peers_up -= was_up;
	l->retry_ns = was_up ? c->net->now_ns : c->net->now_ns + l->pause_ns;
	if (!was_up)
		l->pause_ns = MIN2(2 * l->pause_ns, NET_REDIAL_MAX_NS);
	tell_down(l, was_up, error == ECONNREFUSED);
	net_turn_due(c->net);
}

static void out_connected(struct conn *c)
{
	struct peer_link *l = c->data;
	struct peer_hello h;

	net_welcome(c->net, &h);
	h.role = PEER_ROLE_NONE;
	h.epoch = h.commit = h.log_end = h.in_flight_bytes_max = 0;
	h.in_flight_messages_max = 0;
	h.conn = l->conn;
	if (buf_put(c->out, FRAME_PREFACE, FRAME_PREFACE_BYTES) < 0 || peer_hello_encode(c->out, PEER_HELLO, &h))
		conn_close(c, ENOMEM);
}

static void on_reject(struct peer_link *l, struct bytes payload)
{
	struct peer_reject m;

	if (peer_reject_decode(payload, &m) == 0)
		diag_limited(&reject_limit, LOG_WARNING, "Node \"%s\" at %s turned this node away: %s.",
			l->node, l->address, m.text);
	conn_close(l->out, ECONNABORTED);
}

static void on_welcome(struct peer_link *l, struct bytes payload)
{
	struct conn *c = l->out;
	char text[PEER_TEXT_MAX + 1];
	enum peer_reject_code code;
	struct peer_hello h;

	if (peer_hello_decode(payload, PEER_WELCOME, &h)) {
		conn_close(c, EPROTO);
		return;
	}
	if (!acceptable(l->net, &h, &code, text) || strcmp(h.node, l->node) != 0) {
		diag_limited(&reject_limit, LOG_WARNING,
			"At %s, where etcd says that node \"%s\" is, node \"%s\" of engine \"%s\" answers; "
			"not connected to it.",
			l->address, l->node, h.node, h.engine);
		conn_close(c, ECONNABORTED);
		return;
	}
	conn_bulk(c);
	l->up = true;
	l->refused = false;
	l->pause_ns = NET_REDIAL_MIN_NS;
	l->deadline_ns = UINT64_MAX;
	c->net->counters.peers_up++;
	node_link(l->net->node, l->node, true, l->conn, false);
}

/* Preface, then WELCOME or REJECT. */
static void out_greeting(struct conn *c, struct peer_link *l)
{
	struct frame f;
	int r;

	r = frame_next((struct bytes){ buf_head(c->in), buf_len(c->in) }, HELLO_BYTES_MAX, &f);
	if (r == FRAME_MORE)
		return;
	if (r == 0 && f.type == PEER_REJECT) {
		on_reject(l, f.payload);
		return;
	}
	if (r || f.type != PEER_WELCOME) {
		conn_close(c, EPROTO);
		return;
	}
	on_welcome(l, f.payload);
	if (!c->doomed)
		buf_consume(c->in, f.bytes);
}

static void out_feed(struct conn *c)
{
	struct peer_link *l = c->data;

	if (!l->up && !c->greeted) {
		switch (frame_preface_check((struct bytes){ buf_head(c->in), buf_len(c->in) })) {
		case FRAME_PREFACE_MORE:
			return;
		case FRAME_PREFACE_NO:
			conn_close(c, EPROTO);
			return;
		case FRAME_PREFACE_YES:
			buf_consume(c->in, FRAME_PREFACE_BYTES);
			c->greeted = true;
		}
	}
	if (!l->up)
		out_greeting(c, l);
	if (l->up && !c->doomed)
		link_frames(c, l, REP_LINK_OUT);
}

static void out_drained(struct conn *c)
{
	struct peer_link *l = c->data;

	if (!l->blocked)
		return;
	l->blocked = false;
	node_writable(c->net->node, l->node);
}

static const struct conn_class out_class = {
	.name = "node",
	.feed = out_feed,
	.wants_input = always,
	.drained = out_drained,
	.connected = out_connected,
	.closed = out_closed,
};

static void dial_failed(struct peer_link *l, int error)
{
	l->retry_ns = l->net->now_ns + l->pause_ns;
	l->pause_ns = MIN2(2 * l->pause_ns, NET_REDIAL_MAX_NS);
	tell_down(l, false, error == ECONNREFUSED);
}

static void dial_to(struct peer_link *l, const struct sockaddr *sa, socklen_t len)
{
	int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), r;
	struct conn *c;

	if (fd < 0) {
		dial_failed(l, errno);
		return;
	}
	r = connect(fd, sa, len) == 0 || errno == EINPROGRESS ? 0 : errno;
	if (r == 0 && conn_new(l->net, fd, &out_class, &c))
		r = ENOMEM;
	if (r) {
		(void)close_fd(fd);
		dial_failed(l, r);
		return;
	}
	c->data = l;
	c->connecting = true;
	memcpy(c->address, l->address, sizeof c->address);
	l->out = c;
	l->conn = ++l->net->conn_no;
	l->deadline_ns = l->net->now_ns + l->net->conf.peer_timeout_ns;
}

/* True when @host is a number: nothing to look up. */
static bool numeric(const struct units_addr *addr, struct sockaddr_storage *ret_ss, socklen_t *ret_len)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret_ss;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_ss;

	memset(ret_ss, 0, sizeof *ret_ss);
	if (inet_pton(AF_INET, addr->host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(addr->port);
		*ret_len = sizeof *v4;
		return true;
	}
	if (inet_pton(AF_INET6, addr->host, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(addr->port);
		*ret_len = sizeof *v6;
		return true;
	}
	return false;
}

static void on_lookup(int error, struct evutil_addrinfo *list, void *ctx)
{
	struct peer_link *l = ctx;

	l->lookup = NULL;
	if (error == EVUTIL_EAI_CANCEL)
		return;
	l->net->now_ns = clk_boot_ns();
	if (error || !list)
		dial_failed(l, EHOSTUNREACH);
	else
		dial_to(l, list->ai_addr, (socklen_t)list->ai_addrlen);
	if (list)
		evutil_freeaddrinfo(list);
	net_turn_due(l->net);
}

static void look_up(struct peer_link *l, const struct units_addr *addr)
{
	struct net *net = l->net;
	struct evutil_addrinfo hints = {
		.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};
	struct evdns_getaddrinfo_request *request;
	char port[8];

	if (!net->dns)
		net->dns = evdns_base_new(
			net->base, EVDNS_BASE_INITIALIZE_NAMESERVERS | EVDNS_BASE_DISABLE_WHEN_INACTIVE);
	if (!net->dns) {
		dial_failed(l, EHOSTUNREACH);
		return;
	}
	(void)snprintf(port, sizeof port, "%u", addr->port);
	l->retry_ns = UINT64_MAX;
	request = evdns_getaddrinfo(net->dns, addr->host, port, &hints, on_lookup, l);
	if (request)
		l->lookup = request; /* else it has called back already */
}

static void dial(struct peer_link *l)
{
	struct sockaddr_storage ss;
	struct units_addr addr;
	socklen_t len;

	if (!units_addr(l->address, &addr) || addr.port == 0)
		dial_failed(l, EINVAL);
	else if (numeric(&addr, &ss, &len))
		dial_to(l, (struct sockaddr *)&ss, len);
	else
		look_up(l, &addr);
}

/* ------------------------------------------------------------------------------------------------------------- time */

void net_peer_view(struct net *net, const struct keys_view *v)
{
	for (uint32_t i = 0; i < v->view.n_nodes; i++) {
		const struct rep_node *n = &v->view.nodes[i];
		struct peer_link *l;

		if (strcmp(n->node, net->conf.node) == 0)
			continue;
		l = find_or_add(net, n->node);
		if (!l || strcmp(l->address, n->address) == 0)
			continue;
		memcpy(l->address, n->address, sizeof l->address);
		l->pause_ns = NET_REDIAL_MIN_NS;
		if (l->out && !l->up)
			conn_close(l->out, 0);
		if (!l->out)
			l->retry_ns = net->now_ns;
	}
	net_turn_due(net);
}

uint64_t net_peer_deadline_ns(const struct net *net)
{
	uint64_t due_ns = UINT64_MAX;
	const struct peer_link *l;

	if (!net->node || !net->ev_listen)
		return due_ns;
	DL_FOREACH(net->links, l) {
		if (l->out)
			due_ns = MIN2(due_ns, l->deadline_ns);
		else if (l->address[0] && !l->lookup)
			due_ns = MIN2(due_ns, l->retry_ns);
	}
	return due_ns;
}

/* Only a node that is itself reachable dials: from net_listen() to net_close_listeners(). */
void net_peer_tick(struct net *net)
{
	struct peer_link *l;

	if (!net->ev_listen)
		return;
	DL_FOREACH(net->links, l) {
		if (l->out && !l->up && l->deadline_ns <= net->now_ns)
			conn_close(l->out, ETIMEDOUT);
		else if (!l->out && l->address[0] && !l->lookup && l->retry_ns <= net->now_ns)
			dial(l);
	}
}
