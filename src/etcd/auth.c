/*
 * The token: fetched when the first call needs one, by one authenticate call at a time for all who wait.
 *
 * etcd's simple tokens live 300 s, in each member's memory; a restart forgets them. So a refusal is normal: who
 * meets it says auth_reject() and asks again. The old token never goes with the authenticate call (etcd would
 * refuse it for that).
 */
#include "etcd/client.h"

#include <errno.h>

static void auth_drop_token(struct auth *a)
{
	if (a->token)
		explicit_bzero(a->token, strlen(a->token));
	free(TAKE(a->token));
}

int auth_init(struct etcd *e, const char *user, const char *password)
{
	struct auth *a = &e->auth;

	if (!user)
		return 0;
	a->user = strdup(user);
	a->password = strdup(password);
	a->state = AUTH_NONE;
	return a->user && a->password ? 0 : -ENOMEM;
}

void auth_deinit(struct etcd *e)
{
	struct auth *a = &e->auth;

	must(TAILQ_EMPTY(&a->waiters));
	auth_drop_token(a);
	if (a->password)
		explicit_bzero(a->password, strlen(a->password));
	free(a->user);
	free(a->password);
}

/* Only who waited for this round is woken: a callback may begin the next one. */
static void auth_wake(struct etcd *e, enum etcd_result result, const char *reason)
{
	struct auth *a = &e->auth;
	uint64_t round = a->round;
	struct auth_waiter *w;

	while ((w = TAILQ_FIRST(&a->waiters)) && w->round <= round) {
		auth_unwait(e, w);
		w->fn(w, result, reason);
	}
}

static void on_authenticated(void *ctx, const struct etcd_answer *ans)
{
	struct etcd *e = ctx;
	struct auth *a = &e->auth;
	enum etcd_result result = ans->result;
	const char *reason = ans->reason;

	a->generation++;
	a->state = AUTH_NONE;
	if (result == ETCD_OK) {
		auth_drop_token(a);
		a->token = strdup(call_token(ans));
		if (a->token) {
			a->state = AUTH_HAVE;
		} else {
			result = ETCD_NOT_SENT;
			reason = "out of memory";
		}
	} else if (result == ETCD_PRECONDITION) {
		a->state = AUTH_OFF;
		result = ETCD_OK;
	} else if (result != ETCD_DENIED) {
		/* Whatever happened to this call, theirs were not sent. */
		result = ETCD_NOT_SENT;
	}
	auth_wake(e, result, reason);
}

static int auth_begin(struct etcd *e)
{
	struct call_spec spec = {
		.kind = DEC_AUTH,
		.path = "/v3/auth/authenticate",
		.flags = CALL_REPEATABLE | CALL_NO_TOKEN,
		.endpoint = ETCD_ENDPOINT_ANY,
	};
	_cleanup_(buf_deinit) struct buf body = { .max = ETCD_REQUEST_MAX };
	int r = enc_authenticate(&body, e->auth.user, e->auth.password);

	if (r < 0)
		return r;
	return call_start(e, &spec, &body, on_authenticated, e, NULL);
}

int auth_ensure(struct etcd *e, struct auth_waiter *w)
{
	struct auth *a = &e->auth;
	int r;

	if (a->state == AUTH_OFF || a->state == AUTH_HAVE)
		return 0;
	if (a->state == AUTH_NONE) {
		auth_drop_token(a);
		r = auth_begin(e);
		if (r < 0)
			return r;
		a->state = AUTH_BUSY;
		a->round++;
	}
	must(!w->waiting);
	w->waiting = true;
	w->round = a->round;
	TAILQ_INSERT_TAIL(&a->waiters, w, link);
	return 1;
}

void auth_unwait(struct etcd *e, struct auth_waiter *w)
{
	if (!w->waiting)
		return;
	w->waiting = false;
	TAILQ_REMOVE(&e->auth.waiters, w, link);
}

bool auth_reject(struct etcd *e, uint64_t generation)
{
	struct auth *a = &e->auth;

	if (!a->user)
		return false;
	if (generation == a->generation && a->state != AUTH_BUSY)
		a->state = AUTH_NONE;
	return true;
}
