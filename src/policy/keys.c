/* The tables of keys: data, no code. What a value means beyond its type is checked where it is compiled. */
#include "keys.h"

#define DAY 86400.0

#define KEEPALIVE_MAX      32767      /* seconds: more the kernel refuses */
#define RECEIVE_BUFFER_MAX 1073741823 /* bytes: the kernel doubles it */

/* In the order of facilities[] in policy.c. */
#define LOG_FACILITIES                                                                                               \
	"auth authpriv cron daemon ftp lpr mail news syslog user uucp local0 local1 local2 local3 local4 local5 "    \
	"local6 local7"
#define LOG_FACILITY_PRESET 3

static const struct key top_keys[TOP_COUNT] = {
	[TOP_LISTEN] = { "listen", KEY_MIXED },
	[TOP_USER] = { "user", KEY_STRING },
	[TOP_GROUP] = { "group", KEY_STRING },
	[TOP_WORKERS] = { "workers", KEY_WHOLE, 1, 256 }, /* default: as many as there are cores */
	[TOP_DECIDE_TIMEOUT] = { "decide_timeout", KEY_SECONDS, 0, DAY, 3 },
	[TOP_SEARCH_TIMEOUT] = { "search_timeout", KEY_SECONDS, 0, DAY, 0 },
	[TOP_BANNER_TIMEOUT] = { "banner_timeout", KEY_SECONDS, 0.01, DAY, 0.5 },
	[TOP_CONNECT_TIMEOUT] = { "connect_timeout", KEY_SECONDS, 0.01, 3600, 5 },
	[TOP_NAME_MAX_AGE] = { "name_max_age", KEY_WHOLE, 1, DAY, 300 },
	[TOP_ACCESS_TIMEOUT] = { "access_timeout", KEY_SECONDS, 0.01, 3600, 10 },
	[TOP_IDLE_TIMEOUT] = { "idle_timeout", KEY_SECONDS, 0.01, 30 * DAY, 3600 },
	[TOP_DRAIN_TIMEOUT] = { "drain_timeout", KEY_SECONDS, 0, DAY, 30 },
	[TOP_UPGRADE_TIMEOUT] = { "upgrade_timeout", KEY_SECONDS, 1, 3600, 60 },
	[TOP_MAX_CONNECTIONS] = { "max_connections", KEY_WHOLE, 0, 10000000, 0 },
	[TOP_MAX_UNDECIDED] = { "max_undecided", KEY_WHOLE, 0, 10000000, 4096 },
	[TOP_MAX_UNDECIDED_PER_SOURCE] = { "max_undecided_per_source", KEY_WHOLE, 0, 10000000, 512 },
	[TOP_PID_FILE] = { "pid_file", KEY_STRING },
	[TOP_CONTROL] = { "control", KEY_MIXED },
	[TOP_METRICS] = { "metrics", KEY_MIXED },
	[TOP_KEEP_EVIDENCE] = { "keep_evidence", KEY_WHOLE, 0, 4096, 0 },
	[TOP_LOG] = { "log", KEY_GROUP },
	[TOP_PROTOCOLS] = { "protocols", KEY_GROUPS },
	[TOP_IDENTIFIERS] = { "identifiers", KEY_GROUPS },
	[TOP_SERVICES] = { "services", KEY_GROUPS },
	[TOP_ON_SILENCE] = { "on_silence", KEY_STRING },
	[TOP_ON_UNKNOWN] = { "on_unknown", KEY_STRING },
};

static const struct key listen_keys[LISTEN_COUNT] = {
	[LISTEN_ADDRESS] = { "address", KEY_STRING },
	[LISTEN_MODE] = { "mode", KEY_MODE },
	[LISTEN_KEEPALIVE] = { "keepalive", KEY_SWITCH, 1, KEEPALIVE_MAX },
	[LISTEN_MAX_CONNECTIONS] = { "max_connections", KEY_WHOLE, 0, 10000000, 0 },
	[LISTEN_FREEBIND] = { "freebind", KEY_BOOL },
	[LISTEN_RECEIVE_BUFFER] = { "receive_buffer", KEY_WHOLE, 4096, RECEIVE_BUFFER_MAX },
	[LISTEN_ON_SILENCE] = { "on_silence", KEY_STRING },
	[LISTEN_ON_UNKNOWN] = { "on_unknown", KEY_STRING },
	[LISTEN_LOG_LEVEL] = { "log_level", KEY_CHOICE, .choices = "notice info debug" },
	[LISTEN_EMPTY_LEVEL] = { "empty_level", KEY_CHOICE, .choices = "error warning notice info debug" },
	[LISTEN_ACCEPT_PROXY] = { "accept_proxy", KEY_STRINGS },
	[LISTEN_OTHERS] = { "others", KEY_CHOICE, .choices = "refuse plain" },
	[LISTEN_ABSENT] = { "absent", KEY_CHOICE, .choices = "refuse plain" },
};

