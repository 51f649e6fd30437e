#include "gateway/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <utlist.h>

#include "base/clk.h"
#include "gateway/worker_int.h"

#define ROUNDS_PER_TURN 8
#define ACCEPT_PAUSE_NS (100 * NS_PER_MS) /* after running out of descriptors */
#define STOP_LOOK_NS    (5 * NS_PER_MS)   /* while stopping: is all done? */

/* ----------------------------------------------------------------------------------------- the front end's backend */

static struct upstream *up_of(const struct front_op *op)
{
	return front_engine_backend(op->engine);
}

static void do_append(void *ctx, struct front_op *op, const struct rec_body *b, const struct bytes *pairs, uint32_t n_pairs)
{
	const struct worker *w = ctx;

	upstream_append(up_of(op), op, b, pairs, n_pairs, w->now_ns);
}

static bool do_room(void *ctx _unused_, struct front_engine *e)
{
	return upstream_room(front_engine_backend(e));
}

static void do_read(void *ctx _unused_, struct front_op *op, const struct front_read *r)
{
	upstream_read(up_of(op), op, r, clk_boot_ns());
}

static void do_stream(void *ctx _unused_, struct front_op *op)
{
	upstream_stream(up_of(op), op, clk_boot_ns());
}

static void do_cancel(void *ctx _unused_, struct front_op *op)
{
	upstream_cancel(up_of(op), op);
}

static void do_wake(void *ctx _unused_, void *user)
{
	conn_wake(user);
}

static const struct front_ops front_ops = {
	.append = do_append,
	.room = do_room,
	.read = do_read,
	.stream = do_stream,
	.cancel = do_cancel,
	.info = report_info,
	.role = report_role,
	.wake = do_wake,
};

/* --------------------------------------------------------------------------------------------------------- engines */

static void up_remove(struct worker *w, size_t i)
{
	struct upstream *u = w->ups[i];
	const char *name = book_slot_name(upstream_slot(u));
	struct front_engine *e =
		front_engine_find(w->front, (struct bytes){ (const uint8_t *)name, strlen(name) });

	upstream_give_up(u);
	if (e)
		front_engine_remove(e);
	upstream_free(u, clk_boot_ns());
	memmove(&w->ups[i], &w->ups[i + 1], (w->n_ups - i - 1) * sizeof w->ups[0]);
	w->n_ups--;
}

static int up_add(struct worker *w, struct book_slot *s)
{
	struct upstream_conf conf = {
		.pipe = {
			.messages_max = (uint32_t)w->crew->inflight_max,
			.bytes_max = w->crew->inflight_bytes,
			.hold_timeout_ns = w->hold_timeout_ns,
		},
		.env = &w->env,
	};
	struct front_engine *e;
	struct upstream *u;
	int r;

	r = upstream_new(&conf, s, &u);
	if (r < 0)
		return r;
	r = front_engine_add(w->front, book_slot_name(s), u, &e);
	if (r < 0) {
		upstream_free(u, clk_boot_ns());
		return r;
	}
	upstream_set_engine(u, e);
	w->ups[w->n_ups++] = u;
	return 0;
}

static bool among(struct book_slot *const *slots, size_t n, const struct book_slot *s)
{
	for (size_t i = 0; i < n; i++)
		if (slots[i] == s)
			return true;
	return false;
}

static bool has_up(const struct worker *w, const struct book_slot *s)
{
	for (size_t i = 0; i < w->n_ups; i++)
		if (upstream_slot(w->ups[i]) == s)
			return true;
	return false;
}

/* One upstream for each engine of the directory. -ENOMEM: tried again with the next turn. */
static int follow_directory(struct worker *w)
{
	struct book_slot *slots[BOOK_ENGINES_MAX];
	uint64_t generation = book_generation(w->crew->book);
	size_t n;
	int r = 0;

	if (generation == w->generation)
		return 0;
	n = book_slots(w->crew->book, slots, ARRAY_SIZE(slots));
	for (size_t i = w->n_ups; i > 0; i--)
		if (!among(slots, n, upstream_slot(w->ups[i - 1])))
			up_remove(w, i - 1);
	for (size_t i = 0; i < n && r == 0; i++)
		if (!has_up(w, slots[i]))
			r = up_add(w, slots[i]);
	for (size_t i = 0; i < n; i++)
		book_slot_unref(slots[i]);
	if (r == 0)
		w->generation = generation;
	return r;
}

