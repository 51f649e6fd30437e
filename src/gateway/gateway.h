/*
 * The gateway whole: book, control, workers, signals. main() loads the settings and opens the socket, this does
 * the rest.
 *
 * SIGTERM, SIGINT: no new clients; what is in flight is finished (GATEWAY_DRAIN_MS at most), then the end. Under a service
 * manager client connections are given to it for the next start (keep.h); then what is in flight has as long as it would
 * have anyway (hold_timeout), at most GATEWAY_KEEP_DRAIN_MS: whoever waits for a new primary meanwhile is not told of an
 * error. A second signal ends the waiting: what is unanswered gets what it would get after hold_timeout.
 * SIGHUP: settings are read again; log_level, hold_timeout and engines change at once, of others the log says
 * that they need a restart.
 */
#ifndef LEASH_GATEWAY_GATEWAY_H
#define LEASH_GATEWAY_GATEWAY_H

#include "gateway/settings.h"

#define GATEWAY_DRAIN_MS      5000
#define GATEWAY_KEEP_DRAIN_MS 15000

struct gateway;
struct notify_fds;

/* Reads the settings again, as they were read at the start: 0, or CONF_E_INVALID with @errors. */
typedef int (*gateway_reload_fn)(void *ctx, struct settings *ret_settings, struct conf_errors *errors);

/*
 * @settings passes over (conf_free() when it ends), @listen_fd stays the caller's. Nothing runs yet.
 * 0; negative errno: everything stays with the caller, @ret_why says what failed.
 */
int gateway_new(struct settings *settings, int listen_fd, gateway_reload_fn reload, void *ctx,
	struct gateway **ret_gateway, const char **ret_why) _must_check_;
void gateway_free(struct gateway *g); /* NULL is fine */

/*
 * Takes over the clients of the former process, if it left any, out of what was inherited. Before gateway_run(), and as late
 * as possible: a start that fails before leaves them to the next one. 0, or -ENOMEM.
 */
int gateway_adopt(struct gateway *g, struct notify_fds *fds) _must_check_;

/* Serves until SIGTERM or SIGINT. 0, or a negative errno. */
int gateway_run(struct gateway *g) _must_check_;

#endif