static const struct key control_keys[CONTROL_COUNT] = {
	[CONTROL_PATH] = { "path", KEY_STRING },
	[CONTROL_MODE] = { "mode", KEY_MODE },
	[CONTROL_GROUP] = { "group", KEY_STRING },
};

static const struct key metrics_keys[METRICS_COUNT] = {
	[METRICS_LISTEN] = { "listen", KEY_STRING },
	[METRICS_MODE] = { "mode", KEY_MODE },
	[METRICS_PAGE] = { "page", KEY_BOOL },
};

static const struct key log_keys[LOG_KEY_COUNT] = {
	[LOG_KEY_LEVEL] = { "level", KEY_CHOICE, .choices = "error warning notice info debug", .preset = 3 },
	[LOG_KEY_EMPTY_LEVEL] = { "empty_level", KEY_CHOICE, .choices = "error warning notice info debug" },
	[LOG_KEY_TO] = { "to", KEY_STRING },
	[LOG_KEY_FORMAT] = { "format", KEY_CHOICE, .choices = "text json" },
	[LOG_KEY_FIELDS] = { "fields", KEY_STRINGS },
	[LOG_KEY_FACILITY] = { "facility", KEY_CHOICE, .choices = LOG_FACILITIES, .preset = LOG_FACILITY_PRESET },
};

static const struct key protocol_keys[PROTOCOL_COUNT] = {
	[PROTOCOL_NAME] = { "name", KEY_STRING },
	[PROTOCOL_STRING] = { "string", KEY_STRINGS },
	[PROTOCOL_BYTES] = { "bytes", KEY_STRINGS },
	[PROTOCOL_AT] = { "at", KEY_WHOLE, 0, 32767, 0 },
	[PROTOCOL_MASK] = { "mask", KEY_STRING },
	[PROTOCOL_CONTAINS] = { "contains", KEY_STRINGS },
	[PROTOCOL_REGEX] = { "regex", KEY_STRINGS },
	[PROTOCOL_WITHIN] = { "within", KEY_WHOLE, 1, 32768, 1024 },
	[PROTOCOL_AT_LEAST] = { "at_least", KEY_WHOLE, 1, 32768, 1 },
};

/* A group with `module` is not read by this table: its other keys are the module's own. */
static const struct key identifier_keys[IDENTIFIER_COUNT] = {
	[IDENTIFIER_MODULE] = { "module", KEY_STRING },
	[IDENTIFIER_PROGRAM] = { "program", KEY_STRINGS },
	[IDENTIFIER_MODE] = { "mode", KEY_CHOICE, .preset = 1, .choices = "once stream" },
	[IDENTIFIER_TIMEOUT] = { "timeout", KEY_SECONDS, 0.001, 3600, 0.5 },
	[IDENTIFIER_USER] = { "user", KEY_STRING },
	[IDENTIFIER_GROUP] = { "group", KEY_STRING },
};

