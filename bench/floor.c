/*
 * bench/floor: what disk and network alone cost for a replicated, synced log; no system that promises the same can be faster.
 *
 *  1. the client sends a batch of records over a TCP connection on loopback, and waits (stop and wait)
 *  2. the primary, another process, passes the bytes to both replicas, and writes and syncs them itself meanwhile
 *  3. each replica, a process of its own, writes, syncs, and answers with one byte
 *  4. the primary has synced and has both answers: it answers the client
 *
 * One write and one fdatasync(2) per batch and process, into files that were written full of zeroes before. No record has a
 * header, nothing is parsed or checked: a batch is as many bytes as both sides know it has. A file that is full is written
 * from its beginning again.
 *
 * A process that fails says why and exits; the others see their connections end, and the whole fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/clk.h"
#include "base/util.h"
#include "report.h"

#define REPLICAS    2
#define ZERO_BYTES  (1u << 20)
#define BATCH_MAX   (64u << 20) /* bytes of a batch */
#define NO_CPU      UINT64_MAX

struct floor_opts {
	const char *dir;
	uint64_t batch, payload_bytes, file_bytes, seconds_ms, warmup_ms;
	uint64_t client_cpu, server_cpu; /* NO_CPU: wherever the kernel likes */
	bool json;
};

/* One of the three that write. */
struct store {
	int fd;
	uint64_t size, at;
};

/* ---- both ends of a connection: blocking, whole batches */

static void send_all(int fd, const uint8_t *p, size_t n)
{
	while (n > 0) {
		ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);

		if (sent < 0 && errno != EINTR)
			report_die("cannot send: %s", strerror(errno));
		p += MAX2(sent, 0);
		n -= (size_t)MAX2(sent, 0);
	}
}

/* False: the connection ended before the first byte. */
static bool receive_all(int fd, uint8_t *p, size_t n)
{
	size_t got = 0;

	while (got < n) {
		ssize_t r = recv(fd, p + got, n - got, 0);

		if (r == 0 && got == 0)
			return false;
		if (r == 0 || (r < 0 && errno != EINTR))
			report_die("the connection was lost: %s", r < 0 ? strerror(errno) : "it ended");
		got += (size_t)MAX2(r, 0);
	}
	return true;
}

static int listen_somewhere(struct sockaddr_in *ret_where)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 1) < 0 ||
		getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		report_die("cannot listen: %s", strerror(errno));
	*ret_where = a;
	return fd;
}

static void no_delay(int fd)
{
	int one = 1;

	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0)
		report_die("TCP_NODELAY: %s", strerror(errno));
}

static int connect_to(const struct sockaddr_in *where)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)where, sizeof *where) < 0)
		report_die("cannot connect: %s", strerror(errno));
	no_delay(fd);
	return fd;
}

static int accept_one(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		report_die("cannot accept: %s", strerror(errno));
	no_delay(fd);
	return fd;
}

/* ---- files */

/* Zeroed and on disk; its name is gone at once, so nothing stays behind. */
static struct store store_open(const struct floor_opts *o)
{
	_cleanup_(freep) uint8_t *zeroes = calloc(1, ZERO_BYTES);
	_cleanup_(freep) char *path = NULL;
	struct store s = { .size = o->file_bytes };

	if (!zeroes || asprintf(&path, "%s/leash-floor-XXXXXX", o->dir) < 0)
		report_die("out of memory");
	s.fd = mkostemp(path, O_CLOEXEC);
	if (s.fd < 0 || unlink(path) < 0)
		report_die("cannot make a file in \"%s\": %s", o->dir, strerror(errno));
	for (uint64_t at = 0; at < s.size; at += ZERO_BYTES)
		if (pwrite(s.fd, zeroes, MIN2(s.size - at, (uint64_t)ZERO_BYTES), (off_t)at) < 0)
			report_die("cannot write in \"%s\": %s", o->dir, strerror(errno));
	if (fsync(s.fd) < 0)
		report_die("cannot sync in \"%s\": %s", o->dir, strerror(errno));
	return s;
}

