/*
 * Real etcd members for tests: own temporary directory, free ports on 127.0.0.1, gone when the test is.
 *
 * Every failure ends the test program with a message (exit status 99): a test cannot go on without its etcd.
 * Members die with the thread that started them (PR_SET_PDEATHSIG), their directories with etcd_fixture_free().
 */
#ifndef LEASH_TESTS_ETCD_FIXTURE_H
#define LEASH_TESTS_ETCD_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ETCD_FIXTURE_MEMBERS_MAX 5

struct etcd_fixture;

struct etcd_fixture_opts {
	unsigned n_members;      /* 0: 1 */
	bool tls;                /* https with client certificates; see etcd_fixture_file() */
	const char *const *args; /* more options for each member, NULL-terminated; NULL: none */
};

/* False: there is no etcd on this machine (the test should be skipped, exit status 77). */
bool etcd_fixture_possible(void);

/* Starts all members and waits until each answers and the cluster has a leader. Heartbeat 50 ms, election 500 ms. */
struct etcd_fixture *etcd_fixture_new(const struct etcd_fixture_opts *opts);
void etcd_fixture_free(struct etcd_fixture *f); /* NULL is fine */

unsigned etcd_fixture_count(const struct etcd_fixture *f);
const char *etcd_fixture_url(const struct etcd_fixture *f, unsigned i); /* client URL; stays the same over restarts */
const char *const *etcd_fixture_urls(const struct etcd_fixture *f);     /* all of them; NULL-terminated */
const char *etcd_fixture_dir(const struct etcd_fixture *f);
/* With TLS: the path of "ca.pem", "client.pem" or "client.key". Valid until the second next call. */
const char *etcd_fixture_file(const struct etcd_fixture *f, const char *name);

void etcd_fixture_kill(struct etcd_fixture *f, unsigned i);   /* SIGKILL, reaped */
void etcd_fixture_stop(struct etcd_fixture *f, unsigned i);   /* SIGTERM, reaped */
void etcd_fixture_start(struct etcd_fixture *f, unsigned i);  /* after kill or stop: same data, same ports */
void etcd_fixture_wipe(struct etcd_fixture *f, unsigned i);   /* while not running: its data is gone */
void etcd_fixture_pause(struct etcd_fixture *f, unsigned i);  /* SIGSTOP */
void etcd_fixture_resume(struct etcd_fixture *f, unsigned i); /* SIGCONT */

/* Waits until member @i answers a linearizable read, so the cluster has a leader that it hears. */
void etcd_fixture_wait(struct etcd_fixture *f, unsigned i);

/*
 * POST @json to @path of member @i (curl, 3 s), for what the client under test has no call: compaction, auth.
 * Returns the body, to be freed; NULL: no answer.
 */
char *etcd_fixture_post(struct etcd_fixture *f, unsigned i, const char *path, const char *json);

/* Index of the leader, as the running members see it. */
unsigned etcd_fixture_leader(struct etcd_fixture *f);

#endif
