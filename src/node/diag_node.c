#include "node/diag_node.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clk.h"
#include "base/diag.h"
#include "base/ids.h"

#define NOTE_KINDS (REP_NOTE_VIOLATION + 1)

/*
 * The sentence of each kind. It can be read alone, at 3 am, among those of other nodes: who did what is in it. In it
 * $S is this node, $P the other one, $E epoch, $R record, $M the in-sync set, $N min_insync, $W the reason, $: the reason
 * behind a colon, $( in brackets, both nothing without one. `alone`: when there is no other node.
 */
static const struct {
	int level;
	const char *id, *text, *alone;
} notes[NOTE_KINDS] = {
	[REP_NOTE_FOUNDED] = { LOG_NOTICE, DIAG_ID_FOUNDED, "$S founded the cluster" },
	[REP_NOTE_JOINED_CLUSTER] = { LOG_NOTICE, DIAG_ID_JOINED_CLUSTER, "$S belongs to the cluster from now on" },
	[REP_NOTE_PRIMARY] = { LOG_NOTICE, DIAG_ID_PRIMARY,
		"$S became primary in epoch $E, after $P, with a log up to record $R; in sync: $M",
		"$S became primary in epoch $E, with a log up to record $R; in sync: $M" },
	[REP_NOTE_DEPOSED] = { LOG_NOTICE, DIAG_ID_DEPOSED, "$S stepped down: $P leads in epoch $E", "$S stepped down" },
	[REP_NOTE_FOLLOWING] = { LOG_INFO, DIAG_ID_FOLLOWING,
		"$S follows $P in epoch $E; their logs agree up to record $R" },
	[REP_NOTE_SUSPECT] = { LOG_WARNING, DIAG_ID_SUSPECT, "leadership change required after $P (epoch $E)$:",
		"leadership change required (epoch $E)$:" },
	[REP_NOTE_CAMPAIGN] = { LOG_NOTICE, DIAG_ID_CAMPAIGN, "$S asks etcd for the lead in epoch $E, after $P$:",
		"$S asks etcd for the lead in epoch $E$:" },
	[REP_NOTE_LOST] = { LOG_INFO, DIAG_ID_LOST, "$S did not get the lead in epoch $E: $P leads",
		"$S did not get the lead in epoch $E" },
	[REP_NOTE_INSYNC_ADD] = { LOG_NOTICE, DIAG_ID_INSYNC_ADD, "$P joined the in-sync set, which is now $M" },
	[REP_NOTE_INSYNC_REMOVE] = { LOG_WARNING, DIAG_ID_INSYNC_REMOVE, "$P left the in-sync set$(, which is now $M" },
	[REP_NOTE_BELOW_MIN] = { LOG_ERR, DIAG_ID_BELOW_MIN,
		"fewer than min_insync ($N) nodes in sync answer: messages wait and are not acknowledged" },
	[REP_NOTE_COMMITTING] = { LOG_NOTICE, DIAG_ID_COMMITTING,
		"enough nodes in sync answer again: messages are acknowledged" },
	[REP_NOTE_CAUGHT_UP] = { LOG_INFO, DIAG_ID_CAUGHT_UP,
		"$P caught up at record $R and is required for every record from now on" },
	[REP_NOTE_CUT] = { LOG_WARNING, DIAG_ID_CUT,
		"$S cut off unacknowledged records of an older epoch, from record $R on, and kept them aside: $P, primary of "
		"epoch $E, has others" },
	[REP_NOTE_RESET] = { LOG_WARNING, DIAG_ID_RESET,
		"$S is too far behind $P: it drops its log and takes a fresh copy, from record $R on" },
	[REP_NOTE_HANDOVER] = { LOG_NOTICE, DIAG_ID_HANDOVER, "$S hands the lead over to $P" },
	[REP_NOTE_HANDOVER_FAILED] = { LOG_WARNING, DIAG_ID_HANDOVER_FAILED,
		"the hand-over to $P ended without a change$:", "there is no hand-over$:" },
	[REP_NOTE_LEASE_LOST] = { LOG_WARNING, DIAG_ID_LEASE_LOST,
		"the leader key of $S is gone from etcd: it goes on, and confirms its lead of epoch $E" },
	[REP_NOTE_CONFIRMED] = { LOG_NOTICE, DIAG_ID_CONFIRMED,
		"$S renewed its lead after trouble: it is still primary of epoch $E" },
	[REP_NOTE_DAMAGED] = { LOG_ERR, DIAG_ID_DAMAGED,
		"$S lost records that it had acknowledged, says $P; its log ends at record $R" },
	[REP_NOTE_STATE_GONE] = { LOG_ERR, DIAG_ID_STATE_GONE,
		"etcd has lost the state of this engine; the log of $S ends at record $R: see leash-recover(1)" },
	[REP_NOTE_STATE_BACK] = { LOG_NOTICE, DIAG_ID_STATE_BACK, "etcd has the state of this engine again, epoch $E" },
	[REP_NOTE_HALTED] = { LOG_ERR, DIAG_ID_HALTED,
		"$S stands aside: etcd's state is older than what it has seen$:" },
	[REP_NOTE_FOREIGN] = { LOG_ERR, DIAG_ID_FOREIGN,
		"the data directory of $S belongs to another cluster than the one in etcd; nothing was touched" },
	[REP_NOTE_FOUNDED_ANEW] = { LOG_WARNING, DIAG_ID_FOUNDED_ANEW,
		"the cluster was founded anew before $S had written down which one it belongs to: this process ends, and its next "
		"life joins" },
	[REP_NOTE_MISCONFIGURED] = { LOG_ERR, DIAG_ID_MISCONFIGURED,
		"$W of $S is not what the cluster was founded with, which is $R and cannot be changed" },
	[REP_NOTE_OVERRULED] = { LOG_ERR, DIAG_ID_OVERRULED,
		"\"leash recover\" chose a log without record $R, which $S has shown to readers: this process ends, and its next "
		"life follows" },
	[REP_NOTE_VIOLATION] = { LOG_ERR, DIAG_ID_VIOLATION,
		"$P, primary of epoch $E, broke a rule at record $R$:; nothing was changed" },
};

