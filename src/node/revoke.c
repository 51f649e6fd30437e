/*
 * leash-revoke-lease NAME [OPTION]...: gives back the lease of a node that died, so that nobody waits until it expires. The
 * service manager runs it as ExecStopPost=, with the node's own command line.
 *
 *  1. The id is in <runtime_dir>/lease (ctl_lease.c). No file: the node has given it back itself, or never had one.
 *  2. All endpoints are asked at the same time: one of them may be on its knees. The first that says "revoked", or that it
 *     knows no such lease, is enough; then the file goes.
 *  3. It ends after REVOKE_MS in any case; then the lease expires by itself.
 *
 * It may come late, or when the node lives after all: epochs protect (R1, R5), and a living node asks for a new lease.
 */
#include "config.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/diag.h"
#include "base/ids.h"
#include "etcd/etcd.h"
#include "node/settings.h"

#define REVOKE_MS 1500

struct revoke {
	struct event_base *base;
	struct event *ev_end;
	struct etcd *etcds[ETCD_ENDPOINTS_MAX];
	size_t n_etcds, n_open; /* calls that have not come back */
	bool revoked;
	char why[256]; /* of the last that failed */
};

/* 0; -ENOENT: nothing to revoke; -EINVAL: the file is no lease file. */
static int read_lease(const char *path, leash_id *ret_lease)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char text[LEASH_ID_TEXT + 1] = "";
	ssize_t n;

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_SH | LOCK_NB) < 0)
		return -errno;
	n = read(fd, text, sizeof text);
	if (n < 0)
		return -errno;
	if (n != LEASH_ID_TEXT || text[LEASH_ID_TEXT - 1] != '\n')
		return -EINVAL;
	text[LEASH_ID_TEXT - 1] = '\0';
	return id_parse(text, ret_lease) ? 0 : -EINVAL;
}

static void on_end(evutil_socket_t fd _unused_, short what _unused_, void *ctx)
{
	struct revoke *v = ctx;

	(void)event_base_loopbreak(v->base); /* cannot fail for a base that exists */
}

static void on_revoked(void *ctx, const struct etcd_answer *a)
{
	struct revoke *v = ctx;

	v->n_open--;
	if (a->result == ETCD_OK || a->result == ETCD_NOT_FOUND)
		v->revoked = true;
	else if (a->result != ETCD_CANCELLED)
		(void)snprintf(v->why, sizeof v->why, "%.180s", a->reason[0] ? a->reason : etcd_result_name(a->result));
	if (v->revoked || v->n_open == 0)
		(void)event_base_loopbreak(v->base);
}

/* A client for each endpoint; one that cannot be asked is as good as one that does not answer. */
static void ask_all(struct revoke *v, const struct settings *s, const char *password, leash_id lease)
{
	for (size_t i = 0; i < s->etcd_endpoints.n; i++) {
		const char *endpoint = s->etcd_endpoints.items[i];
		struct etcd_conf conf = { .endpoints = &endpoint, .n_endpoints = 1, .cacert = s->etcd_cacert,
			.cert = s->etcd_cert, .key = s->etcd_key, .user = s->etcd_user, .password = password };
		struct etcd **e = &v->etcds[v->n_etcds];
		int r = etcd_new(v->base, &conf, e);

		if (r == 0) {
			v->n_etcds++;
			r = etcd_lease_revoke(*e, (int64_t)lease, REVOKE_MS, on_revoked, v, NULL);
		}
		if (r == 0)
			v->n_open++;
		else
			(void)snprintf(v->why, sizeof v->why, "%s", strerror(-r));
	}
}

static int make_loop(struct revoke *v)
{
	struct timeval limit = { .tv_sec = REVOKE_MS / 1000, .tv_usec = REVOKE_MS % 1000 * 1000 };

	v->base = event_base_new();
	v->ev_end = v->base ? event_new(v->base, -1, 0, on_end, v) : NULL;
	return v->ev_end && event_add(v->ev_end, &limit) == 0 ? 0 : -ENOMEM;
}

