#include "etcd_fixture.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/buf.h"

#define READY_MS 20000
#define TEXT_MAX 4096
#define ARGS_MAX 64

struct member {
	pid_t pid; /* 0: not running */
	bool paused;
	char name[16];
	char url[64], peer_url[64];
};

struct etcd_fixture {
	struct etcd_fixture_opts opts;
	struct member members[ETCD_FIXTURE_MEMBERS_MAX];
	const char *urls[ETCD_FIXTURE_MEMBERS_MAX + 1];
	char dir[TEXT_MAX];
	char files[2][TEXT_MAX + 64];
	unsigned file;
};

_printf_(1, 2) static void need(const char *fmt, ...);

/* A failed need: says so and ends the program. */
static void need(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)fprintf(stderr, "etcd fixture: ");
	(void)vfprintf(stderr, fmt, ap);
	(void)fprintf(stderr, " (%s)\n", strerror(errno));
	va_end(ap);
	exit(99);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void pause_ms(long ms)
{
	(void)nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

bool etcd_fixture_possible(void)
{
	return access("/usr/bin/etcd", X_OK) == 0;
}

/* ---- files */

static int remove_one(const char *path, const struct stat *st _unused_, int type _unused_, struct FTW *ftw _unused_)
{
	return remove(path);
}

static void remove_tree(const char *path)
{
	(void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS); /* what stays is in $TMPDIR */
}

const char *etcd_fixture_file(const struct etcd_fixture *f, const char *name)
{
	struct etcd_fixture *m = (struct etcd_fixture *)f;
	char *to = m->files[m->file++ % 2];

	(void)snprintf(to, sizeof m->files[0], "%s/%s", f->dir, name);
	return to;
}

static void make_certificates(struct etcd_fixture *f)
{
	/* Without CN for the client: etcd's gateway refuses certificates with one when auth is on. */
	static const char script[] =
		"set -e; cd \"$1\"; umask 077\n"
		"req() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \"$@\"; }\n"
		"req -x509 -keyout ca.key -out ca.pem -days 2 -subj '/CN=test CA'\n"
		"printf 'subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth,clientAuth\\n' >server.ext\n"
		"printf 'extendedKeyUsage=clientAuth\\n' >client.ext\n"
		"req -keyout server.key -out server.csr -subj '/O=server'\n"
		"req -keyout client.key -out client.csr -subj '/O=client'\n"
		"for n in server client; do openssl x509 -req -in $n.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
		"-extfile $n.ext -out $n.pem; done\n";
	int status;
	pid_t pid = fork();

	if (pid < 0)
		need("fork");
	if (pid == 0) {
		int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

		(void)dup2(fd, 1);
		(void)dup2(fd, 2);
		(void)execl("/bin/sh", "sh", "-c", script, "sh", f->dir, (char *)NULL);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid || status != 0)
		need("openssl: status %d", status);
}

/* ---- requests */

static size_t take_body(char *p, size_t one, size_t n, void *ctx)
{
	return buf_put(ctx, p, one * n) < 0 ? 0 : n;
}

static CURL *new_request(struct etcd_fixture *f, unsigned i, const char *path)
{
	char url[256];
	CURL *c = curl_easy_init();

	if (!c)
		need("curl");
	(void)snprintf(url, sizeof url, "%s%s", f->members[i].url, path);
	(void)curl_easy_setopt(c, CURLOPT_URL, url);
	(void)curl_easy_setopt(c, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, 3000L);
	(void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body);
	if (f->opts.tls) {
		(void)curl_easy_setopt(c, CURLOPT_CAINFO, etcd_fixture_file(f, "ca.pem"));
		(void)curl_easy_setopt(c, CURLOPT_SSLCERT, etcd_fixture_file(f, "client.pem"));
		(void)curl_easy_setopt(c, CURLOPT_SSLKEY, etcd_fixture_file(f, "client.key"));
	}
	return c;
}

char *etcd_fixture_post(struct etcd_fixture *f, unsigned i, const char *path, const char *json)
{
	struct buf body = { .max = 1024 * 1024 };
	CURL *c = new_request(f, i, path);
	char *text = NULL;

	(void)curl_easy_setopt(c, CURLOPT_WRITEDATA, &body);
	(void)curl_easy_setopt(c, CURLOPT_COPYPOSTFIELDS, json);
	if (curl_easy_perform(c) == CURLE_OK)
		text = strndup(buf_len(&body) ? (char *)buf_head(&body) : "", buf_len(&body));
	curl_easy_cleanup(c);
	buf_deinit(&body);
	return text;
}

/* True when member @i carried out an empty transaction. Auth does not matter: a refusal is an answer too. */
static bool member_answers(struct etcd_fixture *f, unsigned i)
{
	_cleanup_(freep) char *text = etcd_fixture_post(f, i, "/v3/kv/txn", "{}");

	return text && (strstr(text, "\"succeeded\":true") || strstr(text, "user name is empty"));
}

void etcd_fixture_wait(struct etcd_fixture *f, unsigned i)
{
	uint64_t end_ms = now_ms() + READY_MS;

	while (!member_answers(f, i)) {
		if (f->members[i].pid && waitpid(f->members[i].pid, NULL, WNOHANG) != 0) {
			f->members[i].pid = 0;
			need("member %u ended; its log is %s/%s.log", i, f->dir, f->members[i].name);
		}
		if (now_ms() > end_ms)
			need("member %u is not ready", i);
		pause_ms(20);
	}
}

static uint64_t number_behind(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

unsigned etcd_fixture_leader(struct etcd_fixture *f)
{
	for (uint64_t end_ms = now_ms() + READY_MS; now_ms() < end_ms; pause_ms(20)) {
		for (unsigned i = 0; i < f->opts.n_members; i++) {
			_cleanup_(freep) char *text = NULL;
			uint64_t leader;

			if (!f->members[i].pid || f->members[i].paused)
				continue;
			text = etcd_fixture_post(f, i, "/v3/maintenance/status", "{}");
			leader = text ? number_behind(text, "\"leader\":\"") : 0;
			if (leader && leader == number_behind(text, "\"member_id\":\""))
				return i;
		}
	}
	need("no leader");
	return 0;
}

/* ---- members */

static int free_port(int *ret_fd)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) < 0 || getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		need("no free port");
	*ret_fd = fd;
	return ntohs(a.sin_port);
}

