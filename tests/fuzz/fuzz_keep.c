/*
 * The note of kept clients (src/gateway/keep.h): what one process wrote and another reads. Invariants: what is read and
 * written again is the same; what is refused leaves nothing behind; the texts in it end.
 *
 * Byte 0, bit 7: the checksum and the length are made right. Then the note.
 */
#include "fuzz.h"

#include "base/hash.h"
#include "gateway/keep.h"

#define HEADER_BYTES 36

static void seal_note(uint8_t *note, size_t len)
{
	struct enc e = enc_of(note + 20, 16);

	enc_u64le(&e, len - HEADER_BYTES);
	enc_u64le(&e, hash_64(note + HEADER_BYTES, len - HEADER_BYTES, hash_64(note, 28, 0)));
}

static void check_texts(const struct keep *k)
{
	for (size_t i = 0; i < k->n_engines; i++) {
		const struct kept_engine *e = &k->engines[i];

		must(memchr(e->name, '\0', sizeof e->name) && memchr(e->target.node, '\0', sizeof e->target.node));
		must(memchr(e->target.address, '\0', sizeof e->target.address) && e->target.n_nodes <= REP_NODES_MAX);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct buf again = BUF_NULL;
	uint8_t *note;
	struct keep k;
	int r;

	if (len < 1)
		return 0;
	note = fuzz_copy(data + 1, len - 1);
	if ((data[0] & 0x80) && len - 1 >= HEADER_BYTES)
		seal_note(note, len - 1);
	r = keep_decode((struct bytes){ note, len - 1 }, &k);
	must(r == 0 || r == KEEP_E_FOREIGN || r == KEEP_E_DAMAGED);
	if (r == 0) {
		check_texts(&k);
		r = keep_encode(&k, &again);
		must(r == 0);
		must(fuzz_same((struct bytes){ note, len - 1 }, (struct bytes){ buf_head(&again), buf_len(&again) }));
		keep_deinit(&k);
	}
	buf_deinit(&again);
	free(note);
	return 0;
}
