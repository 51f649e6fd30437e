/*
 * fake-cluster ENGINE NODE...: nodes that speak the peer protocol and share one log in memory, for tests of what
 * talks to nodes. Whoever leads appends, with the real deduplication; answers leave after a delay, so that a
 * crash or a change of lead finds messages on their way, appended and not answered.
 *
 * It says "node NAME 127.0.0.1:PORT" for each, then "ready", and takes commands, one per line, each answered by
 * a line:
 *   lead NAME EPOCH  this node leads, the others follow; connections of the old one break, answers are lost
 *   depose           nobody leads
 *   crash NAME       its connections break, what was not answered never is; new ones are refused
 *   revive NAME
 *   mute NAME        it does and says nothing more (a stopped process)
 *   hold on|off      HOLD to every append
 *   replicas N       n_insync in STATUS (min_insync is 2)
 *   forget           deduplication forgets everything
 *   delay MS         of answers
 *   cluster ID       these nodes are of cluster ID (hexadecimal; c1), say new connections
 *   stats            "stats appends=N known=N refused=N reads=N"
 *   dump             "rec SEQ VALUE" for each record, then "end"
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <signal.h>
#include <sys/socket.h>

#include "base/clk.h"
#include "base/ids.h"
#include "replica/dedup.h"
#include "wire/peer_data.h"

#define NODES_MAX   5
#define CONNS_MAX   256
#define RECORDS_MAX 2000000
#define VIEWS_MAX   4096

struct conn {
	int fd;
	int node;
	bool welcomed;
	struct buf in, out;
	struct buf late;    /* struct late: answers that wait for their time */
	leash_seq told;     /* commit in the last STATUS */
};

struct late {
	uint64_t at_ns;
	struct peer_result r;
};

struct node {
	char name[LEASH_NAME_MAX + 1], address[LEASH_ADDR_MAX + 1];
	int fd;
	uint16_t port;
	bool muted;
	leash_id run;
};

struct record {
	uint8_t header[REC_HEADER_BYTES];
	uint8_t *body;
	uint32_t body_bytes;
};

static const char *engine;
static leash_id cluster = 0xc1;
static struct node nodes[NODES_MAX];
static int n_nodes, leader = -1;
static leash_epoch epoch;
static struct conn conns[CONNS_MAX];
static int n_conns;
static struct record *records;
static leash_seq end;
static struct leash_chain chain;
static struct dedup *dedup;
static bool holding;
static uint32_t n_insync = 2;
static uint64_t delay_ns = 2 * NS_PER_MS, appends, known, refused, reads;

static void die(const char *what)
{
	(void)fprintf(stderr, "fake-cluster: %s: %s\n", what, strerror(errno));
	exit(99);
}

#define ok(r)                                                                                                \
	do {                                                                                                 \
		if ((r) != 0)                                                                                \
			die(#r);                                                                             \
	} while (0)

static void dedup_anew(void)
{
	struct dedup_conf conf = { .window = 1000000, .records_max = 1000000, .uncommitted_max = 16 };

	dedup_free(dedup);
	ok(dedup_new(&conf, &dedup));
	dedup_reset(dedup, end + 1);
	dedup_commit(dedup, end);
}

/* ------------------------------------------------------------------------------------------------------------ nodes */

static void node_listen(struct node *n)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons(n->port) };
	socklen_t len = sizeof in;
	int one = 1;

	n->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (n->fd < 0 || setsockopt(n->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
		bind(n->fd, (struct sockaddr *)&in, sizeof in) < 0 || listen(n->fd, 64) < 0 ||
		getsockname(n->fd, (struct sockaddr *)&in, &len) < 0)
		die("listen");
	n->port = ntohs(in.sin_port);
	n->run = id_random();
	(void)snprintf(n->address, sizeof n->address, "127.0.0.1:%u", n->port);
}

