/*
 * leash produce: lines as records, through the gateway, each once.
 *
 * One loop: lines come in, go into the books (produce.h), are sent as XADD ... IDMP, answers come back in order. Whatever
 * goes wrong on the way (connection lost, TRYAGAIN, INDOUBT, no answer for long) ends the connection; the next one gets
 * everything that is not acknowledged again, with the same ids.
 */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clk.h"
#include "base/ids.h"
#include "cli/produce.h"
#include "cli/respc.h"
#include "cli/sock.h"

#define LINE_BYTES_MAX    (64u << 20) /* of one line of the input */
#define INPUT_BYTES       (256 * 1024) /* read at once */
#define OUT_BYTES_MAX     (1u << 20)  /* commands that wait to be sent; the next line goes behind this many */
#define CONNECT_NS        (3 * NS_PER_S)
#define RECONNECT_NS      (100 * NS_PER_MS)
#define ANSWER_NS         (60 * NS_PER_S) /* twice the gateway's usual hold_timeout: then it is stuck */
#define PROGRESS_NS       (250 * NS_PER_MS)
#define TURN_NS           (100 * NS_PER_MS)

struct produce_opts {
	struct units_addr gateway;
	char *engine, *producer, *field, *acks;
	uint64_t window, rate, timeout_ms;
	bool json;
};

struct run {
	const struct produce_opts *o;
	struct produce books;
	struct respc c; /* fd -1: not connected */
	int input;      /* -1: at its end */
	struct buf in;  /* bytes of the input that are no line yet */
	size_t searched; /* of them known to have no line end */
	FILE *acks;
	char producer[LEASH_NAME_MAX + 1];

	uint64_t began_ns, began_real_ms, retry_ns, heard_ns, progress_ns, shown_ns;
	uint64_t connections, read; /* lines read */
	bool troubled;       /* something was said that is not over yet */
	bool terminal;
	char failed[256];    /* final */
};

static void give_up(struct run *r, const char *fmt, ...) _printf_(2, 3);

static void give_up(struct run *r, const char *fmt, ...)
{
	va_list args;

	if (r->failed[0])
		return;
	va_start(args, fmt);
	(void)vsnprintf(r->failed, sizeof r->failed, fmt, args);
	va_end(args);
}

/* ---- input */

/* Moves one line from the input to the books. False: there is no whole one. */
static bool take_line(struct run *r, uint64_t now_ns)
{
	uint8_t *head = buf_head(&r->in), *end;
	size_t left = buf_len(&r->in), len;
	char *text;

	end = left > r->searched ? memchr(head + r->searched, '\n', left - r->searched) : NULL;
	r->searched = end ? 0 : left;
	if (!end && (r->input >= 0 || left == 0))
		return false;
	len = end ? (size_t)(end - head) : left;
	text = malloc(len + 1);
	if (!text) {
		give_up(r, "out of memory");
		return false;
	}
	memcpy(text, head, len);
	text[len] = '\0';
	buf_consume(&r->in, len + (end ? 1 : 0));
	produce_add(&r->books, text, len, now_ns);
	r->read++;
	r->searched = 0;
	return true;
}

/* How many lines may have been read by now. */
static uint64_t allowance(const struct run *r, uint64_t now_ns)
{
	if (r->o->rate == 0)
		return UINT64_MAX;
	return (uint64_t)((double)(now_ns - r->began_ns) / NS_PER_S * (double)r->o->rate) + 1;
}

static bool wants_lines(const struct run *r, uint64_t now_ns)
{
	return !produce_full(&r->books) && r->read < allowance(r, now_ns) && !r->failed[0];
}

static void read_input(struct run *r)
{
	uint8_t *p;
	ssize_t n;

	if (buf_len(&r->in) > LINE_BYTES_MAX) {
		give_up(r, "line %" PRIu64 " is longer than %u bytes", r->read + 1, LINE_BYTES_MAX);
		return;
	}
	p = buf_reserve(&r->in, INPUT_BYTES);
	n = p ? read(r->input, p, INPUT_BYTES) : -1;
	if (n > 0)
		buf_commit(&r->in, (size_t)n);
	else if (n == 0)
		r->input = close_fd(r->input);
	else if (!p)
		give_up(r, "out of memory");
	else if (errno != EINTR && errno != EAGAIN)
		give_up(r, "cannot read the input: %s", strerror(errno));
}

/* Fills the books with what has been read. Returns true when more is to be read. */
static bool fill_books(struct run *r, uint64_t now_ns)
{
	while (wants_lines(r, now_ns))
		if (!take_line(r, now_ns))
			return r->input >= 0;
	return false;
}

