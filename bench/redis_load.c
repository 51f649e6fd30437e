/*
 * bench/redis-load: append work on a Redis server, as `leash bench` does it on leash: connections that send XADD with a
 * payload, in one thread and one epoll.
 *
 * With --wait N each connection sends --depth appends and then WAIT N, and goes on when that is answered: its records
 * count as acknowledged then, if WAIT says that N replicas have them, and their latency runs from when the batch was sent.
 * Without --wait each connection keeps --depth appends on their way and sends another one for each answer.
 *
 * All that is ever sent is the same bytes over and over, made once; of the answers only what they begin with is looked at.
 * So this program costs no more than `leash bench` does, and what is compared is the servers.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/clk.h"
#include "base/units.h"
#include "cli/sock.h"
#include "report.h"

#define CONNECT_NS  (5 * NS_PER_S)
#define SILENCE_NS  (60 * NS_PER_S) /* without any answer: give up */
#define IN_BYTES    16384
#define EVENTS      256
#define TICK_MS     50

struct load_opts {
	struct units_addr server;
	const char *stream;
	uint64_t connections, depth, payload_bytes, seconds_ms, warmup_ms, wait;
	bool json;
};

struct lane {
	int fd;
	bool wants_write;
	size_t out_at, out_left; /* where in load.bytes the next byte is, and how many are to be sent */
	uint8_t in[IN_BYTES];    /* the beginning of an answer, whose end has not come */
	size_t in_len;
	bool in_bulk;       /* the next line is the text of a bulk string */
	uint64_t *sent_ns;  /* ring of `depth`: when what is on its way was sent */
	uint64_t head, n;
};

struct load {
	const struct load_opts *o;
	int epoll;
	struct lane *lanes;
	uint8_t *bytes; /* `depth` appends, and a WAIT if there is one: sent again and again */
	size_t n_bytes, append_bytes;
	uint64_t measure_ns, end_ns, now_ns, answered_ns;
	uint64_t on_their_way;
	struct report r;
};

/* ---- what is sent */

static void make_bytes(struct load *l)
{
	const struct load_opts *o = l->o;
	struct buf b = BUF_NULL;
	int r = 0;

	for (uint64_t i = 0; i < o->depth && r == 0; i++) {
		uint8_t *p;

		r = buf_printf(&b, "*5\r\n$4\r\nXADD\r\n$%zu\r\n%s\r\n$1\r\n*\r\n$4\r\ndata\r\n$%zu\r\n", strlen(o->stream),
			o->stream, (size_t)o->payload_bytes);
		p = r == 0 ? buf_reserve(&b, o->payload_bytes) : NULL;
		if (!p)
			report_die("out of memory");
		for (size_t k = 0; k < o->payload_bytes; k++)
			p[k] = (uint8_t)('a' + (k * 7 + k / 26) % 26);
		buf_commit(&b, o->payload_bytes);
		r = buf_put(&b, "\r\n", 2);
		l->append_bytes = i == 0 ? buf_len(&b) : l->append_bytes;
	}
	if (r == 0 && o->wait)
		r = buf_printf(&b, "*3\r\n$4\r\nWAIT\r\n$%d\r\n%d\r\n$1\r\n0\r\n", o->wait > 9 ? 2 : 1, (int)o->wait);
	if (r < 0)
		report_die("out of memory");
	l->n_bytes = buf_len(&b);
	l->bytes = buf_head(&b); /* lives as long as the process */
}

static void want_write(struct load *l, struct lane *c, bool want)
{
	struct epoll_event ev = { .events = want ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = c };

	if (c->wants_write == want)
		return;
	c->wants_write = want;
	if (epoll_ctl(l->epoll, EPOLL_CTL_MOD, c->fd, &ev) < 0)
		report_die("epoll: %s", strerror(errno));
}

static void flush(struct load *l, struct lane *c)
{
	while (c->out_left > 0) {
		ssize_t n = send(c->fd, l->bytes + c->out_at, MIN2(c->out_left, l->n_bytes - c->out_at), MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0 && errno != EINTR)
			report_die("the connection was lost: %s", strerror(errno));
		n = MAX2(n, (ssize_t)0);
		c->out_left -= (size_t)n;
		c->out_at = (c->out_at + (size_t)n) % l->n_bytes;
	}
	want_write(l, c, c->out_left > 0);
}

/* Sends what may be on its way and is not. */
static void fill(struct load *l, struct lane *c)
{
	uint64_t depth = l->o->depth, more = l->o->wait ? (c->n == 0 ? depth : 0) : depth - c->n;

	if (more == 0 || l->now_ns >= l->end_ns)
		return;
	for (uint64_t i = 0; i < more; i++)
		c->sent_ns[(c->head + c->n + i) % depth] = l->now_ns;
	c->n += more;
	l->on_their_way += more;
	c->out_left += l->o->wait ? l->n_bytes : more * l->append_bytes;
	flush(l, c);
}

/* ---- what comes back */

static void note_error(struct load *l, const char *text, size_t n)
{
	if (l->r.errors++ == 0)
		(void)snprintf(l->r.first_error, sizeof l->r.first_error, "%.*s", (int)MIN2(n, (size_t)100), text);
}

