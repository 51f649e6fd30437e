/*
 * bench/nats-load: messages published to a JetStream stream of NATS, each acknowledged by its leader. The stream is made by
 * who calls; it takes the subject --stream. docs.nats.io, "Client Protocol" and "JetStream wire API".
 */
#include <stdio.h>

#include "base/clk.h"
#include "cli/sock.h"
#include "load.h"

#define GREET_NS (5 * NS_PER_S)

/* INFO comes first; PONG says that the subscription to the answers of this connection stands. */
static void greet(struct load *l _unused_, struct load_lane *c)
{
	struct buf in = BUF_NULL, out = BUF_NULL;
	uint64_t deadline_ns = clk_boot_ns() + GREET_NS;
	int r = buf_printf(&out, "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"c\",\"version\":\"1\",\"protocol\":1}\r\n"
				 "SUB _INBOX.b%u 1\r\nPING\r\n", c->index);

	if (r == 0)
		r = sock_send(c->fd, &out, deadline_ns);
	while (r == 0 && !(buf_len(&in) > 0 && memmem(buf_head(&in), buf_len(&in), "PONG\r\n", 6)))
		r = sock_receive(c->fd, &in, deadline_ns);
	if (r < 0)
		report_die("NATS does not greet: %s", sock_strerror(r));
	buf_deinit(&in);
	buf_deinit(&out);
}

static int make(struct load *l, struct load_lane *c)
{
	int r = 0;

	for (uint64_t i = 0; i < l->o->depth && r == 0; i++) {
		r = buf_printf(&c->bytes, "PUB %s _INBOX.b%u %zu\r\n", l->o->stream, c->index, (size_t)l->o->payload_bytes);
		if (r == 0)
			r = load_put_payload(&c->bytes, l->o->payload_bytes);
		if (r == 0)
			r = buf_put(&c->bytes, "\r\n", 2);
	}
	c->append_bytes = buf_len(&c->bytes) / l->o->depth;
	return r;
}

/* "MSG <subject> <sid> <bytes>": the text after the last blank is a number. */
static size_t body_bytes(const uint8_t *line, size_t n)
{
	const uint8_t *blank = memrchr(line, ' ', n);

	return blank ? strtoull((const char *)blank + 1, NULL, 10) : 0;
}

/* An acknowledgement, {"stream":"BENCH","seq":7}, or {"error":{...},...}. */
static void on_answer(struct load *l, struct load_lane *c, const uint8_t *body, size_t n)
{
	if (memmem(body, n, "\"error\"", 7) || !memmem(body, n, "\"seq\"", 5))
		load_refused(l, body, n);
	load_acknowledged(l, c, 1);
}

static size_t take(struct load *l, struct load_lane *c, const uint8_t *p, size_t n)
{
	const uint8_t *end;
	size_t at = 0;

	while ((end = memchr(p + at, '\n', n - at))) {
		const uint8_t *line = p + at;
		size_t len = (size_t)(end - line) + 1, body = 0;

		if (len > 4 && memcmp(line, "MSG ", 4) == 0) {
			body = body_bytes(line, len) + 2;
			if (n - at - len < body)
				break;
			on_answer(l, c, line + len, body - 2);
		} else if (len >= 4 && memcmp(line, "PING", 4) == 0) {
			load_say(c, "PONG\r\n", 6);
		} else if (line[0] == '-') {
			report_die("NATS says %.*s", (int)len, line);
		}
		at += len + body;
	}
	return at;
}

int main(int argc, char **argv)
{
	static const struct load_protocol nats = {
		.usage = "nats-load [OPTION]...\nPublishes messages to a JetStream stream of NATS, as leash bench appends to leash.",
		.address = "127.0.0.1:4222",
		.stream = "bench",
		.greet = greet,
		.make = make,
		.take = take,
	};

	return load_main(argc, argv, &nats);
}
