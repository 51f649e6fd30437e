/*
 * leash control: what only the machine's own administrator may ask of a node, over its control socket.
 */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clk.h"
#include "base/ids.h"
#include "cli/local.h"
#include "cli/sock.h"

struct control_opts {
	char *base;
	uint64_t timeout_ms;
};

static int explain(const struct control_opts *o, const char *node, int r)
{
	if (r == -ENOENT || r == -ECONNREFUSED)
		return cli_failed("no node \"%s\" runs here: nothing listens on %s/%s/control.sock", node, o->base, node);
	if (r == -EACCES)
		return cli_failed("%s/%s: only root and the group of the service may ask", o->base, node);
	return cli_failed("%s: %s", node, sock_strerror(r));
}

static int control_run(const void *opts, char **operands, size_t n_operands)
{
	_cleanup_(buf_deinit) struct buf text = BUF_NULL;
	const struct control_opts *o = opts;
	int r;

	if (!name_valid(operands[0]))
		return cli_misused("\"%.80s\" is no name of a node", operands[0]);
	r = local_call(o->base, operands[0], (const char *const *)operands + 1, n_operands - 1,
		clk_boot_ns() + o->timeout_ms * NS_PER_MS, &text);
	if (r < 0)
		return explain(o, operands[0], r);
	if (r == LOCAL_E_REFUSED)
		return cli_failed("%s: %.*s", operands[0], (int)buf_len(&text), (const char *)buf_head(&text));
	(void)fwrite(buf_head(&text), 1, buf_len(&text), stdout); /* cli_flush() tells of errors */
	if (buf_len(&text) == 0 || buf_head(&text)[buf_len(&text) - 1] != '\n')
		putchar('\n');
	return cli_flush(CLI_OK);
}

static const struct conf_key keys[] = {
	{ "runtime_dir_base", CONF_AT_PATH(struct control_opts, base), .text = LOCAL_BASE, .meta = "DIR",
	  .help = "where the runtime directories of nodes are" },
	{ "timeout", CONF_AT_DURATION(struct control_opts, timeout_ms), .text = "30s", .unit = "s", .min = 100,
	  .max = 3600000, .help = "how long to wait for the answer" },
};

const struct cli_command cli_control = {
	.name = "control",
	.operands = "NODE VERB [ARGUMENT]",
	.about = "ask a node of this machine over its control socket",
	.help = "VERB is reload (read the configuration again), status, metrics, switchover [TO], version, or help, which lists\n"
		"them. The socket is <--runtime-dir-base>/NODE/control.sock. \"systemctl reload leash-noded@NODE\" runs this.\n",
	.exits = "  0  the node did it\n  1  it did not, or does not run; a message says why\n  2  wrong usage\n",
	CLI_COMMAND_OPTS(keys, struct control_opts),
	.operands_min = 2,
	.operands_max = 1 + LOCAL_WORDS_MAX,
	.run = control_run,
};
