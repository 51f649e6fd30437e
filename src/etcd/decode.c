#include "etcd/json.h"

#include <limits.h>
#include <stdio.h>

/* ---- members */

static void dec_bad(struct dec *d, const char *what)
{
	if (!d->bad)
		d->bad = what;
}

static void *dec_alloc(struct dec *d, size_t n, size_t size)
{
	void *p = mem_alloc(d->mem, n, size);

	if (!p) {
		d->oom = true;
		dec_bad(d, "out of memory");
	}
	return p;
}

struct json_object *dec_member(struct dec *d, struct json_object *o, const char *name, enum json_type type)
{
	struct json_object *v;

	if (!o || !json_object_is_type(o, json_type_object) || !json_object_object_get_ex(o, name, &v) || !v)
		return NULL;
	if (json_object_is_type(v, type))
		return v;
	dec_bad(d, name);
	return NULL;
}

/* A whole decimal number of 64 bits in text, with a sign if @is_signed. Nothing around it. */
static bool dec_number(const char *s, bool is_signed, uint64_t *ret_v)
{
	bool negative = is_signed && *s == '-';
	uint64_t max = !is_signed ? UINT64_MAX : negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
	uint64_t v = 0;

	s += negative;
	if (!*s)
		return false;
	for (; *s; s++) {
		uint64_t digit = (uint64_t)(*s - '0');

		if (*s < '0' || *s > '9' || v > (max - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	*ret_v = negative ? -v : v;
	return true;
}

static uint64_t dec_int(struct dec *d, struct json_object *o, const char *name, bool is_signed)
{
	struct json_object *v;
	uint64_t number;
	const char *text;

	if (!o || !json_object_object_get_ex(o, name, &v) || !v)
		return 0;
	if (json_object_is_type(v, json_type_string) || json_object_is_type(v, json_type_int)) {
		text = json_object_get_string(v);
		if (text && dec_number(text, is_signed, &number))
			return number;
	}
	dec_bad(d, name);
	return 0;
}

int64_t dec_i64(struct dec *d, struct json_object *o, const char *name)
{
	return (int64_t)dec_int(d, o, name, true);
}

static uint64_t dec_u64(struct dec *d, struct json_object *o, const char *name)
{
	return dec_int(d, o, name, false);
}

bool dec_bool(struct dec *d, struct json_object *o, const char *name)
{
	struct json_object *v = dec_member(d, o, name, json_type_boolean);

	return v && json_object_get_boolean(v);
}

static const char *dec_string(struct dec *d, struct json_object *v)
{
	int len = json_object_get_string_len(v);
	char *copy = dec_alloc(d, (size_t)len + 1, 1);

	if (!copy)
		return "";
	memcpy(copy, json_object_get_string(v), (size_t)len);
	return copy;
}

const char *dec_text(struct dec *d, struct json_object *o, const char *name)
{
	struct json_object *v = dec_member(d, o, name, json_type_string);

	return v ? dec_string(d, v) : "";
}

static struct bytes dec_bytes(struct dec *d, struct json_object *o, const char *name)
{
	struct json_object *v = dec_member(d, o, name, json_type_string);
	struct bytes none = { .p = (const uint8_t *)"" };
	size_t len = v ? (size_t)json_object_get_string_len(v) : 0, n;
	uint8_t *p;

	if (!len)
		return none;
	p = dec_alloc(d, len / 4 * 3 + 1, 1);
	if (!p)
		return none;
	if (!b64_decode(json_object_get_string(v), len, p, &n)) {
		dec_bad(d, name);
		return none;
	}
	p[n] = 0;
	return (struct bytes){ .p = p, .len = n };
}

static const char *const *dec_texts(struct dec *d, struct json_object *o, const char *name, size_t *ret_n)
{
	struct json_object *list = dec_member(d, o, name, json_type_array);
	size_t n = list ? json_object_array_length(list) : 0;
	const char **texts;

	*ret_n = 0;
	if (!n)
		return NULL;
	texts = dec_alloc(d, n, sizeof *texts);
	if (!texts)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		struct json_object *v = json_object_array_get_idx(list, i);

		if (!json_object_is_type(v, json_type_string)) {
			dec_bad(d, name);
			return NULL;
		}
		texts[i] = dec_string(d, v);
	}
	*ret_n = n;
	return texts;
}

/* ---- pieces */

void dec_header(struct dec *d, struct json_object *o, struct etcd_header *ret_header)
{
	struct json_object *h = dec_member(d, o, "header", json_type_object);

	*ret_header = (struct etcd_header){
		.cluster_id = dec_u64(d, h, "cluster_id"),
		.member_id = dec_u64(d, h, "member_id"),
		.raft_term = dec_u64(d, h, "raft_term"),
		.revision = dec_i64(d, h, "revision"),
	};
	if (ret_header->revision < 0)
		dec_bad(d, "revision");
	if (!ret_header->cluster_id)
		dec_bad(d, "header");
}

void dec_kv(struct dec *d, struct json_object *o, struct etcd_kv *ret_kv)
{
	*ret_kv = (struct etcd_kv){
		.key = dec_bytes(d, o, "key"),
		.value = dec_bytes(d, o, "value"),
		.create_revision = dec_i64(d, o, "create_revision"),
		.mod_revision = dec_i64(d, o, "mod_revision"),
		.version = dec_i64(d, o, "version"),
		.lease = dec_i64(d, o, "lease"),
	};
	if (!ret_kv->key.len)
		dec_bad(d, "key");
	if (ret_kv->mod_revision <= 0)
		dec_bad(d, "mod_revision");
}

static void dec_range(struct dec *d, struct json_object *o, struct etcd_range_resp *ret_range)
{
	struct json_object *list = dec_member(d, o, "kvs", json_type_array);
	size_t n = list ? json_object_array_length(list) : 0;
	struct etcd_kv *kvs = n ? dec_alloc(d, n, sizeof *kvs) : NULL;

	*ret_range = (struct etcd_range_resp){ .count = dec_i64(d, o, "count"), .more = dec_bool(d, o, "more") };
	if (!kvs)
		return;
	for (size_t i = 0; i < n; i++)
		dec_kv(d, json_object_array_get_idx(list, i), &kvs[i]);
	ret_range->kvs = kvs;
	ret_range->n_kvs = n;
}

static void dec_op_resp(struct dec *d, struct json_object *o, struct etcd_op_resp *ret_resp)
{
	struct json_object *v;

	*ret_resp = (struct etcd_op_resp){ 0 };
	if ((v = dec_member(d, o, "response_range", json_type_object))) {
		ret_resp->kind = ETCD_OP_RANGE;
		dec_range(d, v, &ret_resp->range);
	} else if (dec_member(d, o, "response_put", json_type_object)) {
		ret_resp->kind = ETCD_OP_PUT;
	} else if ((v = dec_member(d, o, "response_delete_range", json_type_object))) {
		ret_resp->kind = ETCD_OP_DELETE;
		ret_resp->deleted = dec_i64(d, v, "deleted");
	} else {
		dec_bad(d, "responses");
	}
}

static void dec_txn(struct dec *d, struct json_object *o, size_t n_success, size_t n_failure,
	struct etcd_txn_resp *ret_txn)
{
	struct json_object *list = dec_member(d, o, "responses", json_type_array);
	size_t n = list ? json_object_array_length(list) : 0;
	struct etcd_op_resp *responses = n ? dec_alloc(d, n, sizeof *responses) : NULL;

	*ret_txn = (struct etcd_txn_resp){ .succeeded = dec_bool(d, o, "succeeded") };
	if (n != (ret_txn->succeeded ? n_success : n_failure))
		dec_bad(d, "responses");
	if (!responses)
		return;
	for (size_t i = 0; i < n; i++)
		dec_op_resp(d, json_object_array_get_idx(list, i), &responses[i]);
	ret_txn->responses = responses;
	ret_txn->n_responses = n;
}

static void dec_members(struct dec *d, struct json_object *o, struct etcd_members_resp *ret_members)
{
	struct json_object *list = dec_member(d, o, "members", json_type_array);
	size_t n = list ? json_object_array_length(list) : 0;
	struct etcd_member *members = n ? dec_alloc(d, n, sizeof *members) : NULL;

	*ret_members = (struct etcd_members_resp){ 0 };
	if (!n)
		dec_bad(d, "members");
	if (!members)
		return;
	for (size_t i = 0; i < n; i++) {
		struct json_object *m = json_object_array_get_idx(list, i);

		if (!json_object_is_type(m, json_type_object)) {
			dec_bad(d, "members");
			return;
		}
		members[i].id = dec_u64(d, m, "ID");
		members[i].name = dec_text(d, m, "name");
		members[i].peer_urls = dec_texts(d, m, "peerURLs", &members[i].n_peer_urls);
		members[i].client_urls = dec_texts(d, m, "clientURLs", &members[i].n_client_urls);
		members[i].learner = dec_bool(d, m, "isLearner");
	}
	ret_members->members = members;
	ret_members->n_members = n;
}

static void dec_status(struct dec *d, struct json_object *o, struct etcd_status_resp *ret_status)
{
	*ret_status = (struct etcd_status_resp){
		.version = dec_text(d, o, "version"),
		.leader = dec_u64(d, o, "leader"),
		.raft_term = dec_u64(d, o, "raftTerm"),
		.raft_index = dec_u64(d, o, "raftIndex"),
		.raft_applied_index = dec_u64(d, o, "raftAppliedIndex"),
		.db_bytes = dec_i64(d, o, "dbSize"),
		.db_used_bytes = dec_i64(d, o, "dbSizeInUse"),
		.learner = dec_bool(d, o, "isLearner"),
	};
	ret_status->errors = dec_texts(d, o, "errors", &ret_status->n_errors);
}

static void dec_lease(struct dec *d, struct json_object *o, struct etcd_lease_resp *ret_lease)
{
	*ret_lease = (struct etcd_lease_resp){
		.id = dec_i64(d, o, "ID"),
		.ttl_s = dec_i64(d, o, "TTL"),
		.granted_ttl_s = dec_i64(d, o, "grantedTTL"),
	};
}

/* ---- errors */

const char *etcd_result_name(enum etcd_result r)
{
	switch (r) {
	case ETCD_OK:
		return "ok";
	case ETCD_UNKNOWN:
		return "unknown";
	case ETCD_NOT_SENT:
		return "not-sent";
	case ETCD_NOT_FOUND:
		return "not-found";
	case ETCD_COMPACTED:
		return "compacted";
	case ETCD_DENIED:
		return "denied";
	case ETCD_NOSPACE:
		return "no-space";
	case ETCD_INVALID:
		return "invalid";
	case ETCD_PRECONDITION:
		return "precondition";
	case ETCD_BAD_ANSWER:
		return "bad-answer";
	case ETCD_FOREIGN:
		return "foreign";
	case ETCD_CANCELLED:
		return "cancelled";
	}
	return "?";
}

enum etcd_result dec_class(int code)
{
	switch (code) {
	case 3:  /* InvalidArgument */
	case 6:  /* AlreadyExists */
	case 12: /* Unimplemented */
		return ETCD_INVALID;
	case 5: /* NotFound */
		return ETCD_NOT_FOUND;
	case 7:  /* PermissionDenied */
	case 16: /* Unauthenticated */
		return ETCD_DENIED;
	case 8: /* ResourceExhausted */
		return ETCD_NOSPACE;
	case 9: /* FailedPrecondition */
		return ETCD_PRECONDITION;
	case 11: /* OutOfRange */
		return ETCD_COMPACTED;
	default: /* 1 Canceled, 2 Unknown, 4 DeadlineExceeded, 10 Aborted, 13 Internal, 14 Unavailable, 15 ... */
		return ETCD_UNKNOWN;
	}
}

static int error_code(struct json_object *o, const char *name)
{
	struct json_object *v;
	int64_t code;

	if (!json_object_object_get_ex(o, name, &v) || !v)
		return 0;
	if (!json_object_is_type(v, json_type_int) && !json_object_is_type(v, json_type_string))
		return 0;
	code = json_object_get_int64(v);
	return code > 0 && code < 1000 ? (int)code : 0;
}

static const char *error_text(struct json_object *o, const char *name)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, name, &v) || !json_object_is_type(v, json_type_string))
		return NULL;
	return json_object_get_string_len(v) ? json_object_get_string(v) : NULL;
}

