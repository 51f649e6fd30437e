/*
 * leash-check: is what clients saw what leash promises? Reads histories of clients and logs of nodes, and nothing else. What
 * is checked stands in hist.h, the files in hist_text.h.
 *
 *     leash-check [--foreign] [--log FILE]... HISTORY...
 *
 * --log FILE: what `leash log cat` printed of a node, complete and at rest. --foreign: records that no client of these
 * histories appended are fine. Exit status: 0 all rules hold, 1 one does not, 2 wrong usage or a file that makes no sense.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>

#include "tests/check/hist_text.h"

static void histp(struct hist **h)
{
	hist_free(*h);
}

static int load(struct hist *h, const char *path, bool log)
{
	FILE *in = fopen(path, "re");
	char why[HIST_TEXT_WHY];
	int r;

	if (!in) {
		fprintf(stderr, "leash-check: %s: %m\n", path);
		return 2;
	}
	r = log ? hist_text_load_log(h, in, path, why) : hist_text_load(h, in, why);
	(void)fclose(in); /* was only read */
	if (r < 0)
		fprintf(stderr, "leash-check: %s: %s\n", path, why);
	return r < 0 ? 2 : 0;
}

static int usage(void)
{
	fprintf(stderr, "Usage: leash-check [--foreign] [--log FILE]... HISTORY...\n");
	return 2;
}

static int report(struct hist *h)
{
	struct hist_verdict v;
	bool good = hist_check(h, &v);

	if (!good)
		printf("%s: %s\n", hist_rule_name(v.broken), v.text);
	printf("%s: %" PRIu64 " operations in %" PRIu64 " attempts (%" PRIu64 " acknowledged, %" PRIu64 " refused, %" PRIu64
	       " unknown), %" PRIu64 " reads of %" PRIu64 " records, %" PRIu64 " logs, %" PRIu64 " records\n",
		good ? "holds" : "broken", v.operations, v.attempts, v.acknowledged, v.refused, v.unknown, v.reads, v.shown, v.logs,
		v.records);
	return good ? 0 : 1;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "log", required_argument, NULL, 'l' },
		{ "foreign", no_argument, NULL, 'f' }, { NULL, 0, NULL, 0 } };
	_cleanup_(histp) struct hist *h = hist_new();
	int o, r = 0;

	while (r == 0 && (o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (o == 'l')
			r = load(h, optarg, true);
		else if (o == 'f')
			hist_allow_foreign(h);
		else
			return usage();
	}
	if (r == 0 && optind == argc)
		return usage();
	for (int i = optind; r == 0 && i < argc; i++)
		r = load(h, argv[i], false);
	return r ? r : report(h);
}
