/* Who may use a service: what the policy says, and the part of it that needs nothing but the client's address and the
 * clock. Counts of connections are kept elsewhere (shared_limits.h, program_table.h). */
#pragma once
#include "address_set.h"
#include "schedule.h"
#include <stdint.h>

struct access_rate {
	uint32_t burst;   /* how many at once; 0: no limit */
	uint64_t each_us; /* after how long there is room for one more */
};

struct access {
	const struct address_set *allow, *deny;          /* NULL: not given */
	const struct schedule *hours;                    /* NULL: always */
	const char *allow_text, *deny_text, *hours_text; /* as written, for people; NULL: not given */

	uint32_t max_connections; /* at a time, of the service; 0: no limit */
	uint32_t per_source;      /* at a time, of one source; 0: no limit */
	struct access_rate rate;  /* of one source */
	const char *rate_text;    /* as written; NULL: none */
	bool reset;               /* who is refused gets a TCP reset rather than an orderly close */

	/* A service that runs a program: the master, which sees it end, holds it to max_connections and per_source. And to
	 * these: how many of its programs may be younger than ACCESS_STARTUP_US, in all and of one source; 0: no limit. */
	bool program;
	uint32_t max_startups, max_startups_per_source;
};

#define ACCESS_STARTUP_US 120000000ULL /* the two minutes that sshd gives a client to log in */

/* NULL: the client may come in now; else the name of the rule that refuses: "deny", "allow" or "hours". deny wins over allow;
 * an allow that is given admits only what it covers, and whom the
 * service is open for (`is_open`). A client without an IP address (of a UNIX socket) is subject to
 * hours alone. `access` NULL: nothing restricts. */
const char *access_judge(const struct access *access, const struct address *client, bool is_open, time_t now);

/* The source that a client counts for: its IPv4 address (also where it is mapped into IPv6, or translated: 64:ff9b::/96), or the /64 of its IPv6 address, as one number that no other source
 * has. 0: it has none (UNIX sockets), and no limit per source applies to it. */
uint64_t access_source(const struct address *client);