/* What repeats quickly, a primary that is refused again and again, hides no other kind of note. */
static struct diag_limit note_limits[NOTE_KINDS] = { [0 ... NOTE_KINDS - 1] = DIAG_LIMIT(20, 60 * NS_PER_S) };

struct texts {
	char epoch[24], seq[24], min_insync[16], members[DIAG_TEXT_MAX / 2];
};

struct sentence {
	char text[DIAG_TEXT_MAX + 1];
	size_t n;
};

static _printf_(2, 3) void put(struct sentence *s, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(s->text + s->n, sizeof s->text - s->n, fmt, ap);
	va_end(ap);
	s->n = MIN2(s->n + (size_t)MAX2(n, 0), sizeof s->text - 1);
}

static void put_mark(struct sentence *s, char mark, const struct rep_note *n, const char *self, const struct texts *t)
{
	switch (mark) {
	case 'S': put(s, "%s", self); break;
	case 'P': put(s, "%s", n->node); break;
	case 'E': put(s, "%s", t->epoch); break;
	case 'R': put(s, "%s", t->seq); break;
	case 'M': put(s, "%s", t->members); break;
	case 'N': put(s, "%s", t->min_insync); break;
	case 'W': put(s, "%s", n->text ? n->text : ""); break;
	case ':': put(s, "%s%s", n->text ? ": " : "", n->text ? n->text : ""); break;
	case '(': put(s, "%s%s%s", n->text ? " (" : "", n->text ? n->text : "", n->text ? ")" : ""); break;
	}
}

static void write_sentence(struct sentence *s, const struct rep_note *n, const char *self, const struct texts *t)
{
	const char *p = notes[n->kind].text;

	if (!n->node[0] && notes[n->kind].alone)
		p = notes[n->kind].alone;
	s->n = 0;
	for (; *p; p++) {
		if (*p == '$' && p[1])
			put_mark(s, *++p, n, self, t);
		else
			put(s, "%c", *p);
	}
}

static void fill_texts(struct texts *t, const struct rep_note *n, const struct rep_insync *set)
{
	size_t at = 0;

	(void)snprintf(t->epoch, sizeof t->epoch, "%" PRIu64, n->epoch);
	(void)snprintf(t->seq, sizeof t->seq, "%" PRIu64, n->seq);
	(void)snprintf(t->min_insync, sizeof t->min_insync, "%" PRIu32, set->min_insync);
	t->members[0] = '\0';
	for (uint32_t i = 0; i < set->n_members && at < sizeof t->members; i++)
		at += (size_t)snprintf(t->members + at, sizeof t->members - at, "%s%s", i ? ", " : "",
			set->members[i].node);
}

#define NOTE_FIELDS_MAX 5

static size_t note_fields(const struct rep_note *n, const struct texts *t, struct diag_field f[NOTE_FIELDS_MAX])
{
	size_t k = 0;

	f[k++] = (struct diag_field){ "LEASH_EPOCH", t->epoch };
	f[k++] = (struct diag_field){ "LEASH_SEQ", t->seq };
	if (n->node[0])
		f[k++] = (struct diag_field){ "LEASH_PEER", n->node };
	if (n->text)
		f[k++] = (struct diag_field){ "LEASH_REASON", n->text };
	if (n->kind == REP_NOTE_INSYNC_ADD || n->kind == REP_NOTE_INSYNC_REMOVE || n->kind == REP_NOTE_PRIMARY)
		f[k++] = (struct diag_field){ "LEASH_MEMBERS", t->members };
	return k;
}

