/*
 * Seeds that are text. In the C strings of commands a blank stands for the end of an argument, as in an inline command.
 */
#ifndef LEASH_TESTS_FUZZ_SEEDS_TEXT_H
#define LEASH_TESTS_FUZZ_SEEDS_TEXT_H

static const char *const seed_commands[] = {
	"XADD a * f 1", "XADD a IDMP p 7 * f 1", "XADD a IDMPAUTO p * f 1 g 2", "XADD a IDMPSEQ p 3 * f v",
	"XADD a NOMKSTREAM MAXLEN ~ 10 LIMIT 5 * f v", "XADD a MINID = 5-1 * f v", "XADD a 5-1 f v", "XADD a 5-* f v",
	"XADD a *", "XLEN a", "XRANGE a - +", "XRANGE a (1 5 COUNT 2", "XRANGE a 1-5 (3-0", "XREVRANGE a + - COUNT 1",
	"XREVRANGE a 9 (2-1", "XREAD STREAMS a 0", "XREAD COUNT 2 STREAMS a b 0-0 1", "XREAD BLOCK 10 STREAMS a $",
	"XREAD BLOCK 0 COUNT 1 STREAMS a +", "XINFO STREAM a", "XINFO STREAM a FULL COUNT 2", "XINFO HELP", "WAIT 1 10",
	"PING", "PING x", "ECHO hello", "HELLO", "HELLO 3", "HELLO 2 AUTH u p SETNAME me", "AUTH p", "AUTH u p", "SELECT 0",
	"SELECT 1", "CLIENT ID", "CLIENT SETNAME me", "CLIENT GETNAME", "CLIENT LIST", "CLIENT INFO", "CLIENT REPLY SKIP",
	"CLIENT REPLY OFF", "CLIENT REPLY ON", "CLIENT SETINFO LIB-NAME x", "CLIENT SETINFO LIB-VER 1.0", "CLIENT NO-EVICT on",
	"CLIENT NO-TOUCH off", "CLIENT HELP", "COMMAND", "COMMAND COUNT", "COMMAND DOCS xadd", "COMMAND INFO ping xread",
	"COMMAND LIST", "COMMAND GETKEYS xread count 1 streams a b 0 0", "COMMAND GETKEYS xadd a * f v", "COMMAND HELP",
	"CONFIG GET save", "CONFIG HELP", "INFO", "INFO server", "ROLE", "RESET", "XCFGSET a DURATION 10 MAXSIZE 5",
	"LEASH status", "LEASH bad", "GET a", "CLIENT nix", "QUIT",
};

static const char *const seed_resp[] = {
	"*2\r\n$4\r\nPING\r\n$1\r\nx\r\n*1\r\n$4\r\nPING\r\n", "set \"a\\x41\\n\\\"\" 'b\\'c' d\r\n", "\r\n\n*0\r\n*-1\r\nPING\n",
	"*1\r\n$999999\r\nabcdef", "*6\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\nPING\r\n", "*1\r\n+x\r\n", "*1x\r\n", "*1\r\n$-5\r\n", "*1\r\n$1\r\nabc",
	"a \"b\r\n", "*1048577\r\n",
};

static const char *const seed_replies[] = {
	"+OK\r\n-ERR no\r\n:-5\r\n$3\r\nabc\r\n$-1\r\n*-1\r\n", "*2\r\n:1\r\n*2\r\n$1\r\na\r\n_\r\n",
	"%2\r\n+a\r\n:1\r\n+b\r\n#t\r\n", "~2\r\n:1\r\n:2\r\n>2\r\n+p\r\n+q\r\n", ",1.5\r\n,inf\r\n,nan\r\n,-1e300\r\n#f\r\n",
	"=7\r\ntxt:abc\r\n(123456789012345678901234567890\r\n!5\r\nERR x\r\n",
	"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
	"$5\r\nab", "?\r\n",
};

struct seed_kind {
	int kind, arg;
	const char *text;
};

#define HEADER                                                                                               \
	"\"header\":{\"cluster_id\":\"14841639068965178418\",\"member_id\":\"10276657743932975437\",\"revision\":\"9\"," \
	"\"raft_term\":\"2\"}"
#define KV                                                                                                   \
	"{\"key\":\"ZW5naW5lL2xlYWRlcg==\",\"create_revision\":\"3\",\"mod_revision\":\"9\",\"version\":\"2\",\"value\":\"e30=\"," \
	"\"lease\":\"7587\"}"

