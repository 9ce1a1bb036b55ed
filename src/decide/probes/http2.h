/* HTTP/2 as far as the host and the path of the first request, RFC 9113. For the HTTP probe only. */
#pragma once
#include "finding.h"

#define HTTP2_PREFACE     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" /* RFC 9113 3.4 */
#define HTTP2_PREFACE_LEN (sizeof(HTTP2_PREFACE) - 1)

/* Reads the frames behind the preface and settles the attributes `host` and `path` once the first header block is
 * whole, or once none can follow. A client that has sent whole frames and none with a header block may be waiting for the server's
 * SETTINGS, as those of gRPC do: findings->client_waits. `is_all`: no bytes follow these, so that of a block that is cut its whole frames count. */
void http2_request_read(const uint8_t *frames, size_t len, bool is_all, struct findings *findings);
