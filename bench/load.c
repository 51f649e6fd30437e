#include "load.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/clk.h"
#include "cli/sock.h"

#define CONNECT_NS (5 * NS_PER_S)
#define SILENCE_NS (60 * NS_PER_S) /* without any answer: give up */
#define EVENTS     256
#define TICK_MS    50

/* ---- what is sent */

int load_put_payload(struct buf *b, size_t n)
{
	uint8_t *p = buf_reserve(b, n);

	if (!p)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)('a' + (i * 7 + i / 26) % 26);
	buf_commit(b, n);
	return 0;
}

static void want_write(struct load *l, struct load_lane *c, bool want)
{
	struct epoll_event ev = { .events = want ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = c };

	if (c->wants_write == want)
		return;
	c->wants_write = want;
	if (epoll_ctl(l->epoll, EPOLL_CTL_MOD, c->fd, &ev) < 0)
		report_die("epoll: %s", strerror(errno));
}

static void flush(struct load *l, struct load_lane *c)
{
	size_t n_bytes = buf_len(&c->bytes);

	while (c->out_left > 0) {
		ssize_t n = send(c->fd, buf_head(&c->bytes) + c->out_at, MIN2(c->out_left, n_bytes - c->out_at), MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0 && errno != EINTR)
			report_die("the connection was lost: %s", strerror(errno));
		n = MAX2(n, (ssize_t)0);
		c->out_left -= (size_t)n;
		c->out_at = (c->out_at + (size_t)n) % n_bytes;
	}
	want_write(l, c, c->out_left > 0);
}

/* Sends what may be on its way and is not. */
static void fill(struct load *l, struct load_lane *c)
{
	uint64_t depth = l->o->depth, more = l->batches ? (c->n == 0 ? depth : 0) : depth - c->n;

	if (more == 0 || l->now_ns >= l->end_ns)
		return;
	if (l->protocol->again)
		l->protocol->again(l, c);
	for (uint64_t i = 0; i < more; i++)
		c->sent_ns[(c->head + c->n + i) % depth] = l->now_ns;
	c->n += more;
	l->on_their_way += more;
	c->out_left += l->batches ? buf_len(&c->bytes) : more * c->append_bytes;
	flush(l, c);
}

void load_say(struct load_lane *c, const void *p, size_t n)
{
	if (c->out_left > 0 || send(c->fd, p, n, MSG_NOSIGNAL) != (ssize_t)n)
		report_die("the server asked something while appends were being sent");
}

/* ---- what comes back */

void load_refused(struct load *l, const void *text, size_t n)
{
	if (l->r.errors++ == 0)
		(void)snprintf(l->r.first_error, sizeof l->r.first_error, "%.*s", (int)MIN2(n, (size_t)100), (const char *)text);
}

void load_acknowledged(struct load *l, struct load_lane *c, uint64_t n)
{
	if (n > c->n)
		report_die("it answers what nobody asked");
	for (uint64_t i = 0; i < n; i++) {
		uint64_t sent_ns = c->sent_ns[c->head];

		c->head = (c->head + 1) % l->o->depth;
		if (sent_ns >= l->measure_ns)
			hdr_record(&l->r.latency, l->now_ns - sent_ns);
	}
	if (l->now_ns >= l->measure_ns && l->now_ns < l->end_ns)
		l->r.acknowledged += n;
	l->r.records += n;
	c->n -= n;
	l->on_their_way -= n;
	l->answered_ns = l->now_ns;
}

static void on_read(struct load *l, struct load_lane *c)
{
	ssize_t n = recv(c->fd, c->in + c->in_len, sizeof c->in - c->in_len, 0);
	size_t taken;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		report_die("the connection was lost: %s", n < 0 ? strerror(errno) : "the server closed it");
	c->in_len += (size_t)n;
	taken = l->protocol->take(l, c, c->in, c->in_len);
	if (taken == 0 && c->in_len == sizeof c->in)
		report_die("it does not speak the protocol that was expected");
	memmove(c->in, c->in + taken, c->in_len - taken);
	c->in_len -= taken;
	fill(l, c);
}

/* ---- the run */

static void open_lane(struct load *l, struct load_lane *c, uint32_t index)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };
	int r = sock_connect(&l->o->server, clk_boot_ns() + CONNECT_NS, &c->fd);

	c->index = index;
	if (r < 0)
		report_die("cannot connect: %s", sock_strerror(r));
	if (l->protocol->greet)
		l->protocol->greet(l, c);
	c->sent_ns = calloc(l->o->depth, sizeof *c->sent_ns);
	if (!c->sent_ns || l->protocol->make(l, c) < 0 || epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &ev) < 0)
		report_die("out of memory");
}