static void conn_close(struct conn *c)
{
	struct linger now = { .l_onoff = 1 };

	(void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	c->fd = close_fd(c->fd);
	buf_deinit(&c->in);
	buf_deinit(&c->out);
	buf_deinit(&c->late);
}

static void close_node(int node)
{
	for (int i = 0; i < n_conns; i++)
		if (conns[i].fd >= 0 && conns[i].node == node)
			conn_close(&conns[i]);
}

static void send_status(struct conn *c)
{
	struct peer_status s = {
		.role = c->node == leader ? PEER_ROLE_PRIMARY : PEER_ROLE_SECONDARY,
		.epoch = epoch,
		.commit = end,
		.log_start = 1,
		.log_end = end,
		.serving = c->node == leader,
		.holding = c->node == leader && holding,
		.n_insync = n_insync,
		.min_insync = 2,
	};

	if (leader >= 0) {
		memcpy(s.leader, nodes[leader].name, sizeof s.leader);
		memcpy(s.leader_address, nodes[leader].address, sizeof s.leader_address);
	}
	ok(peer_status_encode(&c->out, &s));
	c->told = end;
}

static void tell_all(void)
{
	for (int i = 0; i < n_conns; i++)
		if (conns[i].fd >= 0 && conns[i].welcomed && !nodes[conns[i].node].muted)
			send_status(&conns[i]);
}

/* --------------------------------------------------------------------------------------------------------- appends */

static leash_seq append(struct bytes body, const struct rec_ident *ident)
{
	leash_seq seq = end + 1;
	struct rec_header h = { .body_bytes = (uint32_t)body.len, .epoch = epoch, .seq = seq, .log_time_ns = seq,
		.body_hash = rec_body_hash(body) };
	struct record *r = &records[seq];
	struct rep_rec rec = { .seq = seq, .epoch = epoch, .bytes = h.body_bytes, .ident = *ident };

	if (seq >= RECORDS_MAX)
		die("log is full");
	end = seq;
	rec_header_seal(&h, chain);
	chain = h.chain;
	rec_header_encode(&h, r->header);
	r->body = malloc(body.len);
	if (!r->body)
		die("malloc");
	memcpy(r->body, body.p, body.len);
	r->body_bytes = h.body_bytes;
	dedup_apply(dedup, &rec);
	dedup_commit(dedup, end);
	appends++;
	return end;
}

static struct peer_result judge(const struct conn *c, const struct peer_submit *m)
{
	struct peer_result r = { .token = m->token, .epoch = epoch, .count = 1 };
	struct rec_ident ident;
	struct rec_body b;

	refused++;
	if (c->node != leader) {
		r.status = PEER_ST_NOT_PRIMARY;
		return r;
	}
	if (rec_body_decode(m->body, &b)) {
		r.status = PEER_ST_INVALID;
		return r;
	}
	ident = rec_identify(&b, cluster);
	switch (dedup_lookup(dedup, &ident, &r.seq)) {
	case DEDUP_NEW:
		if (holding) {
			r.status = PEER_ST_HOLD;
			return r;
		}
		refused--;
		r.status = PEER_ST_OK;
		r.seq = append(m->body, &ident);
		return r;
	case DEDUP_KNOWN:
		refused--;
		known++;
		r.status = PEER_ST_KNOWN;
		return r;
	case DEDUP_CONFLICT:
		r.status = PEER_ST_CONFLICT;
		return r;
	case DEDUP_OLD:
		r.status = PEER_ST_OLD;
		return r;
	case DEDUP_UNKNOWN_SESSION:
		r.status = PEER_ST_SESSION_UNKNOWN;
		return r;
	case DEDUP_SESSION_ORDER:
		r.status = holding ? PEER_ST_HOLD : PEER_ST_SESSION_ORDER;
		return r;
	case DEDUP_FULL:
		r.status = PEER_ST_DEDUP_FULL;
		return r;
	}
	return r;
}

static void on_submit(struct conn *c, struct bytes payload)
{
	struct peer_submit m;
	struct late l;

	ok(peer_submit_decode(payload, &m));
	l.r = judge(c, &m);
	l.at_ns = clk_boot_ns() + delay_ns;
	ok(buf_put(&c->late, &l, sizeof l));
}

/* ----------------------------------------------------------------------------------------------------------- reads */

static void on_read(struct conn *c, struct bytes payload)
{
	static struct bytes pieces[2 * VIEWS_MAX];
	struct peer_records answer;
	struct peer_read m;
	uint32_t n = 0;
	size_t bytes = 0;
	leash_seq to, seq;

	ok(peer_read_decode(payload, &m));
	reads++;
	to = MIN2(m.to, end);
	answer = (struct peer_records){ .token = m.token, .status = PEER_ST_OK, .reverse = m.reverse };
	if (c->node != leader) {
		answer.status = PEER_ST_NOT_PRIMARY;
		answer.reverse = false;
		to = 0;
	}
	for (; m.from + n <= to && n < m.count_max && (n == 0 || bytes < m.bytes_max); n++) {
		seq = m.reverse ? to - n : m.from + n;
		pieces[2 * n] = (struct bytes){ records[seq].header, REC_HEADER_BYTES };
		pieces[2 * n + 1] = (struct bytes){ records[seq].body, records[seq].body_bytes };
		bytes += REC_HEADER_BYTES + records[seq].body_bytes;
	}
	answer.n = n;
	answer.more = m.from + n <= to;
	ok(peer_records_data_encode(&c->out, &answer, pieces, 2 * (size_t)n));
}

static void on_info(struct conn *c, struct bytes payload)
{
	struct peer_info_data answer;
	struct peer_info m;
	char json[256];

	ok(peer_info_decode(payload, &m));
	(void)snprintf(json, sizeof json, "{\"start\":1,\"commit\":%llu,\"epoch\":%llu,\"segments\":1}",
		(unsigned long long)end, (unsigned long long)epoch);
	answer = (struct peer_info_data){ .token = m.token, .json = { (const uint8_t *)json, strlen(json) } };
	ok(peer_info_data_encode(&c->out, &answer));
}

static void on_hello(struct conn *c, struct bytes payload)
{
	struct peer_hello w = { .kind = PEER_KIND_NODE, .cluster = cluster, .incarnation = 1, .run = nodes[c->node].run,
		.role = c->node == leader ? PEER_ROLE_PRIMARY : PEER_ROLE_SECONDARY, .epoch = epoch, .commit = end,
		.log_end = end, .in_flight_messages_max = 1000, .in_flight_bytes_max = 1 << 20 };
	struct peer_hello h;

	ok(peer_hello_decode(payload, PEER_HELLO, &h));
	if (strcmp(h.engine, engine) != 0) {
		struct peer_reject reject = { .code = PEER_REJECT_ENGINE, .text = "another engine lives here" };

		ok(peer_reject_encode(&c->out, &reject));
		return;
	}
	memcpy(w.engine, h.engine, sizeof w.engine);
	memcpy(w.node, nodes[c->node].name, sizeof w.node);
	memcpy(w.address, nodes[c->node].address, sizeof w.address);
	ok(peer_hello_encode(&c->out, PEER_WELCOME, &w));
	c->welcomed = true;
	send_status(c);
}

/* ------------------------------------------------------------------------------------------------------ connections */

static void take_frames(struct conn *c)
{
	struct frame f;

	while (c->fd >= 0 && !nodes[c->node].muted &&
		frame_next((struct bytes){ buf_head(&c->in), buf_len(&c->in) }, 64u << 20, &f) == 0) {
		if (f.type == PEER_HELLO)
			on_hello(c, f.payload);
		else if (f.type == PEER_SUBMIT)
			on_submit(c, f.payload);
		else if (f.type == PEER_READ)
			on_read(c, f.payload);
		else if (f.type == PEER_INFO)
			on_info(c, f.payload);
		buf_consume(&c->in, f.bytes);
	}
}

static void conn_read(struct conn *c)
{
	uint8_t *to = buf_reserve(&c->in, 65536);
	ssize_t n = recv(c->fd, to, 65536, 0);

	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		conn_close(c);
		return;
	}
	if (n < 0)
		return;
	buf_commit(&c->in, (size_t)n);
	if (!c->welcomed && frame_preface_check((struct bytes){ buf_head(&c->in), buf_len(&c->in) }) == FRAME_PREFACE_YES)
		buf_consume(&c->in, FRAME_PREFACE_BYTES);
	take_frames(c);
}

