/* What leash-noded can be told: one table of keys for file, command line, --help and reload (base/conf.h). */
#ifndef LEASH_NODE_SETTINGS_H
#define LEASH_NODE_SETTINGS_H

#include "base/conf.h"

struct settings {
	char *engine;
	struct units_addr listen, advertise; /* advertise: all zero = as listen */
	struct conf_list etcd_endpoints;
	char *etcd_cacert, *etcd_cert, *etcd_key, *etcd_user, *etcd_password_file;
	char *data_dir, *runtime_dir; /* NULL: under /var/lib/leash, /run/leash by the node's name */
	struct conf_list founders;
	uint64_t min_insync, priority;
	int topology; /* enum rep_topology */
	uint64_t lease_ttl_ms, failure_timeout_ms;
	uint64_t segment_bytes, retention_bytes, retention_time_ms, scrub_rate;
	uint64_t max_record_bytes;
	uint64_t dedup_window, dedup_time_ms, dedup_bytes;
	char *on_role_change;
	uint64_t max_clients, hold_timeout_ms, cache_bytes, uncommitted_bytes, disk_timeout_ms;
	struct conf_log log;
};

extern const struct conf_desc settings_desc;

/* Bytes of memory that one remembered id takes (design R14). */
#define SETTINGS_ID_BYTES 64

/* The directory of control socket and lease file: as configured, or by the node's name. NULL: out of memory. */
char *settings_runtime_dir(const struct settings *s, const char *name) _must_check_;

/* The first line of etcd_password_file; NULL in *@ret_password when there is none to read. 0, negative errno. */
int settings_password(const struct settings *s, char **ret_password) _must_check_;

#endif
