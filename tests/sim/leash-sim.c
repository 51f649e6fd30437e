/*
 * leash-sim: random faults on a simulated cluster, seed by seed.
 *
 * One seed runs in this process. A range runs in child processes; a seed that breaks a promise is made as short as it
 * still breaks it (fewer faults, then fewer seconds), and printed as the command that replays it. --first: nothing of
 * that; it ends with the first such seed (tests/sim/mutations/run).
 */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/sim.h"

#define JOBS_MAX     64
#define FAILURES_MAX 20 /* then it gives up */

struct how {
	uint64_t seconds, max_faults; /* max_faults: one more than that; 0 = any number */
	uint64_t cpu_seconds;         /* of one job; 0 = any number */
	bool verbose;
	bool first;                   /* end with the first seed that breaks a promise */
	bool no_history, only_history; /* sim.h */
};

struct totals {
	uint64_t seeds, with_takeover;
	struct sim_swarm_stats sum;
};

/* Shared with a child. */
struct share {
	uint64_t seed; /* the one it runs; 0: none */
	struct totals t;
};

static int usage(void)
{
	fprintf(stderr, "usage: leash-sim --seed N [--verbose] [--seconds S] [--max-faults K]\n"
			"       leash-sim --seeds A-B [--jobs J] [--seconds S] [--minutes M] [--first [--cpu-seconds C]]\n"
			"       --no-history: without the checker of tests/check; --only-history: nothing but it\n");
	return 2;
}

/* ----------------------------------------------------------------------------------------------------------- running */

static void run_seed(uint64_t seed, const struct how *how, struct totals *t)
{
	struct sim_opts opts = sim_swarm_opts(seed);
	struct sim_swarm_stats st;
	struct sim *s;

	opts.verbose = how->verbose;
	opts.max_faults = how->max_faults;
	opts.no_history = how->no_history;
	opts.only_history = how->only_history;
	s = sim_new(opts);
	st = sim_swarm(s, how->seconds * 1000);
	sim_free(s);
	t->seeds++;
	t->with_takeover += st.takeovers > 1; /* the first is the cluster's beginning */
	for (size_t i = 0; i < sizeof st / sizeof(uint64_t); i++)
		((uint64_t *)(void *)&t->sum)[i] += ((const uint64_t *)(const void *)&st)[i];
}

/* True when the seed still breaks a promise so. */
static bool breaks(uint64_t seed, const struct how *how)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		struct totals t = { 0 };

		(void)freopen("/dev/null", "w", stderr);
		run_seed(seed, how, &t);
		_exit(0);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && status != 0;
}

static void minimise(uint64_t seed, struct how *how)
{
	uint64_t low = 0, high = 1; /* breaks with `high`, not with `low` */
	struct how h = *how;

	for (h.max_faults = high; !breaks(seed, &h); h.max_faults = high) {
		low = high;
		high *= 2;
		if (high > 100000)
			return; /* it needs all of them */
	}
	while (high - low > 1) {
		h.max_faults = (low + high) / 2;
		if (breaks(seed, &h))
			high = h.max_faults;
		else
			low = h.max_faults;
	}
	h.max_faults = how->max_faults = high;
	for (h.seconds = 1; h.seconds < how->seconds; h.seconds += 1 + h.seconds / 4)
		if (breaks(seed, &h)) {
			how->seconds = h.seconds;
			return;
		}
}

static void tell_failure(uint64_t seed, const struct how *how)
{
	struct how h = *how;
	pid_t pid;

	fflush(stdout);
	minimise(seed, &h);
	fprintf(stderr, "seed %" PRIu64 " breaks a promise. Replay: tests/sim/leash-sim --seed %" PRIu64 " --verbose --seconds %" PRIu64,
		seed, seed, h.seconds);
	if (h.max_faults)
		fprintf(stderr, " --max-faults %" PRIu64, h.max_faults - 1);
	fprintf(stderr, "\n");
	pid = fork();
	if (pid == 0) {
		struct totals t = { 0 };

		run_seed(seed, &h, &t); /* its trace and its last words */
		_exit(0);
	}
	if (pid > 0)
		(void)waitpid(pid, NULL, 0); /* it, and no other job */
}

/* ----------------------------------------------------------------------------------------------------------- children */

struct range {
	uint64_t from, to, stride;
	time_t end;
};

static pid_t start(struct share *sh, struct range r, const struct how *how)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	(void)freopen("/dev/null", "w", stderr);
	for (uint64_t seed = r.from; seed <= r.to && time(NULL) < r.end; seed += r.stride) {
		if (how->cpu_seconds && (uint64_t)clock() / CLOCKS_PER_SEC >= how->cpu_seconds)
			break;
		sh->seed = seed;
		run_seed(seed, how, &sh->t);
	}
	sh->seed = 0;
	_exit(0);
}

/* Those that still run; who has ended was waited for, and its place says so. */
static void end_the_others(pid_t pids[JOBS_MAX], unsigned jobs, unsigned but)
{
	for (unsigned j = 0; j < jobs; j++)
		if (j != but && pids[j] > 0) {
			(void)kill(pids[j], SIGKILL);
			(void)waitpid(pids[j], NULL, 0);
		}
}

