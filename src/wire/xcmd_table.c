#include "wire/xcmd_int.h"

#include <stdio.h>

#define CONN (XCMD_F_FAST | XCMD_F_LOADING | XCMD_F_STALE | XCMD_F_NOSCRIPT)
#define ADMN (XCMD_F_LOADING | XCMD_F_STALE | XCMD_F_NOSCRIPT)
#define HELP (XCMD_F_LOADING | XCMD_F_STALE)

static const struct xcmd_info commands[] = {
	{ XCMD_AUTH, "auth", -2, CONN | XCMD_F_NO_AUTH, 0, 0, 0, "connection", "1.0.0", "Authenticate" },
	{ XCMD_CLIENT, "client", -2, XCMD_F_CONTAINER, 0, 0, 0, "connection", "2.4.0", "Client connection commands" },
	{ XCMD_COMMAND, "command", -1, HELP | XCMD_F_CONTAINER, 0, 0, 0, "server", "2.8.13", "Describe the commands" },
	{ XCMD_CONFIG, "config", -2, XCMD_F_CONTAINER, 0, 0, 0, "server", "2.0.0", "Configuration commands" },
	{ XCMD_ECHO, "echo", 2, XCMD_F_FAST | HELP, 0, 0, 0, "connection", "1.0.0", "Echo the message" },
	{ XCMD_HELLO, "hello", -1, CONN | XCMD_F_NO_AUTH, 0, 0, 0, "connection", "6.0.0", "Handshake" },
	{ XCMD_INFO, "info", -1, HELP, 0, 0, 0, "server", "1.0.0", "Information and numbers about the server" },
	{ XCMD_LEASH, "leash", -2, ADMN | XCMD_F_ADMIN, 0, 0, 0, "server", "7.0.0", "Admin verbs on the local socket" },
	{ XCMD_PING, "ping", -1, XCMD_F_FAST | HELP, 0, 0, 0, "connection", "1.0.0", "Ping the server" },
	{ XCMD_QUIT, "quit", -1, CONN | XCMD_F_NO_AUTH, 0, 0, 0, "connection", "1.0.0", "Close the connection" },
	{ XCMD_RESET, "reset", 1, CONN | XCMD_F_NO_AUTH, 0, 0, 0, "connection", "6.2.0", "Reset the connection" },
	{ XCMD_ROLE, "role", 1, CONN, 0, 0, 0, "server", "2.8.12", "The role in replication" },
	{ XCMD_SELECT, "select", 2, XCMD_F_FAST | HELP, 0, 0, 0, "connection", "1.0.0", "Select database 0" },
	{ XCMD_WAIT, "wait", 3, XCMD_F_BLOCKING, 0, 0, 0, "generic", "3.0.0", "Count the in-sync secondaries" },
	{ XCMD_XADD, "xadd", -5, XCMD_F_WRITE | XCMD_F_DENYOOM | XCMD_F_FAST, 1, 1, 1, "stream", "5.0.0",
		"Append an entry" },
	{ XCMD_XCFGSET, "xcfgset", -2, XCMD_F_WRITE | XCMD_F_FAST, 1, 1, 1, "stream", "8.6.0",
		"Taken and ignored: the window for retries is the cluster's" },
	{ XCMD_XINFO, "xinfo", -2, XCMD_F_CONTAINER, 0, 0, 0, "stream", "5.0.0", "Stream introspection commands" },
	{ XCMD_XLEN, "xlen", 2, XCMD_F_READONLY | XCMD_F_FAST, 1, 1, 1, "stream", "5.0.0", "Count the entries" },
	{ XCMD_XRANGE, "xrange", -4, XCMD_F_READONLY, 1, 1, 1, "stream", "5.0.0", "Entries of a range of ids" },
	{ XCMD_XREAD, "xread", -4, XCMD_F_READONLY | XCMD_F_BLOCKING | XCMD_F_MOVABLEKEYS, 0, 0, 0, "stream", "5.0.0",
		"Entries behind an id, of several streams, also to come" },
	{ XCMD_XREVRANGE, "xrevrange", -4, XCMD_F_READONLY, 1, 1, 1, "stream", "5.0.0",
		"Entries of a range of ids, newest first" },
};

