#include "etcd/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* Writes at the end of a buffer; keeps its first error and goes on as a no-op. */
struct jw {
	struct buf *b;
	int err;
};

static void jw_text(struct jw *j, const char *s)
{
	if (!j->err)
		j->err = buf_put(j->b, s, strlen(s));
}

static void jw_base64(struct jw *j, struct bytes v)
{
	uint8_t *to;

	if (j->err)
		return;
	if (v.len > ETCD_REQUEST_MAX) {
		j->err = -E2BIG;
		return;
	}
	if (!v.len)
		return;
	to = buf_reserve(j->b, B64_LEN(v.len));
	if (!to) {
		j->err = j->b->max ? -ENOBUFS : -ENOMEM;
		return;
	}
	b64_encode(v.p, v.len, (char *)to);
	buf_commit(j->b, B64_LEN(v.len));
}

/* `,"name":"` ... `"`; the comma only behind another member. */
static void jw_name(struct jw *j, const char *name)
{
	if (buf_len(j->b) && buf_head(j->b)[buf_len(j->b) - 1] != '{')
		jw_text(j, ",");
	jw_text(j, "\"");
	jw_text(j, name);
	jw_text(j, "\":");
}

static void jw_bytes(struct jw *j, const char *name, struct bytes v)
{
	if (!v.len)
		return;
	jw_name(j, name);
	jw_text(j, "\"");
	jw_base64(j, v);
	jw_text(j, "\"");
}

static void jw_i64(struct jw *j, const char *name, int64_t v)
{
	char text[32];

	if (!v)
		return;
	(void)snprintf(text, sizeof text, "\"%" PRId64 "\"", v);
	jw_name(j, name);
	jw_text(j, text);
}

static void jw_bool(struct jw *j, const char *name, bool v)
{
	if (!v)
		return;
	jw_name(j, name);
	jw_text(j, "true");
}

static int jw_end(const struct jw *j)
{
	return j->err == -ENOBUFS ? -E2BIG : j->err;
}

/* The end of "all keys that begin with": the prefix with its last byte below 0xff raised; "\0": no end. */
static void jw_prefix_end(struct jw *j, struct bytes prefix)
{
	_cleanup_(freep) uint8_t *end = NULL;
	size_t len = prefix.len;

	while (len && prefix.p[len - 1] == 0xff)
		len--;
	if (!len) {
		jw_bytes(j, "range_end", (struct bytes){ .p = (const uint8_t *)"", .len = 1 });
		return;
	}
	end = malloc(len);
	if (!end) {
		j->err = j->err ? j->err : -ENOMEM;
		return;
	}
	memcpy(end, prefix.p, len);
	end[len - 1]++;
	jw_bytes(j, "range_end", (struct bytes){ .p = end, .len = len });
}

static void jw_key_range(struct jw *j, struct bytes key, struct bytes range_end, bool prefix)
{
	if ((!prefix && !key.len) || (prefix && range_end.len)) {
		j->err = j->err ? j->err : -EINVAL;
		return;
	}
	jw_bytes(j, "key", key.len ? key : (struct bytes){ .p = (const uint8_t *)"", .len = 1 });
	if (prefix)
		jw_prefix_end(j, key);
	else
		jw_bytes(j, "range_end", range_end);
}

static void jw_range(struct jw *j, const struct etcd_range_req *req)
{
	jw_text(j, "{");
	jw_key_range(j, req->key, req->range_end, req->prefix);
	jw_i64(j, "limit", req->limit);
	jw_i64(j, "revision", req->revision);
	jw_bool(j, "serializable", req->serializable);
	jw_bool(j, "keys_only", req->keys_only);
	jw_text(j, "}");
}

static void jw_put(struct jw *j, const struct etcd_put_req *req)
{
	if (!req->key.len) {
		j->err = j->err ? j->err : -EINVAL;
		return;
	}
	jw_text(j, "{");
	jw_bytes(j, "key", req->key);
	jw_bytes(j, "value", req->value);
	jw_i64(j, "lease", req->lease);
	jw_text(j, "}");
}

static void jw_delete(struct jw *j, const struct etcd_delete_req *req)
{
	jw_text(j, "{");
	jw_key_range(j, req->key, req->range_end, req->prefix);
	jw_text(j, "}");
}

int enc_range(struct buf *b, const struct etcd_range_req *req)
{
	struct jw j = { .b = b };

	jw_range(&j, req);
	return jw_end(&j);
}

int enc_put(struct buf *b, const struct etcd_put_req *req)
{
	struct jw j = { .b = b };

	jw_put(&j, req);
	return jw_end(&j);
}

int enc_delete(struct buf *b, const struct etcd_delete_req *req)
{
	struct jw j = { .b = b };

	jw_delete(&j, req);
	return jw_end(&j);
}

