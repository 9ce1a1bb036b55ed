/* Redis, and what speaks its protocol: the RESP specification of redis.io, "Sending commands to a Redis server" and
 * "Inline commands".
 *
 *     *3\r\n $3\r\n SET\r\n ...        an array of bulk strings, the command first
 *      ~       ~    ^ YES              decimal without zeros in front: 1..1048576 strings, a command of 1..64 bytes
 *     LPUSH list 1\r\n                inline: words with spaces between them, to the line's end; empty lines in front
 *          ^ YES, where the command is no other protocol's
 *     SET key value\r\n               else with the line, by the number of its words
 *
 * YES with the command's first byte, a letter or digit; for inline commands with the byte behind the words that are told
 * by themselves, or with the line feed. A line may end with LF alone, as it does when it is typed by hand.
 *
 * Refuses the other types of RESP, which a client does not begin with, and the inline commands that others have as well:
 * memcached's `get KEY` and `incr KEY 1`, its `set` with flags, time and length, `quit`, everybody's AUTH.
 * Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

#include <string.h>

#define STRINGS_MAX 1048576 /* the server's own limit */
#define COMMAND_MAX 64      /* renamed ones are often hashes */

/* A sign, a number in 1..max and the line's end. */
static enum verdict number_match(const uint8_t *bytes, size_t len, char sign, size_t max, size_t *ret_len)
{
	size_t n = 1, value = 0;

	if (len == 0)
		return VERDICT_MORE;
	if (bytes[0] != (uint8_t)sign)
		return VERDICT_NO;
	for (; n < len && bytes[n] >= '0' && bytes[n] <= '9'; n++) {
		value = value * 10 + bytes[n] - '0';
		if (value == 0 || value > max)
			return VERDICT_NO;
	}
	if (n == len)
		return VERDICT_MORE;
	*ret_len = n + 2;
	return value > 0 ? look_literal(bytes + n, len - n, "\r\n", 2) : VERDICT_NO;
}

static enum verdict array_match(const uint8_t *bytes, size_t len)
{
	size_t at, n;

	enum verdict verdict = number_match(bytes, len, '*', STRINGS_MAX, &at);
	if (verdict != VERDICT_YES)
		return verdict;
	verdict = number_match(bytes + at, len - at, '$', COMMAND_MAX, &n);
	if (verdict != VERDICT_YES)
		return verdict;
	at += n;
	if (at == len)
		return VERDICT_MORE;
	uint8_t c = look_lower(bytes[at]);
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ? VERDICT_YES : VERDICT_NO;
}

enum {
	WORDS_ANY = 255,
	LINE_MAX_LEN = 1024,
	EMPTY_LINES_MAX = 8,
};

/* A command as it is typed. `alone`: told by itself; else by the number of words behind it, up to the line's end. */
struct command {
	struct look_entry entry;
	uint8_t words_min, words_max;
	bool alone;
	bool is_upper; /* not so in lower case, which is memcached's */
};

#define ALONE(text)                                                                                                  \
	{                                                                                                            \
		LOOK_ENTRY(text), 0, WORDS_ANY, .alone = true                                                        \
	}
#define LINE(text, min, max)                                                                                         \
	{                                                                                                            \
		LOOK_ENTRY(text), min, max                                                                           \
	}

/* clang-format off */
static const struct command commands[] = {
	ALONE("bgrewriteaof"), ALONE("bgsave"), ALONE("client getname"), ALONE("client id"), ALONE("client info"),
	ALONE("client kill"), ALONE("client list"), ALONE("client no-evict"), ALONE("client reply"), ALONE("client setinfo"),
	ALONE("client setname"), ALONE("cluster info"), ALONE("cluster myid"), ALONE("cluster nodes"), ALONE("cluster shards"),
	ALONE("cluster slots"), ALONE("command count"), ALONE("command docs"), ALONE("config get"), ALONE("config resetstat"),
	ALONE("config rewrite"), ALONE("config set"), ALONE("dbsize"), ALONE("decrby"), ALONE("evalsha"), ALONE("flushall"),
	ALONE("flushdb"), ALONE("getset"), ALONE("hdel"), ALONE("hello 2"), ALONE("hello 3"), ALONE("hexists"), ALONE("hget"),
	ALONE("hgetall"), ALONE("hincrby"), ALONE("hkeys"), ALONE("hlen"), ALONE("hmget"), ALONE("hmset"), ALONE("hset"),
	ALONE("incrby"), ALONE("incrbyfloat"), ALONE("latency latest"), ALONE("lindex"), ALONE("llen"), ALONE("lpop"),
	ALONE("lpush"), ALONE("lrange"), ALONE("ltrim"), ALONE("memory usage"), ALONE("mset"), ALONE("pexpire"),
	ALONE("psetex"), ALONE("psubscribe"), ALONE("psync"), ALONE("pttl"), ALONE("randomkey"), ALONE("replconf"),
	ALONE("replicaof"), ALONE("rpop"), ALONE("rpush"), ALONE("sadd"), ALONE("scard"), ALONE("script load"), ALONE("setex"),
	ALONE("setnx"), ALONE("sismember"), ALONE("slaveof"), ALONE("slowlog get"), ALONE("smembers"), ALONE("srem"),
	ALONE("xadd"), ALONE("xread"), ALONE("zadd"), ALONE("zcard"), ALONE("zrange"), ALONE("zrem"), ALONE("zscore"),
	LINE("append", 2, 2), LINE("command", 0, 0), LINE("decr", 1, 1), LINE("del", 1, WORDS_ANY), LINE("eval", 2, WORDS_ANY),
	LINE("exists", 1, WORDS_ANY), LINE("expire", 2, 3), LINE("incr", 1, 1), LINE("info", 0, 1), LINE("keys", 1, 1),
	LINE("mget", 1, WORDS_ANY), LINE("monitor", 0, 0), LINE("ping", 0, 0), LINE("role", 0, 0), LINE("scan", 1, WORDS_ANY),
	LINE("select", 1, 1), LINE("set", 2, 2), LINE("subscribe", 1, 1), LINE("sync", 0, 0), LINE("ttl", 1, 1),
	{ LOOK_ENTRY("get"), 1, 1, .is_upper = true },
};
/* clang-format on */

