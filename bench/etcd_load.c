/*
 * bench/etcd-load: transactions of --depth puts on etcd, each connection one at a time, over gRPC as etcd's own clients speak it
 * (the JSON gateway would cost the server more). Keys are the connection's and the put's number, so they are overwritten:
 * what etcd appends to is its log.
 *
 * Of HTTP/2 (RFC 7540) only what that needs: one stream after the other, header lists without compression, and of what comes
 * back the types of frames. A call went well when a message came before the stream's end: a failed one has trailers only.
 */
#include <arpa/inet.h>
#include <stdio.h>

#include "base/clk.h"
#include "cli/sock.h"
#include "load.h"

#define GREET_NS    (5 * NS_PER_S)
#define FRAME_BYTES 9
#define FRAME_MAX   16384 /* what every peer takes */
#define WINDOW      (1 << 30)
#define KEY_BYTES   64
#define BATCH_MAX   (48 * 1024) /* the server's window is 64 KiB, of which it may owe us a quarter: no need to keep books */

enum frame { FRAME_DATA = 0, FRAME_HEADERS = 1, FRAME_RESET = 3, FRAME_SETTINGS = 4, FRAME_PING = 6, FRAME_GOAWAY = 7,
	FRAME_WINDOW = 8 };
enum { FLAG_END_STREAM = 1, FLAG_ACK = 1, FLAG_END_HEADERS = 4 };

#define STATE_MESSAGE (UINT64_C(1) << 32) /* in lane.state, above the number of the stream: a message came */

static int put_frame(struct buf *b, enum frame type, uint8_t flags, uint32_t stream, const void *p, size_t n)
{
	uint8_t head[FRAME_BYTES] = { (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n, (uint8_t)type, flags };
	int r;

	stream = htonl(stream);
	memcpy(head + 5, &stream, 4);
	r = buf_put(b, head, sizeof head);
	return r == 0 && n > 0 ? buf_put(b, p, n) : r;
}

/* ---- the request: protocol buffers (rpc.proto of etcd 3.4) in a gRPC message in frames */

static int put_varint(struct buf *b, uint64_t v)
{
	uint8_t bytes[10];
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		bytes[n++] = (uint8_t)(v | 0x80);
	bytes[n++] = (uint8_t)v;
	return buf_put(b, bytes, n);
}

/* A field of which the length is known: its number, wire type 2, and the length. */
static int put_tag(struct buf *b, uint32_t field, size_t n)
{
	int r = put_varint(b, field << 3 | 2);

	return r == 0 ? put_varint(b, n) : r;
}

static int put_nested(struct buf *b, uint32_t field, const struct buf *inner)
{
	int r = put_tag(b, field, buf_len(inner));

	return r == 0 ? buf_put(b, buf_head(inner), buf_len(inner)) : r;
}

/* PutRequest { bytes key = 1; bytes value = 2; } */
static int put_put(struct buf *b, const struct load *l, uint32_t lane, uint64_t i)
{
	char key[KEY_BYTES];
	int n = snprintf(key, sizeof key, "%.20s/%u/%u", l->o->stream, lane, (unsigned)i);
	int r = put_tag(b, 1, (size_t)n);

	if (r == 0)
		r = buf_put(b, key, (size_t)n);
	if (r == 0)
		r = put_tag(b, 2, l->o->payload_bytes);
	return r == 0 ? load_put_payload(b, l->o->payload_bytes) : r;
}

/* TxnRequest { repeated RequestOp success = 2; }, RequestOp { PutRequest request_put = 2; } */
static int put_txn(struct buf *b, const struct load *l, uint32_t lane)
{
	int r = 0;

	for (uint64_t i = 0; i < l->o->depth && r == 0; i++) {
		_cleanup_(buf_deinit) struct buf put = BUF_NULL, op = BUF_NULL;

		r = put_put(&put, l, lane, i);
		if (r == 0)
			r = put_nested(&op, 2, &put);
		if (r == 0)
			r = put_nested(b, 2, &op);
	}
	return r;
}

/* A header that the other side is not to remember, its name and value as they are (RFC 7541 6.2.2). */
static int put_header(struct buf *b, const char *name, const char *value)
{
	return buf_printf(b, "%c%c%s%c%s", 0, (int)strlen(name), name, (int)strlen(value), value);
}

static int put_headers(struct buf *b)
{
	static const char *const headers[][2] = { { ":method", "POST" }, { ":scheme", "http" },
		{ ":path", "/etcdserverpb.KV/Txn" }, { ":authority", "localhost" }, { "te", "trailers" },
		{ "content-type", "application/grpc" } };
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(headers) && r == 0; i++)
		r = put_header(b, headers[i][0], headers[i][1]);
	return r;
}