/* All ports are held until all are known, so that none is given twice. */
static void choose_ports(struct etcd_fixture *f)
{
	int fds[2 * ETCD_FIXTURE_MEMBERS_MAX];
	unsigned n = 0;

	for (unsigned i = 0; i < f->opts.n_members; i++) {
		struct member *m = &f->members[i];

		(void)snprintf(m->name, sizeof m->name, "m%u", i);
		(void)snprintf(m->url, sizeof m->url, "http%s://127.0.0.1:%d", f->opts.tls ? "s" : "", free_port(&fds[n]));
		n++;
		(void)snprintf(m->peer_url, sizeof m->peer_url, "http://127.0.0.1:%d", free_port(&fds[n]));
		n++;
		f->urls[i] = m->url;
	}
	for (unsigned i = 0; i < n; i++)
		(void)close(fds[i]);
}

struct args {
	const char *v[ARGS_MAX];
	unsigned n;
	char pool[8 * TEXT_MAX];
	size_t used;
};

_printf_(2, 3) static void arg(struct args *a, const char *fmt, ...);

static void arg(struct args *a, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(a->pool + a->used, sizeof a->pool - a->used, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof a->pool - a->used || a->n + 1 >= ARGS_MAX)
		need("too many arguments");
	a->v[a->n++] = a->pool + a->used;
	a->used += (size_t)n + 1;
}

static void member_args(const struct etcd_fixture *f, const struct member *m, struct args *a)
{
	char cluster[TEXT_MAX] = "";

	for (unsigned i = 0; i < f->opts.n_members; i++) {
		size_t n = strlen(cluster);

		(void)snprintf(cluster + n, sizeof cluster - n, "%s%s=%s", i ? "," : "", f->members[i].name,
			f->members[i].peer_url);
	}
	arg(a, "etcd");
	arg(a, "--name=%s", m->name);
	arg(a, "--data-dir=%s/%s", f->dir, m->name);
	arg(a, "--listen-client-urls=%s", m->url);
	arg(a, "--advertise-client-urls=%s", m->url);
	arg(a, "--listen-peer-urls=%s", m->peer_url);
	arg(a, "--initial-advertise-peer-urls=%s", m->peer_url);
	arg(a, "--initial-cluster=%s", cluster);
	/* The directory's name makes the cluster's id its own. */
	arg(a, "--initial-cluster-token=%s", f->dir);
	arg(a, "--initial-cluster-state=%s", "new");
	arg(a, "--heartbeat-interval=%d", 50);
	arg(a, "--election-timeout=%d", 500);
	arg(a, "--logger=%s", "zap");
	arg(a, "--bcrypt-cost=%d", 4);
	if (f->opts.tls) {
		arg(a, "--client-cert-auth");
		arg(a, "--trusted-ca-file=%s/ca.pem", f->dir);
		arg(a, "--cert-file=%s/server.pem", f->dir);
		arg(a, "--key-file=%s/server.key", f->dir);
	}
	for (const char *const *extra = f->opts.args; extra && *extra; extra++)
		arg(a, "%s", *extra);
}

