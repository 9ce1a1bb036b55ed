/* The configuration, compiled: immutable once it is published, built in one arena, freed whole.
 * Keys, types, defaults and limits are documented in usher.conf(5). */
#pragma once
#include "access.h"
#include "address.h"
#include "byte_bucket.h"
#include "complaint.h"
#include "decider.h"
#include "log.h"
#include "module.h"
#include "server_banner.h"
#include "starttls.h"
#include "target.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What of it goes with connections alone (mode, keepalive, on_silence, the banner, PROXY headers) is unset where datagrams come in. */
struct listener_policy {
	const char *text; /* as the operator wrote it, with the port that is in force: "udp:0.0.0.0:443" */
	enum transport_kind transport;
	struct address address;
	mode_t mode;                     /* of a UNIX socket */
	int keepalive_s;                 /* of target.h */
	bool freebind;                   /* the address need not be there yet */
	bool forwards;                   /* the kernel may forward flows that come in here */
	unsigned max_connections;        /* or flows that came in here, in all workers together; 0: no limit */
	unsigned receive_buffer;         /* bytes of each UDP socket's; 0: as the system has it */
	uint32_t on_silence, on_unknown; /* SERVICE_NONE: close */
	/* UDP: a bit for each service that its clients may come to, by a rule, on_unknown or a fallback: reaches[service / 8] >> service % 8 & 1 */
	const uint8_t *reaches;
	int log_level;     /* enum log_level of the line of what came in here and went well; -1: as its service's */
	int empty_level;   /* of clients that leave without a byte; -1: as the policy's */
	bool awaits_bytes; /* silence leads nowhere: the kernel keeps who is silent to itself, for a second */
	uint32_t banner_service; /* whose banner or greeting a silent client is shown; SERVICE_NONE */
	/* Between whom its answer decides, by what kind of banner it was; NULL: nobody but this service. */
	const struct decider *banner_deciders[SERVER_BANNER_KINDS];
	/* A silent client is greeted in that service's place, so that it can ask for TLS; STARTTLS_NONE: it is shown the banner. */
	enum starttls_kind greeting;
	/* Whose a client is that has asked for TLS within a protocol, by its ClientHello; NULL: nobody's here. */
	const struct decider *starttls_deciders[STARTTLS_KINDS];
	unsigned line;

	/* Whose connections begin with a PROXY header; NULL: nobody's. */
	const struct address_set *proxies;
	bool unix_proxies;        /* those of UNIX sockets */
	const char *proxies_text; /* as written */
	bool plain_others;        /* connections from elsewhere are served as they are rather than refused */
	bool plain_absent;        /* and those from there that begin with something else */
};

#define ANSWERS_ANY UINT32_MAX

/* How fast bytes may be relayed: from clients to the server, and from the server to them. */
struct bandwidth {
	struct byte_rate up, down; /* each_s 0: no limit */
	const char *text;          /* for people: "1 MB/s up, 10 MB/s down"; NULL: no limit */
};

struct service {
	const char *name;
	const char *match; /* as text, for people: "tls sni=shop.example alpn=h2 | http host=..." */
	unsigned line;
	struct target target;
	/* Bits, 1 << enum transport_kind: its clients may come so. Whatever else leads here (a listener's on_unknown, a fallback) leads
	 * nowhere for the others. */
	unsigned transports;
	const struct access *access; /* NULL: nothing restricts it */
	const struct program *asks;  /* the access program, run as the workers' user; NULL: none */
	enum log_level log_level;    /* of the line of a connection that it served */
	uint64_t idle_timeout_us;    /* of connections that usher relays for it */
	struct bandwidth bandwidth,
		total_bandwidth;    /* of each connection that usher relays for it; of all together */
	uint64_t flow_timeout_us;   /* of a flow, from its last datagram, once it was answered */
	uint64_t answer_timeout_us; /* of a flow without an answer so far, from the client's last datagram */
	uint32_t
		answers; /* to each datagram of a client, after which the flow ends; ANSWERS_ANY; 0: none is expected */
	unsigned patience_ms; /* with who does not acknowledge, on either side: dial_set_patience() */
	bool has_banner;      /* its server speaks first; silent clients are shown what it says */
	unsigned starttls;    /* bits, 1 << enum starttls_kind: clients that ask for TLS are answered in its place */
	uint32_t fallback;    /* the service that takes over when this one's delivery fails, or SERVICE_NONE */
};

#define IDENTIFIER_RUNS_MAX 32 /* processes at a time of one that runs once for each question */

enum identifier_mode { IDENTIFIER_ONCE, IDENTIFIER_STREAM };

/* A program that says what protocol some bytes are. */
struct identifier {
	enum identifier_mode mode;
	struct program program; /* stdio is pipes */
	uint64_t timeout_us;    /* for each question */
};

enum log_sink { SINK_STDERR, SINK_SYSLOG, SINK_JOURNAL, SINK_FILE, SINK_SERVER };

/* What a listener's decider was made of, for who asks the services one by one. */
struct rule_list {
	const struct rule *rules;
	size_t n_rules;
};

/* Where an exporter answers over HTTP. */
struct metrics_policy {
	const char *text; /* as the operator wrote it; NULL: there is none */
	struct address address;
	mode_t mode; /* of a UNIX socket */
	bool page;   /* there is a page for people as well */
	unsigned line;
};