/* Frames of one stream, whose number again() fills in. */
static int make(struct load *l, struct load_lane *c)
{
	_cleanup_(buf_deinit) struct buf headers = BUF_NULL, txn = BUF_NULL, message = BUF_NULL;
	uint8_t prefix[5] = { 0 }; /* not compressed, and the length */
	uint32_t n;
	int r = put_headers(&headers);

	if (r == 0)
		r = put_txn(&txn, l, c->index);
	n = htonl((uint32_t)buf_len(&txn));
	memcpy(prefix + 1, &n, 4);
	if (r == 0)
		r = buf_put(&message, prefix, sizeof prefix);
	if (r == 0)
		r = buf_put(&message, buf_head(&txn), buf_len(&txn));
	if (r == 0)
		r = put_frame(&c->bytes, FRAME_HEADERS, FLAG_END_HEADERS, 0, buf_head(&headers), buf_len(&headers));
	while (r == 0 && buf_len(&message) > 0) {
		size_t part = MIN2(buf_len(&message), (size_t)FRAME_MAX);

		r = put_frame(&c->bytes, FRAME_DATA, part == buf_len(&message) ? FLAG_END_STREAM : 0, 0, buf_head(&message), part);
		buf_consume(&message, part);
	}
	c->state = (uint32_t)-1; /* the first stream is 1 */
	if (buf_len(&c->bytes) > BATCH_MAX)
		report_die("a transaction would have more than %d bytes", BATCH_MAX);
	return r;
}

static size_t frame_length(const uint8_t *p)
{
	return (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
}

/* The next odd number for all frames. */
static void again(struct load *l _unused_, struct load_lane *c)
{
	uint32_t stream = (uint32_t)c->state + 2, number = htonl(stream);
	uint8_t *p = buf_head(&c->bytes), *end = p + buf_len(&c->bytes);

	for (; p < end; p += FRAME_BYTES + frame_length(p))
		memcpy(p + 5, &number, 4);
	c->state = stream;
}

/* ---- the connection */

/* The preface, and windows as wide as it takes, so that no run needs them widened. The server's own may come any time. */
static void greet(struct load *l _unused_, struct load_lane *c)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	uint8_t settings[6] = { 0, 4 }; /* SETTINGS_INITIAL_WINDOW_SIZE */
	uint32_t window = htonl(WINDOW);
	struct buf out = BUF_NULL;
	int r = buf_put(&out, preface, sizeof preface - 1);

	memcpy(settings + 2, &window, 4);
	if (r == 0)
		r = put_frame(&out, FRAME_SETTINGS, 0, 0, settings, sizeof settings);
	if (r == 0)
		r = put_frame(&out, FRAME_WINDOW, 0, 0, &window, sizeof window);
	if (r == 0)
		r = sock_send(c->fd, &out, clk_boot_ns() + GREET_NS);
	if (r < 0)
		report_die("etcd does not greet: %s", sock_strerror(r));
	buf_deinit(&out);
}

/* SETTINGS and PING want an answer with the same content, or none. */
static void confirm(struct load_lane *c, enum frame type, const uint8_t *body, size_t n)
{
	struct buf out = BUF_NULL;

	if (put_frame(&out, type, FLAG_ACK, 0, body, n) < 0)
		report_die("out of memory");
	load_say(c, buf_head(&out), buf_len(&out));
	buf_deinit(&out);
}

static void on_end(struct load *l, struct load_lane *c)
{
	static const char failed[] = "etcd refused a transaction";

	if (!(c->state & STATE_MESSAGE))
		load_refused(l, failed, sizeof failed - 1);
	c->state = (uint32_t)c->state;
	load_acknowledged(l, c, c->n);
}

static void on_frame(struct load *l, struct load_lane *c, enum frame type, uint8_t flags, const uint8_t *body, size_t n)
{
	switch (type) {
	case FRAME_DATA: c->state |= n > 0 ? STATE_MESSAGE : 0; break;
	case FRAME_SETTINGS:
		if (!(flags & FLAG_ACK))
			confirm(c, type, NULL, 0);
		break;
	case FRAME_PING:
		if (!(flags & FLAG_ACK))
			confirm(c, type, body, n);
		break;
	case FRAME_RESET:
	case FRAME_GOAWAY: report_die("etcd ended the stream or the connection");
	case FRAME_HEADERS:
	case FRAME_WINDOW: break;
	}
	if ((type == FRAME_DATA || type == FRAME_HEADERS) && (flags & FLAG_END_STREAM))
		on_end(l, c);
}

static size_t take(struct load *l, struct load_lane *c, const uint8_t *p, size_t n)
{
	size_t at = 0;

	while (n - at >= FRAME_BYTES && n - at - FRAME_BYTES >= frame_length(p + at)) {
		const uint8_t *frame = p + at;

		on_frame(l, c, (enum frame)frame[3], frame[4], frame + FRAME_BYTES, frame_length(frame));
		at += FRAME_BYTES + frame_length(frame);
	}
	return at;
}

int main(int argc, char **argv)
{
	static const struct load_protocol etcd = {
		.usage = "etcd-load [OPTION]...\nWrites to etcd, --depth puts in a transaction, as leash bench appends to leash.",
		.address = "127.0.0.1:2379",
		.stream = "bench",
		.batches = true,
		.greet = greet,
		.make = make,
		.again = again,
		.take = take,
	};

	return load_main(argc, argv, &etcd);
}
