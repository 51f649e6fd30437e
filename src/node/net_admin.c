/* What operators ask for over the control socket: `LEASH <verb>` of a RESP client, ADMIN of a tool. */
#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "base/clk.h"
#include "base/ids.h"
#include "node/net_int.h"

#define SWITCHOVER_NS (10 * NS_PER_S)

struct switchover {
	struct net *net;
	net_admin_fn fn; /* NULL: whoever asked is gone */
	void *ctx;
	struct switchover *prev, *next;
};

struct verb {
	const char *name, *args, *help;
	uint32_t args_max;
	void (*run)(struct net *net, const struct bytes *argv, uint32_t argc, net_admin_fn fn, void *ctx);
};

static bool is(struct bytes arg, const char *word)
{
	return arg.len == strlen(word) && strncasecmp((const char *)arg.p, word, arg.len) == 0;
}

static struct bytes text_of(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

/* ----------------------------------------------------------------------------------------------------------- verbs */

static void run_json(struct net *net, enum peer_info_what what, net_admin_fn fn, void *ctx)
{
	struct buf json = BUF_NULL;
	int r = node_status_json(net->node, what, &json);

	if (r)
		fn(ctx, false, text_of("ERR out of memory"));
	else
		fn(ctx, true, (struct bytes){ buf_head(&json), buf_len(&json) });
	buf_deinit(&json);
}

static void run_status(struct net *net, const struct bytes *argv _unused_, uint32_t argc _unused_, net_admin_fn fn,
	void *ctx)
{
	run_json(net, PEER_INFO_NODE, fn, ctx);
}

static void run_metrics(struct net *net, const struct bytes *argv _unused_, uint32_t argc _unused_, net_admin_fn fn,
	void *ctx)
{
	run_json(net, PEER_INFO_METRICS, fn, ctx);
}

static void on_switched(void *ctx, const char *failed)
{
	struct switchover *s = ctx;
	char text[256];

	if (failed)
		(void)snprintf(text, sizeof text, "ERR no hand-over: %s", failed);
	if (s->fn)
		s->fn(s->ctx, !failed, text_of(failed ? text : "OK"));
	DL_DELETE(s->net->switchovers, s);
	free(s);
}

static void run_switchover(struct net *net, const struct bytes *argv, uint32_t argc, net_admin_fn fn, void *ctx)
{
	struct switchover *s;
	char to[LEASH_NAME_MAX + 1] = "";

	if (argc > 1 && argv[1].len <= LEASH_NAME_MAX)
		memcpy(to, argv[1].p, argv[1].len);
	if (argc > 1 && !name_valid(to)) {
		fn(ctx, false, text_of("ERR that is no node's name"));
		return;
	}
	s = calloc(1, sizeof *s);
	if (!s) {
		fn(ctx, false, text_of("ERR out of memory"));
		return;
	}
	s->net = net;
	s->fn = fn;
	s->ctx = ctx;
	DL_APPEND(net->switchovers, s);
	node_handover(net->node, to, net->now_ns + SWITCHOVER_NS, on_switched, s);
}

static void run_reload(struct net *net, const struct bytes *argv _unused_, uint32_t argc _unused_, net_admin_fn fn,
	void *ctx)
{
	struct buf text = BUF_NULL;
	bool ok = net->ops.reload(net->ops.ctx, &text);

	fn(ctx, ok, (struct bytes){ buf_head(&text), buf_len(&text) });
	buf_deinit(&text);
}

static void run_version(struct net *net, const struct bytes *argv _unused_, uint32_t argc _unused_, net_admin_fn fn,
	void *ctx)
{
	fn(ctx, true, text_of(net->conf.release));
}

static void run_help(struct net *net, const struct bytes *argv, uint32_t argc, net_admin_fn fn, void *ctx);

static const struct verb verbs[] = {
	{ "HELP", "", "this text", 0, run_help },
	{ "METRICS", "", "counters, as JSON", 0, run_metrics },
	{ "RELOAD", "", "read the configuration again, as on SIGHUP, and say what came of it", 0, run_reload },
	{ "STATUS", "", "everything about this node, as JSON", 0, run_status },
	{ "SWITCHOVER", " [NODE]", "hand the lead over to NODE, or to the best one", 1, run_switchover },
	{ "VERSION", "", "release of this node", 0, run_version },
};

static void run_help(struct net *net _unused_, const struct bytes *argv _unused_, uint32_t argc _unused_,
	net_admin_fn fn, void *ctx)
{
	struct buf text = BUF_NULL;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(verbs) && r == 0; i++)
		r = buf_printf(&text, "LEASH %s%s: %s\n", verbs[i].name, verbs[i].args, verbs[i].help);
	fn(ctx, r == 0, r == 0 ? (struct bytes){ buf_head(&text), buf_len(&text) } : text_of("ERR out of memory"));
	buf_deinit(&text);
}

/* @argv[0]: the verb. @fn comes once, perhaps from inside, or net_admin_forget() is called. */
void net_admin(struct net *net, const struct bytes *argv, uint32_t argc, net_admin_fn fn, void *ctx)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs) && argc > 0; i++) {
		if (!is(argv[0], verbs[i].name))
			continue;
		if (argc - 1 > verbs[i].args_max)
			fn(ctx, false, text_of("ERR too many arguments; see LEASH HELP"));
		else
			verbs[i].run(net, argv, argc, fn, ctx);
		return;
	}
	fn(ctx, false, text_of("ERR unknown verb; see LEASH HELP"));
}

void net_admin_forget(struct net *net, void *ctx)
{
	struct switchover *s;

	DL_FOREACH(net->switchovers, s) {
		if (s->ctx == ctx)
			s->fn = NULL;
	}
}

void net_admin_deinit(struct net *net)
{
	struct switchover *s, *next;

	DL_FOREACH_SAFE(net->switchovers, s, next) {
		DL_DELETE(net->switchovers, s);
		free(s);
	}
}
