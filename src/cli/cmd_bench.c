/*
 * leash bench: how fast a live cluster takes records, seen by its clients, and how old they are when readers get them.
 */
#include "cli/bench.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clk.h"
#include "base/ids.h"

#define TICK_MS     50
#define PROGRESS_NS (250 * NS_PER_MS)

void bench_fail(struct bench *b, const char *fmt, ...)
{
	va_list args;

	if (b->failed[0])
		return;
	va_start(args, fmt);
	(void)vsnprintf(b->failed, sizeof b->failed, fmt, args);
	va_end(args);
	b->phase = BENCH_OVER;
	(void)event_base_loopbreak(b->base);
}

bool bench_may_send(const struct bench *b)
{
	if (b->phase == BENCH_MEASURE && b->o->count)
		return b->sent < b->o->count;
	return b->phase == BENCH_WARM_UP || b->phase == BENCH_MEASURE;
}

void bench_answered(struct bench *b, uint64_t meant_ns, const struct resp_value *v)
{
	bool counts = b->measure_ns > 0 && meant_ns >= b->measure_ns;
	uint64_t now_ns = clk_boot_ns();

	b->on_their_way--;
	b->answered++;
	b->answered_ns = now_ns;
	if (v->type == RESP_T_ERROR) {
		if (b->errors++ == 0)
			(void)snprintf(b->first_error, sizeof b->first_error, "%.*s", (int)MIN2(v->text.len, (size_t)250),
				(const char *)v->text.p);
		return;
	}
	if (counts)
		hdr_record(&b->append, now_ns > meant_ns ? now_ns - meant_ns : 0);
	if (b->phase == BENCH_MEASURE && (counts || !b->o->count)) /* the rate: all that arrives in that time */
		b->measured++;
}

/* ---- the request that all send */

static int put_bulk(struct buf *out, const void *p, size_t n)
{
	int r = buf_printf(out, "$%zu\r\n", n);

	if (r == 0 && n > 0)
		r = buf_put(out, p, n);
	return r == 0 ? buf_put(out, "\r\n", 2) : r;
}

static int put_text(struct buf *out, const char *text)
{
	return put_bulk(out, text, strlen(text));
}

/* IDMP <producer> <id>: the run is the producer, and the id has room for connection and number. */
static int put_ids(struct bench *b)
{
	char text[64], run[LEASH_ID_TEXT];
	int r = put_text(&b->request, "IDMP");

	(void)snprintf(text, sizeof text, "bench-%s", id_format(b->run, run));
	if (r == 0)
		r = put_text(&b->request, text);
	(void)snprintf(text, sizeof text, "%0*d-%0*d", BENCH_ID_LANE, 0, BENCH_ID_NUMBER, 0);
	if (r == 0)
		r = put_text(&b->request, text);
	b->id_at = buf_len(&b->request) - 2 - strlen(text);
	return r;
}

/* XADD <engine> [IDMP <producer> <id>] * <field> <payload>, the payload begins with the stamp. */
static int make_request(struct bench *b)
{
	_cleanup_(freep) char *payload = malloc(b->o->payload_bytes + 1);
	char run[LEASH_ID_TEXT];
	int r;

	if (!payload)
		return -ENOMEM;
	for (size_t i = 0; i < b->o->payload_bytes; i++)
		payload[i] = (char)('a' + (i * 7 + i / 26) % 26);
	memcpy(payload + BENCH_STAMP_BYTES / 2, id_format(b->run, run), BENCH_STAMP_BYTES / 2);
	r = buf_printf(&b->request, "*%d\r\n", b->o->ids ? 8 : 5);
	if (r == 0)
		r = put_text(&b->request, "XADD");
	if (r == 0)
		r = put_text(&b->request, b->o->engine);
	if (r == 0 && b->o->ids)
		r = put_ids(b);
	if (r == 0)
		r = put_text(&b->request, "*");
	if (r == 0)
		r = put_text(&b->request, b->o->field);
	if (r == 0)
		r = put_bulk(&b->request, payload, b->o->payload_bytes);
	b->stamp_at = buf_len(&b->request) - 2 - b->o->payload_bytes;
	return r;
}

/* ---- the run */

static double seconds_of(uint64_t ns)
{
	return (double)ns / NS_PER_S;
}

