#include "base/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <syslog.h>

#include "base/diag.h"
#include "unit.h"

struct tcp {
	char *name;
	struct units_addr listen;
	char *leader;
	bool close_old;
};

struct settings {
	char *node, *data_dir, *on_role_change;
	struct conf_list etcd_endpoints;
	uint64_t segment_bytes, min_insync, hold_timeout_ms, lease_ttl_ms;
	bool fsync;
	struct units_addr listen;
	int topology;
	struct conf_log log;
	struct conf_items tcp;
};

static const char *const topologies[] = { "star", "chain", NULL };

static const struct conf_key keys[] = {
	{ "node", CONF_AT_STRING(struct settings, node), .flags = CONF_REQUIRED, .check = conf_check_name,
		.meta = "NAME", .help = "name of this node" },
	{ "data_dir", CONF_AT_PATH(struct settings, data_dir), .text = "/var/lib/leash",
		.help = "where the log is" },
	{ "on_role_change", CONF_AT_STRING(struct settings, on_role_change), .flags = CONF_RELOAD,
		.help = "command" },
	{ "etcd_endpoints", CONF_AT_LIST(struct settings, etcd_endpoints), .text = "127.0.0.1:2379", .min = 1,
		.max = 5, .check = conf_check_addr, .flags = CONF_RELOAD, .help = "where etcd is" },
	{ "segment_bytes", CONF_AT_SIZE(struct settings, segment_bytes), .text = "64M", .min = 1 << 20,
		.max = UINT64_C(1) << 30, .help = "size of a segment" },
	{ "min_insync", CONF_AT_NUMBER(struct settings, min_insync), .text = "2", .min = 1, .max = 7,
		.unit = "nodes", .help = "copies before an acknowledgement" },
	{ "hold_timeout", CONF_AT_DURATION(struct settings, hold_timeout_ms), .text = "30", .unit = "s",
		.min = 1000, .max = 600000, .flags = CONF_RELOAD, .help = "how long to hold messages" },
	{ "lease_ttl", CONF_AT_DURATION(struct settings, lease_ttl_ms), .text = "10s", .unit = "s",
		.help = "lease" },
	{ "fsync", CONF_AT_BOOL(struct settings, fsync), .text = "yes", .help = "sync" },
	{ "listen", CONF_AT_ADDRESS(struct settings, listen), .text = "127.0.0.1:8081", .help = "address" },
	{ "topology", CONF_AT_ENUM(struct settings, topology), .text = "star", .choices = topologies,
		.help = "shape" },
	CONF_KEYS_LOG(struct settings, log),
};

static const struct conf_key tcp_keys[] = {
	{ "listen", CONF_AT_ADDRESS(struct tcp, listen), .flags = CONF_REQUIRED, .min = 1, .max = 65535,
		.help = "address" },
	{ "leader", CONF_AT_STRING(struct tcp, leader), .flags = CONF_REQUIRED, .help = "key in etcd" },
	{ "close_old", CONF_AT_BOOL(struct tcp, close_old), .text = "yes", .help = "close connections" },
};

static void check_tcp(const void *item, struct conf_errors *errors)
{
	const struct tcp *t = item;

	if (strcmp(t->leader, "bad") == 0)
		conf_error(errors, "leader", "bad is bad");
}

static void check_all(const void *conf, struct conf_errors *errors)
{
	const struct settings *s = conf;

	if (s->hold_timeout_ms < s->lease_ttl_ms)
		conf_error(errors, "hold_timeout", "must be at least lease_ttl");
}

static const struct conf_section sections[] = {
	{ "tcp", tcp_keys, ARRAY_SIZE(tcp_keys), sizeof(struct tcp), offsetof(struct settings, tcp), true,
		check_tcp },
};

