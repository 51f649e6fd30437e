#include "replica/rep_int.h"

#include <errno.h>

/* ------------------------------------------------------------------------------------------------ life and set-up */

static bool conf_makes_sense(const struct rep_conf *c)
{
	must(c->node[0] && c->run && c->fresh_cluster && c->n_founders <= REP_NODES_MAX); /* no operator says these */
	return c->min_insync >= 1 && c->min_insync <= REP_NODES_MAX && c->n_founders >= 1 && c->dedup_window > 0 &&
	       c->heartbeat_ns > 0 && c->heartbeat_ns < c->failure_timeout_ns;
}

static int open_log(struct rep *r, const struct rep_log *log)
{
	struct dedup_conf dc = { .window = r->conf.dedup_window, .time_ns = r->conf.dedup_time_ns,
		.records_max = MAX2(r->conf.dedup_records_max, r->conf.dedup_window),
		.uncommitted_max = r->conf.uncommitted_max };
	int e = history_set(&r->hist, log->history, log->n_history);

	if (e)
		return e;
	e = dedup_new(&dc, &r->dedup);
	if (e)
		return e;
	r->start = log->start;
	r->end = r->durable = log->end;
	r->base = log->base;
	r->log_time_ns = log->log_time_ns;
	dedup_reset(r->dedup, rep_replay_from(r));
	return 0;
}

int rep_new(const struct rep_conf *conf, const struct rep_meta *meta, const struct rep_log *log, uint64_t now_ns,
	struct rep **ret_rep)
{
	struct rep *r;
	int e;

	must(log->start > 0 && log->end + 1 >= log->start);
	if (!conf_makes_sense(conf) || meta->incarnation == 0)
		return -EINVAL;
	r = calloc(1, sizeof *r);
	if (!r)
		return -ENOMEM;
	r->conf = *conf;
	r->meta = r->want = *meta;
	r->now_ns = now_ns;
	r->role = conf->dormant ? REP_ROLE_HALTED : REP_ROLE_SECONDARY;
	r->halted = conf->dormant ? "its log is damaged and is being repaired from other nodes" : NULL;
	r->key_gone_ns = now_ns;
	e = open_log(r, log);
	if (e) {
		rep_free(r);
		return e;
	}
	*ret_rep = r;
	return 0;
}

void rep_free(struct rep *r)
{
	if (!r)
		return;
	history_deinit(&r->hist);
	history_deinit(&r->follow.lead);
	dedup_free(r->dedup);
	free(r);
}

leash_seq rep_replay_from(const struct rep *r)
{
	return MAX2(r->start, dedup_replay_from(r->dedup, r->end));
}

void rep_replay(struct rep *r, const struct rep_rec *rec)
{
	dedup_apply(r->dedup, rec);
}

/* --------------------------------------------------------------------------------------------------------- actions */

struct rep_action *rep_act(struct rep *r, enum rep_action_kind kind)
{
	struct rep_action *a;

	must(r->n_actions < REP_ACTIONS_MAX);
	a = &r->actions[r->n_actions++];
	memset(a, 0, offsetof(struct rep_action, meta));
	a->kind = kind;
	return a;
}

const struct rep_action *rep_action(struct rep *r)
{
	return r->action_at < r->n_actions ? &r->actions[r->action_at++] : NULL;
}

static void copy_name(char to[LEASH_NAME_MAX + 1], const char *from)
{
	size_t n = strnlen(from, LEASH_NAME_MAX);

	memmove(to, from, n);
	to[n] = '\0';
}

void rep_note(struct rep *r, enum rep_note_kind kind, const char *node, leash_epoch epoch, leash_seq seq,
	const char *text)
{
	struct rep_action *a = rep_act(r, REP_ACT_NOTE);

	a->note = (struct rep_note){ .kind = kind, .epoch = epoch, .seq = seq, .text = text };
	if (node)
		copy_name(a->note.node, node);
}

struct rep_msg *rep_send(struct rep *r, const char *node, enum rep_link link, enum rep_msg_type type)
{
	struct rep_action *a = rep_act(r, REP_ACT_SEND);

	copy_name(a->node, node);
	a->link = link;
	a->msg = (struct rep_msg){ .type = type, .cluster = r->meta.cluster };
	return &a->msg;
}

void rep_wake_at(struct rep *r, uint64_t at_ns)
{
	r->wakeup_ns = MIN2(r->wakeup_ns, at_ns);
}

uint64_t rep_wakeup_ns(const struct rep *r)
{
	return r->wakeup_ns;
}