static void show(struct bench *b, uint64_t now_ns)
{
	double seconds = seconds_of(now_ns - b->measure_ns);

	if (b->shown_ns == 0 || now_ns - b->shown_ns < PROGRESS_NS)
		return;
	b->shown_ns = now_ns;
	if (b->phase == BENCH_WARM_UP)
		fprintf(stderr, "\rwarming up ");
	else if (b->phase == BENCH_MEASURE)
		fprintf(stderr, "\r%.0f s  %" PRIu64 " acknowledged  %.0f/s  p50 %.3f ms  p99 %.3f ms   ", seconds, b->measured,
			seconds > 0 ? (double)b->measured / seconds : 0, (double)hdr_percentile(&b->append, 50) / NS_PER_MS,
			(double)hdr_percentile(&b->append, 99) / NS_PER_MS);
}

static void begin_measure(struct bench *b, uint64_t now_ns)
{
	b->phase = BENCH_MEASURE;
	b->measure_ns = now_ns;
	b->sent = 0; /* --count is of those that are measured */
}

/* What is on its way may arrive, and is waited for. */
static void begin_drain(struct bench *b, uint64_t now_ns)
{
	b->phase = BENCH_DRAIN;
	b->end_ns = now_ns;
}

static void on_tick(evutil_socket_t fd _unused_, short what _unused_, void *ctx)
{
	struct bench *b = ctx;
	uint64_t now_ns = clk_boot_ns();
	char time[UNITS_TEXT];

	if (b->phase == BENCH_WARM_UP && now_ns - b->began_ns >= b->o->warmup_ms * NS_PER_MS)
		begin_measure(b, now_ns);
	if (b->phase == BENCH_MEASURE && (b->o->count ? b->sent >= b->o->count && b->on_their_way == 0 :
		now_ns - b->measure_ns >= b->o->seconds_ms * NS_PER_MS))
		begin_drain(b, b->o->count ? b->answered_ns : now_ns);
	if (b->phase == BENCH_DRAIN && b->on_their_way == 0) {
		b->phase = BENCH_OVER;
		(void)event_base_loopbreak(b->base);
	}
	if (b->on_their_way > 0 && now_ns - MAX2(b->answered_ns, b->began_ns) > b->o->timeout_ms * NS_PER_MS)
		bench_fail(b, "nothing was acknowledged for %s", units_duration_format(b->o->timeout_ms, time));
	show(b, now_ns);
}

static int start(struct bench *b)
{
	struct timeval tv = { .tv_usec = TICK_MS * 1000 };
	struct event_config *config = event_config_new();

	if (config)
		(void)event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER); /* for --rate */
	b->base = config ? event_base_new_with_config(config) : NULL;
	if (config)
		event_config_free(config);
	b->ev_tick = b->base ? event_new(b->base, -1, EV_PERSIST, on_tick, b) : NULL;
	b->lanes = calloc(b->o->connections, sizeof *b->lanes);
	b->readers = calloc(MAX2(b->o->readers, (uint64_t)1), sizeof *b->readers);
	b->run = id_random();
	if (!b->ev_tick || !b->lanes || !b->readers || make_request(b) < 0 || event_add(b->ev_tick, &tv) < 0)
		return cli_failed("out of memory");
	for (uint64_t i = 0; i < b->o->readers && !b->failed[0]; i++)
		if (bench_reader_start(b, &b->readers[i]) < 0)
			return CLI_FAILED;
	b->began_ns = clk_boot_ns();
	if (b->o->warmup_ms == 0)
		begin_measure(b, b->began_ns);
	for (uint64_t i = 0; i < b->o->connections && !b->failed[0]; i++)
		if (bench_lane_start(b, &b->lanes[i], (uint32_t)i) < 0)
			return CLI_FAILED;
	return CLI_OK;
}

static void bench_deinit(struct bench *b)
{
	for (uint64_t i = 0; b->lanes && i < b->o->connections; i++)
		bench_lane_stop(&b->lanes[i]);
	for (uint64_t i = 0; b->readers && i < b->o->readers; i++)
		bench_reader_stop(&b->readers[i]);
	if (b->ev_tick)
		event_free(b->ev_tick);
	if (b->base)
		event_base_free(b->base);
	buf_deinit(&b->request);
	free(b->lanes);
	free(b->readers);
}

