/* Judges answers. Refuses to wait for more than CHECK_ANSWER_MAX bytes. Owns nothing. */
#include "check_answer.h"
#include "check_result.h"
#include "decider.h"
#include "server_opening.h"

static enum verdict protocol_verdict(
	const struct check *check, const uint8_t *bytes, size_t len, bool is_datagram, struct findings *findings)
{
	const uint32_t ends[] = { (uint32_t)len };
	struct evidence evidence = { .bytes = bytes, .len = len };

	if (is_datagram) {
		evidence.ends = ends;
		evidence.n_datagrams = 1;
	}
	findings->wanted = 0;
	return protocol_match(check->protocol, &evidence, findings);
}

static uint32_t status_judge(const struct check *check, const uint8_t *bytes, size_t len, enum verdict *ret_verdict)
{
	unsigned status = 0;

	*ret_verdict = http_status_read(bytes, len, &status);
	if (*ret_verdict != VERDICT_YES || check_has_status(check, status))
		return check_word(CHECK_UNEXPECTED, 0);
	*ret_verdict = VERDICT_NO;
	return check_word(CHECK_STATUS, status);
}

uint32_t check_answer_judge(const struct check *check, const uint8_t *bytes, size_t len, bool is_datagram,
	struct findings *findings, bool *ret_over)
{
	uint32_t refusal = check_word(CHECK_UNEXPECTED, 0);
	enum verdict verdict = VERDICT_YES;

	if (check->expect == EXPECT_OPENING)
		verdict = check->opening->match(bytes, len);
	else if (check->expect == EXPECT_PROTOCOL)
		verdict = protocol_verdict(check, bytes, len, is_datagram, findings);
	else if (check->expect == EXPECT_STATUS)
		refusal = status_judge(check, bytes, len, &verdict);
	*ret_over = verdict != VERDICT_MORE || is_datagram || len >= CHECK_ANSWER_MAX;
	if (verdict == VERDICT_YES)
		return check_word(CHECK_PASSED, 0);
	return *ret_over ? refusal : check_word(len ? CHECK_UNFINISHED : CHECK_SILENT, 0);
}