static const struct key service_keys[SERVICE_COUNT] = {
	[SERVICE_NAME] = { "name", KEY_STRING },
	[SERVICE_MATCH] = { "match", KEY_MIXED },
	[SERVICE_CONNECT] = { "connect", KEY_MIXED },
	[SERVICE_PORTS] = { "ports", KEY_STRINGS },
	[SERVICE_ALLOW_NAMES] = { "allow_names", KEY_STRINGS },
	[SERVICE_ALLOW_ADDRESSES] = { "allow_addresses", KEY_STRINGS },
	[SERVICE_BALANCE] = { "balance", KEY_CHOICE, .choices = "first roundrobin least random hash" },
	[SERVICE_HASH] = { "hash", KEY_CHOICE, .choices = "source sni host connection-id" },
	[SERVICE_OBSERVE] = { "observe", KEY_BOOL },
	[SERVICE_CHECK] = { "check", KEY_GROUP },
	[SERVICE_SLOW_START] = { "slow_start", KEY_SECONDS, 0, 3600, 0 },
	[SERVICE_ON_DOWN] = { "on_down", KEY_CHOICE, .choices = "keep close" },
	[SERVICE_RESOLVE] = { "resolve", KEY_CHOICE, .choices = "background connect" },
	[SERVICE_SEND_PROXY] = { "send_proxy", KEY_NUMBER_OR_CHOICE, 1, 2, 0, "each" },
	[SERVICE_SEND_PROXY_FAMILY] = { "send_proxy_family", KEY_CHOICE, .choices = "client backend" },
	[SERVICE_PASS_PROXY] = { "pass_proxy", KEY_BOOL },
	[SERVICE_TRANSPARENT] = { "transparent", KEY_BOOL },
	[SERVICE_THROUGH] = { "through", KEY_CHOICE, .choices = "usher kernel" },
	[SERVICE_HANDOVER] = { "handover", KEY_STRING },
	[SERVICE_FORMAT] = { "format", KEY_CHOICE, .choices = "usher tcpmux" },
	[SERVICE_START] = { "start", KEY_STRINGS },
	[SERVICE_START_TIMEOUT] = { "start_timeout", KEY_SECONDS, 0.1, 3600, 30 },
	[SERVICE_STOP_AFTER] = { "stop_after", KEY_SECONDS, 1, 30 * DAY, 600 },
	[SERVICE_EXEC] = { "exec", KEY_STRINGS },
	[SERVICE_STDIO] = { "stdio", KEY_CHOICE, .choices = "socket pipe pty" },
	[SERVICE_USER] = { "user", KEY_STRING },
	[SERVICE_GROUP] = { "group", KEY_STRING },
	[SERVICE_REJECT] = { "reject", KEY_CHOICE, .choices = "close reset tarpit" },
	[SERVICE_TARPIT_TIMEOUT] = { "tarpit_timeout", KEY_SECONDS, 1, DAY, 600 },
	[SERVICE_FALLBACK] = { "fallback", KEY_STRING },
	[SERVICE_BANNER] = { "banner", KEY_BOOL },
	[SERVICE_STARTTLS] = { "starttls", KEY_BOOL },
	[SERVICE_KEEPALIVE] = { "keepalive", KEY_SWITCH, 1, KEEPALIVE_MAX },
	[SERVICE_IDLE_TIMEOUT] = { "idle_timeout", KEY_SECONDS, 0.01, 30 * DAY },
	[SERVICE_ANSWER_TIMEOUT] = { "answer_timeout", KEY_SECONDS, 0.01, 30 * DAY, 30 },
	[SERVICE_ANSWERS] = { "answers", KEY_WHOLE, 0, 65535 }, /* default: as many as come */
	[SERVICE_BANDWIDTH] = { "bandwidth", KEY_MIXED },
	[SERVICE_TOTAL_BANDWIDTH] = { "total_bandwidth", KEY_MIXED },
	[SERVICE_LOG_LEVEL] = { "log_level", KEY_CHOICE, .choices = "notice info debug", .preset = 1 },
	[SERVICE_ACCESS + ACCESS_ALLOW] = { "allow", KEY_STRINGS },
	[SERVICE_ACCESS + ACCESS_DENY] = { "deny", KEY_STRINGS },
	[SERVICE_ACCESS + ACCESS_HOURS] = { "hours", KEY_STRINGS },
	[SERVICE_ACCESS + ACCESS_RATE] = { "rate", KEY_STRING },
	[SERVICE_ACCESS + ACCESS_REFUSE] = { "refuse", KEY_CHOICE, .choices = "close reset" },
	[SERVICE_ACCESS + ACCESS_PER_SOURCE] = { "per_source", KEY_WHOLE, 0, 1000000, 0 },
	[SERVICE_ACCESS + ACCESS_MAX_CONNECTIONS] = { "max_connections", KEY_WHOLE, 0, 10000000, 0 },
	[SERVICE_ACCESS + ACCESS_MAX_STARTUPS] = { "max_startups", KEY_WHOLE, 0, 1000000, 100 },
	[SERVICE_ACCESS + ACCESS_MAX_STARTUPS_PER_SOURCE] = { "max_startups_per_source", KEY_WHOLE, 0, 1000000, 32 },
	[SERVICE_ACCESS + ACCESS_PROGRAM] = { "access", KEY_STRINGS },
};