static const struct conf_desc desc = {
	.program = "leash-testd",
	.about = "A daemon that is not there.",
	.keys = keys,
	.n_keys = ARRAY_SIZE(keys),
	.sections = sections,
	.n_sections = ARRAY_SIZE(sections),
	.size = sizeof(struct settings),
	.check = check_all,
};

static struct conf_errors errors;
static struct conf_result result;
static struct settings s;
static char path[64];

static const char *file_of(const char *text, size_t n)
{
	const char *dir = getenv("TMPDIR");
	int fd;

	(void)snprintf(path, sizeof path, "%.40s/conf-XXXXXX", dir && strlen(dir) < 40 ? dir : "/tmp");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, n), (ssize_t)n);
	ck_assert_int_eq(close(fd), 0);
	return path;
}

/* Loads options (NULL at the end), and @text as file when it is given. */
static int load(const char *text, const char *const *options)
{
	char *argv[40] = { (char *)"leash-testd" };
	int argc = 1, r;

	if (text) {
		argv[argc++] = (char *)"--config";
		argv[argc++] = (char *)file_of(text, strlen(text));
	}
	for (; options && *options; options++)
		argv[argc++] = (char *)*options;
	r = conf_load(&desc, argc, argv, &s, &result, &errors);
	if (text)
		ck_assert_int_eq(unlink(path), 0);
	return r;
}

#define LOAD(text, ...) load((text), (const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })

/* The load fails with exactly one error; the file's name is written as FILE. */
static void fails(const char *text, const char *const *options, const char *want)
{
	int r = load(text, options);
	const char *have = errors.text[0];
	char shown[CONF_ERROR_TEXT + 8];

	for (size_t i = 1; i < errors.n; i++)
		fprintf(stderr, "further error: %s\n", errors.text[i]);
	ck_assert_int_eq(r, CONF_E_INVALID);
	if (path[0] && strncmp(have, path, strlen(path)) == 0)
		(void)snprintf(shown, sizeof shown, "FILE%s", have + strlen(path));
	else
		(void)snprintf(shown, sizeof shown, "%s", have);
	ck_assert_str_eq(shown, want);
	ck_assert_uint_eq(errors.n, 1);
	ck_assert_uint_eq(errors.more, 0);
}

#define FAILS_OPTION(want, ...) fails("node=P1\n", (const char *const[]){ __VA_ARGS__, NULL }, (want))

START_TEST(defaults_without_file)
{
	ck_assert_int_eq(LOAD(NULL, "--node", "P1"), 0);
	ck_assert_int_eq(result.action, CONF_RUN);
	ck_assert_ptr_null(result.file);
	ck_assert_str_eq(s.node, "P1");
	ck_assert_str_eq(s.data_dir, "/var/lib/leash");
	ck_assert_ptr_null(s.on_role_change);
	ck_assert_uint_eq(s.etcd_endpoints.n, 1);
	ck_assert_str_eq(s.etcd_endpoints.items[0], "127.0.0.1:2379");
	ck_assert_uint_eq(s.segment_bytes, 64 << 20);
	ck_assert_uint_eq(s.min_insync, 2);
	ck_assert_uint_eq(s.hold_timeout_ms, 30000);
	ck_assert(s.fsync);
	ck_assert_str_eq(s.listen.host, "127.0.0.1");
	ck_assert_uint_eq(s.listen.port, 8081);
	ck_assert_int_eq(s.topology, 0);
	ck_assert_int_eq(s.log.target, DIAG_TARGET_AUTO);
	ck_assert_int_eq(s.log.level, LOG_INFO);
	conf_free(&desc, &s);
	ck_assert_ptr_null(s.node);
	conf_free(&desc, &s);
}
END_TEST

