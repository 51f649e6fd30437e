#include "log/rlog_judge.h"

#include "base/util.h"

enum need { NO, YES, ANY };

struct row {
	enum need header, body, chain, behind, proof, zeroes;
	enum rlog_verdict verdict;
};

/*
 * Facts are found from left to right: without a header, body and chain are unknown. What a crash can leave behind is
 * an unsynced record in part; a whole record that does not follow is none of its doings. R11; facts/replication 3
 * (FAST'18: most systems truncate where they should not).
 */
static const struct row rows[] = {
	/* header body chain  behind proof zeroes */
	{ YES, YES, YES,      ANY,   ANY,  NO,     RLOG_V_KEEP },
	{ YES, YES, NO,       ANY,   ANY,  NO,     RLOG_V_DAMAGE }, /* whole, but of another log */
	{ YES, NO,  ANY,      YES,   NO,   NO,     RLOG_V_TORN },
	{ YES, NO,  ANY,      YES,   YES,  NO,     RLOG_V_DAMAGE }, /* was durable, is rotten */
	{ YES, NO,  ANY,      NO,    ANY,  NO,     RLOG_V_DAMAGE }, /* was acknowledged, is rotten */
	{ NO,  ANY, ANY,      YES,   NO,   NO,     RLOG_V_TORN },
	{ NO,  ANY, ANY,      YES,   YES,  NO,     RLOG_V_DAMAGE },
	{ NO,  ANY, ANY,      NO,    ANY,  NO,     RLOG_V_DAMAGE },
	{ NO,  ANY, ANY,      YES,   NO,   YES,    RLOG_V_END },
	{ NO,  ANY, ANY,      YES,   YES,  YES,    RLOG_V_DAMAGE }, /* a later segment says there was more */
	{ NO,  ANY, ANY,      NO,    ANY,  YES,    RLOG_V_DAMAGE }, /* was acknowledged, is gone */
	{ YES, ANY, ANY,      ANY,   ANY,  YES,    RLOG_V_DAMAGE }, /* cannot be: a header is not zero */
};

static bool fits(enum need need, bool fact)
{
	return need == ANY || (need == YES) == fact;
}

static bool row_matches(const struct row *row, const struct rlog_facts *f)
{
	return fits(row->header, f->header) && fits(row->body, f->body) && fits(row->chain, f->chain) &&
		fits(row->behind, f->behind) && fits(row->proof, f->proof) && fits(row->zeroes, f->zeroes);
}

enum rlog_verdict rlog_judge(const struct rlog_facts *f)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (row_matches(&rows[i], f))
			return rows[i].verdict;
	must(!"every combination has a row");
}

size_t rlog_judge_matches(const struct rlog_facts *f)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		n += row_matches(&rows[i], f);
	return n;
}
