/*
 * How the load generators of bench/ tell what they measured: the line and the JSON object of `leash bench`, with the same
 * names, so that bench/run reads all of them alike.
 */
#ifndef LEASH_BENCH_REPORT_H
#define LEASH_BENCH_REPORT_H

#include "base/hdr.h"

struct report {
	uint64_t connections, depth, payload_bytes;
	double seconds;        /* measured, without the warm-up */
	uint64_t acknowledged; /* in that time */
	uint64_t records;      /* all of them, the warm-up's too: what CPU time is divided by */
	uint64_t errors;
	char first_error[128];
	struct hdr latency; /* ns */
	double server_cpu_s; /* of the servers that the program started itself; negative: it started none */
	double client_cpu_s; /* then: its own, while it measured */
};

/* On stdout. */
void report_print(const struct report *r, bool json);

/* Parses an option's value, or tells what is wrong and exits with status 2. */
uint64_t report_number(const char *option, const char *text, uint64_t min, uint64_t max);
uint64_t report_size(const char *option, const char *text, uint64_t min, uint64_t max);
uint64_t report_ms(const char *option, const char *text);

/* Says why on stderr and exits with status 1. */
_noreturn_ void report_die(const char *fmt, ...) _printf_(1, 2);

#endif