static void conn_write(struct conn *c)
{
	uint64_t now_ns = clk_boot_ns();
	bool news = end > c->told;

	if (nodes[c->node].muted)
		return;
	while (buf_len(&c->late) && ((struct late *)(void *)buf_head(&c->late))->at_ns <= now_ns) {
		struct late l;

		memcpy(&l, buf_head(&c->late), sizeof l);
		ok(peer_results_encode(&c->out, &l.r, 1));
		buf_consume(&c->late, sizeof l);
	}
	if (news && c->welcomed)
		send_status(c);
	while (buf_len(&c->out)) {
		ssize_t n = send(c->fd, buf_head(&c->out), buf_len(&c->out), MSG_NOSIGNAL);

		if (n <= 0)
			return;
		buf_consume(&c->out, (size_t)n);
	}
}

static void conn_accept(int node)
{
	struct conn *c = NULL;
	int fd = accept4(nodes[node].fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	for (int i = 0; i < n_conns && !c; i++)
		if (conns[i].fd < 0)
			c = &conns[i];
	if (!c && n_conns == CONNS_MAX)
		die("too many connections");
	if (!c)
		c = &conns[n_conns++];
	*c = (struct conn){ .fd = fd, .node = node };
	ok(buf_put(&c->out, FRAME_PREFACE, FRAME_PREFACE_BYTES));
}

/* --------------------------------------------------------------------------------------------------------- commands */

static int node_named(const char *name)
{
	for (int i = 0; i < n_nodes; i++)
		if (strcmp(nodes[i].name, name) == 0)
			return i;
	errno = ENOENT;
	die(name);
	return -1;
}

static void dump(void)
{
	for (leash_seq s = 1; s <= end; s++) {
		struct bytes name, value = { 0 };
		struct rec_body b;
		struct cur c;

		ok(rec_body_decode((struct bytes){ records[s].body, records[s].body_bytes }, &b));
		c = cur_of(b.pairs.p, b.pairs.len);
		(void)rec_pair_next(&c, &name, &value);
		printf("rec %llu %.*s\n", (unsigned long long)s, (int)value.len, (const char *)value.p);
	}
	printf("end\n");
}

static void lead(int node, leash_epoch new_epoch)
{
	int old = leader;

	leader = node;
	epoch = new_epoch;
	if (old >= 0 && old != node)
		close_node(old);
	tell_all();
}

static void obey(char *line)
{
	char *verb = strtok(line, " \n"), *a = strtok(NULL, " \n"), *b = strtok(NULL, " \n");

	if (!verb)
		return;
	if (strcmp(verb, "lead") == 0 && a && b) {
		lead(node_named(a), strtoull(b, NULL, 10));
	} else if (strcmp(verb, "depose") == 0) {
		leader = -1;
		tell_all();
	} else if (strcmp(verb, "crash") == 0 && a) {
		nodes[node_named(a)].fd = close_fd(nodes[node_named(a)].fd);
		close_node(node_named(a));
		if (leader == node_named(a))
			leader = -1;
	} else if (strcmp(verb, "revive") == 0 && a) {
		nodes[node_named(a)].muted = false;
		if (nodes[node_named(a)].fd < 0)
			node_listen(&nodes[node_named(a)]);
	} else if (strcmp(verb, "mute") == 0 && a) {
		nodes[node_named(a)].muted = true;
	} else if (strcmp(verb, "hold") == 0 && a) {
		holding = strcmp(a, "on") == 0;
		tell_all();
	} else if (strcmp(verb, "replicas") == 0 && a) {
		n_insync = (uint32_t)atoi(a);
		tell_all();
	} else if (strcmp(verb, "forget") == 0) {
		dedup_anew();
	} else if (strcmp(verb, "delay") == 0 && a) {
		delay_ns = strtoull(a, NULL, 10) * NS_PER_MS;
	} else if (strcmp(verb, "cluster") == 0 && a) {
		cluster = strtoull(a, NULL, 16);
	} else if (strcmp(verb, "stats") == 0) {
		printf("stats appends=%llu known=%llu refused=%llu reads=%llu\n", (unsigned long long)appends,
			(unsigned long long)known, (unsigned long long)refused, (unsigned long long)reads);
		(void)fflush(stdout);
		return;
	} else if (strcmp(verb, "dump") == 0) {
		dump();
		(void)fflush(stdout);
		return;
	} else {
		errno = EINVAL;
		die(verb);
	}
	printf("done\n");
	(void)fflush(stdout);
}

static struct buf commands;

static void read_commands(void)
{
	uint8_t *to = buf_reserve(&commands, 4096);
	ssize_t n = read(STDIN_FILENO, to, 4096);
	uint8_t *eol;

	if (n <= 0)
		exit(0);
	buf_commit(&commands, (size_t)n);
	while (buf_len(&commands) && (eol = memchr(buf_head(&commands), '\n', buf_len(&commands)))) {
		char line[256] = "";
		size_t len = (size_t)(eol - buf_head(&commands)) + 1;

		memcpy(line, buf_head(&commands), MIN2(len, sizeof line - 1));
		buf_consume(&commands, len);
		obey(line);
	}
}

static void turn(void)
{
	struct pollfd p[1 + NODES_MAX + CONNS_MAX] = { { .fd = STDIN_FILENO, .events = POLLIN } };
	int n = 1, conns_now = n_conns;

	for (int i = 0; i < n_nodes; i++)
		p[n++] = (struct pollfd){ .fd = nodes[i].fd, .events = POLLIN };
	for (int i = 0; i < conns_now; i++)
		p[n++] = (struct pollfd){ .fd = conns[i].fd,
			.events = POLLIN | (buf_len(&conns[i].out) && !nodes[conns[i].node].muted ? POLLOUT : 0) };
	(void)poll(p, (nfds_t)n, 1);
	for (int i = 0; i < conns_now; i++) {
		if (conns[i].fd >= 0 && p[1 + n_nodes + i].revents & ~POLLOUT && !nodes[conns[i].node].muted)
			conn_read(&conns[i]);
		if (conns[i].fd >= 0)
			conn_write(&conns[i]);
	}
	for (int i = 0; i < n_nodes; i++)
		if (p[1 + i].revents && nodes[i].fd >= 0)
			conn_accept(i);
	if (p[0].revents)
		read_commands();
}

int main(int argc, char **argv)
{
	if (argc < 3 || argc - 2 > NODES_MAX) {
		(void)fprintf(stderr, "usage: fake-cluster ENGINE NODE...\n");
		return 2;
	}
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	engine = argv[1];
	n_nodes = argc - 2;
	records = calloc(RECORDS_MAX + 1, sizeof *records);
	if (!records)
		die("calloc");
	dedup_anew();
	for (int i = 0; i < n_nodes; i++) {
		(void)snprintf(nodes[i].name, sizeof nodes[i].name, "%s", argv[2 + i]);
		node_listen(&nodes[i]);
		printf("node %s %s\n", nodes[i].name, nodes[i].address);
	}
	printf("ready\n");
	(void)fflush(stdout);
	for (;;)
		turn();
}
