/* Every key of the configuration, once: where it may stand, its type, its range and its default. The reader
 * checks a configuration against these tables, and a test compares the manual and the examples with them. */
#pragma once
#include <stddef.h>

enum key_type {
	KEY_STRING,
	KEY_CHOICE,           /* one of a few strings */
	KEY_WHOLE,            /* a whole number */
	KEY_SECONDS,          /* a number of seconds, whole or not */
	KEY_BOOL,             /* true or false: see values_switch() */
	KEY_SWITCH,           /* true, false or a whole number: see values_switch() */
	KEY_NUMBER_OR_CHOICE, /* a whole number, or one of a few strings */
	KEY_MODE,             /* permission bits: see values_mode() */
	KEY_STRINGS,          /* a string or a list of them */
	KEY_GROUP,
	KEY_GROUPS, /* a list of groups */
	KEY_MIXED,  /* a string, a group, or a list of either */
};

struct key {
	const char *name;
	enum key_type type;
	double least, most;  /* of a number */
	double preset;       /* of a number, a 0 or 1, or the place of a choice: taken where the key is absent */
	const char *choices; /* "close reset" */
};

struct section {
	const char *name; /* as in "a service" */
	const struct key *keys;
	size_t n_keys;
};

enum top_key {
	TOP_LISTEN,
	TOP_USER,
	TOP_GROUP,
	TOP_WORKERS,
	TOP_DECIDE_TIMEOUT,
	TOP_SEARCH_TIMEOUT,
	TOP_BANNER_TIMEOUT,
	TOP_CONNECT_TIMEOUT,
	TOP_NAME_MAX_AGE,
	TOP_ACCESS_TIMEOUT,
	TOP_IDLE_TIMEOUT,
	TOP_DRAIN_TIMEOUT,
	TOP_UPGRADE_TIMEOUT,
	TOP_MAX_CONNECTIONS,
	TOP_MAX_UNDECIDED,
	TOP_MAX_UNDECIDED_PER_SOURCE,
	TOP_PID_FILE,
	TOP_CONTROL,
	TOP_METRICS,
	TOP_KEEP_EVIDENCE,
	TOP_LOG,
	TOP_PROTOCOLS,
	TOP_IDENTIFIERS,
	TOP_SERVICES,
	TOP_ON_SILENCE,
	TOP_ON_UNKNOWN,
	TOP_COUNT
};

enum listen_key {
	LISTEN_ADDRESS,
	LISTEN_MODE,
	LISTEN_ACCEPT_PROXY,
	LISTEN_OTHERS,
	LISTEN_ABSENT,
	LISTEN_KEEPALIVE,
	LISTEN_MAX_CONNECTIONS,
	LISTEN_FREEBIND,
	LISTEN_RECEIVE_BUFFER,
	LISTEN_ON_SILENCE,
	LISTEN_ON_UNKNOWN,
	LISTEN_LOG_LEVEL,
	LISTEN_EMPTY_LEVEL,
	LISTEN_COUNT
};

enum control_key { CONTROL_PATH, CONTROL_MODE, CONTROL_GROUP, CONTROL_COUNT };

enum metrics_key { METRICS_LISTEN, METRICS_MODE, METRICS_PAGE, METRICS_COUNT };

enum log_key {
	LOG_KEY_LEVEL,
	LOG_KEY_EMPTY_LEVEL,
	LOG_KEY_TO,
	LOG_KEY_FORMAT,
	LOG_KEY_FIELDS,
	LOG_KEY_FACILITY,
	LOG_KEY_COUNT
};

enum protocol_key {
	PROTOCOL_NAME,
	PROTOCOL_STRING,
	PROTOCOL_BYTES,
	PROTOCOL_AT,
	PROTOCOL_MASK,
	PROTOCOL_CONTAINS,
	PROTOCOL_REGEX,
	PROTOCOL_WITHIN,
	PROTOCOL_AT_LEAST,
	PROTOCOL_COUNT
};

/* Who may use a service, in a part of that section and of the policy of usher-access. */
enum access_key {
	ACCESS_ALLOW,
	ACCESS_DENY,
	ACCESS_HOURS,
	ACCESS_RATE,
	ACCESS_REFUSE,
	ACCESS_COUNT_ALONE, /* usher-access is asked once a connection, and knows these only */
	ACCESS_PER_SOURCE = ACCESS_COUNT_ALONE,
	ACCESS_MAX_CONNECTIONS,
	ACCESS_MAX_STARTUPS,
	ACCESS_MAX_STARTUPS_PER_SOURCE,
	ACCESS_PROGRAM,
	ACCESS_COUNT
};