static void follow_settings(struct worker *w)
{
	uint64_t hold_timeout_ns = atomic_load(&w->crew->hold_timeout_ns);

	if (hold_timeout_ns == w->hold_timeout_ns)
		return;
	w->hold_timeout_ns = hold_timeout_ns;
	for (size_t i = 0; i < w->n_ups; i++)
		upstream_set_hold_timeout(w->ups[i], hold_timeout_ns);
}

/* ------------------------------------------------------------------------------------------------------ new clients */

static bool mail_put(struct worker *w, int fd)
{
	bool fits;

	pthread_mutex_lock(&w->mail_lock);
	fits = w->n_mail < WORKER_MAIL_MAX && !atomic_load(&w->done);
	if (fits)
		w->mail[w->n_mail++] = fd;
	pthread_mutex_unlock(&w->mail_lock);
	return fits;
}

static void mail_take(struct worker *w)
{
	int fds[WORKER_MAIL_MAX];
	uint32_t n;

	pthread_mutex_lock(&w->mail_lock);
	n = w->n_mail;
	memcpy(fds, w->mail, n * sizeof fds[0]);
	w->n_mail = 0;
	pthread_mutex_unlock(&w->mail_lock);
	for (uint32_t i = 0; i < n; i++)
		(void)conn_new(w, fds[i]);
}

/* To the worker with the fewest, so that a burst that one of them accepts does not stay there. */
static void assign(struct worker *w, int fd)
{
	struct worker *to = w;

	for (uint32_t i = 0; i < w->crew->n_workers; i++)
		if (atomic_load(&w->crew->workers[i]->n_clients) < atomic_load(&to->n_clients))
			to = w->crew->workers[i];
	atomic_fetch_add(&w->crew->n_clients, 1);
	atomic_fetch_add(&to->n_clients, 1);
	if (to != w && mail_put(to, fd)) {
		worker_wake(to);
		return;
	}
	if (to != w) {
		atomic_fetch_sub(&to->n_clients, 1);
		atomic_fetch_add(&w->n_clients, 1);
	}
	(void)conn_new(w, fd);
}

static void refuse(int fd)
{
	static const char text[] = "-ERR max number of clients reached\r\n";

	(void)!send(fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT); /* closing says it, too */
	(void)close_fd(fd);
}

static void on_acceptable(evutil_socket_t ep _unused_, short what _unused_, void *arg)
{
	struct worker *w = arg;

	for (int i = 0; i < WORKER_ACCEPTS; i++) {
		int fd = accept4(w->crew->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0 && atomic_load(&w->crew->n_clients) >= w->crew->clients_max) {
			refuse(fd);
		} else if (fd >= 0) {
			assign(w, fd);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			event_del(w->ev_accept); /* they wait in the backlog */
			w->accepting = false;
			w->accept_after_ns = clk_boot_ns() + ACCEPT_PAUSE_NS;
			return;
		} else if (errno == EAGAIN) {
			return;
		}
	}
}

static void accept_again(struct worker *w, uint64_t now_ns)
{
	if (w->accepting || w->stopping || now_ns < w->accept_after_ns)
		return;
	event_add(w->ev_accept, NULL);
	w->accepting = true;
}

/* ------------------------------------------------------------------------------------------------------------ turns */

static void on_wake(evutil_socket_t fd, short what _unused_, void *arg _unused_)
{
	uint64_t n;

	(void)!read(fd, &n, sizeof n); /* it only wakes; what is new is looked for in any case */
}

static void on_timer(evutil_socket_t fd _unused_, short what _unused_, void *arg _unused_) {}

static void run_clients(struct worker *w, uint64_t now_ns)
{
	struct conn *c = TAKE(w->woken), *next;

	for (; c; c = next) {
		next = c->next_woken;
		c->woken = false;
		conn_turn(c, now_ns);
	}
}

static void pump(struct worker *w, uint64_t now_ns)
{
	for (size_t i = 0; i < w->n_ups; i++) {
		struct upstream *u = w->ups[i];

		if (upstream_wants_pump(u) || upstream_wakeup_ns(u) <= now_ns)
			upstream_pump(u, now_ns);
	}
}

