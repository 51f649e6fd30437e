/* Starting commands; those that a connection answers by itself. */
#include <inttypes.h>
#include <stdio.h>

#include "front/front_int.h"

#define ERR_NO_PASSWORD                                                                                      \
	"ERR AUTH <password> called without any password configured for the default user. "                  \
	"Are you sure your configuration is correct?"
#define ERR_WRONGPASS "WRONGPASS invalid username-password pair or user is disabled."

/* ---------------------------------------------------------------------------------------------------- connection */

static void set_text(char to[FRONT_NAME_MAX + 1], struct bytes from)
{
	size_t n = MIN2(from.len, (size_t)FRONT_NAME_MAX);

	if (n)
		memcpy(to, from.p, n);
	to[n] = '\0';
}

static bool is_text(struct bytes b, const char *text)
{
	return b.len == strlen(text) && memcmp(b.p, text, b.len) == 0;
}

static void reply_ok(struct front_client *c)
{
	struct resp_out o;

	client_reply_open(c, &o);
	resp_simple(&o, "OK");
	client_reply_close(c, &o);
}

/* There is one user, without a password, as in a Redis that was not configured. */
static void do_auth(struct front_client *c, const struct xcmd_info *info _unused_, const struct bytes *argv,
	uint32_t argc)
{
	struct xcmd_auth a;
	struct xcmd_err err;

	if (xcmd_auth(argv, argc, &a, &err))
		client_error(c, err.text);
	else if (argc == 2)
		client_error(c, ERR_NO_PASSWORD);
	else if (!is_text(a.user, "default"))
		client_error(c, ERR_WRONGPASS);
	else
		reply_ok(c);
}

static const char *role_text(struct front_client *c)
{
	struct front_role role = { 0 };

	c->front->ops.role(c->front->ctx, &role);
	return role.master ? "master" : "replica";
}

static void do_hello(struct front_client *c, const struct xcmd_info *info _unused_, const struct bytes *argv,
	uint32_t argc)
{
	struct xcmd_hello h;
	struct xcmd_err err;
	struct resp_out o;

	if (xcmd_hello(argv, argc, &h, &err)) {
		client_error(c, err.text);
		return;
	}
	if (h.has_auth && !is_text(h.user, "default")) {
		client_error(c, ERR_WRONGPASS);
		return;
	}
	if (h.version)
		c->version = h.version;
	if (h.has_name)
		set_text(c->name, h.name);
	client_reply_open(c, &o);
	resp_map(&o, 7);
	resp_bulk_str(&o, "server");
	resp_bulk_str(&o, "redis");
	resp_bulk_str(&o, "version");
	resp_bulk_str(&o, FRONT_REDIS_VERSION);
	resp_bulk_str(&o, "proto");
	resp_integer(&o, c->version);
	resp_bulk_str(&o, "id");
	resp_integer(&o, (int64_t)c->id);
	resp_bulk_str(&o, "mode");
	resp_bulk_str(&o, "standalone");
	resp_bulk_str(&o, "role");
	resp_bulk_str(&o, role_text(c));
	resp_bulk_str(&o, "modules");
	resp_array(&o, 0);
	client_reply_close(c, &o);
}

static void do_reset(struct front_client *c, const struct xcmd_info *info _unused_, const struct bytes *argv _unused_,
	uint32_t argc _unused_)
{
	struct resp_out o;

	c->version = 2;
	c->name[0] = '\0';
	c->reply_off = c->skip_next = c->muted = false;
	c->no_evict = c->no_touch = false;
	client_reply_open(c, &o);
	resp_simple(&o, "RESET");
	client_reply_close(c, &o);
}

static void do_echo(struct front_client *c, const struct xcmd_info *info _unused_, const struct bytes *argv,
	uint32_t argc)
{
	struct resp_out o;

	client_reply_open(c, &o);
	if (argc == 1)
		resp_simple(&o, "PONG");
	else
		resp_bulk(&o, argv[1]);
	client_reply_close(c, &o);
}

static void do_ping(struct front_client *c, const struct xcmd_info *info _unused_, const struct bytes *argv,
	uint32_t argc)
{
	if (argc > 2)
		client_error(c, "ERR wrong number of arguments for 'ping' command");
	else
		do_echo(c, info, argv, argc);
}