/* The words behind a command, from the byte behind it on. One in quotes may have spaces in it. */
static enum verdict words_match(const struct command *command, const uint8_t *bytes, size_t len)
{
	size_t words = 0;
	uint8_t quote = 0;

	for (size_t i = 0; i < len && i < LINE_MAX_LEN; i++) {
		if (bytes[i] == '\n')
			return words >= command->words_min ? VERDICT_YES : VERDICT_NO;
		if (bytes[i] == '\r') {
			enum verdict verdict = look_literal(bytes + i, len - i, "\r\n", 2);
			return verdict == VERDICT_YES && words < command->words_min ? VERDICT_NO : verdict;
		}
		if (bytes[i] < ' ' || bytes[i] == 0x7f)
			return VERDICT_NO;
		if (quote) {
			quote = bytes[i] == quote && bytes[i - 1] != '\\' ? 0 : quote;
			continue;
		}
		if (bytes[i] == ' ' || bytes[i - 1] != ' ')
			continue;
		quote = bytes[i] == '"' || bytes[i] == '\'' ? bytes[i] : 0;
		/* a path, or a version: a request of another protocol's */
		if (bytes[i] == '/' || words == command->words_max ||
			look_word(bytes + i, len - i, "http/", 5) == VERDICT_YES)
			return VERDICT_NO;
		words += words < WORDS_ANY;
	}
	return len < LINE_MAX_LEN ? VERDICT_MORE : VERDICT_NO;
}

static enum verdict command_match(const struct command *command, const uint8_t *bytes, size_t len)
{
	enum verdict verdict = look_word(bytes, len, command->entry.text, command->entry.len);

	if (verdict == VERDICT_NO || (command->is_upper && bytes[0] >= 'a'))
		return VERDICT_NO;
	if (verdict == VERDICT_MORE || len == command->entry.len)
		return VERDICT_MORE;
	const uint8_t *behind = bytes + command->entry.len;
	if (*behind != ' ' && *behind != '\r' && *behind != '\n')
		return VERDICT_NO;
	return command->alone ? VERDICT_YES : words_match(command, behind, len - command->entry.len);
}

static enum verdict inline_match(const uint8_t *bytes, size_t len)
{
	enum verdict verdict = VERDICT_NO;
	uint8_t first = look_lower(bytes[0]);

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if ((uint8_t)commands[i].entry.text[0] != first)
			continue;
		enum verdict one = command_match(&commands[i], bytes, len);
		if (one == VERDICT_YES)
			return one;
		if (one == VERDICT_MORE)
			verdict = one;
	}
	return verdict;
}

/* The server passes over them. */
static enum verdict empty_lines_skip(const uint8_t *bytes, size_t len, size_t *at)
{
	for (int n = 0; *at < len && (bytes[*at] == '\r' || bytes[*at] == '\n'); n++) {
		if (n == EMPTY_LINES_MAX)
			return VERDICT_NO;
		size_t cr = bytes[*at] == '\r';
		if (cr && *at + 1 == len)
			return VERDICT_MORE;
		if (cr && bytes[*at + 1] != '\n')
			return VERDICT_NO;
		*at += cr + 1;
	}
	return *at < len ? VERDICT_YES : VERDICT_MORE;
}

enum verdict probe_redis(const struct evidence *evidence, struct findings *findings)
{
	size_t len = evidence_len(evidence), at = 0;

	enum verdict verdict = empty_lines_skip(evidence->bytes, len, &at);
	if (verdict != VERDICT_YES)
		return verdict;
	if (evidence->bytes[at] == '*')
		return array_match(evidence->bytes + at, len - at);
	return inline_match(evidence->bytes + at, len - at);
}