/* enum dec_kind, operations (success + 8 * failure), body */
static const struct seed_kind seed_etcd[] = {
	{ 0, 0, "{" HEADER ",\"kvs\":[" KV "," KV "],\"more\":true,\"count\":\"5\"}" },
	{ 0, 0, "{" HEADER "}" }, { 1, 0, "{" HEADER "}" }, { 2, 0, "{" HEADER ",\"deleted\":\"2\"}" },
	{ 3, 2 + 8, "{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_put\":{" HEADER "}},{\"response_put\":{}}]}" },
	{ 3, 2 + 8, "{" HEADER ",\"responses\":[{\"response_range\":{" HEADER ",\"kvs\":[" KV "],\"count\":\"1\"}}]}" },
	{ 3, 1, "{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_delete_range\":{\"deleted\":\"1\"}}]}" },
	{ 4, 0, "{" HEADER ",\"ID\":\"7587\",\"TTL\":\"10\"}" },
	{ 5, 0, "{\"result\":{" HEADER ",\"ID\":\"7587\",\"TTL\":\"10\"}}" }, { 5, 0, "{\"result\":{" HEADER ",\"ID\":\"7\"}}" },
	{ 6, 0, "{" HEADER "}" }, { 7, 0, "{" HEADER ",\"ID\":\"7\",\"TTL\":\"-1\"}" },
	{ 7, 0, "{" HEADER ",\"ID\":\"7\",\"TTL\":\"9\",\"grantedTTL\":\"10\",\"keys\":[\"YQ==\"]}" },
	{ 8, 0, "{" HEADER ",\"token\":\"abc.9\"}" },
	{ 9, 0, "{" HEADER ",\"members\":[{\"ID\":\"5\",\"name\":\"a\",\"peerURLs\":[\"http://a:2380\"],\"clientURLs\":"
		"[\"http://a:2379\"]},{\"ID\":\"6\",\"peerURLs\":[],\"isLearner\":true}]}" },
	{ 10, 0, "{" HEADER ",\"version\":\"3.4.23\",\"dbSize\":\"20480\",\"leader\":\"5\",\"raftIndex\":\"9\",\"raftTerm\":\"2\","
		 "\"raftAppliedIndex\":\"9\",\"errors\":[\"NOSPACE\"],\"dbSizeInUse\":\"16384\",\"isLearner\":false}" },
	{ 11, 0, "{\"etcdserver\":\"3.4.23\",\"etcdcluster\":\"3.4.0\"}" },
	{ 0, 0, "{\"error\":\"etcdserver: requested lease not found\",\"code\":5,\"message\":\"etcdserver: requested lease\"}" },
	{ 1, 0, "{\"error\":{\"grpc_code\":16,\"http_code\":401,\"message\":\"etcdserver: invalid auth token\"}}" },
	{ 3, 0, "{\"code\":14,\"message\":\"etcdserver: no leader\"}" }, { 5, 0, "{\"error\":{\"code\":13,\"message\":\"x\"}}" },
	{ 0, 0, "[1,2]" }, { 0, 0, "{\"kvs\":[{\"key\":5}]}" }, { 12, 0, "ZW5naW5l" }, { 12, 0, "YQ==" }, { 12, 0, "any bytes" },
	{ 13, 3, "keyvalue" }, { 14, 3, "keyvalue" }, { 15, 3, "keyvalue" },
};

/* keys: which value, 0, JSON; 5: a view */
#define LEADER                                                                                               \
	"{\"node\":\"P1\",\"address\":\"127.0.0.1:8081\",\"epoch\":7,\"incarnation\":\"00000000000000a1\",\"run\":"   \
	"\"00000000000000b1\"}"
#define INSYNC                                                                                               \
	"{\"cluster\":\"00000000000000c1\",\"version\":31,\"recovery\":0,\"epoch\":7,\"min_insync\":2,\"dedup_window\":100," \
	"\"members\":[{\"node\":\"P1\",\"incarnation\":\"00000000000000a1\"},{\"node\":\"S1\",\"incarnation\":"       \
	"\"00000000000000a2\"}]}"
#define NODE                                                                                                 \
	"{\"node\":\"S1\",\"address\":\"127.0.0.1:8082\",\"incarnation\":\"00000000000000a2\",\"run\":\"00000000000000b2\"," \
	"\"cluster\":\"00000000000000c1\",\"priority\":-5,\"log_epoch\":7,\"log_end\":100,\"release\":\"0.1.0\"}"
#define SETTINGS "{\"paused\":true,\"drained\":[\"S1\",\"S2\"]}"
#define REQUEST  "{\"op\":\"switchover\",\"id\":\"00000000000000d1\",\"to\":\"S1\"}"