/* ---- the result */

static const double percentiles[] = { 50, 90, 99, 99.9, 99.99 };

static void print_latency(const char *what, const struct hdr *h)
{
	printf("%-8s", what);
	for (size_t i = 0; i < ARRAY_SIZE(percentiles); i++)
		printf("  p%g %.3f", percentiles[i], (double)hdr_percentile(h, percentiles[i]) / NS_PER_MS);
	printf("  max %.3f  mean %.3f ms\n", (double)h->max / NS_PER_MS, hdr_mean(h) / NS_PER_MS);
}

static struct json_object *latency_json(const struct hdr *h)
{
	struct json_object *o = json_object_new_object();
	char name[16];

	for (size_t i = 0; i < ARRAY_SIZE(percentiles); i++) {
		(void)snprintf(name, sizeof name, "p%g", percentiles[i]);
		(void)json_object_object_add(o, name, json_object_new_uint64(hdr_percentile(h, percentiles[i])));
	}
	(void)json_object_object_add(o, "max", json_object_new_uint64(h->max));
	(void)json_object_object_add(o, "mean", json_object_new_double(hdr_mean(h)));
	(void)json_object_object_add(o, "count", json_object_new_uint64(h->total));
	return o;
}

static void print_json(const struct bench *b, double seconds)
{
	struct json_object *o = json_object_new_object();

#define ADD(name, v) (void)json_object_object_add(o, name, v) /* out of memory shows as a missing field */
	ADD("connections", json_object_new_uint64(b->o->connections));
	ADD("depth", json_object_new_uint64(b->o->depth));
	ADD("payload_bytes", json_object_new_uint64(b->o->payload_bytes));
	ADD("rate_wanted", json_object_new_uint64(b->o->rate));
	ADD("seconds", json_object_new_double(seconds));
	ADD("acknowledged", json_object_new_uint64(b->measured));
	ADD("per_second", json_object_new_double(seconds > 0 ? (double)b->measured / seconds : 0));
	ADD("errors", json_object_new_uint64(b->errors));
	ADD("first_error", b->errors ? json_object_new_string(b->first_error) : NULL);
	ADD("append_ns", latency_json(&b->append));
	if (b->o->readers) {
		ADD("read_records", json_object_new_uint64(b->read_records));
		ADD("read_ns", latency_json(&b->read));
	}
	ADD("failed", b->failed[0] ? json_object_new_string(b->failed) : NULL);
#undef ADD
	printf("%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	(void)json_object_put(o);
}

static void print_text(const struct bench *b, double seconds)
{
	printf("%" PRIu64 " connections x %" PRIu64 ", %" PRIu64 " bytes: %" PRIu64 " acknowledged in %.1f s, %.0f/s\n",
		b->o->connections, b->o->depth, b->o->payload_bytes, b->measured, seconds,
		seconds > 0 ? (double)b->measured / seconds : 0);
	print_latency("append", &b->append);
	if (b->o->readers) {
		print_latency("read", &b->read);
		printf("%" PRIu64 " records were read by %" PRIu64 " readers\n", b->read_records, b->o->readers);
	}
	if (b->errors)
		printf("%" PRIu64 " errors, the first one: %s\n", b->errors, b->first_error);
}

static int write_histogram(const struct bench *b)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	FILE *f;
	bool good;

	if (!b->o->histogram)
		return CLI_OK;
	f = fopen(b->o->histogram, "we");
	good = f && hdr_print(&b->append, NS_PER_MS, &out) == 0 && fwrite(buf_head(&out), 1, buf_len(&out), f) == buf_len(&out);
	if (f && fclose(f) != 0)
		good = false;
	return good ? CLI_OK : cli_failed("cannot write \"%s\": %s", b->o->histogram, strerror(errno));
}

static int finish(struct bench *b)
{
	double seconds = b->measure_ns && b->end_ns > b->measure_ns ? seconds_of(b->end_ns - b->measure_ns) : 0;

	if (b->shown_ns)
		fprintf(stderr, "\r%78s\r", "");
	if (b->o->json)
		print_json(b, seconds);
	else if (!b->failed[0])
		print_text(b, seconds);
	if (b->failed[0])
		return cli_flush(cli_failed("%s", b->failed));
	if (write_histogram(b) != CLI_OK)
		return cli_flush(CLI_FAILED);
	return cli_flush(b->errors ? CLI_FAILED : CLI_OK);
}

