#include "gateway/gateway.h"

#include <errno.h>
#include <event2/event.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>

#include "base/clk.h"
#include "base/diag.h"
#include "base/ids.h"
#include "base/notify.h"
#include "gateway/control.h"
#include "gateway/diag_gateway.h"
#include "gateway/handover.h"

#define TICK_MS       250 /* STATUS, watchdog */
#define DRAIN_TICK_MS 10
#define STORE_MS      10000 /* to write everything down and hand it to the service manager */
#define PASSWORD_MAX  1024
#define CHANGES_MAX   64

struct gateway {
	struct settings settings;
	gateway_reload_fn reload;
	void *reload_ctx;
	struct event_base *base;
	struct book *book;
	struct control *control;
	struct crew crew;
	struct event *ev_term, *ev_int, *ev_hup, *tick;
	bool stopping;
	uint64_t stop_began_ns;
	char status[NOTIFY_STATUS_MAX];

	bool watchdog;
	uint64_t watchdog_ns, pinged_ns;
	struct {
		uint64_t turns, moved_ns;
	} seen[WORKERS_MAX];
};

/* ---------------------------------------------------------------------------------------------------------- engines */

static void wake_all(void *ctx)
{
	struct crew *crew = ctx;

	for (uint32_t i = 0; i < crew->n_workers; i++)
		worker_wake(crew->workers[i]);
}

static int set_engines(struct gateway *g, const struct conf_list *engines)
{
	int r = book_set_engines(g->book, (const char *const *)engines->items, engines->n);

	return r < 0 ? r : control_watch(g->control);
}

/* --------------------------------------------------------------------------------------------------- status, watchdog */

static void tell_status(struct gateway *g)
{
	struct book_slot *slots[BOOK_ENGINES_MAX];
	size_t n = book_slots(g->book, slots, ARRAY_SIZE(slots)), served = 0;
	char text[NOTIFY_STATUS_MAX];

	for (size_t i = 0; i < n; i++) {
		served += book_is_attached(slots[i]);
		book_slot_unref(slots[i]);
	}
	(void)snprintf(text, sizeof text, "%zu of %zu engines have a primary; %u clients; etcd %s", served, n,
		atomic_load(&g->crew.n_clients),
		control_connected(g->control) ? "connected" : "does not answer");
	if (strcmp(text, g->status) == 0)
		return;
	memcpy(g->status, text, sizeof g->status);
	notify_status("%s", text);
}

/* Pings only while every worker's loop moves, or is done; this thread's own does, since it is here. */
static void feed_watchdog(struct gateway *g, uint64_t now_ns)
{
	uint64_t patience_ns = MAX2(g->watchdog_ns, 2 * WORKER_BEAT_MS * NS_PER_MS);
	bool all = true;

	for (uint32_t i = 0; i < g->crew.n_workers; i++) {
		uint64_t turns = worker_turns(g->crew.workers[i]);

		if (turns != g->seen[i].turns || g->seen[i].moved_ns == 0 || worker_done(g->crew.workers[i]))
			g->seen[i].moved_ns = now_ns;
		g->seen[i].turns = turns;
		all &= now_ns - g->seen[i].moved_ns <= patience_ns;
	}
	if (!all || now_ns - g->pinged_ns < g->watchdog_ns / 2)
		return;
	notify_watchdog_ping();
	g->pinged_ns = now_ns;
}

static bool all_done(const struct gateway *g)
{
	for (uint32_t i = 0; i < g->crew.n_workers; i++)
		if (!worker_done(g->crew.workers[i]))
			return false;
	return true;
}

static void on_tick(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
	struct gateway *g = arg;

	if (g->watchdog)
		feed_watchdog(g, clk_boot_ns());
	if (g->stopping && all_done(g)) {
		event_base_loopbreak(g->base);
		return;
	}
	atomic_store(&g->crew.etcd_connected, control_connected(g->control));
	if (!g->stopping)
		tell_status(g);
}

/* ---------------------------------------------------------------------------------------------------------- signals */

static void stop_workers(struct gateway *g, uint64_t deadline_ns)
{
	for (uint32_t i = 0; i < g->crew.n_workers; i++)
		worker_stop(g->crew.workers[i], deadline_ns);
}

