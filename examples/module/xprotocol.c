/* An example of a module: two protocols, one with an attribute, one with settings.
 *
 *     identifiers = ( { module = "/usr/lib/usher/modules/xprotocol.so"; software = [ "OpenSSH_", "libssh" ]; } );
 *
 * `xecho` is a line "xecho NAME", and NAME becomes the attribute `host`. `xssh` is an SSH client, RFC 4253
 * 4.2, whose software begins with one of the words in `software`; without the setting, any SSH client. Both
 * are decided by the first bytes only. Owns the list of words, which is never freed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <usher/module.h>

USHER_MODULE;

#define NAME_MAX_BYTES 64

struct words {
	size_t count;
	const char **word;
};

/* Do the bytes begin with the word, or the word with the bytes? */
static enum usher_verdict word_match(const uint8_t *bytes, size_t len, const char *word)
{
	size_t word_len = strlen(word);

	if (memcmp(bytes, word, len < word_len ? len : word_len) != 0)
		return USHER_NO;
	return len < word_len ? USHER_MORE : USHER_YES;
}

static enum usher_verdict xecho(void *context, const struct usher_evidence *evidence, struct usher_findings *findings)
{
	struct usher_host *host = context;
	enum usher_verdict verdict = word_match(evidence->bytes, evidence->len, "xecho ");

	if (verdict != USHER_YES)
		return verdict;
	const uint8_t *name = evidence->bytes + 6, *end = NULL;
	size_t len = evidence->len - 6;
	if (len > 0)
		end = memchr(name, '\n', len < NAME_MAX_BYTES ? len : NAME_MAX_BYTES);
	if (!end)
		return len < NAME_MAX_BYTES ? USHER_MORE : USHER_NO;
	len = (size_t)(end - name);
	if (len > 0 && name[len - 1] == '\r')
		len--;
	return host->attribute_set(findings, USHER_SETS_HOST, name, len) < 0 ? USHER_NO : USHER_YES;
}

static enum usher_verdict xssh(void *context, const struct usher_evidence *evidence, struct usher_findings *findings)
{
	const struct words *software = context;
	enum usher_verdict verdict = word_match(evidence->bytes, evidence->len, "SSH-2.0-");

	if (verdict != USHER_YES || software->count == 0)
		return verdict;
	verdict = USHER_NO;
	for (size_t i = 0; i < software->count; i++) {
		enum usher_verdict one = word_match(evidence->bytes + 8, evidence->len - 8, software->word[i]);
		if (one == USHER_YES)
			return USHER_YES;
		if (one == USHER_MORE)
			verdict = USHER_MORE;
	}
	return verdict;
}

static struct words *words_read(struct usher_host *host, const char *key)
{
	struct words *words = malloc(sizeof(*words));

	if (!words)
		return NULL;
	words->count = host->setting_count(host, key);
	words->word = calloc(words->count + 1, sizeof(*words->word));
	if (!words->word) {
		free(words);
		return NULL;
	}
	/* Where one is no string usher says so itself, and our init counts as failed. */
	for (size_t i = 0; i < words->count; i++)
		host->setting_string(host, key, i, &words->word[i]);
	return words;
}

int usher_module_init(struct usher_host *host)
{
	struct words *software = words_read(host, "software");

	if (!software)
		return -ENOMEM;
	const struct usher_probe probes[] = {
		{ .name = "xecho", .attributes = USHER_SETS_HOST, .run = xecho, .context = host },
		{ .name = "xssh", .priority = 10, .run = xssh, .context = software },
	};
	for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++) {
		int error = host->probe_add(host, &probes[i]);
		if (error < 0)
			return error;
	}
	return 0;
}