START_TEST(file_sets_every_type)
{
	ck_assert_int_eq(LOAD("\xef\xbb\xbf# a comment\r\n"
			      "node = S1\r\n"
			      "\n"
			      "; another\n"
			      "data_dir=/srv/a b ; why\n"
			      "on_role_change: /bin/run me # this is text\n"
			      "segment_bytes = 1G\n"
			      "min_insync =3\n"
			      "hold_timeout = 2m\n"
			      "fsync = off\n"
			      "listen = [::1]:9000\n"
			      "topology = chain\n"
			      "log_level = debug\n"
			      "log_target = stderr"),
		0);
	ck_assert_str_eq(s.node, "S1");
	ck_assert_str_eq(s.data_dir, "/srv/a b");
	ck_assert_str_eq(s.on_role_change, "/bin/run me # this is text");
	ck_assert_uint_eq(s.segment_bytes, 1 << 30);
	ck_assert_uint_eq(s.min_insync, 3);
	ck_assert_uint_eq(s.hold_timeout_ms, 120000);
	ck_assert(!s.fsync);
	ck_assert_str_eq(s.listen.host, "::1");
	ck_assert_int_eq(s.topology, 1);
	ck_assert_int_eq(s.log.level, LOG_DEBUG);
	ck_assert_int_eq(s.log.target, DIAG_TARGET_STDERR);
	ck_assert_str_eq(result.file, path);
	conf_free(&desc, &s);
}
END_TEST

START_TEST(lists_go_on_over_indented_lines)
{
	static const char *const texts[] = {
		"node = P1\netcd_endpoints = a:1, b:2,\n  c:3\n",
		"node = P1\netcd_endpoints = a:1\n\tb:2 ; the second\n # a comment between\n\n  c:3\n",
		"node = P1\netcd_endpoints =\n  a:1,\n  b:2,\n  c:3\nfsync = yes\n",
		"etcd_endpoints = a:1\n  ,b:2\n  , c:3\nnode = P1\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		ck_assert_int_eq(LOAD(texts[i]), 0);
		ck_assert_uint_eq(s.etcd_endpoints.n, 3);
		ck_assert_str_eq(s.etcd_endpoints.items[0], "a:1");
		ck_assert_str_eq(s.etcd_endpoints.items[1], "b:2");
		ck_assert_str_eq(s.etcd_endpoints.items[2], "c:3");
		conf_free(&desc, &s);
	}
	ck_assert_int_eq(LOAD("node = P1\netcd_endpoints = a:1\n  [::1]:2\n"), 0);
	ck_assert_str_eq(s.etcd_endpoints.items[1], "[::1]:2");
	conf_free(&desc, &s);
}
END_TEST

START_TEST(command_line_wins_over_file)
{
	ck_assert_int_eq(LOAD("node = S1\nhold_timeout = 40\non_role_change = x\n", "--hold-timeout=50",
				 "--on-role-change", "", "--etcd-endpoints", "a:1,b:2"),
		0);
	ck_assert_str_eq(s.node, "S1");
	ck_assert_uint_eq(s.hold_timeout_ms, 50000);
	ck_assert_ptr_null(s.on_role_change);
	ck_assert_uint_eq(s.etcd_endpoints.n, 2);
	conf_free(&desc, &s);
	ck_assert_int_eq(LOAD(NULL, "--node", "A", "--node", "B", "--check"), 0);
	ck_assert_str_eq(s.node, "B");
	ck_assert_int_eq(result.action, CONF_CHECK);
	conf_free(&desc, &s);
}
END_TEST

START_TEST(sections_become_items)
{
	struct tcp *a, *b;

	ck_assert_int_eq(LOAD("node = P1\n"
			      "[tcp postgres]\n"
			      "listen = :5432\n"
			      "leader = /pg/leader\n"
			      "[ tcp\ta-name-that-is-longer-than-the-fifty-bytes-which-inih-keeps ] ; fine\n"
			      "leader = /x\n"
			      "close_old = no\n"
			      "listen = [::]:1\n"),
		0);
	ck_assert_uint_eq(s.tcp.n, 2);
	a = s.tcp.items[0];
	b = s.tcp.items[1];
	ck_assert_str_eq(a->name, "postgres");
	ck_assert_uint_eq(a->listen.port, 5432);
	ck_assert_str_eq(a->leader, "/pg/leader");
	ck_assert(a->close_old);
	ck_assert_str_eq(b->name, "a-name-that-is-longer-than-the-fifty-bytes-which-inih-keeps");
	ck_assert(!b->close_old);
	conf_free(&desc, &s);
}
END_TEST