static void member_start(struct etcd_fixture *f, struct member *m)
{
	static struct args a;
	char log[TEXT_MAX + 64];
	pid_t parent = getpid();

	must(!m->pid);
	memset(&a, 0, sizeof a);
	member_args(f, m, &a);
	(void)snprintf(log, sizeof log, "%s/%s.log", f->dir, m->name);
	m->pid = fork();
	if (m->pid < 0)
		need("fork");
	if (m->pid == 0) {
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent || fd < 0)
			_exit(127);
		(void)dup2(fd, 1);
		(void)dup2(fd, 2);
		(void)execv("/usr/bin/etcd", (char *const *)a.v);
		_exit(127);
	}
	m->paused = false;
}

static void member_end(struct member *m, int sig)
{
	if (!m->pid)
		return;
	(void)kill(m->pid, sig);
	if (m->paused)
		(void)kill(m->pid, SIGCONT);
	while (waitpid(m->pid, NULL, 0) < 0 && errno == EINTR)
		;
	m->pid = 0;
	m->paused = false;
}

void etcd_fixture_kill(struct etcd_fixture *f, unsigned i)
{
	member_end(&f->members[i], SIGKILL);
}

void etcd_fixture_stop(struct etcd_fixture *f, unsigned i)
{
	member_end(&f->members[i], SIGTERM);
}

void etcd_fixture_start(struct etcd_fixture *f, unsigned i)
{
	member_start(f, &f->members[i]);
}

void etcd_fixture_wipe(struct etcd_fixture *f, unsigned i)
{
	char path[TEXT_MAX + 64];

	must(!f->members[i].pid);
	(void)snprintf(path, sizeof path, "%s/%s", f->dir, f->members[i].name);
	remove_tree(path);
}

void etcd_fixture_pause(struct etcd_fixture *f, unsigned i)
{
	f->members[i].paused = true;
	(void)kill(f->members[i].pid, SIGSTOP);
}

void etcd_fixture_resume(struct etcd_fixture *f, unsigned i)
{
	f->members[i].paused = false;
	(void)kill(f->members[i].pid, SIGCONT);
}

/* ---- life */

struct etcd_fixture *etcd_fixture_new(const struct etcd_fixture_opts *opts)
{
	struct etcd_fixture *f = calloc(1, sizeof *f);
	const char *tmp = getenv("TMPDIR");

	if (!f)
		need("memory");
	f->opts = *opts;
	if (!f->opts.n_members)
		f->opts.n_members = 1;
	must(f->opts.n_members <= ETCD_FIXTURE_MEMBERS_MAX);
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
	(void)snprintf(f->dir, sizeof f->dir, "%s/leash-etcd-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(f->dir))
		need("%s", f->dir);
	if (f->opts.tls)
		make_certificates(f);
	choose_ports(f);
	for (unsigned i = 0; i < f->opts.n_members; i++)
		member_start(f, &f->members[i]);
	for (unsigned i = 0; i < f->opts.n_members; i++)
		etcd_fixture_wait(f, i);
	return f;
}

void etcd_fixture_free(struct etcd_fixture *f)
{
	if (!f)
		return;
	for (unsigned i = 0; i < f->opts.n_members; i++)
		member_end(&f->members[i], SIGKILL);
	remove_tree(f->dir);
	free(f);
}

unsigned etcd_fixture_count(const struct etcd_fixture *f)
{
	return f->opts.n_members;
}

const char *etcd_fixture_url(const struct etcd_fixture *f, unsigned i)
{
	return f->members[i].url;
}

const char *const *etcd_fixture_urls(const struct etcd_fixture *f)
{
	return f->urls;
}

const char *etcd_fixture_dir(const struct etcd_fixture *f)
{
	return f->dir;
}