static void jw_compare(struct jw *j, const struct etcd_compare *c)
{
	static const struct {
		const char *target, *member;
	} names[] = {
		[ETCD_CMP_MOD] = { "MOD", "mod_revision" },
		[ETCD_CMP_CREATE] = { "CREATE", "create_revision" },
		[ETCD_CMP_VERSION] = { "VERSION", "version" },
		[ETCD_CMP_VALUE] = { "VALUE", "value" },
	};
	char number[32];

	if (!c->key.len) {
		j->err = j->err ? j->err : -EINVAL;
		return;
	}
	jw_text(j, "{\"result\":\"EQUAL\",\"target\":\"");
	jw_text(j, names[c->target].target);
	jw_text(j, "\"");
	jw_bytes(j, "key", c->key);
	/* The member is written even when it is zero: it is what chooses the branch of a protobuf oneof. */
	jw_name(j, names[c->target].member);
	if (c->target == ETCD_CMP_VALUE) {
		jw_text(j, "\"");
		jw_base64(j, c->value);
		jw_text(j, "\"}");
		return;
	}
	(void)snprintf(number, sizeof number, "\"%" PRId64 "\"}", c->number);
	jw_text(j, number);
}

static void jw_ops(struct jw *j, const char *name, const struct etcd_op *ops, size_t n)
{
	if (!n)
		return;
	jw_name(j, name);
	jw_text(j, "[");
	for (size_t i = 0; i < n; i++) {
		jw_text(j, i ? ",{" : "{");
		switch (ops[i].kind) {
		case ETCD_OP_RANGE:
			jw_text(j, "\"request_range\":");
			jw_range(j, &ops[i].range);
			break;
		case ETCD_OP_PUT:
			jw_text(j, "\"request_put\":");
			jw_put(j, &ops[i].put);
			break;
		case ETCD_OP_DELETE:
			jw_text(j, "\"request_delete_range\":");
			jw_delete(j, &ops[i].del);
			break;
		}
		jw_text(j, "}");
	}
	jw_text(j, "]");
}

int enc_txn(struct buf *b, const struct etcd_txn_req *req)
{
	struct jw j = { .b = b };

	if (req->n_compares > ETCD_OPS_MAX || req->n_success > ETCD_OPS_MAX || req->n_failure > ETCD_OPS_MAX)
		return -E2BIG;
	jw_text(&j, "{");
	if (req->n_compares) {
		jw_name(&j, "compare");
		jw_text(&j, "[");
		for (size_t i = 0; i < req->n_compares; i++) {
			jw_text(&j, i ? "," : "");
			jw_compare(&j, &req->compares[i]);
		}
		jw_text(&j, "]");
	}
	jw_ops(&j, "success", req->success, req->n_success);
	jw_ops(&j, "failure", req->failure, req->n_failure);
	jw_text(&j, "}");
	return jw_end(&j);
}

int enc_lease_grant(struct buf *b, int64_t ttl_s)
{
	struct jw j = { .b = b };

	jw_text(&j, "{");
	jw_i64(&j, "TTL", ttl_s);
	jw_text(&j, "}");
	return jw_end(&j);
}

int enc_lease_id(struct buf *b, int64_t id)
{
	struct jw j = { .b = b };

	jw_text(&j, "{");
	jw_i64(&j, "ID", id);
	jw_text(&j, "}");
	return jw_end(&j);
}

int enc_authenticate(struct buf *b, const char *user, const char *password)
{
	struct json_object *o = json_object_new_object();
	const char *text;
	int r = -ENOMEM;

	if (!o)
		return r;
	if (json_object_object_add(o, "name", json_object_new_string(user)) == 0 &&
		json_object_object_add(o, "password", json_object_new_string(password)) == 0) {
		text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
		if (text)
			r = buf_put(b, text, strlen(text));
	}
	json_object_put(o);
	return r == -ENOBUFS ? -E2BIG : r;
}

int enc_empty(struct buf *b)
{
	return buf_put(b, "{}", 2);
}

int enc_watch_create(struct buf *b, const struct etcd_watch_range *range, int64_t watch_id, int64_t from_revision,
	bool prev_kv)
{
	struct jw j = { .b = b };

	jw_text(&j, "{\"create_request\":{");
	jw_key_range(&j, range->key, range->range_end, range->prefix);
	jw_i64(&j, "start_revision", from_revision);
	jw_i64(&j, "watch_id", watch_id);
	jw_bool(&j, "prev_kv", prev_kv);
	jw_text(&j, "}}\n");
	return jw_end(&j);
}

int enc_watch_progress(struct buf *b)
{
	struct jw j = { .b = b };

	jw_text(&j, "{\"progress_request\":{}}\n");
	return jw_end(&j);
}