static const struct seed_kind seed_keys[] = {
	{ 0, 0, LEADER }, { 1, 0, INSYNC }, { 2, 0, NODE }, { 3, 0, SETTINGS }, { 4, 0, REQUEST },
	{ 4, 0, "{\"op\":\"switchover\",\"id\":\"00000000000000d1\",\"to\":\"\",\"state\":\"done\",\"text\":\"S1 leads\"}" },
	{ 4, 0, "{\"op\":\"switchover\",\"id\":\"00000000000000d1\",\"to\":\"\",\"state\":\"failed\",\"text\":\"no\"}" },
	{ 0, 0, "{\"node\":5}" }, { 0, 0, "[]" }, { 1, 0, "{" },
	{ 5, 0, "engine/leader " LEADER "\nengine/insync " INSYNC "\nengine/nodes/S1 " NODE "\nengine/settings " SETTINGS
		"\nengine/request " REQUEST "\nengine/other x\nelse/leader x\nengine/nodes/S2 {}" },
	{ 5, 0, "engine/leader {}\n" }, { 5, 0, "engine/nodes/S1 " NODE "\nengine/nodes/P1 " NODE },
};

static const char *const seed_watch[] = {
	"{\"result\":{" HEADER ",\"watch_id\":\"1\",\"created\":true}}\n{\"result\":{" HEADER ",\"watch_id\":\"1\",\"events\":"
	"[{\"kv\":" KV "},{\"type\":\"DELETE\",\"kv\":{\"key\":\"YQ==\",\"mod_revision\":\"9\"},\"prev_kv\":" KV "}]}}\n",
	"{\"result\":{" HEADER ",\"watch_id\":\"-1\"}}",
	"{\"result\":{" HEADER ",\"watch_id\":\"1\",\"canceled\":true,\"compact_revision\":\"5\",\"cancel_reason\":\"compacted\"}}",
	"{\"result\":{" HEADER ",\"fragment\":true,\"events\":[{\"type\":\"PUT\",\"kv\":" KV "}]}}",
	"{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"no leader\",\"http_status\":\"x\"}}",
	"{\"result\":{\"events\":[{\"type\":\"NIX\"}]}}", "[]", " {\"a\":1}x", "{\"result\":{\"header\":5}}",
};

/* conf: 0 file, 1 arguments (a blank ends one), 2 value */
static const struct seed_kind seed_conf[] = {
	{ 0, 0, "# a comment\nnode = P1\ndirectory = /x/y ; a comment\nendpoints = 127.0.0.1:2379, [::1]:2379,\n  host:1\n"
		"segment_size = 16M\nwindow = 5\nhold_timeout = 250ms\nquick = yes\nlisten = 127.0.0.1:8081\ntopology = chain\n"
		"log_level = debug\nlog_target = stderr\n\n[tcp db]\nlisten = :5432\nkey = db/leader\n[tcp other]\nlisten=:1\n" },
	{ 0, 0, "node=P1\nnode=P1\nnod = x\nwindow = many\nhold_timeout = 1d\nlisten = 1.2.3:4\n[nix]\n[tcp db\n[tcp -x]\n = 5\n"
		"just text\n  indented\n" },
	{ 0, 0, "node = P1\nsegment_size = 1\nwindow = 2000\nendpoints = a, b, c:1, d:1, e:1\ntopology = ring\nquick = maybe\n" },
	{ 0, 0, "node = P1\r\nwindow = 9\r\nhold_timeout = 5ms\r\n" }, { 0, 0, "\xef\xbb\xbfnode = P1\n" },
	{ 1, 0, "--node P1 --window=5 --quick yes" }, { 1, 0, "--node P1 --check" }, { 1, 0, "--help" }, { 1, 0, "--version" },
	{ 1, 0, "--nod x --window" }, { 1, 0, "--node P1 --listen :1 --topology chain operand" }, { 1, 0, "-x --node=P1 a b" },
	{ 2, 0, "64M" }, { 2, 0, "1500ms" }, { 2, 0, "30s" }, { 2, 0, "2h" }, { 2, 0, "host.name:80" }, { 2, 0, "[fe80::1]:80" },
	{ 2, 0, ":8080" }, { 2, 0, "a, b ,,c" }, { 2, 0, "yes" }, { 2, 0, "chain" }, { 2, 0, "18446744073709551615" },
	{ 2, 0, "17592186044416M" }, { 2, 0, "1.2.3.4:65535" },
};

#endif
