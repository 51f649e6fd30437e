/*
 * Writes seeds for the fuzz targets, most of them by the encoders of leash itself: make_seeds DIR, which gets a directory
 * per target. tests/fuzz/run merges them into the corpus.
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "front/front.h"
#include "fuzz.h"
#include "gateway/keep.h"
#include "log_disk.h"
#include "seeds_text.h"
#include "wire/peer_data.h"
#include "wire/resp.h"

#define LOG_SEEDS 240
#define LOG_STEP  211 /* bytes between the places where each file is damaged */

static const char *top;

static void put(const char *target, const void *head, size_t head_len, const void *p, size_t len)
{
	char path[PATH_MAX];
	struct buf b = BUF_NULL;
	FILE *f;

	fuzz_put(&b, head, head_len);
	fuzz_put(&b, p, len);
	(void)snprintf(path, sizeof path, "%s/%s", top, target);
	if (mkdir(path, 0777) < 0 && errno != EEXIST)
		exit(1);
	(void)snprintf(path, sizeof path, "%s/%s/%016llx", top, target,
		(unsigned long long)hash_64(buf_head(&b), buf_len(&b), 0));
	f = fopen(path, "we");
	if (!f || fwrite(buf_head(&b), 1, buf_len(&b), f) != buf_len(&b) || fclose(f) != 0) {
		perror(path);
		exit(1);
	}
	buf_deinit(&b);
}

static void put_kind(const char *target, uint8_t a, uint8_t b, const void *p, size_t len)
{
	const uint8_t head[2] = { a, b };

	put(target, head, sizeof head, p, len);
}

/* ------------------------------------------------------------------------------------------------------ clients */

/* "XADD a *" as a multibulk. */
static void multibulk(struct buf *out, const char *words)
{
	struct bytes argv[64];
	uint8_t room[1024];
	struct resp_out o = resp_begin(out, 2);
	uint32_t argc;
	int r;

	must(strlen(words) < sizeof room);
	must(resp_split_line((struct bytes){ (const uint8_t *)words, strlen(words) }, room, argv, ARRAY_SIZE(argv), &argc));
	resp_array(&o, argc);
	for (uint32_t i = 0; i < argc; i++)
		resp_bulk(&o, argv[i]);
	r = resp_end(&o);
	must(r == 0);
}

static void blanks_to_zero(char *to, const char *text)
{
	do
		*to++ = *text == ' ' ? '\0' : *text;
	while (*text++);
}

static void clients(void)
{
	static const char ranges[] = "XRANGE a - +\r\nXREVRANGE a + -\r\nXADD a * f 1\r\nXRANGE a 5 +\r\nPING\r\n";
	struct buf all = BUF_NULL;

	for (size_t i = 0; i < ARRAY_SIZE(seed_commands); i++) {
		struct buf b = BUF_NULL;
		char args[256];

		blanks_to_zero(args, seed_commands[i]);
		put("xcmd", NULL, 0, args, strlen(seed_commands[i]));
		multibulk(&b, "XADD a * f 1");
		multibulk(&b, "XADD a * f 2 g 3");
		multibulk(&b, seed_commands[i]);
		multibulk(&b, "PING");
		put_kind("front", 0, (uint8_t)(i * 37), buf_head(&b), buf_len(&b));
		fuzz_put(&all, seed_commands[i], strlen(seed_commands[i]));
		fuzz_put(&all, "\r\n", 2);
		buf_deinit(&b);
	}
	put_kind("front", 1, 4, buf_head(&all), buf_len(&all));
	put_kind("front", 4, 4, buf_head(&all), buf_len(&all));
	for (uint8_t i = 0; i < 4; i++)
		put_kind("front", 8, i, ranges, sizeof ranges - 1);
	buf_deinit(&all);
	for (size_t i = 0; i < ARRAY_SIZE(seed_resp); i++) {
		put_kind("resp", (uint8_t)(i << 1), (uint8_t)i, seed_resp[i], strlen(seed_resp[i]));
		put_kind("front", 0, (uint8_t)i, seed_resp[i], strlen(seed_resp[i]));
	}
	for (size_t i = 0; i < ARRAY_SIZE(seed_replies); i++)
		put_kind("resp", 1, (uint8_t)i, seed_replies[i], strlen(seed_replies[i]));
}

/* -------------------------------------------------------------------------------------------------------- peers */

static struct buf frames = BUF_NULL;

/* Every frame of @b: its payload as a seed, and all of it for the seed of frames. */
static void peer_seed(struct buf *b)
{
	struct frame f;

	while (frame_next((struct bytes){ buf_head(b), buf_len(b) }, 1u << 20, &f) == 0) {
		put_kind("peer", f.type, 1, f.payload.p, f.payload.len);
		fuzz_put(&frames, buf_head(b), f.bytes);
		buf_consume(b, f.bytes);
	}
	must(buf_len(b) == 0);
	buf_deinit(b);
}

