#include "node/hook.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>

#include "base/diag.h"

#define WORDS_MAX 32

extern char **environ;

struct hook {
	struct event_base *base;
	struct event *ev_child, *ev_timeout;
	const char *engine;
	char *command;
	pid_t pid; /* 0: none runs */
	bool due;
	char role[16], told_role[16];
	leash_epoch epoch, told_epoch;
};

/* -------------------------------------------------------------------------------------------------------- running */

/* The child's environment: ours, but it does not speak to the service manager in our name. */
static char **child_environment(void)
{
	static const char *const ours[] = { "NOTIFY_SOCKET=", "WATCHDOG_USEC=", "WATCHDOG_PID=", "LISTEN_FDS=",
		"LISTEN_PID=", "LISTEN_FDNAMES=" };
	size_t n = 0, used = 0;
	char **env;

	while (environ[n])
		n++;
	env = calloc(n + 1, sizeof *env);
	for (size_t i = 0; env && i < n; i++) {
		bool keep = true;

		for (size_t j = 0; j < ARRAY_SIZE(ours); j++)
			keep = keep && strncmp(environ[i], ours[j], strlen(ours[j])) != 0;
		if (keep)
			env[used++] = environ[i];
	}
	return env;
}

/* Default signals, nothing blocked, a group of its own (for the timeout), no input. */
static int spawn(char *const argv[], pid_t *ret_pid)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t all, none;
	char **env = child_environment();
	int r;

	if (!env)
		return ENOMEM;
	(void)sigfillset(&all);
	(void)sigemptyset(&none);
	(void)posix_spawn_file_actions_init(&files);
	(void)posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	(void)posix_spawnattr_init(&attr);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
	(void)posix_spawnattr_setsigdefault(&attr, &all);
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawnattr_setpgroup(&attr, 0);
	r = posix_spawnp(ret_pid, argv[0], &files, &attr, argv, env);
	(void)posix_spawnattr_destroy(&attr);
	(void)posix_spawn_file_actions_destroy(&files);
	free(env);
	return r;
}

static int run_shell(const char *command, char *args[3], pid_t *ret_pid)
{
	_cleanup_(freep) char *script = NULL;

	if (asprintf(&script, "%s \"$@\"", command) < 0) {
		script = NULL;
		return ENOMEM;
	}
	return spawn((char *[]){(char *)"/bin/sh", (char *)"-c", script, (char *)"sh", args[0], args[1],
			     args[2], NULL},
		ret_pid);
}

static int run_words(const char *command, char *args[3], pid_t *ret_pid)
{
	_cleanup_(freep) char *copy = strdup(command);
	char *argv[WORDS_MAX + 4], *save = NULL;
	size_t n = 0;

	if (!copy)
		return ENOMEM;
	for (char *word = strtok_r(copy, " \t", &save); word; word = strtok_r(NULL, " \t", &save)) {
		if (n == WORDS_MAX)
			return E2BIG;
		argv[n++] = word;
	}
	for (size_t i = 0; i < 3; i++)
		argv[n++] = args[i];
	argv[n] = NULL;
	return spawn(argv, ret_pid);
}

static void run(struct hook *h)
{
	char epoch[24];
	char *args[3] = { h->role, epoch, (char *)h->engine };
	struct timeval timeout = { .tv_sec = HOOK_TIMEOUT_S };
	pid_t pid = 0;
	int r;

	h->due = false;
	memcpy(h->told_role, h->role, sizeof h->role);
	h->told_epoch = h->epoch;
	if (!h->command || h->command[strspn(h->command, " \t")] == '\0')
		return;
	(void)snprintf(epoch, sizeof epoch, "%llu", (unsigned long long)h->epoch);
	r = strpbrk(h->command, "|&;<>()$`\\\"'*?[]#~=%!{}") ? run_shell(h->command, args, &pid) :
							     run_words(h->command, args, &pid);
	if (r) {
		diag(LOG_WARNING, "cannot run on_role_change \"%s\": %s; going on", h->command, strerror(r));
		return;
	}
	h->pid = pid;
	(void)event_add(h->ev_timeout, &timeout);
}

static void ended(struct hook *h, int status)
{
	h->pid = 0;
	(void)event_del(h->ev_timeout);
	if (WIFSIGNALED(status))
		diag(LOG_WARNING, "on_role_change was ended by signal %d; going on", WTERMSIG(status));
	else if (WEXITSTATUS(status))
		diag(LOG_WARNING, "on_role_change ended with status %d; going on", WEXITSTATUS(status));
	if (h->due)
		run(h);
}

static void on_child(evutil_socket_t fd _unused_, short what _unused_, void *ctx)
{
	struct hook *h = ctx;
	int status;

	if (h->pid && waitpid(h->pid, &status, WNOHANG) == h->pid)
		ended(h, status);
}

static void on_timeout(evutil_socket_t fd _unused_, short what _unused_, void *ctx)
{
	struct hook *h = ctx;

	if (!h->pid)
		return;
	diag(LOG_WARNING, "on_role_change takes more than %d s and is killed", HOOK_TIMEOUT_S);
	(void)kill(-h->pid, SIGKILL); /* its end is told by SIGCHLD */
}

/* ------------------------------------------------------------------------------------------------------------- life */

int hook_new(struct event_base *base, const char *engine, struct hook **ret_hook)
{
	struct hook *h = calloc(1, sizeof *h);

	if (!h)
		return -ENOMEM;
	h->base = base;
	h->engine = engine;
	h->ev_child = evsignal_new(base, SIGCHLD, on_child, h);
	h->ev_timeout = event_new(base, -1, 0, on_timeout, h);
	if (!h->ev_child || !h->ev_timeout || event_add(h->ev_child, NULL)) {
		hook_free(h);
		return -ENOMEM;
	}
	*ret_hook = h;
	return 0;
}

void hook_free(struct hook *h)
{
	if (!h)
		return;
	if (h->ev_child)
		event_free(h->ev_child);
	if (h->ev_timeout)
		event_free(h->ev_timeout);
	free(h->command);
	free(h);
}

int hook_set(struct hook *h, const char *command)
{
	char *copy = command ? strdup(command) : NULL;

	if (command && !copy)
		return -ENOMEM;
	free(h->command);
	h->command = copy;
	return 0;
}

void hook_tell(struct hook *h, const char *role, leash_epoch epoch)
{
	(void)snprintf(h->role, sizeof h->role, "%s", role);
	h->epoch = epoch;
	h->due = strcmp(h->role, h->told_role) != 0 || h->epoch != h->told_epoch;
	if (h->due && !h->pid)
		run(h);
}
