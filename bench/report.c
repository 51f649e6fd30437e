#include "report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clk.h"
#include "base/units.h"

static const double percentiles[] = { 50, 90, 99, 99.9, 99.99 };

static double per_second(const struct report *r)
{
	return r->seconds > 0 ? (double)r->acknowledged / r->seconds : 0;
}

/* Names and units of leash-bench(1). The text of an error is from a server: what JSON would have to escape is left out. */
static void print_json(const struct report *r)
{
	printf("{\"connections\":%" PRIu64 ",\"depth\":%" PRIu64 ",\"payload_bytes\":%" PRIu64 ",\"seconds\":%.6f"
	       ",\"acknowledged\":%" PRIu64 ",\"per_second\":%.1f,\"records\":%" PRIu64 ",\"errors\":%" PRIu64,
		r->connections, r->depth, r->payload_bytes, r->seconds, r->acknowledged, per_second(r), r->records, r->errors);
	if (r->server_cpu_s >= 0)
		printf(",\"server_cpu_s\":%.6f,\"client_cpu_s\":%.6f", r->server_cpu_s, r->client_cpu_s);
	printf(",\"first_error\":\"");
	for (const char *p = r->first_error; *p; p++)
		if (*p >= ' ' && *p < 0x7f && *p != '"' && *p != '\\')
			putchar(*p);
	printf("\",\"append_ns\":{");
	for (size_t i = 0; i < ARRAY_SIZE(percentiles); i++)
		printf("\"p%g\":%" PRIu64 ",", percentiles[i], hdr_percentile(&r->latency, percentiles[i]));
	printf("\"max\":%" PRIu64 ",\"mean\":%.1f,\"count\":%" PRIu64 "}}\n", r->latency.max, hdr_mean(&r->latency),
		r->latency.total);
}

static void print_text(const struct report *r)
{
	printf("%" PRIu64 " connections x %" PRIu64 ", %" PRIu64 " bytes: %" PRIu64 " acknowledged in %.1f s, %.0f/s\nappend  ",
		r->connections, r->depth, r->payload_bytes, r->acknowledged, r->seconds, per_second(r));
	for (size_t i = 0; i < ARRAY_SIZE(percentiles); i++)
		printf("  p%g %.3f", percentiles[i], (double)hdr_percentile(&r->latency, percentiles[i]) / NS_PER_MS);
	printf("  max %.3f  mean %.3f ms\n", (double)r->latency.max / NS_PER_MS, hdr_mean(&r->latency) / NS_PER_MS);
	if (r->server_cpu_s >= 0 && r->records > 0)
		printf("servers: %.3f CPU s per million records\n", r->server_cpu_s * 1e6 / (double)r->records);
	if (r->errors)
		printf("%" PRIu64 " errors, the first one: %s\n", r->errors, r->first_error);
}

void report_print(const struct report *r, bool json)
{
	if (json)
		print_json(r);
	else
		print_text(r);
	if (fflush(stdout) != 0)
		report_die("cannot write the result");
}

void report_die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vfprintf(stderr, fmt, args);
	va_end(args);
	(void)fputc('\n', stderr);
	exit(1);
}

static uint64_t in_range(const char *option, const char *text, bool good, uint64_t v, uint64_t min, uint64_t max)
{
	if (good && v >= min && v <= max)
		return v;
	fprintf(stderr, "--%s wants %" PRIu64 " to %" PRIu64 ", not \"%s\"\n", option, min, max, text);
	exit(2);
}

uint64_t report_number(const char *option, const char *text, uint64_t min, uint64_t max)
{
	uint64_t v = 0;
	bool good = units_number(text, &v);

	return in_range(option, text, good, v, min, max);
}

uint64_t report_size(const char *option, const char *text, uint64_t min, uint64_t max)
{
	uint64_t v = 0;
	bool good = units_size(text, &v);

	return in_range(option, text, good, v, min, max);
}

uint64_t report_ms(const char *option, const char *text)
{
	uint64_t v = 0;
	bool good = units_duration(text, "s", &v);

	return in_range(option, text, good, v, 0, 86400000);
}