#define SEED(encode)                                                                                         \
	do {                                                                                                 \
		struct buf b = BUF_NULL;                                                                     \
		int e = encode;                                                                              \
                                                                                                             \
		must(e == 0);                                                                                \
		peer_seed(&b);                                                                               \
	} while (0)

static void handshake(void)
{
	struct peer_hello h = { .kind = PEER_KIND_NODE, .engine = "engine", .node = "P1", .address = "127.0.0.1:8081",
		.release = "0.1.0", .cluster = 1, .incarnation = 2, .run = 3, .conn = 4 };
	struct peer_reject rej = { .code = PEER_REJECT_ENGINE, .text = "another engine lives here" };

	SEED(peer_hello_encode(&b, PEER_HELLO, &h));
	h.role = PEER_ROLE_PRIMARY;
	h.epoch = 7;
	h.commit = h.log_end = 100;
	h.in_flight_messages_max = 1024;
	h.in_flight_bytes_max = 1 << 20;
	SEED(peer_hello_encode(&b, PEER_WELCOME, &h));
	SEED(peer_reject_encode(&b, &rej));
}

static void records(bool reverse)
{
	const struct log_disk *ld = log_disk_get(LOG_DISK_ONE);
	struct bytes pieces[3];
	struct rep_msg m = { .type = REP_MSG_RECORDS, .epoch = 1, .run = 9, .commit = 2, .n_recs = 3 };
	struct peer_records d = { .token = 5, .status = PEER_ST_OK, .more = true, .reverse = reverse, .n = 3 };
	struct buf b = BUF_NULL;
	int r;

	for (uint32_t i = 0; i < 3; i++) {
		const struct buf *rec = &ld->recs[reverse ? 5 - i : 3 + i];

		pieces[i] = (struct bytes){ buf_head(rec), buf_len(rec) };
	}
	if (!reverse) {
		r = peer_records_encode(&b, &m, pieces, 3);
		must(r == 0);
		peer_seed(&b);
	}
	r = peer_records_data_encode(&b, &d, pieces, 3);
	must(r == 0);
	peer_seed(&b);
}

static void replication(void)
{
	static const struct rep_stretch history[] = { { 1, 1 }, { 3, 10 } };

	for (int type = REP_MSG_LEAD; type <= REP_MSG_DAMAGED; type++) {
		struct rep_msg m = { .type = (enum rep_msg_type)type, .epoch = 7, .run = 9, .conn = 1, .cluster = 2,
			.seq = 10, .log_end = 12, .commit = 9, .node = "S1" };

		if (type == REP_MSG_LEAD || type == REP_MSG_JOINED || type == REP_MSG_RESET) {
			m.history = history;
			m.n_history = 2;
		}
		SEED(peer_replica_encode(&b, &m));
	}
	records(false);
	records(true);
}

static void data_path(void)
{
	const struct buf *rec = &log_disk_get(LOG_DISK_ONE)->recs[1];
	struct peer_submit submit = { 1, { buf_head(rec) + REC_HEADER_BYTES, buf_len(rec) - REC_HEADER_BYTES } };
	struct peer_result results[] = { { 1, PEER_ST_OK, 5, 1, 3 }, { 2, PEER_ST_NOT_PRIMARY, 0, 7, 1 } };
	struct peer_status status = { .role = PEER_ROLE_PRIMARY, .epoch = 7, .leader = "P1",
		.leader_address = "127.0.0.1:8081", .commit = 9, .log_start = 1, .log_end = 9, .serving = true,
		.n_insync = 3, .min_insync = 2 };
	struct peer_read rd = { .token = 3, .from = 1, .to = 9, .count_max = 10, .bytes_max = 1000, .reverse = true };
	struct peer_info info = { 4, PEER_INFO_NODE };
	struct peer_info_data info_data = { 4, { (const uint8_t *)"{\"a\":1}", 7 } };
	struct peer_admin admin = { .token = 5, .argc = 2, .argv = { { (const uint8_t *)"status", 6 },
							    { (const uint8_t *)"x", 1 } } };
	struct peer_admin_data admin_data = { 5, true, { (const uint8_t *)"fine", 4 } };
	struct peer_records none = { .token = 6, .status = PEER_ST_GONE };

	SEED(peer_submit_encode(&b, &submit));
	SEED(peer_results_encode(&b, results, 2));
	SEED(peer_status_encode(&b, &status));
	SEED(peer_read_encode(&b, &rd));
	SEED(peer_info_encode(&b, &info));
	SEED(peer_info_data_encode(&b, &info_data));
	SEED(peer_ping_encode(&b, PEER_PING, 7));
	SEED(peer_ping_encode(&b, PEER_PONG, 7));
	SEED(peer_admin_encode(&b, &admin));
	SEED(peer_admin_data_encode(&b, &admin_data));
	SEED(peer_records_data_encode(&b, &none, NULL, 0));
	put_kind("peer", 16, 1, submit.body.p, submit.body.len);
}