/* ---- connection */

/* Said once per trouble, so that a long outage does not fill the screen. */
static void say_trouble(struct run *r, const char *text, size_t len)
{
	char address[LEASH_ADDR_MAX + 16];

	if (!r->troubled)
		cli_note("%s%s: %.*s; trying again", r->terminal ? "\r" : "", units_addr_format(&r->o->gateway, address),
			(int)MIN2(len, (size_t)200), text);
	r->troubled = true;
}

static void lose(struct run *r, const char *text, size_t len, uint64_t now_ns)
{
	say_trouble(r, text, len);
	respc_close(&r->c);
	produce_again(&r->books);
	r->retry_ns = now_ns + RECONNECT_NS;
}

static void connect_again(struct run *r, uint64_t now_ns)
{
	int e;

	if (now_ns < r->retry_ns)
		return;
	e = respc_open(&r->c, &r->o->gateway, now_ns + CONNECT_NS);
	if (e < 0) {
		lose(r, sock_strerror(e), strlen(sock_strerror(e)), clk_boot_ns());
		return;
	}
	r->connections++;
	r->heard_ns = clk_boot_ns();
}

/* XADD <engine> IDMP <producer> <id> * <field> <line> */
static int put_line(struct run *r, const struct produce_line *l)
{
	char id[PRODUCE_ID_TEXT];
	struct bytes argv[] = { respc_str("XADD"), respc_str(r->o->engine), respc_str("IDMP"), respc_str(r->producer),
		respc_str(produce_id(l, id)), respc_str("*"), respc_str(r->o->field), { (uint8_t *)l->text, l->len } };

	return respc_put(&r->c, argv, ARRAY_SIZE(argv));
}

static void send_lines(struct run *r, uint64_t now_ns)
{
	const struct produce_line *l;
	int e;

	if (!produce_due(&r->books))
		r->heard_ns = now_ns; /* nothing was due until now */
	while (buf_len(&r->c.out) < OUT_BYTES_MAX && (l = produce_next(&r->books))) {
		if (put_line(r, l) < 0) {
			give_up(r, "out of memory");
			return;
		}
		produce_sent(&r->books);
	}
	e = sock_send_some(r->c.fd, &r->c.out);
	if (e < 0)
		lose(r, sock_strerror(e), strlen(sock_strerror(e)), now_ns);
}

/* ---- answers */

/* False: the connection was given up. */
static bool take_answer(struct run *r, const struct resp_value *v, uint64_t now_ns)
{
	const struct produce_line *l = produce_due(&r->books);
	leash_seq seq;

	if (!l) {
		lose(r, "it answers what nobody asked", strlen("it answers what nobody asked"), now_ns);
		return false;
	}
	if (v->type == RESP_T_ERROR && produce_judge(v->text) == PRODUCE_RETRY) {
		lose(r, (const char *)v->text.p, v->text.len, now_ns);
		return false;
	}
	if (v->type != RESP_T_BULK || !respc_entry_id(v->text, &seq)) {
		give_up(r, "line %" PRIu64 ": %.*s", l->number, v->text.p ? (int)MIN2(v->text.len, (size_t)200) : 16,
			v->text.p ? (const char *)v->text.p : "no id came back");
		return false;
	}
	if (r->acks && fprintf(r->acks, "%" PRIu64 " %" PRIu64 "\n", l->number, seq) < 0)
		give_up(r, "cannot write \"%.80s\": %s", r->o->acks, strerror(errno));
	produce_acknowledged(&r->books, seq, now_ns, clk_real_ns() / NS_PER_MS);
	r->progress_ns = now_ns;
	r->troubled = false;
	return !r->failed[0];
}

static void receive(struct run *r, uint64_t now_ns)
{
	const struct resp_value *v;
	size_t n;
	int e = sock_receive_some(r->c.fd, &r->c.in, &n);

	while (e == 0) {
		e = respc_next(&r->c, &v);
		if (e == 0 && !take_answer(r, v, now_ns))
			break;
	}
	if (r->acks && fflush(r->acks) != 0)
		give_up(r, "cannot write \"%.80s\": %s", r->o->acks, strerror(errno));
	if (e < 0)
		lose(r, e == -EPROTO ? "it does not speak the Redis protocol" : sock_strerror(e),
			e == -EPROTO ? strlen("it does not speak the Redis protocol") : strlen(sock_strerror(e)), now_ns);
	r->heard_ns = now_ns;
}

/* ---- the loop */

