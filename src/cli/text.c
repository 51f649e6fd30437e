#include "cli/text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/ids.h"

static const char hex_digits[] = "0123456789abcdef";

static bool plain(uint8_t c, const char *also)
{
	return c >= 0x20 && c <= 0x7e && c != '\\' && !strchr(also, c);
}

int text_escape(struct buf *out, struct bytes in, const char *also)
{
	for (size_t i = 0, n; i < in.len; i += n) {
		char code[4] = { '\\', 'x' };
		int r;

		for (n = 0; i + n < in.len && plain(in.p[i + n], also); n++)
			;
		r = n > 0 ? buf_put(out, in.p + i, n) : 0;
		if (n == 0) {
			code[2] = hex_digits[in.p[i] >> 4];
			code[3] = hex_digits[in.p[i] & 15];
			r = buf_put(out, code, sizeof code);
			n = 1;
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int put_hex(struct buf *out, struct bytes in)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < in.len; i++) {
		char two[2] = { hex_digits[in.p[i] >> 4], hex_digits[in.p[i] & 15] };

		r = buf_put(out, two, sizeof two);
	}
	return r;
}

static int put_text(struct buf *out, struct bytes in, const char *also, bool raw)
{
	return raw ? buf_put(out, in.p, in.len) : text_escape(out, in, also);
}

int text_payload(struct buf *out, struct bytes pairs, uint32_t n_pairs, bool raw)
{
	struct cur c = cur_of(pairs.p, pairs.len);
	struct bytes name, value;
	int r = 0;

	for (bool first = true; r == 0 && rec_pair_next(&c, &name, &value); first = false) {
		if (n_pairs > 1) {
			r = first ? 0 : buf_put(out, " ", 1);
			if (r == 0)
				r = put_text(out, name, "", raw);
			if (r == 0)
				r = buf_put(out, "=", 1);
		}
		if (r == 0)
			r = put_text(out, value, "", raw);
	}
	return r;
}

static int put_identity(struct buf *out, leash_seq seq, const struct rec_body *b)
{
	struct cur session = cur_of(b->producer.p, b->producer.len);
	char text[LEASH_ID_TEXT];
	int r;

	switch (b->id_kind) {
	case REC_ID_NONE:
		return buf_printf(out, "/%" PRIu64, seq);
	case REC_ID_SESSION:
		return buf_printf(out, "%s/%" PRIu64, id_format(cur_u64le(&session), text), b->n);
	case REC_ID_OPAQUE:
	case REC_ID_AUTO:
	case REC_ID_SEQ:
		break;
	}
	r = text_escape(out, b->producer, "[]/");
	if (r == 0)
		r = buf_put(out, "/", 1);
	if (r < 0)
		return r;
	if (b->id_kind == REC_ID_SEQ)
		return buf_printf(out, "%" PRIu64, b->n);
	return b->id_kind == REC_ID_AUTO ? put_hex(out, b->id) : text_escape(out, b->id, "[]");
}

int text_record(struct buf *out, leash_seq seq, const struct rec_body *body)
{
	int r = buf_put(out, "[", 1);

	if (r == 0)
		r = put_identity(out, seq, body);
	if (r == 0)
		r = buf_printf(out, "] %" PRIu64 " ", seq);
	if (r == 0)
		r = text_payload(out, body->pairs, body->n_pairs, false);
	return r == 0 ? buf_put(out, "\n", 1) : r;
}

/* Bytes of the UTF-8 character at @p; 0 when there is none (RFC 3629, section 4). */
static size_t utf8_next(const uint8_t *p, size_t left)
{
	uint32_t v = p[0];
	size_t n = v < 0x80 ? 1 : v >= 0xc2 && v < 0xe0 ? 2 : v >= 0xe0 && v < 0xf0 ? 3 : v >= 0xf0 && v < 0xf5 ? 4 : 0;

	if (n < 2 || n > left)
		return n <= left ? n : 0;
	v &= 0x7fu >> n;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (p[i] & 0x3f);
	}
	if ((n == 3 && (v < 0x800 || (v >= 0xd800 && v < 0xe000))) || (n == 4 && (v < 0x10000 || v > 0x10ffff)))
		return 0;
	return n;
}

static bool is_utf8(struct bytes in)
{
	for (size_t i = 0, n; i < in.len; i += n) {
		n = utf8_next(in.p + i, in.len - i);
		if (n == 0)
			return false;
	}
	return true;
}

int text_json_string(struct buf *out, struct bytes in)
{
	int r;

	if (!is_utf8(in)) {
		r = buf_printf(out, "{\"hex\":\"");
		if (r == 0)
			r = put_hex(out, in);
		return r == 0 ? buf_printf(out, "\"}") : r;
	}
	r = buf_put(out, "\"", 1);
	for (size_t i = 0; r == 0 && i < in.len; i++) {
		uint8_t c = in.p[i];

		if (c == '"' || c == '\\')
			r = buf_printf(out, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			r = buf_printf(out, "\\u%04x", c);
		else
			r = buf_put(out, &c, 1);
	}
	return r == 0 ? buf_put(out, "\"", 1) : r;
}

/* ---- tables */

void text_table_deinit(struct text_table *t)
{
	free(t->cells);
	*t = (struct text_table){ .n_columns = t->n_columns };
}

void text_cell(struct text_table *t, const char *fmt, ...)
{
	va_list args;
	char *cell;

	if (t->n_cells == t->cap && !t->failed) {
		size_t cap = t->cap ? 2 * t->cap : 64;
		char(*cells)[TEXT_CELL_MAX] = realloc(t->cells, cap * sizeof *cells);

		t->failed = !cells;
		t->cells = cells ? cells : t->cells;
		t->cap = cells ? cap : t->cap;
	}
	if (t->failed)
		return;
	cell = t->cells[t->n_cells++];
	va_start(args, fmt);
	(void)vsnprintf(cell, TEXT_CELL_MAX, fmt, args);
	va_end(args);
	for (; *cell; cell++)
		if ((uint8_t)*cell < 0x20 || (uint8_t)*cell > 0x7e)
			*cell = '?';
}

static bool number_or_none(const char *cell)
{
	return strcmp(cell, "-") == 0 || cell[strspn(cell, "0123456789")] == '\0';
}

/* The width of column @c, negative when it stands to the left. */
static int column_width(const struct text_table *t, size_t c)
{
	bool numbers = t->n_cells > t->n_columns;
	size_t width = 0;

	for (size_t i = c; i < t->n_cells; i += t->n_columns) {
		width = MAX2(width, strlen(t->cells[i]));
		numbers &= i < t->n_columns || number_or_none(t->cells[i]);
	}
	return numbers ? (int)width : -(int)width;
}

int text_table_print(const struct text_table *t, struct buf *out)
{
	int widths[TEXT_COLUMNS_MAX], r = t->failed ? -ENOMEM : 0;

	must(t->n_columns > 0 && t->n_columns <= TEXT_COLUMNS_MAX);
	for (size_t c = 0; c < t->n_columns; c++)
		widths[c] = column_width(t, c);
	for (size_t i = 0; r == 0 && i < t->n_cells; i++) {
		size_t c = i % t->n_columns;
		bool last = c + 1 == t->n_columns;

		if (last && widths[c] < 0)
			r = buf_printf(out, "%s\n", t->cells[i]);
		else
			r = buf_printf(out, "%*s%s", widths[c], t->cells[i], last ? "\n" : "  ");
	}
	return r;
}