static const struct xcmd_info subcommands[] = {
	{ XCMD_CLIENT_GETNAME, "client|getname", 2, ADMN, 0, 0, 0, "connection", "2.6.9", "The connection's name" },
	{ XCMD_CLIENT_HELP, "client|help", 2, HELP, 0, 0, 0, "connection", "5.0.0", "Help" },
	{ XCMD_CLIENT_ID, "client|id", 2, ADMN, 0, 0, 0, "connection", "5.0.0", "The connection's number" },
	{ XCMD_CLIENT_INFO, "client|info", 2, ADMN, 0, 0, 0, "connection", "6.2.0", "About this connection" },
	{ XCMD_CLIENT_LIST, "client|list", -2, ADMN, 0, 0, 0, "connection", "2.4.0", "About all connections" },
	{ XCMD_CLIENT_NO_EVICT, "client|no-evict", 3, ADMN, 0, 0, 0, "connection", "7.0.0", "Taken and ignored" },
	{ XCMD_CLIENT_NO_TOUCH, "client|no-touch", 3, ADMN, 0, 0, 0, "connection", "7.2.0", "Taken and ignored" },
	{ XCMD_CLIENT_REPLY, "client|reply", 3, ADMN, 0, 0, 0, "connection", "3.2.0", "Replies on, off, skip one" },
	{ XCMD_CLIENT_SETINFO, "client|setinfo", 4, ADMN, 0, 0, 0, "connection", "7.2.0", "Name the client library" },
	{ XCMD_CLIENT_SETNAME, "client|setname", 3, ADMN, 0, 0, 0, "connection", "2.6.9", "Name the connection" },
	{ XCMD_COMMAND_COUNT, "command|count", 2, HELP, 0, 0, 0, "server", "2.8.13", "Count the commands" },
	{ XCMD_COMMAND_DOCS, "command|docs", -2, HELP, 0, 0, 0, "server", "7.0.0", "Documentation of commands" },
	{ XCMD_COMMAND_GETKEYS, "command|getkeys", -3, HELP, 0, 0, 0, "server", "2.8.13", "A command's keys" },
	{ XCMD_COMMAND_HELP, "command|help", 2, HELP, 0, 0, 0, "server", "5.0.0", "Help" },
	{ XCMD_COMMAND_INFO, "command|info", -2, HELP, 0, 0, 0, "server", "2.8.13", "Details of commands" },
	{ XCMD_COMMAND_LIST, "command|list", -2, HELP, 0, 0, 0, "server", "7.0.0", "Names of commands" },
	{ XCMD_CONFIG_GET, "config|get", -3, ADMN | XCMD_F_ADMIN, 0, 0, 0, "server", "2.0.0", "An empty map" },
	{ XCMD_CONFIG_HELP, "config|help", 2, HELP, 0, 0, 0, "server", "5.0.0", "Help" },
	{ XCMD_XINFO_HELP, "xinfo|help", 2, HELP, 0, 0, 0, "stream", "5.0.0", "Help" },
	{ XCMD_XINFO_STREAM, "xinfo|stream", -3, XCMD_F_READONLY, 2, 2, 1, "stream", "5.0.0", "About a stream" },
};

static const struct {
	unsigned flag;
	const char *name;
} flag_names[] = {
	{ XCMD_F_WRITE, "write" }, { XCMD_F_READONLY, "readonly" }, { XCMD_F_DENYOOM, "denyoom" },
	{ XCMD_F_ADMIN, "admin" }, { XCMD_F_NOSCRIPT, "noscript" }, { XCMD_F_BLOCKING, "blocking" },
	{ XCMD_F_LOADING, "loading" }, { XCMD_F_STALE, "stale" }, { XCMD_F_FAST, "fast" },
	{ XCMD_F_NO_AUTH, "no_auth" }, { XCMD_F_MOVABLEKEYS, "movablekeys" },
};

const struct xcmd_info *xcmd_table(size_t *ret_n)
{
	*ret_n = ARRAY_SIZE(commands);
	return commands;
}

/* --------------------------------------------------------------------------------------------------------- look up */

