/* TCPMUX's side of the conversation. Refuses to wait: what does not go out at once does not go out, and the stream's end
 * says so. Owns nothing. */
#include "tcpmux_reply.h"
#include "message.h"
#include "peek.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define LINE_MAX_LEN 65 /* 63 bytes of name, CR LF */

bool tcpmux_is_due(const struct policy *policy, uint32_t number)
{
	return number != PROTOCOL_NONE && policy->protocols[number].probe &&
		policy->protocols[number].probe->stream == probe_tcpmux;
}

bool tcpmux_is_spoken(const struct policy *policy)
{
	return policy->n_tcpmux_names > 0;
}

int tcpmux_take_line(int fd)
{
	char line[LINE_MAX_LEN];
	bool is_cut;
	ssize_t n = peek(fd, line, sizeof(line), true, &is_cut);
	const char *end = n > 0 ? memchr(line, '\n', (size_t)n) : NULL;

	if (!end)
		return n < 0 ? (int)n : -EPROTO;
	return peek_consume(fd, line, (size_t)(end - line) + 1);
}

static void tcpmux_say(int fd, const char *text, size_t len)
{
	ssize_t n = send(fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)n; /* a client that is gone already will be noticed */
}

void tcpmux_accept(int fd)
{
	tcpmux_say(fd, MESSAGE_TCPMUX_ACCEPT, strlen(MESSAGE_TCPMUX_ACCEPT));
}

void tcpmux_refuse(int fd, const char *why)
{
	char line[128];
	int n = snprintf(line, sizeof(line), "-%s\r\n", why);
	tcpmux_say(fd, line, (size_t)n);
}

void tcpmux_help(int fd, const struct policy *policy)
{
	char names[8192];
	size_t len = 0;

	for (size_t i = 0; i < policy->n_tcpmux_names; i++) {
		int n = snprintf(names + len, sizeof(names) - len, "%s\r\n", policy->tcpmux_names[i]);
		if (n < 0 || (size_t)n >= sizeof(names) - len)
			break;
		len += (size_t)n;
	}
	tcpmux_say(fd, names, len);
}