/* ----------------------------------------------------------------------------------------------------------- roles */

/* Which role may follow which; the drawing in HACKING is this table. */
static const struct {
	const char *name;
	uint32_t to; /* bits of enum rep_role */
} roles[] = {
#define TO(x) (1u << REP_ROLE_##x)
	[REP_ROLE_SECONDARY] = { "secondary", TO(CANDIDATE) | TO(WINNER) | TO(HALTED) },
	[REP_ROLE_CANDIDATE] = { "candidate", TO(SECONDARY) | TO(WINNER) | TO(HALTED) },
	[REP_ROLE_WINNER] = { "winner", TO(PRIMARY) | TO(SECONDARY) | TO(HALTED) },
	[REP_ROLE_PRIMARY] = { "primary", TO(SECONDARY) | TO(HALTED) },
	[REP_ROLE_HALTED] = { "halted", TO(SECONDARY) },
#undef TO
};

const char *rep_role_name(enum rep_role role)
{
	return roles[role].name;
}

void rep_set_role(struct rep *r, enum rep_role role)
{
	must(roles[r->role].to & (1u << role));
	r->role = role;
	/* A primary acts only in an epoch whose promise to itself is on disk (R4). */
	must(role != REP_ROLE_PRIMARY || (r->meta.promise == r->epoch && r->meta.promise_run == r->conf.run));
}

void rep_halt(struct rep *r, const char *why)
{
	rep_step_down(r, "", 0);
	rep_txn_drop(r);
	rep_unfollow(r);
	rep_set_role(r, REP_ROLE_HALTED);
	r->halted = why;
	rep_note(r, REP_NOTE_HALTED, NULL, r->meta.promise, r->end, why);
}

/* ----------------------------------------------------------------------------------------------------------- nodes */

bool rep_is_self(const struct rep *r, const char *node)
{
	return strcmp(r->conf.node, node) == 0;
}

bool rep_member(const struct rep_insync *set, const char *node, leash_id incarnation)
{
	for (uint32_t i = 0; i < set->n_members; i++)
		if (set->members[i].incarnation == incarnation && strcmp(set->members[i].node, node) == 0)
			return true;
	return false;
}

bool rep_self_insync(const struct rep *r)
{
	return rep_member(&r->cfg, r->conf.node, r->meta.incarnation);
}

struct peer *rep_peer_find(const struct rep *r, const char *name)
{
	for (uint32_t i = 0; i < r->n_peers; i++)
		if (strcmp(r->peers[i].name, name) == 0)
			return (struct peer *)&r->peers[i];
	return NULL;
}

const struct peer *rep_peer_or_nobody(const struct rep *r, const char *name)
{
	static const struct peer nobody;
	const struct peer *p = rep_peer_find(r, name);

	return p ? p : &nobody;
}

struct peer *rep_peer(struct rep *r, const char *name)
{
	struct peer *p = rep_peer_find(r, name);

	if (p || rep_is_self(r, name))
		return p;
	if (r->n_peers == REP_NODES_MAX)
		return NULL;
	p = &r->peers[r->n_peers++];
	*p = (struct peer){ .unlinked_ns = r->now_ns, .heard_ns = r->now_ns, .progress_ns = r->now_ns };
	copy_name(p->name, name);
	return p;
}

/* ------------------------------------------------------------------------------------------------------------- log */

/* A record was accepted into the log, as primary or as follower. */
void rep_log_append(struct rep *r, const struct rep_rec *rec)
{
	must(!r->cutting && rec->seq == r->end + 1 && rec->epoch >= history_last(&r->hist));
	history_append(&r->hist, rec->epoch, rec->seq);
	dedup_apply(r->dedup, rec);
	r->end = rec->seq;
	r->log_time_ns = rec->log_time_ns;
}

void rep_set_commit(struct rep *r, leash_seq seq)
{
	if (seq <= r->commit)
		return;
	must(seq <= r->end);
	r->commit = seq;
	dedup_commit(r->dedup, seq);
	rep_act(r, REP_ACT_COMMIT)->seq = seq;
}

static void on_durable(struct rep *r, leash_seq seq)
{
	must(!r->cutting); /* REP_EV_CUT says where we stand then */
	r->durable = MAX2(r->durable, MIN2(seq, r->end));
	if (r->role != REP_ROLE_PRIMARY)
		rep_follow_ack(r);
}

static void on_trimmed(struct rep *r, leash_seq start, struct leash_chain base)
{
	if (start <= r->start || start > r->end + 1)
		return;
	r->start = start;
	r->base = base;
	history_trim(&r->hist, start);
}

