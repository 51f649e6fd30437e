/* The configuration of leash-gatewayd: keys, defaults, bounds. leash-gatewayd.conf(5) describes each. */
#ifndef LEASH_GATEWAY_SETTINGS_H
#define LEASH_GATEWAY_SETTINGS_H

#include "base/conf.h"

struct settings {
	struct units_addr listen;
	struct conf_list engines;
	struct conf_list etcd_endpoints;
	char *etcd_cacert, *etcd_cert, *etcd_key, *etcd_user, *etcd_password_file;
	uint64_t workers; /* 0: as many as CPUs that we may use */
	uint64_t hold_timeout_ms;
	uint64_t inflight_max;   /* messages of one worker for one engine */
	uint64_t inflight_bytes; /* their bodies */
	uint64_t max_record_bytes;
	uint64_t max_clients;
	struct conf_log log;
};

extern const struct conf_desc settings_desc;

/* True when `listen` was given, on the command line or in the file, and not left at its default. */
bool settings_listen_given(const struct settings *s);

#endif
