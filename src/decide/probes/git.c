/* git's own transport by its request, gitprotocol-pack(5), "Git Transport": a pkt-line.
 *
 *     0 0 3 3  git-upload-pack /project.git 00 host=example.com 00 ...
 *     length,  git-receive-pack, git-upload-archive
 *     4 digits                ^ YES, with the blank
 *
 * Git over SSH is ssh, and over HTTP http. Owns no memory. */
#include "look.h"
#include "probe.h"

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
	return look_words(evidence->bytes + LENGTH_LEN, evidence->len - LENGTH_LEN, commands,
		sizeof(commands) / sizeof(commands[0]));
}