static void arm(struct worker *w, uint64_t now_ns)
{
	uint64_t at_ns = MIN2(now_ns + WORKER_BEAT_MS * NS_PER_MS, front_wakeup_ns(w->front));
	struct timeval tv = { 0 };

	for (size_t i = 0; i < w->n_ups; i++)
		at_ns = MIN2(at_ns, upstream_wants_pump(w->ups[i]) ? now_ns : upstream_wakeup_ns(w->ups[i]));
	if (!w->accepting && !w->stopping)
		at_ns = MIN2(at_ns, w->accept_after_ns);
	if (w->stopping)
		at_ns = MIN2(at_ns, now_ns + STOP_LOOK_NS);
	if (w->woken)
		at_ns = now_ns;
	if (at_ns > now_ns) {
		uint64_t us = (at_ns - now_ns + NS_PER_US - 1) / NS_PER_US;

		tv = (struct timeval){ .tv_sec = (time_t)(us / 1000000),
			.tv_usec = (suseconds_t)(us % 1000000) };
	}
	evtimer_add(w->timer, &tv);
}

static void begin_stop(struct worker *w, uint64_t now_ns)
{
	struct conn *c;

	w->stopping = true;
	w->flush_until_ns = now_ns + WORKER_FLUSH_MS * NS_PER_MS;
	if (w->accepting)
		event_del(w->ev_accept);
	w->accepting = false;
	DL_FOREACH(w->clients, c)
	conn_wake(c);
}

/* True: the thread may end. At the deadline everything that waits is answered; what is written then goes out once. */
static bool stop_turn(struct worker *w, uint64_t now_ns)
{
	struct conn *c;

	if (!w->stopping)
		begin_stop(w, now_ns);
	if (w->gave_up || (w->crew->keeps ? keep_ready(w, now_ns) : !w->clients))
		return true;
	if (now_ns < atomic_load(&w->stop_ns))
		return false;
	DL_FOREACH(w->clients, c)
	w->cut_off += !w->crew->keeps || !front_client_quiet(c->fc);
	for (size_t i = 0; i < w->n_ups; i++)
		upstream_give_up(w->ups[i]);
	w->gave_up = true;
	return false;
}

static void look(struct worker *w)
{
	follow_settings(w);
	if (follow_directory(w) == 0 && w->adopted.n_clients) /* without memory: again with the next turn */
		keep_begin(w);
	for (size_t i = 0; i < w->n_ups; i++)
		upstream_look(w->ups[i]);
	mail_take(w);
}

/* True: the thread may end. */
static bool turn(struct worker *w)
{
	uint64_t now_ns = w->now_ns = clk_boot_ns();
	bool end = false;

	look(w);
	accept_again(w, now_ns);
	front_tick(w->front, now_ns);
	if (atomic_load(&w->stop_ns))
		end = stop_turn(w, now_ns);
	for (int i = 0; i < ROUNDS_PER_TURN; i++) {
		run_clients(w, now_ns);
		pump(w, now_ns);
		if (!w->woken)
			break;
	}
	arm(w, now_ns);
	atomic_fetch_add_explicit(&w->turns, 1, memory_order_relaxed);
	return end;
}

static void *run(void *arg)
{
	struct worker *w = arg;

	(void)pthread_setname_np(pthread_self(), "worker"); /* for those who look */
	book_thread_join();
	do
		(void)event_base_loop(w->base, EVLOOP_ONCE);
	while (!turn(w));
	while (w->woken) { /* nothing is run any more, only taken out of the list */
		struct conn *c = w->woken;

		w->woken = c->next_woken;
		c->woken = false;
	}
	if (w->crew->keeps)
		keep_end(w, clk_boot_ns());
	while (w->clients)
		conn_free(w->clients);
	while (w->n_ups)
		up_remove(w, w->n_ups - 1);
	book_thread_leave();
	pthread_mutex_lock(&w->mail_lock);
	atomic_store(&w->done, true);
	pthread_mutex_unlock(&w->mail_lock);
	return NULL;
}

/* ------------------------------------------------------------------------------------------------------------- life */