/* -------------------------------------------------------------------------------------------------------- metadata */

_Static_assert(sizeof(struct rep_meta) == 9 * sizeof(uint64_t), "meta_eq() compares bytes: no field may have padding");

static bool meta_eq(const struct rep_meta *a, const struct rep_meta *b)
{
	struct rep_meta x = *a;

	x.etcd_revision = b->etcd_revision; /* rises with every foreign write; it goes to disk with the next of the others */
	return memcmp(&x, b, sizeof x) == 0;
}

static void drive_meta(struct rep *r)
{
	struct rep_action *a;

	must(r->want.promise >= r->meta.promise); /* a promise never goes back (R4) */
	if (r->meta_ticket || (meta_eq(&r->want, &r->meta) && !r->meta_again))
		return;
	r->meta_again = false;
	r->flying = r->want;
	r->meta_ticket = ++r->next_ticket;
	a = rep_act(r, REP_ACT_META);
	a->ticket = r->meta_ticket;
	a->meta = r->flying;
}

static void on_meta(struct rep *r, uint64_t ticket)
{
	if (ticket != r->meta_ticket)
		return;
	r->meta_ticket = 0;
	if (r->meta.cluster != r->flying.cluster)
		rep_note(r, REP_NOTE_JOINED_CLUSTER, NULL, 0, 0, NULL);
	if (r->meta.log_epoch != r->flying.log_epoch || r->meta.cluster != r->flying.cluster)
		r->announced_dirty = true; /* a new incarnation has said so itself */
	r->meta = r->flying;
}

/* ------------------------------------------------------------------------------------------------------------ step */

static void on_link(struct rep *r, const struct rep_event *ev)
{
	struct peer *p = rep_peer(r, ev->link.node);

	if (!p)
		return;
	p->linked = ev->link.up;
	p->join = JOIN_NONE;
	if (ev->link.up) {
		p->conn = ev->link.conn;
		p->refused = false;
		rep_peer_linked(r, p);
		return;
	}
	p->unlinked_ns = r->now_ns;
	p->refused = ev->link.refused;
	p->hears = false;
}

static void on_msg(struct rep *r, const struct rep_event *ev)
{
	const struct rep_msg *m = ev->msg.msg;
	const char *from = ev->msg.from;

	if (r->role == REP_ROLE_HALTED || rep_is_self(r, from))
		return;
	switch (m->type) {
	case REP_MSG_LEAD: rep_on_lead(r, from, ev->msg.link, m); break;
	case REP_MSG_JOINED: rep_on_joined(r, from, m); break;
	case REP_MSG_RECORDS: rep_on_records(r, from, ev->msg.link, m); break;
	case REP_MSG_BEAT: rep_on_beat(r, from, ev->msg.link, m); break;
	case REP_MSG_ACK: rep_on_ack(r, from, m); break;
	case REP_MSG_REFUSE: rep_on_refuse(r, from, m); break;
	case REP_MSG_ASK: rep_on_ask(r, from, m); break;
	case REP_MSG_HEARS: rep_on_hears(r, from, m); break;
	case REP_MSG_RELAY: rep_on_relay(r, from, m); break;
	case REP_MSG_LOOK: (void)rep_act(r, REP_ACT_READ); break;
	case REP_MSG_RESET: rep_on_reset(r, from, m); break;
	case REP_MSG_DAMAGED: rep_on_damaged(r, from, m); break;
	case REP_MSG_FETCH:
	case REP_MSG_FETCHED: break; /* the node's own (R11) */
	}
}

/*
 * Everything that is to be done, derived from the state. The order is of no consequence for safety; it lets one step
 * go as far as it can.
 */
static void rep_drive(struct rep *r)
{
	r->wakeup_ns = r->now_ns + r->conf.heartbeat_ns;
	if (r->role == REP_ROLE_HALTED) {
		drive_meta(r);
		return;
	}
	rep_drive_damage(r);
	rep_drive_follow(r);
	rep_drive_winner(r);
	rep_drive_primary(r);
	if (r->role == REP_ROLE_PRIMARY)
		dedup_pass(r->dedup, rep_log_time(r));
	rep_drive_election(r);
	rep_drive_txn(r);
	drive_meta(r);
	if (r->announced_dirty) {
		r->announced_dirty = false;
		(void)rep_act(r, REP_ACT_ANNOUNCE);
	}
}

