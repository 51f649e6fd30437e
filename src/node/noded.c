/*
 * leash-noded: configuration, the order of starting and stopping, signals, the service manager.
 *
 *  1. Options and file; --check, --help and --version end here.
 *  2. Directories, sockets bound (not yet listening), the log opened, promises read back (R4).
 *  3. Listening, etcd, READY.
 *  4. SIGHUP: what can change, changes. SIGTERM, SIGINT: no new connections, hand-over (R13), lease revoked, what was
 *     answered is sent, exit 0. A second one: at once.
 */
#include "node/noded.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/clk.h"
#include "base/diag.h"
#include "base/ids.h"
#include "base/notify.h"
#include "config.h"
#include "node/diag_node.h"
#include "node/hook.h"
#include "node/net.h"
#include "node/progress.h"
#include "node/settings.h"

#define EX_CONFIG       78
#define STOP_NS         (15 * NS_PER_S) /* for a hand-over at the end */
#define DRAIN_NS        (2 * NS_PER_S)  /* for answers to leave after it */
#define STATUS_EVERY_S  5               /* STATUS= when nothing but the position has changed */
#define IN_FLIGHT_MAX   4096            /* of one connection */
#define IN_FLIGHT_BYTES (16u << 20)
#define UNCOMMITTED_MAX 65536
#define BATCH_BYTES     (1u << 20)
#define RESERVE_BYTES   (16u << 20)
#define HEARTBEAT_MAX_MS 100            /* the commit index reaches idle secondaries within this */

struct noded {
	int argc;
	char **argv;
	struct settings settings;
	const char *name, *config;
	char *data_dir, *runtime_dir, *lease_file, *control_path, *password;
	char address[LEASH_ADDR_MAX + 1];
	struct notify_fds fds;
	const struct rlog_ops *ops;
	struct event_base *base;
	struct event *ev_term, *ev_int, *ev_hup, *ev_watchdog, *ev_status, *ev_drain;
	struct net *net;
	struct node *node;
	struct hook *hook;
	int exit_status;
	bool stopping, ended;
	uint64_t drain_until_ns, watchdog_ns;
	uint64_t log_moves, log_moved_ns; /* the log thread's progress, as last seen */
	char status[NOTIFY_STATUS_MAX];
};

static void end(struct noded *d, int exit_status)
{
	d->exit_status = exit_status;
	d->ended = true;
	if (d->base)
		(void)event_base_loopbreak(d->base); /* cannot fail for a base that exists */
}

/* ----------------------------------------------------------------------------------------------------- configuration */

static void print_errors(const struct conf_errors *errors)
{
	for (size_t i = 0; i < errors->n; i++)
		diag(LOG_ERR, "%s", errors->text[i]);
	if (errors->more)
		diag(LOG_ERR, "... and %zu more errors", errors->more);
}

static int print_help(void)
{
	struct buf text = BUF_NULL;
	int r = conf_help(&settings_desc, &text);

	if (r == 0)
		(void)fwrite(buf_head(&text), 1, buf_len(&text), stdout);
	buf_deinit(&text);
	return r ? 1 : 0;
}

/* -1: go on; else the exit status. */
static int configure(struct noded *d, int argc, char **argv)
{
	static struct conf_errors errors;
	struct conf_result result;
	int r = conf_load(&settings_desc, argc, argv, &d->settings, &result, &errors);

	if (r) {
		print_errors(&errors);
		return r == CONF_E_INVALID ? EX_CONFIG : 1;
	}
	if (result.action == CONF_HELP)
		return print_help();
	if (result.action == CONF_VERSION) {
		(void)printf("leash-noded %s\n", PACKAGE_VERSION);
		return 0;
	}
	if (result.n_operands != 1 || !name_valid(result.operands[0])) {
		diag(LOG_ERR, result.n_operands ? "\"%s\" is no name for a node: 1 to 63 of A-Z a-z 0-9 . _ -" :
						  "Which node? Usage: leash-noded NAME [OPTION]... (see --help)%.0s",
			result.n_operands ? result.operands[0] : "");
		return EX_CONFIG;
	}
	d->name = result.operands[0];
	d->config = result.file;
	if (result.action == CONF_CHECK) {
		(void)printf("leash-noded: the configuration of %s is valid\n", d->name);
		return 0;
	}
	return -1;
}