static void on_stop(evutil_socket_t sig _unused_, short what _unused_, void *arg)
{
	struct gateway *g = arg;
	uint64_t now_ns = clk_boot_ns(), drain_ms = GATEWAY_DRAIN_MS;

	if (g->stopping) {
		stop_workers(g, now_ns); /* whatever is under way */
		return;
	}
	g->stopping = true;
	g->stop_began_ns = now_ns;
	g->crew.keeps = notify_offered();
	if (g->crew.keeps)
		drain_ms = MIN2(g->settings.hold_timeout_ms, (uint64_t)GATEWAY_KEEP_DRAIN_MS);
	notify_stopping();
	notify_status("stopping: finishing what is in flight");
	notify_extend_timeout((drain_ms + STORE_MS) * UINT64_C(1000));
	stop_workers(g, now_ns + drain_ms * NS_PER_MS);
	evtimer_del(g->tick);
	event_add(g->tick, &(struct timeval){ .tv_usec = DRAIN_TICK_MS * 1000 });
}

static void say_changes(const struct settings *before, const struct settings *after)
{
	struct conf_change changes[CHANGES_MAX];
	size_t n = conf_diff(&settings_desc, before, after, changes, ARRAY_SIZE(changes));

	for (size_t i = 0; i < MIN2(n, ARRAY_SIZE(changes)); i++)
		if (changes[i].reload)
			diag(LOG_INFO, "'%s' has a new value", changes[i].key);
		else
			diag(LOG_WARNING,
				"'%s' has a new value, which needs a restart; going on with the old one",
				changes[i].key);
}

/* What a reload can change moves into the settings in use; the rest stays as it was. */
static void apply(struct gateway *g, struct settings *fresh)
{
	struct conf_list engines = g->settings.engines;
	int r;

	diag_set_level(fresh->log.level);
	g->settings.log.level = fresh->log.level;
	g->settings.hold_timeout_ms = fresh->hold_timeout_ms;
	atomic_store(&g->crew.hold_timeout_ns, fresh->hold_timeout_ms * NS_PER_MS);
	r = set_engines(g, &fresh->engines);
	if (r < 0) {
		diag(LOG_ERR, "engines stay as they were: %s", strerror(-r));
		return;
	}
	g->settings.engines = fresh->engines;
	fresh->engines = engines;
	wake_all(&g->crew);
}

static void on_hup(evutil_socket_t sig _unused_, short what _unused_, void *arg)
{
	struct gateway *g = arg;
	struct conf_errors *errors = calloc(1, sizeof *errors);
	struct settings fresh;
	int r;

	notify_reloading();
	r = errors ? g->reload(g->reload_ctx, &fresh, errors) : -ENOMEM;
	for (size_t i = 0; r == CONF_E_INVALID && i < errors->n; i++)
		diag(LOG_ERR, "%s", errors->text[i]);
	if (r != 0) {
		diag(LOG_ERR, "reload failed; going on with the settings as they were%s%s", r < 0 ? ": " : "",
			r < 0 ? strerror(-r) : "");
	} else {
		say_changes(&g->settings, &fresh);
		apply(g, &fresh);
		conf_free(&settings_desc, &fresh);
	}
	free(errors);
	notify_ready();
}

/* ------------------------------------------------------------------------------------------------------------- start */

/* One line, without its end. */
static int read_password(const char *path, char to[PASSWORD_MAX])
{
	FILE *f = fopen(path, "re");
	int r = 0;

	if (!f)
		return -errno;
	if (!fgets(to, PASSWORD_MAX, f))
		r = ferror(f) ? -EIO : -ENODATA;
	else
		to[strcspn(to, "\r\n")] = '\0';
	(void)fclose(f);
	return r;
}

static int start_control(struct gateway *g)
{
	const struct settings *s = &g->settings;
	char password[PASSWORD_MAX] = "";
	struct etcd_conf conf = {
		.endpoints = (const char *const *)s->etcd_endpoints.items,
		.n_endpoints = s->etcd_endpoints.n,
		.cacert = s->etcd_cacert,
		.cert = s->etcd_cert,
		.key = s->etcd_key,
		.user = s->etcd_user,
		.password = s->etcd_user ? password : NULL,
	};
	int r = s->etcd_user ? read_password(s->etcd_password_file, password) : 0;

	if (r == 0)
		r = control_new(g->base, &conf, g->book, &g->control);
	explicit_bzero(password, sizeof password);
	return r;
}

static uint32_t count_workers(const struct settings *s)
{
	cpu_set_t cpus;

	if (s->workers)
		return (uint32_t)MIN2(s->workers, (uint64_t)WORKERS_MAX);
	if (sched_getaffinity(0, sizeof cpus, &cpus) < 0)
		return 1;
	return (uint32_t)MIN2(CPU_COUNT(&cpus), WORKERS_MAX);
}

