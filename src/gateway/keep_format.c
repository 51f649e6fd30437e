/*
 * The note (keep.h), little-endian:
 *
 *     "leashkep", u32 version, u32 engines, u32 clients, u64 bytes of what follows the header, u64 hash of both
 *     engines: name, u64 cluster, u64 epoch, node, address, u64 run, u32 nodes; each: node, address
 *     clients: u64 cookie, state
 *
 * Names, addresses and states as u32 length and bytes. Whoever changes anything here, or in what front_client_save()
 * writes, raises KEEP_VERSION: another version is not looked into.
 */
#include <errno.h>

#include "base/hash.h"
#include "gateway/keep.h"

#define KEEP_VERSION      1
#define HEADER_BYTES      36
#define HASHED_BYTES      28 /* of the header */
#define ENGINE_BYTES_MAX  4096
#define CLIENT_BYTES_MIN  12

static const char magic[8] = "leashkep";

/* ---------------------------------------------------------------------------------------------------------- the list */

void keep_deinit(struct keep *k)
{
	for (size_t i = 0; i < k->n_clients; i++) {
		closep(&k->clients[i].fd);
		free(k->clients[i].state);
	}
	free(k->clients);
	free(k->engines);
	*k = (struct keep)KEEP_NULL;
}

int keep_add(struct keep *k, int fd, uint8_t *state, size_t bytes)
{
	if (k->n_clients == k->clients_cap) {
		size_t cap = k->clients_cap ? 2 * k->clients_cap : 64;
		struct kept_client *clients = realloc(k->clients, cap * sizeof *clients);

		if (!clients)
			return -ENOMEM;
		k->clients = clients;
		k->clients_cap = cap;
	}
	k->clients[k->n_clients++] = (struct kept_client){ .fd = fd, .state = state, .bytes = bytes };
	return 0;
}

/* ------------------------------------------------------------------------------------------------------------ encode */

static void put_text(struct enc *e, const char *text)
{
	enc_u32le(e, (uint32_t)strlen(text));
	enc_bytes(e, text, strlen(text));
}

static int put_engine(struct buf *out, const struct kept_engine *k)
{
	const struct book_target *t = &k->target;
	uint8_t text[ENGINE_BYTES_MAX];
	struct enc e = enc_of(text, sizeof text);

	put_text(&e, k->name);
	enc_u64le(&e, t->cluster);
	enc_u64le(&e, t->epoch);
	put_text(&e, t->node);
	put_text(&e, t->address);
	enc_u64le(&e, t->run);
	enc_u32le(&e, t->n_nodes);
	for (uint32_t i = 0; i < t->n_nodes; i++) {
		put_text(&e, t->nodes[i].node);
		put_text(&e, t->nodes[i].address);
	}
	must(enc_len(&e));
	return buf_put(out, text, enc_len(&e));
}

static int put_client(struct buf *out, const struct kept_client *c)
{
	uint8_t text[CLIENT_BYTES_MIN];
	struct enc e = enc_of(text, sizeof text);
	int r;

	if (c->bytes > UINT32_MAX)
		return -EMSGSIZE;
	enc_u64le(&e, c->cookie);
	enc_u32le(&e, (uint32_t)c->bytes);
	r = buf_put(out, text, sizeof text);
	return r < 0 ? r : buf_put(out, c->state, c->bytes);
}

static uint64_t hash_note(const uint8_t *header, const uint8_t *body, size_t n)
{
	return hash_64(body, n, hash_64(header, HASHED_BYTES, 0));
}

int keep_encode(const struct keep *k, struct buf *out)
{
	size_t begin = buf_len(out), body;
	uint8_t header[HEADER_BYTES] = { 0 };
	struct enc e = enc_of(header, sizeof header);
	int r = buf_put(out, header, sizeof header);

	if (k->n_clients > KEEP_CLIENTS_MAX || k->n_engines > BOOK_ENGINES_MAX)
		return -EMSGSIZE;
	for (size_t i = 0; i < k->n_engines && r == 0; i++)
		r = put_engine(out, &k->engines[i]);
	for (size_t i = 0; i < k->n_clients && r == 0; i++)
		r = put_client(out, &k->clients[i]);
	if (r < 0)
		return r;
	body = buf_len(out) - begin - sizeof header;
	enc_bytes(&e, magic, sizeof magic);
	enc_u32le(&e, KEEP_VERSION);
	enc_u32le(&e, (uint32_t)k->n_engines);
	enc_u32le(&e, (uint32_t)k->n_clients);
	enc_u64le(&e, body);
	enc_u64le(&e, hash_note(header, buf_head(out) + begin + sizeof header, body));
	must(enc_len(&e) == sizeof header);
	memcpy(buf_head(out) + begin, header, sizeof header);
	return 0;
}

