/* The host and the path that the first request of an HTTP/2 connection names: frames of RFC 9113 4.1 up to the first
 * header block, which libnghttp2 inflates (RFC 7541).
 *
 *     SETTINGS  [WINDOW_UPDATE PRIORITY PING ...]  HEADERS  [CONTINUATION ...]
 *     LL LL LL | type | flags | stream id[4] | [pad length] [priority[5]] fragment [padding]
 *
 * Refuses (both settle as absent): a first frame that is not SETTINGS, frames larger than any peer may
 * send before the server's settings, frames that have no place before or within the first header block,
 * blocks that do not inflate, more than one :authority or :path, or a host field that differs from
 * :authority (RFC 9113 8.3.1). Memory: the inflater lives in a static pool of fixed size for the time of one call; a header
 * block that needs more is refused. A process runs one decision at a time. */
#include "http2.h"

#include "http_target.h"

#include <nghttp2/nghttp2.h>
#include <string.h>

#define FRAME_HEADER_LEN 9
#define FRAME_LEN_MAX    16384 /* SETTINGS_MAX_FRAME_SIZE before any settings, RFC 9113 6.5.2 */
#define PRIORITY_LEN     5

struct frame {
	uint8_t type;
	uint8_t flags;
	uint32_t stream;
	const uint8_t *payload;
	size_t len;
};

/* 0, -1: it has no place there. 1: it is not all there. Moves `*at` behind it. */
static int frame_read(struct frame *frame, const uint8_t *bytes, size_t len, size_t *at)
{
	const uint8_t *header = bytes + *at;

	if (len - *at < FRAME_HEADER_LEN)
		return 1;
	frame->len = (size_t)header[0] << 16 | (size_t)header[1] << 8 | header[2];
	frame->type = header[3];
	frame->flags = header[4];
	frame->stream =
		((uint32_t)header[5] << 24 | (uint32_t)header[6] << 16 | (uint32_t)header[7] << 8 | header[8]) &
		0x7fffffff;
	if (frame->len > FRAME_LEN_MAX || (*at == 0 && frame->type != NGHTTP2_SETTINGS))
		return -1;
	if (len - *at - FRAME_HEADER_LEN < frame->len)
		return 1;
	frame->payload = header + FRAME_HEADER_LEN;
	*at += FRAME_HEADER_LEN + frame->len;
	return 0;
}

/* Narrows a HEADERS frame's payload to its fragment of the header block. */
static bool headers_strip(struct frame *frame)
{
	size_t padding = 0;

	if (frame->flags & NGHTTP2_FLAG_PADDED) {
		if (frame->len < 1)
			return false;
		padding = frame->payload[0];
		frame->payload++;
		frame->len--;
	}
	if (frame->flags & NGHTTP2_FLAG_PRIORITY) {
		if (frame->len < PRIORITY_LEN)
			return false;
		frame->payload += PRIORITY_LEN;
		frame->len -= PRIORITY_LEN;
	}
	if (padding > frame->len)
		return false;
	frame->len -= padding;
	return true;
}

/* Finds the first HEADERS frame. As frame_read() otherwise. */
static int headers_find(struct frame *headers, const uint8_t *bytes, size_t len, size_t *at)
{
	int r;

	while ((r = frame_read(headers, bytes, len, at)) == 0) {
		switch (headers->type) {
		case NGHTTP2_HEADERS:
			return headers->stream % 2 == 1 && headers_strip(headers) ? 0 : -1;
		case NGHTTP2_DATA:
		case NGHTTP2_RST_STREAM:
		case NGHTTP2_PUSH_PROMISE:
		case NGHTTP2_GOAWAY:
		case NGHTTP2_CONTINUATION:
			return -1;
		default: /* of the connection, or an extension that a receiver must ignore (RFC 9113 5.5) */
			break;
		}
	}
	return r;
}

static int continuation_read(struct frame *next, uint32_t stream, const uint8_t *bytes, size_t len, size_t *at)
{
	int r = frame_read(next, bytes, len, at);

	if (r == 0 && (next->type != NGHTTP2_CONTINUATION || next->stream != stream))
		return -1;
	return r;
}

/* nghttp2's memory: handed out front to back from one pool and all taken back at the next call. */
static struct {
	size_t used;
	_Alignas(max_align_t) uint8_t bytes[256 * 1024];
} pool;

static void *pool_malloc(size_t size, void *context)
{
	size_t rounded = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);

	if (size > sizeof(pool.bytes) || rounded > sizeof(pool.bytes) - pool.used)
		return NULL;
	pool.used += rounded;
	return pool.bytes + pool.used - rounded;
}

static void pool_free(void *at, void *context)
{
}

static void *pool_calloc(size_t n, size_t size, void *context)
{
	void *at = n == 0 || size <= sizeof(pool.bytes) / n ? pool_malloc(n * size, context) : NULL;

	return at ? memset(at, 0, n * size) : NULL;
}

static void *pool_realloc(void *old, size_t size, void *context)
{
	uint8_t *at = pool_malloc(size, context);

	if (at && old) {
		/* How much was there is not known; what lies between the two is in the pool and readable. */
		size_t readable = (size_t)(at - (uint8_t *)old);
		memcpy(at, old, size < readable ? size : readable);
	}
	return at;
}

