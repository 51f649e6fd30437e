/* leash-gatewayd: options, settings, socket, gateway. */
#include "config.h"

#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>

#include "base/diag.h"
#include "base/notify.h"
#include "gateway/gateway.h"
#include "gateway/keep.h"
#include "gateway/listen.h"

struct args {
	int argc;
	char **argv;
};

static int reload(void *ctx, struct settings *ret_settings, struct conf_errors *errors)
{
	const struct args *a = ctx;
	struct conf_result result;

	return conf_load(&settings_desc, a->argc, a->argv, ret_settings, &result, errors);
}

static int print_help(void)
{
	_cleanup_(buf_deinit) struct buf text = BUF_NULL;

	if (conf_help(&settings_desc, &text) < 0)
		return EXIT_FAILURE;
	return fwrite(buf_head(&text), 1, buf_len(&text), stdout) == buf_len(&text) && fflush(stdout) == 0
		       ? EXIT_SUCCESS
		       : EXIT_FAILURE;
}

static int complain(const struct conf_errors *errors)
{
	for (size_t i = 0; i < errors->n; i++)
		diag(LOG_ERR, "%s", errors->text[i]);
	if (errors->more)
		diag(LOG_ERR, "... and %zu more errors", errors->more);
	return EX_CONFIG;
}

/* Each client is a descriptor: take as many as are allowed. */
static void raise_limit(const struct settings *s)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return;
	l.rlim_cur = l.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &l) < 0 || getrlimit(RLIMIT_NOFILE, &l) < 0)
		return;
	if (l.rlim_cur < s->max_clients + 256)
		diag(LOG_WARNING,
			"the limit of open files (%llu) is too low for max_clients (%llu): clients beyond it wait",
			(unsigned long long)l.rlim_cur, (unsigned long long)s->max_clients);
}

static int open_socket(const struct settings *s, struct notify_fds *fds, int *ret_fd)
{
	static const struct units_addr fallback = { .host = "127.0.0.1", .port = 8080 };
	char text[LISTEN_TEXT_MAX] = "";
	int r = listen_open(settings_listen_given(s) ? &s->listen : NULL, &fallback, fds, KEEP_FD_NAME, ret_fd, text);

	if (r == LISTEN_E_DIFFERS || r == LISTEN_E_KIND) {
		diag(LOG_ERR, r == LISTEN_E_KIND
				      ? "what was inherited is not one listening socket"
				      : "the inherited socket and 'listen' differ: give one, or the same");
		return EX_CONFIG;
	}
	if (r < 0) {
		units_addr_format(settings_listen_given(s) ? &s->listen : &fallback, text);
		diag(LOG_ERR, "cannot listen on %s: %s", text, strerror(-r));
		return EXIT_FAILURE;
	}
	diag(LOG_INFO, "listening on %s", text);
	return 0;
}

static int serve(struct settings *s, struct args *args)
{
	_cleanup_(notify_fds_deinit) struct notify_fds fds = NOTIFY_FDS_NULL;
	_cleanup_(closep) int fd = -1;
	struct gateway *g;
	const char *why;
	int r;

	raise_limit(s);
	r = notify_fds_init(&fds);
	if (r < 0) {
		diag(LOG_ERR, "cannot take the inherited sockets: %s", strerror(-r));
		return EXIT_FAILURE;
	}
	r = open_socket(s, &fds, &fd);
	if (r)
		return r;
	r = gateway_new(s, fd, reload, args, &g, &why);
	if (r < 0) {
		diag(LOG_ERR, "cannot start (%s): %s", why, strerror(-r));
		return r == -EINVAL ? EX_CONFIG : EXIT_FAILURE;
	}
	r = gateway_adopt(g, &fds);
	if (r == 0)
		r = gateway_run(g);
	gateway_free(g);
	if (r < 0)
		diag(LOG_ERR, "%s", strerror(-r));
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct args args = { argc, argv };
	struct conf_errors errors = { 0 };
	struct conf_result result;
	struct settings s;
	int r;

	(void)signal(SIGPIPE, SIG_IGN);
	diag_init("leash-gatewayd", DIAG_TARGET_AUTO, LOG_INFO);
	r = conf_load(&settings_desc, argc, argv, &s, &result, &errors);
	if (r == CONF_E_INVALID)
		return complain(&errors);
	if (r < 0)
		return EXIT_FAILURE;
	switch (result.action) {
	case CONF_HELP:
		return print_help();
	case CONF_VERSION:
		return puts("leash-gatewayd " PACKAGE_VERSION) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	case CONF_CHECK:
		(void)puts("leash-gatewayd: the configuration is good");
		conf_free(&settings_desc, &s);
		return EXIT_SUCCESS;
	case CONF_RUN:
		break;
	}
	diag_init("leash-gatewayd", (enum diag_target)s.log.target, s.log.level);
	(void)curl_global_init(CURL_GLOBAL_DEFAULT); /* etcd_new() says what is missing */
	r = serve(&s, &args);
	conf_free(&settings_desc, &s);
	curl_global_cleanup();
	return r;
}
