/* User's regular expressions on a stream that is still coming in.
 *
 * Why the answers are monotone. With PCRE2_PARTIAL_HARD the matcher stops at the first moment at which it
 * would look behind the last byte, with any alternative, assertion or repetition. If it comes to an answer
 * without that, it would take the same steps with more bytes and come to the same answer, a limit hit on the
 * way included; so a match is YES and, if the pattern is anchored, no match is NO. An unanchored pattern that
 * did not match may match further back: MORE. With `within` bytes the subject is final: what HARD leaves open
 * is asked once more without partial matching. So it is once a search is over: `$' is satisfied then, and an unanchored
 * pattern that is not found says NO, which more bytes may take back.
 *
 * A greedy ".*" looks behind the last byte before it settles for less, which would make "^GET .*" wait for
 * nothing. Whether there is a match does not depend on greed as long as nothing in the pattern forbids to go
 * back, so such patterns are compiled ungreedy.
 *
 * Refuses UTF modes. Memory: one match block and one JIT stack for the whole process, made with the first
 * pattern and freed with the last; matching allocates nothing where JIT is available. One thread. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "regex.h"

#include "arena.h"

#include <errno.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JIT_STACK_SIZE     (256 * 1024)
#define MATCH_LIMIT_BASE   4096 /* steps back that a match may take, whatever the size of its window */
#define MATCH_LIMIT_FACTOR 32   /* and for each byte of the window */
#define DEPTH_LIMIT        1000
#define HEAP_LIMIT_KIB     1024

struct regex {
	const struct arena *arena;
	char *text;
	pcre2_code *code;
	size_t within;
	bool is_anchored;
};

/* What all patterns share. */
static struct {
	size_t n_users;
	pcre2_match_context *context;
	pcre2_jit_stack *jit_stack;
	pcre2_match_data *match;
} shared;

static void shared_release(void)
{
	if (--shared.n_users > 0)
		return;
	pcre2_match_data_free(shared.match);
	pcre2_match_context_free(shared.context);
	pcre2_jit_stack_free(shared.jit_stack);
	shared.match = NULL;
	shared.context = NULL;
	shared.jit_stack = NULL;
}

static bool shared_acquire(void)
{
	if (shared.n_users++ > 0)
		return true;
	shared.context = pcre2_match_context_create(NULL);
	/* Which bytes match is of no interest, only that they do: one pair of offsets is enough. */
	shared.match = pcre2_match_data_create(1, NULL);
	/* Its full size from the start: a stack that grows maps memory in the middle of a match. */
	shared.jit_stack = pcre2_jit_stack_create(JIT_STACK_SIZE, JIT_STACK_SIZE, NULL);
	if (!shared.context || !shared.match) {
		shared_release();
		return false;
	}
	pcre2_set_depth_limit(shared.context, DEPTH_LIMIT);
	pcre2_set_heap_limit(shared.context, HEAP_LIMIT_KIB);
	if (shared.jit_stack)
		pcre2_jit_stack_assign(shared.context, NULL, shared.jit_stack);
	return true;
}

/* What follows "(?": ":", or options that leave the search alone, as in "(?i)" and "(?i:". */
static bool is_plain_group(const char *at)
{
	at += strspn(at, "imsn-");
	return *at == ':' || *at == ')';
}

/* Whether a match can be searched for in any order: nothing in it is atomic, looks around, recurses or is a
 * verb. When in doubt the answer is no, which costs nothing but later answers. */
static bool order_is_free(const char *regex)
{
	for (const char *at = regex; *at; at++) {
		if (*at == '\\' && at[1]) {
			if (at[1] == 'Q' || at[1] == 'K')
				return false;
			at++;
			continue;
		}
		if (*at == '(' && (at[1] == '*' || (at[1] == '?' && !is_plain_group(at + 2))))
			return false;
		/* With `?' it is ungreedy already, and would become greedy. */
		if ((*at == '+' || *at == '?') && at > regex && strchr("+*?}", at[-1]))
			return false;
	}
	return true;
}

static int regex_compile(struct regex *regex, char *error, size_t error_size)
{
	uint32_t options = PCRE2_DOTALL | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP;
	int code = PCRE2_ERROR_NOMEMORY;
	PCRE2_SIZE offset = 0;
	PCRE2_UCHAR message[256];
	uint32_t all_options;

	regex->code = NULL;
	if (shared_acquire()) {
		if (order_is_free(regex->text))
			options |= PCRE2_UNGREEDY;
		regex->code =
			pcre2_compile((PCRE2_SPTR)regex->text, PCRE2_ZERO_TERMINATED, options, &code, &offset, NULL);
		if (!regex->code)
			shared_release();
	}
	if (!regex->code) {
		pcre2_get_error_message(code, message, sizeof(message));
		snprintf(error, error_size, "at offset %zu: %s", (size_t)offset, (const char *)message);
		return code == PCRE2_ERROR_NOMEMORY ? -ENOMEM : -EINVAL;
	}
	pcre2_pattern_info(regex->code, PCRE2_INFO_ALLOPTIONS, &all_options);
	regex->is_anchored = all_options & PCRE2_ANCHORED;
	/* Where it fails (no JIT on this machine) matching is slower and the same otherwise. */
	pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD);
	return 0;
}

struct regex *regex_new(struct arena *arena, const char *text, size_t within, char *error, size_t error_size)
{
	size_t size = strlen(text) + 1;
	struct regex *regex = arena_take(arena, sizeof(*regex) + size);

	if (!regex) {
		snprintf(error, error_size, "no memory");
		return NULL;
	}
	*regex = (struct regex){
		.arena = arena,
		.text = (char *)(regex + 1),
		.within = within < EVIDENCE_MAX ? within : EVIDENCE_MAX,
	};
	memcpy(regex->text, text, size);
	if (regex_compile(regex, error, error_size) == 0)
		return regex;
	arena_drop(arena, regex);
	return NULL;
}

int regex_revive(struct regex *regex)
{
	char error[1];
	return regex_compile(regex, error, sizeof(error));
}

void regex_free(struct regex *regex)
{
	if (!regex)
		return;
	pcre2_code_free(regex->code);
	arena_drop(regex->arena, regex);
	shared_release();
}

enum verdict regex_match(const struct regex *regex, const struct evidence *evidence)
{
	bool is_whole = evidence->len >= regex->within;
	size_t len = is_whole ? regex->within : evidence->len;

	if (len == 0)
		return VERDICT_MORE;
	pcre2_set_match_limit(shared.context, MATCH_LIMIT_BASE + MATCH_LIMIT_FACTOR * (uint32_t)regex->within);
	int r = pcre2_match(regex->code, evidence->bytes, len, 0, PCRE2_PARTIAL_HARD, shared.match, shared.context);
	bool is_open = r == PCRE2_ERROR_PARTIAL || (r == PCRE2_ERROR_NOMATCH && !regex->is_anchored);
	if (r == PCRE2_ERROR_PARTIAL && (is_whole || evidence->search_over))
		r = pcre2_match(regex->code, evidence->bytes, len, 0, 0, shared.match, shared.context);
	if (r >= 0)
		return VERDICT_YES;
	if (is_whole || (evidence->search_over && !regex->is_anchored))
		return VERDICT_NO;
	return is_open ? VERDICT_MORE : VERDICT_NO;
}
