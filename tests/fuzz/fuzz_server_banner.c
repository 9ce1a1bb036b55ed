/* What a backend says first, at every cut: a verdict is never taken back, and what it covers is there. */
#include "fuzz.h"
#include "server_banner.h"
#include <stdlib.h>
#include <string.h>

static bool fits_somebody(enum server_banner kind)
{
	static const char *const protocols[] = { "smtp", "ftp", "pop3", "imap" };

	for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
		if (server_banner_fits(kind, protocols[i]))
			return true;
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum verdict old = VERDICT_MORE;
	enum server_banner old_kind = SERVER_BANNER_KINDS;
	size_t old_len = 0;

	for (size_t len = 0; len <= size && len <= SERVER_BANNER_MAX; len++) {
		enum server_banner kind = SERVER_BANNER_KINDS;
		size_t covered = 0;
		uint8_t *copy = malloc(len + (len == 0));
		require(copy != NULL);
		if (len)
			memcpy(copy, data, len);
		enum verdict verdict = server_banner_read(copy, len, &kind, &covered);
		free(copy);
		require(old == VERDICT_MORE || verdict == old);
		if (verdict == VERDICT_YES) {
			require(covered > 0 && covered <= len && fits_somebody(kind));
			require(old != VERDICT_YES || (kind == old_kind && covered == old_len));
		}
		require(len < SERVER_BANNER_MAX || verdict != VERDICT_MORE);
		old = verdict;
		old_kind = kind;
		old_len = covered;
	}
	return 0;
}
