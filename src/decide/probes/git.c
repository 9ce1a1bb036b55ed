/* git's own transport by its request, gitprotocol-pack(5), "Git Transport": a pkt-line.
 *
 *     0 0 3 3  git-upload-pack /project.git 00 host=example.com 00 ...
 *     length,  git-receive-pack, git-upload-archive
 *     4 digits                ^ YES, with the blank
 *
 * `host` is the request's, once its line is there.
 *
 * Git over SSH is ssh, and over HTTP http. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

#include <string.h>

enum {
	LENGTH_LEN = 4,
	LINE_MIN = LENGTH_LEN + 16 + 1, /* the shortest of the commands and a path of one byte */
	LINE_MAX = 65520,
};

static int digit_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = look_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Behind the path's zero byte; what a line of more than EVIDENCE_MAX bytes says nobody sees. */
static void host_settle(struct findings *findings, const uint8_t *bytes, size_t len, size_t line_len)
{
	const uint8_t *end = bytes + line_len;
	uint8_t name[HOST_MAX];
	size_t name_len = 0;

	if (len < line_len)
		return;
	const uint8_t *host = memchr(bytes, 0, line_len);
	if (host && look_literal(host + 1, (size_t)(end - host - 1), "host=", 5) == VERDICT_YES) {
		host += 6;
		const uint8_t *host_end = memchr(host, 0, (size_t)(end - host));
		name_len = host_normalize(name, host, (size_t)((host_end ? host_end : end) - host), HOST_AUTHORITY);
	}
	finding_settle(findings, ATTRIBUTE_HOST, name, name_len);
}

enum verdict probe_git(const struct evidence *evidence, struct findings *findings)
{
	static const struct look_entry commands[] = {
		LOOK_ENTRY("git-upload-pack "),
		LOOK_ENTRY("git-receive-pack "),
		LOOK_ENTRY("git-upload-archive "),
	};
	size_t line_len = 0;

	for (size_t i = 0; i < LENGTH_LEN; i++) {
		if (i == evidence->len)
			return VERDICT_MORE;
		int value = digit_value(evidence->bytes[i]);
		if (value < 0)
			return VERDICT_NO;
		line_len = line_len << 4 | (size_t)value;
	}
	if (line_len < LINE_MIN || line_len > LINE_MAX)
		return VERDICT_NO;
	enum verdict verdict = look_words(evidence->bytes + LENGTH_LEN, evidence->len - LENGTH_LEN, commands,
		sizeof(commands) / sizeof(commands[0]));
	if (verdict == VERDICT_YES)
		host_settle(findings, evidence->bytes, evidence_len(evidence), line_len);
	return verdict;
}
