#include "node/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clk.h"
#include "replica/rep.h"

#define PASSWORD_MAX 4096 /* bytes of the file that are read */

#define KiB UINT64_C(1024)
#define MiB (1024 * KiB)
#define GiB (1024 * MiB)
#define DAY_MS UINT64_C(86400000)

static const char *const topologies[] = { [REP_STAR] = "star", [REP_CHAIN] = "chain", NULL };

static const char *check_endpoint(const char *text)
{
	if (strncmp(text, "http://", 7) == 0 && text[7])
		return NULL;
	if (strncmp(text, "https://", 8) == 0 && text[8])
		return NULL;
	return "http://HOST:PORT or https://HOST:PORT";
}

#define S struct settings

static const struct conf_key keys[] = {
	{ "engine", CONF_AT_STRING(S, engine), .text = "engine", .check = conf_check_name, .meta = "NAME",
	  .help = "the log this node keeps: key prefix in etcd, stream name for clients" },
	{ "listen", CONF_AT_ADDRESS(S, listen), .text = "127.0.0.1:8081",
	  .help = "where clients, gateways and nodes connect to; port 0: any" },
	{ "advertise", CONF_AT_ADDRESS(S, advertise), .min = 1, .max = 65535,
	  .help = "the address that others are told, if it is not listen" },
	{ "etcd_endpoints", CONF_AT_LIST(S, etcd_endpoints), .text = "http://127.0.0.1:2379", .min = 1, .max = 16,
	  .check = check_endpoint, .meta = "URL,...", .help = "members of the etcd cluster" },
	{ "etcd_cacert", CONF_AT_PATH(S, etcd_cacert), .help = "CA certificates for https; the system's if not given" },
	{ "etcd_cert", CONF_AT_PATH(S, etcd_cert), .help = "client certificate" },
	{ "etcd_key", CONF_AT_PATH(S, etcd_key), .help = "its key" },
	{ "etcd_user", CONF_AT_STRING(S, etcd_user), .meta = "NAME", .help = "user at etcd" },
	{ "etcd_password_file", CONF_AT_PATH(S, etcd_password_file), .help = "file with that user's password" },
	{ "data_dir", CONF_AT_PATH(S, data_dir), .help = "where the log is; /var/lib/leash/NAME if not given" },
	{ "runtime_dir", CONF_AT_PATH(S, runtime_dir),
	  .help = "where the control socket is; /run/leash/NAME if not given" },
	{ "founders", CONF_AT_LIST(S, founders), .text = "P1,S1,S2", .min = 1, .max = REP_NODES_MAX,
	  .check = conf_check_name, .meta = "NAME,...", .help = "nodes that must be there to found the cluster" },
	{ "min_insync", CONF_AT_NUMBER(S, min_insync), .text = "2", .min = 1, .max = REP_NODES_MAX, .unit = "nodes",
	  .help = "nodes that must have a record before it is acknowledged; fixed when the cluster is founded" },
	{ "priority", CONF_AT_NUMBER(S, priority), .text = "0", .max = 1000000,
	  .help = "the founder with the highest becomes the first primary" },
	{ "topology", CONF_AT_ENUM(S, topology), .text = "star", .choices = topologies,
	  .help = "how records travel to secondaries" },
	{ "lease_ttl", CONF_AT_DURATION(S, lease_ttl_ms), .text = "5", .unit = "s", .min = 2000, .max = 600000,
	  .help = "life of the leader key when its owner is gone" },
	{ "failure_timeout", CONF_AT_DURATION(S, failure_timeout_ms), .text = "1000", .unit = "ms", .min = 100,
	  .max = 60000, .help = "silence after which the primary is suspected" },
	{ "segment_bytes", CONF_AT_SIZE(S, segment_bytes), .text = "64M", .min = 64 * KiB, .max = 4 * GiB,
	  .help = "size of a file of the log" },
	{ "retention_bytes", CONF_AT_SIZE(S, retention_bytes), .text = "0", .flags = CONF_RELOAD,
	  .help = "old records beyond this go; 0: none" },
	{ "retention_time", CONF_AT_DURATION(S, retention_time_ms), .text = "0", .unit = "s", .flags = CONF_RELOAD,
	  .help = "records older than this go; 0: none" },
	{ "scrub_rate", CONF_AT_SIZE(S, scrub_rate), .text = "8M", .flags = CONF_RELOAD,
	  .help = "bytes of the log per second that are read again and verified; 0: none" },
	{ "max_record_bytes", CONF_AT_SIZE(S, max_record_bytes), .text = "1M", .min = 1 * KiB, .max = 64 * MiB,
	  .help = "largest record, its header included" },
	{ "dedup_window", CONF_AT_NUMBER(S, dedup_window), .text = "1000000", .min = 1, .max = 1000000000,
	  .unit = "records", .help = "ids are known that long; fixed when the cluster is founded" },
	{ "dedup_time", CONF_AT_DURATION(S, dedup_time_ms), .text = "0", .unit = "s", .max = 366 * DAY_MS,
	  .help = "and at least so long, as far as dedup_bytes allows" },
	{ "dedup_bytes", CONF_AT_SIZE(S, dedup_bytes), .text = "0", .max = 1024 * GiB,
	  .help = "memory for ids; 0: what dedup_window needs" },
	{ "on_role_change", CONF_AT_STRING(S, on_role_change), .flags = CONF_RELOAD, .meta = "COMMAND",
	  .help = "run with role, epoch and engine when they change" },
	{ "max_clients", CONF_AT_NUMBER(S, max_clients), .text = "10000", .min = 1, .max = 1000000,
	  .unit = "connections", .help = "clients and gateways at a time" },
	{ "hold_timeout", CONF_AT_DURATION(S, hold_timeout_ms), .text = "30", .unit = "s", .min = 100, .max = 3600000,
	  .help = "how long a client's message waits before it gets an error" },
	{ "cache_bytes", CONF_AT_SIZE(S, cache_bytes), .text = "64M", .min = 1 * MiB, .max = 1024 * GiB,
	  .help = "newest records kept in memory" },
	{ "uncommitted_bytes", CONF_AT_SIZE(S, uncommitted_bytes), .text = "64M", .min = 1 * MiB, .max = 16 * GiB,
	  .help = "records that wait for the secondaries; more wait at the clients" },
	{ "disk_timeout", CONF_AT_DURATION(S, disk_timeout_ms), .text = "2", .unit = "s", .min = 100, .max = 600000,
	  .help = "a write or sync that hangs longer costs the lead" },
	CONF_KEYS_LOG(S, log),
};

