#include "gateway/diag_gateway.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clk.h"
#include "base/diag.h"

#define NUMBER_TEXT 24

static const char *number(uint64_t n, char text[NUMBER_TEXT])
{
	(void)snprintf(text, NUMBER_TEXT, "%" PRIu64, n);
	return text;
}

void diag_new_primary(const char *engine, const char *node, leash_epoch epoch, uint64_t pause_ms)
{
	char epoch_text[NUMBER_TEXT], pause_text[NUMBER_TEXT];
	struct diag_field fields[] = {
		{ "LEASH_ENGINE", engine },
		{ "LEASH_NODE", node },
		{ "LEASH_EPOCH", number(epoch, epoch_text) },
		{ "LEASH_PAUSE_MS", number(pause_ms, pause_text) },
	};

	if (pause_ms)
		diag_event(LOG_NOTICE, DIAG_GW_NEW_PRIMARY, fields, ARRAY_SIZE(fields),
			"primary of '%s' is now '%s' (epoch %s), after a pause of %s ms", engine, node,
			epoch_text, pause_text);
	else
		diag_event(LOG_NOTICE, DIAG_GW_NEW_PRIMARY, fields, ARRAY_SIZE(fields),
			"primary of '%s' is now '%s' (epoch %s)", engine, node, epoch_text);
}

void diag_no_primary(const char *engine, const char *last_node, leash_epoch last_epoch)
{
	char epoch_text[NUMBER_TEXT];
	struct diag_field fields[] = {
		{ "LEASH_ENGINE", engine },
		{ "LEASH_NODE", last_node },
		{ "LEASH_EPOCH", number(last_epoch, epoch_text) },
	};

	diag_event(LOG_WARNING, DIAG_GW_NO_PRIMARY, fields, ARRAY_SIZE(fields),
		"'%s' has no primary (the last was '%s', epoch %s): messages are held until there is one",
		engine, last_node, epoch_text);
}

/* An etcd that comes and goes all the time is told of now and then. Both belong to the control thread. */
static struct diag_limit etcd_limit = DIAG_LIMIT(6, 60 * NS_PER_S);
static bool etcd_lost_told;

void diag_etcd_lost(const char *endpoint, const char *reason)
{
	struct diag_field fields[] = { { "LEASH_ETCD_ENDPOINT", endpoint } };
	uint64_t dropped;

	etcd_lost_told = diag_limit_pass(&etcd_limit, clk_boot_ns(), &dropped);
	if (!etcd_lost_told)
		return;
	diag_event(LOG_WARNING, DIAG_GW_ETCD_LOST, fields, ARRAY_SIZE(fields),
		"etcd does not answer (last tried '%s': %s); going on with the primaries known, and with what nodes say",
		endpoint, reason);
}

void diag_etcd_back(const char *endpoint, uint64_t away_ms)
{
	char away_text[NUMBER_TEXT];
	struct diag_field fields[] = {
		{ "LEASH_ETCD_ENDPOINT", endpoint },
		{ "LEASH_PAUSE_MS", number(away_ms, away_text) },
	};

	if (!etcd_lost_told)
		return;
	diag_event(LOG_NOTICE, DIAG_GW_ETCD_BACK, fields, ARRAY_SIZE(fields),
		"etcd answers again ('%s') after %s ms", endpoint, away_text);
}

/* Workers have a connection each, and try again and again: one line stands for many. */
static struct diag_limit rejected_limit = DIAG_LIMIT(4, 60 * NS_PER_S);
static struct diag_limit unreadable_limit = DIAG_LIMIT(10, 60 * NS_PER_S);

void diag_rejected(const char *engine, const char *node, const char *address, const char *text)
{
	struct diag_field fields[] = { { "LEASH_ENGINE", engine }, { "LEASH_NODE", node } };
	uint64_t dropped;

	if (!diag_limit_pass(&rejected_limit, clk_boot_ns(), &dropped))
		return;
	diag_event(LOG_WARNING, DIAG_GW_REJECTED, fields, ARRAY_SIZE(fields),
		"node '%s' of '%s' at %s refuses the connection: \"%s\"; trying again (%" PRIu64
		" more like this before)",
		node, engine, address, text, dropped);
}

void diag_unreadable(const char *engine, const char *why)
{
	struct diag_field fields[] = { { "LEASH_ENGINE", engine } };
	uint64_t dropped;

	if (diag_limit_pass(&unreadable_limit, clk_boot_ns(), &dropped))
		diag_event(LOG_WARNING, DIAG_GW_UNREADABLE, fields, ARRAY_SIZE(fields),
			"a key of '%s' in etcd is ignored: %s", engine, why);
}

void diag_went_back(const char *reason)
{
	diag_event(LOG_WARNING, DIAG_GW_WENT_BACK, NULL, 0,
		"etcd's state is older than what it showed before (%s); the primaries known stay until a higher epoch",
		reason);
}

void diag_founded(const char *engine, leash_id cluster)
{
	char cluster_text[NUMBER_TEXT];
	struct diag_field fields[] = { { "LEASH_ENGINE", engine }, { "LEASH_CLUSTER", cluster_text } };

	(void)snprintf(cluster_text, sizeof cluster_text, "%016" PRIx64, cluster);
	diag_event(LOG_WARNING, DIAG_GW_FOUNDED, fields, ARRAY_SIZE(fields),
		"'%s' was founded anew: it is cluster %s now; messages that the former cluster has not answered are in doubt",
		engine, cluster_text);
}

void diag_drained(uint64_t ms, uint32_t clients_left)
{
	if (clients_left)
		diag_event(LOG_WARNING, DIAG_GW_DRAINED, NULL, 0,
			"stopping: %" PRIu32 " clients were closed with commands unanswered after %" PRIu64
			" ms",
			clients_left, ms);
	else
		diag_event(LOG_NOTICE, DIAG_GW_DRAINED, NULL, 0,
			"stopping: all commands were answered, in %" PRIu64 " ms", ms);
}
