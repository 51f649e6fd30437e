#include "gateway/settings.h"

#include "gateway/book.h"

#define LISTEN_DEFAULT "127.0.0.1:8080"

static const struct conf_key keys[] = {
	/* No default in the table: an inherited socket takes the place of one that was not given. */
	{ "listen", CONF_AT_ADDRESS(struct settings, listen),
	  .help = "address to accept clients on (default " LISTEN_DEFAULT "; an inherited socket replaces it)" },
	{ "engines", CONF_AT_LIST(struct settings, engines), .text = "engine", .min = 1, .max = CONF_LIST_MAX,
	  .check = conf_check_name, .flags = CONF_RELOAD, .meta = "NAME,...", .help = "engines to serve" },
	{ "etcd_endpoints", CONF_AT_LIST(struct settings, etcd_endpoints), .text = "http://127.0.0.1:2379", .min = 1,
	  .max = 16, .meta = "URL,...", .help = "etcd's members" },
	{ "etcd_cacert", CONF_AT_PATH(struct settings, etcd_cacert), .help = "CA that https endpoints are verified with" },
	{ "etcd_cert", CONF_AT_PATH(struct settings, etcd_cert), .help = "client certificate for etcd" },
	{ "etcd_key", CONF_AT_PATH(struct settings, etcd_key), .help = "its key" },
	{ "etcd_user", CONF_AT_STRING(struct settings, etcd_user), .help = "user for etcd's authentication" },
	{ "etcd_password_file", CONF_AT_PATH(struct settings, etcd_password_file), .help = "file with its password" },
	{ "workers", CONF_AT_NUMBER(struct settings, workers), .text = "0", .max = 256, .unit = "threads",
	  .help = "threads that serve clients; 0: one per CPU" },
	{ "hold_timeout", CONF_AT_DURATION(struct settings, hold_timeout_ms), .text = "30s", .unit = "s", .min = 100,
	  .max = 3600000, .flags = CONF_RELOAD, .help = "how long a message waits for a primary" },
	{ "inflight_max", CONF_AT_NUMBER(struct settings, inflight_max), .text = "8192", .min = 1, .max = 1048576,
	  .unit = "messages", .help = "unanswered messages of a worker for an engine" },
	{ "inflight_bytes", CONF_AT_SIZE(struct settings, inflight_bytes), .text = "64M", .min = 65536,
	  .max = UINT64_C(1) << 34, .help = "bytes that they may take" },
	{ "max_record_bytes", CONF_AT_SIZE(struct settings, max_record_bytes), .text = "1M", .min = 1024, .max = 64u << 20,
	  .help = "largest record, as the nodes have it" },
	{ "max_clients", CONF_AT_NUMBER(struct settings, max_clients), .text = "10000", .min = 1, .max = 1000000,
	  .unit = "connections", .help = "client connections" },
	CONF_KEYS_LOG(struct settings, log),
};

static void check(const void *conf, struct conf_errors *errors)
{
	const struct settings *s = conf;

	for (size_t i = 0; i < s->engines.n; i++)
		for (size_t j = 0; j < i; j++)
			if (strcmp(s->engines.items[i], s->engines.items[j]) == 0)
				conf_error(errors, "engines", "'%s' stands twice", s->engines.items[i]);
	if (!s->etcd_cert != !s->etcd_key)
		conf_error(errors, s->etcd_cert ? "etcd_cert" : "etcd_key", "etcd_cert and etcd_key go together");
	if (!s->etcd_user != !s->etcd_password_file)
		conf_error(errors, s->etcd_user ? "etcd_user" : "etcd_password_file",
			"etcd_user and etcd_password_file go together");
	if (s->inflight_bytes < s->max_record_bytes)
		conf_error(errors, "inflight_bytes", "must be at least max_record_bytes (%llu)",
			(unsigned long long)s->max_record_bytes);
}

const struct conf_desc settings_desc = {
	.program = "leash-gatewayd",
	.about = "Takes messages from Redis clients and brings each to the primary of its engine, once, whoever that is.",
	.keys = keys,
	.n_keys = ARRAY_SIZE(keys),
	.size = sizeof(struct settings),
	.check = check,
};

bool settings_listen_given(const struct settings *s)
{
	return s->listen.host[0] || s->listen.port;
}
