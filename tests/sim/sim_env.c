/*
 * What the node's code (src/node, above sockets and etcd) meets instead of the kernel: clocks, random ids, libevent's
 * timers, the journal. Linked in place of base/clk.c, base/ids.c's id_random(), libevent and node/diag_node.c; all of it
 * speaks for the node whose code is being executed (sim->running).
 */
#include "tests/sim/sim_int.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clk.h"
#include "base/ids.h"
#include "node/diag_node.h"

struct sim *sim_world;

static struct simnode *running(void)
{
	must(sim_world && sim_world->running >= 0);
	return &sim_world->nodes[sim_world->running];
}

/* ----------------------------------------------------------------------------------------------------------- clocks */

uint64_t simclock_ns(const struct simnode *n)
{
	return n->clock_ns + (uint64_t)((double)(n->s->now_ns - n->clock_ref_ns) * n->clock_rate);
}

uint64_t simclock_after_ns(const struct simnode *n, uint64_t at_ns)
{
	uint64_t now_ns = simclock_ns(n);

	return at_ns > now_ns ? (uint64_t)((double)(at_ns - now_ns) / n->clock_rate) + 1 : 0;
}

void simclock_set(struct simnode *n, double rate, uint64_t forward_ns)
{
	n->clock_ns = simclock_ns(n) + forward_ns;
	n->clock_ref_ns = n->s->now_ns;
	n->clock_rate = rate;
}

uint64_t clk_boot_ns(void) { return simclock_ns(running()); }
uint64_t clk_mono_ns(void) { return simclock_ns(running()); }

uint64_t clk_real_ns(void)
{
	return UINT64_C(1700000000000000000) + sim_world->now_ns + (uint64_t)running()->real_off_ns;
}

/* -------------------------------------------------------------------------------------------------------- random ids */

leash_id id_random(void) { return sim_random_id(sim_world); }

char *id_format(leash_id id, char text[LEASH_ID_TEXT])
{
	(void)snprintf(text, LEASH_ID_TEXT, "%016" PRIx64, id);
	return text;
}

bool name_valid(const char *name) { return name[0] != '\0'; }

/* ---------------------------------------------------------------------------------------------------------- libevent */

/* Its heap entry may be older than what was asked for last: then it is put back. */
struct event {
	struct simnode *n;
	event_callback_fn fn;
	void *arg;
	uint64_t at_ns;    /* its node's clock; UINT64_MAX: not armed */
	uint64_t entry_ns; /* true time of the live entry; UINT64_MAX: none */
	uint64_t count;    /* of the live entry */
};

struct event *event_new(struct event_base *base, evutil_socket_t fd, short what, event_callback_fn fn, void *arg)
{
	struct event *ev = malloc(sizeof *ev);

	must(ev && fd < 0 && what == 0);
	*ev = (struct event){ .n = (struct simnode *)(void *)base, .fn = fn, .arg = arg, .at_ns = UINT64_MAX,
		.entry_ns = UINT64_MAX };
	return ev;
}

void event_free(struct event *ev)
{
	free(ev);
}

static void enter_at(struct event *ev, uint64_t after_ns)
{
	struct sim *s = ev->n->s;
	struct timer *t;

	if (ev->entry_ns <= s->now_ns + after_ns)
		return; /* fires before, and looks again */
	ev->entry_ns = s->now_ns + after_ns;
	t = sim_timer(s, after_ns, T_LOOP, ev->n->i, 0);
	t->x = ++ev->count;
	t->y = (uintptr_t)ev;
}

int event_add(struct event *ev, const struct timeval *tv)
{
	uint64_t after_ns = (uint64_t)tv->tv_sec * NS_PER_S + (uint64_t)tv->tv_usec * NS_PER_US;

	ev->at_ns = simclock_ns(ev->n) + after_ns;
	enter_at(ev, simclock_after_ns(ev->n, ev->at_ns));
	return 0;
}

/* The end of the loop's turn: what else arrives in this moment is part of it. */
void event_active(struct event *ev, int what, short ncalls)
{
	(void)what, (void)ncalls;
	ev->at_ns = simclock_ns(ev->n);
	enter_at(ev, sim_below(ev->n->s, 20000));
}

