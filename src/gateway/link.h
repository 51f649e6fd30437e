/*
 * One connection to one node, kept for ever: connect (names are looked up without blocking), handshake, frames;
 * after a break again, with a growing pause. The gateway's side of the peer protocol.
 *
 * All belongs to the thread that runs the event_base. What is put into link_out() is sent by link_flush(), at
 * the end of the loop's turn, or earlier by link_filled(). Callbacks come from the event loop only, never from inside a call here; a link
 * must not be freed from one of its own callbacks.
 */
#ifndef LEASH_GATEWAY_LINK_H
#define LEASH_GATEWAY_LINK_H

#include "wire/peer_data.h"

struct event_base;
struct evdns_base;
struct link;

#define LINK_READ_BYTES   (128u * 1024) /* of one call of recv() */
#define LINK_WRITE_BYTES  (48u * 1024)  /* so much is sent before more is made */
#define LINK_RETRY_MIN_MS 20
#define LINK_RETRY_MAX_MS 1000
#define LINK_HANDSHAKE_MS 3000  /* lookup, connect, WELCOME */
#define LINK_SILENCE_MS   10000 /* a host that does not acknowledge our bytes for so long is gone */

struct link_ops {
	void (*up)(void *ctx, const struct peer_hello *welcome);
	void (*down)(void *ctx); /* after up only; what was put into link_out() is lost */
	void (*status)(void *ctx, const struct peer_status *s);
	void (*result)(void *ctx, const struct peer_result *r);
	void (*records)(void *ctx, const struct peer_records *m, const struct peer_view *views);
	void (*info)(void *ctx, const struct peer_info_data *m);
	void (*rejected)(void *ctx, const char *text); /* it will be tried again */
};

/* What all links of a thread share. */
struct link_env {
	struct event_base *base;
	struct evdns_base *dns;  /* made when first needed; link_env_deinit() */
	struct peer_view *views; /* for decoding */
	uint32_t views_max;
	uint32_t record_bytes_max;
	leash_id run;                /* of this process */
	uint64_t now_ns;             /* when the bytes came that a callback tells of */
	uint8_t rx[LINK_READ_BYTES]; /* what a socket gave; moves on at once */
};

void link_env_deinit(struct link_env *env);

/* Begins to connect. @address: host:port. 0, -ENOMEM. */
int link_new(struct link_env *env, const char *engine, const char *address, const struct link_ops *ops,
	void *ctx, struct link **ret_link) _must_check_;
void link_free(struct link *l); /* silent; NULL is fine */

bool link_is_up(const struct link *l);
const char *link_address(const struct link *l);
uint64_t link_conn(const struct link *l); /* number of this connection, unique in the process; 0: not up */
struct buf *link_out(struct link *l);     /* while it is up */
void link_flush(struct link *l);
void link_filled(struct link *l); /* something was put into it: sends it when it is LINK_WRITE_BYTES or more */
void link_reset(
	struct link *l); /* breaks the connection at the end of the turn (->down), and makes a new one */

#endif