/*
 * 1.x unary: {"error":TEXT,"message":TEXT,"code":N}. 1.x stream: {"error":{"grpc_code":N,"http_code":H,
 * "message":TEXT,"http_status":TEXT}}. 2.x unary: {"code":N,"message":TEXT,"details":[]}; 2.x stream: the same
 * within "error". An error without a number is code 2, as in gRPC.
 */
bool dec_error(struct json_object *o, int *ret_code, char text[JSON_TEXT_MAX])
{
	struct json_object *inner = NULL;
	const char *message;
	int code;

	if (!json_object_is_type(o, json_type_object))
		return false;
	if (!json_object_object_get_ex(o, "error", &inner) || !json_object_is_type(inner, json_type_object))
		inner = NULL;
	code = error_code(o, "code");
	if (!code && inner)
		code = error_code(inner, "grpc_code");
	if (!code && inner)
		code = error_code(inner, "code");
	message = inner ? error_text(inner, "message") : NULL;
	if (!message)
		message = error_text(o, "error");
	if (!code && !inner && !message)
		return false;
	if (!message)
		message = error_text(o, "message");
	(void)snprintf(text, JSON_TEXT_MAX, "%s", message ? message : "no reason given");
	*ret_code = code ? code : 2;
	return true;
}

/* Code 3 has no finer number: these two texts (stable since etcd 3.0) mean the token, not the request. */
static bool error_is_stale_auth(int code, const char *text)
{
	return code == 16 ||
		(code == 3 && (strstr(text, "revision of auth store") || strstr(text, "user name is empty")));
}