static void bodies(void)
{
	static const struct bytes pairs[] = { { (const uint8_t *)"f", 1 }, { (const uint8_t *)"v", 1 },
		{ (const uint8_t *)"g", 1 }, { NULL, 0 } };
	struct bytes p = { (const uint8_t *)"p", 1 }, none = { NULL, 0 };
	const struct rec_body all[] = {
		{ .id_kind = REC_ID_NONE }, { .id_kind = REC_ID_AUTO, .producer = p },
		{ .id_kind = REC_ID_OPAQUE, .producer = p, .id = p }, { .id_kind = REC_ID_SEQ, .producer = p, .n = 3, .id = none },
		{ .id_kind = REC_ID_SESSION, .n = 1, .flags = REC_F_OPEN, .birth = 5 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct buf b = BUF_NULL;
		int r = rec_body_encode(&b, &all[i], all[i].id_kind == REC_ID_SESSION ? 9 : 0, pairs, 2);

		must(r == 0);
		put_kind("peer", 16, 1, buf_head(&b), buf_len(&b));
		buf_deinit(&b);
	}
}

/* ---------------------------------------------------------------------------------------------------------- log */

/* A bit, the rest of the file, and 128 bytes, all through file @file; the file gone, and over the next one. */
static void log_sweep(unsigned kind, size_t file, size_t bytes)
{
	static const uint8_t changes[][2] = { { 1, 3 }, { 2, 0 }, { 3, 2 } }; /* kind, n of fuzz_log.c */

	for (size_t at = 7, i = 0; at < bytes; at += LOG_STEP, i++) {
		const uint8_t *c = changes[i % ARRAY_SIZE(changes)];
		uint8_t b[6] = { (uint8_t)kind, c[0], (uint8_t)file, (uint8_t)at, (uint8_t)(at >> 8), c[1] };

		put("log", NULL, 0, b, sizeof b);
	}
	put("log", NULL, 0, (uint8_t[]){ (uint8_t)kind, 4, (uint8_t)file, 0, 0, 0 }, 6);
	put("log", NULL, 0, (uint8_t[]){ (uint8_t)kind, 5, (uint8_t)file, 0, 0, (uint8_t)(file + 1) }, 6);
}

static void logs(void)
{
	struct simrng rng = { 5 };

	for (unsigned kind = 0; kind < LOG_DISK_KINDS; kind++) {
		char names[LOG_DISK_FILES_MAX][LOG_DISK_NAME_MAX];
		struct simdisk *d = simdisk_clone(log_disk_get((enum log_disk_kind)kind)->disk);
		size_t n = log_disk_names(d, names);
		uint8_t head = (uint8_t)kind;

		put("log", &head, 1, NULL, 0);
		for (size_t i = 0; i < n; i++) {
			struct buf b = BUF_NULL;
			bool meta = strcmp(names[i], "meta") == 0, mark = strcmp(names[i], "mark") == 0;
			uint8_t which = meta ? 1 : mark ? 2 : strstr(names[i], ".seg") ? 3 : 0;

			must(log_disk_read(d, names[i], &b));
			if (kind == LOG_DISK_MANY || kind == LOG_DISK_CUTTING)
				put("checkpoint", &(uint8_t){ which | 0x80 }, 1, buf_head(&b),
					which == 3 ? 4096 : buf_len(&b));
			log_sweep(kind, i, buf_len(&b));
			buf_deinit(&b);
		}
		simdisk_free(d);
	}
	for (int i = 0; i < LOG_SEEDS; i++) {
		uint8_t b[48];
		size_t len = 1 + 5 + (size_t)simrng_below(&rng, 24);

		for (size_t k = 0; k < len; k++)
			b[k] = (uint8_t)simrng_next(&rng);
		b[0] = (uint8_t)(i % LOG_DISK_KINDS) | (i % 3 == 0 ? 0x80 : 0);
		b[1] = (uint8_t)(i % 8);
		b[4] &= 0x1f;
		put("log", NULL, 0, b, len);
	}
}

static void texts(void)
{
	char args[512];

	for (size_t i = 0; i < ARRAY_SIZE(seed_etcd); i++)
		put_kind("etcd", (uint8_t)seed_etcd[i].kind, (uint8_t)seed_etcd[i].arg, seed_etcd[i].text,
			strlen(seed_etcd[i].text));
	for (size_t i = 0; i < ARRAY_SIZE(seed_keys); i++)
		put("keys", &(uint8_t){ (uint8_t)seed_keys[i].kind }, 1, seed_keys[i].text, strlen(seed_keys[i].text));
	for (size_t i = 0; i < ARRAY_SIZE(seed_watch); i++)
		put("watch", &(uint8_t){ (uint8_t)(i * 5) }, 1, seed_watch[i], strlen(seed_watch[i]));
	for (size_t i = 0; i < ARRAY_SIZE(seed_conf); i++) {
		const char *text = seed_conf[i].text;

		if (seed_conf[i].kind == 1)
			blanks_to_zero(args, text);
		put("conf", &(uint8_t){ (uint8_t)seed_conf[i].kind }, 1, seed_conf[i].kind == 1 ? args : text,
			strlen(text));
	}
}

/* ------------------------------------------------------------------------------------------------- over a restart */

static void text(struct enc *e, const char *s)
{
	enc_u32le(e, (uint32_t)strlen(s));
	enc_bytes(e, s, strlen(s));
}

/* A client as src/front/save.c writes it, by @flags. */
static size_t saved_client(uint8_t *to, size_t size, uint16_t flags, uint32_t n_replies, const char *input)
{
	struct enc e = enc_of(to, size);

	enc_u8(&e, 2);
	enc_u8(&e, (uint8_t)(2 + (n_replies & 1)));
	enc_u16le(&e, flags);
	enc_u64le(&e, 5);
	enc_u64le(&e, 1000);
	text(&e, "joe");
	text(&e, "lib");
	text(&e, "1.2");
	text(&e, "a");
	if (flags & 32) {
		enc_u8(&e, 2);
		enc_u32le(&e, 3);
		enc_u64le(&e, 12);
		text(&e, "XADD");
	}
	text(&e, "+OK\r\n");
	enc_u32le(&e, n_replies);
	for (uint32_t i = 0; i < n_replies; i++) {
		enc_u8(&e, (uint8_t)i);
		text(&e, i & 1 ? "" : "+PONG\r\n");
		if (!(i & 1))
			continue;
		enc_u8(&e, 2);
		enc_u64le(&e, 3);
		enc_u64le(&e, 90);
		enc_u64le(&e, 50);
		text(&e, "a");
	}
	text(&e, input);
	must(enc_len(&e));
	return enc_len(&e);
}

static void seeds_saved(void)
{
	static const char *const inputs[] = { "", "PING\r\nPI", "*2\r\n$4\r\nECHO\r\n$3\r\nhi", "XADD a * f v\r\nXLEN a\r\n",
		"XREAD BLOCK 100 STREAMS a 5-0\r\nPING\r\n" };
	uint8_t bytes[1024];

	for (uint16_t flags = 0; flags < 64; flags = (uint16_t)(flags ? 2 * flags : 1))
		for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++)
			put_kind("front", 2, 0, bytes, saved_client(bytes, sizeof bytes, flags, (uint32_t)i, inputs[i]));
}

