#include "node/diag_node.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clk.h"
#include "base/diag.h"
#include "base/ids.h"

static const struct {
	int level;
	const char *id;
} notes[] = {
	[REP_NOTE_FOUNDED] = { LOG_NOTICE, DIAG_ID_FOUNDED },
	[REP_NOTE_JOINED_CLUSTER] = { LOG_NOTICE, DIAG_ID_JOINED_CLUSTER },
	[REP_NOTE_PRIMARY] = { LOG_NOTICE, DIAG_ID_PRIMARY },
	[REP_NOTE_DEPOSED] = { LOG_NOTICE, DIAG_ID_DEPOSED },
	[REP_NOTE_FOLLOWING] = { LOG_INFO, DIAG_ID_FOLLOWING },
	[REP_NOTE_SUSPECT] = { LOG_WARNING, DIAG_ID_SUSPECT },
	[REP_NOTE_CAMPAIGN] = { LOG_NOTICE, DIAG_ID_CAMPAIGN },
	[REP_NOTE_LOST] = { LOG_INFO, DIAG_ID_LOST },
	[REP_NOTE_INSYNC_ADD] = { LOG_NOTICE, DIAG_ID_INSYNC_ADD },
	[REP_NOTE_INSYNC_REMOVE] = { LOG_WARNING, DIAG_ID_INSYNC_REMOVE },
	[REP_NOTE_BELOW_MIN] = { LOG_ERR, DIAG_ID_BELOW_MIN },
	[REP_NOTE_COMMITTING] = { LOG_NOTICE, DIAG_ID_COMMITTING },
	[REP_NOTE_CAUGHT_UP] = { LOG_INFO, DIAG_ID_CAUGHT_UP },
	[REP_NOTE_CUT] = { LOG_WARNING, DIAG_ID_CUT },
	[REP_NOTE_RESET] = { LOG_WARNING, DIAG_ID_RESET },
	[REP_NOTE_HANDOVER] = { LOG_NOTICE, DIAG_ID_HANDOVER },
	[REP_NOTE_HANDOVER_FAILED] = { LOG_WARNING, DIAG_ID_HANDOVER_FAILED },
	[REP_NOTE_LEASE_LOST] = { LOG_WARNING, DIAG_ID_LEASE_LOST },
	[REP_NOTE_CONFIRMED] = { LOG_NOTICE, DIAG_ID_CONFIRMED },
	[REP_NOTE_DAMAGED] = { LOG_ERR, DIAG_ID_DAMAGED },
	[REP_NOTE_STATE_GONE] = { LOG_ERR, DIAG_ID_STATE_GONE },
	[REP_NOTE_STATE_BACK] = { LOG_NOTICE, DIAG_ID_STATE_BACK },
	[REP_NOTE_HALTED] = { LOG_ERR, DIAG_ID_HALTED },
	[REP_NOTE_FOREIGN] = { LOG_ERR, DIAG_ID_FOREIGN },
	[REP_NOTE_MISCONFIGURED] = { LOG_ERR, DIAG_ID_MISCONFIGURED },
	[REP_NOTE_OVERRULED] = { LOG_ERR, DIAG_ID_OVERRULED },
	[REP_NOTE_VIOLATION] = { LOG_ERR, DIAG_ID_VIOLATION },
};

/* A primary that is refused again and again, a view that stays wrong: bounded, all kinds together. */
static struct diag_limit note_limit = DIAG_LIMIT(50, 10 * NS_PER_S);

struct texts {
	char epoch[24], seq[24];
};

static size_t note_fields(const struct rep_note *n, struct texts *t, struct diag_field f[4])
{
	size_t k = 0;

	(void)snprintf(t->epoch, sizeof t->epoch, "%" PRIu64, n->epoch);
	(void)snprintf(t->seq, sizeof t->seq, "%" PRIu64, n->seq);
	f[k++] = (struct diag_field){ "LEASH_EPOCH", t->epoch };
	f[k++] = (struct diag_field){ "LEASH_SEQ", t->seq };
	if (n->node[0])
		f[k++] = (struct diag_field){ "LEASH_PEER", n->node };
	if (n->text)
		f[k++] = (struct diag_field){ "LEASH_REASON", n->text };
	return k;
}

void diag_note(const struct rep_note *n)
{
	struct diag_field fields[4];
	struct texts t;
	uint64_t dropped;
	size_t k = note_fields(n, &t, fields);

	if (!diag_limit_pass(&note_limit, clk_boot_ns(), &dropped))
		return;
	if (dropped)
		diag(LOG_WARNING, "%" PRIu64 " messages about the cluster's state were left out", dropped);
	diag_event(notes[n->kind].level, notes[n->kind].id, fields, k, "%s%s%s%s%s%s (epoch %s, record %s)",
		n->node[0] ? "\"" : "", n->node, n->node[0] ? "\": " : "", rep_note_text(n->kind), n->text ? ": " : "",
		n->text ? n->text : "", t.epoch, t.seq);
}

static void event_of(int level, const char *id, const char *reason, const char *text)
{
	struct diag_field f = { "LEASH_REASON", reason };

	diag_event(level, id, &f, reason ? 1 : 0, "%s%s%s", text, reason ? ": " : "", reason ? reason : "");
}

void diag_etcd_away(const char *why)
{
	event_of(LOG_WARNING, DIAG_ID_ETCD_AWAY, why,
		"etcd does not answer; records go on committing, changes of primary and in-sync set wait");
}

void diag_etcd_back(void)
{
	event_of(LOG_NOTICE, DIAG_ID_ETCD_BACK, NULL, "etcd answers again");
}

void diag_etcd_unreadable(const char *what)
{
	event_of(LOG_ERR, DIAG_ID_ETCD_UNREADABLE, what, "a key in etcd cannot be read and is not acted upon");
}

