/*
 * The decision table of opening: what to do at the first place of the last segment where no good record follows.
 * Pure. Internal to src/log; tests/unit/test_rlog_judge.c runs over all combinations.
 */
#ifndef LEASH_LOG_RLOG_JUDGE_H
#define LEASH_LOG_RLOG_JUDGE_H

#include <stdbool.h>
#include <stddef.h>

struct rlog_facts {
	bool header;  /* frame and header of the expected record are whole */
	bool body;    /* and so is its body */
	bool chain;   /* and it follows from the record before */
	bool behind;  /* the expected record is behind the mark: not known to be acknowledged */
	bool proof;   /* something behind it proves that it had been durable, or it cannot be read */
	bool zeroes;  /* nothing but zero from here to the end of the segment */
};

enum rlog_verdict {
	RLOG_V_KEEP,   /* a good record */
	RLOG_V_END,    /* the log ends here */
	RLOG_V_TORN,   /* it ends here, what follows was never durable: make it zero */
	RLOG_V_DAMAGE, /* a record was here that this node owes: touch nothing, tell */
};

enum rlog_verdict rlog_judge(const struct rlog_facts *f);

/* For the test: rows that match, which must be exactly one. */
size_t rlog_judge_matches(const struct rlog_facts *f);

#endif