static void wait_turn(struct run *r, bool want_input, uint64_t now_ns)
{
	struct pollfd p[2] = {
		{ .fd = r->c.fd, .events = (short)(POLLIN | (buf_len(&r->c.out) ? POLLOUT : 0)) },
		{ .fd = want_input ? r->input : -1, .events = POLLIN },
	};
	uint64_t wait_ns = TURN_NS;

	if (r->c.fd < 0)
		wait_ns = r->retry_ns > now_ns ? MIN2(wait_ns, r->retry_ns - now_ns) : 0;
	else if (r->o->rate && !produce_full(&r->books) && !want_input)
		wait_ns = 2 * NS_PER_MS; /* until the rate lets more lines through */
	if (poll(p, 2, (int)((wait_ns + NS_PER_MS - 1) / NS_PER_MS)) <= 0)
		return;
	if (p[1].revents)
		read_input(r);
	if (p[0].revents)
		receive(r, clk_boot_ns());
}

static void show(struct run *r, uint64_t now_ns)
{
	double seconds = (double)(now_ns - r->began_ns) / NS_PER_S;

	if (!r->terminal || now_ns - r->shown_ns < PROGRESS_NS)
		return;
	r->shown_ns = now_ns;
	fprintf(stderr, "\r%" PRIu64 " acknowledged, %.0f/s, %" PRIu32 " on their way   ", r->books.acknowledged,
		seconds > 0 ? (double)r->books.acknowledged / seconds : 0, r->books.n);
}

static void check_time(struct run *r, uint64_t now_ns)
{
	char time[UNITS_TEXT];

	if (r->books.n == 0)
		r->progress_ns = now_ns;
	if (r->o->timeout_ms && now_ns - r->progress_ns > r->o->timeout_ms * NS_PER_MS)
		give_up(r, "nothing was acknowledged for %s", units_duration_format(r->o->timeout_ms, time));
	if (r->c.fd >= 0 && produce_due(&r->books) && now_ns - r->heard_ns > ANSWER_NS)
		lose(r, "no answer", strlen("no answer"), now_ns);
}

static void produce_all(struct run *r)
{
	while (!r->failed[0]) {
		uint64_t now_ns = clk_boot_ns();
		bool want_input = fill_books(r, now_ns);

		if (r->input < 0 && r->books.n == 0 && buf_len(&r->in) == 0)
			break;
		if (r->c.fd < 0)
			connect_again(r, now_ns);
		if (r->c.fd >= 0)
			send_lines(r, now_ns);
		check_time(r, now_ns);
		show(r, now_ns);
		if (!r->failed[0])
			wait_turn(r, want_input, now_ns);
	}
}

/* ---- the end */

