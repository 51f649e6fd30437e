/*
 * Client connections over a restart: the gateway that ends gives them to the service manager, the next one takes them
 * back and goes on where the other stopped.
 *
 * What stands between the two:
 *  - A *note*: a sealed memfd that says what each connection was in the midst of (front_client_save()), and for each
 *    engine what the address book knew: so the next life, too, turns to no primary of an epoch below, and a connection
 *    that lives on never sees the log go back. Cluster ids are taken as known since revision 0 of etcd: what etcd says
 *    then counts more, as at any start.
 *  - *Bags*: sockets whose receive queues hold the connections' descriptors (SCM_RIGHTS, numbered in the order of the
 *    note) and the note. Only the bags go into the manager's file-descriptor store: one bag takes tens of thousands of
 *    connections, so FileDescriptorStoreMax= need not grow with max_clients (KEEP_BAGS_MAX is always enough), pid 1 does
 *    not hold them all (it compares each new descriptor with all that it has), and LISTEN_FDNAMES stays short.
 *
 * A note that is cut, damaged or of another version costs the connections: they are closed. A connection is only taken for
 * the one that its number says when the kernel's cookie of its socket is the one in the note.
 */
#ifndef LEASH_GATEWAY_KEEP_H
#define LEASH_GATEWAY_KEEP_H

#include "base/buf.h"
#include "gateway/book.h"

struct notify_fds;

#define KEEP_FD_NAME     "leash-clients"
#define KEEP_BAGS_MAX    8
#define KEEP_BYTES_MAX   (UINT64_C(256) << 20) /* of a note; connections whose state has no room are closed */
#define KEEP_CLIENTS_MAX 1000000u

struct kept_client {
	int fd;          /* -1: only in the note */
	uint64_t cookie; /* of the socket, unique while the machine is up; 0: the kernel has none */
	uint8_t *state;  /* as front_client_save() wrote it. NULL: nothing was ever read or written */
	size_t bytes;
};

struct kept_engine {
	char name[LEASH_NAME_MAX + 1];
	struct book_target target; /* .serial means nothing */
};

struct keep {
	struct kept_client *clients;
	size_t n_clients, clients_cap;
	struct kept_engine *engines;
	size_t n_engines;
};

#define KEEP_NULL { 0 }

void keep_deinit(struct keep *k); /* closes what it has */

/* Takes over @fd and @state. -ENOMEM: both stay the caller's. */
int keep_add(struct keep *k, int fd, uint8_t *state, size_t bytes) _must_check_;

enum keep_error {
	KEEP_E_FOREIGN = 1, /* of another version, or not a note */
	KEEP_E_DAMAGED,     /* or it did not come at all */
};

/* ---- keep_format.c: the note. Appends to @out. -EMSGSIZE, -ENOMEM. */
int keep_encode(const struct keep *k, struct buf *out) _must_check_;
/* 0 and a keep without descriptors; KEEP_E_...; -ENOMEM. */
int keep_decode(struct bytes note, struct keep *ret_keep) _must_check_;

/* ---- keep.c */

/*
 * Gives it all to the manager and waits until that has it. @k keeps its descriptors, for the caller to close. 0, or a
 * negative errno: nothing was given; -ETIMEDOUT: it is not known.
 */
int keep_store(struct keep *k) _must_check_;

/* What became of it. */
struct keep_taken {
	uint32_t n_lost; /* connections that were closed */
	int error;       /* of the note: enum keep_error, negative errno; 0 */
};

/*
 * Takes back what the former process gave, out of what was inherited, and tells the manager to forget it. 0 (with
 * whatever was there, perhaps nothing), or -ENOMEM.
 */
int keep_take(struct notify_fds *fds, struct keep *ret_keep, struct keep_taken *ret_taken) _must_check_;

#endif
