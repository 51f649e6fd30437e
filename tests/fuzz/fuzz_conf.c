/*
 * Configuration: files, command lines, values. Invariants: a refusal has at least one error, each of one line; the same
 * input loads to the same settings; a number or an address that is read, written and read again is the same.
 *
 * Byte 0: 0: a file, 1: arguments ended by 0 bytes (behind the file's name, which is given), 2: one value.
 */
#include "fuzz.h"

#include <stdio.h>
#include <sys/mman.h>

#include "base/conf.h"

#define ARGS_MAX 24

struct settings {
	char *node, *directory;
	struct conf_list endpoints;
	uint64_t segment_bytes, window, hold_ms;
	bool quick;
	struct units_addr listen;
	int topology;
	struct conf_log log;
	struct conf_items tcp;
};

struct tcp {
	char *name;
	struct units_addr listen;
	char *key;
};

static const char *const topologies[] = { "star", "chain", NULL };

static const struct conf_key keys[] = {
	{ "node", CONF_AT_STRING(struct settings, node), .flags = CONF_REQUIRED, .check = conf_check_name, .help = "a" },
	{ "directory", CONF_AT_PATH(struct settings, directory), .text = "/var/lib", .help = "b" },
	{ "endpoints", CONF_AT_LIST(struct settings, endpoints), .text = "127.0.0.1:1", .min = 1, .max = 4,
		.check = conf_check_addr, .help = "c" },
	{ "segment_size", CONF_AT_SIZE(struct settings, segment_bytes), .text = "64M", .min = 4096, .max = 1 << 30,
		.help = "d" },
	{ "window", CONF_AT_NUMBER(struct settings, window), .text = "10", .unit = "records", .max = 1000, .help = "e" },
	{ "hold_timeout", CONF_AT_DURATION(struct settings, hold_ms), .text = "30s", .unit = "s", .min = 1,
		.max = 600000, .flags = CONF_RELOAD, .help = "f" },
	{ "quick", CONF_AT_BOOL(struct settings, quick), .help = "g" },
	{ "listen", CONF_AT_ADDRESS(struct settings, listen), .text = ":8080", .help = "h" },
	{ "topology", CONF_AT_ENUM(struct settings, topology), .text = "star", .choices = topologies, .help = "i" },
	CONF_KEYS_LOG(struct settings, log),
};

static const struct conf_key tcp_keys[] = {
	{ "listen", CONF_AT_ADDRESS(struct tcp, listen), .flags = CONF_REQUIRED, .help = "j" },
	{ "key", CONF_AT_STRING(struct tcp, key), .help = "k" },
};

static void check_tcp(const void *item, struct conf_errors *errors)
{
	const struct tcp *t = item;

	if (t->listen.port == 1)
		conf_error(errors, "listen", "port 1 of %s", t->name);
}

static void check_all(const void *conf, struct conf_errors *errors)
{
	const struct settings *s = conf;

	if (s->window > s->hold_ms)
		conf_error(errors, "window", "more than hold_timeout");
}

static const struct conf_section sections[] = {
	{ "tcp", tcp_keys, ARRAY_SIZE(tcp_keys), sizeof(struct tcp), offsetof(struct settings, tcp), true, check_tcp },
};

static const struct conf_desc desc = { .program = "fuzz", .about = "x", .keys = keys, .n_keys = ARRAY_SIZE(keys),
	.sections = sections, .n_sections = 1, .size = sizeof(struct settings), .operands = 1, .check = check_all };

static void errors_good(const struct conf_errors *e)
{
	must(e->n >= 1 && e->n <= CONF_ERRORS_MAX);
	for (size_t i = 0; i < e->n; i++)
		must(memchr(e->text[i], 0, CONF_ERROR_TEXT) && e->text[i][0] && !strchr(e->text[i], '\n'));
}