static bool error_is_bad_password(int code, const char *text)
{
	return code == 3 && strstr(text, "authentication failed");
}

/* ---- whole answers */

static void dec_fields(struct dec *d, enum dec_kind kind, struct json_object *o, size_t n_success, size_t n_failure,
	struct dec_answer *to)
{
	if (kind == DEC_VERSION) {
		to->a.version.server = dec_text(d, o, "etcdserver");
		to->a.version.cluster = dec_text(d, o, "etcdcluster");
		if (!*to->a.version.server)
			dec_bad(d, "etcdserver");
		return;
	}
	if (kind != DEC_AUTH)
		dec_header(d, o, &to->a.header);
	switch (kind) {
	case DEC_RANGE:
		dec_range(d, o, &to->a.range);
		break;
	case DEC_DELETE:
		to->a.deleted = dec_i64(d, o, "deleted");
		break;
	case DEC_TXN:
		dec_txn(d, o, n_success, n_failure, &to->a.txn);
		break;
	case DEC_LEASE_GRANT:
	case DEC_LEASE_KEEPALIVE:
	case DEC_LEASE_TTL:
		dec_lease(d, o, &to->a.lease);
		if (!to->a.lease.id || (kind == DEC_LEASE_GRANT && to->a.lease.ttl_s <= 0))
			dec_bad(d, "lease");
		break;
	case DEC_AUTH:
		to->token = dec_text(d, o, "token");
		if (!*to->token)
			dec_bad(d, "token");
		break;
	case DEC_MEMBERS:
		dec_members(d, o, &to->a.members);
		break;
	case DEC_STATUS:
		dec_status(d, o, &to->a.status);
		break;
	case DEC_VERSION:
	case DEC_PUT:
	case DEC_LEASE_REVOKE:
		break;
	}
}

