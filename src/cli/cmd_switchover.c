/*
 * leash switchover: a request to the primary (R13), which answers in it.
 */
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/clk.h"
#include "base/ids.h"
#include "cli/state.h"

#define POLL_NS (50 * NS_PER_MS)

struct switchover_opts {
	struct cli_etcd etcd;
	char *to;
	uint64_t timeout_ms;
};

struct ask {
	struct state *state;
	char key[KEYS_NAME_MAX + 1];
	struct keys_request request;
	struct buf value; /* its JSON, as put */
	struct keys_view view;
	char why[STATE_TEXT];
};

static void ask_freep(struct ask **a)
{
	if (!*a)
		return;
	buf_deinit(&(*a)->value);
	state_freep(&(*a)->state);
	freep(a);
}

static bool knows_node(const struct rep_view *v, const char *name)
{
	for (uint32_t i = 0; i < v->n_nodes; i++)
		if (strcmp(v->nodes[i].node, name) == 0)
			return true;
	return false;
}

/* Puts the request, if nobody puts another one meanwhile. */
static int put_request(struct ask *a)
{
	struct etcd_compare guard = { .target = ETCD_CMP_MOD, .key = etcd_str(a->key),
		.number = (int64_t)a->view.request_mod };
	struct etcd_op put = { .kind = ETCD_OP_PUT, .put = { .key = etcd_str(a->key) } };
	struct etcd_txn_req req = { .compares = &guard, .n_compares = 1, .success = &put, .n_success = 1 };
	bool done;
	int r = keys_request_encode(&a->request, &a->value);

	if (r < 0)
		return cli_failed("out of memory");
	put.put.value = (struct bytes){ buf_head(&a->value), buf_len(&a->value) };
	r = state_txn(a->state, &req, &done, a->why);
	if (r < 0 && r != -EINPROGRESS) /* in doubt: looking at the key will tell */
		return cli_failed("%s", a->why);
	if (r == 0 && !done)
		return cli_failed("another request came in between; try again");
	return CLI_OK;
}

/* So that it is not obeyed when nobody expects it any more. */
static void withdraw(struct ask *a)
{
	struct etcd_compare guard = { .target = ETCD_CMP_VALUE, .key = etcd_str(a->key),
		.value = { buf_head(&a->value), buf_len(&a->value) } };
	struct etcd_op del = { .kind = ETCD_OP_DELETE, .del = { .key = etcd_str(a->key) } };
	struct etcd_txn_req req = { .compares = &guard, .n_compares = 1, .success = &del, .n_success = 1 };
	bool done;

	if (state_txn(a->state, &req, &done, a->why) < 0)
		cli_note("the request could not be withdrawn and may still be obeyed: %s", a->why);
}

/* True when there is nothing more to wait for. */
static bool answered(const struct ask *a)
{
	return a->view.has_request && a->view.request.id == a->request.id && a->view.request.state != KEYS_REQUEST_OPEN;
}

static int wait_answer(struct ask *a, uint64_t timeout_ms, uint64_t began_ns)
{
	while (clk_boot_ns() - began_ns < timeout_ms * NS_PER_MS) {
		struct timespec pause = { .tv_nsec = POLL_NS };

		(void)nanosleep(&pause, NULL);
		if (state_view(a->state, &a->view, a->why) < 0)
			continue; /* etcd may be away for a while; the deadline bounds it */
		if (answered(a))
			return CLI_OK;
		if (a->view.has_request && a->view.request.id != a->request.id)
			return cli_failed("another request replaced this one");
	}
	withdraw(a);
	return cli_failed("no answer from the primary in time%s%s; \"leash status\" says more", a->why[0] ? ": " : "", a->why);
}

static int report(const struct ask *a, uint64_t began_ns)
{
	const struct rep_leader *l = &a->view.view.leader;
	uint64_t ms = (clk_boot_ns() - began_ns) / NS_PER_MS;

	if (a->view.request.state == KEYS_REQUEST_FAILED)
		return cli_failed("%s", a->view.request.text[0] ? a->view.request.text : "the primary could not do it");
	if (l->present)
		printf("%s leads, epoch %" PRIu64 "; it took %" PRIu64 " ms%s%s\n", l->node, l->epoch, ms,
			a->view.request.text[0] ? ": " : "", a->view.request.text);
	else
		printf("done after %" PRIu64 " ms, and nobody leads at the moment\n", ms);
	return cli_flush(CLI_OK);
}

static int check_view(const struct ask *a, const struct switchover_opts *o)
{
	if (a->view.broken)
		return cli_failed("what etcd holds cannot be read: %s", a->view.bad);
	if (!a->view.view.leader.present)
		return cli_failed("nobody leads \"%s\", so there is nobody to ask", o->etcd.engine);
	if (o->to && !knows_node(&a->view.view, o->to))
		return cli_failed("no node \"%s\" is there", o->to);
	return CLI_OK;
}

static int switchover_run(const void *opts, char **operands _unused_, size_t n_operands _unused_)
{
	_cleanup_(ask_freep) struct ask *a = calloc(1, sizeof *a);
	const struct switchover_opts *o = opts;
	uint64_t began_ns = clk_boot_ns();
	int r;

	if (!a)
		return cli_failed("out of memory");
	r = state_open(&o->etcd, &a->state, a->why);
	if (r < 0)
		return r == -EINVAL ? cli_misused("%s", a->why) : cli_failed("%s", a->why);
	if (state_view(a->state, &a->view, a->why) < 0)
		return cli_failed("%s", a->why);
	r = check_view(a, o);
	if (r != CLI_OK)
		return r;
	if (o->to && strcmp(a->view.view.leader.node, o->to) == 0) {
		printf("%s leads already, epoch %" PRIu64 "\n", o->to, a->view.view.leader.epoch);
		return cli_flush(CLI_OK);
	}
	(void)keys_name(o->etcd.engine, KEYS_REQUEST, NULL, a->key);
	a->request = (struct keys_request){ .op = KEYS_OP_SWITCHOVER, .id = id_random() };
	if (o->to)
		memcpy(a->request.to, o->to, strlen(o->to) + 1);
	a->why[0] = '\0';
	r = put_request(a);
	if (r == CLI_OK)
		r = wait_answer(a, o->timeout_ms, began_ns);
	return r == CLI_OK ? report(a, began_ns) : r;
}

static const struct conf_key keys[] = {
	{ "to", CONF_AT_STRING(struct switchover_opts, to), .meta = "NODE", .check = conf_check_name,
	  .help = "who is to lead; without it the best one" },
	{ "timeout", CONF_AT_DURATION(struct switchover_opts, timeout_ms), .text = "30s", .unit = "s", .min = 100,
	  .max = 3600000, .help = "how long to wait for the primary's answer" },
	CLI_KEYS_ETCD(struct switchover_opts, etcd),
};

const struct cli_command cli_switchover = {
	.name = "switchover",
	.operands = "",
	.about = "give the lead to another node, without a lost or refused message",
	.help = "The request is written to <engine>/request in etcd; the primary hands over and answers there.\n",
	.exits = "  0  another node leads\n  1  it failed; a message says why\n  2  wrong usage\n",
	CLI_COMMAND_OPTS(keys, struct switchover_opts),
	.run = switchover_run,
};