/* One that died goes on behind the seed that killed it. Returns how many seeds broke. */
static unsigned run_range(struct share *sh, uint64_t from, uint64_t to, unsigned jobs, time_t end, const struct how *how)
{
	pid_t pids[JOBS_MAX];
	unsigned running = 0, failed = 0;

	for (unsigned j = 0; j < jobs; j++, running++)
		pids[j] = start(&sh[j], (struct range){ from + j, to, jobs, end }, how);
	while (running > 0) {
		int status;
		pid_t pid = wait(&status);
		unsigned j = 0;

		while (j < jobs && pids[j] != pid)
			j++;
		if (pid < 0 || j == jobs)
			continue;
		running--;
		pids[j] = -1;
		if (status == 0)
			continue;
		failed++;
		printf("seed %" PRIu64 " breaks a promise\n", sh[j].seed);
		if (how->first) {
			end_the_others(pids, jobs, j);
			return failed;
		}
		tell_failure(sh[j].seed, how);
		if (failed >= FAILURES_MAX)
			continue;
		pids[j] = start(&sh[j], (struct range){ sh[j].seed + jobs, to, jobs, end }, how);
		running++;
	}
	return failed;
}

/* ------------------------------------------------------------------------------------------------------------- totals */

static void tell_totals(const struct totals *t, unsigned failed)
{
	const struct sim_swarm_stats *s = &t->sum;
	struct rusage self, children;
	double cpu_s;

	(void)getrusage(RUSAGE_SELF, &self);
	(void)getrusage(RUSAGE_CHILDREN, &children);
	cpu_s = (double)(self.ru_utime.tv_sec + children.ru_utime.tv_sec + self.ru_stime.tv_sec + children.ru_stime.tv_sec) +
		(double)(self.ru_utime.tv_usec + children.ru_utime.tv_usec + self.ru_stime.tv_usec + children.ru_stime.tv_usec) /
			1e6;
	printf("%" PRIu64 " seeds held, %u did not; %.1f simulated hours, %" PRIu64 " of the seeds with a takeover\n", t->seeds,
		failed, (double)s->sim_ms / 3.6e6, t->with_takeover);
	printf("%" PRIu64 " events, %.0f per CPU second\n", s->steps, cpu_s > 0 ? (double)s->steps / cpu_s : 0.0);
	printf("%" PRIu64 " appends (%" PRIu64 " sent again), %" PRIu64 " answered, %" PRIu64 " left in doubt with %" PRIu64
	       " sessions, %" PRIu64 " reads, %" PRIu64 " records; %" PRIu64 " takeovers\n",
		s->ops, s->retries, s->answers, s->given_up, s->sessions_lost, s->reads, s->records, s->takeovers);
	printf("%" PRIu64 " faults (and %" PRIu64 " of single requests to etcd; %" PRIu64 " processes ended by an error, %" PRIu64
	       " segments were repaired):\n",
		s->faults, s->txn_faults, s->failures, s->repairs);
	for (int i = 0; i < SIM_FAULTS; i++)
		if (s->kinds[i])
			printf("%12" PRIu64 " %s\n", s->kinds[i], sim_fault_name(i));
}

static int run_all(uint64_t from, uint64_t to, unsigned jobs, uint64_t minutes, const struct how *how)
{
	struct share *sh = mmap(NULL, JOBS_MAX * sizeof *sh, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	time_t end = minutes ? time(NULL) + (time_t)(60 * minutes) : time(NULL) + 86400 * 365;
	struct totals sum = { 0 };
	unsigned failed;

	if (sh == MAP_FAILED)
		return 1;
	failed = run_range(sh, from, to, jobs, end, how);
	for (unsigned j = 0; j < jobs; j++)
		for (size_t i = 0; i < sizeof sum / sizeof(uint64_t); i++)
			((uint64_t *)(void *)&sum)[i] += ((const uint64_t *)(const void *)&sh[j].t)[i];
	(void)munmap(sh, JOBS_MAX * sizeof *sh);
	tell_totals(&sum, failed);
	return failed ? 1 : 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "seed", required_argument, NULL, 's' },
		{ "seeds", required_argument, NULL, 'S' }, { "seconds", required_argument, NULL, 't' },
		{ "jobs", required_argument, NULL, 'j' }, { "minutes", required_argument, NULL, 'm' },
		{ "max-faults", required_argument, NULL, 'f' }, { "verbose", no_argument, NULL, 'v' },
		{ "first", no_argument, NULL, 'F' }, { "cpu-seconds", required_argument, NULL, 'c' },
		{ "no-history", no_argument, NULL, 'n' }, { "only-history", no_argument, NULL, 'o' }, { 0 } };
	uint64_t from = 0, to = 0, jobs = 1, minutes = 0;
	struct how how = { .seconds = 60 };
	struct totals t = { 0 };
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 's')
			from = to = strtoull(optarg, NULL, 10);
		else if (c == 'S' && sscanf(optarg, "%" SCNu64 "-%" SCNu64, &from, &to) == 2)
			;
		else if (c == 't')
			how.seconds = strtoull(optarg, NULL, 10);
		else if (c == 'j')
			jobs = strtoull(optarg, NULL, 10);
		else if (c == 'm')
			minutes = strtoull(optarg, NULL, 10);
		else if (c == 'f')
			how.max_faults = strtoull(optarg, NULL, 10) + 1;
		else if (c == 'F')
			how.first = true;
		else if (c == 'c')
			how.cpu_seconds = strtoull(optarg, NULL, 10);
		else if (c == 'n')
			how.no_history = true;
		else if (c == 'o')
			how.only_history = true;
		else if (c == 'v')
			how.verbose = true;
		else
			return usage();
	}
	if (from == 0 || to < from || optind != argc || jobs == 0 || jobs > JOBS_MAX)
		return usage();
	if (from != to)
		return run_all(from, to, (unsigned)jobs, minutes, &how);
	run_seed(from, &how, &t);
	tell_totals(&t, 0);
	return 0;
}