/* A dead lease is an answer without error: no TTL in a keepalive's, "-1" in a time-to-live's. */
static bool lease_is_gone(enum dec_kind kind, const struct etcd_lease_resp *lease)
{
	return (kind == DEC_LEASE_KEEPALIVE && lease->ttl_s <= 0) || (kind == DEC_LEASE_TTL && lease->ttl_s < 0);
}

static void dec_object(enum dec_kind kind, struct json_object *o, size_t n_success, size_t n_failure,
	struct dec_answer *to)
{
	struct dec d = { .mem = &to->mem };

	if (dec_error(o, &to->a.code, to->text)) {
		to->auth_stale = error_is_stale_auth(to->a.code, to->text);
		to->a.result = to->auth_stale || error_is_bad_password(to->a.code, to->text) ?
			ETCD_DENIED : dec_class(to->a.code);
		return;
	}
	if (kind == DEC_LEASE_KEEPALIVE)
		o = dec_member(&d, o, "result", json_type_object);
	if (!o)
		dec_bad(&d, "result");
	else
		dec_fields(&d, kind, o, n_success, n_failure, to);
	if (d.bad) {
		to->a.result = ETCD_BAD_ANSWER;
		(void)snprintf(to->text, sizeof to->text, "unexpected answer: %s", d.bad);
	} else if (lease_is_gone(kind, &to->a.lease)) {
		to->a.result = ETCD_NOT_FOUND;
		(void)snprintf(to->text, sizeof to->text, "the lease is gone");
	}
}

/* The one JSON object in @body, with nothing but white space behind it. NULL: there is none. */
static struct json_object *parse_one(const char *body, size_t len)
{
	struct json_tokener *tok;
	struct json_object *o;

	if (len > INT_MAX)
		return NULL;
	tok = json_tokener_new();
	if (!tok)
		return NULL;
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS);
	o = json_tokener_parse_ex(tok, body, (int)len);
	if (o) {
		for (size_t i = json_tokener_get_parse_end(tok); i < len; i++) {
			if (!strchr(" \t\r\n", body[i]) || !body[i]) {
				json_object_put(o);
				o = NULL;
				break;
			}
		}
	}
	json_tokener_free(tok);
	if (o && !json_object_is_type(o, json_type_object)) {
		json_object_put(o);
		o = NULL;
	}
	return o;
}

void dec_answer(enum dec_kind kind, const void *body, size_t len, size_t n_success, size_t n_failure,
	struct dec_answer *ret_answer)
{
	struct json_object *o = parse_one(body, len);

	*ret_answer = (struct dec_answer){ 0 };
	if (!o) {
		ret_answer->a.result = ETCD_BAD_ANSWER;
		(void)snprintf(ret_answer->text, sizeof ret_answer->text, "the answer is not a JSON object");
	} else {
		dec_object(kind, o, n_success, n_failure, ret_answer);
		json_object_put(o);
	}
	ret_answer->a.reason = ret_answer->text;
}

void dec_answer_deinit(struct dec_answer *d)
{
	mem_deinit(&d->mem);
}