START_TEST(errors_name_line_reason_and_what_is_allowed)
{
	static const char *const rows[][2] = {
		{ "node=P1\nmin_insync = many\n", "FILE:2: min_insync: \"many\" is not allowed; allowed: a "
						  "number of nodes, from 1 to 7" },
		{ "node=P1\nmin_insync = 8\n",
			"FILE:2: min_insync: \"8\" is not allowed; allowed: a number of nodes, from 1 to 7" },
		{ "node=P1\nmin_insync = 0\n",
			"FILE:2: min_insync: \"0\" is not allowed; allowed: a number of nodes, from 1 to 7" },
		{ "node=P1\nmin_insync = -1\n", "FILE:2: min_insync: \"-1\" is not allowed; allowed: a "
						"number of nodes, from 1 to 7" },
		{ "node=P1\nmin_insync =\n",
			"FILE:2: min_insync: the value is empty; allowed: a number of nodes, from 1 to 7" },
		{ "node=P1\nsegment_bytes = 1023K\n",
			"FILE:2: segment_bytes: \"1023K\" is not allowed; allowed: a number of bytes, "
			"or one with K, M, G or T, from 1M to 1G" },
		{ "\n\nnode=P1\nhold_timeout = 11m\n",
			"FILE:4: hold_timeout: \"11m\" is not allowed; allowed: a number of seconds, "
			"or one with ms, s, m or h, from 1s to 10m" },
		{ "node=P1\nfsync = maybe\n", "FILE:2: fsync: \"maybe\" is not allowed; allowed: yes or no" },
		{ "node=P1\nlisten = 8081\n",
			"FILE:2: listen: \"8081\" is not allowed; allowed: HOST:PORT, :PORT or [IPV6]:PORT" },
		{ "node=P1\ntopology = ring\n",
			"FILE:2: topology: \"ring\" is not allowed; allowed: one of star, chain" },
		{ "node=a/b\n", "FILE:1: node: \"a/b\" is not allowed; allowed: a name of 1 to 63 of A-Z a-z "
				"0-9 . _ -, not "
				"beginning with . or -" },
		{ "node=P1\netcd_endpoints = a:1\n  ,, b:2\n",
			"FILE:2: etcd_endpoints: \"a:1,, b:2\" is not allowed; allowed: items separated by "
			"commas, from 1 to 5 of them" },
		{ "node=P1\netcd_endpoints = a:1,b:2,c:3,d:4,e:5,f:6\n",
			"FILE:2: etcd_endpoints: \"a:1,b:2,c:3,d:4,e:5,f:6\" is not allowed; allowed: items "
			"separated by commas, from 1 "
			"to 5 of them" },
		{ "node=P1\netcd_endpoints = a:1,b\n", "FILE:2: etcd_endpoints: \"b\" is not allowed; "
						       "allowed: HOST:PORT, :PORT or [IPV6]:PORT" },
		{ "node=P1\nhold_timout = 5\n",
			"FILE:2: unknown key \"hold_timout\"; did you mean \"hold_timeout\"?" },
		{ "node=P1\nhold-timeout = 5\n",
			"FILE:2: unknown key \"hold-timeout\"; did you mean \"hold_timeout\"?" },
		{ "node=P1\nsegment = 5\n",
			"FILE:2: unknown key \"segment\"; did you mean \"segment_bytes\"?" },
		{ "node=P1\ncolour = red\n  and blue\n", "FILE:2: unknown key \"colour\"" },
		{ "node=P1\nfsync=yes\nnode=P2\n", "FILE:3: key \"node\" is there twice; first in line 1" },
		{ "node=P1\nfsync\n", "FILE:2: expected \"key = value\", a comment or a section" },
		{ "node=P1\n= yes\n", "FILE:2: expected \"key = value\", a comment or a section" },
		{ "node=P1\nfsync", "FILE:2: expected \"key = value\", a comment or a section" },
		{ "node=P1\n  fsync = yes\n",
			"FILE:2: an indented line goes on with the line before, and \"node\" is not a list" },
		{ "node=P1\ndata_dir = /a\001b\n",
			"FILE:2: a control character; only text and tabs are allowed" },
		{ "", "key \"node\" (--node) must be set: a text" },
		{ "node=P1\nlease_ttl=1m\nhold_timeout=2s\n",
			"FILE:3: hold_timeout: must be at least lease_ttl" },
		{ "node=P1\nlease_ttl=1m\n", "hold_timeout: must be at least lease_ttl" },
		{ "node=P1\n[node P1]\n", "FILE:2: section \"node P1\" is not allowed; allowed: [tcp NAME]" },
		{ "node=P1\n[tcp]\n", "FILE:2: section \"tcp\" is not allowed; allowed: [tcp NAME]" },
		{ "node=P1\n[tcp x\n", "FILE:2: a section without its ]" },
		{ "node=P1\n[tcp x] y\n", "FILE:2: text behind the section's ]" },
		{ "node=P1\n[tcp x y]\n", "FILE:2: section [tcp x y]: the name is not allowed; allowed: a "
					  "name of 1 to 63 of A-Z "
					  "a-z 0-9 . _ -, not beginning with . or -" },
		{ "node=P1\n[tcp x]\nlisten=:1\nleader=a\n[tcp x]\nlisten=:2\n",
			"FILE:5: section [tcp x] is there twice" },
		{ "node=P1\n\n[tcp x]\nlisten=:1\n",
			"FILE:3: key \"leader\" must be set in this section: a text" },
		{ "node=P1\n[tcp x]\nlisten=:1\nleader=\n",
			"FILE:4: leader: the value is empty; allowed: a text" },
		{ "node=P1\n[tcp x]\nlisten=:0\nleader=a\n",
			"FILE:3: listen: \":0\" is not allowed; allowed: HOST:PORT, :PORT or [IPV6]:PORT, "
			"the port from 1 to 65535" },
		{ "node=P1\n[tcp x]\nlisten=:1\nleader=a\nfsync=no\n",
			"FILE:5: key \"fsync\" does not belong into a section; it stands before the first "
			"one" },
		{ "node=P1\n[tcp x]\nlisten=:1\nleader=bad\n", "FILE:4: leader: bad is bad" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		fails(rows[i][0], NULL, rows[i][1]);
}
END_TEST

START_TEST(errors_of_options)
{
	FAILS_OPTION("--hold-timout: unknown or ambiguous option; did you mean --hold-timeout?",
		"--hold-timout", "3");
	FAILS_OPTION("--frobnicate: unknown or ambiguous option", "--frobnicate=3");
	FAILS_OPTION("-x: unknown option", "-x");
	FAILS_OPTION("--a?b?: unknown or ambiguous option", "--a\nb\x7f"); /* an error is one line */
	FAILS_OPTION("--min-insync: a value is missing", "--min-insync");
	FAILS_OPTION("--check: this option takes no value", "--check=yes");
	FAILS_OPTION("unexpected argument \"operand\"", "--fsync", "no", "operand");
	FAILS_OPTION("--min-insync: \"x\" is not allowed; allowed: a number of nodes, from 1 to 7",
		"--min-insync", "x");
	FAILS_OPTION("--hold-timeout: must be at least lease_ttl", "--hold-timeout", "2");
	fails(NULL, (const char *const[]){ "--config", "/nonexistent/x", "--node", "P1", NULL },
		"/nonexistent/x: cannot be opened: No such file or directory");
	fails(NULL, (const char *const[]){ "--config", "/", "--node", "P1", NULL },
		"/: is a directory; allowed: a file");
}
END_TEST

START_TEST(a_bad_value_in_the_file_is_refused_though_an_option_wins)
{
	fails("node=P1\nfsync=x\n", (const char *const[]){ "--fsync", "no", NULL },
		"FILE:2: fsync: \"x\" is not allowed; allowed: yes or no");
}
END_TEST

START_TEST(lines_are_bounded_and_counted)
{
	char text[1000], want[200];
	int limit = 0;

	/* Find the bound at which lines are refused; one byte less is taken whole. */
	for (int n = 100; n < 400 && !limit; n++) {
		int r;

		(void)snprintf(text, sizeof text, "node=P1\ndata_dir=/%0*d\nfsync=no\n", n, 7);
		r = LOAD(text);
		if (r == 0) {
			ck_assert_uint_eq(strlen(s.data_dir), (size_t)n + 1);
			ck_assert(!s.fsync);
			conf_free(&desc, &s);
		} else {
			limit = n + 9; /* with "data_dir=/" in front, one less than this line */
		}
	}
	ck_assert_int_ge(limit, 150);
	(void)snprintf(want, sizeof want,
		"FILE:2: the line is too long; at most %d bytes are allowed, a list may go on over indented "
		"lines",
		limit);
	fails(text, NULL, want);
	(void)snprintf(text, sizeof text, "node=P1\n# %0*d\nfsync=no\n", 900, 7);
	ck_assert_int_eq(LOAD(text), 0);
	ck_assert(!s.fsync);
	conf_free(&desc, &s);
}
END_TEST

START_TEST(nul_bytes_are_refused)
{
	static const char text[] = "node=P1\nfsync=no\0yes\n";
	char *argv[] = { (char *)"x", (char *)"--config", (char *)file_of(text, sizeof text - 1), NULL };

	ck_assert_int_eq(conf_load(&desc, 3, argv, &s, &result, &errors), CONF_E_INVALID);
	ck_assert_ptr_nonnull(strstr(errors.text[0], ":2: a control character"));
	ck_assert_int_eq(unlink(path), 0);
}
END_TEST

START_TEST(endless_files_are_refused)
{
	fails(NULL, (const char *const[]){ "--config", "/dev/zero", "--node", "P1", NULL },
		"/dev/zero:1: the file is longer than 1048576 bytes");
}
END_TEST

START_TEST(all_errors_up_to_the_bound)
{
	char text[2000] = "node=P1\n";

	ck_assert_int_eq(LOAD("node = /\nfsync = x\nnonsense = 1\n", "--topology", "x"), CONF_E_INVALID);
	ck_assert_uint_eq(errors.n, 4);
	for (int i = 0; i < CONF_ERRORS_MAX + 7; i++)
		strcat(text, "what is this\n");
	ck_assert_int_eq(LOAD(text), CONF_E_INVALID);
	ck_assert_uint_eq(errors.n, CONF_ERRORS_MAX);
	ck_assert_uint_eq(errors.more, 7);
}
END_TEST

START_TEST(long_values_are_bounded)
{
	static char text[20000];
	size_t n = (size_t)snprintf(text, sizeof text, "node=P1\netcd_endpoints = a:1\n");

	while (n < 5000)
		n += (size_t)snprintf(text + n, sizeof text - n, "  %0100d:1\n", 0);
	ck_assert_int_eq(LOAD(text), CONF_E_INVALID);
	ck_assert_uint_eq(errors.n, 1);
	ck_assert_ptr_nonnull(strstr(errors.text[0], "etcd_endpoints: the value is longer than 4096 bytes"));
}
END_TEST

START_TEST(help_and_version_look_at_nothing_else)
{
	struct buf out = BUF_NULL;

	ck_assert_int_eq(LOAD(NULL, "--config", "/nonexistent", "--help"), 0);
	ck_assert_int_eq(result.action, CONF_HELP);
	ck_assert_int_eq(LOAD(NULL, "-V"), 0);
	ck_assert_int_eq(result.action, CONF_VERSION);

	ck_assert_int_eq(conf_help(&desc, &out), 0);
	ck_assert_int_eq(buf_put(&out, "", 1), 0);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		ck_assert_ptr_nonnull(strstr((char *)buf_head(&out), keys[i].help));
	ck_assert_ptr_nonnull(strstr(
		(char *)buf_head(&out), "\n  --hold-timeout TIME             how long to hold messages\n"));
	ck_assert_ptr_nonnull(strstr((char *)buf_head(&out), "from 1s to 10m; default: 30; reload)\n"));
	ck_assert_ptr_nonnull(strstr((char *)buf_head(&out), "[tcp NAME]"));
	buf_deinit(&out);
}
END_TEST

static void diff_is(const char *before, const char *after, const char *want)
{
	struct settings a;
	struct conf_change c[8];
	char text[400] = "";
	size_t n;

	ck_assert_int_eq(LOAD(before), 0);
	a = s;
	ck_assert_int_eq(LOAD(after), 0);
	n = conf_diff(&desc, &a, &s, c, ARRAY_SIZE(c));
	for (size_t i = 0; i < n; i++) {
		char one[100];

		(void)snprintf(one, sizeof one, "%s/%s/%s%s ", c[i].section ? c[i].section : "",
			c[i].item ? c[i].item : "", c[i].key ? c[i].key : "", c[i].reload ? "" : "!");
		strcat(text, one);
	}
	ck_assert_str_eq(text, want);
	ck_assert_uint_eq(conf_diff(&desc, &a, &s, NULL, 0), n);
	conf_free(&desc, &a);
	conf_free(&desc, &s);
}

START_TEST(reload_tells_what_changed)
{
	diff_is("node=P1\n", "node=P1\nhold_timeout=30000ms\n", "");
	diff_is("node=P1\n", "node=P2\nhold_timeout=31\nfsync=no\n", "//node! //hold_timeout //fsync! ");
	diff_is("node=P1\netcd_endpoints=a:1,b:1\n", "node=P1\netcd_endpoints=a:1,c:1\nlisten=:1\n",
		"//etcd_endpoints //listen! ");
	diff_is("node=P1\non_role_change=x\n", "node=P1\n", "//on_role_change ");
	diff_is("node=P1\n[tcp a]\nlisten=:1\nleader=x\n[tcp b]\nlisten=:2\nleader=x\n",
		"node=P1\n[tcp c]\nlisten=:1\nleader=x\n[tcp b]\nlisten=:2\nleader=y\n",
		"tcp/a/ tcp/b/leader tcp/c/ ");
}
END_TEST

UNIT_MAIN("conf", tcase_add_test(tc, defaults_without_file); tcase_add_test(tc, file_sets_every_type);
	  tcase_add_test(tc, lists_go_on_over_indented_lines);
	  tcase_add_test(tc, command_line_wins_over_file); tcase_add_test(tc, sections_become_items);
	  tcase_add_test(tc, errors_name_line_reason_and_what_is_allowed);
	  tcase_add_test(tc, errors_of_options);
	  tcase_add_test(tc, a_bad_value_in_the_file_is_refused_though_an_option_wins);
	  tcase_add_test(tc, lines_are_bounded_and_counted); tcase_add_test(tc, nul_bytes_are_refused);
	  tcase_add_test(tc, endless_files_are_refused); tcase_add_test(tc, all_errors_up_to_the_bound);
	  tcase_add_test(tc, long_values_are_bounded);
	  tcase_add_test(tc, help_and_version_look_at_nothing_else);
	  tcase_add_test(tc, reload_tells_what_changed))