static void load(int argc, char **argv)
{
	static struct conf_errors errors;
	struct settings s[2];
	struct conf_result result;
	struct conf_change change;
	int r = 0;

	for (size_t i = 0; i < 2; i++) {
		char *args[ARGS_MAX + 1];

		memcpy(args, argv, (size_t)(argc + 1) * sizeof *args); /* getopt moves them */
		memset(&errors, 0, sizeof errors);
		r = conf_load(&desc, argc, args, &s[i], &result, &errors);
		must(r == 0 || r == CONF_E_INVALID);
		if (r == CONF_E_INVALID) {
			must(i == 0); /* what was good once is good again */
			errors_good(&errors);
			return;
		}
		must(result.n_operands <= desc.operands);
		if (result.action != CONF_RUN && result.action != CONF_CHECK)
			return;
	}
	must(conf_diff(&desc, &s[0], &s[1], &change, 1) == 0);
	must(s[0].node && s[0].segment_bytes >= 4096 && s[0].window <= 1000 && s[0].endpoints.n <= 4);
	conf_free(&desc, &s[0]);
	conf_free(&desc, &s[1]);
}

static void try_file(struct bytes in)
{
	char path[64], program[] = "fuzz", option[] = "--config";
	char *argv[] = { program, option, path, NULL };
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	must(fd >= 0 && write(fd, in.p, in.len) == (ssize_t)in.len);
	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	load(3, argv);
	(void)close(fd);
}

static void try_args(struct bytes in)
{
	char program[] = "fuzz", *argv[ARGS_MAX + 1] = { program }, *p, *text = malloc(in.len + 1);
	int argc = 1;

	must(text);
	memcpy(text, in.p, in.len);
	text[in.len] = '\0';
	p = text;
	while (p < text + in.len && argc < ARGS_MAX) {
		argv[argc] = p;
		p += strlen(p) + 1;
		/* No file: what another process may have there is no input. */
		if (strncmp(argv[argc], "--c", 3) != 0 && strncmp(argv[argc], "-c", 2) != 0)
			argc++;
	}
	argv[argc] = NULL;
	load(argc, argv);
	free(text);
}

static void try_units(const char *text)
{
	uint64_t a, b;
	bool yes, good;
	struct units_addr x, y;
	char out[UNITS_TEXT], addr[LEASH_ADDR_MAX + 16];
	struct bytes item;
	const char *list = text;

	if (units_number(text, &a))
		must(text[0] >= '0' && text[0] <= '9');
	if (units_bool(text, &yes))
		must(strlen(text) <= 5);
	if (units_size(text, &a)) {
		good = units_size(units_size_format(a, out), &b);
		must(good && a == b);
	}
	if (units_duration(text, "s", &a)) {
		good = units_duration(units_duration_format(a, out), "h", &b);
		must(good && a == b);
	}
	if (units_addr(text, &x)) {
		memset(&y, 0, sizeof y);
		good = units_addr(units_addr_format(&x, addr), &y);
		must(good && strcmp(x.host, y.host) == 0 && x.port == y.port);
	}
	while (units_list_next(&list, &item))
		must(item.len <= strlen(text));
}

static void try_value(struct bytes in)
{
	char *text = malloc(in.len + 1), why[CONF_ERROR_TEXT];
	struct settings s;
	int r;

	must(text);
	memcpy(text, in.p, in.len);
	text[in.len] = '\0';
	try_units(text);
	memset(&s, 0, sizeof s);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		why[0] = '\0';
		r = conf_set(&keys[i], &s, text, why);
		must(r == 0 || (r == CONF_E_INVALID && why[0] && memchr(why, 0, sizeof why)));
	}
	conf_free(&desc, &s);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct bytes in = { data + 1, len - 1 };

	if (len < 1)
		return 0;
	if (data[0] % 3 == 0)
		try_file(in);
	else if (data[0] % 3 == 1)
		try_args(in);
	else
		try_value(in);
	return 0;
}
