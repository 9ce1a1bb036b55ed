/* The banner that a client must not see twice: read whole and off the backend's socket, or left there. */
#include "banner_skip.h"
#include "evidence.h"
#include "ipc.h"
#include <errno.h>
#include <sys/socket.h>

enum banner_skipped banner_skip(int fd, enum server_banner kind)
{
	uint8_t said[SERVER_BANNER_MAX];
	enum server_banner found;
	size_t len = 0;
	bool unused;

	ssize_t n = recv(fd, said, sizeof(said), MSG_PEEK);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return BANNER_AWAITED;
	enum verdict verdict = n > 0 ? server_banner_read(said, (size_t)n, &found, &len) : VERDICT_NO;
	if (verdict == VERDICT_MORE)
		return BANNER_AWAITED;
	if (verdict == VERDICT_NO || found != kind || ipc_receive_bytes(fd, said, len, 0, &unused) != (ssize_t)len)
		return BANNER_UNLIKE;
	return BANNER_SKIPPED;
}
