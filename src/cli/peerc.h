/*
 * A client of the peer protocol: a tool (PEER_KIND_TOOL) that talks to one node, one question at a time. What a node
 * pushes unasked (STATUS) is kept as the last one seen.
 */
#ifndef LEASH_CLI_PEERC_H
#define LEASH_CLI_PEERC_H

#include "base/units.h"
#include "wire/peer_data.h"

struct peerc {
	int fd; /* -1: closed */
	struct buf in, out;
	size_t frame_bytes; /* of the frame handed out last: it is consumed by the next call */
	uint64_t token;
	struct peer_hello welcome;
	bool has_status;
	struct peer_status status;
};

#define PEERC_NULL { .fd = -1 }
#define PEERC_TEXT (PEER_TEXT_MAX + 128)

void peerc_close(struct peerc *p); /* any number of times */

/*
 * All calls: 0, or negative errno with one line about it in @why; the connection is then closed. -EACCES: the node
 * refused (REJECT), @why has its words. -EPROTO: what came is no peer protocol, or damaged.
 */
int peerc_open(struct peerc *p, const struct units_addr *a, const char *engine, uint64_t deadline_ns,
	char why[PEERC_TEXT]) _must_check_;

/* The JSON of PEER_INFO; it lives until the next call. */
int peerc_info(struct peerc *p, enum peer_info_what what, uint64_t deadline_ns, struct bytes *ret_json,
	char why[PEERC_TEXT]) _must_check_;

/*
 * Committed records @from..@to, at most @views_max of them, checked, in @views; they live until the next call.
 * ret_m->status says why there are none.
 */
int peerc_read(struct peerc *p, leash_seq from, leash_seq to, uint64_t deadline_ns, struct peer_view *views,
	uint32_t views_max, struct peer_records *ret_m, char why[PEERC_TEXT]) _must_check_;

/* Waits for the next STATUS. -ETIMEDOUT leaves the connection as it is. */
int peerc_wait_status(struct peerc *p, uint64_t deadline_ns, char why[PEERC_TEXT]) _must_check_;

#endif