static const struct xcmd_info *command_find(struct bytes name)
{
	size_t lo = 0, hi = ARRAY_SIZE(commands);

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int d = xcmd_compare(name, commands[mid].name);

		if (d == 0)
			return &commands[mid];
		if (d < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

/* @sub's own name when it belongs to @parent, else NULL. */
static const char *name_below(const struct xcmd_info *sub, const char *parent)
{
	size_t n = strlen(parent);

	return strncmp(sub->name, parent, n) == 0 && sub->name[n] == '|' ? sub->name + n + 1 : NULL;
}

static const struct xcmd_info *subcommand_find(const struct xcmd_info *parent, struct bytes name)
{
	for (size_t i = 0; i < ARRAY_SIZE(subcommands); i++) {
		const char *own = name_below(&subcommands[i], parent->name);

		if (own && xcmd_is(name, own))
			return &subcommands[i];
	}
	return NULL;
}

/* "name" or "name|subcommand", as COMMAND INFO and COMMAND DOCS take them. */
static const struct xcmd_info *full_find(struct bytes name)
{
	const uint8_t *bar = name.len ? memchr(name.p, '|', name.len) : NULL;
	const struct xcmd_info *c;
	size_t n;

	if (!bar)
		return command_find(name);
	n = (size_t)(bar - name.p);
	c = command_find((struct bytes){ name.p, n });
	return c ? subcommand_find(c, (struct bytes){ bar + 1, name.len - n - 1 }) : NULL;
}

static bool arity_fits(const struct xcmd_info *c, uint32_t argc)
{
	return c->arity > 0 ? argc == (uint32_t)c->arity : argc >= (uint32_t)-c->arity;
}

int xcmd_fail_arity(struct xcmd_err *err, const char *name)
{
	return xcmd_fail(err, "ERR wrong number of arguments for '%s' command", name);
}

/* Redis's text: at most 128 bytes of the name and about as many of the arguments. */
static int fail_unknown(const struct bytes *argv, uint32_t argc, struct xcmd_err *err)
{
	char args[160] = "";
	size_t n = 0;

	for (uint32_t i = 1; i < argc && n < 128; i++) {
		int most = (int)MIN2(argv[i].len, 128 - n);

		n += (size_t)snprintf(args + n, sizeof args - n, "'%.*s' ", most, (const char *)argv[i].p);
	}
	return xcmd_fail(err, "ERR unknown command '%.*s', with args beginning with: %s",
		(int)MIN2(argv[0].len, (size_t)128), (const char *)argv[0].p, args);
}

static int fail_unknown_sub(const struct xcmd_info *parent, struct bytes name, struct xcmd_err *err)
{
	char upper[XCMD_NAME_MAX];
	size_t i;

	for (i = 0; parent->name[i]; i++)
		upper[i] = (char)(parent->name[i] - 'a' + 'A');
	upper[i] = '\0';
	return xcmd_fail(err, "ERR unknown subcommand '%.*s'. Try %s HELP.", (int)MIN2(name.len, (size_t)128),
		(const char *)name.p, upper);
}

bool xcmd_calls(const struct bytes *argv, uint32_t argc, const struct xcmd_info *info)
{
	if ((uintptr_t)info - (uintptr_t)commands >= sizeof commands || (info->flags & XCMD_F_CONTAINER))
		return false; /* NULL, or it has or is a subcommand */
	return xcmd_is(argv[0], info->name) && arity_fits(info, argc);
}

int xcmd_lookup(const struct bytes *argv, uint32_t argc, const struct xcmd_info **ret_info, struct xcmd_err *err)
{
	const struct xcmd_info *c, *sub;

	must(argc >= 1);
	c = command_find(argv[0]);
	if (!c)
		return fail_unknown(argv, argc, err);
	if ((c->flags & XCMD_F_CONTAINER) && argc > 1) {
		sub = subcommand_find(c, argv[1]);
		if (!sub)
			return fail_unknown_sub(c, argv[1], err);
		c = sub;
	}
	if (!arity_fits(c, argc))
		return xcmd_fail_arity(err, c->name);
	*ret_info = c;
	return 0;
}

/* --------------------------------------------------------------------------------------------------------- COMMAND */

static void reply_flags(struct resp_out *o, const struct xcmd_info *c)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(flag_names); i++)
		n += (c->flags & flag_names[i].flag) != 0;
	resp_set(o, n);
	for (size_t i = 0; i < ARRAY_SIZE(flag_names); i++)
		if (c->flags & flag_names[i].flag)
			resp_simple(o, flag_names[i].name);
}

static void reply_categories(struct resp_out *o, const struct xcmd_info *c)
{
	const char *access = c->flags & XCMD_F_WRITE ? "@write" : c->flags & XCMD_F_READONLY ? "@read" : NULL;
	char group[XCMD_NAME_MAX];

	(void)snprintf(group, sizeof group, "@%s", c->group);
	resp_set(o, access ? 3 : 2);
	if (access)
		resp_simple(o, access);
	resp_simple(o, group);
	resp_simple(o, c->flags & XCMD_F_FAST ? "@fast" : "@slow");
}

static size_t count_below(const struct xcmd_info *c)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(subcommands); i++)
		n += name_below(&subcommands[i], c->name) != NULL;
	return n;
}

/* Ten elements as of Redis 7; tips and key specifications are empty. */
static void reply_info(struct resp_out *o, const struct xcmd_info *c)
{
	resp_array(o, 10);
	resp_bulk_str(o, c->name);
	resp_integer(o, c->arity);
	reply_flags(o, c);
	resp_integer(o, c->first_key);
	resp_integer(o, c->last_key);
	resp_integer(o, c->key_step);
	reply_categories(o, c);
	resp_array(o, 0);
	resp_array(o, 0);
	resp_array(o, count_below(c));
	for (size_t i = 0; i < ARRAY_SIZE(subcommands); i++)
		if (name_below(&subcommands[i], c->name))
			reply_info(o, &subcommands[i]); /* one level: these have none below */
}

