/*
 * bench/pauses: does leash pause by itself, or does the machine?
 *
 * One client appends a record, waits for its answer, and again. Beside it runs a control process that knows nothing of leash:
 * it writes 4 KiB into a zeroed file and syncs, and again. An append that took longer than PAUSE_NS is a pause; it is excused
 * when the control process had one longer than CONTROL_NS that overlaps it, or is not more than NEAR_NS away: then the disk
 * or the machine stood still for both.
 *
 * What the control process saw is in memory that both share; it is read when that has ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clk.h"
#include "cli/respc.h"
#include "cli/sock.h"
#include "report.h"

#define PAUSE_NS   (20 * NS_PER_MS)
#define CONTROL_NS (10 * NS_PER_MS)
#define NEAR_NS    (5 * NS_PER_MS)
#define REST_NS    NS_PER_MS /* between two: beside a load, this is not to be one */
#define CALL_NS    (60 * NS_PER_S)
#define EVENTS_MAX 65536
#define BLOCK      4096
#define FILE_BYTES (16u << 20)

struct opts {
	struct units_addr gateway;
	const char *engine, *dir;
	uint64_t seconds_ms;
};

struct event {
	uint64_t begin_ns, end_ns;
};

/* Events that took longer than a bound; those behind the last place are only counted. */
struct log {
	atomic_bool over;
	uint64_t n, lost, longest_ns, all;
	struct event events[EVENTS_MAX];
};

static void note(struct log *log, uint64_t begin_ns, uint64_t end_ns, uint64_t bound_ns)
{
	log->all++;
	log->longest_ns = MAX2(log->longest_ns, end_ns - begin_ns);
	if (end_ns - begin_ns <= bound_ns)
		return;
	if (log->n == EVENTS_MAX)
		log->lost++;
	else
		log->events[log->n++] = (struct event){ begin_ns, end_ns };
}

static void rest(void)
{
	(void)nanosleep(&(struct timespec){ .tv_nsec = (long)REST_NS }, NULL); /* cut short is no harm */
}

/* ---- the control process */

static int zeroed_file(const char *dir)
{
	static const uint8_t zeroes[BLOCK];
	_cleanup_(freep) char *path = NULL;
	int fd;

	if (asprintf(&path, "%s/leash-pauses-XXXXXX", dir) < 0)
		report_die("out of memory");
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0 || unlink(path) < 0)
		report_die("cannot make a file in \"%s\": %s", dir, strerror(errno));
	for (off_t at = 0; at < FILE_BYTES; at += BLOCK)
		if (pwrite(fd, zeroes, BLOCK, at) != BLOCK)
			report_die("cannot write in \"%s\": %s", dir, strerror(errno));
	if (fsync(fd) < 0)
		report_die("cannot sync in \"%s\": %s", dir, strerror(errno));
	return fd;
}

static void control(int fd, struct log *log)
{
	static const uint8_t block[BLOCK] = { 1 };

	for (off_t at = 0; !atomic_load(&log->over); at = (at + BLOCK) % FILE_BYTES) {
		uint64_t begin_ns = clk_mono_ns();

		if (pwrite(fd, block, BLOCK, at) != BLOCK || fdatasync(fd) < 0)
			report_die("cannot write: %s", strerror(errno));
		note(log, begin_ns, clk_mono_ns(), CONTROL_NS);
		rest();
	}
	exit(0);
}

/* ---- the client */

static void append(struct respc *c, const struct opts *o)
{
	struct bytes argv[] = { respc_str("XADD"), respc_str(o->engine), respc_str("*"), respc_str("data"), respc_str("pause") };
	const struct resp_value *v;
	int r = respc_call(c, argv, ARRAY_SIZE(argv), clk_boot_ns() + CALL_NS, &v);

	if (r < 0)
		report_die("an append failed: %s", sock_strerror(r));
	if (v->type == RESP_T_ERROR)
		report_die("an append was refused: %.*s", (int)MIN2(v->text.len, (size_t)200), (const char *)v->text.p);
}

