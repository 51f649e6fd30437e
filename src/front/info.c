/* INFO, ROLE and the lines of CLIENT LIST. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/clk.h"
#include "config.h"
#include "front/front_int.h"

#define SECTION_MAX 32

/* Errors of a scratch text are of no consequence: what is missing is seen to be missing. */
#define say(out, ...) ((void)!buf_printf((out), __VA_ARGS__))

void client_line(const struct front_client *c, struct buf *out)
{
	uint64_t now_ns = c->front->now_ns;

	say(out,
		"id=%" PRIu64 " addr=%s laddr=%s fd=%d name=%s age=%" PRIu64 " idle=%" PRIu64
		" flags=%s db=0 sub=0 psub=0 ssub=0 multi=-1 qbuf=%zu qbuf-free=%zu argv-mem=0 multi-mem=0 rbs=0 rbp=0 "
		"obl=0 oll=%" PRIu32 " omem=%zu tot-mem=%zu events=r cmd=%s user=default redir=-1 resp=%d lib-name=%s "
		"lib-ver=%s\n",
		c->id, c->address, c->local_address, c->fd, c->name, (now_ns - MIN2(now_ns, c->since_ns)) / NS_PER_S,
		(now_ns - MIN2(now_ns, c->active_ns)) / NS_PER_S, c->exclusive ? "b" : "N", buf_len(&c->in),
		c->in.cap - buf_len(&c->in), c->n_ops, buf_len(&c->out), c->in.cap + c->out.cap + sizeof *c,
		c->last_command, c->version, c->lib_name, c->lib_ver);
}

static bool wants(const char *section, const char *name)
{
	return section[0] == '\0' || strcmp(section, name) == 0;
}

static void own_sections(struct front *f, const char *section, struct buf *out)
{
	struct front_stats s;
	uint64_t up_s = (f->now_ns - f->started_ns) / NS_PER_S;

	front_stats(f, &s);
	if (wants(section, "server"))
		say(out,
			"# Server\r\nredis_version:%s\r\nredis_mode:standalone\r\nserver_name:%s\r\n"
			"leash_version:" PACKAGE_VERSION "\r\nprocess_id:%ld\r\nuptime_in_seconds:%" PRIu64
			"\r\nuptime_in_days:%" PRIu64 "\r\n\r\n",
			FRONT_REDIS_VERSION, f->conf.program, (long)getpid(), up_s, up_s / 86400);
	if (wants(section, "clients"))
		say(out,
			"# Clients\r\nconnected_clients:%" PRIu32 "\r\nmaxclients:%" PRIu32
			"\r\nblocked_clients:%" PRIu32 "\r\n\r\n",
			s.clients, f->conf.clients_max, s.blocked);
	if (wants(section, "stats"))
		say(out,
			"# Stats\r\ntotal_connections_received:%" PRIu64 "\r\nrejected_connections:%" PRIu64
			"\r\ntotal_commands_processed:%" PRIu64 "\r\ntotal_appends:%" PRIu64 "\r\ntotal_reads:%" PRIu64
			"\r\ntotal_error_replies:%" PRIu64 "\r\n\r\n",
			s.clients_total, s.clients_refused, s.commands, s.appends, s.reads, s.errors);
}

static void replication(struct front *f, const char *section, struct buf *out)
{
	struct front_role role = { 0 };

	if (!wants(section, "replication"))
		return;
	f->ops.role(f->ctx, &role);
	say(out, "# Replication\r\nrole:%s\r\n", role.master ? "master" : "slave");
	if (!role.master) {
		const char *address = role.n_replicas ? role.replicas[0].address : "";
		const char *colon = strrchr(address, ':');

		say(out, "master_host:%.*s\r\nmaster_port:%s\r\nmaster_link_status:%s\r\nslave_read_only:1\r\n",
			colon ? (int)(colon - address) : 0, address, colon ? colon + 1 : "0", colon ? "up" : "down");
		say(out, "slave_repl_offset:%" PRIu64 "\r\nconnected_slaves:0\r\n\r\n", role.offset);
		return;
	}
	say(out, "connected_slaves:%" PRIu32 "\r\n", role.n_replicas);
	for (uint32_t i = 0; i < role.n_replicas; i++) {
		const char *address = role.replicas[i].address, *colon = strrchr(address, ':');

		say(out, "slave%" PRIu32 ":ip=%.*s,port=%s,state=online,offset=%" PRIu64 ",lag=0\r\n", i,
			colon ? (int)(colon - address) : 0, address, colon ? colon + 1 : "0", role.replicas[i].offset);
	}
	say(out, "master_repl_offset:%" PRIu64 "\r\n\r\n", role.offset);
}

/* @section in small letters; "all", "everything" and "default" are no section. */
static void section_name(struct bytes arg, char to[SECTION_MAX])
{
	size_t n = MIN2(arg.len, (size_t)SECTION_MAX - 1);

	for (size_t i = 0; i < n; i++)
		to[i] = (char)tolower(arg.p[i]);
	to[n] = '\0';
	if (strcmp(to, "all") == 0 || strcmp(to, "everything") == 0 || strcmp(to, "default") == 0)
		to[0] = '\0';
}

static void section_write(struct front *f, const char *section, struct buf *out)
{
	own_sections(f, section, out);
	replication(f, section, out);
	if (f->ops.info)
		f->ops.info(f->ctx, section, out);
}

bool cmd_info(struct front_client *c, const struct bytes *argv, uint32_t argc)
{
	struct buf text = BUF_NULL;
	struct resp_out o;
	char section[SECTION_MAX] = "";

	if (argc == 1)
		section_write(c->front, section, &text);
	for (uint32_t i = 1; i < MIN2(argc, 16u); i++) {
		section_name(argv[i], section);
		section_write(c->front, section, &text);
	}
	client_reply_open(c, &o);
	resp_verbatim(&o, "txt", (struct bytes){ buf_head(&text), buf_len(&text) });
	client_reply_close(c, &o);
	buf_deinit(&text);
	return true;
}

static void role_address(struct resp_out *o, const char *address, bool number)
{
	const char *colon = strrchr(address, ':');

	resp_bulk(o, (struct bytes){ (const uint8_t *)address, colon ? (size_t)(colon - address) : 0 });
	if (number)
		resp_integer(o, colon ? atoi(colon + 1) : 0);
	else
		resp_bulk_str(o, colon ? colon + 1 : "0");
}

bool cmd_role(struct front_client *c, const struct bytes *argv _unused_, uint32_t argc _unused_)
{
	struct front_role role = { 0 };
	struct resp_out o;

	c->front->ops.role(c->front->ctx, &role);
	client_reply_open(c, &o);
	if (role.master) {
		resp_array(&o, 3);
		resp_bulk_str(&o, "master");
		resp_integer(&o, (int64_t)role.offset);
		resp_array(&o, role.n_replicas);
		for (uint32_t i = 0; i < role.n_replicas; i++) {
			resp_array(&o, 3);
			role_address(&o, role.replicas[i].address, false);
			resp_bulkf(&o, "%" PRIu64, role.replicas[i].offset);
		}
	} else {
		resp_array(&o, 5);
		resp_bulk_str(&o, "slave");
		role_address(&o, role.n_replicas ? role.replicas[0].address : "", true);
		resp_bulk_str(&o, role.n_replicas && role.replicas[0].address[0] ? "connected" : "connect");
		resp_integer(&o, (int64_t)role.offset);
	}
	client_reply_close(c, &o);
	return true;
}
