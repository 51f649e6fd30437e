/*
 * etcd's JSON. Invariants: an answer that is understood has no reason, any other has one; keys and values are followed by
 * a NUL; base64 has one form only; what a request is made of stands in its JSON.
 *
 * Byte 0: enum dec_kind, or above: requests, base64. Byte 1: operations asked for in DEC_TXN, or where a request is cut.
 */
#include "fuzz.h"

#include <errno.h>

#include "etcd/json.h"

enum { TRY_B64 = DEC_VERSION + 1, TRY_PUT, TRY_TXN, TRY_WATCH, TRY_N };

static void kvs_good(const struct etcd_range_resp *r)
{
	for (size_t i = 0; i < r->n_kvs; i++) {
		const struct etcd_kv *kv = &r->kvs[i];

		must(kv->key.p && kv->key.p[kv->key.len] == '\0');
		must(kv->value.p && kv->value.p[kv->value.len] == '\0');
	}
}

static void members_good(const struct etcd_members_resp *r)
{
	for (size_t i = 0; i < r->n_members; i++) {
		const struct etcd_member *m = &r->members[i];

		must(m->name && strlen(m->name) < SIZE_MAX);
		for (size_t k = 0; k < m->n_client_urls; k++)
			must(strlen(m->client_urls[k]) < SIZE_MAX);
		for (size_t k = 0; k < m->n_peer_urls; k++)
			must(strlen(m->peer_urls[k]) < SIZE_MAX);
	}
}

static void txn_good(const struct etcd_txn_resp *r, size_t n_success, size_t n_failure)
{
	must(r->n_responses == (r->succeeded ? n_success : n_failure));
	for (size_t i = 0; i < r->n_responses; i++)
		if (r->responses[i].kind == ETCD_OP_RANGE)
			kvs_good(&r->responses[i].range);
}

static void try_answer(enum dec_kind kind, struct bytes body, size_t n_success, size_t n_failure)
{
	struct dec_answer d;

	dec_answer(kind, body.p, body.len, n_success, n_failure, &d);
	must(d.a.reason && (d.a.result == ETCD_OK) == (d.a.reason[0] == '\0'));
	must(memchr(d.text, 0, sizeof d.text) && etcd_result_name(d.a.result));
	if (d.a.result == ETCD_OK && kind == DEC_RANGE)
		kvs_good(&d.a.range);
	if (d.a.result == ETCD_OK && kind == DEC_MEMBERS)
		members_good(&d.a.members);
	if (d.a.result == ETCD_OK && kind == DEC_TXN)
		txn_good(&d.a.txn, n_success, n_failure);
	if (d.a.result == ETCD_OK && kind == DEC_AUTH)
		must(d.token);
	dec_answer_deinit(&d);
}

static void try_b64(struct bytes in)
{
	uint8_t *bytes = fuzz_copy(in.p, in.len);
	char *text = malloc(B64_LEN(in.len) + 1);
	size_t n;
	bool good;

	must(text);
	if (b64_decode((const char *)in.p, in.len, bytes, &n)) {
		must(B64_LEN(n) == in.len);
		b64_encode(bytes, n, text);
		must(memcmp(text, in.p, in.len) == 0);
	}
	b64_encode(in.p, in.len, text);
	free(bytes);
	bytes = fuzz_copy(text, B64_LEN(in.len));
	good = b64_decode(text, B64_LEN(in.len), bytes, &n);
	must(good && n == in.len && (n == 0 || memcmp(bytes, in.p, n) == 0));
	free(bytes);
	free(text);
}

/* @b is JSON objects back to back; the first has @name, which is @value in base64 when that is not NULL. */
static void request_good(const struct buf *b, const char *name, const struct bytes *value)
{
	struct json_tokener *tok = json_tokener_new();
	struct json_object *o, *v;
	uint8_t *bytes;
	size_t n;
	bool good;

	must(tok);
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS);
	o = json_tokener_parse_ex(tok, (const char *)buf_head(b), (int)buf_len(b));
	must(o && json_object_object_get_ex(o, name, &v));
	if (value) {
		bytes = malloc((size_t)json_object_get_string_len(v) + 1);
		must(bytes);
		good = b64_decode(json_object_get_string(v), (size_t)json_object_get_string_len(v), bytes, &n);
		must(good && fuzz_same((struct bytes){ bytes, n }, *value));
		free(bytes);
	}
	json_object_put(o);
	json_tokener_free(tok);
}

static void try_requests(unsigned what, struct bytes in, size_t cut)
{
	struct bytes a = { in.p, MIN2(cut, in.len) }, z = { in.p + a.len, in.len - a.len };
	struct etcd_put_req put = { .key = a, .value = z, .lease = (int64_t)cut };
	struct etcd_compare cmp = { .target = ETCD_CMP_VALUE, .key = a, .value = z };
	struct etcd_op op = { .kind = ETCD_OP_PUT, .put = put };
	struct etcd_txn_req txn = { &cmp, 1, &op, NULL, 1, 0 };
	struct etcd_watch_range range = { .key = a, .prefix = true };
	struct buf b = BUF_NULL;
	int r;

	if (what == TRY_PUT)
		r = enc_put(&b, &put);
	else if (what == TRY_TXN)
		r = enc_txn(&b, &txn);
	else
		r = enc_watch_create(&b, &range, 1, (int64_t)cut, true);
	must(r == 0 || r == -EINVAL);
	if (r == 0 && what == TRY_PUT && z.len > 0)
		request_good(&b, "value", &z);
	else if (r == 0 && what != TRY_PUT)
		request_good(&b, what == TRY_TXN ? "compare" : "create_request", NULL);
	buf_deinit(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	unsigned what;
	uint8_t *copy;
	struct bytes in;

	if (len < 2)
		return 0;
	what = data[0] % TRY_N;
	copy = fuzz_copy(data + 2, len - 2);
	in = (struct bytes){ copy, len - 2 };
	if (what <= DEC_VERSION)
		try_answer((enum dec_kind)what, in, data[1] & 7, data[1] >> 3 & 7);
	else if (what == TRY_B64)
		try_b64(in);
	else
		try_requests(what, in, data[1]);
	free(copy);
	return 0;
}