void simenv_timer(struct sim *s, struct timer *t)
{
	struct event *ev = (struct event *)(uintptr_t)t->y;

	if (!simnode_enter(s, t->a))
		return;
	if (t->x != ev->count)
		return;
	ev->entry_ns = UINT64_MAX;
	if (ev->at_ns == UINT64_MAX)
		return;
	if (ev->at_ns > simclock_ns(ev->n)) {
		s->stats.steps--; /* nothing happened */
		enter_at(ev, simclock_after_ns(ev->n, ev->at_ns));
		return;
	}
	ev->at_ns = UINT64_MAX;
	ev->fn(-1, 0, ev->arg);
}

/* ------------------------------------------------------------------------------------------------------- the journal */

void diag_note(const struct rep_note *note, const char *self _unused_, const struct rep_insync *set _unused_)
{
	struct simnode *n = running();
	struct sim *s = sim_world;

	n->notes[note->kind]++;
	sim_say(s, n->i, "%s%s%s epoch %" PRIu64 " seq %" PRIu64 "%s%s", rep_note_text(note->kind), note->node[0] ? " " : "",
		note->node, note->epoch, note->seq, note->text ? ": " : "", note->text ? note->text : "");
	if (note->kind == REP_NOTE_VIOLATION && !n->damaged && !n->acc.tampered)
		sim_broken(s, "%s: %s", n->name, note->text);
	if (note->kind == REP_NOTE_HALTED && s->swarming && !s->stats.etcd_restores)
		sim_broken(s, "%s stands aside: %s", n->name, note->text); /* nothing took etcd back in time */
	if (note->kind == REP_NOTE_PRIMARY) {
		s->stats.takeovers++;
		simcheck_epoch(s, n->i, note->epoch, n->node->run);
	}
}

void diag_etcd_away(const char *why) { (void)why; }
void diag_etcd_back(void) {}
void diag_etcd_unreadable(const char *what) { (void)what; }

void diag_log_damaged(leash_seq end, const char *reason, leash_id new_incarnation)
{
	(void)new_incarnation;
	sim_say(sim_world, running()->i, "sets damage aside, its log ends at %" PRIu64 " now: %s", end, reason);
}

void diag_log_repaired(leash_seq seq, leash_seq first, leash_seq last, uint64_t records, const char *from)
{
	sim_world->stats.repairs++;
	sim_say(sim_world, running()->i, "has repaired the segment of %" PRIu64 ": %" PRIu64 " records of %" PRIu64 "..%" PRIu64
		" from %s", seq, records, first, last, from);
}

void diag_repair_failed(leash_seq seq, const char *why, bool dormant, bool gives_up)
{
	sim_say(sim_world, running()->i, "cannot repair %" PRIu64 "%s%s: %s", seq, dormant ? ", dormant" : "",
		gives_up ? ", gives up" : "", why);
}

void diag_log_dormant(leash_seq first, const char *reason)
{
	sim_say(sim_world, running()->i, "is dormant: damage from %" PRIu64 " on: %s", first, reason);
}

void diag_damage_found(const char *path, uint64_t offset, leash_seq first, leash_seq last, const char *reason)
{
	sim_say(sim_world, running()->i, "finds damage in %s at %" PRIu64 ", records %" PRIu64 "..%" PRIu64 ": %s", path, offset,
		first, last, reason);
}

void diag_log_torn(leash_seq from) { sim_say(sim_world, running()->i, "cuts a torn tail from %" PRIu64 " on", from); }
void diag_log_problem(const char *text) { sim_say(sim_world, running()->i, "log: %s", text); }
void diag_log_failed(const char *text) { sim_say(sim_world, running()->i, "log: %s", text); }
void diag_disk_sick(uint64_t stuck_ms, bool primary)
{
	sim_say(sim_world, running()->i, "finds its disk stuck for %" PRIu64 " ms%s", stuck_ms, primary ? ", as primary" : "");
}
void diag_disk_full(void) { sim_say(sim_world, running()->i, "log: no room on disk for the next segment"); }
void diag_disk_room(void) { sim_say(sim_world, running()->i, "log: there is room on disk again"); }
void diag_disk_well(void) { sim_say(sim_world, running()->i, "finds its disk well again"); }
void diag_resigned(const char *why) { sim_say(sim_world, running()->i, "gives its lease back: %s", why); }

void simenv_init(struct sim *s)
{
	sim_world = s;
	s->running = -1;
}