enum identifier_key {
	IDENTIFIER_MODULE,
	IDENTIFIER_PROGRAM,
	IDENTIFIER_MODE,
	IDENTIFIER_TIMEOUT,
	IDENTIFIER_USER,
	IDENTIFIER_GROUP,
	IDENTIFIER_COUNT
};

enum service_key {
	SERVICE_NAME,
	SERVICE_MATCH,
	SERVICE_CONNECT,
	SERVICE_PORTS,
	SERVICE_ALLOW_NAMES,
	SERVICE_ALLOW_ADDRESSES,
	SERVICE_BALANCE,
	SERVICE_HASH,
	SERVICE_OBSERVE,
	SERVICE_CHECK,
	SERVICE_SLOW_START,
	SERVICE_ON_DOWN,
	SERVICE_RESOLVE,
	SERVICE_SEND_PROXY,
	SERVICE_SEND_PROXY_FAMILY,
	SERVICE_PASS_PROXY,
	SERVICE_TRANSPARENT,
	SERVICE_THROUGH,
	SERVICE_HANDOVER,
	SERVICE_FORMAT,
	SERVICE_START,
	SERVICE_START_TIMEOUT,
	SERVICE_STOP_AFTER,
	SERVICE_EXEC,
	SERVICE_STDIO,
	SERVICE_USER,
	SERVICE_GROUP,
	SERVICE_REJECT,
	SERVICE_TARPIT_TIMEOUT,
	SERVICE_FALLBACK,
	SERVICE_BANNER,
	SERVICE_STARTTLS,
	SERVICE_KEEPALIVE,
	SERVICE_IDLE_TIMEOUT,
	SERVICE_ANSWER_TIMEOUT,
	SERVICE_ANSWERS,
	SERVICE_BANDWIDTH,
	SERVICE_TOTAL_BANDWIDTH,
	SERVICE_LOG_LEVEL,
	SERVICE_ACCESS, /* from here on in the order of enum access_key */
	SERVICE_COUNT = SERVICE_ACCESS + ACCESS_COUNT
};

/* The values of `reject'. */
enum reject_choice { REJECT_CLOSE, REJECT_RESET, REJECT_TARPIT };

enum backend_key_name { BACKEND_ADDRESS, BACKEND_WEIGHT, BACKEND_BACKUP, BACKEND_MAX_CONNECTIONS, BACKEND_KEYS };

/* Of `bandwidth' and `total_bandwidth'. */
enum bandwidth_key { BANDWIDTH_UP, BANDWIDTH_DOWN, BANDWIDTH_KEYS };

enum check_key {
	CHECK_EVERY,
	CHECK_TIMEOUT,
	CHECK_RISE,
	CHECK_FALL,
	CHECK_PORT,
	CHECK_SEND,
	CHECK_EXPECT,
	CHECK_HTTP,
	CHECK_SNI,
	CHECK_KEYS
};

enum send_key { SEND_BYTES, SEND_KEYS };

/* The attributes stand in the order of enum attribute, from MATCH_SNI. */
enum match_key {
	MATCH_PROTOCOL,
	MATCH_SNI,
	MATCH_ALPN,
	MATCH_HOST,
	MATCH_SERVICE,
	MATCH_PATH,
	MATCH_UPGRADE,
	MATCH_VERSION,
	MATCH_JA4,
	MATCH_COOKIE,
	MATCH_USER,
	MATCH_DATABASE,
	MATCH_LISTENER,
	MATCH_IDENTIFIED,
	MATCH_COUNT
};

#define SECTION_KEYS_MAX 64 /* no section has more */

enum {
	SECTION_TOP,
	SECTION_LISTEN,
	SECTION_LOG,
	SECTION_CONTROL,
	SECTION_METRICS,
	SECTION_PROTOCOL,
	SECTION_IDENTIFIER,
	SECTION_SERVICE,
	SECTION_BACKEND,
	SECTION_CHECK,
	SECTION_SEND,
	SECTION_BANDWIDTH,
	SECTION_MATCH,
	SECTION_COUNT
};

extern const struct section sections[SECTION_COUNT];