struct policy {
	const char *file;
	const char *text;     /* what another program's configuration came to be; NULL: it is usher's own */
	const char *settings; /* settings_text(); NULL unless the options ask for it */

	struct listener_policy *listeners;
	size_t n_listeners;
	/* A bit for each that a listener of the transport has: ports[transport][port / 8] >> port % 8 & 1 */
	const uint8_t *ports[TRANSPORT_COUNT];
	bool has_unix_listener;

	struct protocol *protocols; /* the built-in ones first, in the order of probes[]; the user's; modules' */
	size_t n_protocols;

	struct module_use *modules; /* for module_bind(), which fills them in where they are loaded */
	size_t n_modules;

	const char **tcpmux_names; /* that services ask for (`service'), each once, in lower case */
	size_t n_tcpmux_names;

	struct identifier *identifiers; /* in the order in which they are asked */
	size_t n_identifiers;

	struct protocol **expected; /* what checks expect and no protocol is */
	size_t n_expected;
	bool checks; /* some service does */

	struct service *services; /* in file order */
	size_t n_services;
	/* One a listener; may be the same. That of a UDP listener has what can be a datagram, and goes to services that take them. */
	const struct decider **deciders;
	struct rule_list *rule_lists;    /* likewise; NULL unless the options ask for them */
	uint32_t on_silence, on_unknown; /* of listeners that do not say otherwise */

	const char **names; /* host names of backends, for the resolver */
	size_t n_names;
	bool names_of_clients;   /* some service connects to the name that its client asks for */
	unsigned name_max_age_s; /* of an answer, before the name is asked for again */

	bool transparent; /* some service is */
	const char *
		forwarding_table; /* of the kernel, with the rules for flows that it forwards; NULL: no service has any */

	uint64_t search_timeout_us;  /* 0: searches have until decide_timeout */
	uint64_t banner_timeout_us;  /* of silence */
	uint64_t access_timeout_us;  /* of an access program, from its start to its end */
	uint64_t upgrade_timeout_us; /* of a new binary's trial */
	uint64_t decide_timeout_us, connect_timeout_us, idle_timeout_us, drain_timeout_us;
	unsigned patience_ms; /* with who does not acknowledge: dial_set_patience() */
	unsigned workers;
	unsigned max_connections; /* in all workers together; 0: as many as descriptors allow */
	unsigned max_undecided, max_undecided_per_source; /* likewise; 0: no limit of their own */

	bool drop_identity; /* started as root: workers become uid, gid */
	const char *user;
	uid_t uid;
	gid_t gid;

	const char *pid_file; /* NULL: none */

	const char *control; /* path of the control socket; NULL: none */
	mode_t control_mode;
	const char *control_group; /* whose members may also change things; NULL: none */
	gid_t control_gid;
	struct metrics_policy metrics;
	size_t keep_evidence; /* first bytes of each connection that are kept for people */

	enum log_sink log_sink;
	const char *log_file; /* its path, or the log server as address_parse_remote() takes it; NULL: neither */
	int empty_level; /* enum log_level of clients that leave without a byte; -1: that of the service for the silent */
	const uint8_t *log_fields; /* enum log_field: the keys of the line of a session, in their order */
	size_t n_log_fields;
	struct log_settings log;

	struct arena *arena; /* all of the above but compiled expressions; NULL: it is in somebody else's */
	struct region
		*region; /* where that is, in a process that got the policy from the one that compiled it; NULL */
};

struct policy_options {
	struct arena *arena; /* where it is to be; NULL: in one of its own */
	bool process_ends;   /* soon, without looking for what was not freed: the configuration's text may be left */
	uint16_t port;       /* overrides that of every IP listener; 0: as configured */
	bool keep_rules;     /* fill rule_lists */
	bool keep_settings;  /* fill settings */
};

/* Reads and compiles. 0 and a policy, or -EINVAL with at least one error among the complaints. Warnings
 * (a service that is never reached, a fallback that is never used) may come with either. `text` is the configuration itself,
 * `file` then only its name. */
int policy_load(
	struct policy **ret, const char *file, const struct policy_options *options, struct complaints *complaints);
int policy_load_text(struct policy **ret, const char *file, const char *text, const struct policy_options *options,
	struct complaints *complaints);
void policy_free(struct policy *policy); /* accepts NULL */

/* What another process compiled into a region, where the policy's own structure is at `from`. Takes the region over. NULL: no memory,
 * and the region is freed. */
struct policy *policy_adopt(const struct policy *from, struct region *region);

/* The same policy once more, for another owner. NULL: no memory. */
struct policy *policy_share(const struct policy *policy);

/* Before the process that decides looks at any bytes: makes what cannot come from another process. 0 or -errno. */
int policy_revive(const struct policy *policy);

/* What of a module was running, by the value of module_hooks.running: "probe xecho of module /usr/lib/x.so". NULL:
 * nothing was. */
const char *policy_module_running(const struct policy *policy, uint32_t running, char *buf, size_t size);

/* Some listener is of it. */
bool policy_has_transport(const struct policy *policy, enum transport_kind transport);

/* The routing table, as a person wants to read it. What each listener looks for is in it if there are rule_lists, and if there are
 * listeners of both transports or of datagrams alone. */
void policy_print(const struct policy *policy, FILE *to);
