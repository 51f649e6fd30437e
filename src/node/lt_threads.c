/*
 * The three threads: their life, and how they and the loop wake each other.
 */
#include "node/lt_int.h"

#include <errno.h>
#include <event2/event.h>
#include <sys/eventfd.h>

static int init_sync(struct logthread *lt)
{
	pthread_condattr_t attr;

	if (pthread_mutex_init(&lt->lock, NULL) != 0 || pthread_condattr_init(&attr) != 0)
		return -ENOMEM;
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	must(pthread_cond_init(&lt->cond, &attr) == 0 && pthread_cond_init(&lt->read_cond, &attr) == 0 &&
		pthread_cond_init(&lt->scrub_cond, &attr) == 0);
	(void)pthread_condattr_destroy(&attr);
	return 0;
}

/* ----------------------------------------------------------------------------------------------------------- waking */

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	uint64_t count;

	(void)what;
	if (read(fd, &count, sizeof count) < 0)
		return; /* nothing there */
	lt_tell_loop(arg);
}

static int init_wake(struct logthread *lt, struct event_base *base)
{
	lt->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (lt->wake_fd < 0)
		return -errno;
	lt->wake = event_new(base, lt->wake_fd, EV_READ | EV_PERSIST, on_wake, lt);
	return lt->wake && event_add(lt->wake, NULL) == 0 ? 0 : -ENOMEM;
}

void lt_wake_loop(struct logthread *lt)
{
	uint64_t one = 1;

	must(write(lt->wake_fd, &one, sizeof one) == sizeof one);
}

/* What they wait for was changed under the lock. */
void lt_wake_writer(struct logthread *lt) { (void)pthread_cond_signal(&lt->cond); }
void lt_wake_reader(struct logthread *lt) { (void)pthread_cond_signal(&lt->read_cond); }
void lt_wake_scrub(struct logthread *lt) { (void)pthread_cond_signal(&lt->scrub_cond); }

/* -------------------------------------------------------------------------------------------------------------- life */

static void stop(struct logthread *lt)
{
	(void)pthread_mutex_lock(&lt->lock);
	lt->stop = true;
	(void)pthread_cond_signal(&lt->cond);
	(void)pthread_cond_signal(&lt->read_cond);
	(void)pthread_cond_signal(&lt->scrub_cond);
	(void)pthread_mutex_unlock(&lt->lock);
}

static int start(struct logthread *lt)
{
	int r = pthread_create(&lt->write_thread, NULL, lt_write_main, lt);

	if (r != 0)
		return -r;
	r = pthread_create(&lt->read_thread, NULL, lt_read_main, lt);
	if (r != 0) {
		stop(lt);
		(void)pthread_join(lt->write_thread, NULL);
		return -r;
	}
	r = pthread_create(&lt->scrub_thread, NULL, lt_scrub_main, lt);
	if (r != 0) {
		stop(lt);
		(void)pthread_join(lt->write_thread, NULL);
		(void)pthread_join(lt->read_thread, NULL);
	}
	return -r;
}

static void free_wake(struct logthread *lt)
{
	if (lt->wake)
		event_free(lt->wake);
	(void)close_fd(lt->wake_fd);
}

int lt_threads_start(struct logthread *lt, struct event_base *base)
{
	int r = init_sync(lt);

	if (r == 0)
		r = init_wake(lt, base);
	if (r == 0)
		r = start(lt);
	if (r < 0)
		free_wake(lt);
	return r;
}

void lt_threads_stop(struct logthread *lt)
{
	stop(lt);
	(void)pthread_join(lt->write_thread, NULL);
	(void)pthread_join(lt->read_thread, NULL);
	(void)pthread_join(lt->scrub_thread, NULL);
	(void)pthread_cond_destroy(&lt->cond);
	(void)pthread_cond_destroy(&lt->read_cond);
	(void)pthread_cond_destroy(&lt->scrub_cond);
	(void)pthread_mutex_destroy(&lt->lock);
	free_wake(lt);
}