static char *join(const char *dir, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

/* Makes @path and the directories above it. 0, or a negative errno. */
static int make_dirs(const char *path, mode_t mode)
{
	_cleanup_(freep) char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(copy, 0755) < 0 && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	return mkdir(copy, mode) < 0 && errno != EEXIST ? -errno : 0;
}

static int make_paths(struct noded *d)
{
	const struct settings *s = &d->settings;
	int r;

	d->data_dir = s->data_dir ? strdup(s->data_dir) : join("/var/lib/leash", d->name);
	d->runtime_dir = settings_runtime_dir(s, d->name);
	d->lease_file = d->runtime_dir ? join(d->runtime_dir, "lease") : NULL;
	d->control_path = d->runtime_dir ? join(d->runtime_dir, "control.sock") : NULL;
	if (!d->data_dir || !d->lease_file || !d->control_path)
		return 1;
	r = make_dirs(d->runtime_dir, 0750);
	if (r) {
		diag(LOG_ERR, "cannot make the directory \"%s\" for the control socket: %s; see runtime_dir",
			d->runtime_dir, strerror(-r));
		return 1;
	}
	r = make_dirs(d->data_dir, 0700);
	if (r || access(d->data_dir, R_OK | W_OK | X_OK) < 0) {
		diag(LOG_ERR, "cannot use the data directory \"%s\": %s; it must belong to the user of this service",
			d->data_dir, strerror(r ? -r : errno));
		return 1;
	}
	return 0;
}

static int read_password(struct noded *d)
{
	int r = settings_password(&d->settings, &d->password);

	if (r == 0)
		return 0;
	diag(LOG_ERR, "cannot read etcd_password_file \"%s\": %s", d->settings.etcd_password_file, strerror(-r));
	return EX_CONFIG;
}

/* ----------------------------------------------------------------------------------------------------------- status */

static const char *hook_role(enum rep_role role)
{
	switch (role) {
	case REP_ROLE_PRIMARY: return "primary";
	case REP_ROLE_HALTED: return "halted";
	case REP_ROLE_SECONDARY:
	case REP_ROLE_CANDIDATE:
	case REP_ROLE_WINNER: break;
	}
	return "secondary";
}

static void members_text(const struct rep_insync *set, char *text, size_t size)
{
	size_t n = 0;

	text[0] = '\0';
	for (uint32_t i = 0; i < set->n_members && n < size; i++)
		n += (size_t)snprintf(text + n, size - n, "%s%s", i ? ", " : "", set->members[i].node);
}

static void tell_status(struct noded *d)
{
	char members[REP_NODES_MAX * 16], text[NOTIFY_STATUS_MAX];
	struct rep_status s;

	node_rep_status(d->node, &s);
	members_text(&s.members, members, sizeof members);
	(void)snprintf(text, sizeof text, "%s, epoch %llu%s%s, in sync: %s, committed %llu%s%s",
		rep_role_name(s.role), (unsigned long long)s.epoch,
		s.role == REP_ROLE_PRIMARY || !s.primary[0] ? "" : ", primary ",
		s.role == REP_ROLE_PRIMARY ? "" : s.primary, members[0] ? members : "nobody yet",
		(unsigned long long)s.commit, s.below_min ? ", too few members: nothing commits" : "",
		s.state_gone ? ", state in etcd is gone" : "");
	if (strcmp(text, d->status) == 0)
		return;
	memcpy(d->status, text, sizeof text);
	notify_status("%s", text);
}

static void on_changed(void *ctx)
{
	struct noded *d = ctx;
	struct rep_status s;

	if (!d->node)
		return;
	node_rep_status(d->node, &s);
	tell_status(d);
	hook_tell(d->hook, hook_role(s.role), s.epoch);
}

static void on_status_timer(evutil_socket_t fd _unused_, short what _unused_, void *ctx)
{
	tell_status(ctx);
}

/*
 * The loop turns, or this would not be called; the log thread must, too, whatever it is that keeps it. A disk that hangs is
 * left to the hand-over first (R11a): hence disk_timeout.
 */
static void on_watchdog(evutil_socket_t fd _unused_, short what _unused_, void *ctx)
{
	struct noded *d = ctx;
	uint64_t moves = node_log_moves(d->node), now_ns = clk_boot_ns();

	if (moves != d->log_moves || d->log_moved_ns == 0)
		d->log_moved_ns = now_ns;
	d->log_moves = moves;
	if (now_ns - d->log_moved_ns < 2 * d->watchdog_ns + d->settings.disk_timeout_ms * NS_PER_MS)
		notify_watchdog_ping();
}

/* ----------------------------------------------------------------------------------------------------------- reload */

static int say(struct buf *out, const char *key, bool reload)
{
	return buf_printf(out, "%s%s%s", buf_len(out) ? ", " : "", key, reload ? "" : " (at the next start)");
}

/* Takes over what can change while running. */
static void apply(struct noded *d, struct settings *fresh)
{
	struct settings *s = &d->settings;
	char *command = s->on_role_change;

	s->retention_bytes = fresh->retention_bytes;
	s->retention_time_ms = fresh->retention_time_ms;
	s->scrub_rate = fresh->scrub_rate;
	s->on_role_change = fresh->on_role_change;
	fresh->on_role_change = command;
	s->log.level = fresh->log.level;
	node_set_retention(d->node, s->retention_bytes, s->retention_time_ms * NS_PER_MS);
	node_set_scrub_rate(d->node, s->scrub_rate);
	diag_set_level(s->log.level);
	if (hook_set(d->hook, s->on_role_change))
		diag(LOG_WARNING, "no memory for the new on_role_change; the old one stays");
}

static bool on_reload(void *ctx, struct buf *ret_text)
{
	static struct conf_errors errors;
	struct noded *d = ctx;
	struct settings fresh;
	struct conf_result result;
	struct conf_change changes[CONF_KEYS_MAX];
	struct buf what = BUF_NULL;
	size_t n;
	int r = conf_load(&settings_desc, d->argc, d->argv, &fresh, &result, &errors);

	if (r) {
		print_errors(&errors);
		(void)!buf_printf(ret_text, "ERR %s",
			errors.n ? errors.text[0] : strerror(ENOMEM)); /* told above, too */
		return false;
	}
	n = MIN2(conf_diff(&settings_desc, &d->settings, &fresh, changes, ARRAY_SIZE(changes)), ARRAY_SIZE(changes));
	for (size_t i = 0; i < n && r == 0; i++)
		r = say(&what, changes[i].key, changes[i].reload);
	apply(d, &fresh);
	conf_free(&settings_desc, &fresh);
	(void)!buf_printf(ret_text, n ? "changed: %.*s" : "nothing has changed", (int)buf_len(&what),
		buf_len(&what) ? (char *)buf_head(&what) : ""); /* told below, too */
	diag(LOG_INFO, "configuration read again: %.*s", (int)buf_len(ret_text), (char *)buf_head(ret_text));
	buf_deinit(&what);
	return true;
}

static void on_hup(evutil_socket_t fd _unused_, short what _unused_, void *ctx)
{
	struct buf text = BUF_NULL;

	notify_reloading();
	(void)on_reload(ctx, &text); /* it has said what is wrong */
	buf_deinit(&text);
	notify_ready();
}

/* ------------------------------------------------------------------------------------------------------------- stop */

static void on_signal(evutil_socket_t sig, short what _unused_, void *ctx)
{
	struct noded *d = ctx;

	if (d->stopping) {
		diag(LOG_WARNING, "second signal %d: ending at once, without a hand-over", (int)sig);
		end(d, 0);
		return;
	}
	d->stopping = true;
	notify_stopping();
	notify_extend_timeout((STOP_NS + DRAIN_NS) / NS_PER_US);
	net_close_listeners(d->net);
	node_stop(d->node, clk_boot_ns() + STOP_NS);
}

/* Answers leave; new commands are not started. */
static void on_drain(evutil_socket_t fd _unused_, short what _unused_, void *ctx)
{
	struct noded *d = ctx;
	struct timeval soon = { .tv_usec = 10000 };

	if (net_drained(d->net) || clk_boot_ns() >= d->drain_until_ns)
		end(d, 0);
	else
		(void)event_add(d->ev_drain, &soon);
}

static void on_stopped(void *ctx)
{
	struct noded *d = ctx;

	d->drain_until_ns = clk_boot_ns() + DRAIN_NS;
	net_drain(d->net);
	event_active(d->ev_drain, 0, 0);
}

static void on_fatal(void *ctx, int exit_status)
{
	end(ctx, exit_status);
}

/* ------------------------------------------------------------------------------------------------------------ start */

static int make_events(struct noded *d)
{
	struct event_config *config = event_config_new();
	struct timeval every = { .tv_sec = STATUS_EVERY_S };

	if (!config)
		return -ENOMEM;
	(void)event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER); /* else timers are a little late */
	d->base = event_base_new_with_config(config);
	event_config_free(config);
	if (!d->base)
		return -ENOMEM;
	d->ev_term = evsignal_new(d->base, SIGTERM, on_signal, d);
	d->ev_int = evsignal_new(d->base, SIGINT, on_signal, d);
	d->ev_hup = evsignal_new(d->base, SIGHUP, on_hup, d);
	d->ev_drain = event_new(d->base, -1, 0, on_drain, d);
	d->ev_watchdog = event_new(d->base, -1, EV_PERSIST, on_watchdog, d);
	d->ev_status = event_new(d->base, -1, EV_PERSIST, on_status_timer, d);
	if (!d->ev_term || !d->ev_int || !d->ev_hup || !d->ev_drain || !d->ev_watchdog || !d->ev_status)
		return -ENOMEM;
	if (event_add(d->ev_term, NULL) || event_add(d->ev_int, NULL) || event_add(d->ev_hup, NULL) ||
		event_add(d->ev_status, &every))
		return -ENOMEM;
	return hook_new(d->base, d->settings.engine, &d->hook);
}

