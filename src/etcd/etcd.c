#include "etcd/client.h"

#include <errno.h>
#include <event2/event.h>

#include "base/clk.h"

#define TIMEOUT_MS_DEFAULT         3000
#define CONNECT_TIMEOUT_MS_DEFAULT 1000
#define RESPONSE_BYTES_DEFAULT     (4 * 1024 * 1024)

void endpoint_failed(struct etcd *e, size_t index, bool connection)
{
	if (connection)
		e->endpoints[index].fresh_until_ns = clk_boot_ns() + HTTP_IDLE_MAX_S * NS_PER_S;
	if (e->endpoint == index)
		e->endpoint = endpoint_after(e, index);
	watch_endpoint_failed_all(e, index);
}

void endpoint_worked(struct etcd *e, size_t index)
{
	e->endpoint = index;
}

bool header_accept(struct etcd *e, const struct etcd_header *h, bool leader)
{
	if (!h->cluster_id)
		return true; /* an answer without header: only /version and authenticate have none */
	if (!e->cluster_id)
		e->cluster_id = h->cluster_id;
	if (h->cluster_id != e->cluster_id)
		return false;
	if (leader && h->raft_term > e->raft_term)
		e->raft_term = h->raft_term;
	return true;
}

/* "http://host:port", a slash at the end is dropped. */
static int endpoint_init(struct endpoint *ep, const char *url)
{
	const char *host = strncmp(url, "http://", 7) == 0 ? url + 7 : strncmp(url, "https://", 8) == 0 ? url + 8 : NULL;
	size_t len = strlen(url);

	if (!host)
		return -EINVAL;
	if (url[len - 1] == '/')
		len--;
	if (url + len <= host || strcspn(host, "/ \t\r\n?#@") < (size_t)(url + len - host))
		return -EINVAL;
	ep->url = strndup(url, len);
	return ep->url ? 0 : -ENOMEM;
}

static int etcd_check(const struct etcd_conf *conf)
{
	if (conf->n_endpoints < 1 || conf->n_endpoints > ETCD_ENDPOINTS_MAX)
		return -EINVAL;
	if (!conf->cert != !conf->key || !conf->user != !conf->password)
		return -EINVAL;
	return 0;
}

static void etcd_freep(struct etcd **e)
{
	etcd_free(*e);
}

int etcd_new(struct event_base *base, const struct etcd_conf *conf, struct etcd **ret_etcd)
{
	_cleanup_(etcd_freep) struct etcd *e = NULL;
	struct http_conf http = { .cacert = conf->cacert, .cert = conf->cert, .key = conf->key };
	int r = etcd_check(conf);

	if (r < 0)
		return r;
	e = calloc(1, sizeof *e);
	if (!e)
		return -ENOMEM;
	TAILQ_INIT(&e->calls);
	TAILQ_INIT(&e->watches);
	TAILQ_INIT(&e->auth.waiters);
	e->base = base;
	e->timeout_ms = conf->timeout_ms ? conf->timeout_ms : TIMEOUT_MS_DEFAULT;
	e->connect_timeout_ms = conf->connect_timeout_ms ? conf->connect_timeout_ms : CONNECT_TIMEOUT_MS_DEFAULT;
	e->response_bytes_max = conf->response_bytes_max ? conf->response_bytes_max : RESPONSE_BYTES_DEFAULT;
	e->cluster_id = conf->cluster_id;
	for (; e->n_endpoints < conf->n_endpoints; e->n_endpoints++) {
		r = endpoint_init(&e->endpoints[e->n_endpoints], conf->endpoints[e->n_endpoints]);
		if (r < 0)
			return r;
	}
	r = auth_init(e, conf->user, conf->password);
	if (r < 0)
		return r;
	http.response_bytes_max = e->response_bytes_max;
	r = http_new(base, &http, &e->http);
	if (r < 0)
		return r;
	*ret_etcd = TAKE(e);
	return 0;
}

void etcd_free(struct etcd *e)
{
	if (!e)
		return;
	must(e->callbacks == 0);
	e->closing = true;
	watch_free_all(e);
	while (!TAILQ_EMPTY(&e->calls))
		etcd_call_cancel(TAILQ_FIRST(&e->calls));
	auth_deinit(e);
	http_free(e->http);
	for (size_t i = 0; i < e->n_endpoints; i++)
		free(e->endpoints[i].url);
	free(e);
}

size_t etcd_endpoint_count(const struct etcd *e)
{
	return e->n_endpoints;
}

const char *etcd_endpoint_url(const struct etcd *e, size_t index)
{
	return index < e->n_endpoints ? e->endpoints[index].url : NULL;
}

uint64_t etcd_cluster_id(const struct etcd *e)
{
	return e->cluster_id;
}