void rep_step(struct rep *r, const struct rep_event *ev)
{
	must(r->action_at == r->n_actions); /* all actions of the last step were taken */
	r->n_actions = r->action_at = 0;
	r->now_ns = MAX2(r->now_ns, ev->now_ns);
	if (r->conf.dormant) {
		r->wakeup_ns = UINT64_MAX;
		return;
	}
	switch (ev->kind) {
	case REP_EV_TICK: break;
	case REP_EV_VIEW: rep_on_view(r, ev->view); break;
	case REP_EV_TXN: rep_on_txn(r, ev); break;
	case REP_EV_LEASE: r->lease = ev->lease; break;
	case REP_EV_LINK: on_link(r, ev); break;
	case REP_EV_MSG: on_msg(r, ev); break;
	case REP_EV_DURABLE: on_durable(r, ev->seq); break;
	case REP_EV_CUT: rep_on_cut(r, ev->seq); break;
	case REP_EV_META: on_meta(r, ev->ticket); break;
	case REP_EV_FULL: rep_on_full(r, ev->seq); break;
	case REP_EV_TRIMMED: on_trimmed(r, ev->trimmed.start, ev->trimmed.base); break;
	case REP_EV_HANDOVER: rep_on_handover(r, ev); break;
	case REP_EV_DAMAGE: rep_on_damage(r, ev->damage.first, ev->damage.last); break;
	case REP_EV_MENDED: rep_on_mended(r, ev->mended.first, ev->mended.last); break;
	case REP_EV_INCARNATION: rep_on_incarnation(r, ev->incarnation.incarnation, ev->incarnation.end); break;
	}
	rep_drive(r);
}

/* --------------------------------------------------------------------------------------------------------- appends */

struct rep_verdict rep_peek(const struct rep *r, const struct rec_ident *ident)
{
	struct rep_verdict v = { .kind = REP_V_NOT_PRIMARY, .epoch = MAX2(r->meta.promise, r->cfg.epoch) };
	bool hold;

	if (r->role != REP_ROLE_PRIMARY)
		return v;
	v.epoch = r->epoch;
	hold = r->hand.active || r->end - r->commit >= r->conf.uncommitted_max;
	switch (dedup_lookup(r->dedup, ident, &v.seq)) {
	case DEDUP_KNOWN: v.kind = REP_V_KNOWN; return v;
	case DEDUP_CONFLICT: v.kind = REP_V_CONFLICT; return v;
	case DEDUP_OLD: v.kind = REP_V_OLD; return v;
	case DEDUP_UNKNOWN_SESSION: v.kind = REP_V_UNKNOWN_SESSION; return v;
	case DEDUP_SESSION_ORDER: v.kind = REP_V_SESSION_ORDER; return v;
	case DEDUP_FULL:
		/* Only commits make room in the table; after a restart they are still to be heard of. */
		v.kind = hold ? REP_V_HOLD : REP_V_FULL;
		return v;
	case DEDUP_NEW: break;
	}
	v.kind = hold ? REP_V_HOLD : REP_V_NEW;
	v.seq = v.kind == REP_V_NEW ? r->end + 1 : 0;
	return v;
}

void rep_submit(struct rep *r, const struct rec_ident *ident, uint32_t bytes, uint64_t now_ns, struct rep_rec *ret_rec)
{
	must(r->role == REP_ROLE_PRIMARY);
	r->now_ns = MAX2(r->now_ns, now_ns);
	*ret_rec = (struct rep_rec){ .seq = r->end + 1, .epoch = r->epoch, .log_time_ns = rep_log_time(r),
		.bytes = bytes, .ident = *ident };
	rep_log_append(r, ret_rec);
}

/* ---------------------------------------------------------------------------------------------------------- status */

static void peer_status(const struct rep *r, const struct peer *p, struct rep_peer_status *s)
{
	bool primary = r->role == REP_ROLE_PRIMARY;
	const char *why;

	*s = (struct rep_peer_status){ .linked = p->linked, .joined = primary && p->join == JOIN_JOINED,
		.required = primary && p->required, .incarnation = p->incarnation, .matched = primary ? p->have : 0,
		.heard_ns = p->heard_ns };
	copy_name(s->node, p->name);
	for (uint32_t i = 0; i < r->cfg.n_members; i++)
		if (strcmp(r->cfg.members[i].node, p->name) == 0) {
			s->insync = true;
			s->incarnation = r->cfg.members[i].incarnation;
		}
	if (primary && rep_peer_absent(r, p, s->insync ? s->incarnation : p->incarnation, &why))
		s->why_absent = why;
	else if (primary && !s->insync) {
		why = rep_peer_why(r, p, p->incarnation);
		s->why_absent = p->required ? "joining" : why ? why : "catching up";
	}
}