static void check_sizes(const struct settings *s, struct conf_errors *e)
{
	if (s->segment_bytes < 4 * s->max_record_bytes)
		conf_error(e, "segment_bytes", "must be at least 4 * max_record_bytes = %" PRIu64,
			4 * s->max_record_bytes);
	if (s->uncommitted_bytes < 4 * s->max_record_bytes)
		conf_error(e, "uncommitted_bytes", "must be at least 4 * max_record_bytes = %" PRIu64,
			4 * s->max_record_bytes);
	if (s->retention_bytes && s->retention_bytes < 2 * s->segment_bytes)
		conf_error(e, "retention_bytes", "must be 0 or at least 2 * segment_bytes = %" PRIu64,
			2 * s->segment_bytes);
	if (s->dedup_bytes && s->dedup_bytes < s->dedup_window * SETTINGS_ID_BYTES)
		conf_error(e, "dedup_bytes", "must be 0 or at least dedup_window * %d bytes = %" PRIu64,
			SETTINGS_ID_BYTES, s->dedup_window * SETTINGS_ID_BYTES);
	if (s->dedup_time_ms && !s->dedup_bytes)
		conf_error(e, "dedup_time", "needs dedup_bytes, the memory it may take");
}

/* A beat goes out at every third of the lease, with a third to be answered: two may be lost. */
static void check_times(const struct settings *s, struct conf_errors *e)
{
	if (s->lease_ttl_ms % 1000)
		conf_error(e, "lease_ttl", "etcd counts in whole seconds");
	if (s->lease_ttl_ms < 2 * s->failure_timeout_ms)
		conf_error(e, "lease_ttl",
			"must be at least 2 * failure_timeout = %" PRIu64
			" ms: it is renewed at every third of its life, and "
			"must outlive one failed renewal",
			2 * s->failure_timeout_ms);
	if (s->disk_timeout_ms >= s->lease_ttl_ms)
		conf_error(e, "disk_timeout",
			"must be less than lease_ttl = %" PRIu64 " ms, or the lease ends before the lead "
			"is given up",
			s->lease_ttl_ms);
	if (s->hold_timeout_ms < 2 * s->failure_timeout_ms)
		conf_error(e, "hold_timeout",
			"must be at least 2 * failure_timeout = %" PRIu64 " ms: a takeover takes that long",
			2 * s->failure_timeout_ms);
}