/* The next @n of this connection are acknowledged. */
static void acknowledged(struct load *l, struct lane *c, uint64_t n)
{
	uint64_t sent_ns;

	for (uint64_t i = 0; i < n; i++) {
		sent_ns = c->sent_ns[c->head];
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

/* One line, without its end. XADD is answered with a bulk string (two lines), WAIT with a number. */
static void on_line(struct load *l, struct lane *c, const char *line, size_t n)
{
	bool bulk_text = c->in_bulk;

	c->in_bulk = false;
	if (bulk_text || (n > 0 && line[0] == '-' && !l->o->wait)) {
		if (!bulk_text)
			note_error(l, line, n);
		if (!l->o->wait && c->n > 0)
			acknowledged(l, c, 1);
	} else if (n > 0 && line[0] == '-') {
		note_error(l, line, n);
	} else if (n > 0 && line[0] == '$') {
		c->in_bulk = true;
	} else if (n > 1 && line[0] == ':' && c->n == l->o->depth) {
		if (strtoull(line + 1, NULL, 10) < l->o->wait)
			note_error(l, "WAIT: too few replicas", sizeof "WAIT: too few replicas" - 1);
		acknowledged(l, c, c->n);
	} else {
		report_die("it answers what nobody asked: %.*s", (int)MIN2(n, (size_t)100), line);
	}
}

static void on_read(struct load *l, struct lane *c)
{
	ssize_t n = recv(c->fd, c->in + c->in_len, sizeof c->in - c->in_len, 0);
	size_t at = 0;
	uint8_t *end;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		report_die("the connection was lost: %s", n < 0 ? strerror(errno) : "the server closed it");
	c->in_len += (size_t)n;
	while ((end = memchr(c->in + at, '\n', c->in_len - at))) {
		size_t len = (size_t)(end - (c->in + at));

		on_line(l, c, (const char *)c->in + at, len > 0 ? len - 1 : 0);
		at += len + 1;
	}
	if (at == 0 && c->in_len == sizeof c->in)
		report_die("it does not speak the Redis protocol");
	memmove(c->in, c->in + at, c->in_len - at);
	c->in_len -= at;
	fill(l, c);
}

/* ---- the run */

static void open_lane(struct load *l, struct lane *c)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };
	int r = sock_connect(&l->o->server, clk_boot_ns() + CONNECT_NS, &c->fd);

	if (r < 0)
		report_die("cannot connect: %s", sock_strerror(r));
	c->sent_ns = calloc(l->o->depth, sizeof *c->sent_ns);
	if (!c->sent_ns || epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &ev) < 0)
		report_die("out of memory");
}

static void turn(struct load *l)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(l->epoll, events, EVENTS, TICK_MS);

	l->now_ns = clk_boot_ns();
	for (int i = 0; i < n; i++) {
		struct lane *c = events[i].data.ptr;

		if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
			on_read(l, c);
		if (events[i].events & EPOLLOUT)
			flush(l, c);
		l->now_ns = clk_boot_ns();
	}
	if (l->on_their_way > 0 && l->now_ns - l->answered_ns > SILENCE_NS)
		report_die("nothing was acknowledged for a minute");
}

static void run(const struct load_opts *o)
{
	static struct load l;

	l = (struct load){ .o = o, .r = { .connections = o->connections, .depth = o->depth, .server_cpu_s = -1,
		.payload_bytes = o->payload_bytes } };
	l.epoll = epoll_create1(EPOLL_CLOEXEC);
	l.lanes = calloc(o->connections, sizeof *l.lanes);
	if (l.epoll < 0 || !l.lanes)
		report_die("out of memory");
	make_bytes(&l);
	for (uint64_t i = 0; i < o->connections; i++)
		open_lane(&l, &l.lanes[i]);
	l.now_ns = l.answered_ns = clk_boot_ns();
	l.measure_ns = l.now_ns + o->warmup_ms * NS_PER_MS;
	l.end_ns = l.measure_ns + o->seconds_ms * NS_PER_MS;
	for (uint64_t i = 0; i < o->connections; i++)
		fill(&l, &l.lanes[i]);
	while (l.now_ns < l.end_ns || l.on_their_way > 0)
		turn(&l);
	l.r.seconds = (double)(l.end_ns - l.measure_ns) / NS_PER_S;
	report_print(&l.r, o->json);
	for (uint64_t i = 0; i < o->connections; i++) {
		free(l.lanes[i].sent_ns);
		(void)close(l.lanes[i].fd);
	}
	free(l.lanes);
	free(l.bytes);
	(void)close(l.epoll);
	exit(l.r.errors ? 1 : 0);
}

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

static const char usage[] =
	"Usage: bench/redis-load [OPTION]...\n"
	"Appends records to a stream of a Redis server, as leash bench does on leash.\n\n"
	"  --server=HOST:PORT  [127.0.0.1:6379]\n"
	"  --stream=NAME       [bench]\n"
	"  --connections=N     [50]\n"
	"  --depth=N           appends on their way on each; with --wait: in each batch [16]\n"
	"  --payload=SIZE      bytes of each record's value [128]\n"
	"  --seconds=TIME      how long to measure [10s]\n"
	"  --warmup=TIME       how long to run before that [1s]\n"
	"  --wait=N            WAIT for N replicas after each batch\n"
	"  --json              one JSON object, as leash bench prints it\n"
	"Exit status: 0 done; 1 it could not be measured, or something was refused; 2 wrong usage.\n";

static void take_option(struct load_opts *o, int c)
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
	case 'W': o->wait = report_number("wait", optarg, 0, 99); break;
	case 'j': o->json = true; break;
	case 'h': fputs(usage, stdout); exit(0);
	default: fputs(usage, stderr); exit(2);
	}
}

int main(int argc, char **argv)
{
	struct load_opts o = {
		.server = { .host = "127.0.0.1", .port = 6379 }, .stream = "bench",
		.connections = 50, .depth = 16, .payload_bytes = 128, .seconds_ms = 10000, .warmup_ms = 1000,
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		take_option(&o, c);
	if (optind < argc) {
		fputs(usage, stderr);
		return 2;
	}
	run(&o);
}