static void turn(struct load *l)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(l->epoll, events, EVENTS, TICK_MS);

	l->now_ns = clk_boot_ns();
	for (int i = 0; i < n; i++) {
		struct load_lane *c = events[i].data.ptr;

		if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
			on_read(l, c);
		if (events[i].events & EPOLLOUT)
			flush(l, c);
		l->now_ns = clk_boot_ns();
	}
	if (l->on_their_way > 0 && l->now_ns - l->answered_ns > SILENCE_NS)
		report_die("nothing was acknowledged for a minute");
}

static void load_deinit(struct load *l)
{
	for (uint64_t i = 0; i < l->o->connections; i++) {
		buf_deinit(&l->lanes[i].bytes);
		free(l->lanes[i].sent_ns);
		(void)close(l->lanes[i].fd);
	}
	free(l->lanes);
	(void)close(l->epoll);
}

static int run(const struct load_opts *o, const struct load_protocol *protocol)
{
	static struct load l; /* its histogram is large */

	l = (struct load){ .o = o, .protocol = protocol, .batches = protocol->batches || o->wait,
		.r = { .connections = o->connections, .depth = o->depth, .payload_bytes = o->payload_bytes, .server_cpu_s = -1 } };
	l.epoll = epoll_create1(EPOLL_CLOEXEC);
	l.lanes = calloc(o->connections, sizeof *l.lanes);
	if (l.epoll < 0 || !l.lanes)
		report_die("out of memory");
	for (uint64_t i = 0; i < o->connections; i++)
		open_lane(&l, &l.lanes[i], (uint32_t)i);
	l.now_ns = l.answered_ns = clk_boot_ns();
	l.measure_ns = l.now_ns + o->warmup_ms * NS_PER_MS;
	l.end_ns = l.measure_ns + o->seconds_ms * NS_PER_MS;
	for (uint64_t i = 0; i < o->connections; i++)
		fill(&l, &l.lanes[i]);
	while (l.now_ns < l.end_ns || l.on_their_way > 0)
		turn(&l);
	l.r.seconds = (double)(l.end_ns - l.measure_ns) / NS_PER_S;
	report_print(&l.r, o->json);
	load_deinit(&l);
	return l.r.errors ? 1 : 0;
}

/* ---- the command line */

static const struct option options[] = {
	{ "server", required_argument, NULL, 'S' },
	{ "stream", required_argument, NULL, 'k' },
	{ "connections", required_argument, NULL, 'c' },
	{ "depth", required_argument, NULL, 'd' },
	{ "payload", required_argument, NULL, 'p' },
	{ "seconds", required_argument, NULL, 's' },
	{ "warmup", required_argument, NULL, 'w' },
	{ "wait", required_argument, NULL, 'W' },
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL },
};

static void print_usage(FILE *out, const struct load_protocol *p)
{
	fprintf(out, "Usage: bench/%s\n\n"
		"  --server=HOST:PORT  [%s]\n"
		"  --stream=NAME       [%s]\n"
		"  --connections=N     [50]\n"
		"  --depth=N           appends on their way on each%s [16]\n"
		"  --payload=SIZE      bytes of each record [128]\n"
		"  --seconds=TIME      how long to measure [10s]\n"
		"  --warmup=TIME       how long to run before that [1s]\n%s"
		"  --json              one JSON object, as leash bench prints it\n"
		"Exit status: 0 done; 1 it could not be measured, or something was refused; 2 wrong usage.\n",
		p->usage, p->address, p->stream, p->batches ? ", in one batch" : "",
		p->takes_wait ? "  --wait=N            WAIT for N replicas after each --depth appends\n" : "");
}

static void take_option(struct load_opts *o, int c, const struct load_protocol *p)
{
	switch (c) {
	case 'S':
		if (units_addr(optarg, &o->server))
			break;
		fprintf(stderr, "--server wants HOST:PORT, not \"%s\"\n", optarg);
		exit(2);
	case 'k': o->stream = optarg; break;
	case 'c': o->connections = report_number("connections", optarg, 1, 99999); break;
	case 'd': o->depth = report_number("depth", optarg, 1, 65536); break;
	case 'p': o->payload_bytes = report_size("payload", optarg, 1, 512 << 20); break;
	case 's': o->seconds_ms = report_ms("seconds", optarg); break;
	case 'w': o->warmup_ms = report_ms("warmup", optarg); break;
	case 'W': o->wait = report_number("wait", optarg, 0, p->takes_wait ? 99 : 0); break;
	case 'j': o->json = true; break;
	case 'h': print_usage(stdout, p); exit(0);
	default: print_usage(stderr, p); exit(2);
	}
}

int load_main(int argc, char **argv, const struct load_protocol *protocol)
{
	struct load_opts o = { .stream = protocol->stream, .connections = 50, .depth = 16, .payload_bytes = 128,
		.seconds_ms = 10000, .warmup_ms = 1000 };
	int c;

	must(units_addr(protocol->address, &o.server));
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		take_option(&o, c, protocol);
	if (optind < argc) {
		print_usage(stderr, protocol);
		return 2;
	}
	return run(&o, protocol);
}