static int make_net(struct noded *d)
{
	const struct settings *s = &d->settings;
	struct net_conf conf = {
		.engine = s->engine,
		.node = d->name,
		.release = PACKAGE_VERSION,
		.clients_max = (uint32_t)s->max_clients,
		.in_flight_max = IN_FLIGHT_MAX,
		.in_flight_bytes_max = IN_FLIGHT_BYTES,
		.record_bytes_max = (uint32_t)s->max_record_bytes,
		.hold_timeout_ns = s->hold_timeout_ms * NS_PER_MS,
		.peer_timeout_ns = MAX2(s->failure_timeout_ms, (uint64_t)500) * NS_PER_MS,
	};
	struct net_ops ops = { .ctx = d, .reload = on_reload, .changed = on_changed, .fatal = on_fatal,
		.stopped = on_stopped };

	return net_new(&conf, &ops, d->base, &d->net);
}

static bool same_address(const struct units_addr *a, const char *text)
{
	char mine[LEASH_ADDR_MAX + 16];

	return strcmp(units_addr_format(a, mine), text) == 0 || strcmp(mine, "127.0.0.1:8081") == 0;
}

/* The listening address: inherited, or our own. */
static int make_listener(struct noded *d)
{
	char reason[256];
	int fd, r = notify_fds_take(&d->fds, "listen", NOTIFY_LISTEN_INET, &fd);

	if (r == NOTIFY_E_NONE) {
		r = net_bind(d->net, &d->settings.listen, d->address, reason);
		if (r)
			diag(LOG_ERR, "%s", reason);
		return r ? 1 : 0;
	}
	if (r || net_adopt(d->net, fd, d->address)) {
		diag(LOG_ERR, "the inherited socket \"listen\" is no listening TCP socket");
		return EX_CONFIG;
	}
	if (!same_address(&d->settings.listen, d->address)) {
		diag(LOG_ERR, "listen is not the address of the inherited socket, %s; leave one of them out",
			d->address);
		return EX_CONFIG;
	}
	return 0;
}