static void store_write(struct store *s, const uint8_t *p, size_t n)
{
	if (s->at + n > s->size)
		s->at = 0;
	if (pwrite(s->fd, p, n, (off_t)s->at) != (ssize_t)n || fdatasync(s->fd) < 0)
		report_die("cannot write: %s", strerror(errno));
	s->at += n;
}

/* ---- the processes */

static void stay_on(uint64_t cpu)
{
	cpu_set_t set;

	if (cpu == NO_CPU)
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof set, &set) < 0)
		report_die("cannot stay on CPU %d: %s", (int)cpu, strerror(errno));
}

/* 0: we are the child, which ends with its parent. */
static pid_t start(const struct floor_opts *o)
{
	pid_t pid = fork();

	if (pid < 0)
		report_die("cannot fork: %s", strerror(errno));
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* else the ends of the connections tell it */
		stay_on(o->server_cpu);
	}
	return pid;
}

static void replica(int listener, struct store *s, uint8_t *batch, size_t n)
{
	int fd = accept_one(listener);

	while (receive_all(fd, batch, n)) {
		store_write(s, batch, n);
		send_all(fd, batch, 1);
	}
	exit(0);
}

static void primary(int listener, const struct sockaddr_in replicas[REPLICAS], struct store *s, uint8_t *batch, size_t n)
{
	int fd = accept_one(listener), to[REPLICAS];
	uint8_t answer;

	for (size_t i = 0; i < REPLICAS; i++)
		to[i] = connect_to(&replicas[i]);
	while (receive_all(fd, batch, n)) {
		for (size_t i = 0; i < REPLICAS; i++)
			send_all(to[i], batch, n);
		store_write(s, batch, n);
		for (size_t i = 0; i < REPLICAS; i++)
			if (!receive_all(to[i], &answer, 1))
				report_die("a replica ended");
		send_all(fd, &answer, 1);
	}
	exit(0);
}

static void client(const struct floor_opts *o, const struct sockaddr_in *where, uint8_t *batch, struct report *r)
{
	uint64_t begin_ns, now_ns, measure_ns, end_ns;
	int fd;

	stay_on(o->client_cpu);
	fd = connect_to(where);
	now_ns = clk_mono_ns();
	measure_ns = now_ns + o->warmup_ms * NS_PER_MS;
	end_ns = measure_ns + o->seconds_ms * NS_PER_MS;
	while (now_ns < end_ns) {
		begin_ns = now_ns;
		send_all(fd, batch, o->batch * o->payload_bytes);
		if (!receive_all(fd, batch, 1))
			report_die("the primary ended");
		now_ns = clk_mono_ns();
		r->records += o->batch;
		if (begin_ns < measure_ns)
			continue;
		hdr_record(&r->latency, now_ns - begin_ns);
		r->acknowledged += o->batch;
	}
	r->seconds = (double)(now_ns - measure_ns) / NS_PER_S;
	(void)close(fd); /* that ends the others */
}

static double seconds_of(const struct rusage *u)
{
	return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) + (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec) / 1e6;
}

static double own_cpu_s(void)
{
	struct rusage u;

	must(getrusage(RUSAGE_SELF, &u) == 0);
	return seconds_of(&u);
}

static double wait_for_all(pid_t pids[], size_t n)
{
	double cpu_s = 0;

	for (size_t i = 0; i < n; i++) {
		struct rusage u;
		int status;

		if (wait4(pids[i], &status, 0, &u) < 0 || status != 0)
			report_die("a server failed");
		cpu_s += seconds_of(&u);
	}
	return cpu_s;
}

