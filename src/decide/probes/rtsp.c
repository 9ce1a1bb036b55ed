/* RTSP by its first line, RFC 2326 6.1 and RFC 7826 20.2.1.
 *
 *     OPTIONS rtsp://example.com/stream RTSP/1.0\r\n       any method; RTSP/2.0 likewise
 *                                           ^ YES
 *
 * The target is rtsp:, rtsps: or rtspu:, or "*", or a short path, against the documents, as some receivers of AirPlay and
 * scanners have it; `host` is that of a URI. Refuses other targets: they are HTTP's or SIP's. RTSP in an HTTP tunnel is HTTP. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"
#include "request_line.h"

#define PATH_MAX_LEN 64

/* Is it of a form that is taken? */
static enum verdict target_match(const uint8_t *bytes, size_t len)
{
	static const struct look_entry schemes[] = { LOOK_ENTRY("rtsp:"), LOOK_ENTRY("rtsps:"), LOOK_ENTRY("rtspu:"),
		LOOK_ENTRY("* ") };
	size_t n = 0;

	if (len == 0 || bytes[0] != '/')
		return look_words(bytes, len, schemes, sizeof(schemes) / sizeof(schemes[0]));
	while (n < len && n <= PATH_MAX_LEN && bytes[n] > ' ')
		n++;
	if (n > PATH_MAX_LEN)
		return VERDICT_NO;
	return n == len ? VERDICT_MORE : VERDICT_YES;
}

enum verdict probe_rtsp(const struct evidence *evidence, struct findings *findings)
{
	static const char *const versions[] = { "rtsp/1.0", "rtsp/2.0" };
	size_t len = evidence_len(evidence), target;
	const uint8_t *bytes = evidence->bytes;

	enum verdict verdict = request_method_skip(bytes, len, &target);
	if (verdict == VERDICT_YES)
		verdict = target_match(bytes + target, len - target);
	if (verdict != VERDICT_YES)
		return verdict;
	verdict = request_target_match(bytes, len, target, versions[0]);
	if (verdict == VERDICT_NO)
		verdict = request_target_match(bytes, len, target, versions[1]);
	if (verdict == VERDICT_YES)
		request_host_settle(findings, bytes, len, target);
	return verdict;
}
