/*
 * How records and tables look in text. Pure.
 *
 * A record is one line:
 *
 *     [<producer>/<id>] <sequence> <payload>
 *
 * The payload is the value if there is one field, else field=value joined by blanks. Bytes outside 0x20-0x7e and `\`
 * are \xNN (in producer and id also `[` and `]`, in the producer also `/`), so a line is ASCII, and two records of one
 * kind have the same text between the brackets only when they are the same message:
 *
 *     IDMP producer id      [producer/id]
 *     IDMPSEQ producer n    [producer/n]
 *     IDMPAUTO producer     [producer/<32 hex digits of the payload's hash>]
 *     without an id         [<16 hex digits of the gateway's session>/<counter of the message>]
 *     no id at all          [/<sequence>]
 */
#ifndef LEASH_CLI_TEXT_H
#define LEASH_CLI_TEXT_H

#include "base/buf.h"
#include "wire/record.h"

/* Appends @in; bytes outside 0x20-0x7e, `\` and those in @also as \xNN. 0, -ENOMEM, -ENOBUFS. */
int text_escape(struct buf *out, struct bytes in, const char *also) _must_check_;

/* Appends the line of a record, with its line end. 0, -ENOMEM, -ENOBUFS. */
int text_record(struct buf *out, leash_seq seq, const struct rec_body *body) _must_check_;

/* The payload alone. @raw: nothing is escaped. */
int text_payload(struct buf *out, struct bytes pairs, uint32_t n_pairs, bool raw) _must_check_;

/* Appends @in as a JSON string, quotes included; what is not valid UTF-8 becomes {"hex":"..."} instead. */
int text_json_string(struct buf *out, struct bytes in) _must_check_;

/* A table: cells are added row by row, the columns are made as wide as their widest cell when it is printed. */
#define TEXT_COLUMNS_MAX 12
#define TEXT_CELL_MAX    160 /* bytes with the NUL; longer ones are cut */

struct text_table {
	size_t n_columns, n_cells, cap;
	char (*cells)[TEXT_CELL_MAX];
	bool failed; /* out of memory */
};

void text_table_deinit(struct text_table *t);

/* Adds the next cell. Bytes outside 0x20-0x7e become '?': names and texts come from outside. */
void text_cell(struct text_table *t, const char *fmt, ...) _printf_(2, 3);

/* Appends the table. Columns whose rows are all numbers stand to the right. 0, -ENOMEM, -ENOBUFS. */
int text_table_print(const struct text_table *t, struct buf *out) _must_check_;

#endif
