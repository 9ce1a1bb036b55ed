/* What the load generators and the server for datagrams have in common: what datagrams look like. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define BULK_SIZE  1200 /* bytes of a datagram of bulk */
#define BULK_BURST 54   /* of these in a burst: as many as one send can have */

/* The way that a burst leaves the server. */
enum burst_way {
	BURST_JOINED,  /* one send, which the kernel cuts (UDP_SEGMENT) */
	BURST_SINGLES, /* a datagram each, in one call */
};

/* A client asks for one burst. Everything else that the server gets is sent back as it came. */
struct burst_request {
	char mark[8]; /* BULK_MARK */
	uint32_t number;
	uint32_t way; /* enum burst_way */
};

/* Each datagram of a burst begins with this; the rest of a burst is the same for all. */
struct burst_header {
	char mark[8]; /* BULK_MARK */
	uint32_t number;
	uint32_t index;
};

#define BULK_MARK "sendbulk"
#define PING_MARK "pingpong"

/* Bytes that are no pattern of any length which a relay deals in. */
static inline void bytes_fill(uint8_t *bytes, size_t len, uint32_t seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1664525 + 1013904223;
		bytes[i] = (uint8_t)(seed >> 24);
	}
}