static int make_workers(struct gateway *g, int listen_fd)
{
	const struct settings *s = &g->settings;
	uint32_t n = count_workers(s);

	g->crew.book = g->book;
	g->crew.listen_fd = listen_fd;
	g->crew.run = id_random();
	g->crew.inflight_max = s->inflight_max;
	g->crew.inflight_bytes = s->inflight_bytes;
	g->crew.record_bytes_max = (uint32_t)s->max_record_bytes;
	g->crew.clients_max = (uint32_t)s->max_clients;
	atomic_store(&g->crew.hold_timeout_ns, s->hold_timeout_ms * NS_PER_MS);
	for (uint32_t i = 0; i < n; i++) {
		int r = worker_new(&g->crew, &g->crew.workers[i]);

		if (r < 0)
			return r;
		g->crew.n_workers++;
	}
	return 0;
}

static int make_events(struct gateway *g)
{
	struct timeval tv = { .tv_usec = TICK_MS * 1000 };

	g->ev_term = evsignal_new(g->base, SIGTERM, on_stop, g);
	g->ev_int = evsignal_new(g->base, SIGINT, on_stop, g);
	g->ev_hup = evsignal_new(g->base, SIGHUP, on_hup, g);
	g->tick = event_new(g->base, -1, EV_PERSIST, on_tick, g);
	if (!g->ev_term || !g->ev_int || !g->ev_hup || !g->tick)
		return -ENOMEM;
	if (event_add(g->ev_term, NULL) < 0 || event_add(g->ev_int, NULL) < 0 ||
		event_add(g->ev_hup, NULL) < 0 || event_add(g->tick, &tv) < 0)
		return -ENOMEM;
	g->watchdog = notify_watchdog(&g->watchdog_ns);
	return 0;
}

static int make(struct gateway *g, int listen_fd, const char **ret_why)
{
	int r;

	*ret_why = "event loop";
	g->base = event_base_new();
	if (!g->base)
		return -ENOMEM;
	r = book_new(wake_all, &g->crew, &g->book);
	if (r < 0)
		return r;
	*ret_why = g->settings.etcd_user ? "etcd client, or etcd_password_file" : "etcd client";
	r = start_control(g);
	if (r < 0)
		return r;
	r = set_engines(g, &g->settings.engines);
	if (r < 0)
		return r;
	*ret_why = "workers";
	r = make_workers(g, listen_fd);
	if (r < 0)
		return r;
	*ret_why = "signals";
	return make_events(g);
}

static void event_freep(struct event **ev)
{
	if (*ev)
		event_free(*ev);
	*ev = NULL;
}

/* The settings stay the caller's when there is an error. */
static void unmake(struct gateway *g)
{
	for (uint32_t i = 0; i < g->crew.n_workers; i++)
		worker_free(g->crew.workers[i]);
	g->crew.n_workers = 0;
	control_free(g->control);
	event_freep(&g->ev_term);
	event_freep(&g->ev_int);
	event_freep(&g->ev_hup);
	event_freep(&g->tick);
	if (g->base)
		event_base_free(g->base);
	book_free(g->book);
	book_thread_leave();
	free(g);
}

int gateway_new(struct settings *settings, int listen_fd, gateway_reload_fn reload, void *ctx,
	struct gateway **ret_gateway, const char **ret_why)
{
	struct gateway *g = calloc(1, sizeof *g);
	int r;

	*ret_why = "memory";
	if (!g)
		return -ENOMEM;
	book_thread_join();
	g->settings = *settings;
	g->reload = reload;
	g->reload_ctx = ctx;
	r = make(g, listen_fd, ret_why);
	if (r < 0) {
		unmake(g);
		return r;
	}
	memset(settings, 0, sizeof *settings);
	*ret_gateway = g;
	return 0;
}

void gateway_free(struct gateway *g)
{
	if (!g)
		return;
	conf_free(&settings_desc, &g->settings);
	unmake(g);
}

int gateway_adopt(struct gateway *g, struct notify_fds *fds)
{
	return handover_take(&g->crew, fds);
}

int gateway_run(struct gateway *g)
{
	uint32_t cut_off = 0;

	for (uint32_t i = 0; i < g->crew.n_workers; i++) {
		int r = worker_start(g->crew.workers[i]);

		if (r < 0) {
			for (uint32_t k = 0; k < i; k++)
				worker_stop(g->crew.workers[k], 1);
			return r;
		}
	}
	notify_ready();
	if (event_base_dispatch(g->base) < 0)
		return -EIO;
	for (uint32_t i = 0; i < g->crew.n_workers; i++)
		cut_off += worker_cut_off(g->crew.workers[i]);
	diag_drained((clk_boot_ns() - g->stop_began_ns) / NS_PER_MS, cut_off);
	if (g->watchdog)
		notify_watchdog_ping(); /* what follows waits for the manager */
	if (g->crew.keeps)
		handover_store(&g->crew);
	return 0;
}
