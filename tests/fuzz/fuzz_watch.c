/*
 * etcd's watch streams. Invariant: the frames and the end of the stream do not depend on how its bytes are cut into chunks.
 *
 * Byte 0: how it is cut; bit 7: objects may be 256 bytes long, else 64 KiB. Then the stream.
 */
#include "fuzz.h"

#include <errno.h>

#include "base/hash.h"
#include "etcd/json.h"

struct tally {
	uint64_t digest, frames;
};

static void note(struct tally *t, const void *p, size_t len)
{
	t->digest = hash_64(p, len, t->digest + len);
}

static void note_kv(struct tally *t, const struct etcd_kv *kv)
{
	const int64_t numbers[] = { kv->create_revision, kv->mod_revision, kv->version, kv->lease };

	must(!kv->key.p || kv->key.p[kv->key.len] == '\0');
	note(t, kv->key.p, kv->key.len);
	note(t, kv->value.p, kv->value.len);
	note(t, numbers, sizeof numbers);
}

static void note_frame(struct tally *t, const struct watch_frame *f)
{
	const int64_t numbers[] = { (int64_t)f->result, f->code, f->header.revision, (int64_t)f->header.cluster_id,
		f->watch_id, f->created, f->canceled, f->fragment, f->compact_revision };

	note(t, numbers, sizeof numbers);
	must(memchr(f->text, 0, sizeof f->text));
	note(t, f->text, strlen(f->text));
	for (size_t i = 0; i < f->n_events; i++) {
		note(t, &f->events[i].deleted, sizeof f->events[i].deleted);
		note_kv(t, &f->events[i].kv);
		if (f->events[i].has_prev)
			note_kv(t, &f->events[i].prev_kv);
	}
	t->frames++;
}

static struct tally run(struct bytes in, size_t object_bytes_max, uint64_t cut)
{
	struct tally t = { .digest = 1 };
	struct watch_frame f;
	struct stream s;
	int r = stream_init(&s, object_bytes_max);

	must(r == 0);
	r = STREAM_MORE;
	while (in.len > 0 && r == STREAM_MORE) {
		size_t n = cut ? fuzz_piece(&cut, in.len) : in.len;
		uint8_t *chunk = fuzz_copy(in.p, n);

		in = (struct bytes){ in.p + n, in.len - n };
		stream_feed(&s, chunk, n);
		while ((r = stream_next(&s, &f)) == 0) {
			note_frame(&t, &f);
			watch_frame_deinit(&f);
		}
		must(r == STREAM_MORE || r == -EBADMSG || r == -EMSGSIZE);
		free(chunk);
	}
	t.frames = t.frames * 4 + (uint64_t)(r == STREAM_MORE) * 2 + (uint64_t)stream_torn(&s);
	stream_deinit(&s);
	return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	size_t object_bytes_max;
	struct bytes in;
	struct tally a, b;

	if (len < 1)
		return 0;
	object_bytes_max = data[0] & 0x80 ? 256 : 65536;
	in = (struct bytes){ data + 1, len - 1 };
	a = run(in, object_bytes_max, 0);
	b = run(in, object_bytes_max, (uint64_t)(data[0] & 0x7f) + 1);
	must(a.digest == b.digest && a.frames == b.frames);
	return 0;
}