static void do_xcfgset(struct front_client *c, const struct xcmd_info *info _unused_, const struct bytes *argv,
	uint32_t argc)
{
	struct xcmd_xcfgset x;
	struct xcmd_err err;

	if (xcmd_xcfgset(argv, argc, &x, &err))
		client_error(c, err.text);
	else if (!front_engine_find(c->front, x.key))
		client_error(c, "ERR no such key");
	else
		reply_ok(c);
}

static void do_select(struct front_client *c, const struct xcmd_info *info _unused_, const struct bytes *argv,
	uint32_t argc)
{
	struct xcmd_err err;

	if (xcmd_select(argv, argc, &err))
		client_error(c, err.text);
	else
		reply_ok(c);
}

/* -------------------------------------------------------------------------------------------------------- CLIENT */

static void client_reply_mode(struct front_client *c, enum xcmd_reply_mode mode)
{
	switch (mode) {
	case XCMD_REPLY_ON:
		c->reply_off = c->muted = false;
		reply_ok(c);
		break;
	case XCMD_REPLY_OFF:
		c->reply_off = true;
		break;
	case XCMD_REPLY_SKIP:
		c->skip_next = !c->reply_off;
		break;
	}
}

static void client_lines(struct front_client *c, bool all)
{
	struct resp_out o;
	struct buf text = BUF_NULL;

	if (all) {
		for (const struct front_client *other = c->front->clients; other; other = other->next)
			client_line(other, &text);
	} else {
		client_line(c, &text);
	}
	client_reply_open(c, &o);
	resp_verbatim(&o, "txt", (struct bytes){ buf_head(&text), buf_len(&text) });
	client_reply_close(c, &o);
	buf_deinit(&text);
}

static void client_name(struct front_client *c)
{
	struct resp_out o;

	client_reply_open(c, &o);
	if (c->name[0])
		resp_bulk_str(&o, c->name);
	else
		resp_null(&o);
	client_reply_close(c, &o);
}

static void client_set(struct front_client *c, const struct xcmd_info *info, const struct xcmd_client *x)
{
	if (info->id == XCMD_CLIENT_SETNAME)
		set_text(c->name, x->name);
	else if (info->id == XCMD_CLIENT_SETINFO)
		set_text(x->is_lib_name ? c->lib_name : c->lib_ver, x->value);
	else if (info->id == XCMD_CLIENT_NO_EVICT)
		c->no_evict = x->on;
	else
		c->no_touch = x->on;
	reply_ok(c);
}

static void do_client(struct front_client *c, const struct xcmd_info *info, const struct bytes *argv, uint32_t argc)
{
	struct xcmd_client x;
	struct xcmd_err err;
	struct resp_out o;

	if (xcmd_client(argv, argc, info, &x, &err)) {
		client_error(c, err.text);
		return;
	}
	if (info->id == XCMD_CLIENT_REPLY) {
		client_reply_mode(c, x.mode);
	} else if (info->id == XCMD_CLIENT_GETNAME) {
		client_name(c);
	} else if (info->id == XCMD_CLIENT_LIST || info->id == XCMD_CLIENT_INFO) {
		client_lines(c, info->id == XCMD_CLIENT_LIST);
	} else if (info->id == XCMD_CLIENT_ID) {
		client_reply_open(c, &o);
		resp_integer(&o, (int64_t)c->id);
		client_reply_close(c, &o);
	} else {
		client_set(c, info, &x);
	}
}

/* ---------------------------------------------------------------------------------------------------------- tables */

static void do_command(struct front_client *c, const struct xcmd_info *info, const struct bytes *argv, uint32_t argc)
{
	struct resp_out o;

	client_reply_open(c, &o);
	xcmd_reply_command(&o, argv, argc, info);
	client_reply_close(c, &o);
}

static void do_help(struct front_client *c, const struct xcmd_info *info, const struct bytes *argv _unused_,
	uint32_t argc _unused_)
{
	struct resp_out o;

	client_reply_open(c, &o);
	xcmd_reply_help(&o, info);
	client_reply_close(c, &o);
}

static void do_config_get(struct front_client *c, const struct xcmd_info *info _unused_,
	const struct bytes *argv _unused_, uint32_t argc _unused_)
{
	struct resp_out o;

	client_reply_open(c, &o);
	resp_map(&o, 0);
	client_reply_close(c, &o);
}

