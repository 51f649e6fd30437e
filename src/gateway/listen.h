/* The listening socket: made from `listen`, or inherited from the service manager. It is never shut down: the manager has it,
 * too, and connections wait there while the gateway is restarted. */
#ifndef LEASH_GATEWAY_LISTEN_H
#define LEASH_GATEWAY_LISTEN_H

#include "base/notify.h"
#include "base/units.h"

#define LISTEN_BACKLOG   4096
#define LISTEN_E_DIFFERS 1 /* a socket was inherited, and it is not at the address given */
#define LISTEN_E_KIND    2 /* what was inherited is not one listening stream socket */

#define LISTEN_TEXT_MAX (LEASH_ADDR_MAX + 16)

/*
 * @given: `listen`; NULL: not given, @fallback then unless a socket was inherited. @inherited: it is taken out, whatever
 * its name; those named @but are something else. @ret_text: where it listens.
 * 0; LISTEN_E_DIFFERS, LISTEN_E_KIND; negative errno (-EADDRNOTAVAIL: the name is not known).
 */
int listen_open(const struct units_addr *given, const struct units_addr *fallback, struct notify_fds *inherited,
	const char *but, int *ret_fd, char ret_text[LISTEN_TEXT_MAX]) _must_check_;

#endif