static void run(const struct floor_opts *o)
{
	static struct report r;
	struct store stores[REPLICAS + 1];
	struct sockaddr_in where[REPLICAS + 1];
	pid_t pids[REPLICAS + 1];
	size_t n = o->batch * o->payload_bytes;
	uint8_t *batch = malloc(n);
	int listeners[REPLICAS + 1];

	if (!batch)
		report_die("out of memory");
	memset(batch, 'a', n);
	for (size_t i = 0; i <= REPLICAS; i++) {
		stores[i] = store_open(o);
		listeners[i] = listen_somewhere(&where[i]);
	}
	for (size_t i = 0; i <= REPLICAS; i++) {
		pids[i] = start(o);
		if (pids[i] == 0 && i < REPLICAS)
			replica(listeners[i], &stores[i], batch, n);
		if (pids[i] == 0)
			primary(listeners[i], where, &stores[i], batch, n);
	}
	r = (struct report){ .connections = 1, .depth = o->batch, .payload_bytes = o->payload_bytes };
	r.client_cpu_s = -own_cpu_s(); /* making the files does not count */
	client(o, &where[REPLICAS], batch, &r);
	r.client_cpu_s += own_cpu_s();
	r.server_cpu_s = wait_for_all(pids, ARRAY_SIZE(pids));
	free(batch);
	report_print(&r, o->json);
}

static const struct option options[] = {
	{ "batch", required_argument, NULL, 'b' },
	{ "payload", required_argument, NULL, 'p' },
	{ "seconds", required_argument, NULL, 's' },
	{ "warmup", required_argument, NULL, 'w' },
	{ "dir", required_argument, NULL, 'd' },
	{ "file-bytes", required_argument, NULL, 'f' },
	{ "client-cpu", required_argument, NULL, 'c' },
	{ "server-cpu", required_argument, NULL, 'C' },
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL },
};

static const char usage[] =
	"Usage: bench/floor [OPTION]...\n"
	"A client, a primary and two replicas, processes that only send, write and sync: the floor under a replicated log.\n\n"
	"  --batch=N         records sent at once; all are awaited before the next N [1]\n"
	"  --payload=SIZE    bytes of a record [128]\n"
	"  --seconds=TIME    how long to measure [2s]\n"
	"  --warmup=TIME     how long to run before that [200ms]\n"
	"  --dir=DIR         where the three files are [$TMPDIR, else /tmp]\n"
	"  --file-bytes=SIZE of each of them [64M]\n"
	"  --client-cpu=N    keep the client on this CPU\n"
	"  --server-cpu=N    keep the other three on this CPU\n"
	"  --json            one JSON object, as leash bench prints it\n";

static void take_option(struct floor_opts *o, int c)
{
	switch (c) {
	case 'b': o->batch = report_number("batch", optarg, 1, 1 << 20); break;
	case 'p': o->payload_bytes = report_size("payload", optarg, 1, BATCH_MAX); break;
	case 's': o->seconds_ms = report_ms("seconds", optarg); break;
	case 'w': o->warmup_ms = report_ms("warmup", optarg); break;
	case 'd': o->dir = optarg; break;
	case 'f': o->file_bytes = report_size("file-bytes", optarg, 1 << 20, UINT64_C(1) << 40); break;
	case 'c': o->client_cpu = report_number("client-cpu", optarg, 0, CPU_SETSIZE - 1); break;
	case 'C': o->server_cpu = report_number("server-cpu", optarg, 0, CPU_SETSIZE - 1); break;
	case 'j': o->json = true; break;
	case 'h': fputs(usage, stdout); exit(0);
	default: fputs(usage, stderr); exit(2);
	}
}

int main(int argc, char **argv)
{
	struct floor_opts o = {
		.dir = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp",
		.batch = 1, .payload_bytes = 128, .file_bytes = 64 << 20, .seconds_ms = 2000, .warmup_ms = 200,
		.client_cpu = NO_CPU, .server_cpu = NO_CPU,
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		take_option(&o, c);
	if (optind < argc || o.batch * o.payload_bytes > MIN2((uint64_t)BATCH_MAX, o.file_bytes)) {
		fputs(optind < argc ? usage : "a batch is at most 64 MiB, and no more than a file\n", stderr);
		return 2;
	}
	run(&o);
	return 0;
}