void diag_note(const struct rep_note *n, const char *self, const struct rep_insync *set)
{
	struct diag_field fields[NOTE_FIELDS_MAX];
	struct sentence s;
	struct texts t;
	uint64_t dropped;
	size_t k;

	if (!diag_limit_pass(&note_limits[n->kind], clk_boot_ns(), &dropped))
		return;
	fill_texts(&t, n, set);
	k = note_fields(n, &t, fields);
	write_sentence(&s, n, self, &t);
	if (dropped)
		put(&s, " (%" PRIu64 " like this before were left out)", dropped);
	diag_event(notes[n->kind].level, notes[n->kind].id, fields, k, "%s", s.text);
}

static void event_of(int level, const char *id, const char *reason, const char *text)
{
	struct diag_field f = { "LEASH_REASON", reason };

	diag_event(level, id, &f, reason ? 1 : 0, "%s%s%s", text, reason ? ": " : "", reason ? reason : "");
}

/* An etcd that comes and goes all the time is told of now and then. Both belong to the loop's thread. */
static struct diag_limit etcd_limit = DIAG_LIMIT(6, 60 * NS_PER_S);
static bool etcd_away_told;

void diag_etcd_away(const char *why)
{
	uint64_t dropped;

	etcd_away_told = diag_limit_pass(&etcd_limit, clk_boot_ns(), &dropped);
	if (etcd_away_told)
		event_of(LOG_WARNING, DIAG_ID_ETCD_AWAY, why,
			"etcd does not answer; records go on committing, changes of primary and in-sync set wait");
}

void diag_etcd_back(void)
{
	if (etcd_away_told)
		event_of(LOG_NOTICE, DIAG_ID_ETCD_BACK, NULL, "etcd answers again");
}

void diag_etcd_unreadable(const char *what)
{
	event_of(LOG_ERR, DIAG_ID_ETCD_UNREADABLE, what, "a key in etcd cannot be read and is not acted upon");
}

void diag_log_damaged(leash_seq end, const char *reason, leash_id new_incarnation)
{
	char inc[LEASH_ID_TEXT], at[24];
	struct diag_field f[] = { { "LEASH_SEQ", at }, { "LEASH_REASON", reason } };

	(void)snprintf(at, sizeof at, "%" PRIu64, end);
	diag_event(LOG_ERR, DIAG_ID_LOG_DAMAGED, f, ARRAY_SIZE(f),
		"the log is damaged: %s; the damage was kept aside, the log ends at record %s, and this node goes on as a new "
		"one (incarnation %s) that copies the rest from its peers",
		reason, at, id_format(new_incarnation, inc));
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
	char at[24];
	struct diag_field f = { "LEASH_SEQ", at };

	(void)snprintf(at, sizeof at, "%" PRIu64, from);
	diag_event(LOG_INFO, DIAG_ID_LOG_TORN, &f, 1,
		"the log's last write was torn by a crash and cut off from record %s on; nothing of it had been acknowledged", at);
}

/* What is tried again and again comes again and again. */
static struct diag_limit problem_limit = DIAG_LIMIT(5, 60 * NS_PER_S);

void diag_log_problem(const char *text)
{
	uint64_t dropped;

	if (!diag_limit_pass(&problem_limit, clk_boot_ns(), &dropped))
		return;
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

void diag_disk_full(void)
{
	event_of(LOG_ERR, DIAG_ID_DISK_FULL, NULL,
		"no room on disk for the next segment of the log: appends end when this one is full");
}

void diag_disk_room(void)
{
	event_of(LOG_NOTICE, DIAG_ID_DISK_ROOM, NULL, "there is room on disk again");
}

void diag_started(const char *self, const char *engine, const char *address, leash_seq start, leash_seq end)
{
	bool empty = start > end;
	char range[64] = "";
	struct diag_field f = { "LEASH_SEQ", range };

	if (!empty)
		(void)snprintf(range, sizeof range, "%" PRIu64 "-%" PRIu64, start, end);
	diag_event(LOG_INFO, DIAG_ID_STARTED, &f, empty ? 0 : 1, "%s, a node of engine %s, listens on %s; its log %s%s", self,
		engine, address, empty ? "is empty" : "has records ", range);
}

void diag_resigned(const char *why)
{
	event_of(LOG_WARNING, DIAG_ID_RESIGNED, why, "gives the lease back so that another can lead");
}