static int make_control(struct noded *d)
{
	char reason[256];
	int fd, r = notify_fds_take(&d->fds, "control", NOTIFY_LISTEN_UNIX, &fd);

	if (r == 0) {
		net_adopt_control(d->net, fd);
		return 0;
	}
	r = net_bind_control(d->net, d->control_path, reason);
	if (r)
		diag(LOG_ERR, "%s", reason);
	return r ? 1 : 0;
}

static void fill_node_conf(const struct noded *d, struct node_conf *c)
{
	const struct settings *s = &d->settings;
	uint64_t ids_max = s->dedup_bytes ? s->dedup_bytes / SETTINGS_ID_BYTES : s->dedup_window;

	*c = (struct node_conf){
		.engine = s->engine,
		.node = d->name,
		.address = d->address,
		.release = PACKAGE_VERSION,
		.priority = (int32_t)s->priority,
		.n_founders = (uint32_t)s->founders.n,
		.founders = (const char *const *)s->founders.items,
		.min_insync = (uint32_t)s->min_insync,
		.dedup_window = s->dedup_window,
		.dedup_time_ns = s->dedup_time_ms * NS_PER_MS,
		.dedup_records_max = MAX2(ids_max, s->dedup_window),
		.topology = (enum rep_topology)s->topology,
		.failure_timeout_ns = s->failure_timeout_ms * NS_PER_MS,
		.heartbeat_ns = MIN2(s->failure_timeout_ms / 4, (uint64_t)HEARTBEAT_MAX_MS) * NS_PER_MS,
		.dir = d->data_dir,
		.segment_bytes = s->segment_bytes,
		.reserve_bytes = RESERVE_BYTES,
		.retention_bytes = s->retention_bytes,
		.retention_time_ns = s->retention_time_ms * NS_PER_MS,
		.scrub_rate = s->scrub_rate,
		.record_bytes_max = (uint32_t)s->max_record_bytes,
		.disk_budget_ns = s->disk_timeout_ms * NS_PER_MS,
		.cache_bytes = s->cache_bytes,
		.uncommitted_bytes = s->uncommitted_bytes,
		.batch_bytes = BATCH_BYTES,
		.uncommitted_max = UNCOMMITTED_MAX,
		.lease_ttl_s = (uint32_t)(s->lease_ttl_ms / 1000),
		.lease_file = d->lease_file,
	};
	c->etcd = (struct etcd_conf){
		.endpoints = (const char *const *)s->etcd_endpoints.items,
		.n_endpoints = s->etcd_endpoints.n,
		.cacert = s->etcd_cacert,
		.cert = s->etcd_cert,
		.key = s->etcd_key,
		.user = s->etcd_user,
		.password = d->password,
	};
}

