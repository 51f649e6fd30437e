/* leash-sim: random faults on a simulated cluster, seed by seed. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/sim.h"

static int usage(void)
{
	fprintf(stderr, "usage: leash-sim (--seed N | --seeds A-B) [--seconds S] [--verbose]\n");
	return 2;
}

static struct sim_opts opts_of(uint64_t seed, bool verbose)
{
	return (struct sim_opts){ .seed = seed, .verbose = verbose, .nodes = 2 + (int)(seed % 4),
		.topology = seed % 3 == 0 ? REP_CHAIN : REP_STAR, .min_insync = seed % 4 == 2 && seed % 5 == 0 ? 3 : 2,
		.dedup_window = 2000 };
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "seed", required_argument, NULL, 's' },
		{ "seeds", required_argument, NULL, 'S' }, { "seconds", required_argument, NULL, 't' },
		{ "verbose", no_argument, NULL, 'v' }, { 0 } };
	uint64_t from = 0, to = 0, seconds = 60;
	struct sim_swarm_stats sum = { 0 };
	bool verbose = false;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 's')
			from = to = strtoull(optarg, NULL, 10);
		else if (c == 'S' && sscanf(optarg, "%" SCNu64 "-%" SCNu64, &from, &to) == 2)
			;
		else if (c == 't')
			seconds = strtoull(optarg, NULL, 10);
		else if (c == 'v')
			verbose = true;
		else
			return usage();
	}
	if (from == 0 || to < from || optind != argc)
		return usage();
	for (uint64_t seed = from; seed <= to; seed++) {
		struct sim *s = sim_new(opts_of(seed, verbose));
		struct sim_swarm_stats st = sim_swarm(s, seconds * 1000);

		sum.steps += st.steps;
		sum.faults += st.faults;
		sum.takeovers += st.takeovers;
		sum.answers += st.answers;
		sum.retries += st.retries;
		sim_free(s);
	}
	printf("%" PRIu64 " seeds held: %" PRIu64 " steps, %" PRIu64 " faults, %" PRIu64 " takeovers, %" PRIu64
	       " answers, %" PRIu64 " retries\n", to - from + 1, sum.steps, sum.faults, sum.takeovers, sum.answers, sum.retries);
	return 0;
}
