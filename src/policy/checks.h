/* How a service's backends are checked: plain data, filled by the policy, read by the checker. */
#pragma once
#include "address.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum check_expect {
	EXPECT_CONNECTION, /* or, with `sni', the end of the handshake */
	EXPECT_OPENING,
	EXPECT_PROTOCOL,
	EXPECT_STATUS,
};

struct protocol;
struct server_opening;

struct check {
	uint64_t every_us, timeout_us;
	unsigned rise, fall; /* results in a row */
	uint16_t port;       /* of all backends; 0: each one's own */
	const uint8_t *send; /* first of all, or when the handshake is over */
	size_t send_len;
	const char *sni;           /* by TLS, with this name; NULL: not by TLS */
	const char *method, *path; /* of an HTTP request, in place of `send'; NULL: none */
	enum check_expect expect;
	const struct server_opening *opening; /* with EXPECT_OPENING; a constant of the program */
	const struct protocol *protocol;      /* with EXPECT_PROTOCOL */
	/* With EXPECT_STATUS, a bit for each: statuses[status / 8] >> status % 8 & 1 */
	uint8_t statuses[1000 / 8];
	/* Of those that get datagrams: how they are checked. */
	enum { CHECK_DATAGRAMS_NOT, CHECK_DATAGRAMS_BY_STREAM, CHECK_DATAGRAMS } datagrams;
};

/* Of the backends that get clients by this transport. `check' NULL: there is none. */
static inline bool check_is_for(const struct check *check, enum transport_kind transport)
{
	return check && (transport == TRANSPORT_STREAM || check->datagrams != CHECK_DATAGRAMS_NOT);
}

static inline bool check_has_status(const struct check *check, unsigned status)
{
	return status < 1000 && check->statuses[status / 8] >> status % 8 & 1;
}