static int make_front(struct worker *w)
{
	struct front_conf conf = {
		.program = "leash-gatewayd",
		.clients_max = w->crew->clients_max,
		.in_flight_max = WORKER_CLIENT_INFLIGHT,
		.in_flight_bytes_max = WORKER_CLIENT_BYTES,
		.out_bytes_max = WORKER_CLIENT_OUT_BYTES,
		.record_bytes_max = w->crew->record_bytes_max,
	};

	return front_new(&conf, &front_ops, w, clk_boot_ns(), &w->front);
}

static int make_events(struct worker *w)
{
	struct epoll_event on = { .events = EPOLLIN | EPOLLEXCLUSIVE };

	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->accept_fd = epoll_create1(EPOLL_CLOEXEC);
	if (w->wake_fd < 0 || w->accept_fd < 0 ||
		epoll_ctl(w->accept_fd, EPOLL_CTL_ADD, w->crew->listen_fd, &on) < 0)
		return -errno;
	w->base = event_base_new();
	if (!w->base)
		return -ENOMEM;
	w->ev_wake = event_new(w->base, w->wake_fd, EV_READ | EV_PERSIST, on_wake, w);
	w->ev_accept = event_new(w->base, w->accept_fd, EV_READ | EV_PERSIST, on_acceptable, w);
	w->timer = evtimer_new(w->base, on_timer, w);
	if (!w->ev_wake || !w->ev_accept || !w->timer)
		return -ENOMEM;
	event_add(w->ev_wake, NULL);
	evtimer_add(w->timer, &(struct timeval){ 0 });
	return 0;
}

int worker_new(struct crew *crew, struct worker **ret_worker)
{
	struct worker *w = calloc(1, sizeof *w);
	int r;

	if (!w)
		return -ENOMEM;
	w->crew = crew;
	w->wake_fd = w->accept_fd = -1;
	pthread_mutex_init(&w->mail_lock, NULL);
	w->hold_timeout_ns = atomic_load(&crew->hold_timeout_ns);
	w->env.views_max = FRONT_CHUNK_RECORDS;
	w->env.record_bytes_max = crew->record_bytes_max;
	w->env.run = crew->run;
	w->env.views = calloc(w->env.views_max, sizeof w->env.views[0]);
	w->ups = calloc(BOOK_ENGINES_MAX, sizeof w->ups[0]);
	r = w->env.views && w->ups ? make_events(w) : -ENOMEM;
	w->env.base = w->base;
	if (r == 0)
		r = make_front(w);
	if (r < 0) {
		worker_free(w);
		return r;
	}
	*ret_worker = w;
	return 0;
}

int worker_start(struct worker *w)
{
	sigset_t all, before;
	int r;

	sigfillset(&all); /* signals are the main thread's */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&w->thread, NULL, run, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	w->started = r == 0;
	return -r;
}

static void event_freep(struct event **ev)
{
	if (*ev)
		event_free(*ev);
	*ev = NULL;
}

void worker_free(struct worker *w)
{
	if (!w)
		return;
	if (w->started)
		pthread_join(w->thread, NULL);
	for (uint32_t i = 0; i < w->n_mail; i++)
		(void)close_fd(w->mail[i]);
	keep_deinit(&w->adopted);
	keep_deinit(&w->kept);
	front_free(w->front);
	link_env_deinit(&w->env);
	event_freep(&w->ev_wake);
	event_freep(&w->ev_accept);
	event_freep(&w->timer);
	if (w->base)
		event_base_free(w->base);
	w->wake_fd = close_fd(w->wake_fd);
	w->accept_fd = close_fd(w->accept_fd);
	pthread_mutex_destroy(&w->mail_lock);
	free(w->env.views);
	free(w->ups);
	free(w);
}

void worker_wake(struct worker *w)
{
	uint64_t one = 1;

	(void)!write(w->wake_fd, &one, sizeof one); /* EAGAIN: it is awake */
}

void worker_stop(struct worker *w, uint64_t deadline_ns)
{
	atomic_store(&w->stop_ns, deadline_ns);
	worker_wake(w);
}

bool worker_done(const struct worker *w)
{
	return atomic_load((_Atomic bool *)&w->done);
}

uint32_t worker_clients(const struct worker *w)
{
	return atomic_load((_Atomic uint32_t *)&w->n_clients);
}

uint32_t worker_cut_off(const struct worker *w)
{
	return w->cut_off;
}

uint64_t worker_turns(const struct worker *w)
{
	return atomic_load((_Atomic uint64_t *)&w->turns);
}