static int make_node(struct noded *d)
{
	struct node_conf conf;
	struct node_net callbacks;
	char reason[256] = "";
	int r;

	fill_node_conf(d, &conf);
	conf.ops = d->ops;
	net_callbacks(d->net, &callbacks);
	r = node_new(&conf, d->base, &callbacks, &d->node, reason);
	if (r) {
		diag(LOG_ERR, "cannot start: %s", reason[0] ? reason : strerror(r < 0 ? -r : EIO));
		return node_exit_status(r);
	}
	net_attach(d->net, d->node);
	return 0;
}

/* What others are told: `advertise`, or where we listen. */
static void choose_address(struct noded *d)
{
	char text[LEASH_ADDR_MAX + 16];

	if (d->settings.advertise.port)
		(void)snprintf(d->address, sizeof d->address, "%s", units_addr_format(&d->settings.advertise, text));
}

static int start(struct noded *d)
{
	struct timeval tv;
	char bound[LEASH_ADDR_MAX + 1];
	struct rep_status s;
	int r = make_events(d);

	if (r == 0)
		r = make_net(d);
	if (r == 0)
		r = hook_set(d->hook, d->settings.on_role_change);
	if (r) {
		diag(LOG_ERR, "cannot start: %s", strerror(-r));
		return 1;
	}
	r = make_listener(d);
	if (r == 0)
		r = make_control(d);
	if (r)
		return r;
	memcpy(bound, d->address, sizeof bound);
	choose_address(d);
	d->ops = progress_begin();
	notify_status("opening the log in %s", d->data_dir);
	r = make_node(d);
	if (r)
		return r;
	r = net_listen(d->net);
	if (r == 0)
		r = node_start(d->node);
	if (r) {
		diag(LOG_ERR, "cannot listen on %s: %s", bound, strerror(-r));
		return 1;
	}
	node_rep_status(d->node, &s);
	diag_started(d->name, d->settings.engine, bound, s.log_start, s.log_end);
	if (notify_watchdog(&d->watchdog_ns)) {
		progress_started(d->watchdog_ns);
		tv = (struct timeval){ .tv_sec = (time_t)(d->watchdog_ns / NS_PER_S),
			.tv_usec = (suseconds_t)(d->watchdog_ns % NS_PER_S / NS_PER_US) };
		(void)event_add(d->ev_watchdog, &tv);
	} else {
		progress_started(0);
	}
	notify_ready();
	return 0;
}