static void revoke_deinit(struct revoke *v)
{
	for (size_t i = 0; i < v->n_etcds; i++)
		etcd_free(v->etcds[i]);
	if (v->ev_end)
		event_free(v->ev_end);
	if (v->base)
		event_base_free(v->base);
	libevent_global_shutdown();
}

/* 0: it is revoked, or gone. */
static int revoke_lease(const struct settings *s, leash_id lease)
{
	_cleanup_(revoke_deinit) struct revoke v = { .why = "no answer in time" };
	_cleanup_(freep) char *password = NULL;
	int r = settings_password(s, &password);

	if (r == 0)
		r = make_loop(&v);
	if (r < 0) {
		diag(LOG_WARNING, "the lease %016llx is not revoked: %s; it expires by itself",
			(unsigned long long)lease, strerror(-r));
		return 1;
	}
	ask_all(&v, s, password, lease);
	if (v.n_open > 0)
		(void)event_base_dispatch(v.base);
	if (!v.revoked)
		diag(LOG_WARNING, "the lease %016llx is not revoked: %s; it expires by itself",
			(unsigned long long)lease, v.why);
	else
		diag(LOG_INFO, "the lease %016llx of the dead node is revoked", (unsigned long long)lease);
	return v.revoked ? 0 : 1;
}

static char *lease_path(const struct settings *s, const char *name)
{
	_cleanup_(freep) char *dir = settings_runtime_dir(s, name);
	char *path;

	return dir && asprintf(&path, "%s/lease", dir) >= 0 ? path : NULL;
}

static int run(const struct settings *s, const char *name)
{
	_cleanup_(freep) char *path = lease_path(s, name);
	leash_id lease;
	int r = path ? read_lease(path, &lease) : -ENOMEM;

	diag_set_common("LEASH_ENGINE", s->engine);
	diag_set_common("LEASH_NODE", name);
	if (r == -ENOENT)
		return 0;
	if (r == -EWOULDBLOCK) {
		diag(LOG_NOTICE, "the process that holds the lease in \"%s\" lives: it keeps it", path);
		return 0;
	}
	if (r < 0) {
		diag(LOG_WARNING, "cannot read the lease in \"%s\": %s; it expires by itself", path ? path : "",
			strerror(-r));
		return 1;
	}
	r = revoke_lease(s, lease);
	if (r == 0)
		(void)unlink(path); /* a second attempt would only find no such lease */
	return r;
}

int main(int argc, char **argv)
{
	static struct conf_errors errors;
	struct conf_result result;
	struct settings s;
	int r = conf_load(&settings_desc, argc, argv, &s, &result, &errors);

	diag_init("leash-revoke-lease", DIAG_TARGET_AUTO, LOG_INFO);
	if (r) {
		const char *status = getenv("EXIT_STATUS"); /* of leash-noded: systemd.exec(5) */

		if (status && strcmp(status, "78") == 0)
			return 1; /* it has said so itself, before it had a lease */
		diag(LOG_WARNING, "the configuration cannot be read, so no lease is revoked; it expires by itself");
		return 1;
	}
	if (result.action == CONF_HELP || result.action == CONF_VERSION) {
		(void)puts("leash-revoke-lease " PACKAGE_VERSION ": leash-revoke-lease NAME [OPTION]..., "
			   "with the options of leash-noded; revokes the lease of that node when it has died");
		return 0;
	}
	diag_init("leash-revoke-lease", (enum diag_target)s.log.target, s.log.level);
	r = 0;
	if (result.n_operands != 1 || !name_valid(result.operands[0])) {
		diag(LOG_ERR, "which node? Usage: leash-revoke-lease NAME [OPTION]...");
		r = 78;
	} else if (result.action == CONF_RUN) {
		r = run(&s, result.operands[0]);
	}
	conf_free(&settings_desc, &s);
	return r;
}
