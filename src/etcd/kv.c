#include "etcd/client.h"

#include <errno.h>

#define BODY { .max = ETCD_REQUEST_MAX }

int etcd_range(struct etcd *e, const struct etcd_range_req *req, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call)
{
	struct call_spec spec = {
		.kind = DEC_RANGE,
		.path = "/v3/kv/range",
		.flags = CALL_REPEATABLE | (req->serializable ? CALL_LOCAL : 0),
		.endpoint = ETCD_ENDPOINT_ANY,
		.timeout_ms = timeout_ms,
	};
	_cleanup_(buf_deinit) struct buf body = BODY;
	int r = enc_range(&body, req);

	return r < 0 ? r : call_start(e, &spec, &body, fn, ctx, ret_call);
}

int etcd_put(struct etcd *e, const struct etcd_put_req *req, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call)
{
	struct call_spec spec = {
		.kind = DEC_PUT,
		.path = "/v3/kv/put",
		.endpoint = ETCD_ENDPOINT_ANY,
		.timeout_ms = timeout_ms,
	};
	_cleanup_(buf_deinit) struct buf body = BODY;
	int r = enc_put(&body, req);

	return r < 0 ? r : call_start(e, &spec, &body, fn, ctx, ret_call);
}

int etcd_delete(struct etcd *e, const struct etcd_delete_req *req, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call)
{
	struct call_spec spec = {
		.kind = DEC_DELETE,
		.path = "/v3/kv/deleterange",
		.endpoint = ETCD_ENDPOINT_ANY,
		.timeout_ms = timeout_ms,
	};
	_cleanup_(buf_deinit) struct buf body = BODY;
	int r = enc_delete(&body, req);

	return r < 0 ? r : call_start(e, &spec, &body, fn, ctx, ret_call);
}

static bool ops_only_read(const struct etcd_op *ops, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (ops[i].kind != ETCD_OP_RANGE)
			return false;
	}
	return true;
}

int etcd_txn(struct etcd *e, const struct etcd_txn_req *req, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call)
{
	bool reads = ops_only_read(req->success, req->n_success) && ops_only_read(req->failure, req->n_failure);
	struct call_spec spec = {
		.kind = DEC_TXN,
		.path = "/v3/kv/txn",
		.flags = reads ? CALL_REPEATABLE : 0,
		.endpoint = ETCD_ENDPOINT_ANY,
		.n_success = req->n_success,
		.n_failure = req->n_failure,
		.timeout_ms = timeout_ms,
	};
	_cleanup_(buf_deinit) struct buf body = BODY;
	int r = enc_txn(&body, req);

	return r < 0 ? r : call_start(e, &spec, &body, fn, ctx, ret_call);
}
