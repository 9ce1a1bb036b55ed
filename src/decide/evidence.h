/* What is known of a client so far, what probes find in it, and the three-valued answers that follow.
 *
 * Monotony is the contract of every matcher: once it said YES or NO of some bytes, it says the same of every
 * continuation of them. From it follows that the outcome does not depend on how the bytes were cut into
 * segments.
 *
 * The evidence of a stream is its first bytes. That of a flow of datagrams is its first datagrams, in the order in which they
 * arrived, and everything is counted in datagrams: each is whole, and a continuation has more of them.
 *
 *     bytes   | first datagram | second  | third        |
 *             0             ends[0]   ends[1]        ends[2] = len
 *
 * Probes of datagrams and all other matchers see the first datagram alone and answer YES or NO; only probes that are marked for it
 * (struct probe, `spans_datagrams`) see all of them and may answer MORE. A datagram without bytes is no evidence and is not among
 * these. The first one is cut at EVIDENCE_MAX bytes. A later one that does not fit is left out, with all that follow. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes and datagrams that are looked at most; with so many, or when the next datagram does not fit, the caller takes MORE for NO. */
#define EVIDENCE_MAX           32768
#define EVIDENCE_DATAGRAMS_MAX 8

enum verdict { VERDICT_NO, VERDICT_MORE, VERDICT_YES };

struct evidence {
	const uint8_t *bytes;
	size_t len;
	const uint32_t *ends; /* where each datagram ends in `bytes`, ascending; NULL for a stream */
	size_t n_datagrams;   /* 0: a stream */
	uint8_t greeting;     /* 1 + enum server_banner: what the client has been told; 0: nothing */
	uint64_t serial;      /* of the connection: for a module that computes many names at once */
	uint32_t named;       /* the protocol that an external identifier gave it, counted from 1; 0: none */
	bool may_be_named;    /* an identifier may yet do so */
	bool search_over; /* what is searched for and not among these bytes, or may come only later, is not waited for */
};

/* What matchers see that do not span datagrams: of a flow its first datagram, behind which nothing will come. */
static inline struct evidence evidence_first(const struct evidence *evidence)
{
	struct evidence first = *evidence;

	if (first.n_datagrams > 0) {
		first.len = first.ends[0];
		first.n_datagrams = 1;
		first.search_over = true;
	}
	return first;
}

/* What a probe can learn on the way; usher.conf(5) says which probe learns which and how each is written. */
enum attribute {
	ATTRIBUTE_SNI,
	ATTRIBUTE_ALPN,
	ATTRIBUTE_HOST,
	ATTRIBUTE_SERVICE,
	ATTRIBUTE_PATH,
	ATTRIBUTE_UPGRADE,
	ATTRIBUTE_VERSION,
	ATTRIBUTE_JA4,
	ATTRIBUTE_COOKIE,
	ATTRIBUTE_USER,
	ATTRIBUTE_DATABASE,
	ATTRIBUTE_COUNT
};

extern const char *const attribute_names[ATTRIBUTE_COUNT]; /* as in the configuration: "sni", "alpn" ... */

#define FINDING_VALUES_MAX 16 /* ALPN names of one hello; later ones are not looked at */

struct finding {
	uint8_t count;
	struct {
		const uint8_t *at; /* into the evidence or the findings' scratch */
		size_t len;
	} value[FINDING_VALUES_MAX];
};

/* How long a client is waited for that may itself be waiting for the server (findings->client_waits), from its first bytes on; less
 * with a shorter search_timeout. */
#define CLIENT_WAITS_US UINT64_C(1000000)

/* Filled by one run over one evidence; the pointers die with either. One a worker, reused. */
struct findings {
	struct finding attribute[ATTRIBUTE_COUNT];
	uint32_t settled; /* bit set of 1 << enum attribute: the probe that ran last finds no further value of it */
	/* Likewise: what costs much (ja4) is found only if it is in here, or if a service asks for it. The caller's to
	 * set. */
	uint32_t wanted;
	uint64_t serial; /* of the evidence that they are about: no two states of any have the same */
	/* The client has said all that it will before it hears the server, as far as the probe can see, and what is not settled is not
	 * among it. */
	bool client_waits;
	size_t scratch_used;
	uint8_t scratch[EVIDENCE_MAX + 4096]; /* a hello put together from its records, a lower-cased host */
};

/* Forgets every value, settles nothing, and takes a new serial number. */
void findings_reset(struct findings *findings);