static int bench_run(const void *opts, char **operands _unused_, size_t n_operands _unused_)
{
	_cleanup_(bench_deinit) struct bench b = { .o = opts, .request = BUF_NULL };
	char address[LEASH_ADDR_MAX + 16];

	if (!b.o->yes) {
		printf("This appends records to the log of engine \"%s\" at %s: they stay there, and its consumers see them.\n",
			b.o->engine, units_addr_format(&b.o->gateway, address));
		if (!cli_confirmed())
			return cli_flush(cli_failed("nothing was done"));
	}
	b.shown_ns = isatty(STDERR_FILENO) == 1 ? 1 : 0;
	if (start(&b) != CLI_OK)
		return b.failed[0] ? cli_failed("%s", b.failed) : CLI_FAILED;
	if (b.phase != BENCH_OVER)
		(void)event_base_dispatch(b.base);
	return finish(&b);
}

static const struct conf_key keys[] = {
	{ "connections", CONF_AT_NUMBER(struct bench_opts, connections), .text = "50", .unit = "connections", .min = 1,
	  .max = 99999, .help = "connections that append" },
	{ "depth", CONF_AT_NUMBER(struct bench_opts, depth), .text = "16", .unit = "requests", .min = 1, .max = 65536,
	  .help = "requests on their way on each" },
	{ "payload", CONF_AT_SIZE(struct bench_opts, payload_bytes), .text = "128", .min = BENCH_STAMP_BYTES, .max = 512 << 20,
	  .help = "bytes of each record's value" },
	{ "seconds", CONF_AT_DURATION(struct bench_opts, seconds_ms), .text = "10s", .unit = "s", .min = 1, .max = 86400000,
	  .help = "how long to measure" },
	{ "warmup", CONF_AT_DURATION(struct bench_opts, warmup_ms), .text = "1s", .unit = "s", .max = 86400000,
	  .help = "how long to run before that" },
	{ "count", CONF_AT_NUMBER(struct bench_opts, count), .unit = "records",
	  .help = "measure so many records, however long it takes" },
	{ "rate", CONF_AT_NUMBER(struct bench_opts, rate), .unit = "records", .max = 100000000,
	  .help = "records per second in all, on a schedule [as fast as it goes]" },
	{ "ids", CONF_AT_BOOL(struct bench_opts, ids), .help = "give each record an id (IDMP)" },
	{ "readers", CONF_AT_NUMBER(struct bench_opts, readers), .unit = "connections", .max = 10000,
	  .help = "connections that read all of it, blocking" },
	{ "field", CONF_AT_STRING(struct bench_opts, field), .text = "data", .meta = "NAME", .help = "name of the field" },
	{ "timeout", CONF_AT_DURATION(struct bench_opts, timeout_ms), .text = "60s", .unit = "s", .min = 1, .max = 86400000,
	  .help = "give up when nothing was acknowledged for so long" },
	{ "histogram", CONF_AT_PATH(struct bench_opts, histogram), .meta = "FILE",
	  .help = "write the distribution of append latencies, in ms (HdrHistogram's .hgrm)" },
	{ "yes", CONF_AT_BOOL(struct bench_opts, yes), .help = "do not ask for confirmation" },
	CLI_KEY_JSON(struct bench_opts, json),
	CLI_KEY_GATEWAY(struct bench_opts, gateway),
	CLI_KEY_ENGINE(struct bench_opts, engine),
};

const struct cli_command cli_bench = {
	.name = "bench",
	.operands = "",
	.about = "measure how fast a cluster takes records",
	.help = "Appends records through the gateway (or to a primary: --gateway its address) and measures how long each takes to\n"
		"be acknowledged, which is when every in-sync node has it on disk. Without --rate each connection keeps --depth\n"
		"requests on their way. With --rate requests have a schedule, and latency counts from there, so that a stall shows\n"
		"in the requests that it delayed. With --readers it also measures how old records are when they are read.\n"
		"The records stay in the log: use an engine of its own.\n",
	.exits = "  0  done\n  1  it could not be measured, or a request was refused\n  2  wrong usage\n",
	CLI_COMMAND_OPTS(keys, struct bench_opts),
	.run = bench_run,
};