/* A backend of a service's `connect'. */
static const struct key backend_keys[BACKEND_KEYS] = {
	[BACKEND_ADDRESS] = { "address", KEY_STRING },
	[BACKEND_WEIGHT] = { "weight", KEY_WHOLE, 0, 256, 1 },
	[BACKEND_BACKUP] = { "backup", KEY_BOOL },
	[BACKEND_MAX_CONNECTIONS] = { "max_connections", KEY_WHOLE, 0, 1000000, 0 },
};

static const struct key bandwidth_keys[BANDWIDTH_KEYS] = {
	[BANDWIDTH_UP] = { "up", KEY_STRING },
	[BANDWIDTH_DOWN] = { "down", KEY_STRING },
};

/* A service's `check'. */
static const struct key check_keys[CHECK_KEYS] = {
	[CHECK_EVERY] = { "every", KEY_SECONDS, 0.1, 3600, 5 },
	[CHECK_TIMEOUT] = { "timeout", KEY_SECONDS, 0.01, 3600, 2 },
	[CHECK_RISE] = { "rise", KEY_WHOLE, 1, 100, 2 },
	[CHECK_FALL] = { "fall", KEY_WHOLE, 1, 100, 3 },
	[CHECK_PORT] = { "port", KEY_WHOLE, 1, 65535 },
	[CHECK_SEND] = { "send", KEY_MIXED },
	[CHECK_EXPECT] = { "expect", KEY_MIXED },
	[CHECK_HTTP] = { "http", KEY_STRING },
	[CHECK_SNI] = { "sni", KEY_STRING },
};

/* What a check sends, where it is no text. */
static const struct key send_keys[SEND_KEYS] = {
	[SEND_BYTES] = { "bytes", KEY_STRING },
};

static const struct key match_keys[MATCH_COUNT] = {
	[MATCH_PROTOCOL] = { "protocol", KEY_STRINGS },
	[MATCH_SNI] = { "sni", KEY_STRINGS },
	[MATCH_ALPN] = { "alpn", KEY_STRINGS },
	[MATCH_HOST] = { "host", KEY_STRINGS },
	[MATCH_SERVICE] = { "service", KEY_STRINGS },
	[MATCH_PATH] = { "path", KEY_STRINGS },
	[MATCH_UPGRADE] = { "upgrade", KEY_STRINGS },
	[MATCH_VERSION] = { "version", KEY_STRINGS },
	[MATCH_JA4] = { "ja4", KEY_STRINGS },
	[MATCH_COOKIE] = { "cookie", KEY_STRINGS },
	[MATCH_USER] = { "user", KEY_STRINGS },
	[MATCH_DATABASE] = { "database", KEY_STRINGS },
	[MATCH_LISTENER] = { "listener", KEY_STRINGS },
	[MATCH_IDENTIFIED] = { "identified", KEY_STRINGS },
};

const struct section sections[SECTION_COUNT] = {
	[SECTION_TOP] = { "the configuration", top_keys, TOP_COUNT },
	[SECTION_LISTEN] = { "a listener", listen_keys, LISTEN_COUNT },
	[SECTION_LOG] = { "log", log_keys, LOG_KEY_COUNT },
	[SECTION_CONTROL] = { "control", control_keys, CONTROL_COUNT },
	[SECTION_METRICS] = { "metrics", metrics_keys, METRICS_COUNT },
	[SECTION_PROTOCOL] = { "a protocol", protocol_keys, PROTOCOL_COUNT },
	[SECTION_IDENTIFIER] = { "an identifier", identifier_keys, IDENTIFIER_COUNT },
	[SECTION_SERVICE] = { "a service", service_keys, SERVICE_COUNT },
	[SECTION_BACKEND] = { "a backend", backend_keys, BACKEND_KEYS },
	[SECTION_CHECK] = { "a check", check_keys, CHECK_KEYS },
	[SECTION_SEND] = { "send", send_keys, SEND_KEYS },
	[SECTION_BANDWIDTH] = { "a bandwidth", bandwidth_keys, BANDWIDTH_KEYS },
	[SECTION_MATCH] = { "match", match_keys, MATCH_COUNT },
};