/* ------------------------------------------------------------------------------------------------------------- life */

static void free_events(struct noded *d)
{
	struct event *events[] = { d->ev_term, d->ev_int, d->ev_hup, d->ev_drain, d->ev_watchdog, d->ev_status };

	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		if (events[i])
			event_free(events[i]);
	if (d->base)
		event_base_free(d->base);
}

static void deinit(struct noded *d)
{
	net_free(d->net);
	node_free(d->node);
	hook_free(d->hook);
	free_events(d);
	libevent_global_shutdown();
	notify_fds_deinit(&d->fds);
	free(d->data_dir);
	free(d->runtime_dir);
	free(d->lease_file);
	free(d->control_path);
	free(d->password);
	conf_free(&settings_desc, &d->settings);
}

/* As many files as allowed: each client is one. */
static void raise_limits(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
		rl.rlim_cur = rl.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &rl); /* then fewer clients find room, and are told so */
	}
}

static int run(struct noded *d)
{
	int r = notify_fds_init(&d->fds);

	if (r) {
		diag(LOG_ERR, "cannot take the inherited sockets: %s", strerror(-r));
		return 1;
	}
	r = make_paths(d);
	if (r == 0)
		r = read_password(d);
	if (r == 0)
		r = start(d);
	if (r)
		return r;
	if (!d->ended)
		(void)event_base_dispatch(d->base);
	return d->ended ? d->exit_status : 1;
}

int noded_main(int argc, char **argv)
{
	struct noded d = { .argc = argc, .argv = argv, .fds = NOTIFY_FDS_NULL };
	int r;

	diag_init("leash-noded", DIAG_TARGET_AUTO, LOG_INFO);
	r = configure(&d, argc, argv);
	if (r >= 0) {
		conf_free(&settings_desc, &d.settings);
		return r;
	}
	diag_init("leash-noded", (enum diag_target)d.settings.log.target, d.settings.log.level);
	diag_set_common("LEASH_ENGINE", d.settings.engine);
	diag_set_common("LEASH_NODE", d.name);
	(void)signal(SIGPIPE, SIG_IGN); /* cannot fail: a valid signal */
	raise_limits();
	r = run(&d);
	deinit(&d);
	return r;
}