static void seeds_keep(void)
{
	static struct kept_engine engines[] = {
		{ .name = "engine", .target = { .cluster = 7, .epoch = 12, .node = "P1", .address = "127.0.0.1:8081", .run = 9,
			.n_nodes = 2, .nodes = { { "P1", "127.0.0.1:8081" }, { "S1", "127.0.0.1:8082" } } } },
		{ .name = "other" },
	};
	static struct kept_client clients[] = { { -1, 5, (uint8_t *)"state", 5 }, { -1, 6, NULL, 0 } };
	const uint8_t sealed = 0x80;

	for (size_t i = 0; i < 9; i++) {
		struct keep k = { .engines = engines, .n_engines = i % 3, .clients = clients, .n_clients = i / 3 };
		struct buf b = BUF_NULL;
		int r = keep_encode(&k, &b);

		must(r == 0);
		put("keep", &sealed, 1, buf_head(&b), buf_len(&b));
		buf_head(&b)[buf_len(&b) - 1] ^= 1;
		put("keep", "", 1, buf_head(&b), buf_len(&b));
		put("keep", &sealed, 1, buf_head(&b), buf_len(&b) / 2);
		buf_deinit(&b);
	}
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		(void)fprintf(stderr, "usage: make_seeds DIR\n");
		return 2;
	}
	top = argv[1];
	clients();
	handshake();
	replication();
	data_path();
	bodies();
	put_kind("peer", 0, 3, buf_head(&frames), buf_len(&frames));
	put_kind("peer", 0, 2, FRAME_PREFACE, FRAME_PREFACE_BYTES);
	buf_deinit(&frames);
	logs();
	texts();
	seeds_saved();
	seeds_keep();
	return 0;
}