/* A name that may be said once, or several times in the same way. */
struct said {
	uint8_t name[HOST_MAX];
	size_t len;
	bool seen;
};

/* false: it was said in another way before, or is no host. */
static bool said_again(struct said *said, const uint8_t *value, size_t len)
{
	uint8_t name[HOST_MAX];
	size_t name_len = host_normalize(name, value, len, HOST_AUTHORITY);

	if (name_len == 0)
		return false;
	if (said->seen)
		return name_len == said->len && memcmp(name, said->name, name_len) == 0;
	memcpy(said->name, name, name_len);
	said->len = name_len;
	said->seen = true;
	return true;
}

/* What the first request says. */
struct said_all {
	struct said authority, host;
	uint8_t path[PATH_LEN_MAX];
	size_t path_len;
	bool has_path;
};

static bool field_is(const nghttp2_nv *field, const char *name)
{
	return field->namelen == strlen(name) && memcmp(field->name, name, field->namelen) == 0;
}

/* false: it makes the request invalid. A path that is too long is left out. */
static bool field_take(struct said_all *said, const nghttp2_nv *field)
{
	if (field_is(field, ":authority"))
		return !said->authority.seen && said_again(&said->authority, field->value, field->valuelen);
	if (field_is(field, "host"))
		return said_again(&said->host, field->value, field->valuelen);
	if (!field_is(field, ":path"))
		return true;
	if (said->has_path)
		return false;
	said->has_path = true;
	if (field->valuelen <= sizeof(said->path)) {
		memcpy(said->path, field->value, field->valuelen);
		said->path_len = field->valuelen;
	}
	return true;
}

/* Version 1.60 has a function like the one before, under another name, for the sake of a type's, and deprecates that. */
#if NGHTTP2_VERSION_NUM >= 0x013c00
#define inflate nghttp2_hd_inflate_hd3
#else
#define inflate nghttp2_hd_inflate_hd2
#endif

/* Inflates one fragment; a field may begin in one and end in the next. */
static bool fragment_inflate(
	nghttp2_hd_inflater *inflater, const uint8_t *in, size_t len, bool last, struct said_all *said)
{
	for (;;) {
		nghttp2_nv field;
		int flags = 0;
		ssize_t n = inflate(inflater, &field, &flags, in, len, last);
		if (n < 0)
			return false;
		in += n;
		len -= (size_t)n;
		if (flags & NGHTTP2_HD_INFLATE_EMIT && !field_take(said, &field))
			return false;
		if (flags & NGHTTP2_HD_INFLATE_FINAL)
			return true;
		if (!(flags & NGHTTP2_HD_INFLATE_EMIT) && len == 0)
			return !last;
	}
}

/* The block that begins with `headers` and goes on at `at`. All of it is there, or with `is_all` all that ever will. */
static bool block_inflate(
	const struct frame *headers, const uint8_t *bytes, size_t len, size_t at, bool is_all, struct said_all *said)
{
	nghttp2_mem memory = { NULL, pool_malloc, pool_free, pool_calloc, pool_realloc };
	nghttp2_hd_inflater *inflater;
	struct frame frame = *headers;
	bool ok;

	pool.used = 0;
	if (nghttp2_hd_inflate_new2(&inflater, &memory) != 0)
		return false;
	for (;;) {
		bool last = frame.flags & NGHTTP2_FLAG_END_HEADERS;
		ok = fragment_inflate(inflater, frame.payload, frame.len, last, said);
		if (!ok || last)
			break;
		int r = continuation_read(&frame, headers->stream, bytes, len, &at);
		if (r != 0) {
			ok = r > 0 && is_all;
			break;
		}
	}
	nghttp2_hd_inflate_del(inflater);
	return ok;
}

static void said_settle(struct findings *findings, struct said_all *said)
{
	const struct said *host = said->authority.seen ? &said->authority : &said->host;

	if (said->authority.seen && said->host.seen && !said_again(&said->authority, said->host.name, said->host.len))
		return;
	finding_settle(findings, ATTRIBUTE_HOST, host->name, host->len);
	target_path_settle(findings, said->path, said->path_len);
}

void http2_request_read(const uint8_t *frames, size_t len, bool is_all, struct findings *findings)
{
	struct said_all said;
	struct frame headers, last;
	size_t at = 0, block_at;

	int r = headers_find(&headers, frames, len, &at);
	bool is_found = r == 0;
	block_at = at;
	/* Nothing is inflated before the block is whole: bytes that come one by one must not make it run each
	 * time. */
	for (last = headers; r == 0 && !(last.flags & NGHTTP2_FLAG_END_HEADERS);)
		r = continuation_read(&last, headers.stream, frames, len, &at);
	if (r > 0 && !(is_found && is_all)) {
		findings->client_waits = !is_found && len > 0 && at == len;
		return;
	}
	said.authority = said.host = (struct said){ 0 };
	said.path_len = 0;
	said.has_path = false;
	if (r >= 0 && block_inflate(&headers, frames, len, block_at, is_all, &said))
		said_settle(findings, &said);
	finding_close(findings, ATTRIBUTE_HOST);
	finding_close(findings, ATTRIBUTE_PATH);
}