void rep_status(const struct rep *r, uint64_t now_ns, struct rep_status *ret)
{
	bool primary = r->role == REP_ROLE_PRIMARY;

	(void)now_ns;
	*ret = (struct rep_status){ .role = r->role, .epoch = rep_epoch(r), .log_start = r->start, .log_end = r->end,
		.durable = r->durable, .commit = r->commit, .readable = r->commit,
		.dedup_keep_from = dedup_oldest(r->dedup), .serving = primary ? r->serving : r->follow.serving,
		.holding = r->hand.active, .insync = rep_self_insync(r), .below_min = primary && r->below_min,
		.state_gone = r->state_gone, .paused = r->view.paused, .log_epoch = r->meta.log_epoch,
		.log_matched = history_last(&r->hist) == r->meta.log_epoch ? r->end : MIN2(r->meta.log_matched, r->end),
		.last_epoch = history_last(&r->hist), .meta = r->meta, .members = r->cfg, .log_time_ns = primary ? rep_log_time(r) : r->log_time_ns,
		.n_peers = r->n_peers, .halted = r->halted,
		.damaged = r->damage.known || r->damage.aside };
	copy_name(ret->primary, primary ? r->conf.node : r->follow.active ? r->follow.node : "");
	for (uint32_t i = 0; i < r->n_peers; i++)
		peer_status(r, &r->peers[i], &ret->peers[i]);
}

leash_seq rep_commit(const struct rep *r) { return r->commit; }
leash_seq rep_log_end(const struct rep *r) { return r->end; }
enum rep_role rep_role(const struct rep *r) { return r->role; }
leash_epoch rep_last_epoch(const struct rep *r) { return history_last(&r->hist); }
uint64_t rep_dedup_digest(const struct rep *r) { return dedup_digest(r->dedup); }

leash_epoch rep_epoch(const struct rep *r)
{
	if (r->role == REP_ROLE_PRIMARY || r->role == REP_ROLE_WINNER)
		return r->epoch;
	return r->follow.active ? r->follow.epoch : 0;
}

const char *rep_note_text(enum rep_note_kind kind)
{
	static const char *const texts[] = {
		[REP_NOTE_FOUNDED] = "cluster founded",
		[REP_NOTE_JOINED_CLUSTER] = "cluster id adopted",
		[REP_NOTE_PRIMARY] = "became primary",
		[REP_NOTE_DEPOSED] = "stepped down",
		[REP_NOTE_FOLLOWING] = "follows the primary",
		[REP_NOTE_SUSPECT] = "suspects the primary",
		[REP_NOTE_CAMPAIGN] = "asks etcd for the lead",
		[REP_NOTE_LOST] = "did not get the lead",
		[REP_NOTE_INSYNC_ADD] = "joined the in-sync set",
		[REP_NOTE_INSYNC_REMOVE] = "left the in-sync set",
		[REP_NOTE_BELOW_MIN] = "fewer in-sync nodes answer than min_insync: appends wait",
		[REP_NOTE_COMMITTING] = "appends commit again",
		[REP_NOTE_CAUGHT_UP] = "caught up",
		[REP_NOTE_CUT] = "unacknowledged records of an older epoch were cut and kept aside",
		[REP_NOTE_RESET] = "too far behind: takes a fresh copy",
		[REP_NOTE_HANDOVER] = "hands over",
		[REP_NOTE_HANDOVER_FAILED] = "hand-over ended without a change",
		[REP_NOTE_LEASE_LOST] = "the leader key is gone: confirming the lead",
		[REP_NOTE_CONFIRMED] = "the lead is confirmed in the same epoch",
		[REP_NOTE_DAMAGED] = "this node lost records that it had acknowledged",
		[REP_NOTE_STATE_GONE] = "etcd has lost this engine's state: see `leash recover`",
		[REP_NOTE_STATE_BACK] = "etcd has this engine's state again",
		[REP_NOTE_HALTED] = "stands aside: etcd's state is older than what this node has seen",
		[REP_NOTE_FOREIGN] = "this data directory belongs to another cluster",
		[REP_NOTE_FOUNDED_ANEW] = ("the cluster was founded anew before this node had written down which it belongs to: "
			"ends, to join it in its next life"),
		[REP_NOTE_MISCONFIGURED] = "the configuration differs from the cluster's",
		[REP_NOTE_OVERRULED] = "`leash recover` chose another log than this node has shown: ends, to follow it in its next life",
		[REP_NOTE_VIOLATION] = "a rule was broken: nothing was changed",
	};

	return texts[kind];
}