/* ------------------------------------------------------------------------------------------------------------ decode */

/* @size: of @to, the NUL included. */
static void get_text(struct cur *c, char *to, size_t size)
{
	struct bytes b = cur_bytes(c, cur_u32le(c));

	c->bad |= b.len >= size || (b.len && memchr(b.p, '\0', b.len));
	if (c->bad)
		return;
	if (b.len)
		memcpy(to, b.p, b.len);
	to[b.len] = '\0';
}

static void get_engine(struct cur *c, struct kept_engine *k)
{
	struct book_target *t = &k->target;

	get_text(c, k->name, sizeof k->name);
	t->cluster = cur_u64le(c);
	t->epoch = cur_u64le(c);
	get_text(c, t->node, sizeof t->node);
	get_text(c, t->address, sizeof t->address);
	t->run = cur_u64le(c);
	t->n_nodes = cur_u32le(c);
	c->bad |= t->n_nodes > REP_NODES_MAX;
	for (uint32_t i = 0; i < t->n_nodes && !c->bad; i++) {
		get_text(c, t->nodes[i].node, sizeof t->nodes[i].node);
		get_text(c, t->nodes[i].address, sizeof t->nodes[i].address);
	}
}

static int get_client(struct cur *c, struct keep *k)
{
	_cleanup_(freep) uint8_t *copy = NULL;
	uint64_t cookie = cur_u64le(c);
	struct bytes state = cur_bytes(c, cur_u32le(c));
	int r;

	if (c->bad)
		return KEEP_E_DAMAGED;
	if (state.len) {
		copy = malloc(state.len);
		if (!copy)
			return -ENOMEM;
		memcpy(copy, state.p, state.len);
	}
	r = keep_add(k, -1, copy, state.len);
	if (r < 0)
		return r;
	copy = NULL;
	k->clients[k->n_clients - 1].cookie = cookie;
	return 0;
}

static int get_all(struct cur *c, uint32_t n_engines, uint32_t n_clients, struct keep *k)
{
	int r = 0;

	k->engines = calloc(n_engines ? n_engines : 1, sizeof *k->engines);
	if (!k->engines)
		return -ENOMEM;
	k->n_engines = n_engines;
	for (uint32_t i = 0; i < n_engines; i++)
		get_engine(c, &k->engines[i]);
	for (uint32_t i = 0; i < n_clients && r == 0; i++)
		r = get_client(c, k);
	return r == 0 && !cur_end(c) ? KEEP_E_DAMAGED : r;
}

int keep_decode(struct bytes note, struct keep *ret_keep)
{
	struct cur c = cur_of(note.p, note.len);
	struct bytes begin = cur_bytes(&c, sizeof magic);
	uint32_t version = cur_u32le(&c), n_engines = cur_u32le(&c), n_clients = cur_u32le(&c);
	uint64_t bytes = cur_u64le(&c), hash = cur_u64le(&c);
	struct keep k = KEEP_NULL;
	int r;

	if (!cur_ok(&c) || memcmp(begin.p, magic, sizeof magic) != 0 || version != KEEP_VERSION)
		return KEEP_E_FOREIGN;
	if (bytes != cur_left(&c) || hash != hash_note(note.p, c.p, (size_t)bytes) || n_engines > BOOK_ENGINES_MAX ||
		n_clients > KEEP_CLIENTS_MAX)
		return KEEP_E_DAMAGED;
	r = get_all(&c, n_engines, n_clients, &k);
	if (r) {
		keep_deinit(&k);
		return r;
	}
	*ret_keep = k;
	return 0;
}
