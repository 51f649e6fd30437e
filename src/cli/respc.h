/*
 * A client of the Redis protocol, for talking to the gateway (or to a node).
 */
#ifndef LEASH_CLI_RESPC_H
#define LEASH_CLI_RESPC_H

#include "base/units.h"
#include "wire/resp.h"

struct respc {
	int fd; /* -1: closed */
	struct buf in, out;
	struct resp_reader reader;
	size_t reply_bytes; /* of the reply handed out last: it is consumed by the next call */
};

#define RESPC_NULL { .fd = -1 }

void respc_close(struct respc *c); /* any number of times */

/* Takes over a socket that is connected and not blocking. */
void respc_init(struct respc *c, int fd);

/* Negative errno, for sock_strerror(). */
int respc_open(struct respc *c, const struct units_addr *a, uint64_t deadline_ns) _must_check_;

/* Queues one command. -ENOMEM. */
int respc_put(struct respc *c, const struct bytes *argv, size_t argc) _must_check_;

/*
 * The next reply that has arrived whole, without waiting; it lives until the next call. 0; RESP_MORE; -EPROTO: what
 * came is no reply; -ENOMEM.
 */
int respc_next(struct respc *c, const struct resp_value **ret_values) _must_check_;

/* Sends one command and waits for its reply. Only when no other reply is due. Negative errno, for sock_strerror(). */
int respc_call(struct respc *c, const struct bytes *argv, size_t argc, uint64_t deadline_ns,
	const struct resp_value **ret_values) _must_check_;

static inline struct bytes respc_str(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

/* The sequence number of "<seq>-0". */
bool respc_entry_id(struct bytes id, leash_seq *ret_seq) _must_check_;

/* True when an error's text begins with this code: "TRYAGAIN". */
bool respc_error_is(const struct resp_value *v, const char *code);

#endif
