#include "etcd/client.h"

#include <errno.h>

static int cluster_call(struct etcd *e, enum dec_kind kind, const char *path, unsigned flags, unsigned endpoint,
	uint32_t timeout_ms, etcd_fn fn, void *ctx, struct etcd_call **ret_call)
{
	struct call_spec spec = {
		.kind = kind,
		.path = path,
		.flags = CALL_REPEATABLE | flags,
		.endpoint = endpoint,
		.timeout_ms = timeout_ms,
	};
	_cleanup_(buf_deinit) struct buf body = { .max = ETCD_REQUEST_MAX };
	int r = enc_empty(&body);

	return r < 0 ? r : call_start(e, &spec, &body, fn, ctx, ret_call);
}

int etcd_member_list(struct etcd *e, unsigned endpoint, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call)
{
	return cluster_call(e, DEC_MEMBERS, "/v3/cluster/member/list", CALL_LOCAL, endpoint, timeout_ms, fn, ctx,
		ret_call);
}

int etcd_status(struct etcd *e, unsigned endpoint, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call)
{
	return cluster_call(e, DEC_STATUS, "/v3/maintenance/status", CALL_LOCAL, endpoint, timeout_ms, fn, ctx,
		ret_call);
}

int etcd_version(struct etcd *e, unsigned endpoint, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call)
{
	return cluster_call(e, DEC_VERSION, "/version", CALL_GET | CALL_NO_TOKEN | CALL_LOCAL, endpoint, timeout_ms, fn,
		ctx, ret_call);
}

int etcd_health(struct etcd *e, unsigned endpoint, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call)
{
	return cluster_call(e, DEC_TXN, "/v3/kv/txn", 0, endpoint, timeout_ms, fn, ctx, ret_call);
}
