#include "etcd/client.h"

#include <errno.h>

int etcd_lease_grant(struct etcd *e, int64_t ttl_s, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call)
{
	/* Not repeatable: a grant whose answer is lost leaves a lease that nobody knows until it expires. */
	struct call_spec spec = {
		.kind = DEC_LEASE_GRANT,
		.path = "/v3/lease/grant",
		.endpoint = ETCD_ENDPOINT_ANY,
		.timeout_ms = timeout_ms,
	};
	_cleanup_(buf_deinit) struct buf body = { .max = ETCD_REQUEST_MAX };
	int r = ttl_s > 0 ? enc_lease_grant(&body, ttl_s) : -EINVAL;

	return r < 0 ? r : call_start(e, &spec, &body, fn, ctx, ret_call);
}

static int lease_call(struct etcd *e, enum dec_kind kind, const char *path, int64_t id, uint32_t timeout_ms, etcd_fn fn,
	void *ctx, struct etcd_call **ret_call)
{
	struct call_spec spec = {
		.kind = kind,
		.path = path,
		.flags = CALL_REPEATABLE,
		.endpoint = ETCD_ENDPOINT_ANY,
		.timeout_ms = timeout_ms,
	};
	_cleanup_(buf_deinit) struct buf body = { .max = ETCD_REQUEST_MAX };
	int r = id ? enc_lease_id(&body, id) : -EINVAL;

	return r < 0 ? r : call_start(e, &spec, &body, fn, ctx, ret_call);
}

/*
 * The path is a stream; one object in the body gives one line and the end. An etcd leader that is being replaced
 * answers "not a primary lessor" with code 2 (etcd-io/etcd#21671): unknown, so another endpoint is asked.
 */
int etcd_lease_keepalive(struct etcd *e, int64_t id, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call)
{
	return lease_call(e, DEC_LEASE_KEEPALIVE, "/v3/lease/keepalive", id, timeout_ms, fn, ctx, ret_call);
}

int etcd_lease_revoke(struct etcd *e, int64_t id, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call)
{
	return lease_call(e, DEC_LEASE_REVOKE, "/v3/lease/revoke", id, timeout_ms, fn, ctx, ret_call);
}

int etcd_lease_time_to_live(struct etcd *e, int64_t id, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call)
{
	return lease_call(e, DEC_LEASE_TTL, "/v3/lease/timetolive", id, timeout_ms, fn, ctx, ret_call);
}
