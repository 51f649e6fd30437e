/*
 * For tests of the command line: makes the data directory of a node that does not run.
 *
 *     make_log DIR NODE CLUSTER PROMISE LOG_EPOCH LOG_MATCHED RECORDS EPOCH
 *
 * CLUSTER: 16 hex digits, zero = virgin. RECORDS of EPOCH are in it, all acknowledged.
 */
#define BOOK_RECORDS 10000

#include <stdio.h>

#include "base/ids.h"
#include "base/units.h"
#include "tests/unit/rlog_make.h"

static uint64_t number(const char *text)
{
	uint64_t n;

	if (!units_number(text, &n))
		exit(2);
	return n;
}

int main(int argc, char **argv)
{
	struct rlog_conf conf = { .segment_bytes = 65536, .digest_seed = BOOK_SEED, .record_bytes_max = BOOK_BODY_MAX };
	struct rlog_state st;
	struct rlog_meta meta;
	struct book book;
	struct rlog *l;

	if (argc != 9)
		return 2;
	/* not book_init(): its assertions want a test around them */
	book = (struct book){ .start = 1, .flavour = 1, .epoch = number(argv[8]) };
	book.pages = calloc(BOOK_RECORDS, sizeof *book.pages);
	if (!book.pages)
		return 1;
	conf.dir = argv[1];
	if (rlog_open(&conf, &rlog_posix, "engine", argv[2], id_random(), &l, &st) != 0)
		return 1;
	for (uint64_t n = number(argv[7]); n > 0; n--)
		if (book_append(&book, l, 1, 50) != 0)
			return 1;
	meta = st.meta;
	if (!id_parse(argv[3], &meta.cluster))
		return 2;
	meta.promise = number(argv[4]);
	meta.promise_run = 7;
	meta.log_epoch = number(argv[5]);
	meta.log_matched = number(argv[6]);
	meta.insync_version = 12;
	meta.min_insync = 2;
	meta.dedup_window = 1000;
	if (rlog_sync(l) != 0 || rlog_mark(l, book.end) != 0 || rlog_meta_write(l, &meta) != 0)
		return 1;
	rlog_close(l);
	book_deinit(&book);
	return 0;
}