static void print_json(const struct run *r, double seconds)
{
	struct json_object *o = json_object_new_object(), *pauses = json_object_new_array();
	const struct produce *b = &r->books;

#define ADD(name, v) (void)json_object_object_add(o, name, v) /* out of memory shows as a missing field */
	ADD("producer", json_object_new_string(r->producer));
	ADD("lines", json_object_new_uint64(r->read));
	ADD("acknowledged", json_object_new_uint64(b->acknowledged));
	ADD("first_sequence", json_object_new_uint64(b->first_seq));
	ADD("last_sequence", json_object_new_uint64(b->last_seq));
	ADD("sent_again", json_object_new_uint64(b->resent));
	ADD("out_of_order", json_object_new_uint64(b->out_of_order));
	ADD("connections", json_object_new_uint64(r->connections));
	ADD("began_ms", json_object_new_uint64(r->began_real_ms));
	ADD("seconds", json_object_new_double(seconds));
	ADD("longest_pause_ms", json_object_new_uint64(b->longest_pause_ms));
	for (uint32_t i = 0; i < b->n_pauses; i++) {
		struct json_object *p = json_object_new_object();

		(void)json_object_object_add(p, "began_ms", json_object_new_uint64(b->pauses[i].real_ms));
		(void)json_object_object_add(p, "ms", json_object_new_uint64(b->pauses[i].ms));
		(void)json_object_array_add(pauses, p);
	}
	ADD("pauses", pauses);
	ADD("error", r->failed[0] ? json_object_new_string(r->failed) : NULL);
#undef ADD
	printf("%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	(void)json_object_put(o);
}

static int finish(struct run *r)
{
	double seconds = (double)(clk_boot_ns() - r->began_ns) / NS_PER_S;
	const struct produce *b = &r->books;

	if (r->terminal)
		fprintf(stderr, "\r%60s\r", "");
	if (r->acks && fclose(TAKE(r->acks)) != 0)
		give_up(r, "cannot write \"%.80s\": %s", r->o->acks, strerror(errno));
	if (r->o->json) {
		print_json(r, seconds);
	} else {
		printf("%" PRIu64 " lines acknowledged", b->acknowledged);
		if (b->acknowledged)
			printf(" as %" PRIu64 " to %" PRIu64, b->first_seq, b->last_seq);
		printf(" in %.1f s (%.0f/s), %" PRIu64 " sent again, longest pause %" PRIu64 " ms\n", seconds,
			seconds > 0 ? (double)b->acknowledged / seconds : 0, b->resent, b->longest_pause_ms);
	}
	if (r->failed[0])
		return cli_flush(cli_failed("%s", r->failed));
	return cli_flush(CLI_OK);
}

static int start(struct run *r, const char *path)
{
	if (r->o->producer)
		(void)snprintf(r->producer, sizeof r->producer, "%s", r->o->producer);
	else
		(void)id_format(id_random(), r->producer);
	r->input = path && strcmp(path, "-") != 0 ? open(path, O_RDONLY | O_CLOEXEC) : fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	if (r->input < 0)
		return cli_failed("%s: %s", path ? path : "standard input", strerror(errno));
	if (r->o->acks) {
		r->acks = fopen(r->o->acks, "we");
		if (!r->acks)
			return cli_failed("%s: %s", r->o->acks, strerror(errno));
	}
	if (produce_init(&r->books, (uint32_t)r->o->window) < 0)
		return cli_failed("out of memory");
	r->began_ns = r->progress_ns = clk_boot_ns();
	r->began_real_ms = clk_real_ns() / NS_PER_MS;
	r->terminal = isatty(STDERR_FILENO) == 1;
	return CLI_OK;
}

static void run_deinit(struct run *r)
{
	if (r->acks)
		(void)fclose(r->acks); /* the command has failed already */
	respc_close(&r->c);
	produce_deinit(&r->books);
	buf_deinit(&r->in);
	closep(&r->input);
}

static int produce_run(const void *opts, char **operands, size_t n_operands)
{
	_cleanup_(run_deinit) struct run r = { .o = opts, .c = RESPC_NULL, .input = -1 };
	int status = start(&r, n_operands ? operands[0] : NULL);

	if (status != CLI_OK)
		return status;
	produce_all(&r);
	return finish(&r);
}

static const char *check_producer(const char *text)
{
	return strlen(text) <= LEASH_NAME_MAX ? NULL : "a text of at most 63 bytes";
}

static const struct conf_key keys[] = {
	{ "producer", CONF_AT_STRING(struct produce_opts, producer), .meta = "NAME", .check = check_producer,
	  .help = "name under which ids count; the same again resumes [random]" },
	{ "field", CONF_AT_STRING(struct produce_opts, field), .text = "data", .meta = "NAME",
	  .help = "name of the field that the line becomes" },
	{ "window", CONF_AT_NUMBER(struct produce_opts, window), .text = "1024", .unit = "lines", .min = 1,
	  .max = PRODUCE_WINDOW_MAX, .help = "lines on their way at the same time" },
	{ "rate", CONF_AT_NUMBER(struct produce_opts, rate), .unit = "lines", .max = 100000000,
	  .help = "lines per second at most [as fast as it goes]" },
	{ "timeout", CONF_AT_DURATION(struct produce_opts, timeout_ms), .text = "120s", .unit = "s", .max = 86400000,
	  .help = "give up when nothing was acknowledged for so long; 0: never" },
	{ "acks", CONF_AT_PATH(struct produce_opts, acks), .meta = "FILE",
	  .help = "write \"<line number> <sequence>\" per acknowledged line" },
	CLI_KEY_JSON(struct produce_opts, json),
	CLI_KEY_GATEWAY(struct produce_opts, gateway),
	CLI_KEY_ENGINE(struct produce_opts, engine),
};

const struct cli_command cli_produce = {
	.name = "produce",
	.operands = "[FILE]",
	.about = "append the lines of a file or of standard input, each once and in order",
	.help = "A line's id is its number and a hash of its text. With --producer NAME the same input may be sent again,\n"
		"after whatever went wrong, and only what is missing is appended. Without it each run has a name of its own.\n"
		"What is not acknowledged when the connection is lost, or when the gateway says TRYAGAIN, INDOUBT and the\n"
		"like, is sent again with the same ids. Pauses are times without an acknowledgement while one was awaited.\n",
	.exits = "  0  all lines are acknowledged\n  1  not all; the message says which line or why\n  2  wrong usage\n",
	CLI_COMMAND_OPTS(keys, struct produce_opts),
	.operands_max = 1,
	.run = produce_run,
};