static void reply_docs(struct resp_out *o, const struct xcmd_info *c)
{
	size_t below = count_below(c);

	resp_bulk_str(o, c->name);
	resp_map(o, below ? 4 : 3);
	resp_bulk_str(o, "summary");
	resp_bulk_str(o, c->summary);
	resp_bulk_str(o, "since");
	resp_bulk_str(o, c->since);
	resp_bulk_str(o, "group");
	resp_bulk_str(o, c->group);
	if (!below)
		return;
	resp_bulk_str(o, "subcommands");
	resp_map(o, below);
	for (size_t i = 0; i < ARRAY_SIZE(subcommands); i++)
		if (name_below(&subcommands[i], c->name))
			reply_docs(o, &subcommands[i]);
}

/* COMMAND DOCS [name ...]: unknown names are left out. */
static void command_docs(struct resp_out *o, const struct bytes *argv, uint32_t argc)
{
	size_t n = argc > 2 ? 0 : ARRAY_SIZE(commands);

	for (uint32_t i = 2; i < argc; i++)
		n += full_find(argv[i]) != NULL;
	resp_map(o, n);
	for (size_t i = 0; argc == 2 && i < ARRAY_SIZE(commands); i++)
		reply_docs(o, &commands[i]);
	for (uint32_t i = 2; i < argc; i++)
		if (full_find(argv[i]))
			reply_docs(o, full_find(argv[i]));
}

/* COMMAND, COMMAND INFO [name ...] */
static void command_info(struct resp_out *o, const struct bytes *argv, uint32_t argc)
{
	resp_array(o, argc > 2 ? argc - 2 : ARRAY_SIZE(commands));
	for (size_t i = 0; argc <= 2 && i < ARRAY_SIZE(commands); i++)
		reply_info(o, &commands[i]);
	for (uint32_t i = 2; i < argc; i++) {
		const struct xcmd_info *c = full_find(argv[i]);

		if (c)
			reply_info(o, c);
		else
			resp_null_array(o);
	}
}

/* COMMAND GETKEYS name arg ... */
static void command_getkeys(struct resp_out *o, const struct bytes *argv, uint32_t argc)
{
	const struct xcmd_info *c;
	struct xcmd_xread read;
	struct xcmd_err err;

	if (!command_find(argv[0])) {
		resp_error(o, "ERR Invalid command specified");
	} else if (xcmd_lookup(argv, argc, &c, &err)) {
		resp_error(o, "ERR Invalid number of arguments specified for command");
	} else if (c->id == XCMD_XREAD && xcmd_xread(argv, argc, &read, &err) == 0) {
		resp_array(o, read.n_streams);
		for (uint32_t i = 0; i < read.n_streams; i++)
			resp_bulk(o, read.keys[i]);
	} else if (c->first_key) {
		resp_array(o, 1);
		resp_bulk(o, argv[c->first_key]);
	} else {
		resp_error(o, c->id == XCMD_XREAD ? "ERR Invalid arguments specified for command" :
						    "ERR The command has no key arguments");
	}
}

void xcmd_reply_command(struct resp_out *o, const struct bytes *argv, uint32_t argc, const struct xcmd_info *info)
{
	if (info->id == XCMD_COMMAND_COUNT) {
		resp_integer(o, (int64_t)ARRAY_SIZE(commands));
	} else if (info->id == XCMD_COMMAND_DOCS) {
		command_docs(o, argv, argc);
	} else if (info->id == XCMD_COMMAND_GETKEYS) {
		command_getkeys(o, argv + 2, argc - 2);
	} else if (info->id == XCMD_COMMAND_HELP) {
		xcmd_reply_help(o, info);
	} else if (info->id == XCMD_COMMAND_LIST && argc > 2) {
		resp_error(o, XCMD_ERR_SYNTAX); /* FILTERBY has nothing to filter by here */
	} else if (info->id == XCMD_COMMAND_LIST) {
		resp_array(o, ARRAY_SIZE(commands));
		for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
			resp_bulk_str(o, commands[i].name);
	} else {
		command_info(o, argv, argc);
	}
}

void xcmd_reply_help(struct resp_out *o, const struct xcmd_info *info)
{
	const char *bar = strchr(info->name, '|');
	size_t n = 1;

	must(bar);
	for (int counting = 1; counting >= 0; counting--) {
		if (!counting) {
			resp_array(o, n);
			resp_simple(o, "Subcommands are:");
		}
		for (size_t i = 0; i < ARRAY_SIZE(subcommands); i++) {
			const struct xcmd_info *sub = &subcommands[i];
			char text[128];

			if (strncmp(sub->name, info->name, (size_t)(bar - info->name) + 1) != 0)
				continue;
			n += (size_t)counting;
			(void)snprintf(text, sizeof text, "%s - %s.", strchr(sub->name, '|') + 1, sub->summary);
			if (!counting)
				resp_simple(o, text);
		}
	}
}
