/*
 * etcd's JSON: requests from structs, structs from answers. No I/O, no clock. Bytes from outside are never trusted.
 *
 * grpc-gateway's rules: keys and values are standard base64 with padding; 64-bit integers are strings (numbers are
 * accepted too); what is missing is zero, false or empty; names are as in etcd's .proto files; unknown names are
 * skipped. A member of the wrong type makes the answer bad.
 */
#ifndef LEASH_ETCD_JSON_H
#define LEASH_ETCD_JSON_H

#include <json-c/json.h>

#include "base/buf.h"
#include "etcd/watch.h"

#define JSON_TEXT_MAX 256 /* bytes of a server's error text that are kept, NUL included */

/* ---- memory of one answer: allocated in pieces, freed at once */

struct mem_piece;
struct mem {
	struct mem_piece *pieces;
};

/* Zeroed. NULL: out of memory. */
void *mem_alloc(struct mem *m, size_t n, size_t size);
void mem_deinit(struct mem *m);

/* ---- base64, RFC 4648 section 4, strict */

#define B64_LEN(n) (((n) + 2) / 3 * 4) /* characters for n bytes, without NUL */

/* Writes B64_LEN(n) characters, no NUL. */
void b64_encode(const void *p, size_t n, char *to);
/* @to has room for len / 4 * 3 bytes. False: not standard base64 with padding and zero spare bits. */
bool b64_decode(const char *text, size_t len, uint8_t *to, size_t *ret_n) _must_check_;

/* ---- requests: append a body to @b. 0, -E2BIG (b->max, ETCD_OPS_MAX), -EINVAL, -ENOMEM; on error @b is spoilt */

int enc_range(struct buf *b, const struct etcd_range_req *req) _must_check_;
int enc_put(struct buf *b, const struct etcd_put_req *req) _must_check_;
int enc_delete(struct buf *b, const struct etcd_delete_req *req) _must_check_;
int enc_txn(struct buf *b, const struct etcd_txn_req *req) _must_check_;
int enc_lease_grant(struct buf *b, int64_t ttl_s) _must_check_;
int enc_lease_id(struct buf *b, int64_t id) _must_check_; /* keepalive, revoke, time-to-live */
int enc_authenticate(struct buf *b, const char *user, const char *password) _must_check_;
int enc_empty(struct buf *b) _must_check_;
/* A create request with an explicit watch id (from 1), then others, then a progress request, back to back. */
int enc_watch_create(struct buf *b, const struct etcd_watch_range *range, int64_t watch_id, int64_t from_revision,
	bool prev_kv) _must_check_;
int enc_watch_progress(struct buf *b) _must_check_;

/* ---- answers */

enum dec_kind {
	DEC_RANGE,
	DEC_PUT,
	DEC_DELETE,
	DEC_TXN,
	DEC_LEASE_GRANT,
	DEC_LEASE_KEEPALIVE,
	DEC_LEASE_REVOKE,
	DEC_LEASE_TTL,
	DEC_AUTH,
	DEC_MEMBERS,
	DEC_STATUS,
	DEC_VERSION,
};

struct dec_answer {
	struct etcd_answer a; /* result, code, header and the union; reason points to text; no endpoint, no time */
	const char *token;    /* DEC_AUTH */
	bool auth_stale;      /* refused because of the token: authenticate anew, then it may work */
	char text[JSON_TEXT_MAX];
	struct mem mem;
};

/* The class of a gRPC code; of one that nobody knows: ETCD_UNKNOWN. Not for 0. */
enum etcd_result dec_class(int code);

/*
 * Decodes the whole body of a unary answer, or the one line of a keepalive's. Never fails: what cannot be
 * understood is ETCD_BAD_ANSWER. @n_success, @n_failure: operations asked for, for DEC_TXN.
 */
void dec_answer(enum dec_kind kind, const void *body, size_t len, size_t n_success, size_t n_failure,
	struct dec_answer *ret_answer);
void dec_answer_deinit(struct dec_answer *d);

/* ---- watch streams: JSON objects one after the other, with or without newlines; chunk borders mean nothing */

struct watch_frame {
	enum etcd_result result; /* ETCD_OK, or the stream's error: nothing else but code and text is set then */
	int code;
	char text[JSON_TEXT_MAX]; /* the error's, or the reason of the cancellation */
	struct etcd_header header;
	int64_t watch_id; /* -1: a progress answer */
	bool created, canceled, fragment;
	int64_t compact_revision;
	struct etcd_event *events; /* their range is not set */
	size_t n_events;
	struct mem mem;
};

struct stream {
	struct json_tokener *tok;
	size_t object_bytes, object_bytes_max; /* of the object begun */
	const uint8_t *p;                      /* what was fed and not yet parsed: the caller's */
	size_t len;
	bool bad;
};

int stream_init(struct stream *s, size_t object_bytes_max) _must_check_;
void stream_deinit(struct stream *s);
/* Gives bytes; all frames must have been taken before. @p stays the caller's until then. */
void stream_feed(struct stream *s, const void *p, size_t len);

#define STREAM_MORE 1 /* all is parsed */
/*
 * 0: a frame, to be freed with watch_frame_deinit(). STREAM_MORE. -EBADMSG: not etcd's, for good. -EMSGSIZE: a frame
 * above object_bytes_max, for good. -ENOMEM.
 */
int stream_next(struct stream *s, struct watch_frame *ret_frame) _must_check_;
/* True when the stream ends here in the middle of an object. */
bool stream_torn(const struct stream *s);
void watch_frame_deinit(struct watch_frame *f);

/* ---- between decode.c and stream.c */

struct dec {
	struct mem *mem;
	const char *bad; /* the first thing that was wrong, or NULL */
	bool oom;
};

struct json_object *dec_member(struct dec *d, struct json_object *o, const char *name, enum json_type type);
int64_t dec_i64(struct dec *d, struct json_object *o, const char *name);
bool dec_bool(struct dec *d, struct json_object *o, const char *name);
const char *dec_text(struct dec *d, struct json_object *o, const char *name); /* "" when missing */
void dec_header(struct dec *d, struct json_object *o, struct etcd_header *ret_header);
void dec_kv(struct dec *d, struct json_object *o, struct etcd_kv *ret_kv);
/* True when @o is an error of whatever release: code and text are set. */
bool dec_error(struct json_object *o, int *ret_code, char text[JSON_TEXT_MAX]);

#endif
