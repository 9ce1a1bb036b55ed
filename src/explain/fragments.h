/* Fragments of IP packets put together: RFC 791 3.2, RFC 8200 4.5. */
#pragma once
#include "packet.h"

#include <stddef.h>
#include <stdint.h>

#define FRAGMENTS_PACKETS    256      /* that are being put together; behind that the oldest one is given up */
#define FRAGMENTS_TIMEOUT_US 60000000 /* RFC 8200 4.5 */

struct fragments;

struct fragments *fragments_new(void);            /* NULL: no memory */
void fragments_free(struct fragments *fragments); /* accepts NULL */

/* A packet that is a fragment. PACKET_FRAGMENT: more is needed, or it is of no use. Else what packet_parse() would have said
 * of the whole, and *packet is that; its payload is valid until the next call. */
enum packet_kind fragments_take(struct fragments *fragments, struct packet *packet, uint64_t time_us);

/* How many of those that were taken are in no packet that became whole. */
size_t fragments_left(const struct fragments *fragments);