void diag_log_damaged(leash_seq end, const char *reason, leash_id new_incarnation)
{
	char inc[LEASH_ID_TEXT];

	event_of(LOG_ERR, DIAG_ID_LOG_DAMAGED, reason, "the log is damaged");
	diag(LOG_WARNING,
		"the damage was kept aside, the log ends at record %" PRIu64
		", and this node goes on as a new one (incarnation %s) that copies the rest from its peers",
		end, id_format(new_incarnation, inc));
}

/* A primary that cannot hand over meets the same damage again and again. */
static struct diag_limit damage_limit = DIAG_LIMIT(10, 60 * NS_PER_S);

void diag_damage_found(const char *path, uint64_t offset, leash_seq first, leash_seq last, const char *reason)
{
	char range[64], at[32];
	struct diag_field f[] = { { "LEASH_FILE", path }, { "LEASH_SEQ", range }, { "LEASH_OFFSET", at },
		{ "LEASH_REASON", reason } };
	uint64_t dropped;

	if (!diag_limit_pass(&damage_limit, clk_boot_ns(), &dropped))
		return;
	(void)snprintf(at, sizeof at, "%" PRIu64, offset);
	if (last)
		(void)snprintf(range, sizeof range, "%" PRIu64 "-%" PRIu64, first, last);
	else
		(void)snprintf(range, sizeof range, "%" PRIu64 "-", first);
	diag_event(LOG_ERR, DIAG_ID_DAMAGE_FOUND, f, ARRAY_SIZE(f),
		"the log is damaged at records %s%s%s: %s; they are neither served nor replicated, and %s", range,
		path[0] ? ", file " : "", path, reason,
		"this node takes them from its peers");
}

void diag_log_repaired(leash_seq seq, leash_seq first, leash_seq last, uint64_t records, const char *from)
{
	char range[64], n[32];
	struct diag_field f[] = { { "LEASH_SEQ", range }, { "LEASH_RECORDS", n }, { "LEASH_PEER", from } };

	(void)snprintf(n, sizeof n, "%" PRIu64, records);
	(void)snprintf(range, sizeof range, "%" PRIu64 "-%" PRIu64, records ? first : seq, records ? last : seq);
	if (records)
		diag_event(LOG_NOTICE, DIAG_ID_REPAIRED, f, ARRAY_SIZE(f),
			"the log is repaired: %s records of %s came from %s and other nodes in sync, proven by the chain; nothing "
			"is lost, and what was there is kept in damaged/", n, range, from);
	else
		diag_event(LOG_NOTICE, DIAG_ID_REPAIRED, f, ARRAY_SIZE(f),
			"the log is repaired: the segment of record %s was written anew from its own records", range);
}

/* While nobody has the records this comes again and again. */
static struct diag_limit repair_limit = DIAG_LIMIT(2, 60 * NS_PER_S);

void diag_repair_failed(leash_seq seq, const char *why, bool dormant, bool gives_up)
{
	char at[32];
	struct diag_field f[] = { { "LEASH_SEQ", at }, { "LEASH_REASON", why } };
	uint64_t dropped;

	(void)snprintf(at, sizeof at, "%" PRIu64, seq);
	if (!gives_up && !diag_limit_pass(&repair_limit, clk_boot_ns(), &dropped))
		return;
	diag_event(gives_up ? LOG_ERR : LOG_WARNING, DIAG_ID_REPAIR_FAILED, f, ARRAY_SIZE(f),
		"the log could not be repaired at record %s: %s; %s", at, why,
		!gives_up ? "this node stands aside and goes on asking; start the nodes that have the record, or, when "
			    "none has it any more, stop this one and run \"leash log set-aside\"" :
		dormant  ? "the damage is set aside" :
			   "a primary hands over, a secondary sets the damage aside");
}

void diag_log_dormant(leash_seq first, const char *reason)
{
	char at[32];
	struct diag_field f[] = { { "LEASH_SEQ", at }, { "LEASH_REASON", reason } };

	(void)snprintf(at, sizeof at, "%" PRIu64, first);
	diag_event(LOG_ERR, DIAG_ID_DORMANT, f, ARRAY_SIZE(f),
		"the log is damaged from record %s on (%s); this node takes no part until other nodes have given it what is "
		"missing", at, reason);
}

void diag_log_torn(leash_seq from)
{
	struct rep_note n = { .seq = from };
	struct diag_field fields[4];
	struct texts t;
	size_t k = note_fields(&n, &t, fields);

	diag_event(LOG_INFO, DIAG_ID_LOG_TORN, fields, k,
		"the log's last write was torn by a crash and cut off from record %s on; nothing of it had been acknowledged",
		t.seq);
}

void diag_log_problem(const char *text)
{
	event_of(LOG_WARNING, DIAG_ID_LOG_PROBLEM, text, "log");
}

void diag_log_failed(const char *text)
{
	event_of(LOG_ERR, DIAG_ID_LOG_FAILED, text,
		"the disk failed; this process ends, and what was not durable is taken from the peers");
}

void diag_disk_sick(uint64_t stuck_ms, bool primary)
{
	char why[64];

	(void)snprintf(why, sizeof why, "an operation has taken %" PRIu64 " ms so far", stuck_ms);
	event_of(LOG_WARNING, DIAG_ID_DISK_SICK, why,
		primary ? "the disk hangs; the lead is handed over" : "the disk hangs");
}

void diag_disk_well(void)
{
	event_of(LOG_NOTICE, DIAG_ID_DISK_WELL, NULL, "the disk answers again");
}

void diag_resigned(const char *why)
{
	event_of(LOG_WARNING, DIAG_ID_RESIGNED, why, "gives the lease back so that another can lead");
}