static void do_quit(struct front_client *c, const struct xcmd_info *info _unused_, const struct bytes *argv _unused_,
	uint32_t argc _unused_)
{
	reply_ok(c);
	c->closing = true;
}

/* ------------------------------------------------------------------------------------------------------- all of them */

struct handler {
	enum op_class class;
	/* CLASS_INSTANT: answers at once */
	void (*reply)(struct front_client *c, const struct xcmd_info *info, const struct bytes *argv, uint32_t argc);
	/* other classes; false: it may not start yet */
	bool (*start)(struct front_client *c, const struct bytes *argv, uint32_t argc);
};

#define INSTANT(fn) { CLASS_INSTANT, (fn), NULL }
#define READ(fn)    { CLASS_READ, NULL, (fn) }

static const struct handler handlers[] = {
	[XCMD_AUTH] = INSTANT(do_auth),
	[XCMD_CLIENT] = INSTANT(do_client),
	[XCMD_CLIENT_GETNAME] = INSTANT(do_client),
	[XCMD_CLIENT_HELP] = INSTANT(do_help),
	[XCMD_CLIENT_ID] = INSTANT(do_client),
	[XCMD_CLIENT_INFO] = INSTANT(do_client),
	[XCMD_CLIENT_LIST] = INSTANT(do_client),
	[XCMD_CLIENT_NO_EVICT] = INSTANT(do_client),
	[XCMD_CLIENT_NO_TOUCH] = INSTANT(do_client),
	[XCMD_CLIENT_REPLY] = INSTANT(do_client),
	[XCMD_CLIENT_SETINFO] = INSTANT(do_client),
	[XCMD_CLIENT_SETNAME] = INSTANT(do_client),
	[XCMD_COMMAND] = INSTANT(do_command),
	[XCMD_COMMAND_COUNT] = INSTANT(do_command),
	[XCMD_COMMAND_DOCS] = INSTANT(do_command),
	[XCMD_COMMAND_GETKEYS] = INSTANT(do_command),
	[XCMD_COMMAND_HELP] = INSTANT(do_command),
	[XCMD_COMMAND_INFO] = INSTANT(do_command),
	[XCMD_COMMAND_LIST] = INSTANT(do_command),
	[XCMD_CONFIG] = INSTANT(do_help),
	[XCMD_CONFIG_GET] = INSTANT(do_config_get),
	[XCMD_CONFIG_HELP] = INSTANT(do_help),
	[XCMD_ECHO] = INSTANT(do_echo),
	[XCMD_HELLO] = INSTANT(do_hello),
	[XCMD_INFO] = READ(cmd_info),
	[XCMD_LEASH] = READ(cmd_admin),
	[XCMD_PING] = INSTANT(do_ping),
	[XCMD_QUIT] = INSTANT(do_quit),
	[XCMD_RESET] = INSTANT(do_reset),
	[XCMD_ROLE] = READ(cmd_role),
	[XCMD_SELECT] = INSTANT(do_select),
	[XCMD_WAIT] = READ(cmd_wait),
	[XCMD_XADD] = { CLASS_APPEND, NULL, cmd_xadd },
	[XCMD_XCFGSET] = INSTANT(do_xcfgset),
	[XCMD_XINFO] = INSTANT(do_help),
	[XCMD_XINFO_HELP] = INSTANT(do_help),
	[XCMD_XINFO_STREAM] = READ(cmd_xinfo),
	[XCMD_XLEN] = READ(cmd_xlen),
	[XCMD_XRANGE] = READ(cmd_xrange),
	[XCMD_XREAD] = READ(cmd_xread),
	[XCMD_XREVRANGE] = READ(cmd_xrevrange),
};

bool cmd_start(struct front_client *c, const struct xcmd_info *info, const struct bytes *argv, uint32_t argc)
{
	const struct handler *h = &handlers[info->id];

	must((size_t)info->id < ARRAY_SIZE(handlers) && (h->reply || h->start));
	if (!client_may_start(c, h->class))
		return false;
	if (h->start)
		return h->start(c, argv, argc);
	h->reply(c, info, argv, argc);
	return true;
}