static void client(const struct opts *o, struct log *log)
{
	uint64_t end_ns = clk_mono_ns() + o->seconds_ms * NS_PER_MS, begin_ns;
	struct respc c = RESPC_NULL;
	int r = respc_open(&c, &o->gateway, clk_boot_ns() + CALL_NS);

	if (r < 0)
		report_die("cannot connect: %s", sock_strerror(r));
	append(&c, o); /* the first one may set things up */
	while ((begin_ns = clk_mono_ns()) < end_ns) {
		append(&c, o);
		note(log, begin_ns, clk_mono_ns(), PAUSE_NS);
		rest();
	}
	respc_close(&c);
}

/* ---- what came of it */

static bool excused(const struct event *e, const struct log *other)
{
	for (uint64_t i = 0; i < other->n; i++)
		if (other->events[i].begin_ns <= e->end_ns + NEAR_NS && e->begin_ns <= other->events[i].end_ns + NEAR_NS)
			return true;
	return false;
}

static double ms(uint64_t ns)
{
	return (double)ns / NS_PER_MS;
}

static void tell(const struct log *appends, const struct log *syncs, uint64_t began_ns)
{
	uint64_t n_own = 0;
	const char *comma = "";

	printf("{\"appends\":%" PRIu64 ",\"syncs\":%" PRIu64 ",\"longest_append_ms\":%.3f,\"longest_sync_ms\":%.3f"
	       ",\"syncs_above_10_ms\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"pauses\":[",
		appends->all, syncs->all, ms(appends->longest_ns), ms(syncs->longest_ns), syncs->n, appends->lost + syncs->lost);
	for (uint64_t i = 0; i < appends->n; i++) {
		const struct event *e = &appends->events[i];
		bool is_excused = excused(e, syncs);

		n_own += !is_excused;
		printf("%s{\"at_s\":%.3f,\"ms\":%.3f,\"excused\":%s}", comma, (double)(e->begin_ns - began_ns) / NS_PER_S,
			ms(e->end_ns - e->begin_ns), is_excused ? "true" : "false");
		comma = ",";
	}
	printf("],\"unexcused\":%" PRIu64 "}\n", n_own);
	if (fflush(stdout) != 0)
		report_die("cannot write the result");
}

static struct log *shared_log(void)
{
	void *p = mmap(NULL, sizeof(struct log), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		report_die("out of memory");
	return p;
}

static void run(const struct opts *o)
{
	struct log *appends = shared_log(), *syncs = shared_log();
	int fd = zeroed_file(o->dir), status;
	uint64_t began_ns = clk_mono_ns();
	pid_t pid = fork();

	if (pid < 0)
		report_die("cannot fork: %s", strerror(errno));
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* else `over` would never be set */
		control(fd, syncs);
	}
	client(o, appends);
	atomic_store(&syncs->over, true);
	if (waitpid(pid, &status, 0) < 0 || status != 0)
		report_die("the control process failed");
	tell(appends, syncs, began_ns);
}

static const char usage[] =
	"Usage: bench/pauses [OPTION]...\n"
	"Appends one record at a time, and tells of pauses above 20 ms, and whether a process that only writes\n"
	"and syncs had them too.\n\n"
	"  --gateway=HOST:PORT  [127.0.0.1:8080]\n"
	"  --engine=NAME        [engine]\n"
	"  --seconds=TIME       [5m]\n"
	"  --dir=DIR            where the other process writes: the disk of the logs [$TMPDIR, else /tmp]\n";

static const struct option options[] = {
	{ "gateway", required_argument, NULL, 'g' },
	{ "engine", required_argument, NULL, 'e' },
	{ "seconds", required_argument, NULL, 's' },
	{ "dir", required_argument, NULL, 'd' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL },
};

int main(int argc, char **argv)
{
	struct opts o = { .engine = "engine", .dir = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", .seconds_ms = 300000 };
	const char *gateway = "127.0.0.1:8080";
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 'g': gateway = optarg; break;
		case 'e': o.engine = optarg; break;
		case 's': o.seconds_ms = report_ms("seconds", optarg); break;
		case 'd': o.dir = optarg; break;
		case 'h': fputs(usage, stdout); return 0;
		default: fputs(usage, stderr); return 2;
		}
	if (optind < argc || !units_addr(gateway, &o.gateway)) {
		fputs(optind < argc ? usage : "--gateway wants HOST:PORT\n", stderr);
		return 2;
	}
	run(&o);
	return 0;
}