static void check_set(const struct settings *s, struct conf_errors *e)
{
	if (s->min_insync > s->founders.n)
		conf_error(e, "min_insync", "is more than there are founders (%zu): nothing could ever be acknowledged",
			s->founders.n);
	for (size_t i = 0; i < s->founders.n; i++)
		for (size_t j = 0; j < i; j++)
			if (strcmp(s->founders.items[i], s->founders.items[j]) == 0)
				conf_error(e, "founders", "\"%s\" stands there twice", s->founders.items[i]);
}

static void check_etcd(const struct settings *s, struct conf_errors *e)
{
	if (!s->etcd_cert != !s->etcd_key)
		conf_error(e, s->etcd_cert ? "etcd_cert" : "etcd_key", "etcd_cert and etcd_key go together");
	if (!s->etcd_user != !s->etcd_password_file)
		conf_error(e, s->etcd_user ? "etcd_user" : "etcd_password_file",
			"etcd_user and etcd_password_file go together");
}

static void check(const void *conf, struct conf_errors *errors)
{
	const struct settings *s = conf;

	check_sizes(s, errors);
	check_times(s, errors);
	check_set(s, errors);
	check_etcd(s, errors);
	if (s->advertise.port == 0 && s->listen.host[0] == '\0')
		conf_error(errors, "listen", "all addresses: advertise must say which of them others connect to");
}

const struct conf_desc settings_desc = {
	.program = "leash-noded",
	.usage = "NAME [OPTION]...",
	.about = "Keeps the log of an engine: as primary, or as secondary that can take over.",
	.keys = keys,
	.n_keys = ARRAY_SIZE(keys),
	.size = sizeof(struct settings),
	.operands = 1,
	.check = check,
};

char *settings_runtime_dir(const struct settings *s, const char *name)
{
	char *path;

	if (s->runtime_dir)
		return strdup(s->runtime_dir);
	return asprintf(&path, "/run/leash/%s", name) < 0 ? NULL : path;
}

int settings_password(const struct settings *s, char **ret_password)
{
	_cleanup_(closep) int fd = -1;
	_cleanup_(freep) char *text = NULL;
	ssize_t n;

	*ret_password = NULL;
	if (!s->etcd_password_file)
		return 0;
	text = calloc(1, PASSWORD_MAX + 1);
	if (!text)
		return -ENOMEM;
	fd = open(s->etcd_password_file, O_RDONLY | O_CLOEXEC);
	n = fd >= 0 ? read(fd, text, PASSWORD_MAX) : -1;
	if (n < 0)
		return -errno;
	text[strcspn(text, "\r\n")] = '\0';
	*ret_password = TAKE(text);
	return 0;
}
